"""A corpus of a few scenes, rendered in memory."""

import numpy as np

from clouds.data.world import render_scene


class RenderedCorpus:
    """The first scenes of `web`, or of another domain."""

    def __init__(self, count: int, *, first: int = 0, domain: str = "web", height: int = 64, width: int = 128) -> None:
        self.ids = [f"{domain}-{number:06d}" for number in range(first, first + count)]
        self._scenes = [render_scene(domain, first + number, height=height, width=width) for number in range(count)]

    def image(self, index: int):
        return self._scenes[index].image_HWC

    def caption(self, index: int) -> str:
        return self._scenes[index].caption

    def instances(self, index: int):
        return self._scenes[index].instances_HW.astype(np.uint16)
