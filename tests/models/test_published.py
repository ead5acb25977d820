"""Published checkpoints of all families, there and back, and every way in which one does not fit."""

import json
import pickle

import open_clip
import pytest
import torch
from published_checkpoint import CLASSES, HEAD, clip_config, published_state, small_segmenter
from safetensors.torch import save_file

from clouds.data.labels import LabelMap
from clouds.errors import CloudsError, UsageError
from clouds.models.published import convert, published_head
from clouds.models.published_clip import PUBLISHED, known_clip, published_clip
from clouds.models.published_files import read_checkpoint
from clouds.models.published_names import CITYSCAPES_NAMES
from clouds.models.segmenter_config import EnsembleConfig

FAMILIES = ("convnext", "resnet")
NORMAL = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}


@pytest.fixture
def described(tmp_path):
    def write(config):
        (tmp_path / "clip.json").write_text(json.dumps(config))
        return str(tmp_path / "clip.json")

    return write


@pytest.fixture(scope="module")
def closed():
    model, clip = small_segmenter(clip_config("convnext"), text=False)
    return model, published_state(model, clip)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", [False, True], ids=["closed", "text"])
def test_a_checkpoint_gives_back_the_model_it_was_made_from(family, text, described, tmp_path):
    model, clip = small_segmenter(clip_config(family), text=text)
    state = published_state(model, clip)
    torch.save({"model": state, "iteration": 7}, tmp_path / "model.pth")
    converted = convert(read_checkpoint(tmp_path / "model.pth"), CLASSES, backbone=described(clip_config(family)))
    images = torch.randint(0, 256, (1, 3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert converted.model.head_config == HEAD
    assert torch.equal(converted.model.predict(images), model.predict(images))
    assert set(converted.used) | converted.left.keys() == state.keys()
    assert not set(converted.used) & converted.left.keys()
    assert converted.left["criterion.empty_weight"] == "the class weights of the loss"
    assert ("void_embedding.weight" in converted.left) != text
    assert ("backbone.clip_model.token_embedding.weight" in converted.left) != text


def test_the_ensemble_needs_and_uses_the_whole_clip(described):
    model, clip = small_segmenter(clip_config("convnext"), text=False, ensemble=True)
    state = published_state(model, clip)
    arguments = {"backbone": described(clip_config("convnext"))}
    converted = convert(state, CLASSES, **arguments, ensemble=EnsembleConfig())
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(converted.model.predict(images), model.predict(images))
    assert not torch.equal(convert(state, CLASSES, **arguments).model.predict(images), model.predict(images))
    assert sorted(converted.left) == ["criterion.empty_weight", "void_embedding.weight"]


def test_files_of_several_kinds_are_read(closed, tmp_path):
    _, state = closed
    plain = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(plain, tmp_path / "model.safetensors")
    torch.save(plain, tmp_path / "bare.pth")
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in plain.items()}}, tmp_path / "parallel.pth")
    for file in tmp_path.iterdir():
        found = read_checkpoint(file)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("name", ["convnext_large_d_320", "RN50", "RN101", "ViT-B-32"])
def test_clips_are_known_by_their_shapes(name):
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in open_clip.CLIP(**config).state_dict().items()}
    found = known_clip(shapes)
    assert found is not None
    assert found in PUBLISHED if name != "ViT-B-32" else found.startswith("ViT-B-32")
    assert found.removesuffix("-quickgelu") == name
    shapes["text_projection"] = (shapes["text_projection"][0], 7)
    assert known_clip(shapes) is None


def test_the_names_clip_is_asked_for_are_those_of_the_classes():
    assert tuple(CITYSCAPES_NAMES) == LabelMap.of("cityscapes19").names
    assert all(names[0] == name for name, names in CITYSCAPES_NAMES.items())


def test_cityscapes_classes_have_the_published_names_whether_given_or_not(described):
    state = published_state(*small_segmenter(clip_config("convnext"), text=True))
    del state["criterion.empty_weight"]
    backbone = described(clip_config("convnext"))
    by_default, given = (convert(state, classes, backbone=backbone) for classes in (None, LabelMap.of("cityscapes19")))
    assert by_default.model.texts.names == given.model.texts.names == tuple(CITYSCAPES_NAMES.values())


def test_a_head_of_mask2former_converts_whatever_its_backbone(closed):
    model, state = closed
    head = {name: tensor for name, tensor in state.items() if name.startswith("sem_seg_head.")}
    head["sem_seg_head.predictor.static_query.weight"] = head.pop("sem_seg_head.predictor.query_feat.weight")
    found = published_head({**head, "backbone.res2.0.conv1.weight": torch.zeros(1)})
    assert found.config == HEAD and found.num_classes == 3 and not found.text
    expected = model.head.state_dict()
    assert found.tensors.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.tensors.items())


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"cannot be read: it is empty\n.*give the file of weights that was published: a \.pth, \.pkl or"),
        (b"no checkpoint", r"cannot be read: it is a text file\n.*that was published: a \.pth"),
        (b".\x01\x02", r"cannot be read: it is damaged, or none\n.*that was published: a \.pth"),
        (pickle.dumps({}), r"no file of plain tensors.*\n.*give the file of weights that was published"),
        ({}, "not a dictionary of tensors: it is empty"),
        ({"model": {}}, "not a dictionary of tensors: it is empty"),
        (pickle.dumps({"model": Evil()}), "no file of plain tensors"),
        ([1, 2], "not a dictionary of tensors"),
        ({"model": {"a": 1}}, "not a dictionary of tensors"),
        (Evil(), "could run code"),
    ],
)
def test_what_is_no_checkpoint_is_told(content, message, tmp_path, capsys):
    path = tmp_path / "model.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CloudsError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in caught.value.message and caught.value.mend
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".yaml", ".pth", ".pkl", ".safetensors"])
@pytest.mark.parametrize("text", ["name: mine\nbase: demo\n", "# a config\npipeline: full\n", "base: own_data\n", ""])
def test_a_config_in_the_place_of_a_checkpoint_is_told_for_what_it_is(text, suffix, tmp_path):
    path = tmp_path / f"mine{suffix}"
    path.write_text(text)
    with pytest.raises(CloudsError) as caught:
        read_checkpoint(path)
    assert caught.value.message.endswith("cannot be read: " + ("it is a text file" if text else "it is empty"))
    assert caught.value.mend.startswith("give the file of weights that was published: a .pth, .pkl or .safetensors")


