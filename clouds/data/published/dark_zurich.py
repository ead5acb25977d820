"""Dark Zurich (Sakaridis et al. 2019): 50 labelled night images (val), 151 of a withheld test, unlabelled ones of day,
twilight and night to adapt to; Cityscapes' train ids.
"""

from clouds.data.published.preset import Form, Preset, label_ids, train_ids

_LABELS = "gt/{split}/{condition}/*/*"

DARK_ZURICH = Preset(
    title="Dark Zurich",
    forms=(
        Form(
            images="rgb_anon/{split}/{condition}/*/*",
            suffix="_rgb_anon",
            codings=(train_ids(_LABELS, "_gt_labelTrainIds"), label_ids(_LABELS, "_gt_labelIds")),
        ),
    ),
    splits={"train": "train", "val": "val", "test": "test"},
    split="val",
    unlabelled=("train", "test"),
    conditions=("night", "twilight", "day"),
    condition="night",
    source="Dark_Zurich_val_anon.zip (and _train_anon, _test_anon) of "
    "https://www.trace.ethz.ch/publications/2019/GCMA_UIoU/",
)
