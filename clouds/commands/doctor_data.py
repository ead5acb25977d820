"""What `clouds doctor --data` prints: what is right and wrong with a config's data sets. It mends nothing."""

from collections.abc import Sequence

import typer

from clouds.assembly import read_config
from clouds.commands.printing import JSON, TERMINAL, print_json, terminal_width
from clouds.config import validate
from clouds.data.survey import Survey, spread, survey
from clouds.data.table import DataTable
from clouds.engine.progress import Progress
from clouds.errors import CloudsError, UsageError
from clouds.report.data_check import data_check, data_json


def check_data(config: str, overrides: Sequence[str], items: int | None, form: str = TERMINAL) -> None:
    """Look through the data sets of a config and print what was found.

    Raises `CloudsError` when something is wrong with one, once all is printed; `UsageError` for a config without data.
    """
    path, tree = read_config(config, overrides)
    if "data" not in tree:
        raise UsageError(f"{path} has no `data`", "name a config with data sets")
    table = validate(DataTable, tree["data"], f"{path}, data")
    surveys = [_survey(table, name, items) for name in table.sets]
    if form == JSON:
        print_json({"data": data_json(surveys, table.label_map())})
    else:
        typer.echo(data_check(surveys, table.label_map(), form, terminal_width()), nl=False)
    wrong = [found.name for found in surveys if not found.sound]
    if wrong:
        raise CloudsError(f"something is wrong with {len(wrong)} of {len(surveys)} data sets: {', '.join(wrong)}")


def _survey(table: DataTable, name: str, items: int | None) -> Survey:
    """A look through one data set, with a progress bar."""
    try:
        dataset = table.open(name)
    except CloudsError as error:
        return Survey(name, problem=error)
    indices = spread(len(dataset.ids), items)
    progress = Progress(name, len(indices), 0, "item", shown=True)
    try:
        return survey(dataset, indices, progress.advance)
    finally:
        progress.close()
