"""The stage `refine`: what it records, what passes through it, and the cache of encoded images that rounds share."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clouds.config import flatten, validate
from clouds.engine.artifact import Artifact
from clouds.errors import UsageError
from clouds.models.refinement_config import RefinementConfig
from clouds.models.sam_config import SamConfig
from clouds.models.sam_original import OriginalSam
from clouds.models.tiny_sam import build_tiny_sam
from clouds.ops.refinement_settings import PRESETS, RefinementSettings, published
from pipelines.refine import RefineConfig

Clouds = Callable[..., tuple[int, str, str]]
Passes = list[int]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """The sizes of the batches that go through the image encoder from here on."""
    seen: Passes = []
    encode = OriginalSam.encode

    def counted(self: OriginalSam, pixels_BCHW: torch.Tensor) -> Any:
        seen.append(len(pixels_BCHW))
        return encode(self, pixels_BCHW)

    monkeypatch.setattr(OriginalSam, "encode", counted)
    return seen


def refined(run_dir: Path, stage: str) -> dict[str, bytes]:
    folder = run_dir / stage
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/*.png"))}


def rows(run_dir: Path, stage: str) -> list[dict[str, Any]]:
    artifact = Artifact(run_dir / stage)
    return [row for shard in artifact.shard_ids() for row in artifact.rows(shard)]


def run(clouds: Clouds, run_dir: Path, until: str, *changes: str, force: bool = False) -> str:
    options = [part for change in changes for part in ("--set", change)]
    status, _, err = clouds("run", run_dir, "--until", until, *options, *(("--force", until) if force else ()))
    assert status == 0, err
    return err


def test_each_item_records_what_was_done_to_it(finished: Path) -> None:
    for row in rows(finished, "refine-1"):
        assert row["accepted"] + row["rejected"] == row["prompted"] <= row["components"]
        assert row["sam"]["name"] == "SAM of width 32, frame 128" and len(row["sam"]["sha256"]) == 64
        shard = row["labels"].split("/")[1]
        before, after = (
            np.asarray(Image.open(finished / name)) for name in (row["labels"], f"refine-1/{shard}/{row['file_name']}")
        )
        assert row["changed_pixels"] == np.count_nonzero(before != after)
    card = (finished / "refine-1" / "README.md").read_text()
    assert "masks accepted" in card and "of 7 images no component was large enough" in card


@pytest.mark.parametrize(
    ("change", "components"),
    [("refine.rule.min_area=1.0", True), ("label.threshold=1.0", False)],
    ids=["nothing large enough", "nothing but ignored pixels"],
)
def test_an_image_without_prompts_passes_through_and_is_counted(
    copy_of_finished: Path, clouds: Clouds, passes: Passes, change: str, components: bool
) -> None:
    run(clouds, copy_of_finished, "refine-1", change)
    for row in rows(copy_of_finished, "refine-1"):
        assert (row["prompted"], row["changed_pixels"], row["components"] > 0) == (0, 0, components)
    assert not passes
    assert "in 7 of 7 images no component" in (copy_of_finished / "refine-1" / "README.md").read_text()


def test_the_cache_changes_no_byte(copy_of_finished: Path, clouds: Clouds, passes: Passes) -> None:
    two = ("rounds=2", "refine.batch_size=2", "refine.rule.min_area=0.0")
    # shards of 3, 3 and 1 images
    batches = [2, 1, 2, 1, 1]
    run(clouds, copy_of_finished, "refine-2", *two)
    # the first round fills the cache, and the second encodes nothing
    assert passes == batches
    whole = refined(copy_of_finished, "refine-2")
    files = sorted(path for path in (copy_of_finished / "cache" / "sam").glob("*/*/*"))
    assert len(files) == 7

    # as a kill between two images of a batch leaves it: the batch is encoded again, together
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-1])
    passes.clear()
    err = run(clouds, copy_of_finished, "refine-2", *two, force=True)
    assert 0 < len(passes) <= 2
    assert refined(copy_of_finished, "refine-2") == whole

    passes.clear()
    run(clouds, copy_of_finished, "refine-2", *two, force=True)
    assert not passes
    assert refined(copy_of_finished, "refine-2") == whole

    shutil.rmtree(copy_of_finished / "cache")
    err = run(clouds, copy_of_finished, "refine-2", *two, "refine.sam.cache=false", force=True)
    assert passes == batches, err
    assert refined(copy_of_finished, "refine-2") == whole
    assert not (copy_of_finished / "cache").exists()


def test_a_cache_of_other_weights_is_made_again_and_said(
    copy_of_finished: Path, clouds: Clouds, tmp_path: Path, caplog: pytest.LogCaptureFixture, passes: Passes
) -> None:
    run(clouds, copy_of_finished, "refine-2", "rounds=2")
    [origin] = (copy_of_finished / "cache" / "sam").iterdir()
    build_tiny_sam(tmp_path / "other.safetensors", seed=5)
    passes.clear()
    caplog.clear()
    run(clouds, copy_of_finished, "refine-1", "rounds=2", f"refine.sam.weights={tmp_path / 'other.safetensors'}")
    assert passes == [1] * 7
    [other] = (copy_of_finished / "cache" / "sam").iterdir()
    assert other != origin
    assert caplog.text.count("made with other weights") == 1


def test_one_round_keeps_nothing(finished: Path) -> None:
    assert not (finished / "cache").exists()


def test_batches_refine_as_single_images(copy_of_finished: Path, clouds: Clouds) -> None:
    one = refined(copy_of_finished, "refine-1")
    run(clouds, copy_of_finished, "refine-1", "refine.batch_size=3", force=True)
    together = refined(copy_of_finished, "refine-1")
    assert one.keys() == together.keys()
    for name in one:
        shard_file = copy_of_finished / "refine-1" / name
        assert np.asarray(Image.open(shard_file)).shape == (32, 64)
    # rounding apart
    assert sum(one[name] != together[name] for name in one) <= 1


def test_a_named_rule_fills_what_the_config_does_not_say() -> None:
    rule = validate(RefinementConfig, {"preset": "published"}, "test")
    assert rule.settings() == published()
    assert validate(RefinementConfig, {}, "test").settings() == RefinementSettings()
    own = validate(RefinementConfig, {"preset": "published", "unclaimed": "keep", "protect_small": True}, "test")
    assert (own.settings().unclaimed, own.settings().min_area) == ("keep", published().min_area)
    # written out in full, as a run's folder keeps it, it is the same rule
    assert validate(RefinementConfig, rule.model_dump(), "test") == rule
    assert {name for name, _ in flatten(rule)} == set(vars(RefinementSettings()))
    with pytest.raises(UsageError, match="publishd"):
        validate(RefinementConfig, {"preset": "publishd"}, "test")
    assert set(PRESETS) == {"default", "published"}


def test_a_named_rule_and_its_values_have_one_fingerprint() -> None:
    sam = {"weights": "sam.pth"}
    named = validate(RefineConfig, {"sam": sam, "rule": {"preset": "published"}}, "test")
    values = {name: getattr(published(), name) for name in vars(published())}
    spelled = validate(RefineConfig, {"sam": sam, "rule": values}, "test")
    assert list(flatten(named)) == list(flatten(spelled))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sam_vit_b_01ec64.pth", "/base/sam_vit_b_01ec64.pth"),
        ("weights/mobile_sam.pt", "/base/weights/mobile_sam.pt"),
        ("facebook/sam2.1-hiera-large", "facebook/sam2.1-hiera-large"),
        ("./sam2", "/base/sam2"),
    ],
)
def test_a_checkpoint_is_a_path_and_the_rest_as_everywhere(text: str, expected: str) -> None:
    from clouds.config import LocatedStr

    located = LocatedStr.at(text, Path("/base"))
    assert validate(SamConfig, {"weights": located}, "test").weights == expected
