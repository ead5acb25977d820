"""The grid of samples: a row per prompt, a column per seed."""

import numpy as np
import pytest

from clouds.errors import InputError
from clouds.pretraining.sample_grid import sample_grid


class Painter:
    """Paints a plain picture whose colour tells prompt and seed; it refuses the seed 9."""

    def generate(self, prompts, seeds):
        return [
            InputError("refused") if seed == 9 else np.full((32, 64, 3), (len(prompt), seed, 0), np.uint8)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]

    def describe(self):
        return {}


def test_a_prompt_is_a_row_and_a_seed_a_column() -> None:
    grid = sample_grid(Painter(), ["fog", "a street at night"], [9, 1, 2])
    assert grid.mode == "RGB" and grid.size == (4 + 3 * 68, 4 + 2 * 50)
    cells = [[np.asarray(grid)[top : top + 32, left : left + 64] for left in (4, 72, 140)] for top in (18, 68)]
    assert (cells[0][0] == 255).all() and (cells[1][0] == 255).all()
    for row, length in enumerate((3, 17)):
        for column, seed in ((1, 1), (2, 2)):
            assert (cells[row][column] == (length, seed, 0)).all()


@pytest.mark.parametrize(("prompts", "seeds"), [([], [1]), (["fog"], [])])
def test_a_grid_of_nothing_is_refused(prompts, seeds) -> None:
    with pytest.raises(ValueError, match="a prompt and a seed"):
        sample_grid(Painter(), prompts, seeds)
