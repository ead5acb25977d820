"""ClassMix through the command line: whose images it is for, what it makes anew, and what it is not taken for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import online_config, output, small_config, write_config

from clouds.config import validate
from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig
from pipelines.full import Config, build

Clouds = Callable[..., tuple[int, str, str]]


def test_a_mix_trains_a_round_again_and_nothing_before_it(copy_of_finished: Path, clouds: Clouds) -> None:
    before = output(copy_of_finished)
    mix = ("--set", "selftrain.mix={}")
    lines = clouds("plan", copy_of_finished, *mix)[1].splitlines()
    [line] = [line for line in lines if line.startswith("selftrain-1 ")]
    assert "config mix.share: (none) -> 0.5" in line
    assert not [line for line in lines[1:] if "up to date" not in line and "selftrain-1" not in line]
    status, _, err = clouds("run", copy_of_finished, *mix, "--until", "selftrain-1")
    assert status == 0, err
    after = output(copy_of_finished)
    model = "selftrain-1/model/model.safetensors"
    assert after[model] != before[model]
    first = json.loads(after["selftrain-1/model/log.jsonl"].splitlines()[0])
    assert first.keys() == json.loads(before["selftrain-1/model/log.jsonl"].splitlines()[0]).keys()
    # and without it all is as it was
    assert clouds("run", copy_of_finished, "--set", "selftrain.mix=null", "--until", "selftrain-1")[0] == 0
    assert output(copy_of_finished)[model] == before[model]


@pytest.mark.parametrize("make", [small_config, online_config])
def test_it_is_for_images_whose_labels_are_guessed(
    models: Path, copy_of_finished: Path, make: Callable[..., dict[str, Any]]
) -> None:
    tree = make(models, copy_of_finished)
    tree["selftrain"]["mix"] = {"share": 0.25}
    [stage] = [stage for stage in build(validate(Config, tree, "small")) if stage.name == "selftrain-1"]
    worker: Any = stage.prepare(Runtime(RuntimeConfig(device="cpu")))
    sources = [*worker.sources, *(worker.online.sources if worker.online else ())]
    assert {source.dataset.name: source.mix and source.mix.share for source in sources} == {
        "source": None, "repainted": None, "generated": 0.25
    }  # fmt: skip


def test_sizes_that_differ_end_the_round_with_the_mend(copy_of_finished: Path, clouds: Clouds) -> None:
    shutil.rmtree(copy_of_finished / "selftrain-1")
    changes = ("selftrain.mix={}", "selftrain.generated_augment={crop: [16, 32]}", "selftrain.images_at_once=1")
    options = [part for change in changes for part in ("--set", change)]
    status, _, err = clouds("selftrain", copy_of_finished, *options)
    assert status == 1 and "32x16 ('generated') and 64x32 ('" in err and "`generated_augment.crop`" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("selftrain", "said"),
    [
        ({"mix": {"share": 2}}, ["'selftrain.mix.share' = 2"]),
        ({"mix": {"shar": 0.5}}, ["unknown key 'selftrain.mix.shar'", "did you mean 'share'"]),
        ({"online": {"mix": {}}}, ["'selftrain.online'", "beside `online`", "move it to `selftrain.mix`"]),
        ({"online": {"mix": None}}, ["'selftrain.online'", "beside `online`", "move it to `selftrain.mix`"]),
    ],
)
def test_what_cannot_be_is_named(
    models: Path, tmp_path: Path, clouds: Clouds, selftrain: dict[str, Any], said: list[str]
) -> None:
    tree = small_config(models, tmp_path / "run", filter=None)
    tree["selftrain"] |= selftrain
    status, _, err = clouds("plan", write_config(tmp_path / "c.yaml", tree))
    assert status == 2 and "Traceback" not in err
    for part in said:
        assert part in err
