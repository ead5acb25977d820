"""A tiny CLIP and a process on the CPU, for all tests of training."""

from pathlib import Path

import pytest

from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig
from clouds.models.tiny_clip import build_tiny_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_clip(tmp_path_factory.mktemp("clip"), seed=0)


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime(RuntimeConfig(device="cpu"))
