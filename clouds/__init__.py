"""CLOUDS: foundation models that teach a segmenter to work where no label was ever seen.

The means only: how each thing is done. What happens in what order stands in the package `pipelines`.
`from clouds import load_segmenter` is the way to use a trained segmenter; see `clouds.api`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The Python interface, brought in when first asked for, so that the command line starts without it."""
    if name == "load_segmenter":
        return import_module("clouds.api").load_segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
