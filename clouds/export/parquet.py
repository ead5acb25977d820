"""Parquet that Hugging Face `datasets` opens with image columns. It stores the files' bytes and encodes nothing."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from clouds.export.facts import FACTS
from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Pair, id2label
from clouds.export.parts import Part

if TYPE_CHECKING:
    import pyarrow

# rows of a group are in memory together, in the writer as in a reader
_GROUP_ROWS = 100
_GROUP_BYTES = 32 * 2**20


class Parquet:
    """`data/SPLIT-NNNNN.parquet` with columns image, mask, id, classes and what is known of each image."""

    name: ClassVar[str] = "parquet"
    packages: ClassVar[Sequence[str]] = ("pyarrow",)
    sharded: ClassVar[bool] = True

    def check(self, job: Job) -> None:
        """Everything can be told."""

    def lost(self, job: Job) -> list[str]:
        return []

    def about(self, job: Job) -> str:
        return (
            "`data/SPLIT-*.parquet`: the column `image` holds the image's file, `mask` a single-channel PNG of class "
            f"ids, {job.label_map.ignore} ignore,\n`classes` the classes the image shows, whose names are part of the "
            "features; `id2label.json` names them too.\n"
        )

    def read_back(self, job: Job) -> str:
        return f'datasets.load_dataset("DIR", split="{job.splits[0]}")[0]  # "image", "mask", "prompt", ...'

    def front_matter(self, job: Job) -> dict[str, Any]:
        files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in job.splits]
        return {"configs": [{"config_name": "default", "data_files": files}]}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        from pyarrow import parquet

        schema = _schema(job)
        with (
            files.create(f"data/{part.name}.parquet") as file,
            # PNG and JPEG are compressed already
            parquet.ParquetWriter(file, schema, compression="NONE", use_dictionary=False) as writer,
        ):
            for rows in _groups(job, pairs):
                writer.write_table(_table(rows, schema))

    def finish(self, finish: Finish) -> None:
        finish.json("id2label.json", id2label(finish.job.label_map))


def _groups(job: Job, pairs: Iterator[Pair]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    size = 0
    for pair in pairs:
        rows.append(_row(job, pair))
        size += len(rows[-1]["image"]["bytes"]) + len(rows[-1]["mask"]["bytes"])
        if len(rows) >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _row(job: Job, pair: Pair) -> dict[str, Any]:
    place = pair.sample.place
    return {
        "image": {"bytes": place.image.read_bytes(), "path": pair.image_name.replace("/", "-")},
        "mask": {"bytes": place.mask.read_bytes(), "path": f"{pair.sample.path.replace('/', '-')}-mask.png"},
        "id": pair.sample.id,
        "classes": pair.shown(job.label_map.ignore),
        **pair.sample.facts,
    }


def _table(rows: list[dict[str, Any]], schema: "pyarrow.Schema") -> "pyarrow.Table":
    import pyarrow

    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    return pyarrow.Table.from_pydict(columns, schema=schema)


def _schema(job: Job) -> "pyarrow.Schema":
    import pyarrow

    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    facts = [(name, types[kind]) for name, kind in FACTS.items()]
    columns = [
        ("image", image),
        ("mask", image),
        ("id", pyarrow.string()),
        ("classes", pyarrow.list_(pyarrow.int64())),
        *facts,
    ]
    return pyarrow.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": _features(job)}})})


def _features(job: Job) -> dict[str, Any]:
    """The columns as `datasets` describes them; what it keeps in a file's metadata."""
    types = {str: "string", int: "int64", float: "float64"}
    classes = {"names": list(job.label_map.names), "_type": "ClassLabel"}
    return {
        "image": {"_type": "Image"},
        "mask": {"_type": "Image"},
        "id": {"dtype": "string", "_type": "Value"},
        "classes": {"feature": classes, "_type": "Sequence"},
        **{name: {"dtype": types[kind], "_type": "Value"} for name, kind in FACTS.items()},
    }
