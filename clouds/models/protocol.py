"""The protocol of a prediction: at which sizes, in which windows, how often an image is shown. It computes nothing.

Every number that comes of a segmenter depends on it, so it is config, and is told with the number.
"""

from typing import Annotated, Any

from pydantic import Field, model_validator

from clouds.config import ConfigModel

Pixels = Annotated[int, Field(ge=1)]
Height_Width = tuple[Pixels, Pixels]


class ProtocolConfig(ConfigModel):
    """How images are shown to a segmenter; by default each whole, once, as it is stored."""

    short_edge: Pixels | None = None
    """Images are resized to this shorter edge to be predicted; null: as they are. Scores are compared at label size."""
    size: Height_Width | None = None
    """In place of `short_edge`: images are resized to this (height, width), whatever their shape."""
    window: Height_Width | None = None
    """Predict in windows of this (height, width), scores averaged where they overlap; null: the whole image at once."""
    stride: Height_Width | None = None
    """Pixels (down, right) from one window to the next; null: three quarters of the window."""
    scales: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.0,)
    """Multiples of that size to predict at; scores are averaged."""
    flip: bool = False
    """Predict each image mirrored, too, and average the scores."""

    @model_validator(mode="after")
    def _sizes_fit_each_other(self) -> "ProtocolConfig":
        if self.short_edge is not None and self.size is not None:
            raise ValueError("`short_edge` and `size` are two answers to one question; leave one null")
        if self.stride is not None:
            if self.window is None:
                raise ValueError("`stride` goes with a `window`")
            if self.stride[0] > self.window[0] or self.stride[1] > self.window[1]:
                raise ValueError(f"`stride` {self.stride} leaves gaps between windows of {self.window}")
        return self

    @property
    def steps(self) -> tuple[int, int] | None:
        """The stride in use; None where there are no windows."""
        if self.window is None or self.stride is not None:
            return self.stride
        return max(1, self.window[0] * 3 // 4), max(1, self.window[1] * 3 // 4)

    def describe(self) -> dict[str, Any]:
        """What is told with every number, ready for JSON."""
        return {
            "short_edge": self.short_edge,
            "size": None if self.size is None else list(self.size),
            "window": None if self.window is None else list(self.window),
            "stride": None if self.steps is None else list(self.steps),
            "scales": list(self.scales),
            "flip": self.flip,
            "compared_at": "label resolution",
        }

    def view_sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """The (height, width) an image of this size is shown at, one for each scale."""
        height, width = self.size or size
        factor = 1.0 if self.short_edge is None else self.short_edge / min(height, width)
        factors = [factor * scale for scale in self.scales]
        return [(max(1, round(height * each)), max(1, round(width * each))) for each in factors]

    def window_corners(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """The top left corners (row, column) of the windows over a view of this size; the last ones end at its border.

        A window larger than the view is cut to it, so that one that covers it is the whole view.
        """
        if self.window is None or self.steps is None:
            return [(0, 0)]
        rows, columns = (_starts(*axis) for axis in zip(size, self.window, self.steps, strict=True))
        return [(row, column) for row in rows for column in columns]


def _starts(length: int, window: int, step: int) -> list[int]:
    """Where windows begin along one axis: `step` apart, and the last one moved back to end with the axis."""
    last = max(0, length - window)
    return [*range(0, last, step), last]
