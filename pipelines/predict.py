"""The stage and the assembly `predict`: a trained segmenter labels images of any origin. It scores nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clouds.config import ConfigPath, Neutral
from clouds.data.images import write_gray, write_image, write_labels
from clouds.data.labels import LabelMap, LabelMapConfig
from clouds.data.listing import list_images
from clouds.data.paired import PairedFiles
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic
from clouds.engine.settings import RunConfig
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.errors import InputError
from clouds.models.protocol import ProtocolConfig
from clouds.models.segmenter_folder import check_segmenter, segmenter_classes, segmenter_identity
from clouds.models.weights import HashCache, user_hash_cache
from clouds.report.cards import predictions_card
from clouds.report.pictures import color_labels, lay_over
from clouds.report.protocols import protocol_words

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime


Bytes = NDArray[np.uint8]
_LABELS, _OVERLAY, _CONFIDENCE = "labels/{}.png", "overlays/{}.jpg", "confidence/{}.png"


class PredictConfig(ProtocolConfig):
    """Which segmenter labels which images, by which protocol, and what is written of it."""

    # told apart by what is in it, not by where it lies
    segmenter: Neutral[ConfigPath]
    """The `model` folder that a training stage wrote."""
    # the list of shards says which; more images leave those that are labelled as they are
    images: Neutral[Annotated[tuple[ConfigPath, ...], Field(min_length=1)]]
    """Image files, folders that are searched to any depth, patterns such as `*/left/*.png`."""
    classes: LabelMapConfig | None = None
    """Other classes than those it was trained for, to ask a text classifier about; null: its own."""
    overlays: bool = True
    """Write a picture of each image with the colours of its classes laid over it."""
    confidence: bool = False
    """Write a map of each pixel's highest score, 0..255."""
    batch_size: Neutral[Annotated[int, Field(ge=1)]] = 4
    """Images per forward pass; views or windows, where the protocol has several."""


class Config(RunConfig):
    """Every value of a run that predicts."""

    pipeline: Literal["predict"] = "predict"
    """The assembly, a file in `pipelines`."""
    predict: PredictConfig
    """Labelling images."""


def build(config: Config) -> list[Stage]:
    """The one stage there is."""
    artifact = Artifact(config.folder / "predict")
    found = list_images(config.predict.images, leave_out=artifact.folder)
    asked = config.predict.classes
    classes = segmenter_classes(config.predict.segmenter) if asked is None else LabelMap.of(asked)
    images = PairedFiles(
        name="images",
        ids=list(found),
        images_at=list(found.values()),
        labels_at=None,
        lookup=classes.own_lookup(),
    )
    precision = config.runtime.mixed_precision
    return [Predict(artifact, config.predict, images, classes, config.shard_items, precision, user_hash_cache())]


@dataclass(frozen=True, repr=False)
class Predict:
    """A label map for each image and, as configured, an overlay and a confidence map."""

    artifact: Artifact
    config: PredictConfig
    images: PairedFiles
    label_map: LabelMap
    shard_items: int
    precision: str
    hashes: HashCache
    needs: tuple[Stage, ...] = ()

    kind: ClassVar[str] = "predict"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def item_ids(self) -> Sequence[str]:
        """The ids of the images it labels."""
        return self.images.ids

    def identity(self) -> Mapping[str, Any]:
        return {
            "segmenter": segmenter_identity(self.config.segmenter, self.hashes),
            "precision": self.precision,
            "shard_items": self.shard_items,
        }

    def fetch(self) -> None:
        check_segmenter(self.config.segmenter)

    def shards(self) -> Iterable[Shard]:
        for number, start in enumerate(range(0, len(self.images.ids), self.shard_items)):
            items = self._items(start)
            yield Shard(f"{number:05d}", len(items), digest(f"{item.id} {item.token}" for item in items))

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.inference import predict_scores
        from clouds.models.segmenter import with_classes
        from clouds.models.segmenter_files import load_segmenter
        from clouds.ops.pseudo_labels import pseudo_labels

        segmenter, _ = load_segmenter(self.config.segmenter, runtime.device)
        if self.config.classes is not None:
            segmenter = with_classes(segmenter, self.label_map)

        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                read = [self._read(item) for item in batch]
                # a broken image leaves the others of its batch alone
                whole = [place for place, image in enumerate(read) if not isinstance(image, InputError)]
                images = [image for image in read if not isinstance(image, InputError)]
                results: dict[int, Row] = {}
                for number, scores_KHW in predict_scores(segmenter, images, runtime.accelerator.autocast, self.config):
                    # the best class even where the model is sure of nothing: `pseudo_labels` would ignore such pixels
                    labels_HW = scores_KHW.argmax(0).cpu().numpy().astype(np.uint8)
                    confidence_HW = pseudo_labels(scores_KHW)[1].cpu().numpy()
                    item = batch[whole[number]]
                    self._write(work.folder, item.id, images[number], labels_HW, confidence_HW)
                    results[whole[number]] = self._row(item, float(confidence_HW.mean()))
                return [image if isinstance(image, InputError) else results[place] for place, image in enumerate(read)]

            for folder in (
                "labels",
                *(["overlays"] * self.config.overlays),
                *(["confidence"] * self.config.confidence),
            ):
                (work.folder / folder).mkdir(exist_ok=True)
            work.map(self._items(int(shard.id) * self.shard_items), process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        what = f"predicted by {self.config.segmenter}; images {protocol_words(self.config.describe())}"
        identity = segmenter_identity(self.config.segmenter, self.hashes)
        write_atomic(
            self.artifact.folder / "README.md", predictions_card(self.artifact, self.label_map, what, identity)
        )

    def _items(self, start: int) -> list[Item]:
        """The items of the shard that begins with this one; a file is stamped by its size."""
        indices = range(start, min(start + self.shard_items, len(self.images.ids)))
        return [Item(self.images.ids[index], self.images.stamp(index), index) for index in indices]

    def _read(self, item: Item) -> Bytes | InputError:
        try:
            return self.images.image(item.payload)
        except InputError as error:
            return error

    def _write(
        self, folder: Path, id_: str, image_HWC: Bytes, labels_HW: Bytes, confidence_HW: NDArray[np.float32]
    ) -> None:
        write_labels(folder / _LABELS.format(id_), labels_HW)
        if self.config.overlays:
            write_image(folder / _OVERLAY.format(id_), lay_over(image_HWC, color_labels(labels_HW, self.label_map)))
        if self.config.confidence:
            write_gray(folder / _CONFIDENCE.format(id_), (255 * confidence_HW).round().astype(np.uint8))

    def _row(self, item: Item, confidence: float) -> Row:
        files = {
            "file_name": _LABELS.format(item.id),
            **({"overlay_file_name": _OVERLAY.format(item.id)} if self.config.overlays else {}),
            **({"confidence_file_name": _CONFIDENCE.format(item.id)} if self.config.confidence else {}),
        }
        source = str(self.images.images_at[item.payload])
        return {**files, "id": item.id, "source_image": source, "mean_confidence": round(confidence, 6)}
