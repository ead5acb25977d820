"""Cityscapes (Cordts et al. 2016), fine annotations: 2,975 / 500 / 1,525 images; ids 0..33, of which 19 are evaluated.

The test split's label files hold no classes, so it counts as unlabelled. Train ids, which the official tools write,
are read where the ids are not there.
"""

from clouds.data.published.preset import Form, Preset, label_ids, train_ids


def _form(images: str, labels: str) -> Form:
    labels = f"{labels}gtFine/{{split}}"
    return Form(
        images=f"{images}leftImg8bit/{{split}}",
        suffix="_leftImg8bit",
        codings=(label_ids(labels, "_gtFine_labelIds"), train_ids(labels, "_gtFine_labelTrainIds")),
    )


CITYSCAPES = Preset(
    title="Cityscapes",
    # the second: each archive unpacked into a folder of its name
    forms=(_form("", ""), _form("leftImg8bit_trainvaltest/", "gtFine_trainvaltest/")),
    splits={"train": "train", "val": "val", "test": "test"},
    split="train",
    unlabelled=("test",),
    source="leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of https://www.cityscapes-dataset.com/downloads/",
)
