"""The class shares of source, generated and target images, arranged for a page. It counts nothing."""

from collections.abc import Sequence
from pathlib import Path

from clouds.data.labels import LabelMap
from clouds.engine.stage import Stage
from clouds.report.browser import Totals
from clouds.report.comparison import HasDatasets
from clouds.report.tables import ModelScores
from clouds.scoring.shares import GENERATED, Share, scored_share, share_of, source_shares


def class_shares(
    cache: Path, stages: Sequence[Stage], models: Sequence[ModelScores], totals: Totals, label_map: LabelMap | None
) -> list[Share]:
    """Source sets, generated images before and after refinement, and every scored set, as far as they are there.

    What was counted of a source is kept in the file `cache`.
    """
    if label_map is None:
        return []
    training = next((stage for stage in stages if stage.kind == "train" and isinstance(stage, HasDatasets)), None)
    found = source_shares(cache, training.datasets if isinstance(training, HasDatasets) else {}, label_map)
    if totals.labelled:
        found.append(share_of("generated, pseudo-labels", GENERATED, totals.before_K1, label_map, totals.labelled))
    if totals.refined:
        found.append(share_of("generated, refined", GENERATED, totals.after_K1, label_map, totals.refined))
    results = models[-1].results if models else {}
    return found + [scored_share(name, result, label_map) for name, result in results.items() if "pixels" in result]


def bar_groups(shares: Sequence[Share], name: str) -> list[tuple[str, float]]:
    """A class's share by what a set is to the run: of sources and targets the mean, of generated the last labels."""
    groups: dict[str, list[float]] = {}
    for one in shares:
        groups.setdefault(one.group, []).append(one.by_class[name])
    means = {group: sum(values) / len(values) for group, values in groups.items()}
    return [(group, groups[group][-1] if group == GENERATED else mean) for group, mean in means.items()]
