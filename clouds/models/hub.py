"""Brings weights from the Hugging Face hub to this disk. It knows no model."""

import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

from clouds.errors import CloudsError

REACH_TIMEOUT_S = 5.0


def download(
    source: str,
    revision: str | None,
    get: Callable[[list[str]], str | Path],
    refuse: Callable[[str], CloudsError],
) -> Path:
    """The folder that `get` makes of the repository's list of files, once the hub has answered.

    A download retries for minutes against a dead network, so the hub is asked once, briefly, first. Raises within
    seconds what `refuse` makes of the reason.
    """
    from huggingface_hub import HfApi

    try:
        listed = HfApi().model_info(source, revision=revision, timeout=REACH_TIMEOUT_S).siblings or []
        return Path(get([file.rfilename for file in listed]))
    except Exception as error:  # every failure of network, hub and disk has a class of its own, and the same mend
        raise refuse(shortened(error)) from error


def snapshot(source: str, revision: str | None, patterns: Iterable[str]) -> str:
    """Download those files of a repository; the folder they are in."""
    from huggingface_hub import snapshot_download

    return snapshot_download(source, revision=revision, allow_patterns=list(patterns))


def shortened(error: BaseException) -> str:
    """An error's text as one line of at most 300 characters, or its class where it has none."""
    return textwrap.shorten(str(error), 300, placeholder=" ...") or type(error).__name__
