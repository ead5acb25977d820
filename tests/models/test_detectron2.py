"""A segmenter of detectron2: what needs no detectron2, on its own; and all of it where it is installed."""

import importlib.util
import pickle

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from clouds.config import validate
from clouds.data.labels import LabelMap
from clouds.errors import CloudsError, UsageError
from clouds.models.detectron2_config import Detectron2Config, class_ids, detectron2_identity
from clouds.models.detectron2_segmenter import (
    Detectron2Segmenter,
    load_detectron2,
    load_tensors,
    read_tensors,
    shares_of,
)
from clouds.models.weights import HashCache

CLASSES = LabelMap.of([{"name": "road", "synonyms": ("street",)}, {"name": "sky"}, {"name": "car"}])


class Coloured(nn.Module):
    """Speaks as detectron2's models do: a logit per class, here the channels of the image as it gets them."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs):
        for one in inputs:
            assert one["image"].shape == (3, one["height"], one["width"]) and one["image"].dtype == torch.float32
        return [{"sem_seg": one["image"] * self.scale / 25} for one in inputs]


@pytest.fixture
def config(tmp_path):
    (tmp_path / "base.yaml").write_text("MODEL: {}\n")
    (tmp_path / "model.yaml").write_text('_BASE_: "base.yaml"\nMODEL: {}\n')
    torch.save({"model": Coloured().state_dict(), "iteration": 3}, tmp_path / "model.pth")
    return Detectron2Config(
        config=str(tmp_path / "model.yaml"), weights=str(tmp_path / "model.pth"), classes=("sky", "street", "car")
    )


def identity(config, tmp_path):
    return detectron2_identity(config, HashCache(tmp_path / "hashes.json"))


@pytest.mark.parametrize(("channels", "best"), [("RGB", 1), ("BGR", 2)])
def test_its_classes_become_the_runs_in_the_channel_order_it_learned(config, channels, best):
    """A red image: the first channel of RGB, the last of BGR."""
    red_BCHW = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    red_BCHW[:, 0] = 200
    segmenter = Detectron2Segmenter(Coloured(), class_ids(config, CLASSES), 3, channels, "logits")
    scores_BKHW = segmenter.predict(red_BCHW)
    assert scores_BKHW.shape == (2, 3, 4, 5) and (scores_BKHW.argmax(1) == best).all()
    torch.testing.assert_close(scores_BKHW.sum(1), torch.ones(2, 4, 5))
    assert next(segmenter.parameters()).device.type == "cpu"


def test_several_of_its_classes_may_be_one_of_the_runs():
    segmenter = Detectron2Segmenter(Coloured(), (0, 2, 0), 4, "RGB", "logits")
    images_BCHW = torch.tensor([100, 100, 100], dtype=torch.uint8).view(1, 3, 1, 1)
    assert segmenter.predict(images_BCHW).flatten().tolist() == pytest.approx([2 / 3, 0, 1 / 3, 0])


def test_another_number_of_classes_is_said():
    with pytest.raises(CloudsError, match=r"tells 3 classes apart, 'label.detectron2.classes' names 2"):
        Detectron2Segmenter(Coloured(), (0, 1), 2, "RGB", "logits").predict(torch.zeros(1, 3, 2, 2))


def test_shares_are_those_of_each_pixel():
    summed_CHW = torch.tensor([[1.5, 0.0, -0.1], [0.5, 0.0, 0.3]])[:, None]
    expected_CHW = torch.tensor([[0.75, 0.0, 0.0], [0.25, 0.0, 1.0]])[:, None]
    torch.testing.assert_close(shares_of(summed_CHW, "shares"), expected_CHW)
    torch.testing.assert_close(shares_of(summed_CHW, "logits").sum(0), torch.ones(1, 3))


def test_weights_are_read_as_tensors_and_nothing_else(config, tmp_path):
    model = Coloured()
    load_tensors(model, read_tensors(config), "model.pth")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = config.model_copy(update={"weights": tmp_path / "model.safetensors"})
    assert read_tensors(other).keys() == read_tensors(config).keys() == {"scale"}
    with pytest.raises(CloudsError, match="model.pth lacks: scale"):
        load_tensors(model, {}, "model.pth")
    with pytest.raises(CloudsError, match="has, and the model does not: a, b, c and 1 more"):
        load_tensors(model, {"scale": torch.ones(()), **dict.fromkeys("abcd", torch.ones(1))}, "model.pth")
    load_tensors(model, {"scale": torch.ones(()), "pixel_mean": torch.ones(3)}, "an old checkpoint")


def test_a_pickle_that_runs_code_does_not(config, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    config.weights.write_bytes(pickle.dumps({"model": Evil()}))
    with pytest.raises(CloudsError, match=r"label.detectron2.weights"):
        read_tensors(config)
    torch.save({"model": Evil()}, config.weights)
    with pytest.raises(CloudsError, match=r"label.detectron2.weights"):
        read_tensors(config)
    assert not (tmp_path / "owned").exists()
    with pytest.raises(CloudsError, match=r"only .pth, .pt, .safetensors are read"):
        identity(config.model_copy(update={"weights": tmp_path / "model_final.pkl"}), tmp_path)


def test_its_identity_is_what_its_files_hold(config, tmp_path):
    first = identity(config, tmp_path)
    assert len(first["config"]) == 2 and first == identity(config, tmp_path)
    (tmp_path / "base.yaml").write_text("MODEL: {DEVICE: cpu}\n")
    assert identity(config, tmp_path)["config"] != first["config"]
    (tmp_path / "base.yaml").write_text("_BASE_: model.yaml\n")
    assert len(identity(config, tmp_path)["config"]) == 2, "configs that lie over each other end"
    config.weights.unlink()
    with pytest.raises(CloudsError, match=r"'label.detectron2.weights' = .*model.pth: there is no such file"):
        identity(config, tmp_path)


def test_a_class_the_run_does_not_have_is_named(config):
    with pytest.raises(UsageError, match=r"(?s)'label.detectron2.classes' has 'cart'.*did you mean 'car'"):
        class_ids(config.model_copy(update={"classes": ("road", "sky", "cart")}), CLASSES)


def test_a_function_that_extends_its_config_is_named_with_its_module(config):
    values = {**config.model_dump(mode="json"), "extend": ["add_maskformer2_config"]}
    with pytest.raises(UsageError, match="extend"):
        validate(Detectron2Config, values, "label.detectron2")


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is not None, reason="detectron2 is installed")
def test_without_detectron2_one_line_says_how_to_get_it(config):
    with pytest.raises(CloudsError) as raised:
        load_detectron2(config, CLASSES, torch.device("cpu"))
    said = str(raised.value)
    assert said.count("\n") == 0 and "pip install --no-build-isolation 'git+https://github.com/facebookresearch" in said


def test_a_model_of_detectron2_gives_scores(tmp_path):
    """Its smallest semantic segmenter, with random weights."""
    pytest.importorskip("detectron2", reason="detectron2 is not installed")
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    values = {
        "MODEL": {
            "META_ARCHITECTURE": "SemanticSegmentor",
            "DEVICE": "cpu",
            "BACKBONE": {"NAME": "build_resnet_fpn_backbone"},
            "RESNETS": {"OUT_FEATURES": ["res2", "res3", "res4", "res5"]},
            "FPN": {"IN_FEATURES": ["res2", "res3", "res4", "res5"]},
            "SEM_SEG_HEAD": {"NUM_CLASSES": 3},
        }
    }
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(values))
    node = get_cfg()
    node.merge_from_file(str(tmp_path / "model.yaml"))
    torch.save({"model": build_model(node).state_dict()}, tmp_path / "model.pth")
    config = Detectron2Config(
        config=str(tmp_path / "model.yaml"), weights=str(tmp_path / "model.pth"), classes=("sky", "street", "car")
    )
    segmenter = load_detectron2(config, CLASSES, torch.device("cpu"))
    scores_BKHW = segmenter.predict(torch.randint(0, 256, (2, 3, 48, 70), dtype=torch.uint8))
    assert scores_BKHW.shape == (2, 3, 48, 70)
    torch.testing.assert_close(scores_BKHW.sum(1), torch.ones(2, 48, 70))
