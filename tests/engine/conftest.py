import os
from collections.abc import Iterator

import pytest

from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig


@pytest.fixture(scope="session")
def runtime() -> Iterator[Runtime]:
    runtime = Runtime(RuntimeConfig(device="cpu"))
    yield runtime
    runtime.close()


@pytest.fixture(autouse=True)
def _without_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power, and flushing to disk would take most of the time."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
