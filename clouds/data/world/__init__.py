"""The procedural street world: labelled scenes at no cost, in any number and size. It knows no model and no file."""

from clouds.data.world.captions import caption_words
from clouds.data.world.classes import CLASSES, COLORS
from clouds.data.world.domains import DOMAINS, TEST_DOMAINS, VALIDATION_DOMAINS, WEB_DOMAINS, domain_choices
from clouds.data.world.looks import Domain
from clouds.data.world.render import Scene, render_scene

RENDERER_VERSION = 2
"""To be raised when the same domain, seed and number give another scene."""

__all__ = [
    "CLASSES",
    "COLORS",
    "DOMAINS",
    "RENDERER_VERSION",
    "TEST_DOMAINS",
    "VALIDATION_DOMAINS",
    "WEB_DOMAINS",
    "Domain",
    "Scene",
    "caption_words",
    "domain_choices",
    "render_scene",
]
