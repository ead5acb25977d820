import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from clouds.config import (
    ConfigModel,
    ConfigPath,
    Neutral,
    SourceStr,
    apply_overrides,
    dump_yaml,
    flatten,
    load_tree,
    merge,
    parse_override,
    validate,
)
from clouds.errors import UsageError


class Square(ConfigModel):
    type: Literal["square"] = "square"
    side: int = 1


class Circle(ConfigModel):
    type: Literal["circle"] = "circle"
    radius: float = 1.0


class DataSet(ConfigModel):
    folder: ConfigPath
    """Folder of the images."""
    weight: float = 1.0


class Training(ConfigModel):
    steps: int
    """Updates of the weights."""
    learning_rate: float = 1e-3
    batch_size: Neutral[int] = 8


class Runtime(ConfigModel):
    device: str = "auto"


class Config(ConfigModel):
    name: str = "unnamed"
    train: Training = Training(steps=10)
    shape: Annotated[Square | Circle, Field(discriminator="type")] = Square()
    sets: dict[str, DataSet] = {}
    shapes: list[Square] = []
    weights: SourceStr = "owner/model"
    file: ConfigPath | None = None
    note: Any = None
    words: tuple[str, ...] = ()
    crop: tuple[int, int] | None = None
    runtime: Neutral[Runtime] = Runtime()


def read(tmp_path: Path, text: str, *overrides: str) -> Config:
    return validate(Config, apply_overrides(load_tree(write(tmp_path, text)), overrides), "config.yaml")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("nmae: a", "nmae", "name"),
        ("train: {steps: 1, lerning_rate: 2}", "train.lerning_rate", "learning_rate"),
        ("shape: {type: circle, radios: 2}", "radios", "radius"),
        ("sets: {fog: {folder: a, wieght: 2}}", "sets.fog.wieght", "weight"),
        ("shapes: [{side: 1}, {sid: 2}]", "shapes.1.sid", "side"),
        ("runtime: {devise: cpu}", "runtime.devise", "device"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, text: str, key: str, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert key in str(caught.value)
    assert f"did you mean '{nearest}'?" in str(caught.value)
    assert caught.value.exit_status == 2


def test_an_unknown_key_near_nothing_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known: batch_size, learning_rate, steps"):
        read(tmp_path, "train: {steps: 1, zzzzzz: 2}")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("train: {steps: many}", ["'train.steps' = 'many' is no whole number", "mend: give a whole number"]),
        ("train: {learning_rate: 1.0}", ["'train.steps' is missing", "Updates of the weights."]),
        ("sets: {fog: {weight: 1}}", ["'sets.fog.folder' is missing", "Folder of the images."]),
        ("train: 3", ["'train' = 3"]),
        ("shape: {type: hexagon}", ["shape", "hexagon", "square", "circle"]),
        ("name: 3", ["'name' = 3 is no text", "mend: give text"]),
    ],
)
def test_a_wrong_value_names_key_value_and_what_is_wanted(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert all(part in str(caught.value) for part in ["config.yaml", *parts])


def test_every_error_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, "nmae: a\ntrain: {steps: x}")
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines if not line.startswith("  mend")] == ["config.yaml"] * 2
    assert "nmae" in str(caught.value)
    assert "train.steps" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.steps=many", "--set train.steps=many: 'train.steps' = 'many' is no whole number"),
        ("train.step=3", "--set train.step=3: unknown key 'train.step'"),
        ("train.steps.more=3", "--set train.steps.more=3: 'train.steps' is no whole number"),
        ("shape.radios=3", "--set shape.radios=3: unknown key 'shape.circle.radios'"),
        ("sets={fog: {}}", "--set sets={fog: {}}: 'sets.fog.folder' is missing"),
    ],
)
def test_a_value_given_by_set_is_to_blame_and_not_the_file(tmp_path: Path, override: str, said: str) -> None:
    text = "shape: {type: circle}\ntrain: {steps: 1, batch_size: x}"
    tree = apply_overrides(load_tree(write(tmp_path, text)), [override])
    with pytest.raises(UsageError) as caught:
        validate(Config, tree, "config.yaml", [override])
    assert said in caught.value.message.splitlines()
    assert any(line.startswith("config.yaml: 'train.batch_size'") for line in caught.value.message.splitlines())


def test_what_a_whole_config_breaks_has_no_empty_key() -> None:
    class Pair(ConfigModel):
        a: int = 1

        @model_validator(mode="after")
        def _never(self) -> "Pair":
            raise ValueError("a and b contradict each other")

    with pytest.raises(UsageError) as caught:
        validate(Pair, {}, "config.yaml")
    assert str(caught.value) == "config.yaml: a and b contradict each other"


