"""The ablation's rows, stages of its own and tables, at a tiny size: what it makes, does not make again, and prints."""

import importlib
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from small_run import small_config, small_models, write_config

from clouds.config import flatten
from clouds.data.world import TEST_DOMAINS, VALIDATION_DOMAINS, render_scene
from clouds.engine.artifact import Artifact
from clouds.engine.planning import plan_stages
from clouds.errors import CloudsError, UsageError

SOME = ("source", "raw", "filter-all", "mix-raw", "mix-round-2", "images-2", "bound-instances", "labels")
FILTERS = ("confidence", "class-loss", "sam-agreement", "view-agreement", "clip-score")
SOURCE = "class-loss-source"
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
CAMVID = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"
BICYCLIST, UNLABELLED = 10, 11

Ablation = Callable[..., str]


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("ablation")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    tree = small_config(small_models(folder / "models"), folder / "unused")
    return write_config(folder / "small.yaml", {**tree, "rounds": 2})


@pytest.fixture
def ablation(module: ModuleType, config: Path, capsys: pytest.CaptureFixture[str]) -> Ablation:
    """Runs the benchmark in this process: what it prints."""

    def run(runs: Path, *options: object) -> str:
        few = ("--config", config, "--count", 2, "--counts", 2, 9)
        module.main([str(part) for part in (runs, *few, *options)])
        return capsys.readouterr().out

    return run


def benchmark(module: ModuleType, config: Path, runs: Path, *options: object) -> Any:
    read = module.parse([str(part) for part in (runs, "--config", config, "--counts", 2, 7, 9, *options)])
    return module.Benchmark(module.read_config(read, 1), read.domains, read.counts)


def tables(printed: str) -> list[dict[str, list[str]]]:
    """The cells of each Markdown table by the first word of its rows, the header's under an empty name."""
    found = []
    for block in printed.split("\n\n"):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if "|" in line]
        if lines:
            rows = {line[0].partition(" ")[0].strip("`"): line[1:] for line in lines[2:]}
            found.append({"": lines[0], **rows})
    return found


def scores(runs: Path, seed: int, row: str, domains: str = "validation") -> dict[str, float]:
    content = json.loads((runs / f"seed-{seed}" / f"{domains}-{row}" / "scores.json").read_text())
    return {name: 100 * result["mean_iou"] for name, result in content["results"].items()}


def unseen(found: dict[str, float], domains: Sequence[str] = VALIDATION_DOMAINS) -> float:
    return statistics.mean(found[name] for name in domains)


def published(run: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in run.glob("*/*/shard.json")}


def check_tables(printed: str, runs: Path, rows: Sequence[str], seeds: Sequence[int]) -> None:
    first = tables(printed)[0]
    assert first[""] == [
        "variant",
        "steps",
        "generated images drawn",
        *VALIDATION_DOMAINS,
        "mean",
        "gain",
        "source heldout",
    ]
    assert set(first) == {"", *rows}
    for row in rows:
        found = [scores(runs, seed, row) for seed in seeds]
        base = [scores(runs, seed, "source") for seed in seeds]
        for cell, name in zip(first[row][2:7], VALIDATION_DOMAINS, strict=True):
            check_cell(cell, [one[name] for one in found])
        check_cell(first[row][7], [unseen(one) for one in found])
        if row != "source":
            check_cell(first[row][8], [unseen(one) - unseen(zero) for one, zero in zip(found, base, strict=True)])
        check_cell(first[row][9], [one["source_heldout"] for one in found])


def check_cell(cell: str, values: list[float]) -> None:
    mean, _, spread = cell.partition(" ± ")
    assert float(mean) == pytest.approx(statistics.mean(values), abs=0.051)
    assert bool(spread) == (len(values) > 1)
    if spread:
        assert float(spread) == pytest.approx(statistics.stdev(values), abs=0.051)


