"""A segmenter's folder that is there already, from another run or another machine. It loads no weights.

It knows no stage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clouds.errors import UsageError
from clouds.models.segmenter_folder import CONFIG_FILE, WEIGHTS_FILE, is_segmenter, segmenter_identity
from clouds.models.weights import HashCache


@dataclass(frozen=True)
class GivenSegmenter:
    """A segmenter by the name it has in this run."""

    name: str
    folder: Path
    hashes: HashCache

    def __post_init__(self) -> None:
        """Raises `UsageError` for a folder that holds no segmenter."""
        if is_segmenter(self.folder):
            return
        inner = self.folder / "model"
        wanted = f"give the `model` folder that a training stage wrote: it holds {CONFIG_FILE} and {WEIGHTS_FILE}"
        mend = f"did you mean {inner}?" if is_segmenter(inner) else wanted
        raise UsageError(f"'models.{self.name}': {self.folder} holds no segmenter", mend)

    def identity(self) -> Mapping[str, str]:
        """What its files hold; where they lie does not enter."""
        return segmenter_identity(self.folder, self.hashes)
