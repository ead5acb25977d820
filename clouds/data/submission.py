"""Predictions as files: the run's own ids, or what the Cityscapes and ACDC servers take, and back. It knows no model.

Cityscapes: original label ids, in files whose names begin with CITY_SEQUENCE_FRAME, as `getPrediction` of
cityscapesScripts finds them. ACDC: train ids, in files named as the images, as DAFormer and HRDA write what they submit
(`--format-only --eval-option imgfile_prefix=labelTrainIds to_label_id=False`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clouds.data.cityscapes import UNLABELED, evaluated_names, original_id, train_id, void_ids
from clouds.data.images import write_labels
from clouds.data.labels import IGNORE, LabelLookup, LabelMap
from clouds.errors import UsageError

Form = Literal["labels", "cityscapes", "acdc"]
FORMS: tuple[Form, ...] = ("labels", "cityscapes", "acdc")

_NAMES = {
    "labels": re.compile(r"(?P<stem>.+)"),
    "cityscapes": re.compile(r"(?:.*__)?(?P<stem>[a-z-]+_\d{6}_\d{6})(?:_.*)?"),
    "acdc": re.compile(r"(?:.*__)?(?P<stem>[A-Z0-9]+_frame_\d{6})(?:_.*)?"),
}
_ENDINGS = {"labels": ".png", "cityscapes": "_labelIds.png", "acdc": "_rgb_anon.png"}
_EXAMPLES = {"cityscapes": "berlin_000000_000019", "acdc": "GOPR0475_frame_000247"}


@dataclass(frozen=True, eq=False)
class PredictionFiles:
    """How predictions are written: ids and names."""

    form: Form
    table: NDArray[np.uint8]
    """256 entries: id of the run -> id in the file."""

    @classmethod
    def of(cls, form: Form, label_map: LabelMap) -> "PredictionFiles":
        """Raises `UsageError` where a class of the run has no id in this form."""
        if form == "labels":
            return RUN_IDS
        of_name, nothing = (original_id, UNLABELED) if form == "cityscapes" else (train_id, IGNORE)
        table = np.full(256, nothing, np.uint8)
        for one, name in zip(label_map.classes, evaluated_names(label_map), strict=True):
            if name is None:
                raise UsageError(
                    f"predictions in the form {form!r}: class {one.name!r} of the run is none of Cityscapes'",
                    "save them as 'labels', or train on classes of cityscapes19",
                )
            table[one.id] = of_name(name)
        return cls(form, table)

    @property
    def uploaded(self) -> bool:
        """Whether a server takes them, in one archive."""
        return self.form != "labels"

    def name(self, item: str) -> str:
        """The file's name for an item of a data set. Raises `ValueError` for an id that does not tell it."""
        stem = self.stem(self.form, item)
        if stem is None:
            raise ValueError(f"the id {item!r} holds no name such as {_EXAMPLES[self.form]}")
        return stem + _ENDINGS[self.form]

    @staticmethod
    def stem(form: Form, name: str) -> str | None:
        """What the name of an item, or of a file without its suffix, tells a server of whose it is; None: nothing."""
        found = _NAMES[form].fullmatch(name)
        return None if found is None else found["stem"]

    def check(self, dataset: str, items: Sequence[str]) -> None:
        """Raises `UsageError` where a server would not know whose prediction a file is."""
        owners: dict[str, str] = {}
        for item in items:
            try:
                first = owners.setdefault(self.name(item), item)
            except ValueError as error:
                first, why = "", str(error)
            else:
                why = f"{first!r} and {item!r} would be one file, {self.name(item)}"
            if first != item:
                raise UsageError(
                    f"predictions of data set {dataset!r} in the form {self.form!r}: {why}",
                    "name the images as the benchmark does, or take the set out of `evaluate.data`",
                )

    def lookup(self, label_map: LabelMap) -> LabelLookup:
        """From the ids in the files back to the run's; what stands for no class that is scored is ignored."""
        if self.form == "labels":
            return label_map.own_lookup()
        names = {int(self.table[one.id]): one.name for one in label_map.classes}
        nothing = {IGNORE, *void_ids()} if self.form == "cityscapes" else {IGNORE}
        return label_map.match(names, ignore_ids=nothing, where=f"predictions in the form {self.form!r}")

    def write(self, folder: Path, item: str, prediction_HW: NDArray[np.integer[Any]]) -> str:
        """Write one prediction; the file's path from `folder`."""
        file_name = f"{self.form}/{self.name(item)}"
        (folder / self.form).mkdir(exist_ok=True)
        write_labels(folder / file_name, self.table[prediction_HW])
        return file_name


RUN_IDS = PredictionFiles("labels", np.arange(256, dtype=np.uint8))
"""Predictions as the run itself reads them."""