def test_some_rows_then_nothing_to_do_then_the_table(ablation: Ablation, tmp_path: Path) -> None:
    printed = ablation(tmp_path, "--seeds", 0, "--rows", *SOME)
    run = tmp_path / "seed-0"
    check_tables(printed, tmp_path, SOME[:-1], [0])
    assert not (run / "generate-many").exists()
    assert yaml.safe_load((run / "config.yaml").read_text())["seed"] == 0

    made = published(run)
    assert ablation(tmp_path, "--seeds", 0, "--rows", *SOME) == printed
    assert published(run) == made
    assert not (run / ".replaced").exists()
    assert ablation(tmp_path, "--seeds", 0, "--rows", *SOME, "--table") == printed

    everything = ablation(tmp_path, "--seeds", 0, 1, "--table")
    check_tables(everything, tmp_path, SOME[:-1], [0])
    missing = everything.split("Not finished: ")[1]
    assert "`source` (seed 1)" in missing and "`refined` (seed 0, 1)" in missing and "`labels` (seed 1)" in missing
    check_the_stages_of_its_own(run)
    check_quality(tables(printed)[1], run)


def check_the_stages_of_its_own(run: Path) -> None:
    taken, whole = Artifact(run / "generate-2"), Artifact(run / "generate")
    rows = [row for shard in taken.shard_ids() for row in taken.rows(shard)]
    assert rows == list(whole.rows("00000"))[:2]
    assert (run / "generate-2/00000/000001.png").samefile(run / "generate/00000/000001.png")

    web = [row for shard in Artifact(run / "web").shard_ids() for row in Artifact(run / "web").rows(shard)]
    assert [row["id"] for row in web] == [f"web-{3_000_000 + number}" for number in range(7)]
    true_HW = render_scene("web", 3_000_004, height=32, width=64).labels_HW
    assert np.array_equal(read(run / "truth-web/00001/labels/web-3000004.png"), true_HW)
    instances_HW = read(run / "web/00001/web-3000004.objects.png")
    raw_HW, labels_HW = (read(run / f"{name}-web/00001/labels/web-3000004.png") for name in ("label", "instances"))
    for number in np.unique(instances_HW):
        votes = np.bincount(raw_HW[instances_HW == number])
        assert set(labels_HW[instances_HW == number]) == {votes.argmax()}


def check_quality(table: dict[str, list[str]], run: Path) -> None:
    folders = {"raw": "label-web/{}/labels", "refined": "refine-web/{}", "instances": "instances-web/{}/labels"}
    folders |= {"refined-1": "refine-1-web/{}", "refined-2": "refine-web/{}", "refined-3": "refine-3-web/{}"}
    folders |= {f"filter-{name}": f"trust-web-{name}/{{}}" for name in (*FILTERS, SOURCE, "all")}
    truth = np.stack([read(path) for path in sorted(run.glob("truth-web/*/labels/*.png"))])
    check_labels(table, run, folders, truth)


