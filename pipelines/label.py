"""The stage `label`: a trained segmenter labels the generated images. It does not judge or mend the labels."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from clouds.config import Neutral
from clouds.data.images import read_image, write_gray, write_labels
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.models.detectron2_config import Detectron2Config, check_detectron2, class_ids, detectron2_identity
from clouds.models.protocol import ProtocolConfig
from clouds.models.weights import HashCache
from clouds.report.cards import labels_card
from clouds.report.protocols import protocol_words

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime
    from clouds.models.inference import Segmenter


class LabelConfig(ProtocolConfig):
    """How images are shown to the segmenter, and how pseudo-labels are read from its scores."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Pixels whose best class has less confidence than this become ignore."""
    batch_size: Neutral[Annotated[int, Field(ge=1)]] = 8
    """Images per forward pass; views or windows, where the protocol has several."""
    detectron2: Detectron2Config | None = None
    """A segmenter that detectron2 trained, to label in every round in the place of the run's own."""


@dataclass(frozen=True)
class Detectron2Teacher:
    """A segmenter that detectron2 trained, as what labels."""

    config: Detectron2Config
    label_map: LabelMap
    hashes: HashCache

    def __post_init__(self) -> None:
        """Raises `UsageError` for classes the run does not have."""
        class_ids(self.config, self.label_map)

    @property
    def name(self) -> str:
        return f"detectron2/{self.config.weights.name}"

    def identity(self) -> Mapping[str, Any]:
        return detectron2_identity(self.config, self.hashes)

    def stamp(self) -> str:
        return digest([json.dumps(self.identity(), sort_keys=True)])


# no repr: it would tell all stages before it, once for every way to them
@dataclass(frozen=True, repr=False)
class Label:
    """A label map and a confidence map for each image of an artifact."""

    artifact: Artifact
    config: LabelConfig
    images: Stage
    teacher: Stage
    label_map: LabelMap
    precision: str
    given: Detectron2Teacher | None = None
    """What labels in the place of the teacher; None: the teacher does."""

    kind: ClassVar[str] = "label"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.images, self.teacher) if self.given is None else (self.images,)

    def identity(self) -> Mapping[str, Any]:
        given = {} if self.given is None else {"detectron2": self.given.identity()}
        return {"classes": self.label_map.describe(), "precision": self.precision, **given}

    def fetch(self) -> None:
        """Nothing is elsewhere; but without detectron2 there is no use in going on."""
        if self.given is not None:
            check_detectron2()

    def shards(self) -> Iterable[Shard]:
        return self.images.artifact.mirrored(self._token())

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.inference import predict_scores
        from clouds.ops.pseudo_labels import confidence_to_uint8, pseudo_labels

        segmenter = self._load(runtime)
        token = self._token()

        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                images = [read_image(self.images.artifact.shard_folder(shard.id) / item.payload) for item in batch]
                rows: dict[int, Row | Exception] = {}
                autocast = runtime.accelerator.autocast
                for position, scores_KHW in predict_scores(segmenter, images, autocast, self.config):
                    labels_HW, confidence_HW = pseudo_labels(scores_KHW, self.config.threshold, self.label_map.ignore)
                    row = self._row(batch[position], shard, float(confidence_HW.mean()))
                    write_labels(work.folder / row["file_name"], labels_HW.cpu().numpy())
                    confidence = confidence_to_uint8(confidence_HW).cpu().numpy()
                    write_gray(work.folder / row["confidence_file_name"], confidence)
                    rows[position] = row
                return [rows[position] for position in range(len(batch))]

            for folder in ("labels", "confidence"):
                (work.folder / folder).mkdir(exist_ok=True)
            work.map(self._items(shard, token), process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        shown = protocol_words(self.config.describe())
        labeller = self.teacher.name if self.given is None else self.given.name
        what = f"labels predicted by the segmenter {labeller}, with its confidence; images {shown}"
        write_atomic(self.artifact.folder / "README.md", labels_card(self.artifact, self.label_map, what))

    @property
    def _labeller(self) -> str:
        """What labelled, as metadata name it."""
        return f"{self.teacher.name}/model" if self.given is None else self.given.name

    def _token(self) -> str:
        """What stamps every label: the labeller's weights."""
        return self.teacher.artifact.stamp() if self.given is None else self.given.stamp()

    def _load(self, runtime: "Runtime") -> "Segmenter":
        if self.given is not None:
            from clouds.models.detectron2_segmenter import load_detectron2

            return load_detectron2(self.given.config, self.label_map, runtime.device)
        from clouds.models.segmenter_files import load_segmenter

        model = self.teacher.artifact.shard_folder("model")
        return load_segmenter(model, runtime.device, expect_classes=self.label_map.names)[0]

    def _items(self, shard: Shard, token: str) -> list[Item]:
        rows = self.images.artifact.stamped_rows(shard.id)
        return [Item(row["id"], token + stamp, row["file_name"]) for row, stamp in rows]

    def _row(self, item: Item, shard: Shard, confidence: float) -> Row:
        return {
            "file_name": f"labels/{item.id}.png",
            "confidence_file_name": f"confidence/{item.id}.png",
            "id": item.id,
            "source_image": f"{self.images.name}/{shard.id}/{item.payload}",
            "model": self._labeller,
            "mean_confidence": round(confidence, 6),
        }
