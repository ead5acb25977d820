"""Main memory as Linux tells it: of a machine, and of a container with a limit."""

from pathlib import Path

import pytest

from clouds.engine import memory
from clouds.engine.memory import Memory, main_memory

GIB = 2**30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of a machine with 8 GiB of which 6 are free, and no limit."""
    told = f"MemTotal: {8 * 2**20} kB\nMemFree: {2**20} kB\nMemAvailable: {6 * 2**20} kB\nHugePages_Total: 0\n"
    (tmp_path / "meminfo").write_text(told, encoding="ascii")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUPS", [(tmp_path, *one[1:]) for one in memory._GROUPS])
    return tmp_path


def write(folder: Path, **values: object) -> None:
    for name, value in values.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{value}\n", encoding="ascii")


def test_a_machine_without_a_limit(system: Path) -> None:
    assert main_memory() == Memory(8 * GIB, 6 * GIB)
    write(system, memory_max="max", memory_current=GIB)
    assert main_memory() == Memory(8 * GIB, 6 * GIB)
    write(system, memory_limit_in_bytes=2**63 - 4096, memory_usage_in_bytes=GIB)
    assert main_memory() == Memory(8 * GIB, 6 * GIB)


def test_a_containers_limit_counts_and_files_it_would_drop_are_free(system: Path) -> None:
    write(system, memory_max=4 * GIB, memory_current=3 * GIB, memory_stat=f"anon 5\ninactive_file {GIB}")
    assert main_memory() == Memory(4 * GIB, 2 * GIB)
    (system / "memory.stat").unlink()
    assert main_memory() == Memory(4 * GIB, GIB)
    write(system, memory_current=5 * GIB)
    assert main_memory() == Memory(4 * GIB, 0)


def test_the_older_way_of_limits(system: Path) -> None:
    write(system, memory_limit_in_bytes=7 * GIB, memory_usage_in_bytes=0, memory_stat="total_inactive_file 0")
    assert main_memory() == Memory(7 * GIB, 6 * GIB), "what others use is gone for the container, too"


def test_a_system_that_tells_less(system: Path) -> None:
    (system / "meminfo").unlink()
    found = main_memory()
    assert found.free is None and (found.total is None or found.total > 0)