def check_labels(table: dict[str, list[str]], run: Path, folders: dict[str, str], truth: np.ndarray) -> None:
    assert set(table) == {"", *folders}
    known = truth != 255
    for name, folder in folders.items():
        found = np.stack([read(path) for path in sorted(run.glob(folder.format("*") + "/*.png"))])
        ious = [
            ((truth == one) & (found == one)).sum() / ((truth == one) | (found == one) & known).sum()
            for one in set(truth[known])
        ]
        check_cell(table[name][0], [100 * statistics.mean(ious)])
        check_cell(table[name][2], [100 * (found != 255)[known].mean()])


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_each_row_differs_from_the_method_in_one_thing(module: ModuleType, config: Path, tmp_path: Path) -> None:
    found = benchmark(module, config, tmp_path)
    models = {row: variant.model for row, variant in found.variants.items()}
    values = {row: dict(flatten(model.config)) for row, model in models.items()}
    steps = {row: variant.steps for row, variant in found.variants.items()}
    whole = 5 + 3 + 2 * 4

    assert values["source"]["augment.jitter"] is None
    assert {key for key in values["source-jitter"] if key.startswith("augment.jitter.")}
    changed = {key: value for key, value in values["frozen"].items() if value != values["source-jitter"].get(key)}
    assert changed == {"segmenter.backbone.frozen": True}
    assert models["scratch"].config.segmenter.backbone.weights == "test_convnext"
    for row in ("source-long", "jitter-long", "repainted-long", "round-2"):
        assert steps[row] == whole
    for row in ("raw", "refined-1", "refined", "filter-all", "images-2", "images-9", "bound-labels"):
        assert steps[row] == steps["refined"] == 5 + 3 + 4
        assert models[row].start.name == "adapt" and models[row].repainted.name == "repaint"
    assert steps["unrepainted"] == steps["plain"] == steps["refined"]
    assert models["unrepainted"].repainted is None
    assert models["unrepainted-raw"].labels.teacher.name == "train"
    assert models["refined-1"].labels.config.rule.passes == 1
    assert models["images-2"].images.images.name == "generate"
    assert models["images-9"].images.images.config.count == 9
    assert "images-7" not in models  # that is `refined`
    check_the_filters(found)
    check_online(found)
    check_the_mixes(found)
    plain = models["plain"]
    assert plain.start is models["repainted-plain"] and plain.labels.labels.teacher is plain.start
    for painted in (plain.images, plain.repainted):
        assert "a city street at noon" in painted.config.prompts.grammar.template
    weights = {"source": 1.0, "repainted": 1.0, "generated": 1.0}
    draws = 4 * 2 * weights["generated"] / sum(weights.values())
    assert found.variants["round-2"].generated_draws == round(2 * draws)
    assert found.variants["repainted"].generated_draws == 0


def check_the_filters(found: Any) -> None:
    """Each row filters the labels of the row `refined`, by one filter of the config or by all."""
    models = {row: variant.model for row, variant in found.variants.items()}
    refined = models["refined"].labels
    assert refined.kind == "refine"
    rows = [row for row in models if row.startswith("filter-")]
    assert rows == [f"filter-{name}" for name in (*FILTERS, SOURCE, "harder", "all")]
    for row in rows:
        assert (models[row].start.name, models[row].labels.labels) == ("adapt", refined)
        config = models[row].labels.config
        if row in ("filter-harder", "filter-all"):
            assert config.harder.most == 3 and len(config.filters) == (5 if row == "filter-all" else 0)
        else:
            assert config.harder is None
            assert [one.type.replace("_", "-") for one in config.filters] == [row[7:].removesuffix("-source")]
            over = {getattr(one, "mean_over", "generated") for one in config.filters}
            assert over == {"source" if row.endswith("source") else "generated"}
    with_source = [row for row in rows if found.variants[row].model.labels.needs[-1].name == "judge-source-adapt"]
    assert with_source == [f"filter-{SOURCE}"]
    assert not [name for name in (stage.name for stage in found.stages(["raw"])) if "judge" in name]


def check_online(found: Any) -> None:
    """Each row learns as long as a round, of the same images, whose labels no stage made."""
    refined = found.variants["refined"]
    online = {row: found.variants[row] for row in ("online", "online-mix", "online-refined", "cluda")}
    for variant in online.values():
        model = variant.model
        assert (model.start.name, model.images.name, model.labels) == ("adapt", "generate", None)
        assert (variant.steps, variant.generated_draws) == (refined.steps, refined.generated_draws)
        assert model.config.online.teacher.decay == 0.999
    assert [row for row, one in online.items() if one.model.config.mix] == ["online-mix", "cluda"]
    assert [row for row, one in online.items() if one.model.config.online.contrast] == ["cluda"]
    assert [row for row, one in online.items() if one.model.sharpening] == ["online-refined"]


