"""What the miniature learns from, read from an artifact: pictures, captions, object masks. It knows no class."""

from collections.abc import Sequence
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from clouds.data.images import read_image, read_labels
from clouds.engine.artifact import Artifact
from clouds.engine.rows import Rows
from clouds.training.draws import in_rounds


class Corpus(Protocol):
    """Captioned pictures with the masks of their objects; nothing says what an object is."""

    @property
    def ids(self) -> Sequence[str]:
        """One id per picture; its position is the picture's index."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB."""

    def caption(self, index: int) -> str:
        """What the picture shows, in words."""

    def instances(self, index: int) -> NDArray[np.uint16]:
        """uint16 [H, W]: a number from 1 for each object or region; 0 where there is none."""


class CaptionedLatents(Protocol):
    """Encoded pictures with their captions."""

    @property
    def ids(self) -> Sequence[str]:
        """One id per picture; its position is the picture's index."""

    def latent(self, index: int) -> NDArray[np.float16]:
        """float16 [C, h, w]: the autoencoder's latent, not yet scaled."""

    def caption(self, index: int) -> str:
        """What the picture shows, in words."""


class _Ids(Sequence[str]):
    """The ids of an artifact's rows, read when asked for."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return str(self._rows[index][1]["id"])


class CorpusFolder:
    """The pictures a stage `corpus` rendered."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._rows = Rows(artifact)
        self.ids: Sequence[str] = _Ids(self._rows)

    def image(self, index: int) -> NDArray[np.uint8]:
        shard, row = self._rows[index]
        return read_image(self._artifact.shard_folder(shard) / row["file_name"])

    def caption(self, index: int) -> str:
        return str(self._rows[index][1]["caption"])

    def instances(self, index: int) -> NDArray[np.uint16]:
        shard, row = self._rows[index]
        return read_labels(self._artifact.shard_folder(shard) / row["instances_file_name"]).astype(np.uint16)


class LatentsFolder:
    """The latents a stage `latents` made of a corpus."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._rows = Rows(artifact)
        self.ids: Sequence[str] = _Ids(self._rows)

    def latent(self, index: int) -> NDArray[np.float16]:
        shard, row = self._rows[index]
        latent: NDArray[np.float16] = np.load(self._artifact.shard_folder(shard) / row["file_name"], allow_pickle=False)
        return latent

    def caption(self, index: int) -> str:
        return str(self._rows[index][1]["caption"])


class Rounds:
    """Which item a draw takes: each once per round, in an order of the round's own; a function of seed and number."""

    def __init__(self, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError("there is nothing to draw from")
        self._size, self._seed = size, seed

    def __call__(self, number: int) -> int:
        """The index of the item that this draw takes."""
        return in_rounds(number, self._size, self._seed)
