"""A SAM within a training: the config's side of it, and a teacher's labels refined. It knows no step and no optimizer.

It imports no tensor library before it works, so that a plan reads it fast.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clouds.config import flatten
from clouds.engine.file_cache import FileCache
from clouds.models.refinement_config import RefinementConfig
from clouds.models.sam_config import SamConfig
from clouds.models.weights import HashCache, weight_identity
from clouds.ops.mask_model import FloatArray
from clouds.ops.refinement import PseudoLabel

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime
    from clouds.models.sam import SamRefiner
    from clouds.models.sam_promptable import EncodedImage


@dataclass(frozen=True)
class TeacherLabel:
    """What a teacher said of one image: uint8 (H, W, 3), its labels uint8 (H, W) and their confidence float32 (H, W).

    `mirrored`: whether this is the whole image mirrored, or as it is; None for a part of it. `seed` draws the points.
    """

    image_HWC: NDArray[np.uint8]
    labels_HW: NDArray[np.uint8]
    confidence_HW: FloatArray
    mirrored: bool | None
    seed: int


@dataclass(frozen=True)
class Sharpening:
    """Which SAM refines a teacher's labels, and by which rule."""

    sam: SamConfig
    rule: RefinementConfig
    hashes: HashCache

    def identity(self) -> dict[str, Any]:
        """What the refined labels depend on, for a fingerprint. Loads no model."""
        return {"sam": {**dict(flatten(self.sam)), **self._weights()}, "rule": dict(flatten(self.rule))}

    def fetch(self) -> None:
        """Bring the SAM's weights to this disk."""
        from clouds.models.sam_source import sam_path

        sam_path(self.sam.weights, self.sam.revision)

    def build(self, runtime: "Runtime", run_folder: Path) -> "LabelRefiner":
        """The SAM on this process's device; encoded images are kept below the run's folder."""
        store = None
        if self.sam.cache:
            precision = runtime.config.mixed_precision
            origin = {"weights": self._weights(), "precision": precision, **dict(flatten(self.sam))}
            folder = run_folder / "cache" / "sam-views"
            store = FileCache(folder, origin, self.sam.cache_gb * 1e9, 1 / runtime.world_size)
            if runtime.is_main:
                store.drop_others()
        return LabelRefiner(self.sam.build(runtime.device, self.rule.settings()), store)

    def _weights(self) -> dict[str, str | bool]:
        return weight_identity(self.sam.weights, self.sam.revision, cache=self.hashes, key="refine.sam.weights")


class LabelRefiner:
    """Refines labels of images as they come, whole or in part.

    A whole image comes again and again, so what the SAM's encoder makes of it is kept by its content; one that comes
    mirrored is refined as it is stored, and the labels mirrored back. A part will not come again, and what an encoder
    makes of it is not a part of what it makes of the whole: it is encoded each time. So a run whose `generated_augment`
    scales by 1 and crops nothing, as published, encodes each image once.
    """

    def __init__(self, refiner: "SamRefiner", store: FileCache | None = None) -> None:
        self._refiner, self._store = refiner, store

    def __call__(self, taught: Sequence[TeacherLabel], ignore: int) -> list[NDArray[np.uint8]]:
        """Refined labels uint8 (H, W), in order; the components of all images share calls of the decoder."""
        turned = [_turned(one) if one.mirrored else one for one in taught]
        pseudo = [PseudoLabel(one.labels_HW, one.confidence_HW, np.random.default_rng(one.seed)) for one in turned]
        results = self._refiner.refine_all(lambda: [self._encoded(one) for one in turned], pseudo, ignore)
        refined = [result.labels_HW.astype(np.uint8) for result in results]
        pairs = zip(refined, taught, strict=True)
        return [np.ascontiguousarray(labels[:, ::-1]) if one.mirrored else labels for labels, one in pairs]

    def _encoded(self, one: TeacherLabel) -> "EncodedImage":
        """Alone, because sums depend on what shares a batch: a kept one equals a fresh one to the bit."""
        from clouds.models.sam_cache import encoded_by_key

        store = None if one.mirrored is None else self._store
        key = hashlib.sha256(repr(one.image_HWC.shape).encode() + one.image_HWC.tobytes()).hexdigest()
        [encoded] = encoded_by_key([key], lambda: [one.image_HWC], self._refiner.encode, store)
        return encoded


def _turned(one: TeacherLabel) -> TeacherLabel:
    return TeacherLabel(
        image_HWC=np.ascontiguousarray(one.image_HWC[:, ::-1]),
        labels_HW=np.ascontiguousarray(one.labels_HW[:, ::-1]),
        confidence_HW=np.ascontiguousarray(one.confidence_HW[:, ::-1]),
        mirrored=False,
        seed=one.seed,
    )
