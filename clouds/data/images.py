"""Image and label files to arrays and back. It does not know what the ids in a label file mean.

An unusable file is an `InputError` that names it and the mend. Writers write plain files, the same bytes for the same
array; making them appear whole is the caller's business.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from clouds.errors import InputError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
"""File names that hold images, in lower case."""

LABEL_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})
"""File names that hold labels, in lower case: formats that keep every id as it was written."""

LabelReader: TypeAlias = Callable[[str | Path], NDArray[np.integer[Any]]]
"""What makes the class ids of a label file, integer [H, W]; it can be pickled, and raises `InputError`."""

# everything Pillow's readers are known to raise on damaged files
_READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)

# Pillow stretches grey of fewer than 8 bits to 0..255; dividing gives the stored ids back
_STRETCH = {"L;2": 85, "L;4": 17}

# fast, and larger by little: most of the bytes of a label map are saved at any level
_PNG_LEVEL = 1
_JPEG_QUALITY = 95


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB, turned upright by its EXIF orientation.

    Grey and palette images become RGB; alpha is left out; 16-bit grey keeps its upper 8 bits.
    """
    with opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            grey_HW = np.clip(np.asarray(upright).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
            return np.repeat(grey_HW[..., None], 3, axis=2)
        return np.array(upright.convert("RGB"))


def read_labels(path: str | Path) -> NDArray[np.integer[Any]]:
    """Integer [H, W], the ids as stored: uint8, or wider where the file is; a palette image gives its indices."""
    with opened(path) as image:
        check_lossless(path, image)
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise InputError(
                f"labels {path}: holds colours (mode {image.mode}), not one class id per pixel",
                "convert it to a single-channel PNG of class ids",
            )
        raw_mode = image.tile[0].args if image.tile else ""
        stored_HW = np.array(image)
    if stored_HW.dtype == np.bool_:
        return stored_HW.astype(np.uint8)
    stretch = _STRETCH.get(raw_mode, 1) if isinstance(raw_mode, str) else 1
    return stored_HW // stretch if stretch > 1 else stored_HW


def check_lossless(path: str | Path, image: Image.Image) -> None:
    """Raise `InputError` for a label file whose format keeps no exact values."""
    if image.format in ("JPEG", "MPO", "WEBP"):
        raise InputError(
            f"labels {path}: {image.format} changes pixel values", "store the class ids as a single-channel PNG"
        )


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of what `read_image` would give, from the file's header alone."""
    with opened(path) as image:
        width, height = image.size
        # asking a PNG that does not open with its EXIF data would decode it all
        known = image.format != "PNG" or "exif" in image.info
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if known else 1
    return (width, height) if orientation >= 5 else (height, width)


def write_image(path: str | Path, image_HWC: NDArray[np.uint8]) -> None:
    """A PNG or, by the path's suffix, JPEG file of uint8 [H, W, 3] RGB."""
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] != 3:
        raise ValueError(f"an image is uint8 [H, W, 3], not {image_HWC.dtype} {image_HWC.shape}")
    image = Image.fromarray(np.ascontiguousarray(image_HWC))
    suffix = Path(path).suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        image.save(path, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    elif suffix == ".png":
        image.save(path, "PNG", compress_level=_PNG_LEVEL)
    else:
        raise ValueError(f"{path}: images are written as .png, .jpg or .jpeg")


def write_labels(path: str | Path, labels_HW: NDArray[np.integer[Any]]) -> None:
    """A single-channel 8-bit PNG of class ids 0..255, without palette: some readers would give its colours."""
    if labels_HW.ndim != 2 or not np.issubdtype(labels_HW.dtype, np.integer):
        raise ValueError(f"labels are integers [H, W], not {labels_HW.dtype} {labels_HW.shape}")
    if labels_HW.dtype != np.uint8 and labels_HW.size and not 0 <= labels_HW.min() <= labels_HW.max() <= 255:
        raise ValueError(f"label ids {labels_HW.min()}..{labels_HW.max()} are not within 0..255")
    write_gray(path, labels_HW.astype(np.uint8, copy=False))


def write_gray(path: str | Path, gray_HW: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """A single-channel PNG of uint8 or uint16 [H, W], such as a confidence map of 0..255 or numbers of objects."""
    if gray_HW.ndim != 2 or gray_HW.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a grey map is uint8 or uint16 [H, W], not {gray_HW.dtype} {gray_HW.shape}")
    Image.fromarray(np.ascontiguousarray(gray_HW)).save(path, "PNG", compress_level=_PNG_LEVEL)


@contextmanager
def opened(path: str | Path) -> Iterator[ImageFile.ImageFile]:
    """The file as a Pillow image; whatever its reader raises, while open too, becomes an `InputError`."""
    try:
        with Image.open(path) as image:
            yield image
    except _READ_ERRORS as error:
        raise _unreadable(Path(path), error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    mend = "put an intact copy in its place, or take it out of the data set"
    if isinstance(error, FileNotFoundError):
        return InputError(f"image file {path} does not exist", mend)
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(f"image file {path}: {error.strerror}", "make it a file this user may read")
    if path.stat().st_size == 0:
        return InputError(f"image file {path} is empty (0 bytes)", mend)
    if isinstance(error, UnidentifiedImageError):
        return InputError(f"image file {path} is in no known image format, or damaged at its start", mend)
    return InputError(f"image file {path} is damaged or cut off: {error}", mend)
