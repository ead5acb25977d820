"""What stages need of accelerate: who am I, agree on a value, wait, device, mixed precision. It knows no stage."""

import datetime
import os
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list, gather_object

from clouds.engine.environment import cpu_name, installed_versions, revision
from clouds.engine.memory import main_memory
from clouds.engine.session import Device, Host, Place, Session, session_of
from clouds.engine.settings import RuntimeConfig
from clouds.engine.trackers import check_trackers
from clouds.errors import UsageError
from clouds.process import machine

T = TypeVar("T")


class Runtime:
    """One process among those accelerate started; a single one where it started none."""

    def __init__(self, config: RuntimeConfig) -> None:
        _check_device(config.device)
        check_trackers(config.trackers)
        self.config = config
        self.told: set[tuple[str, ...]] = set()
        """What one stage has told the user, so that another need not repeat it."""
        self.accelerator = Accelerator(
            cpu=config.device == "cpu",
            mixed_precision=config.mixed_precision,
            kwargs_handlers=[
                # a process may wait for hours while another works on its last shard
                InitProcessGroupKwargs(timeout=datetime.timedelta(days=7)),
                DistributedDataParallelKwargs(find_unused_parameters=True),
            ],
        )

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def world_size(self) -> int:
        return self.accelerator.num_processes

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def hardware(self) -> str:
        """What one process computes on, in words: a GPU's name, or the CPU's and how many cores it has."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{cpu_name()}, {os.cpu_count()} cores"

    def session(self) -> Session:
        """A session of all processes that begins now; each of them has to ask."""
        places = self.gather(self._place())
        versions = installed_versions()
        if self.device.type == "cuda" and torch.version.cuda:
            versions["cuda"] = torch.version.cuda
        return session_of(places, self.config.mixed_precision, versions, revision())

    def _place(self) -> Place:
        host = Host(cpu_name(), os.cpu_count(), main_memory().total)
        kind, index = self.device.type, self.device.index or 0
        if kind == "cpu":
            return Place(kind, host, machine())
        if kind != "cuda":
            return Place(kind, host, machine(), Device("Apple GPU", None), str(index))
        found = torch.cuda.get_device_properties(index)
        # processes that see one GPU each all call it 0; older versions of PyTorch know no more
        id_ = str(getattr(found, "uuid", index))
        return Place(kind, host, machine(), Device(torch.cuda.get_device_name(index), found.total_memory), id_)

    def agree(self, value: T) -> T:
        """The main process's value, on every process."""
        values = [value]
        if self.world_size > 1:
            broadcast_object_list(values)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank, on every process."""
        return list(gather_object([value])) if self.world_size > 1 else [value]

    def wait(self) -> None:
        """Return once every process has come this far."""
        self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """Leave the process group, if there is one."""
        self.accelerator.end_training()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _check_device(device: str) -> None:
    present = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present[device]:
        raise UsageError(
            f"'runtime.device' = {device!r}: this machine has no such device",
            "set runtime.device to auto or cpu, or install a PyTorch build that sees the GPU",
        )
