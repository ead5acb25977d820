"""BDD100K, the 10K images with semantic segmentation (Yu et al. 2020): 7,000 / 1,000 / 2,000; Cityscapes' train ids.

The older release kept the same images and labels below `seg`.
"""

from clouds.data.published.preset import Form, Preset, train_ids

_FORMS = tuple(
    form
    for above in ("", "bdd100k/")
    for form in (
        Form(images=f"{above}images/10k/{{split}}", codings=(train_ids(f"{above}labels/sem_seg/masks/{{split}}", ""),)),
        Form(images=f"{above}seg/images/{{split}}", codings=(train_ids(f"{above}seg/labels/{{split}}", "_train_id"),)),
    )
)

BDD100K = Preset(
    title="BDD100K 10K",
    forms=_FORMS,
    splits={"train": "train", "val": "val", "test": "test"},
    split="train",
    unlabelled=("test",),
    source="`10K Images` and `Segmentation` of http://bdd-data.berkeley.edu/",
)
