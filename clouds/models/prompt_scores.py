"""How well images show what their prompts ask for, by a CLIP. It does not say which score is good enough."""

from collections.abc import Sequence

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from clouds.errors import CloudsError
from clouds.models.backbone_weights import CONFIG_KEY, WHAT, recipe
from clouds.models.clip_builder import Clip
from clouds.models.segmenter_config import BackboneConfig
from clouds.models.text_tower import source_clip


class PromptScorer:
    """A CLIP with its own preprocessing, on a device."""

    def __init__(self, clip: Clip, device: torch.device) -> None:
        self._clip = clip
        clip.model.to(device).eval()
        preprocess = open_clip.transform.PreprocessCfg(**open_clip.get_model_preprocess_cfg(clip.model))
        self._preprocess = open_clip.transform.image_transform_v2(preprocess, is_train=False)
        self._device = device

    @torch.inference_mode()
    def scores(self, images_HWC: Sequence[NDArray[np.uint8]], prompts: Sequence[str]) -> list[float]:
        """The cosine between each image and its prompt, in [-1, 1]; 2.5 times that is CLIPScore (arXiv 2104.08718).

        Images are brought to the CLIP's size as it was trained; a prompt is cut to its context.
        """
        pixels_BCHW = torch.stack([self._preprocess(Image.fromarray(image_HWC)) for image_HWC in images_HWC])
        images_BD = self._clip.model.encode_image(pixels_BCHW.to(self._device))
        cosine_B = F.cosine_similarity(images_BD.float(), self._clip.texts(prompts).float())
        return [float(cosine) for cosine in cosine_B.cpu()]


def load_scorer(source: BackboneConfig, device: torch.device, key: str) -> PromptScorer:
    """The CLIP that a config names under `key`. Raises `CloudsError`, naming it, for one that cannot be loaded."""
    try:
        return PromptScorer(source_clip(source), device)
    except CloudsError as error:
        raise _named(error, key) from error


def fetch_clip(source: BackboneConfig, key: str) -> None:
    """Bring the CLIP's files to this disk. Raises as `load_scorer`."""
    try:
        if source.hub_id or source.pretrained:
            recipe(source)
    except CloudsError as error:
        raise _named(error, key) from error


def _named(error: CloudsError, key: str) -> CloudsError:
    """The error of a segmenter's backbone as one of the CLIP that is asked about prompts."""
    message = error.message.replace(CONFIG_KEY, key).replace(WHAT, "the CLIP for prompts")
    # what a segmenter without text could do instead is no help here
    mend = "give a CLIP of open_clip" if "classifier" in error.mend else error.mend.replace(CONFIG_KEY, key)
    return type(error)(message, mend)