def test_null_takes_out_a_list_that_a_base_names(tmp_path: Path) -> None:
    (tmp_path / "root.yaml").write_text("words: [a, b]\ncrop: [2, 3]", encoding="utf-8")
    assert read(tmp_path, "base: root.yaml").words == ("a", "b")
    taken = read(tmp_path, "base: root.yaml\nwords: null\ncrop: null")
    assert (taken.words, taken.crop) == ((), None)
    assert read(tmp_path, "base: root.yaml", "words=null").words == ()
    with pytest.raises(UsageError, match="'train.steps' = None is no whole number"):
        read(tmp_path, "train: {steps: null}")


def test_set_reaches_nested_keys_and_the_last_one_wins(tmp_path: Path) -> None:
    config = read(
        tmp_path, "train: {steps: 1, batch_size: 2}", "train.steps=5", "train.steps=6", "sets.fog.folder=/fog"
    )
    assert (config.train.steps, config.train.batch_size) == (6, 2)
    assert config.sets["fog"].folder == Path("/fog")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1.5e-3", 1.5e-3),
        ("a=true", True),
        ("a=null", None),
        ("a=", ""),
        ("a=[1, 2]", [1, 2]),
        ("a={b: c}", {"b": "c"}),
        ("a=b=c", "b=c"),
        ("a='1'", "1"),
    ],
)
def test_set_reads_the_value_as_yaml(text: str, value: object) -> None:
    assert parse_override(text) == (["a"], value)


@pytest.mark.parametrize("text", ["train.steps", "=3", "a=[1", " =3"])
def test_set_of_a_wrong_form_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        apply_overrides({}, [text])
    assert repr(text) in str(caught.value)
    assert caught.value.mend or "not valid YAML" in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("=3", "names no key before the '='"),
        (" =3", "names no key before the '='"),
        ("train..steps=3", "the key 'train..steps' has nothing on one side of a dot"),
        (".steps=3", "the key '.steps' has nothing"),
        ("train.=3", "the key 'train.' has nothing"),
        (".=3", "the key '.' has nothing"),
    ],
)
def test_set_of_a_key_with_nothing_in_it_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        apply_overrides({}, [text])
    assert caught.value.mend


def test_a_base_that_is_nowhere_names_the_nearest_that_ships(tmp_path: Path) -> None:
    for base, said in (("smoek", "did you mean 'smoke'?"), ("[demo, own_dat]", "did you mean 'own_data'?")):
        with pytest.raises(UsageError, match="no config of that name ships") as caught:
            read(tmp_path, f"base: {base}\nname: a")
        assert said in caught.value.mend
    with pytest.raises(UsageError, match="'base' ./there.yaml: No such file") as caught:
        read(tmp_path, "base: ./there.yaml\nname: a")


def test_set_of_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'steps'"):
        read(tmp_path, "name: a", "train.step=3")


def test_overrides_leave_the_tree_they_are_laid_on_alone() -> None:
    tree = {"train": {"steps": 1}}
    apply_overrides(tree, ["train.steps=2"])
    assert tree == {"train": {"steps": 1}}


def test_relative_paths_start_from_the_file_or_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    text = "file: a/b.txt\nweights: ../model\nsets: {fog: {folder: ../fog}}"
    from_file = read(tmp_path / "configs", text)
    assert from_file.file == tmp_path / "configs/a/b.txt"
    assert from_file.weights == str(tmp_path / "model")
    assert from_file.sets["fog"].folder == tmp_path / "fog"
    overridden = read(tmp_path / "configs", text, "file=a/b.txt", "weights=./model", "sets.fog.folder=fog")
    assert overridden.file == tmp_path / "work/a/b.txt"
    assert overridden.weights == str(tmp_path / "work/model")
    assert overridden.sets["fog"].folder == tmp_path / "work/fog"


def test_a_path_from_home_and_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    config = read(tmp_path, "file: ~/x\nweights: owner/name")
    assert config.file == Path("/home/someone/x")
    assert config.weights == "owner/name"


def test_a_file_lies_over_its_base_and_each_keeps_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/root.yaml").write_text("name: root\nfile: x\ntrain: {steps: 1, batch_size: 2}", encoding="utf-8")
    (tmp_path / "middle.yaml").write_text("base: deep/root.yaml\nname: middle\nweights: ./w", encoding="utf-8")
    config = read(tmp_path, "base: middle.yaml\ntrain: {steps: 3}")
    assert config.name == "middle"
    assert (config.train.steps, config.train.batch_size) == (3, 2)
    assert config.file == tmp_path / "deep/x"
    assert config.weights == str(tmp_path / "w")


def test_another_type_replaces_a_group_instead_of_mixing_with_it(tmp_path: Path) -> None:
    (tmp_path / "root.yaml").write_text("shape: {type: square, side: 4}", encoding="utf-8")
    assert read(tmp_path, "base: root.yaml\nshape: {type: circle}").shape == Circle()
    assert read(tmp_path, "base: root.yaml\nshape: {type: square}").shape == Square(side=4)
    assert read(tmp_path, "base: root.yaml\nshape: {side: 5}").shape == Square(side=5)


