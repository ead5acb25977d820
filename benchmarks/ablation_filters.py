"""The filters that the ablation measures, each alone and all together, over labels of any images. It runs none."""

from dataclasses import dataclass

from clouds.engine.stage import Stage
from clouds.training.trust import ClassLossFilter
from pipelines import full
from pipelines.filter import FilterConfig, Judges
from pipelines.parts import Parts

DEFAULT = FilterConfig.model_validate(
    {
        "filters": [
            {"type": "confidence", "least": 0.8},
            {"type": "class_loss"},
            {"type": "sam_agreement"},
            {"type": "view_agreement"},
            {"type": "clip_score", "lowest": 0.1},
        ],
        "harder": {},
    }
)
"""What is measured of a config without filters: FreeMask's numbers where there are any, and every view agreeing."""

HARDER, ALL, SOURCE = "harder", "all", "class-loss-source"


@dataclass(frozen=True)
class Trust:
    """One way to filter, and in words what it does."""

    config: FilterConfig
    what: str


def filters_of(config: full.Config) -> dict[str, Trust]:
    """Each filter of the config alone, FreeMask's as published too, hard images drawn more often, and all together."""
    asked = config.filter or DEFAULT
    ways = {
        one.type.replace("_", "-"): Trust(
            asked.model_copy(update={"filters": (one,), "harder": None}),
            f"{one.type.replace('_', ' ')} alone ({one.setting()})",
        )
        for one in asked.filters
    }
    for one in asked.filters:
        if isinstance(one, ClassLossFilter) and one.mean_over == "generated":
            over_source = one.model_copy(update={"mean_over": "source"})
            ways[SOURCE] = Trust(
                asked.model_copy(update={"filters": (over_source,), "harder": None}),
                f"class loss alone ({over_source.setting()})",
            )
    if asked.harder is not None:
        most = f"hard images up to {asked.harder.most} times as often"
        ways[HARDER] = Trust(asked.model_copy(update={"filters": ()}), most)
    return {**ways, ALL: Trust(asked, "all of these together")}


@dataclass(frozen=True)
class Labelled:
    """Images, the stages that labelled them, first and last, and the segmenter that did; `text` is the key of captions.

    `suffix` ends the names of what is measured on them; `source` is what the segmenter's losses on the source are.
    """

    images: Stage
    pseudo: Stage
    labels: Stage
    teacher: Stage
    source: Stage
    suffix: str
    text: str = "prompt"


def filtered(parts: Parts, config: full.Config, of: Labelled, prefix: str) -> dict[str, Stage]:
    """A stage for each of `filters_of`, named with the prefix; they share what is measured."""
    asked, ways = config.filter or DEFAULT, filters_of(config)
    backbone = config.train.segmenter.backbone
    judges = Judges(
        parts.judge_loss(f"judge-loss-{of.suffix}", asked, config.label, of.labels, of.teacher),
        parts.judge_views(f"judge-views-{of.suffix}", asked, config.label, of.images, of.teacher),
        parts.judge_prompts(f"judge-prompt-{of.suffix}", asked, backbone, of.images, of.text),
        of.source,
    )
    return {
        name: parts.filter(f"{prefix}-{name}", way.config, of.pseudo, of.labels, judges) for name, way in ways.items()
    }
