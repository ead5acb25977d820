import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from clouds.data.images import image_size, read_image, read_labels, write_gray, write_image, write_labels
from clouds.errors import InputError

RNG_IMAGE_HWC = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
READERS = [read_image, read_labels, image_size]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_grey_png(path: Path, bits: int, rows: list[bytes], size: tuple[int, int]) -> None:
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def test_png_images_come_back_and_have_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, RNG_IMAGE_HWC)
    assert (read_image(tmp_path / "a.png") == RNG_IMAGE_HWC).all()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert image_size(tmp_path / "a.png") == (9, 14)


def test_jpeg_images_come_back_nearly(tmp_path: Path) -> None:
    smooth_HWC = np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None], 24, axis=0).repeat(3, axis=2)
    write_image(tmp_path / "a.jpg", smooth_HWC)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - smooth_HWC).max() < 12


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_labels_come_back(tmp_path_factory: pytest.TempPathFactory, labels_HW: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("labels") / "a.png"
    write_labels(path, labels_HW)
    back_HW = read_labels(path)
    assert back_HW.dtype == np.uint8
    assert (back_HW == labels_HW).all()


def test_label_files_are_single_channel_without_palette(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.png", np.array([[0, 255], [7, 1]], np.int64))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 255], [7, 1]]


def test_palette_labels_give_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image.save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 1, 2]]
    assert read_image(tmp_path / "a.png").tolist() == [[[9, 9, 9], [200, 0, 0], [0, 200, 0]]]


def test_16_bit_labels_and_images(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 300, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 300, 65535]]
    assert read_image(tmp_path / "a.png")[..., 0].tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(("bits", "rows", "ids"), [(1, [b"\xa0"], [1, 0, 1]), (2, [b"\x18"], [0, 1, 2])])
def test_labels_of_few_bits_keep_their_ids(tmp_path: Path, bits: int, rows: list[bytes], ids: list[int]) -> None:
    write_grey_png(tmp_path / "a.png", bits, rows, (1, 3))
    assert read_labels(tmp_path / "a.png").tolist() == [ids]


def test_4_bit_labels_keep_their_ids(tmp_path: Path) -> None:
    write_grey_png(tmp_path / "a.png", 4, [b"\x0a\xf0"], (1, 3))
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 10, 15]]


def test_orientation_is_applied_to_image_and_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "a.png"):
        Image.fromarray(RNG_IMAGE_HWC).save(tmp_path / name, exif=exif)
        assert read_image(tmp_path / name).shape == (14, 9, 3)
        assert image_size(tmp_path / name) == (14, 9)
    assert (read_image(tmp_path / "a.png") == np.rot90(RNG_IMAGE_HWC, -1)).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(RNG_IMAGE_HWC).convert(mode).save(path)
    image_HWC = read_image(path)
    assert image_HWC.shape == (9, 14, 3)
    assert image_HWC.dtype == np.uint8
    assert image_HWC.flags.writeable


def test_coloured_labels_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", RNG_IMAGE_HWC)
    with pytest.raises(InputError, match="holds colours") as caught:
        read_labels(tmp_path / "a.png")
    assert "single-channel PNG" in caught.value.mend


def test_lossy_labels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="JPEG changes pixel values"):
        read_labels(tmp_path / "a.jpg")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "does not exist"), (b"", "is empty"), (b"hello, I am no image", "no known image format")],
)
def test_unusable_files_are_named(tmp_path: Path, read: object, content: bytes | None, said: str) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read(path)  # type: ignore[operator]
    assert str(path) in caught.value.message
    assert caught.value.mend


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory"):
        read_image(tmp_path)


def succeeds(read: Callable[[Path], object], path: Path) -> bool:
    """Whether a file can be read; what is raised may only be an `InputError` that names it."""
    error = None
    try:
        read(path)
    except InputError as raised:
        error = raised
    assert error is None or str(path) in error.message
    return error is None


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_a_file_cut_anywhere_is_an_input_error_or_an_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RNG_IMAGE_HWC).save(path)
    whole = path.read_bytes()
    failures = 0
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        failures += not succeeds(read_image, path)
    assert failures > 20


@settings(deadline=None, max_examples=50)
@given(position=st.integers(8, 200), value=st.integers(0, 255))
def test_a_damaged_byte_is_an_input_error_or_an_image(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a.png"
    write_labels(path, RNG_IMAGE_HWC[..., 0])
    content = bytearray(path.read_bytes())
    content[position % len(content)] = value
    path.write_bytes(content)
    for read in READERS:
        succeeds(read, path)


def test_writers_refuse_what_they_cannot_keep(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0\.\.255"):
        write_labels(tmp_path / "a.png", np.array([[256]]))
    with pytest.raises(ValueError, match="integers"):
        write_labels(tmp_path / "a.png", np.array([[0.5]]))
    with pytest.raises(ValueError, match="uint8"):
        write_gray(tmp_path / "a.png", np.array([[1]], np.int32))
    with pytest.raises(ValueError, match="written as"):
        write_image(tmp_path / "a.gif", RNG_IMAGE_HWC)
    with pytest.raises(ValueError, match="an image is"):
        write_image(tmp_path / "a.png", RNG_IMAGE_HWC[..., 0])
    assert not list(tmp_path.iterdir())
