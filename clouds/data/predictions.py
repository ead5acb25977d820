"""Finds predictions that lie on disk and reads them as ids of the run. It knows no model and scores nothing.

The files of a data set SET are looked for in `SET-NNNNN/`, as an evaluation saves them, else in `SET/`, else in the
whole folder, to any depth; within these in sub-folders named after the form, where there are any.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from clouds.config import ConfigModel, ConfigPath, Neutral
from clouds.data.finding import check_folder, listing
from clouds.data.images import read_labels
from clouds.data.labels import UNKNOWN, LabelLookup, LabelMap
from clouds.data.submission import FORMS, Form, PredictionFiles
from clouds.errors import CloudsError, InputError, UsageError

_SUFFIX = ".png"
# how many entries of a list an error shows
_SHOWN = 5


class PredictionsConfig(ConfigModel):
    """Predictions that lie on disk: single-channel PNGs of ids, one for each image."""

    # told apart by what is in it, not by where it lies
    folder: Neutral[ConfigPath]
    """Where they lie: what `--save-predictions` or `clouds predict` wrote, or files of another tool."""
    form: Form | None = None
    """What ids they hold, and how they are named: labels (the run's ids, the items' names), cityscapes (original ids),
    acdc (train ids); null: told by their names and folders."""
    suffix: str = ""
    """The end of their names that the items' names have not, such as `_leftImg8bit`; of the form labels."""


def _folder_alone(value: Any) -> Any:
    return {"folder": value} if isinstance(value, (str, Path)) else value


Predictions = Annotated[PredictionsConfig, BeforeValidator(_folder_alone)]
"""Predictions in a config: their folder, or a mapping that says more."""