def test_lists_replace_and_mappings_merge() -> None:
    assert merge({"a": [1, 2], "b": {"c": 1}}, {"a": [3], "b": {"d": 2}}) == {"a": [3], "b": {"c": 1, "d": 2}}


def test_a_base_that_leads_back_is_an_error_that_names_the_way(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("base: config.yaml", encoding="utf-8")
    with pytest.raises(UsageError, match=r"other\.yaml -> .*config\.yaml"):
        read(tmp_path, "base: other.yaml")


def test_of_several_bases_each_lies_over_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("name: one\nfile: x\ntrain: {steps: 1, batch_size: 2}", encoding="utf-8")
    (tmp_path / "two.yaml").write_text("name: two\ntrain: {steps: 5}", encoding="utf-8")
    config = read(tmp_path, "base: [one.yaml, two.yaml]\nweights: ./w")
    assert config.name == "two"
    assert (config.train.steps, config.train.batch_size) == (5, 2)
    assert config.file == tmp_path / "x"


@pytest.mark.parametrize("base", ["[3]", "3", "{a: b}"])
def test_a_base_that_is_no_path_is_an_error(tmp_path: Path, base: str) -> None:
    with pytest.raises(UsageError, match="is not a path"):
        read(tmp_path, f"base: {base}")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"a: [1", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"- a\n- b", "holds list"),
        (b"", "holds NoneType"),
        (b"!!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_mapping_in_yaml_is_an_error_that_names_it(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_tree(path)
    assert str(path) in str(caught.value)
    assert part in str(caught.value)


def test_a_file_that_is_missing_is_named_and_so_is_a_missing_base(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none.yaml: No such file"):
        load_tree(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="gone.yaml: No such file"):
        read(tmp_path, "base: gone.yaml")
    with pytest.raises(UsageError, match="Is a directory"):
        load_tree(tmp_path)


def test_flatten_gives_dotted_keys_and_leaves_neutral_values_out() -> None:
    config = Config(sets={"fog": DataSet(folder=Path("/fog"))}, shapes=[Square(side=3)])
    flat = dict(flatten(config))
    assert flat["train.steps"] == 10
    assert flat["sets.fog.folder"] == "/fog"
    assert flat["shapes.0.side"] == 3
    assert flat["shape.type"] == "square"
    assert flat["file"] is None
    assert not {"train.batch_size", "runtime.device"} & flat.keys()
    assert {"train.batch_size", "runtime.device"} <= dict(flatten(config, neutral=True)).keys()


def test_a_dumped_config_loads_equal_from_another_folder(tmp_path: Path) -> None:
    text = "name: é\nfile: a\nweights: ./w\nsets: {fog: {folder: f}}\nshape: {type: circle, radius: 1.0e-7}\nnote: [x]"
    config = read(tmp_path, text, "train={steps: 2, learning_rate: 3e-5}", "note={a: [./x, 1]}")
    (tmp_path / "run").mkdir()
    assert read(tmp_path / "run", dump_yaml(config)) == config


@given(
    st.builds(
        Config,
        name=st.text(),
        train=st.builds(Training, steps=st.integers(), learning_rate=st.floats(allow_nan=False, allow_infinity=False)),
        shape=st.builds(Square, side=st.integers()) | st.builds(Circle, radius=st.floats(allow_nan=False)),
        weights=st.text(alphabet="ab/-_. ").filter(lambda text: not text.startswith(("/", "."))),
    )
)
@example(Config(name="line\x85break\u2028and\u2029more"))
def test_any_config_survives_its_dump(config: Config) -> None:
    assert validate(Config, yaml.safe_load(dump_yaml(config)), "dump") == config


class Shipped(ConfigModel):
    weights: SourceStr = "owner/model"
    file: ConfigPath | None = None


@pytest.mark.parametrize("base", ["here", "elsewhere/deep"])
def test_what_ships_is_named_alike_from_anywhere(tmp_path, base):
    config = tmp_path / base / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("weights: assets:prompts\nfile: assets:prompts/street.txt\n")
    found = validate(Shipped, load_tree(config), "config.yaml")
    assert found.file is not None and found.file.read_text()
    assert Path(found.weights) == found.file.parent
    # the resolved config says the same again
    config.write_text(dump_yaml(found))
    assert validate(Shipped, load_tree(config), "config.yaml") == found


@pytest.mark.parametrize("key", ["weights", "file"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("prompts/stret.txt", "did you mean 'prompts/street.txt'?"),
        ("no/such/thing/at-all", "known: "),
        ("../configs/demo.yaml", "nothing of that name"),
        ("", "known: "),
        ("prompts/__init__.py", "nothing of that name"),
    ],
)
def test_what_does_not_ship_names_the_nearest(key, name, said):
    with pytest.raises(UsageError) as raised:
        validate(Shipped, {key: f"assets:{name}"}, "config.yaml")
    text = str(raised.value)
    assert f"'{key}' = 'assets:{name}'" in text
    assert said in text and "__pycache__" not in text and "install the tool again" in text
