"""Encoded images as bytes and back, and an encoder that asks a store of such bytes first. It knows no folder."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save

from clouds.models.sam_promptable import EncodedImage

_log = logging.getLogger(__name__)
_SIZE = "image_size"

Encode = Callable[[Sequence[NDArray[np.uint8]]], Sequence[EncodedImage]]


class Store(Protocol):
    """Bytes by key, which may be lost at any time."""

    def get(self, keys: Sequence[str]) -> list[bytes] | None: ...
    def put(self, contents: Mapping[str, bytes]) -> None: ...


def encoded_by_key(
    keys: Sequence[str], read: Callable[[], Sequence[NDArray[np.uint8]]], encode: Encode, store: Store | None
) -> list[EncodedImage]:
    """The images of these keys as the store has them or, unless it has them all, encoded together and stored.

    Together, because sums depend on what shares a batch: a run that was killed between two of them gives the same
    features as one that was not. `read` gives the images themselves.
    """
    kept = store.get(keys) if store is not None else None
    if kept is not None:
        try:
            return [from_bytes(content) for content in kept]
        except (SafetensorError, KeyError, ValueError):
            _log.warning("an encoded image in the cache is damaged: encoded again")
    encoded = list(encode(read()))
    if store is not None:
        store.put({key: to_bytes(image) for key, image in zip(keys, encoded, strict=True)})
    return encoded


def to_bytes(image: EncodedImage) -> bytes:
    """Features and size as a safetensors file: the same bytes for the same values."""
    tensors = {f"{number}": features.cpu().contiguous() for number, features in enumerate(image.features)}
    content: bytes = save({**tensors, _SIZE: torch.tensor(image.image_size)})
    return content


def from_bytes(content: bytes) -> EncodedImage:
    """What `to_bytes` wrote, on the CPU. Raises SafetensorError or KeyError where it is something else."""
    tensors = load(content)
    height, width = tensors.pop(_SIZE).tolist()
    return EncodedImage(tuple(tensors[f"{number}"] for number in range(len(tensors))), (height, width))
