"""ACDC (Sakaridis et al. 2021): 4,006 images in fog, night, rain and snow; Cityscapes' train ids, or its ids.

The reference images in good weather (`train_ref`, `val_ref`) are not part of it.
"""

from clouds.data.published.preset import Form, Preset, label_ids, train_ids


def _form(images: str, labels: str) -> Form:
    labels = f"{labels}gt/{{condition}}/{{split}}/*/*"
    return Form(
        images=f"{images}rgb_anon/{{condition}}/{{split}}/*/*",
        suffix="_rgb_anon",
        codings=(train_ids(labels, "_gt_labelTrainIds"), label_ids(labels, "_gt_labelIds")),
    )


ACDC = Preset(
    title="ACDC",
    # the second: each archive unpacked into a folder of its name
    forms=(_form("", ""), _form("rgb_anon_trainvaltest/", "gt_trainval/")),
    splits={"train": "train", "val": "val", "test": "test"},
    split="train",
    unlabelled=("test",),
    conditions=("fog", "night", "rain", "snow"),
    condition="all",
    source="rgb_anon_trainvaltest.zip and gt_trainval.zip of https://acdc.vision.ee.ethz.ch/download",
)