def check_the_mixes(found: Any) -> None:
    """Each row is another with a mix, or goes on from the one before; none but those, and two online, has any."""
    models = {row: variant.model for row, variant in found.variants.items()}
    rows = ["mix-raw", "mix", "mix-round-2", "mix-round-3", "mix-bound-labels"]
    mixed = [row for row, model in models.items() if getattr(model.config, "mix", None)]
    assert sorted(mixed) == sorted([*rows, "online-mix", "cluda"])
    for row, like in {"mix-raw": "raw", "mix": "refined", "mix-bound-labels": "bound-labels"}.items():
        one, other = models[row], models[like]
        assert (one.start, one.images, one.labels, one.repainted) == (
            other.start,
            other.images,
            other.labels,
            other.repainted,
        )
        assert one.config.model_copy(update={"mix": None}) == other.config
        assert found.variants[row].steps == found.variants[like].steps
    for row, before in {"mix-round-2": "mix", "mix-round-3": "mix-round-2"}.items():
        model = models[row]
        assert model.start is model.labels.labels.teacher is models[before]
        assert model.labels.kind == "refine" and model.images is model.labels.images is models["mix"].images
        assert model.config == models["mix"].config


def test_what_the_config_says_of_a_mix_is_for_the_rows_that_have_one(
    module: ModuleType, config: Path, tmp_path: Path
) -> None:
    plain, asked = (
        benchmark(module, config, tmp_path, *options) for options in ((), ("--set", "selftrain.mix.share=0.25"))
    )
    for row, variant in asked.variants.items():
        one, other = (dict(flatten(found.model.config)) for found in (variant, plain.variants[row]))
        changed = {"mix.share": 0.25} if row.startswith("mix") else {}
        assert one == {**other, **changed}, row


def test_stages_come_after_what_they_need_and_bear_names_of_their_own(
    module: ModuleType, config: Path, tmp_path: Path
) -> None:
    found = benchmark(module, config, tmp_path)
    stages = found.stages(found.rows)
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names)
    for position, stage in enumerate(stages):
        for needed in stage.needs:
            assert needed is stages[names.index(needed.name)]
            assert names.index(needed.name) < position
    assert [name for name in names if name.startswith("generate")] == [
        "generate",
        "generate-plain",
        "generate-2",
        "generate-many",
        "generate-9",
    ]
    assert [stage.name for stage in found.stages(["source"])] == ["source", "validation-source"]


def test_the_test_domains_are_scored_on_their_own(module: ModuleType, config: Path, tmp_path: Path) -> None:
    scoring = benchmark(module, config, tmp_path, "--domains", "test", "--count", 5).scoring("refined")
    assert scoring.name == "test-refined"
    assert list(scoring.datasets) == [*TEST_DOMAINS, "source_heldout"]
    assert {len(dataset.ids) for dataset in scoring.datasets.values()} == {5}
    assert scoring.datasets["source_heldout"].ids[0] == "source-100000"
    assert scoring.datasets["fog"].image(0).shape == (32, 64, 3)


def test_a_cell_has_mean_and_deviation_of_the_seeds_that_are_there(module: ModuleType) -> None:
    assert module.cell([0.41, None, 0.43]) == "42.0 ± 1.4"
    assert module.cell([0.41, None]) == "41.0"
    assert module.cell([None]) == "-"
    assert module.cell([-0.01, 0.03], module.signed) == "+1.0 ± 2.8"


def test_a_figure_has_the_curves_that_have_points(module: ModuleType, tmp_path: Path) -> None:
    figure, path = importlib.import_module("ablation_figure"), tmp_path / "curves.svg"
    known = {"repainted": [0.27, 0.28], "refined": [0.3], "images-50": [0.2]}
    panels = figure.panels({50: "images-50", 200: "refined", 800: "images-800"})
    assert figure.draw(panels, lambda row: known.get(row, []), path)
    drawn = path.read_text()
    assert "as published" in drawn and "with a mix" not in drawn and "generated images" in drawn
    assert figure.draw(panels, lambda row: known.get(row, []), path) and path.read_text() == drawn
    path.unlink()
    assert not figure.draw(panels, lambda row: known["refined"] if row == "refined" else [], path) and not path.exists()


