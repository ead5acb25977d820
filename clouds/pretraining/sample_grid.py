"""A picture of many samples: one row for each prompt, one column for each seed. It knows no file and no pipeline."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clouds.models.diffusion import ImageGenerator

_MARGIN, _TITLE = 4, 14
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


def sample_grid(generator: ImageGenerator, prompts: Sequence[str], seeds: Sequence[int]) -> Image.Image:
    """Samples of a generator under their prompts, RGB; what it refuses leaves its place empty.

    A sample starts from noise of its column's seed alone. Raises `ValueError` without a prompt or a seed.
    """
    if not prompts or not seeds:
        raise ValueError("a grid needs a prompt and a seed")
    rows = [_row(generator, prompt, seeds) for prompt in prompts]
    width, height = next((image.size for row in rows for image in row if image is not None), (0, 0))
    cell_height = _TITLE + height + _MARGIN
    size = (_MARGIN + len(seeds) * (width + _MARGIN), _MARGIN + len(rows) * cell_height)
    grid = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(grid), ImageFont.load_default(size=10)
    for row, (prompt, images) in enumerate(zip(prompts, rows, strict=True)):
        top = _MARGIN + row * cell_height
        pen.text((_MARGIN, top), prompt, fill=_INK, font=font)
        for column, image in enumerate(images):
            if image is not None:
                grid.paste(image, (_MARGIN + column * (width + _MARGIN), top + _TITLE))
    return grid


def _row(generator: ImageGenerator, prompt: str, seeds: Sequence[int]) -> list[Image.Image | None]:
    images = generator.generate([prompt] * len(seeds), seeds)
    return [Image.fromarray(image_HWC) if isinstance(image_HWC, np.ndarray) else None for image_HWC in images]
