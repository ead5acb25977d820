"""The filters a config can ask for: what each wants to know of an image, and which of its pixels it keeps.

It reads no file and loads no model. A new filter is a class here, of the form of `TrustFilter`, and a line in
`AnyFilter`; what it wants to know comes from a stage that measures it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from clouds.config import ConfigModel, Share
from clouds.errors import nearest
from clouds.ops.filters import (
    BoolArray,
    confident,
    hardness,
    loss_limits,
    lowest_count,
    same_label,
    score_limit,
    stable,
    usual_loss,
)

Wanted = Literal["confidence", "pseudo", "loss", "source_loss", "views", "prompt"]
"""What a filter can want to know besides the labels: the pseudo-label's confidence, the pseudo-label itself, the loss
of the labels, that of the source's true labels, the votes of views, the score of image and prompt."""
MeanOver = Literal["generated", "source"]
"""Over which images a class has its mean loss."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """One image's labels, uint8 (H, W), and what is known of them; what no filter wants to know may be None.

    `confidence_HW` is uint8, 255 standing for 1. `loss_HW` is uint16, in the steps of `label_loss`. Of `views` views,
    `votes_HW` give one class. `prompt_score` is a cosine.
    """

    labels_HW: NDArray[np.uint8]
    ignore: int = 255
    pseudo_HW: NDArray[np.uint8] | None = None
    confidence_HW: NDArray[np.uint8] | None = None
    loss_HW: NDArray[np.uint16] | None = None
    votes_HW: NDArray[np.uint8] | None = None
    views: int = 0
    prompt_score: float | None = None


@dataclass(frozen=True, eq=False)
class ClassLosses:
    """The losses of the labels of each class, in steps, added up over a set of images, and its pixels in them."""

    loss_sum_K: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    pixels_K: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @classmethod
    def of(cls, images: Iterable[Sequence[Sequence[int]]], num_classes: int) -> "ClassLosses":
        """Those of images by their `count_classes`."""
        loss_sum_K, pixels_K = (np.zeros(num_classes, dtype=np.int64) for _ in range(2))
        for classes in images:
            for class_id, pixels, loss_sum in classes:
                pixels_K[class_id] += pixels
                loss_sum_K[class_id] += loss_sum
        return cls(loss_sum_K, pixels_K)

    def limits(self, margin: float) -> NDArray[np.floating[Any]]:
        """The highest losses that are kept; see `clouds.ops.filters.loss_limits`."""
        return loss_limits(self.loss_sum_K, self.pixels_K, margin)


@dataclass(frozen=True, eq=False, kw_only=True)
class Totals:
    """What is known of all images together: how well labels are borne out, and their scores with prompts, ascending."""

    losses: Mapping[MeanOver, ClassLosses] = field(default_factory=dict)
    prompt_scores: Sequence[float] = ()

    def hardness(self, classes: Sequence[Sequence[int]], over: MeanOver = "generated") -> float:
        """How hard an image's labels are, from its `count_classes`; see `clouds.ops.filters.hardness`.

        Pixels of classes that those images have none of have no say: nothing tells how hard they are. An image that has
        no others is as hard as the pixels of those images are in the mean.
        """
        losses = self.losses[over]
        mean_K = np.divide(losses.loss_sum_K, np.maximum(losses.pixels_K, 1))
        pixels_K = np.zeros(len(mean_K), dtype=np.int64)
        for class_id, pixels, _ in classes:
            pixels_K[class_id] = pixels
        known_K = np.where(losses.pixels_K > 0, pixels_K, 0)
        return hardness(known_K if known_K.any() or not pixels_K.any() else losses.pixels_K, mean_K)


class TrustFilter(Protocol):
    """One filter with its threshold; also a config class.

    `measure` says in words the best of what is compared with the threshold.
    """

    @property
    def type(self) -> str: ...
    @property
    def wants(self) -> frozenset[Wanted]: ...
    @property
    def measure(self) -> str: ...
    @property
    def lower_is_better(self) -> bool: ...

    def keep(self, seen: Evidence, totals: Totals) -> BoolArray:
        """bool (H, W): the pixels it trusts."""

    def best(self, seen: Evidence, totals: Totals) -> float | None:
        """The value of the most trusted of the labelled pixels; None where no pixel has a label."""

    def setting(self) -> str:
        """The threshold as the config says it."""


class ConfidenceFilter(ConfigModel):
    """Drops pixels the segmenter was not sure of."""

    type: Literal["confidence"] = "confidence"
    """The pseudo-label's confidence."""
    least: Share
    """The lowest confidence that is kept: the share of a pixel's scores that its pseudo-label has."""

    wants: ClassVar[frozenset[Wanted]] = frozenset({"confidence"})
    measure: ClassVar[str] = "highest confidence"
    lower_is_better: ClassVar[bool] = False

    def keep(self, seen: Evidence, totals: Totals) -> BoolArray:
        return confident(self._confidence(seen), self.least)

    def best(self, seen: Evidence, totals: Totals) -> float | None:
        return _highest(self._confidence(seen), seen)

    def setting(self) -> str:
        return f"least: {self.least}"

    def _confidence(self, seen: Evidence) -> NDArray[np.float64]:
        assert seen.confidence_HW is not None
        return seen.confidence_HW / 255