def test_instances_without_a_class_are_ignored(module: ModuleType) -> None:
    majority = importlib.import_module("ablation_stages").majority_of_instances
    labels_HW = np.array([[3, 3, 5], [255, 255, 5], [255, 7, 0]], np.uint8)
    instances_HW = np.array([[1, 1, 1], [4, 4, 300], [300, 300, 300]], np.uint16)
    wanted_HW = np.array([[3, 3, 3], [255, 255, 0], [0, 0, 0]], np.uint8)
    assert np.array_equal(majority(labels_HW, instances_HW, 255), wanted_HW)


def test_what_cannot_be_is_said(module: ModuleType, config: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no row 'refine'") as raised:
        module.main([str(tmp_path), "--config", str(config), "--rows", "refine"])
    assert raised.value.mend == "did you mean 'refined'?"
    with pytest.raises(UsageError, match="`adapt`"):
        module.main([str(tmp_path), "--config", str(config), "--set", "adapt=null"])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder laid out as CamVid's: five photographs to learn from and three to be scored on, of every class."""
    root, rng = tmp_path / "made up", np.random.default_rng(0)
    for split, count in (("train", 5), ("test", 3)):
        for number in range(count):
            labels_HW = rng.integers(0, UNLABELLED + 1, (6, 8)).astype(np.uint8).repeat(10, axis=0).repeat(10, axis=1)
            colors = rng.integers(0, 256, (UNLABELLED + 1, 3)).astype(np.uint8)
            for folder, pixels in (("images", colors[labels_HW]), ("labels", labels_HW)):
                (root / split / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / split / folder / f"{split}_{number}.png")
    return root


def shown(root: Path, *options: object) -> tuple[object, ...]:
    return ("--photographs", root, "--photograph-size", 48, 64, *options)


def resized(path: Path) -> np.ndarray:
    """Labels as the run has them: of the classes that the world shares, at the size that is asked for."""
    labels_HW = np.asarray(Image.open(path).resize((64, 48), Image.Resampling.NEAREST))
    return np.where(labels_HW >= BICYCLIST, 255, labels_HW)


def test_photographs_score_what_is_trained_and_measure_its_labels(
    ablation: Ablation, photographs: Path, tmp_path: Path
) -> None:
    runs, run = tmp_path / "runs", tmp_path / "runs" / "seed-0"
    ablation(runs, "--seeds", 0, "--rows", "source", "repainted")
    made = published(run)
    options = shown(photographs, "--domains", "photographs", "--seeds", 0)
    rows = ("source", "repainted", "online-photos", "labels-photos")
    printed = ablation(runs, *options, "--rows", *rows)
    assert made.items() <= published(run).items()
    assert "48x64 pixels" in printed and "the 10 classes" in printed and "pixels of `bicyclist` are ignored" in printed
    assert "`bicycle` is no class of theirs" in printed
    scored, measured = tables(printed)
    assert scored[""][3:] == ["camvid_test", "gain", "source heldout"]
    for row in rows[:-1]:
        found = scores(runs, 0, row, "photographs")
        check_cell(scored[row][2], [found["camvid_test"]])
        check_cell(scored[row][4], [found["source_heldout"]])
    result = json.loads((run / "photographs-source/scores.json").read_text())["results"]["camvid_test"]
    truth = np.stack([resized(path) for path in sorted((photographs / "test/labels").iterdir())])
    assert result["protocol"]["failed"] == 0
    assert list(result["pixels"].values()) == np.bincount(truth[truth != 255], minlength=UNLABELLED).tolist()

    folders = {"raw": "label-photos/{}/labels", "refined": "refine-photos/{}"}
    folders |= {f"refined-{count}": f"refine-{count}-photos/{{}}" for count in (1, 3)} | {
        "refined-2": "refine-photos/{}"
    }
    truth = np.stack([resized(path) for path in sorted((photographs / "train/labels").iterdir())])
    check_labels(measured, run, folders, truth)
    assert ablation(runs, *options, "--rows", *rows, "--table") == printed

    # who learns from them looks at no label; what is measured, and it alone, is measured anew
    made = published(run)
    for path in (photographs / "train/labels").iterdir():
        Image.fromarray(np.full((60, 80), 3, np.uint8)).save(path)
    ablation(runs, *options, "--rows", *rows)
    again = {path for path, time in published(run).items() if made.get(path) != time}
    assert {Path(path).relative_to(run).parts[0] for path in again} == {"truth-photos"}


def test_photographs_change_no_stage_of_another_row(
    module: ModuleType, config: Path, photographs: Path, tmp_path: Path
) -> None:
    plain = benchmark(module, config, tmp_path / "runs")
    more = benchmark(module, config, tmp_path / "runs", *shown(photographs))
    prints, with_photographs = (
        {plan.name: plan.fingerprint for plan in plan_stages(one.stages(one.rows))} for one in (plain, more)
    )
    assert prints.items() <= with_photographs.items()
    assert not [name for name in prints if "photo" in name]
    rows = ["online-photos", "mix-photos", "cluda-photos"]
    assert [row for row in more.rows if row not in plain.rows] == [*rows, "labels-photos"]
    for row, like in zip(rows, ("online", "online-mix", "cluda"), strict=True):
        model, way = more.variants[row].model, more.variants[like].model
        assert (model.images, model.labels, more.variants[row].generated_draws) == (None, None, 0)
        assert {name: one.labelled for name, one in model.unlabelled.items()} == {"camvid_train": False}
        assert model.unlabelled["camvid_train"].image(0).shape == (48, 64, 3)
        assert model.config.online.unlabelled == {"camvid_train": model.config.generated_weight}
        assert model.config.online.model_copy(update={"unlabelled": {}}) == way.config.online
        assert (model.start, model.repainted, more.variants[row].steps) == (
            more.variants["repainted"].model,
            way.repainted,
            more.variants[like].steps,
        )


def test_photographs_that_are_missing_are_said(module: ModuleType, config: Path, tmp_path: Path) -> None:
    for options in (["--domains", "photographs"], ["--rows", "mix-photos"], ["--rows", "labels-photos"]):
        with pytest.raises(UsageError, match=f"'{options[1]}' asks for photographs") as raised:
            module.main([str(tmp_path), "--config", str(config), *options])
        assert "--photographs" in raised.value.mend
    with pytest.raises(CloudsError, match="camvid_train"):
        module.main([str(tmp_path), "--config", str(config), "--photographs", str(tmp_path)])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not CAMVID.is_dir(), reason="the CamVid photographs are not here: shared/data/camvid")
