"""WebDataset tars: image, mask and JSON of one key side by side. It stores the files' bytes and encodes nothing."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Pair, escaped, id2label
from clouds.export.parts import Part


class WebDataset:
    """`SPLIT-NNNNN.tar` of `KEY.png` (the image's own suffix), `KEY.mask.png` and `KEY.json`."""

    name: ClassVar[str] = "webdataset"
    packages: ClassVar[Sequence[str]] = ()
    sharded: ClassVar[bool] = True

    def check(self, job: Job) -> None:
        """Everything can be told."""

    def lost(self, job: Job) -> list[str]:
        return []

    def about(self, job: Job) -> str:
        return (
            "`SPLIT-*.tar` hold for each key the image, `mask.png` (single-channel, class ids, "
            f"{job.label_map.ignore} ignore) and `json` (what is known of\nthe image); a key is an image's id. "
            "`id2label.json` names the classes. WebDataset's own image decoders make colours of masks: read bytes.\n"
        )

    def read_back(self, job: Job) -> str:
        return (
            f'webdataset.WebDataset("DIR/{job.splits[0]}-00000.tar", shardshuffle=False)  # "png", "mask.png", "json"'
        )

    def front_matter(self, job: Job) -> dict[str, Any]:
        files = [{"split": split, "path": f"{split}-*.tar"} for split in job.splits]
        return {"configs": [{"config_name": "default", "data_files": files}]}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        with files.create(f"{part.name}.tar") as file, tarfile.open(fileobj=file, mode="w") as tar:
            for pair in pairs:
                place = pair.sample.place
                # what follows the first dot of a name is its column
                key = escaped(pair.sample.id, ".")
                facts = {"id": pair.sample.id, **pair.sample.facts}
                _add(tar, key + place.image.suffix.lower(), place.image.read_bytes())
                _add(tar, key + ".mask.png", place.mask.read_bytes())
                _add(tar, key + ".json", json.dumps(facts, ensure_ascii=False).encode("utf-8"))

    def finish(self, finish: Finish) -> None:
        finish.json("id2label.json", id2label(finish.job.label_map))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A member without time and owner: the same export has the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
