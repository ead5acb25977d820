"""The rows of an artifact by number, read when asked for: memory holds their places only. It knows no row's meaning."""

import json
from bisect import bisect_right
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clouds.engine.artifact import METADATA, Artifact


class Rows:
    """Random access to the metadata of an artifact's published shards, in order; eight bytes a row stay in memory."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._shards = artifact.shard_ids()
        self._places = [_line_starts(artifact, shard) for shard in self._shards]
        self._ends = list(accumulate(len(places) for places in self._places))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> tuple[str, dict[str, Any]]:
        """The shard's id and the row. Raises `IndexError` beyond the last one, and for numbers below 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        shard, places = self._shards[number], self._places[number]
        place = places[index - (self._ends[number] - len(places))]
        with (self._artifact.shard_folder(shard) / METADATA).open("rb") as file:
            file.seek(int(place))
            return shard, json.loads(file.readline())


def _line_starts(artifact: Artifact, shard: str) -> NDArray[np.int64]:
    with (artifact.shard_folder(shard) / METADATA).open("rb") as file:
        ends = np.fromiter(accumulate(len(line) for line in file), dtype=np.int64)
    return np.concatenate([np.zeros(1, np.int64), ends])[:-1]
