"""What the engine asks of a stage. It knows no particular one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from clouds.config import ConfigModel
from clouds.engine.artifact import Artifact
from clouds.engine.shard import Shard
from clouds.engine.work import ShardWork

if TYPE_CHECKING:  # the runtime imports torch, which planning does without
    from clouds.engine.runtime import Runtime


Worker = Callable[[Shard, ShardWork], None]
"""Does one shard of work with the models it holds; dropping it frees them."""


class Stage(Protocol):
    """One step of a method: it lists its shards of work and makes one of them when asked.

    `kind` is the command that runs it, `unit` what the progress bar counts. A `collective` stage has every process
    work on the same shard together; otherwise shards are split between processes.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def collective(self) -> bool: ...
    @property
    def config(self) -> ConfigModel: ...
    @property
    def needs(self) -> Sequence["Stage"]: ...
    @property
    def artifact(self) -> Artifact: ...

    def identity(self) -> Mapping[str, Any]:
        """What the output depends on beyond the config: the identity of weights and data. Loads no model."""

    def fetch(self) -> None:
        """Bring weights that are elsewhere to this disk, so that their identity is known. Called before work only."""

    def shards(self) -> Iterable[Shard]:
        """The shards of work, in order. Called only when every stage it needs is complete."""

    def prepare(self, runtime: "Runtime") -> Worker:
        """Load what the work needs, on this process's device."""

    def finish(self) -> None:
        """Write the files that describe the whole artifact, once every shard is published."""
