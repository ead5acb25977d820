"""`clouds doctor`: what it prints, and the status it ends with."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from published_sets import put_cityscapes, put_image, put_palette

from clouds.cli import main

ROOT = Path(__file__).parent.parent


@pytest.fixture
def doctor(monkeypatch, capsys):
    """Runs `clouds doctor` in this process: exit status, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["clouds", "doctor", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def config(tmp_path):
    """A config of one sound data set; nothing else of it could be run."""
    put_cityscapes(tmp_path / "city")
    sets = {"city": {"type": "cityscapes", "root": "city", "split": "val"}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "data": {"classes": "cityscapes19", "sets": sets}}))
    return path


def test_without_data_it_tells_versions_and_devices(doctor):
    status, out, _ = doctor()
    assert status == 0
    for word in ("python", "torch", "diffusers", "cpu"):
        assert f"\n{word} " in out


def test_a_sound_config(doctor, config):
    status, out, _ = doctor("--data", config)
    assert status == 0
    row = next(line.split() for line in out.splitlines() if line.startswith("city "))
    assert row == ["city", "1", "1", "0", "6x4", "83.3", "%", "4", "7-8", "11", "23", "33", "sound"]
    shares = dict(line.split() for line in out.splitlines() if line.startswith(("road ", "sky ", "wall ")))
    assert shares == {"road": "20.00", "sky": "20.00", "wall": "-"}
    assert "wrong" not in out


def test_what_is_wrong_is_named_and_ends_with_one(doctor, config, tmp_path):
    gta = tmp_path / "gta"
    for name, size in (("1", (4, 6)), ("2", (3, 6))):
        put_image(gta / f"images/{name}.png", size)
        put_palette(gta / f"labels/{name}.png", np.array([[7, 7, 7, 7, 99, 98]] * 4, np.uint8))
    more = [
        f"--set=data.sets.gta={{type: gta5, root: {gta}}}",
        f"--set=data.sets.bdd={{type: bdd100k, root: {gta}, split: val}}",
        f"--set=data.sets.none={{type: idd, root: {tmp_path}/none}}",
    ]
    status, out, err = doctor("--data", config, *more)
    assert status == 1
    assert "error: something is wrong with 3 of 4 data sets: gta, bdd, none" in err
    assert "Traceback" not in err
    assert "2.png are 6x4 pixels (width x height), their image" in out
    assert f"wrong: gta: 99 is no class: 4 pixels, first in {gta}/labels/1.png" in out
    assert "not laid out as BDD100K 10K: no images/10k/val/ and no labels/sem_seg/masks/val/" in out
    assert "found: images/, labels/; get `10K Images` and `Segmentation` of http://bdd-data" in out
    assert "none is missing" in out and "idd.insaan.iiit.ac.in" in out
    assert [line.split()[-1] for line in out.splitlines() if line.startswith(("city ", "gta "))][:2] == [
        "sound",
        "below",
    ]


def test_items_limit_the_look(doctor, config, tmp_path):
    for number in range(9):
        put_cityscapes(tmp_path / "city", frame=f"{number:06}_000019")
    status, out, _ = doctor("--data", config, "--items", "3")
    assert status == 0
    assert next(line.split()[1:3] for line in out.splitlines() if line.startswith("city ")) == ["9", "3"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--items", "3"], "--items goes with --data"),
        (["--set", "a=1"], "--set goes with a config"),
        (["--data", "nowhere.yaml"], "no such file"),
        (["--data", "CONFIG", "--items", "0"], "--items"),
        (["--data", "CONFIG", "--set", "data.sets.city.split=vall"], "did you mean 'val'"),
        (["--data", "CONFIG", "--set", "data.clases=1"], "did you mean 'classes'"),
        (["--data", "EMPTY"], "has no `data`"),
    ],
)
def test_wrong_use_ends_with_two(doctor, config, tmp_path, arguments, said):
    (tmp_path / "empty.yaml").write_text("name: x\n")
    paths = {"CONFIG": config, "EMPTY": tmp_path / "empty.yaml"}
    status, _, err = doctor(*(paths.get(argument, argument) for argument in arguments))
    assert status == 2
    assert said in err


def test_a_look_at_data_needs_no_torch(config):
    code = f"""
import sys
from clouds.commands.doctor_data import check_data
check_data({str(config)!r}, [], None)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "False"
