"""detectron2's Mask2Former as ours: the maps other libraries compute, whole files, what does not fit."""

import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from published_checkpoint import CLASSES, HEAD, published_state
from torch.nn import LayerNorm
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from clouds.data.labels import LabelMap
from clouds.errors import CloudsError, UsageError
from clouds.models.heads import MaskHead
from clouds.models.published import convert
from clouds.models.published_files import read_checkpoint
from clouds.models.published_mask2former import mask2former_backbone
from clouds.models.segmenter_files import load_segmenter, save_segmenter

WIDTHS = (16, 32, 64, 128)


def shaken(model):
    """The model with no weight at its neutral start."""
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor += torch.rand(tensor.shape, generator=generator) * 0.1
    return model.eval()


def resnet(block):
    """torchvision's, its weights under detectron2's names, and its maps."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = shaken(ResNet(block, [1, 2, 1, 1]))
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("fc.") or name.endswith("num_batches_tracked"):
            continue
        name = re.sub(r"^(conv1|bn1)", r"stem.\1", name)
        name = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", name)
        name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
        tensors["backbone." + name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")] = (
            tensor
        )

    def maps(images):
        found = [model.maxpool(model.relu(model.bn1(model.conv1(images))))]
        for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
            found.append(layer(found[-1]))
        return found[1:]

    return tensors, maps


def swin():
    """timm's, which has the original's names but for the place of a merge, with a norm on each map as detectron2's."""
    arguments = {"embed_dim": 16, "depths": (2, 1, 2, 1), "num_heads": (1, 2, 2, 4), "window_size": 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = shaken(
            timm.create_model(
                "swin_tiny_patch4_window7_224",
                **arguments,
                features_only=True,
                strict_img_size=False,
                always_partition=True,
            )
        )
        norms = [shaken(LayerNorm(width)) for width in WIDTHS]
    tensors = {f"backbone.norm{i}.{name}": t for i, norm in enumerate(norms) for name, t in norm.state_dict().items()}
    for name, tensor in model.state_dict().items():
        name = re.sub(r"^layers_(\d)", r"layers.\1", name)
        name = re.sub(r"^layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", name)
        tensors["backbone." + name] = tensor
    tensors["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.long)

    def maps(images):
        return [norm(one).permute(0, 3, 1, 2) for norm, one in zip(norms, model(images), strict=True)]

    return tensors, maps


KINDS = {"resnet": lambda: resnet(Bottleneck), "basic resnet": lambda: resnet(BasicBlock), "swin": swin}


@pytest.fixture(scope="module", params=KINDS)
def published(request):
    return KINDS[request.param]()


@pytest.fixture(scope="module")
def checkpoint():
    """A whole one with a Swin, and the head in it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = MaskHead(HEAD, WIDTHS, 3)
    state = published_state(SimpleNamespace(head=head), {"text_projection": torch.zeros(4, 4)})
    kept = ("sem_seg_head.", "criterion.")
    return {**swin()[0], **{name: tensor for name, tensor in state.items() if name.startswith(kept)}}, head


def test_the_backbone_computes_what_another_library_does(published):
    tensors, maps = published
    found = mask2former_backbone(tensors)
    assert found is not None
    backbone, _, used = found
    backbone.train(False)
    for size in ((64, 96), (96, 64), (128, 128)):
        images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            for ours, theirs in zip(backbone(images), maps(images), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
                assert theirs.std() > 0.01
    assert {name for name in tensors if name not in used} <= {"backbone.layers.0.blocks.0.attn.relative_position_index"}


def test_a_file_of_detectron2_becomes_a_folder(checkpoint, tmp_path):
    tensors, head = checkpoint
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    file = tmp_path / "model_final.pkl"
    file.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody", "matching_heuristics": True}))
    converted = convert(read_checkpoint(file), CLASSES)
    assert converted.backbone == "detectron2's Swin" and len(converted.used) + len(converted.left) == len(tensors)
    assert set(converted.left.values()) == {"the class weights of the loss", "a table that is computed"}
    assert converted.model.head.state_dict().keys() == head.state_dict().keys()
    for name, tensor in head.state_dict().items():
        assert torch.equal(converted.model.head.state_dict()[name], tensor)
    save_segmenter(converted.model, tmp_path / "ours", CLASSES.names)
    loaded, _ = load_segmenter(tmp_path / "ours")
    images = torch.randint(0, 256, (1, 3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.predict(images), converted.model.predict(images))


def test_what_does_not_fit_is_named(checkpoint):
    tensors, _ = checkpoint
    with pytest.raises(CloudsError, match=r"Swin, but it lacks swin\.embeddings\.norm\.bias"):
        convert({name: one for name, one in tensors.items() if name != "backbone.patch_embed.norm.bias"}, CLASSES)
    with pytest.raises(CloudsError, match=r"backbone\.absolute_pos_embed has no place"):
        convert({**tensors, "backbone.absolute_pos_embed": torch.zeros(1)}, CLASSES)
    with pytest.raises(CloudsError, match="trained for 3 classes, and 2 are given"):
        convert(tensors, LabelMap.of(["a", "b"]))
    with pytest.raises(UsageError, match="--backbone: the model has no CLIP"):
        convert(tensors, CLASSES, backbone="RN50")
    with pytest.raises(CloudsError, match="lacks layers"):
        name = "backbone.layers.0.blocks.0.mlp.fc1.weight"
        convert({key: one for key, one in tensors.items() if key != name}, CLASSES)


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"a": Evil()}}, r"could run code: it asks for builtins\.print"),
        ({"model": {"a": np.array([Evil()], dtype=object)}}, r"could run code: it asks for builtins\.print"),
        ({"model": {"a": np.array(["text"], dtype=object)}}, "not a dictionary of tensors"),
        ({"model": {"a": 1}}, "not a dictionary of tensors"),
    ],
)
def test_a_pickle_runs_nothing(content, message, tmp_path, capsys):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(CloudsError, match=message):
        read_checkpoint(tmp_path / "model.pkl")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_are_read(protocol, tmp_path):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(3, dtype=np.int64)}
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(arrays, protocol=protocol))
    found = read_checkpoint(tmp_path / "model.pkl")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name].numpy(), array) for name, array in arrays.items())
