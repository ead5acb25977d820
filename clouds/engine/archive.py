"""Files in one ZIP that is complete under its name. It does not know what they hold."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

from clouds.replacing import replacing

# the earliest time a ZIP can tell: the same files give the same bytes
_TIME = (1980, 1, 1, 0, 0, 0)


def write_zip(path: Path, files: Iterable[tuple[str, Path]]) -> None:
    """Write files under their names in the archive, one after the other and as they are: images do not shrink.

    As `write_atomic`, a reader sees the old archive or the new one.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, source in files:
            archive.writestr(zipfile.ZipInfo(name, _TIME), source.read_bytes())