class ClassLossFilter(ConfigModel):
    """Drops pixels whose label the segmenter finds unlikelier than others of the class (FreeMask, arXiv 2310.15160)."""

    type: Literal["class_loss"] = "class_loss"
    """The segmenter's cross-entropy of the label."""
    margin: Annotated[float, Field(gt=0)] = 1.25
    """The highest loss that is kept, as a multiple of the mean loss of the label's class."""
    mean_over: MeanOver = "generated"
    """Over which images that mean is: all generated ones, or the source's by their true labels, as published."""

    measure: ClassVar[str] = "lowest loss, as a multiple of its class' mean,"
    lower_is_better: ClassVar[bool] = True

    @property
    def wants(self) -> frozenset[Wanted]:
        return _losses(self.mean_over)

    def keep(self, seen: Evidence, totals: Totals) -> BoolArray:
        assert seen.loss_HW is not None
        return usual_loss(seen.loss_HW, seen.labels_HW, totals.losses[self.mean_over].limits(self.margin))

    def best(self, seen: Evidence, totals: Totals) -> float | None:
        assert seen.loss_HW is not None
        mean_K = np.maximum(totals.losses[self.mean_over].limits(1.0), 1e-9)
        ratios = [
            seen.loss_HW[seen.labels_HW == one].min() / mean_K[one]
            for one in np.unique(seen.labels_HW)
            if one < len(mean_K)
        ]
        return float(min(ratios)) if ratios else None

    def setting(self) -> str:
        return f"margin: {self.margin}" + (", mean_over: source" if self.mean_over == "source" else "")


class SamAgreementFilter(ConfigModel):
    """Drops pixels that refinement gave another label than the segmenter did."""

    type: Literal["sam_agreement"] = "sam_agreement"
    """Agreement of the refined label with the pseudo-label."""

    wants: ClassVar[frozenset[Wanted]] = frozenset({"pseudo"})
    measure: ClassVar[str] = "highest agreement, 1 for the same label and 0 for another,"
    lower_is_better: ClassVar[bool] = False

    def keep(self, seen: Evidence, totals: Totals) -> BoolArray:
        assert seen.pseudo_HW is not None
        return same_label(seen.labels_HW, seen.pseudo_HW)

    def best(self, seen: Evidence, totals: Totals) -> float | None:
        return _highest(self.keep(seen, totals), seen)

    def setting(self) -> str:
        return "the same label"


class ViewAgreementFilter(ConfigModel):
    """Drops pixels that the segmenter labels otherwise when the image is mirrored or scaled."""

    type: Literal["view_agreement"] = "view_agreement"
    """Agreement of the segmenter's labels in several views, `filter.views`."""
    least: Share = 1.0
    """The lowest share of views with the most frequent label that is kept."""

    wants: ClassVar[frozenset[Wanted]] = frozenset({"views"})
    measure: ClassVar[str] = "highest share of views that agree"
    lower_is_better: ClassVar[bool] = False

    def keep(self, seen: Evidence, totals: Totals) -> BoolArray:
        assert seen.votes_HW is not None
        return stable(seen.votes_HW, seen.views, self.least)

    def best(self, seen: Evidence, totals: Totals) -> float | None:
        assert seen.votes_HW is not None
        return _highest(seen.votes_HW / seen.views, seen)

    def setting(self) -> str:
        return f"least: {self.least}"