def test_camvid_has_the_classes_of_the_world_but_one(module: ModuleType, tmp_path: Path) -> None:
    found = benchmark(module, Path("demo"), tmp_path, "--photographs", CAMVID, "--domains", "photographs")
    scoring = found.scoring("source")
    assert (scoring.name, list(scoring.datasets)) == ("photographs-source", ["camvid_test", "source_heldout"])
    test = scoring.datasets["camvid_test"]
    assert len(test.ids) == 32 and not test.unmatched and test.image(0).shape == (96, 128, 3)
    pixels = sum(np.bincount(test.labels(index).ravel(), minlength=256) for index in range(0, 32, 4))
    names = dict(enumerate(found.label_map.names))
    assert {names[one] for one in np.flatnonzero(pixels) if one != 255} == {*names.values()} - {"bicycle"}
    assert pixels[found.label_map.find("road")] > pixels.sum() / 5


@pytest.mark.slow
def test_all_rows_on_two_seeds(ablation: Ablation, module: ModuleType, config: Path, tmp_path: Path) -> None:
    printed = ablation(tmp_path, "--seeds", 0, 1)
    rows = list(benchmark(module, config, tmp_path, "--counts", 2, 9).variants)
    check_tables(printed, tmp_path, rows, [0, 1])
    by_count = tables(printed)[1]
    assert list(by_count) == ["", "2", "7", "9"]
    check_cell(by_count["7"][0], [unseen(scores(tmp_path, seed, "refined")) for seed in (0, 1)])
    assert "Not finished" not in printed
    assert ablation(tmp_path, "--seeds", 0, 1, "--table") == printed