@dataclass(frozen=True, eq=False)
class FoundPredictions:
    """The predictions of a data set's items, in the items' order; `what` begins every error."""

    what: str
    form: Form
    paths: Sequence[str]
    lookup: LabelLookup
    classes: int

    def read(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H, W]: ids of the run, 255 where nothing was predicted.

        Raises `CloudsError`, not `InputError`: a score over those that can be read would be of other images.
        """
        path = self.paths[index]
        try:
            stored_HW = read_labels(path)
        except InputError as error:
            raise CloudsError(
                f"{self.what}: {error.message}", "put a single-channel PNG of class ids in its place"
            ) from error
        predicted_HW = self.lookup.translate(stored_HW)
        unknown_HW = predicted_HW == UNKNOWN
        if unknown_HW.any():
            raise self._unknown_ids(path, stored_HW[unknown_HW])
        return predicted_HW

    def check_size(self, index: int, size: tuple[int, ...], wanted: tuple[int, ...]) -> None:
        """Raise `CloudsError` for a prediction of another (height, width) than its labels."""
        if size != wanted:
            raise CloudsError(
                f"{self.what}: {self.paths[index]} is {size[1]}x{size[0]} pixels (width x height), its labels "
                f"{wanted[1]}x{wanted[0]}",
                "save predictions at the size of the labels: bring scores to it, or ids by their nearest neighbour",
            )

    def stamp(self, index: int) -> str:
        """What changes when the item's file does: its size and time, for another model's file often has one size."""
        try:
            stat = os.stat(self.paths[index])
        except OSError:
            return "missing"
        return f"{self.form} {stat.st_size} {stat.st_mtime_ns}"

    def _unknown_ids(self, path: str, stored: NDArray[np.integer[Any]]) -> CloudsError:
        ids, counts = np.unique(stored, return_counts=True)
        pairs = list(zip(ids.tolist(), counts.tolist(), strict=True))
        shown = ", ".join(f"{id_} ({count} pixels)" for id_, count in pairs[:_SHOWN])
        more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
        held = {
            "labels": f"ids of the run's classes are 0 to {self.classes - 1}, 255 is nothing",
            "cityscapes": "read as Cityscapes' original ids",
            "acdc": "read as Cityscapes' train ids, 255 is nothing",
        }[self.form]
        return CloudsError(
            f"{self.what}: {path} holds ids that are no class of the run: {shown}{more}; {held}",
            "say another `form`, score with the classes that were predicted (`data.classes`), or mend the file",
        )


def find_predictions(
    name: str, config: PredictionsConfig, dataset: str, ids: Sequence[str], label_map: LabelMap
) -> FoundPredictions:
    """The files with the predictions of these items of a data set. No file is opened.

    Raises `CloudsError` for a missing folder, items without a prediction and items with several, and `UsageError` where
    the form cannot be told, or the run's classes have no ids in it.
    """
    what = f"predictions {name!r}"
    _check_folder(name, what, config.folder)
    files = _Files(what, config, dataset)
    forms = (config.form,) if config.form else FORMS
    matched = [(form, files.match(form, ids)) for form in forms]
    # of several forms, the first that is whole; else the nearest to it
    form, found = max(matched, key=lambda one: len(one[1]))
    lacking = [id_ for id_ in ids if id_ not in found]
    if lacking:
        shown = ", ".join(lacking[:_SHOWN]) + (", ..." if len(lacking) > _SHOWN else "")
        others = " and the others" if len(lacking) > 1 else ""
        raise CloudsError(
            f"{what}: {len(lacking)} of {len(ids)} items of data set {dataset!r} have no prediction in "
            f"{config.folder}: {shown}",
            f"add {lacking[0]}{config.suffix}{_SUFFIX}{others}, or say `form` and `suffix`; found there: "
            f"{listing(config.folder)}",
        )
    what = f"{what}, data set {dataset!r}"
    if form != "labels":
        PredictionFiles.of(form, label_map).check(dataset, ids)
    elif config.form is None and not files.has_folder(form):
        _check_unlike_acdc(what, found.values(), label_map)
    lookup = PredictionFiles.of(form, label_map).lookup(label_map)
    return FoundPredictions(what, form, [found[id_] for id_ in ids], lookup, label_map.num_classes)


def _check_folder(name: str, what: str, folder: Path) -> None:
    try:
        check_folder(what, folder)
    except CloudsError as error:
        # a run keeps the name of a folder that may have done its work
        out = f"or leave these predictions out: --set evaluate.predictions.{name}=null"
        raise CloudsError(error.message, f"{error.mend}; {out}") from error


class _Files:
    """The PNGs that may be a data set's predictions."""

    def __init__(self, what: str, config: PredictionsConfig, dataset: str) -> None:
        self._what, self._config = what, config
        self._files = sorted(_pngs(config.folder, _places(config.folder, dataset)))

    def has_folder(self, form: str) -> bool:
        """Whether any lies in a folder of that name."""
        return any(form in parts[:-1] for _, parts in self._files)

    def match(self, form: Form, ids: Sequence[str]) -> dict[str, str]:
        """Item -> file, of those items that have one in this form. Raises `CloudsError` where there are several."""
        named = _Named(form, self._config.suffix, self._in_form(form))
        found: dict[str, str] = {}
        owners: dict[str, str] = {}
        for id_ in ids:
            paths = named.of(id_)
            if len(paths) > 1:
                raise CloudsError(
                    f"{self._what}: {paths[0]} and {paths[1]} are both named after {id_!r}", "leave one of them"
                )
            for path in paths:
                if owners.setdefault(path, id_) != id_:
                    raise CloudsError(
                        f"{self._what}: {path} is named after {owners[path]!r} and {id_!r}",
                        "put each in the folders that its item's name begins with (`__` is `/`)",
                    )
                found[id_] = path
        return found

    def _in_form(self, form: Form) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The files that may be of a form; their paths within its folder, where there is one."""
        if self.has_folder(form):
            inside = ((path, parts) for path, parts in self._files if form in parts[:-1])
            yield from ((path, parts[parts.index(form) + 1 :]) for path, parts in inside)
            return
        others = ((path, parts) for path, parts in self._files if not set(FORMS) & set(parts[:-1]))
        # the servers' names look like others: unasked, only what is named in full
        ending = "" if form in ("labels", self._config.form) else "_labelIds" if form == "cityscapes" else None
        yield from (one for one in others if ending is not None and one[1][-1].endswith(ending))


class _Named:
    """Files by the names that items may be known under."""

    def __init__(self, form: Form, suffix: str, files: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        self._form = form
        self._whole: dict[str, list[str]] = defaultdict(list)
        self._ends: dict[str, list[str]] = defaultdict(list)
        for path, parts in files:
            if form == "labels" and not parts[-1].endswith(suffix):
                continue
            for number, name in enumerate(self._names((*parts[:-1], parts[-1].removesuffix(suffix)))):
                (self._ends if number else self._whole)[name].append(path)

    def of(self, id_: str) -> list[str]:
        """The files named after an item: by its whole id, wherever they lie, else by all that they are named by."""
        names = self._names(tuple(id_.split("__")))
        places = [(self._whole, names[:1]), (self._ends, names[:1]), (self._whole, names[1:])]
        return next((files[name] for files, tried in places for name in tried if name in files), [])

    def _names(self, parts: tuple[str, ...]) -> list[str]:
        """All of a path and the ends of it; for a server's form what the server reads in it."""
        if self._form != "labels":
            stem = PredictionFiles.stem(self._form, parts[-1])
            return [] if stem is None else [stem]
        return ["__".join(parts[start:]) for start in range(len(parts))]


def _places(folder: Path, dataset: str) -> list[str]:
    shard = re.compile(re.escape(dataset) + r"-\d{5,}")
    shards = [entry.name for entry in os.scandir(folder) if entry.is_dir() and shard.fullmatch(entry.name)]
    return shards or ([dataset] if (folder / dataset).is_dir() else ["."])


def _pngs(folder: Path, places: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The PNGs in these sub-folders, to any depth, each with its path from there in parts; hidden ones are none."""
    for place in places:
        for parent, subfolders, names in os.walk(folder / place):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            below = Path(parent).relative_to(folder / place).parts
            for name in names:
                if name.endswith(_SUFFIX) and not name.startswith("."):
                    yield os.path.join(parent, name), (*below, name.removesuffix(_SUFFIX))


def _check_unlike_acdc(what: str, paths: Iterable[str], label_map: LabelMap) -> None:
    """Raise `UsageError` for names that ACDC's server takes, where its ids would be others than the run's."""
    named = next((path for path in paths if re.fullmatch(r".+_frame_\d{6}_rgb_anon", Path(path).stem)), None)
    if named is None:
        return
    try:
        table = PredictionFiles.of("acdc", label_map).table
    except UsageError:
        return
    if not np.array_equal(table[: label_map.num_classes], np.arange(label_map.num_classes)):
        raise UsageError(
            f"{what}: {named} may hold the run's ids, or train ids as ACDC's server takes them, which differ here",
            "say `form`: labels or acdc",
        )
