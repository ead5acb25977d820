"""A run whose segmenter classifies by names: trained, kept, scored, and asked about another class list."""

from small_run import small_config, write_config

from clouds.data.labels import LabelMap
from clouds.models.segmenter import with_classes
from clouds.models.segmenter_files import load_segmenter

SHARED = ("name", "run_dir", "shard_items", "max_failures", "runtime", "data", "train", "evaluate")


def source_only(models, run_dir, **segmenter):
    tree = small_config(models, run_dir)
    tree["train"]["segmenter"] |= segmenter
    return {"pipeline": "source_only", **{name: tree[name] for name in SHARED}}


def test_a_run_with_the_text_classifier_and_the_ensemble(clouds, models, tmp_path):
    text = {"names": {"car": ["car", "van"]}}
    tree = source_only(models, tmp_path / "run", classifier="text", ensemble={"unseen": 0.5}, text=text)
    tree["train"]["segmenter"]["backbone"]["frozen"] = True
    config = write_config(tmp_path / "text.yaml", tree)
    status, out, err = clouds("run", config)
    assert status == 0, err
    assert "mIoU" in out
    model, info = load_segmenter(tmp_path / "run" / "train" / "model")
    assert model.naming.classifier == "text" and model.naming.ensemble.unseen == 0.5
    assert model.texts.names[info.class_names.index("car")] == ("car", "van")
    assert with_classes(model, LabelMap.of(["van", "boat"])).texts.seen_K.tolist() == [True, False]
    status, out, _ = clouds("plan", config, "--set", "train.segmenter.text.templates=['a {}']")
    assert (status == 0 and "train.segmenter.text.templates" in out) or "segmenter.text.templates" in out


def test_names_of_no_class_are_wrong_use(clouds, models, tmp_path):
    tree = source_only(models, tmp_path / "run", classifier="text", text={"names": {"cra": ["car"]}})
    config = write_config(tmp_path / "text.yaml", tree)
    status, _, err = clouds("run", config)
    assert status == 2
    assert "'cra'" in err and "did you mean 'car'?" in err
