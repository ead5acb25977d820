"""The errors a user can mend: each says what is wrong and, where one is known, the mend."""

import difflib
from collections.abc import Iterable


class CloudsError(Exception):
    """Something failed in a way the user can mend; the command line prints it without a traceback.

    `message` names the field or file and the value; `mend` says what to do about it.
    """

    exit_status = 1

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message, mend)
        self.message = message
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.message}\n  mend: {self.mend}" if self.mend else self.message


class UsageError(CloudsError):
    """The command line or the config asks for something that cannot be: nothing has been started."""

    exit_status = 2


class InputError(CloudsError):
    """One input file or item is unusable: the item fails, and the rest goes on."""


def nearest(name: str, known: Iterable[str], *, shown: int = 20) -> str:
    """A mend for an unknown name: the nearest known one, or else all of them, at most `shown`."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    more = ", ..." if len(names) > shown else ""
    return "known: " + (", ".join(names[:shown]) or "none") + more
