"""From a config to stages: how a config is found, what belongs to a stage, and what cannot be."""

from pathlib import Path

import pytest
from small_run import STAGES, small_config, write_config

from clouds.assembly import Assembly, assemble, assemblies, find_config
from clouds.errors import UsageError


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    return write_config(folder / "small.yaml", small_config(folder / "models", folder / "run"))


@pytest.fixture(scope="module")
def small(config) -> Assembly:
    return assemble(str(config))


def names(stages):
    return [stage.name for stage in stages]


def test_the_stages_in_the_order_they_run(small):
    assert names(small.stages) == list(STAGES)


def test_a_stage_is_found_by_its_name_and_by_its_kind(small):
    assert names(small.find("refine-1")) == ["refine-1"]
    assert names(small.find("train")) == ["train"]
    assert names(small.find("evaluate")) == ["evaluate-train", "evaluate-adapt", "evaluate-selftrain-1"]


def test_a_name_comes_before_a_kind():
    making = assemble("miniature")
    assert names(making.find("corpus")) == ["corpus"]
    assert names(making.until("corpus")) == ["corpus"]
    assert len(making.find("pretrain")) == 5
    assert names(making.needed_for("clip")) == ["corpus", "clip"]


def test_an_unknown_stage_names_the_nearest(small):
    with pytest.raises(UsageError, match="no stage 'selftrain-2'") as raised:
        small.find("selftrain-2")
    assert raised.value.mend == "did you mean 'selftrain-1'?"


def test_until_ends_with_the_last_stage_of_that_name_or_kind(small):
    assert names(small.until("generate")) == list(STAGES[:6])
    assert names(small.until("evaluate-train")) == ["train", "evaluate-train"]
    assert names(small.until("evaluate")) == list(STAGES)


def test_what_a_stage_needs_comes_with_it_and_nothing_else(small):
    assert names(small.needed_for("generate")) == ["generate"]
    assert names(small.needed_for("label")) == ["train", "repaint", "adapt", "generate", "label-1"]
    assert names(small.needed_for("selftrain")) == [name for name in STAGES if not name.startswith("evaluate")]
    assert names(small.needed_for("evaluate-train")) == ["train", "evaluate-train"]


def test_many_rounds_are_put_together_at_once(config):
    many = assemble(str(config), ["rounds=30"])
    assert len(many.needed_for("selftrain-30")) == 5 + 6 * 30


def test_a_path_a_shipped_name_and_a_run_folder_are_found(config, tmp_path, monkeypatch):
    assert find_config(str(config)) == config
    (tmp_path / "config.yaml").write_text("name: a")
    assert find_config(str(tmp_path)) == tmp_path / "config.yaml"
    monkeypatch.chdir(tmp_path)
    shipped = find_config("demo")
    assert shipped.name == "demo.yaml" and shipped.exists()
    # a file of one's own comes before the one that ships
    Path("demo").write_text("name: a")
    assert find_config("demo") == Path("demo")


@pytest.mark.parametrize(
    ("wanted", "meant"), [("smok", "smoke"), ("there/demo.yaml", "demo"), ("clouds-gta5", "clouds_gta5")]
)
def test_a_config_that_is_nowhere_names_the_nearest_that_ships(wanted, meant):
    with pytest.raises(UsageError, match=f"config {wanted}: no such file") as raised:
        find_config(wanted)
    assert raised.value.mend == f"did you mean {meant!r}?; or give a YAML file or a run's folder"


@pytest.mark.parametrize("wanted", ["no-such", "no-such.yaml", "there/xyz"])
def test_a_config_that_is_nowhere_names_those_that_ship(wanted):
    with pytest.raises(UsageError, match=f"config {wanted}: no such file") as raised:
        find_config(wanted)
    assert "demo" in raised.value.mend and "smoke" in raised.value.mend


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no run folder: it holds no config.yaml"):
        assemble(str(tmp_path))


def test_the_assemblies_are_the_modules_that_build_stages(config):
    assert assemblies() == ["compare", "full", "predict", "pretrain_miniature", "source_only"]
    with pytest.raises(UsageError, match="'pipeline' = 'twice' is no assembly") as raised:
        assemble(str(config), ["pipeline=twice"])
    assert raised.value.mend == "choose one of compare, full, predict, pretrain_miniature, source_only"


def test_overrides_are_laid_over_the_file(config, tmp_path):
    assembly = assemble(str(config), ["rounds=0", "adapt=null", "repaint=null", f"run_dir={tmp_path / 'there'}"])
    assert names(assembly.stages) == ["train", "evaluate-train"]
    assert assembly.stages[0].artifact.folder == tmp_path / "there" / "train"


def test_a_value_given_by_set_is_to_blame() -> None:
    with pytest.raises(UsageError, match="^--set pipeline=ful: 'pipeline' = 'ful' is no assembly"):
        assemble("smoke", ["pipeline=ful"])
    with pytest.raises(UsageError, match="^--set rounds=-1: 'rounds' = -1: it should be greater") as caught:
        assemble("smoke", ["rounds=-1", "train.steps=many"])
    assert "\n--set train.steps=many: 'train.steps' = 'many' is no whole number" in caught.value.message
