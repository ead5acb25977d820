"""The folder that a published data set was unpacked into: which arrangement is there, and what is missing. It knows no
class and decodes no image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clouds.data.finding import base_of, check_folder, find_files, listing, look_for
from clouds.data.images import IMAGE_SUFFIXES
from clouds.data.published.preset import Coding, Form, Preset
from clouds.errors import CloudsError


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """The wanted part of a published data set: a split, a condition or `all`, with labels or without.

    `where` begins every error. What is not there is a `CloudsError` that says where to get the data set.
    """

    where: str
    root: Path
    preset: Preset
    split: str | None
    condition: str | None
    labelled: bool

    def form(self) -> Form:
        """The first arrangement whose folders are there."""
        self._check_root()
        forms = [form for form in self.preset.forms if form.by_split == (self.split is not None)]
        lacking = [self._missing(form) for form in forms]
        there = [form for form, missing in zip(forms, lacking, strict=True) if not missing]
        if there:
            return there[0]
        # of several arrangements, the one that lacks least is meant
        meant = min(range(len(forms)), key=lambda position: len(lacking[position]))
        other = "if the splits have folders of their own, set `split`; " if self.split is None else ""
        raise CloudsError(
            f"{self.where}: {self.root} is not laid out as {self.preset.title}: no {' and no '.join(lacking[meant])}",
            f"expected {self._expected(forms[meant])}; found: {listing(self.root)}; {other}get {self.preset.source}",
        )

    def images(self, form: Form) -> dict[str, str]:
        """Id -> image file, of an arrangement that is there."""
        try:
            return find_files(f"{self.where}: images", self.root, self._at(form.images), form.suffix, IMAGE_SUFFIXES)
        except CloudsError as error:
            raise CloudsError(
                error.message, f"expected {self._expected(form)}; get {self.preset.source}; {error.mend}"
            ) from error

    def labels(self, form: Form, ids: Sequence[str]) -> tuple[Coding, dict[str, str]]:
        """The first coding of which all images have a file, with id -> file; else that which most of them have."""
        found: list[tuple[int, Coding, dict[str, str]]] = []
        for coding in form.codings:
            if not self._is_there(coding.labels):
                continue
            what = f"{self.where}: labels"
            labels = look_for(what, self.root, self._at(coding.labels), coding.suffix, coding.kinds)
            found.append((sum(id_ in labels for id_ in ids), coding, labels))
            if found[-1][0] == len(ids):
                break
        count, coding, labels = max(found, key=lambda entry: entry[0])
        if not count:
            raise CloudsError(
                f"{self.where}: none of its {len(ids)} images has a label file",
                f"expected {self._expected(form)}; get {self.preset.source}; or set `labels: false`",
            )
        return coding, labels

    def _check_root(self) -> None:
        try:
            check_folder(f"{self.where} ({self.preset.title})", self.root)
        except CloudsError as error:
            raise CloudsError(error.message, f"{error.mend}; or get {self.preset.source}") from error

    def _missing(self, form: Form) -> list[str]:
        """The folders of an arrangement that are not there, in words."""
        missing = [] if self._is_there(form.images) else [self._said(form.images)]
        if self.labelled and not any(self._is_there(coding.labels) for coding in form.codings):
            missing.append(self._said(form.codings[0].labels))
        return missing

    def _at(self, place: str) -> str:
        """A place with the split's and the condition's own names in it."""
        split = self.preset.splits.get(self.split or "", "")
        return place.format(split=split, condition="*" if self.condition == "all" else self.condition)

    def _is_there(self, place: str) -> bool:
        return base_of(self.root, self._at(place)).is_dir()

    def _said(self, place: str) -> str:
        return f"{base_of(self.root, self._at(place)).relative_to(self.root)}/"

    def _expected(self, form: Form) -> str:
        """The files of an arrangement, in words."""
        images = f"images {self._files(form.images, form.suffix, '.png or .jpg')}"
        if not self.labelled:
            return images
        labels = [
            self._files(coding.labels, coding.suffix, ".png" if ".png" in coding.kinds else min(coding.kinds))
            for coding in form.codings
        ]
        return f"{images}, labels {' or '.join(labels)}"

    def _files(self, place: str, suffix: str, kind: str) -> str:
        return self._at(place) + ("" if place.endswith("*") else "/**/*") + suffix + kind
