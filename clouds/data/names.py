"""When two names are the same. It does not know what is named."""

import re


def name_key(name: str) -> str:
    """What two spellings of a name share: case does not count, and `_`, `-` and spaces are one."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
