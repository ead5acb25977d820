"""What `clouds pretrain` does once the miniature is packed: says where it lies, or installs it. It trains nothing."""

import os
import shlex

import typer

from clouds.assembly import Assembly
from clouds.engine.stage import Stage


def hand_over(assembly: Assembly, package: Stage, *, install: bool) -> None:
    """Say where the packed miniature lies and how it takes the place of the one that ships; or put it there."""
    if int(os.environ.get("RANK", "0")) > 0:
        return
    from clouds.models.miniature import install_miniature, miniature_folder

    [shard] = package.artifact.shard_ids()
    folder = package.artifact.shard_folder(shard)
    typer.echo(f"packed: {folder}")
    if install:
        install_miniature(folder, miniature_folder())
        typer.echo(f"installed: {miniature_folder()}")
    else:
        run_folder = shlex.quote(str(assembly.config.folder))
        typer.echo(f"to put it in place of the weights that ship: clouds pretrain {run_folder} --install")
