"""What `clouds doctor` prints: what is on this machine, and what a config needs of it. It downloads nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from clouds.assembly import validated_config
from clouds.commands.printing import JSON, TERMINAL, print_json, table_text
from clouds.engine.disk_space import free_bytes
from clouds.engine.environment import environment, hub_cache, memories
from clouds.engine.memory import Memory
from clouds.engine.settings import RunConfig
from clouds.errors import CloudsError, UsageError
from clouds.models.damage import weights_damage
from clouds.models.miniature import miniature_folder
from clouds.models.needs import (
    ImagesNeed,
    PromptsNeed,
    WeightsNeed,
    images_needed,
    loaded_at_once,
    prompts_needed,
    weights_needed,
)

_CACHE = "the hub's cache"
_ESTIMATE = (
    "disk is an upper bound for images, their labels and what filters measure: images x height x width x (3 bytes + "
    "those of each map), as if PNG saved nothing. On top come SAM's cache (`refine.sam`), predictions that are kept, "
    "the report's pictures and the checkpoints of trainings. Downloads are rough."
)
_IN_MEMORY = (
    "that is their size as stored: what is stored in float32 and computed in float16 takes half. What is computed with "
    "them comes on top and is not known here; so do, of what a training learns, gradients and two moments of each. An "
    "online teacher and `selftrain.feature_distance` each keep a copy of a backbone that learns, which is counted; a "
    "teacher's head is not."
)
_SHOWN = 60


def print_findings(config: str, overrides: Sequence[str], form: str = TERMINAL) -> None:
    """Versions, devices and free space; with a config, its weights and what it would need.

    Raises `CloudsError`, once all is printed, where weights are damaged, or missing and no download brings them, or
    prompts are; `UsageError`, once the machine is told, for a config that cannot be.
    """
    needs, wrong = _needs(config, overrides)
    if form == JSON:
        memory = {name: asdict(one) for name, one in memories().items()}
        machine = {"machine": dict(environment()), "memory_bytes": memory, "free_bytes": _free(needs)}
        print_json({**machine, **(needs.content() if needs else {})})
    else:
        _print_machine(_free(needs), form)
        if needs is not None:
            needs.tell(form)
    if wrong is not None:
        raise wrong
    if needs is not None:
        needs.refuse()


def _needs(config: str, overrides: Sequence[str]) -> "tuple[_Needs | None, CloudsError | None]":
    """What a config needs, or what is wrong with it, which is told after what is on the machine."""
    try:
        return (_Needs(validated_config(config, overrides)) if config else None), None
    except UsageError as error:
        return None, error


class _Needs:
    """What a config needs, and how it is told."""

    def __init__(self, config: RunConfig) -> None:
        self.folder = config.folder
        self.weights: list[WeightsNeed] = weights_needed(config)
        self.images: list[ImagesNeed] = images_needed(config)
        self.prompts: list[PromptsNeed] = prompts_needed(config)
        self.at_once: list[WeightsNeed] = loaded_at_once(config, self.weights)
        # several keys may name one file
        paths = dict.fromkeys(need.path for need in self.weights if need.path is not None)
        self.damage: list[str] = [one for path in paths for one in weights_damage(path)]
        self.on_cpu = config.runtime.device == "cpu"

    @property
    def at_once_bytes(self) -> int:
        """Of the largest weights that are in memory at one time, as they are stored and as far as they are known."""
        return sum(need.size or 0 for need in self.at_once)

    @property
    def hint(self) -> str:
        """What can be done where none of the weights are here; else nothing."""
        if not self.weights or any(need.presence not in ("missing", "to download") for need in self.weights):
            return ""
        demo = (
            "`clouds demo` runs the whole method on miniatures that ship, and " if miniature_folder().is_dir() else ""
        )
        return f"for a look without them: {demo}`clouds tiny FOLDER` builds untrained stand-ins to name in their place"

    @property
    def to_download(self) -> int | None:
        """Bytes, as far as known; None where nothing that is to be downloaded is known."""
        sizes = [need.size for need in self.weights if need.presence == "to download"]
        known = [size for size in sizes if size is not None]
        return sum(known) if known or not sizes else None

    def asked_of(self, what: str) -> int | None:
        """Bytes that would go to a folder of `_free`."""
        return self.to_download if what == _CACHE else _total([one.size for one in self.images])

    def content(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "weights": [
                {"key": need.key, "name": need.name, "presence": need.presence, "bytes": need.size}
                | {"path": None if need.path is None else str(need.path)}
                for need in self.weights
            ],
            "images": [{"key": one.key, "count": one.count, "bytes_at_most": one.size} for one in self.images],
            "prompts": [
                {"key": one.key, "file": None if one.file is None else str(one.file), "count": one.count}
                | {"first": one.first, "problem": None if one.problem is None else one.problem.message}
                for one in self.prompts
            ],
            "download_bytes": self.to_download,
            "weights_at_once": {"keys": [need.key for need in self.at_once], "bytes": self.at_once_bytes},
            "damage": self.damage,
            "estimate": _ESTIMATE,
            "hint": self.hint,
        }

    def tell(self, form: str) -> None:
        """A table of weights, one of images, and how they were estimated."""
        rows = [[need.key, need.name, need.presence, _size(need.size)] for need in self.weights]
        typer.echo("\n" + table_text(["key", "weights", "found", "size"], rows, form), nl=False)
        for damage in self.damage:
            typer.echo(f"damaged: {damage}")
        made = [[one.key, str(one.count), _pixels(one), _size(one.size)] for one in self.images]
        if made:
            typer.echo("\n" + table_text(["makes", "images", "pixels", "disk at most"], made, form), nl=False)
        read = [[one.key, _origin(one), _shown(one.first)] for one in self.prompts if one.problem is None]
        if read:
            typer.echo("\n" + table_text(["key", "prompts", "such as"], read, form), nl=False)
        sizes = [one.size for one in self.images]
        typer.echo(f"\nto download: {_size(self.to_download)}; disk at most: {_size(_total(sizes))}\n{_ESTIMATE}")
        self._tell_memory()
        if self.hint and all(need.presence == "to download" for need in self.weights):
            typer.echo(f"none of these weights are here; {self.hint}")
        for what, free in _free(self).items():
            if (self.asked_of(what) or 0) > free:
                typer.echo(f"warning: {what} has {_size(free)} free, less than {_size(self.asked_of(what))}")

    def refuse(self) -> None:
        """Raises `CloudsError` where weights are damaged, or missing for good, or prompts cannot be read."""
        missing = [need for need in self.weights if need.presence == "missing"]
        if missing:
            where = ", ".join(str(need.path) for need in missing)
            mend = f"put them there, or set {', '.join(need.key for need in missing)} to where they are or to a hub id"
            raise CloudsError(f"no weights at {where}", f"{mend}; {self.hint}" if self.hint else mend)
        if self.damage:
            raise CloudsError(f"damaged weights: {'; '.join(self.damage)}", "copy or download these files again")
        for one in self.prompts:
            if one.problem is not None:
                raise CloudsError(f"'{one.key}': {one.problem.message}", one.problem.mend) from one.problem

    def _tell_memory(self) -> None:
        """The largest weights that are loaded at one time, and a warning where they cannot fit."""
        if not self.at_once:
            return
        times = Counter(need.key for need in self.at_once)
        keys = ", ".join(key if count == 1 else f"{key} {count} times" for key, count in times.items())
        typer.echo(f"\nlargest weights in memory at one time: {_size(self.at_once_bytes)} ({keys}); {_IN_MEMORY}")
        for name, memory in _used(memories(), on_cpu=self.on_cpu).items():
            free = memory.total if memory.free is None else memory.free
            if free is not None and self.at_once_bytes > free:
                typer.echo(f"warning: {name} has {_size(free)} free, less than {_size(self.at_once_bytes)}")


def _used(memory: dict[str, Memory], *, on_cpu: bool) -> dict[str, Memory]:
    """The memory that models are loaded to: the GPUs', where there are any and the config takes them."""
    gpus = {name: one for name, one in memory.items() if name != "ram"}
    return gpus if gpus and not on_cpu else {"ram": memory["ram"]}