class ClipScoreFilter(ConfigModel):
    """Drops images that do not show what was asked for."""

    type: Literal["clip_score"] = "clip_score"
    """The cosine of a CLIP's vectors of an image and of its prompt."""
    least: Annotated[float, Field(ge=-1, le=1)] | None = None
    """The lowest score that is kept."""
    lowest: Annotated[float, Field(ge=0, lt=1)] | None = None
    """In place of `least`: the share of the images that is dropped, those of the lowest scores."""

    wants: ClassVar[frozenset[Wanted]] = frozenset({"prompt"})
    measure: ClassVar[str] = "highest score"
    lower_is_better: ClassVar[bool] = False

    @model_validator(mode="after")
    def _has_one_threshold(self) -> "ClipScoreFilter":
        if (self.least is None) == (self.lowest is None):
            raise ValueError("give either `least`, a score, or `lowest`, a share of the images")
        return self

    def keep(self, seen: Evidence, totals: Totals) -> BoolArray:
        assert seen.prompt_score is not None
        least = score_limit(totals.prompt_scores, self.lowest) if self.lowest is not None else self.least
        return np.full(seen.labels_HW.shape, least is None or seen.prompt_score >= least)

    def best(self, seen: Evidence, totals: Totals) -> float | None:
        return seen.prompt_score

    def setting(self) -> str:
        return f"lowest: {self.lowest}" if self.least is None else f"least: {self.least}"

    def idle(self, images: int) -> str:
        """Why `lowest` drops none of so many images; nothing where it drops some, or is not to drop any."""
        if not self.lowest or not images or lowest_count(images, self.lowest):
            return ""
        return (
            f"clip_score: lowest {self.lowest:g} of {images} images is less than one image, so none is dropped; "
            f"from {1 / images:.2g} on it is one, and `least` asks for a score however many images there are"
        )


_TYPES = ("confidence", "class_loss", "sam_agreement", "view_agreement", "clip_score")


def _known_type(value: Any) -> Any:
    """The value as it is, unless it names a filter that there is not."""
    type_ = value.get("type") if isinstance(value, dict) else None
    if isinstance(type_, str) and type_ not in _TYPES:
        raise ValueError(f"there is no filter of the type {type_!r}; {nearest(type_, _TYPES)}")
    return value


AnyFilter = Annotated[
    Annotated[ConfidenceFilter, Tag("confidence")]
    | Annotated[ClassLossFilter, Tag("class_loss")]
    | Annotated[SamAgreementFilter, Tag("sam_agreement")]
    | Annotated[ViewAgreementFilter, Tag("view_agreement")]
    | Annotated[ClipScoreFilter, Tag("clip_score")],
    Discriminator(
        lambda value: value.get("type") if isinstance(value, dict) else getattr(value, "type", None),
        custom_error_type="filter_type",
        custom_error_message=f"a filter has a `type`, one of {', '.join(_TYPES)}",
    ),
    BeforeValidator(_known_type),
]
"""A filter of any kind, told by its `type`."""


class HarderConfig(ConfigModel):
    """Hard images are drawn more often (FreeMask, arXiv 2310.15160)."""

    most: Annotated[int, Field(ge=1)] = 20
    """How often the hardest image is drawn for each time the easiest is; by rank between them."""
    mean_over: MeanOver = "generated"
    """As in `class_loss`: over which images the mean losses of classes are that make an image hard."""

    @property
    def wants(self) -> frozenset[Wanted]:
        """As a filter's."""
        return _losses(self.mean_over)


def _losses(mean_over: MeanOver) -> frozenset[Wanted]:
    """What asks for the losses of generated labels, and of those that it compares them with, wants to know."""
    return frozenset(("loss", "source_loss") if mean_over == "source" else ("loss",))


def _highest(values_HW: NDArray[np.generic], seen: Evidence) -> float | None:
    """The highest value of a pixel that has a label."""
    values = values_HW[seen.labels_HW != seen.ignore]
    return float(values.max()) if values.size else None
