"""The weights a segmenter's folder leaves out: named by their source, told by their content. It knows no segmenter."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from clouds.config import ConfigModel
from clouds.errors import CloudsError
from clouds.models.backbones import Backbone, load_backbone
from clouds.models.segmenter_config import BackboneConfig


class StoredBase(ConfigModel):
    """How to load a backbone again whose own weights are not in the folder."""

    config: BackboneConfig
    """Where they come from, and what is put beside them."""
    keep_projection: bool
    """Whether CLIP's projection belongs to it."""
    sha256: str
    """Of the tensors that are left out, by `content_sha256`."""


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """The hex digest of names, shapes, types and bytes, in the order of the names."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        total.update(f"{name}\0{tuple(values.shape)}\0{values.dtype}\n".encode())
        total.update(values.view(-1).numpy().tobytes())
    return total.hexdigest()


def load_base(base: StoredBase, folder: Path) -> Backbone:
    """The backbone as it was before training. Raises `CloudsError` where its weights cannot be loaded."""
    try:
        return load_backbone(base.config, keep_projection=base.keep_projection)
    except CloudsError as error:
        raise CloudsError(
            f"segmenter {folder} holds only what its training changed, and its base is missing: {error.message}",
            f"put {base.config.weights} back where it was, or train again with backbone.store: full",
        ) from error


def check_base(base: StoredBase, left_out: Mapping[str, Tensor], folder: Path) -> None:
    """Raises `CloudsError` when the weights found under the base's name are not those it was trained on."""
    found = content_sha256(left_out)
    if found != base.sha256:
        raise CloudsError(
            f"segmenter {folder}: {base.config.weights} holds other weights (sha256 {found[:12]}) than those it was "
            f"trained on ({base.sha256[:12]})",
            "bring those weights back, or train again with backbone.store: full",
        )
