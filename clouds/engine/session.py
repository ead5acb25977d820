"""On what a stage was made, session by session: machines, devices, versions, from when to when. It knows no stage.

    STAGE/sessions.json     one entry each time processes worked on the stage, the oldest first

It is no part of what the stage's output depends on: nothing becomes stale by it, and an artifact without it is whole.
A session that was killed has no end.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from clouds.engine.atomic import read_json, write_json

SESSIONS = "sessions.json"


@dataclass(frozen=True)
class Device:
    """A GPU, and its memory in bytes where it has its own; `count` of them are alike."""

    name: str
    memory: int | None
    count: int = 1


@dataclass(frozen=True)
class Host:
    """A machine: its processor, how many cores, main memory in bytes; `count` of them are alike."""

    cpu: str
    cores: int | None
    memory: int | None
    count: int = 1


@dataclass(frozen=True)
class Place:
    """Where one process computes; `host_id` and `device_id` tell two of a kind apart and are not kept."""

    kind: str
    host: Host
    host_id: str
    device: Device | None = None
    device_id: str = ""


@dataclass(frozen=True)
class Session:
    """One time that processes worked on a stage; `begun` and `ended` are UTC, `ended` None where it was killed.

    `kind` is the devices' as PyTorch calls it; on a CPU there are no `devices`. `versions` are those of the main
    process's packages, `revision` the commit of this tool where it is worked on in a checkout.
    """

    begun: str
    ended: str | None
    kind: str
    processes: int
    precision: str
    devices: tuple[Device, ...]
    hosts: tuple[Host, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None

    @property
    def seconds(self) -> float | None:
        """From its beginning to its end by the clock."""
        if self.ended is None:
            return None
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.begun)).total_seconds()

    def content(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "seconds": self.seconds}


def session_of(places: Sequence[Place], precision: str, versions: Mapping[str, str], revision: str | None) -> Session:
    """A session that begins now, of processes at these places."""
    devices = {(one.host_id, one.device_id): one.device for one in places if one.device is not None}
    hosts = {one.host_id: one.host for one in places}
    return Session(
        begun=_now(),
        ended=None,
        kind=places[0].kind,
        processes=len(places),
        precision=precision,
        devices=tuple(replace(one, count=count) for one, count in Counter(devices.values()).items()),
        hosts=tuple(replace(one, count=count) for one, count in Counter(hosts.values()).items()),
        versions=dict(versions),
        revision=revision,
    )


def begin_session(folder: Path, session: Session) -> None:
    """Put a session on record that has just begun; a stage's folder has one writer."""
    write_json(folder / SESSIONS, [*_entries(folder), asdict(session)])


def end_session(folder: Path) -> None:
    """Put the end of the last session on record."""
    entries = _entries(folder)
    if entries and isinstance(entries[-1], dict):
        write_json(folder / SESSIONS, [*entries[:-1], {**entries[-1], "ended": _now()}])


def read_sessions(folder: Path) -> tuple[Session, ...]:
    """The sessions of a stage's folder, the oldest first, less entries that are damaged."""
    return tuple(session for one in _entries(folder) if (session := _parse(one)) is not None)


def _entries(folder: Path) -> list[Any]:
    """What is on record, session by session, as it stands there: who adds to it loses nothing that he cannot read.

    Nothing where there is no record, or where it is no list.
    """
    content = read_json(folder / SESSIONS)
    return content if isinstance(content, list) else []


def _parse(content: Any) -> Session | None:
    """A session by its entry, None for a damaged one; what a later version has put there besides is left out."""
    try:
        parts = {
            "devices": tuple(Device(**_known(Device, one)) for one in content["devices"]),
            "hosts": tuple(Host(**_known(Host, one)) for one in content["hosts"]),
        }
        session = Session(**{**_known(Session, content), **parts})
        for time in filter(None, (session.begun, session.ended)):
            datetime.fromisoformat(time)
    except (TypeError, KeyError, AttributeError, ValueError):
        return None
    return session


def _known(kind: type[Session | Device | Host], content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key in kind.__dataclass_fields__}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