@pytest.mark.parametrize(("content", "held"), [({}, "it is empty"), ([], "it holds list"), (None, "it holds NoneType")])
def test_a_pickle_that_holds_nothing_is_told(content, held, tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(CloudsError, match=f"not a dictionary of tensors: {held}\n  mend: give the file of weights"):
        read_checkpoint(tmp_path / "model.pkl")


def test_a_torn_checkpoint_is_told(closed, tmp_path):
    torch.save(closed[1], tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "torn.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(CloudsError, match=r"torn\.pth cannot be read"):
        read_checkpoint(tmp_path / "torn.pth")
    with pytest.raises(CloudsError, match=r"none\.pth: no such file"):
        read_checkpoint(tmp_path / "none.pth")


QUERY = "sem_seg_head.predictor.query_feat.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({QUERY: None}, r"lacks sem_seg_head\.predictor\.query_feat\.weight"),
        ({"sem_seg_head.predictor.class_embed.weight": None}, r"lacks sem_seg_head\.predictor\.class_embed\.weight"),
        ({"pixel_mean": torch.tensor([123.675, 116.28, 103.53])}, r"pixel_mean is \[123\.67"),
        ({"sem_seg_head.predictor.decoder_norm.bias": None}, r"missing: transformer\.decoder\.layernorm\.bias"),
        ({"sem_seg_head.predictor.decoder_norm.bias": torch.zeros(5)}, r"layernorm\.bias \[5\], not \[32\]"),
        ({"sem_seg_head.pixel_decoder.adapter_2.weight": torch.zeros(1)}, r"has not: .*adapter_2\.weight"),
        ({"sem_seg_head.pixel_decoder.input_proj.0.0.weight": torch.zeros(32, 9, 1, 1)}, r"strides' channels \[24, 32"),
        ({"sem_seg_head.predictor.class_embed.weight": torch.zeros(8, 32)}, "trained for 7 classes, and 3 are given"),
        ({"backbone.clip_model.ln_final.bias": None}, r"CLIP is not .*clip\.json: missing: ln_final\.bias"),
        ({"backbone.clip_model.strange": torch.zeros(1)}, r"not known: strange"),
    ],
)
def test_what_does_not_fit_is_named(closed, change, message, described):
    state = {**closed[1], **change}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(CloudsError, match=message) as caught:
        convert(state, CLASSES, backbone=described(clip_config("convnext")))
    assert caught.value.mend


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["image_encoder.pos_embed", "mask_decoder.x"], "it is of segment-anything"),
        (["head.pixel_decoder.x"], "a segmenter of this tool"),
        (["foo.a", "bar.b"], "its names begin with bar, foo"),
        ([], "its names begin with nothing"),
    ],
)
def test_another_model_is_recognised(names, message):
    with pytest.raises(CloudsError, match="no mask head.*" + message):
        convert({name: torch.zeros(1) for name in names})


def test_a_head_without_a_backbone_is_told(closed):
    head = {name: tensor for name, tensor in closed[1].items() if name.startswith("sem_seg_head.")}
    with pytest.raises(CloudsError, match="no backbone that is known.*its names begin with backbone, sem_seg_head"):
        convert({**head, "backbone.unheard_of.weight": torch.zeros(1)}, CLASSES)


def test_a_text_checkpoint_tells_how_many_classes_it_was_trained_for(described):
    state = published_state(*small_segmenter(clip_config("convnext"), text=True))
    with pytest.raises(CloudsError, match="trained for 3 classes, and 19 are given"):
        convert(state, backbone=described(clip_config("convnext")))


def test_a_clip_that_is_not_the_given_one_is_named(closed, described, tmp_path):
    clip = {name.removeprefix("backbone.clip_model."): tensor for name, tensor in closed[1].items() if "clip" in name}
    with pytest.raises(CloudsError, match="none that open_clip knows.*embed_dim 24"):
        published_clip(clip, None)
    with pytest.raises(CloudsError, match=r"is not .*clip\.json: .*of another shape: text_projection"):
        published_clip(clip, described({**clip_config("convnext"), "embed_dim": 16}))
    with pytest.raises(UsageError, match="RN5' is no model") as caught:
        published_clip(clip, "RN5")
    assert "did you mean 'RN50'" in caught.value.mend
    (tmp_path / "torn.json").write_text("{")
    with pytest.raises(UsageError, match=r"torn\.json cannot be read"):
        published_clip(clip, str(tmp_path / "torn.json"))
    with pytest.raises(UsageError, match="builds no CLIP"):
        published_clip(clip, described({**clip_config("convnext"), "vision_cfg": {"timm_model_name": "none"}}))
