"""`clouds convert` as it is typed: what it writes, what it tells, and what it refuses."""

import json

import pytest
import torch
from published_checkpoint import CLASSES, clip_config, published_state, small_segmenter

from clouds.cli import main
from clouds.data.class_files import read_classes
from clouds.errors import UsageError
from clouds.models.segmenter_files import load_segmenter
from clouds.models.segmenter_folder import segmenter_classes


@pytest.fixture
def clouds(monkeypatch, capsys):
    """Runs the command line in this process: exit status, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["clouds", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def given(tmp_path):
    """A checkpoint, its classes and its CLIP, as files."""
    model, clip = small_segmenter(clip_config("convnext"), text=True)
    torch.save({"model": published_state(model, clip)}, tmp_path / "model.pth")
    (tmp_path / "clip.json").write_text(json.dumps({"model_cfg": clip_config("convnext")}))
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES.names))
    return (
        tmp_path / "model.pth",
        tmp_path / "out",
        *("--classes", tmp_path / "classes.txt", "--backbone", tmp_path / "clip.json"),
    )


def test_a_checkpoint_becomes_a_segmenter(clouds, given, tmp_path):
    status, out, err = clouds("convert", *given)
    assert (status, err) == (0, "")
    assert "classifier: text, 3 classes" in out
    assert "heads 4" in out and "  the class weights of the loss: criterion.empty_weight\n" in out
    model, info = load_segmenter(tmp_path / "out")
    assert info.class_names == CLASSES.names and info.extra["converted_from"] == "model.pth"
    assert segmenter_classes(tmp_path / "out").colors == CLASSES.colors
    assert model.texts is not None and model.naming.ensemble is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.txt", "clip.json", "model.pth", "out"]


def test_nothing_is_overwritten_unless_asked(clouds, given, tmp_path):
    assert clouds("convert", *given)[0] == 0
    status, _, err = clouds("convert", *given, "--ensemble")
    assert status == 2 and "exists already" in err and "--force" in err
    assert clouds("convert", *given, "--ensemble", "--force")[0] == 0
    assert load_segmenter(tmp_path / "out")[0].naming.ensemble.seen == 0.4
    (tmp_path / "out" / "config.json").unlink()
    status, _, err = clouds("convert", *given, "--force")
    assert status == 2 and "holds no segmenter" in err
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_what_fails_leaves_nothing(clouds, given, tmp_path):
    for arguments, code, said in (
        ((*given[:2], "--backbone", given[5]), 1, "trained for 3 classes, and 19 are given"),
        ((*given[:4], "--backbone", "RN50"), 1, "is not RN50: missing: "),
        ((*given[:2], "--classes", "cityscape19"), 2, "did you mean 'cityscapes19'?"),
        ((tmp_path, given[1]), 1, "no folder of transformers"),
        ((tmp_path, given[1], "--ensemble"), 2, "--ensemble"),
        ((tmp_path / "none.pth", given[1]), 1, "no such file"),
    ):
        status, out, err = clouds("convert", *arguments)
        assert (status, out) == (code, "") and said in err and "Traceback" not in err
        assert not (tmp_path / "out").exists()


def test_classes_are_read_from_files_of_several_kinds(tmp_path):
    assert read_classes("camvid11").num_classes == 11
    (tmp_path / "a.txt").write_text("road, street\n\nsky\n")
    (tmp_path / "b.yaml").write_text("[{name: road, synonyms: [street]}, sky]")
    (tmp_path / "c.json").write_text('["road", "sky"]')
    assert read_classes(str(tmp_path / "a.txt")).classes[0].synonyms == ("street",)
    for name in "a.txt", "b.yaml", "c.json":
        classes = read_classes(str(tmp_path / name))
        assert classes.names == ("road", "sky") and classes.find("street") == 0
    for text, said in (("road\nroad\n", "two classes"), ("", "classes"), ("{a: 1}", "list of class names")):
        path = tmp_path / ("bad.yaml" if text.startswith("{") else "bad.txt")
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            read_classes(str(path))
