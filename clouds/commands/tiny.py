"""What `clouds tiny` does: stand-ins for the foundation models. It knows none of them."""

from pathlib import Path

import typer


def build_stand_ins(folder: Path, seed: int) -> None:
    """Build the tiny models, saying what they are."""
    from clouds.models.quiet import silence_libraries
    from clouds.models.tiny import build_tiny_models

    silence_libraries()
    if build_tiny_models(folder, seed):
        typer.echo(f"built tiny stand-ins for the foundation models in {folder} (random weights: they know nothing)")
