"""A segmenter's folder that is there already, from another run or another machine. It loads no weights.

It knows no stage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clouds.errors import UsageError
from clouds.models.weights import HashCache

# as `segmenter_files`, which imports torch, writes them
_FILES = ("config.json", "model.safetensors")


@dataclass(frozen=True)
class GivenSegmenter:
    """A segmenter by the name it has in this run."""

    name: str
    folder: Path
    hashes: HashCache

    def __post_init__(self) -> None:
        """Raises `UsageError` for a folder that holds no segmenter."""
        if all((self.folder / file).is_file() for file in _FILES):
            return
        inner = self.folder / "model"
        near = f"did you mean {inner}?" if (inner / _FILES[0]).is_file() else ""
        wanted = f"give the `model` folder that a training stage wrote: it holds {' and '.join(_FILES)}"
        raise UsageError(f"'models.{self.name}': {self.folder} holds no segmenter", near or wanted)

    def identity(self) -> Mapping[str, str]:
        """What its files hold; where they lie does not enter."""
        found = {file: self.hashes.sha256(self.folder / file) for file in _FILES}
        self.hashes.save()
        return found
