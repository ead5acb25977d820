"""What `clouds doctor` prints: what is on this machine, and what a config needs of it. It downloads nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from clouds.assembly import validated_config
from clouds.commands.printing import JSON, TERMINAL, print_json, table_text
from clouds.engine.disk_space import free_bytes
from clouds.engine.environment import environment, hub_cache
from clouds.engine.settings import RunConfig
from clouds.errors import CloudsError
from clouds.models.needs import ImagesNeed, WeightsNeed, images_needed, weights_needed

_CACHE = "the hub's cache"
_ESTIMATE = (
    "disk is an upper bound for images, their labels and what filters measure: images x height x width x (3 bytes + "
    "those of each map), as if PNG saved nothing. On top come SAM's cache (`refine.sam`), predictions that are kept, "
    "the report's pictures and the checkpoints of trainings. Downloads are rough."
)


def print_findings(config: str, overrides: Sequence[str], form: str = TERMINAL) -> None:
    """Versions, devices and free space; with a config, its weights and what it would need.

    Raises `CloudsError`, once all is printed, where weights are missing that no download brings.
    """
    needs = _Needs(validated_config(config, overrides)) if config else None
    if form == JSON:
        print_json({"machine": dict(environment()), "free_bytes": _free(needs), **(needs.content() if needs else {})})
    else:
        _print_machine(_free(needs), form)
        if needs is not None:
            needs.tell(form)
    missing = [need for need in needs.weights if need.presence == "missing"] if needs else []
    if missing:
        raise CloudsError(
            f"no weights at {', '.join(str(need.path) for need in missing)}",
            f"put them there, or set {', '.join(need.key for need in missing)} to where they are or to a hub id",
        )


class _Needs:
    """What a config needs, and how it is told."""

    def __init__(self, config: RunConfig) -> None:
        self.folder = config.folder
        self.weights: list[WeightsNeed] = weights_needed(config)
        self.images: list[ImagesNeed] = images_needed(config)

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
            "download_bytes": self.to_download,
            "estimate": _ESTIMATE,
        }

    def tell(self, form: str) -> None:
        """A table of weights, one of images, and how they were estimated."""
        rows = [[need.key, need.name, need.presence, _size(need.size)] for need in self.weights]
        typer.echo("\n" + table_text(["key", "weights", "found", "size"], rows, form), nl=False)
        made = [[one.key, str(one.count), _pixels(one), _size(one.size)] for one in self.images]
        if made:
            typer.echo("\n" + table_text(["makes", "images", "pixels", "disk at most"], made, form), nl=False)
        sizes = [one.size for one in self.images]
        typer.echo(f"\nto download: {_size(self.to_download)}; disk at most: {_size(_total(sizes))}\n{_ESTIMATE}")
        for what, free in _free(self).items():
            if (self.asked_of(what) or 0) > free:
                typer.echo(f"warning: {what} has {_size(free)} free, less than {_size(self.asked_of(what))}")


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
