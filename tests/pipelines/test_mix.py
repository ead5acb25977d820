"""ClassMix through the command line: whose images it is for, what it makes anew, and what it is not taken for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_run import online_config, output, small_config, write_config

from clouds.config import dump_yaml, validate
from clouds.engine.fingerprint import fingerprint
from clouds.engine.planning import StagePlan, document, plan_stage
from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig
from clouds.training.online_settings import OnlineConfig
from clouds.training.settings import MixConfig
from pipelines.full import Config, build
from pipelines.selftrain import SelftrainConfig

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
        ({"online": {"mix": {"share": 2}}}, ["'selftrain.mix.share' = 2"]),
        (
            {"mix": {"share": 0.5}, "online": {"mix": {"share": 0.25}}},
            ["'selftrain'", "`online.mix` is the former place of `mix`", "set `online.mix` to null"],
        ),
        ({"mix": None, "online": {"mix": {}}}, ["'selftrain'", "set `online.mix` to null"]),
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


@pytest.mark.parametrize(
    ("selftrain", "mix"),
    [
        ({"online": {"mix": None}}, None),
        ({"online": {"mix": {"share": 0.25}}}, MixConfig(share=0.25)),
        ({"online": {"mix": {}}}, MixConfig()),
        ({"online": {"mix": {"share": 0.25}}, "mix": {"share": 0.25}}, MixConfig(share=0.25)),
        ({"online": {"mix": None}, "mix": {"share": 0.25}}, MixConfig(share=0.25)),
    ],
)
def test_the_former_place_of_the_mix_is_known(selftrain: dict[str, Any], mix: MixConfig | None) -> None:
    given = json.dumps(selftrain)
    config = SelftrainConfig.model_validate({"data": {"source": 1.0}, "steps": 4, **selftrain})
    assert config.mix == mix and config.online == OnlineConfig()
    assert json.dumps(selftrain) == given, "what was given is left as it was"


@pytest.mark.parametrize("mix", [None, {"share": 0.25}])
def test_an_older_runs_own_config_is_read(
    models: Path, tmp_path: Path, clouds: Clouds, mix: dict[str, float] | None
) -> None:
    tree = yaml.safe_load(dump_yaml(validate(Config, online_config(models, tmp_path / "run"), "small")))
    del tree["selftrain"]["mix"]
    tree["selftrain"]["online"]["mix"] = mix
    write_config(tmp_path / "run" / "config.yaml", tree)
    for command in ("status", "plan"):
        status, out, err = clouds(command, tmp_path / "run")
        assert status == 0 and "selftrain-1" in out, err


# what the last version with `online.mix` put on record for `online_config`, with several values of it
@pytest.fixture(params=json.loads(Path(__file__).with_name("records_with_online_mix.json").read_text()))
def older(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param  # type: ignore[no-any-return]


def test_a_training_whose_mix_was_in_online_is_not_trained_again(
    models: Path, tmp_path: Path, older: dict[str, Any]
) -> None:
    def planned(**changes: Any) -> StagePlan:
        tree = online_config(models, tmp_path)
        tree["selftrain"] |= {"mix": older["mix"], **changes}
        [stage] = [stage for stage in build(validate(Config, tree, "small")) if stage.name == "selftrain-1"]
        needed = {one.name: "as it was" for one in stage.needs}
        was = {**document(stage, needed), "config": older["config"]}
        stage.artifact.describe({"document": was, "fingerprint": fingerprint(was), "complete": True})
        plan = plan_stage(stage, needed)
        assert (plan.fingerprint == fingerprint(was)) is not plan.changed
        return plan

    assert planned().reasons == ("1 of 1 shards missing",), "the record agrees"
    # and what is not as it was is told in today's words
    share = older["mix"]["share"] if older["mix"] else "(none)"
    none = ("config mix: null -> (none)",) if older["mix"] is None else ()
    assert planned(mix={"share": 0.75}).reasons == (*none, f"config mix.share: {share} -> 0.75")
    assert planned(steps=5).reasons == ("config steps: 4 -> 5",)
