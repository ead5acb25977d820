"""On what stages were made, alike ones in one row: devices, precision, versions, times. It reads no file."""

from collections.abc import Sequence
from dataclasses import dataclass

from clouds.engine.session import Device, Host, Session
from clouds.engine.status import StageStatus, format_duration

NOT_RECORDED = "not recorded"
HEADER = ("stages, and for how long", "on", "precision", "with")
_GIB = 2**30


@dataclass(frozen=True)
class Made:
    """Stages that were made on the same hardware with the same versions; `stages` are names with their times."""

    stages: tuple[str, ...]
    hardware: str
    precision: str
    versions: str

    def cells(self) -> list[str]:
        """In the order of `HEADER`."""
        return [", ".join(self.stages), self.hardware, self.precision, self.versions]


def machines(statuses: Sequence[StageStatus]) -> list[Made]:
    """A row for each hardware with its versions, in the order they were first worked on; then what is not on record.

    A stage that went on elsewhere is in several rows, with the time it took in each; one that has not begun in none.
    """
    groups: dict[tuple[str, str, str], dict[str, list[Session]]] = {}
    for status in statuses:
        for session in status.sessions:
            which = hardware(session), precision(session), versions(session)
            groups.setdefault(which, {}).setdefault(status.name, []).append(session)
    rows = [Made(tuple(_timed(*one) for one in found.items()), *which) for which, found in groups.items()]
    unknown = tuple(status.name for status in statuses if status.size is not None and not status.sessions)
    return rows + ([Made(unknown, NOT_RECORDED, "-", "-")] if unknown else [])


def hardware(session: Session) -> str:
    """Devices, machines and processes in words: `2 x NVIDIA H200, 140 GiB; AMD EPYC 9654, 96 cores, 1024 GiB`."""
    parts = [_device(one) for one in session.devices] + [_host(one) for one in session.hosts]
    if session.processes > 1:
        parts.append(f"{session.processes} processes")
    return "; ".join(parts)


def precision(session: Session) -> str:
    """The number format of trainings and of segmenters at work; other models' formats are in the config."""
    return "float32" if session.precision == "no" else session.precision


def versions(session: Session) -> str:
    """Packages with their versions, and the commit of this tool behind its own."""
    commit = f" ({session.revision})" if session.revision else ""
    return ", ".join(f"{name} {one}{commit * (name == 'clouds')}" for name, one in session.versions.items())


def _timed(name: str, sessions: Sequence[Session]) -> str:
    """A stage and how long it was worked on by the clock: `train 0:10:00`."""
    known = [session.seconds for session in sessions if session.seconds is not None]
    if not known:
        return f"{name} (no end on record)"
    more = " and more" if len(known) < len(sessions) else ""
    return f"{name} {format_duration(sum(known))}{more}" + (f" in {len(sessions)} sessions" if sessions[1:] else "")


def _device(device: Device) -> str:
    return f"{_times(device.count)}{device.name}{_memory(device.memory)}"


def _host(host: Host) -> str:
    cores = "" if host.cores is None else f", {host.cores} cores"
    return f"{_times(host.count)}{host.cpu}{cores}{_memory(host.memory)}"


def _times(count: int) -> str:
    return f"{count} x " if count > 1 else ""


def _memory(count: int | None) -> str:
    return "" if count is None else f", {count / _GIB:.0f} GiB"
