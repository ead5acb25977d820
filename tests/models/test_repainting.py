"""Images painted anew on a tiny real Stable Diffusion: what is kept, what an image depends on, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from numpy.typing import NDArray

from clouds.config import validate
from clouds.errors import CloudsError, InputError
from clouds.models.diffusion import DiffusionConfig, DiffusionGenerator, Generated
from clouds.models.repainting import DiffusionRepainter
from clouds.models.tiny_diffusion import build_tiny_diffusion

PROMPTS = ["a street at night", "cars in the fog", "a bicycle"]
SEEDS = [1, 2, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_diffusion(tmp_path_factory.mktemp("models") / "tiny", seed=0, height=32, width=64)


def repainter(folder: Path, strength: float = 0.5, **values: Any) -> DiffusionRepainter:
    config = validate(DiffusionConfig, {"weights": str(folder), "steps": 4, **values}, "test")
    return DiffusionRepainter(config, "cpu", strength)


def images(count: int = 3, height: int = 32, width: int = 64) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))


def pixels(results: list[Generated]) -> NDArray[np.int64]:
    assert not any(isinstance(result, InputError) for result in results)
    return np.stack(results).astype(int)  # type: ignore[arg-type]


def test_an_image_depends_on_its_own_image_prompt_and_seed_alone(folder: Path) -> None:
    model = repainter(folder)
    together = pixels(model.repaint(images(), PROMPTS, SEEDS))
    assert together.shape == (3, 32, 64, 3)
    assert model.repaint([], [], []) == []
    for number in range(3):
        one = slice(number, number + 1)
        alone = pixels(model.repaint(images()[one], PROMPTS[one], SEEDS[one]))[0]
        assert np.abs(alone - together[number]).max() <= 1
    others = (
        model.repaint(images()[::-1], PROMPTS, SEEDS),
        model.repaint(images(), PROMPTS[::-1], SEEDS),
        model.repaint(images(), PROMPTS, [7, 8, 9]),
    )
    for other in others:
        assert np.abs(pixels(other) - together)[0].mean() > 0.3


def test_the_stronger_the_less_is_left_of_the_image(folder: Path) -> None:
    """Two images under one prompt and seed: at full strength hardly anything tells them apart."""
    apart = []
    for strength in (0.25, 0.5, 1.0):
        first, second = pixels(repainter(folder, strength).repaint(images(2), [PROMPTS[0]] * 2, [5, 5]))
        apart.append(np.abs(first - second).mean())
    assert apart[0] > apart[1] > apart[2]


def test_any_size_comes_out_at_the_generators(folder: Path) -> None:
    mixed = [*images(1), *images(1, 48, 48)]
    assert pixels(repainter(folder).repaint(mixed, PROMPTS[:2], SEEDS[:2])).shape == (2, 32, 64, 3)
    asked = repainter(folder, height=40, width=24, negative_prompt="snow")
    assert pixels(asked.repaint(mixed, PROMPTS[:2], SEEDS[:2])).shape == (2, 40, 24, 3)


def test_where_only_the_pipeline_knows_a_size_images_keep_theirs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clouds.models.diffusion._image_size", lambda pipeline, config: None)
    model = repainter(folder)
    first, second = model.repaint([*images(1), *images(1, 48, 48)], PROMPTS[:2], SEEDS[:2])
    assert (first.shape, second.shape) == ((32, 64, 3), (48, 48, 3))  # type: ignore[union-attr]


def test_provenance_names_the_pipeline_and_the_strength(folder: Path) -> None:
    told = repainter(folder).describe()
    assert (told["pipeline"], told["strength"]) == ("StableDiffusionImg2ImgPipeline", 0.5)
    generator = DiffusionGenerator(validate(DiffusionConfig, {"weights": str(folder), "steps": 4}, "test"), "cpu")
    assert {**generator.describe(), "pipeline": "", "strength": 0} == {**told, "pipeline": "", "strength": 0}


def test_lists_of_different_lengths_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="2 images, 3 prompts"):
        repainter(folder).repaint(images(2), PROMPTS, SEEDS)


def test_a_spoiled_image_does_not_take_its_neighbours_along(folder: Path) -> None:
    model = repainter(folder)
    call = model._pipeline.__class__.__call__

    def spoil(self: Any, **arguments: Any) -> Any:
        output = call(self, **arguments)
        output.images[1, 0, 0, 0] = np.nan
        return output

    model._pipeline.__class__ = type("Spoiling", (type(model._pipeline),), {"__call__": spoil})
    first, second, third = model.repaint(images(), PROMPTS, SEEDS)
    assert isinstance(second, InputError)
    assert isinstance(first, np.ndarray) and isinstance(third, np.ndarray)


def test_weights_without_an_image_to_image_pipeline_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import AutoPipelineForImage2Image

    transformer = DiTTransformer2DModel(num_attention_heads=1, attention_head_dim=8, num_layers=1, sample_size=4)
    foreign = DiTPipeline(transformer, AutoencoderKL(latent_channels=4), DDIMScheduler())
    real = AutoPipelineForImage2Image.from_pipe
    monkeypatch.setattr(AutoPipelineForImage2Image, "from_pipe", lambda pipeline: real(foreign))
    with pytest.raises(CloudsError, match="no image-to-image pipeline") as caught:
        repainter(folder)
    assert "set `repaint` to null" in caught.value.mend