def _origin(prompts: PromptsNeed) -> str:
    return "a grammar" if prompts.file is None else f"{prompts.count} in {prompts.file}"


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _print_machine(free: dict[str, int], form: str) -> None:
    rows = [list(row) for row in environment()]
    rows += [[f"free in {what}", f"{_size(count)}"] for what, count in free.items()]
    if form == TERMINAL:
        width = max(len(what) for what, _ in rows)
        for what, which in rows:
            typer.echo(f"{what:<{width}}  {which}")
    else:
        typer.echo(table_text(["what", "which"], rows, form), nl=False)


def _free(needs: _Needs | None) -> dict[str, int]:
    folders = {"the run's folder": needs.folder} if needs else {"this folder": Path.cwd()}
    folders[_CACHE] = hub_cache()
    return {what: free_bytes(folder) for what, folder in folders.items()}


def _pixels(images: ImagesNeed) -> str:
    return "the generator's own" if images.height is None else f"{images.height} x {images.width}"


def _total(sizes: Sequence[int | None]) -> int | None:
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _size(count: int | None) -> str:
    """Bytes to two digits, in the unit people read."""
    if count is None:
        return "not known"
    if count == 0:
        return "nothing"
    if count < 10**6:
        return f"{count / 10**3:.1f} kB"
    return f"{count / 10**9:.1f} GB" if count >= 10**9 else f"{count / 10**6:.0f} MB"
