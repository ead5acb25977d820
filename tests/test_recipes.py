"""The configs of published recipes: every one is valid, states the published numbers, and opens with what it is."""

from pathlib import Path
from typing import Any

import pytest

from clouds.config import apply_overrides, load_tree, shipped_configs, validate
from pipelines import full, source_only

SHARED = ("clouds", "vltseg", "real_streets")
"""What recipes lie on; they do not run by themselves."""
CLOUDS = {
    f"clouds_{source}{backbone}" for source in ("gta5", "synthia", "cityscapes") for backbone in ("", "_rn50", "_rn101")
}
# per source: warm-up steps, joint steps, learning rate, schedule, weight of the generated set (CLOUDS, CVPR 2024)
SOURCES = {
    "gta5": (40_000, 40_000, 1e-5, "constant", 2.0),
    "synthia": (30_000, 30_000, 1e-5, "poly", 0.7),
    "cityscapes": (5_000, 10_000, 1e-4, "constant", 0.2),
}
BACKBONES = {
    "": ("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup"),
    "_rn50": ("RN50", "openai"),
    "_rn101": ("RN101", "openai"),
}


def config(name: str) -> Any:
    path = shipped_configs()[name]
    tree = load_tree(path)
    assembly = {"full": full, "source_only": source_only}[tree.get("pipeline", "full")]
    return validate(assembly.Config, tree, str(path))


OTHERS = {"clouds_gta5_online", "cluda", "vltseg_gta5", "vltseg_cityscapes", "dinov2_lora_gta5", "own_data"}


@pytest.mark.parametrize("name", sorted(CLOUDS | OTHERS))
def test_it_is_valid_and_named_as_its_file(name: str) -> None:
    assert config(name).name == name


@pytest.mark.parametrize("name", sorted(set(shipped_configs()) - set(SHARED)))
def test_a_config_opens_with_its_command(name: str) -> None:
    head = [line for line in shipped_configs()[name].read_text().splitlines() if line.startswith("#")]
    assert any(line.startswith(("#   clouds ", "#   python ")) for line in head), head


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_clouds_states_the_published_numbers(source: str, backbone: str) -> None:
    found = config(f"clouds_{source}{backbone}")
    warm_up, joint, lr, schedule, weight = SOURCES[source]
    for training, steps in ((found.train, warm_up), (found.selftrain, joint)):
        optimizer = training.optimizer
        assert (training.steps, training.batch_size) == (steps, 8)
        assert (optimizer.lr, optimizer.schedule) == (lr, schedule)
        assert (optimizer.weight_decay, optimizer.clip_norm) == (0.05, 0.01)
        assert (training.augment.crop, training.augment.scale) == ((768, 768), (0.5, 2.0))
        loss = training.loss
        assert (loss.class_weight, loss.mask_weight, loss.dice_weight, loss.no_object_weight) == (2.0, 5.0, 5.0, 0.1)
        assert (loss.num_points, loss.oversample_ratio, loss.importance_ratio) == (12_544, 3.0, 0.75)
    assert found.selftrain.generated_weight == weight
    assert found.selftrain.ema == 0.999
    tower = found.train.segmenter.backbone
    assert (tower.weights, tower.pretrained, tower.frozen) == (*BACKBONES[backbone], True)
    head = found.train.segmenter.head
    assert (head.channels, head.queries, head.heads) == (256, 100, 8)
    assert (head.encoder_layers, head.encoder_feedforward) == (6, 1024)
    assert (head.decoder_layers, head.decoder_feedforward) == (10, 2048)
    generate = found.generate
    assert (generate.scheduler, generate.steps, generate.guidance) == ("EulerDiscreteScheduler", 50, 7.5)
    assert (generate.dtype, generate.height, generate.width) == ("float16", 768, 768)
    rule = found.refine.rule
    assert (rule.points, rule.points_per_component, rule.passes, rule.choose_by) == ("random", 5, 1, "quality")
    assert (rule.contested, rule.unclaimed, rule.protect_small) == ("ignore", "ignore", False)
    assert rule.min_area == 5000 / 768**2
    assert found.evaluate.short_edge == 1024
    assert set(found.train.data) & set(found.evaluate.data) == set()


def test_clouds_online_states_the_published_numbers() -> None:
    found, in_rounds = config("clouds_gta5_online"), config("clouds_gta5")
    online = found.selftrain.online
    assert (online.teacher.decay, online.teacher.every, online.teacher.warm_start) == (0.999, 100, False)
    assert (online.threshold, online.weighting, online.refine_every) == (0.0, "ignore", 1)
    assert found.selftrain.mix is None and online.contrast is None
    # a generated image is only mirrored, so that its encoding by the SAM is kept; the student's colours change
    augment = found.selftrain.generated_augment
    assert (augment.crop, augment.scale, augment.flip) == ((768, 768), (1.0, 1.0), 0.5)
    assert augment.jitter is not None and augment.blur is None
    assert found.selftrain.ema is None
    selftrain = found.selftrain.model_copy(update={"online": None, "ema": in_rounds.selftrain.ema})
    rest = {"selftrain": selftrain, "name": in_rounds.name}
    assert found.model_copy(update=rest) == in_rounds


