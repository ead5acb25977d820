"""The config of the refinement's rule: the values of `RefinementSettings`, each or by name. It refines nothing."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from clouds.config import ConfigModel, Neutral, Share
from clouds.ops.refinement_settings import PRESETS, RefinementSettings

_RULE = RefinementSettings()


class RefinementConfig(ConfigModel):
    """How pseudo-labels are turned into prompts and masks into labels; see `RefinementSettings`."""

    # its values are all here, and enter the fingerprint one by one
    preset: Neutral[Literal["default", "published"]] = "default"
    """The rule that says what is not said here: the tool's own, or that of the published CLOUDS code."""
    min_area: Share = _RULE.min_area
    """A component is prompted if it covers more than this share of the image."""
    connectivity: Literal[4, 8] = _RULE.connectivity
    """Whether pixels that touch only at a corner are connected (8) or not (4)."""
    points: Literal["random", "core", "centre"] = _RULE.points
    """Where a component's points lie: random on it, on its core, or one at its centre."""
    points_per_component: Annotated[int, Field(ge=1)] = _RULE.points_per_component
    """Points per component; `centre` always gives one."""
    negative_points: Annotated[int, Field(ge=0)] = _RULE.negative_points
    """Points per component on neighbours of other classes, which its mask should leave out."""
    box: bool = _RULE.box
    """Whether the component's bounding box is part of the prompt."""
    show_component: bool = _RULE.show_component
    """Whether SAM is shown the component itself as a mask prompt at first."""
    passes: Annotated[int, Field(ge=1)] = _RULE.passes
    """How often SAM is asked; from the second time on it is shown the mask it gave."""
    settled: Share = _RULE.settled
    """Passes end early once a mask has at least this IoU with that of the pass before."""
    choose_by: Literal["quality", "agreement"] = _RULE.choose_by
    """Which of SAM's masks is taken: best by its own estimate, or by IoU with the component."""
    min_agreement: Share = _RULE.min_agreement
    """A mask with less IoU with its component is rejected."""
    contested: Literal["better", "smaller", "ignore"] = _RULE.contested
    """Who gets a pixel that masks of several classes claim."""
    unclaimed: Literal["keep", "keep_confident", "ignore"] = _RULE.unclaimed
    """Pixels without a mask keep the pseudo-label, keep it where confident, or become ignore."""
    keep_unprompted: bool = _RULE.keep_unprompted
    """Whether an image none of whose components is prompted keeps its pseudo-label, whatever `unclaimed` says."""
    min_confidence: Share = _RULE.min_confidence
    """The least confidence at which `keep_confident` keeps a pseudo-label."""
    protect_small: bool = _RULE.protect_small
    """Whether components too small to be prompted are safe from the masks of others."""

    @model_validator(mode="before")
    @classmethod
    def _begins_with_the_preset(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and tree.get("preset") in PRESETS:
            return {**asdict(PRESETS[tree["preset"]]), **tree}
        return tree

    def settings(self) -> RefinementSettings:
        """The rule for the refinement itself."""
        return RefinementSettings(**self.model_dump(exclude={"preset"}))