def test_cluda_states_the_published_numbers() -> None:
    found = config("cluda")
    training, online = found.selftrain, found.selftrain.online
    assert (online.teacher.decay, online.teacher.every, online.teacher.warm_start) == (0.999, 1, True)
    assert (online.threshold, online.weighting, online.refine_every) == (0.968, "image", None)
    assert training.mix.share == 0.5
    far = training.feature_distance
    assert (far.weight, far.min_share) == (0.005, 0.75)
    assert [found.data.label_map().find(name) for name in far.classes] == [6, 7, *range(11, 19)]
    contrast = online.contrast
    assert (contrast.source_weight, contrast.target_weight, contrast.temperature) == (1.0, 1.0, 1.0)
    assert (contrast.size, contrast.confidence, contrast.learned) == ((65, 65), True, True)
    optimizer = training.optimizer
    assert (optimizer.lr, training.lr_multipliers, optimizer.weight_decay) == (6e-5, {"head": 10.0}, 0.01)
    assert (optimizer.warmup_steps, optimizer.schedule, optimizer.power) == (1500, "poly", 1.0)
    assert (training.steps, training.batch_size, training.rare_classes.temperature) == (40_000, 4, 0.01)
    assert training.augment.crop == training.generated_augment.crop == (1024, 1024)
    assert training.generated_augment.jitter is not None and training.generated_augment.blur is not None
    # as many of the target as of the source, and of the target none that is scored
    assert training.data == {"gta5": 1.0} and online.unlabelled == {"target": 1.0}
    assert found.data.sets["target"].split == "train" and found.data.sets["cityscapes"].split == "val"
    assert found.generate is None and found.refine is None and not found.train.segmenter.backbone.frozen


def test_vltseg_states_the_published_numbers() -> None:
    synthetic, real = config("vltseg_gta5"), config("vltseg_cityscapes")
    for found in (synthetic, real):
        tower, optimizer = found.train.segmenter.backbone, found.train.optimizer
        assert (tower.weights, tower.pretrained) == ("EVA02-L-14", "merged2b_s4b_b131k")
        assert (tower.frozen, tower.lr_multiplier, tower.drop_path) == (False, 0.1, 0.2)
        assert (optimizer.lr, optimizer.weight_decay, optimizer.clip_norm) == (1e-4, 0.05, 0.01)
        assert (optimizer.schedule, optimizer.power, optimizer.hold_steps) == ("poly", 0.9, 500)
        assert found.train.augment.max_class_share == 0.75
    assert (synthetic.train.steps, synthetic.train.batch_size, synthetic.train.augment.crop) == (5_000, 16, (512, 512))
    assert synthetic.data.sets["gta5"].resize == (720, 1280)
    assert synthetic.evaluate.size == (512, 1024)
    assert (synthetic.evaluate.window, synthetic.evaluate.stride) == ((512, 512), (426, 426))
    assert (real.train.steps, real.train.batch_size, real.train.augment.crop) == (20_000, 8, (1024, 1024))
    assert (real.evaluate.window, real.evaluate.stride) == ((1024, 1024), (768, 768))


def test_recipes_differ_only_in_what_differs() -> None:
    """A leaf says no value that what it lies on says already."""
    for name in sorted(CLOUDS - {f"clouds_{source}" for source in SOURCES}):
        whole, below = config(name), config(name.rpartition("_rn")[0])
        for part in ("generate", "label", "refine", "selftrain", "evaluate", "data"):
            assert getattr(whole, part) == getattr(below, part), (name, part)


def test_the_pretrained_models_are_ones_that_the_libraries_know() -> None:
    import open_clip
    import timm

    for name in sorted(CLOUDS | {"vltseg_gta5"}):
        tower = config(name).train.segmenter.backbone
        assert tower.pretrained in open_clip.list_pretrained_tags_by_model(tower.weights), name
    hub_id = Path(config("dinov2_lora_gta5").train.segmenter.backbone.weights)
    assert hub_id.parent == Path("timm")
    assert hub_id.name in timm.list_pretrained()


def test_later_trainings_move_the_backbone_as_the_first_did() -> None:
    whole = load_tree(shipped_configs()["clouds_gta5"])
    for given, expected in (({}, 0.1), ({"selftrain.backbone_lr_multiplier": 0.5}, 0.5)):
        changes = {"train.segmenter.backbone.lr_multiplier": 0.1, **given}
        tree = apply_overrides(whole, [f"{key}={value}" for key, value in changes.items()])
        assert validate(full.Config, tree, "clouds_gta5").selftrain.backbone_lr_multiplier == expected
