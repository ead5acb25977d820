"""The report of runs that are finished, unfinished, empty, or without generated images."""

import itertools
import re
from html.parser import HTMLParser

import pytest
from made_runs import SMOKE, begin, finished_run, generate, label, log_training, open_run, publish, score, stage_of

from clouds.assembly import Assembly, assemble
from clouds.data.images import read_image, write_image
from clouds.engine.settings import RunConfig
from clouds.report.html import SHOWN_ITEMS, write_html
from clouds.report.tables import models_table, scores_of

PROMPTS = ["a wide avenue at noon", "a wet street <script>alert(1)</script> & more", "an alley"]
VOID = {"meta", "link", "img", "input", "line", "polyline", "br"}


class Page(HTMLParser):
    """What the tests ask of a page; feeding one that closes a tag it did not open fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    @property
    def reading(self) -> str:
        """The text a reader sees, spaces collapsed."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def names(assembly: Assembly) -> list[str]:
    return [stage.name for stage in assembly.stages]


def page_of(assembly: Assembly) -> Page:
    path = write_html(assembly.config, assembly.stages, names(assembly))
    assert path == assembly.config.folder / "report" / "index.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Page:
    return page_of(finished_run(tmp_path_factory.mktemp("finished"), [PROMPTS[index % 3] for index in range(16)]))


def test_it_says_every_number_of_the_table_and_the_gain(tmp_path):
    assembly = finished_run(tmp_path, PROMPTS)
    page = page_of(assembly)
    header, rows = models_table(scores_of([stage.artifact for stage in assembly.stages]))
    for text in [cell for row in (header, *rows) for cell in row]:
        assert text in page.reading
    assert f"a gain of {rows[-1][-2][1:]} points" in page.reading
    assert "This run is not finished" not in page.reading
    assert "short edge 512" in page.reading


def test_a_loss_is_called_a_loss(tmp_path):
    assert "made the model worse" in page_of(finished_run(tmp_path, PROMPTS, after=0.2)).reading


def test_what_a_run_is_made_of_is_escaped(finished):
    assert "a wet street <script>alert(1)</script> & more" in finished.reading
    assert "<script>alert" not in finished.text
    data = [script for script in finished.all("script") if script]
    assert len(finished.all("script")) == len(data) + 1
    assert all(script["type"] == "application/json" for script in data)


def test_it_loads_nothing_from_elsewhere(finished):
    loaded = [value for _, attributes in finished.tags for name, value in attributes.items() if name in ("src", "href")]
    assert loaded
    assert all(value.startswith(("data:", "#")) for value in loaded)
    assert not re.search(r"url\(|@import|https?://", finished.text)


def test_its_pictures_are_bounded_and_described(finished):
    images = finished.all("img")
    assert len(images) == SHOWN_ITEMS * 6  # five of the last round, one of the round before
    assert all(image["alt"] and int(image["width"]) <= 256 for image in images)
    refined = next(image["alt"] for image in images if image["alt"].startswith("Refined label"))
    assert re.search(r"\w+ \d+%", refined)


def test_it_reads_without_eyes(finished):
    levels = [int(tag[1]) for tag, _ in finished.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(finished.all("caption")) == len(finished.all("table"))
    assert all("scope" in header for header in finished.all("th"))
    targets = {attributes.get("id") for _, attributes in finished.tags}
    assert all(link["href"][1:] in targets for link in finished.all("a"))
    ids = [attributes["id"] for _, attributes in finished.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_it_tells_how_to_make_the_run_again(finished):
    for expected in ("clouds run ", "shard_items: 4", "torch", "owner/diffuser", "hub, revision abc123", "CPU cores"):
        assert expected in finished.reading


def test_a_run_that_has_not_begun(tmp_path):
    page = page_of(open_run(tmp_path))
    assert "train: not begun" in page.reading
    assert "No model has been scored yet." in page.reading
    assert page.all("img") == []


def test_an_unfinished_run_says_what_is_missing_and_shows_what_is_there(tmp_path):
    assembly = open_run(tmp_path)
    log_training(stage_of(assembly, "train"), [3.0, 2.0, 1.0], complete=False)
    generate(assembly, PROMPTS)
    label(assembly, 1)
    begin(stage_of(assembly, "label-1"), 90, complete=False)
    page = page_of(assembly)
    assert "label-1: 3 of 90 images done" in page.reading
    assert "refine-1: not begun" in page.reading
    assert "generate: 3 of" not in page.reading
    assert len(page.all("polyline")) == 1
    assert len(page.all("img")) == 3 * 3


def test_no_items_at_all(tmp_path):
    assembly = open_run(tmp_path)
    generate(assembly, [])
    stage = stage_of(assembly, "generate")
    publish(stage.artifact, "00000", [], {"000000": "out of <memory>\nat line 3"})
    page = page_of(assembly)
    assert "No generated image has been published yet." in page.reading
    assert "generate/000000 : out of <memory>" in page.reading
    assert "at line 3" not in page.reading


def test_a_baseline_has_no_section_of_generated_images(tmp_path):
    sections = ("generate", "repaint", "adapt", "refine", "selftrain", "label", "rounds")
    blocks = re.split(r"(?m)^(?=\w+:)", SMOKE.read_text(encoding="utf-8"))
    kept = [block for block in blocks if not block.startswith(tuple(f"{name}:" for name in sections))]
    config = tmp_path / "baseline.yaml"
    config.write_text("pipeline: source_only\n" + "".join(kept), encoding="utf-8")

    assembly = assemble(str(config), [f"run_dir={tmp_path / 'run'}"])
    score(assembly, "train", {"fog": 0.5})
    page = page_of(assembly)
    assert "train reaches a mean IoU of" in page.reading
    assert "Pictures" not in page.reading


def test_scores_of_a_model_the_config_no_longer_has_are_left_out(tmp_path):
    run = finished_run(tmp_path, PROMPTS)
    assert "selftrain-2" in page_of(run).reading
    shorter = open_run(tmp_path, "rounds=1")
    assert "selftrain-2" not in page_of(shorter).reading


def test_a_damaged_picture_is_reported_in_its_place(tmp_path):
    assembly = finished_run(tmp_path, PROMPTS)
    (tmp_path / "refine-2" / "00000" / "000001.png").write_bytes(b"no png")
    image = tmp_path / "generate" / "00000" / "000002.png"
    write_image(image, read_image(image)[:-2])
    page = page_of(assembly)
    assert "is in no known image format" in page.reading
    assert "differs from the image's" in page.reading
    assert len(page.all("img")) == 6


def test_a_config_without_classes_still_has_a_report(tmp_path):
    assembly = finished_run(tmp_path, PROMPTS)
    path = write_html(RunConfig(name="bare", run_dir=tmp_path), assembly.stages, names(assembly))
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.all("img")) == len(PROMPTS)  # labels have no colours without classes


def test_writing_it_again_replaces_it_whole(tmp_path):
    assembly = open_run(tmp_path)
    write_html(assembly.config, assembly.stages, names(assembly))
    write_html(assembly.config, assembly.stages, names(assembly))
    written = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert written == ["gallery", "index.html", "report.json", "report.md", "shares.json"]


def test_output_that_is_not_what_the_config_asks_for_is_called_so_and_its_scores_are_not_shown(tmp_path):
    assembly = finished_run(tmp_path, PROMPTS)
    current = [name for name in names(assembly) if name not in ("selftrain-2", "evaluate-selftrain-2")]
    page = Page(write_html(assembly.config, assembly.stages, current).read_text(encoding="utf-8"))
    _, rows = models_table(scores_of([stage.artifact for stage in assembly.stages if stage.name in current]))
    assert "evaluate-selftrain-2: made with other values" in page.reading
    assert [row[0] for row in rows] == ["train", "selftrain-1", "gain"]
    assert f"{rows[-1][-2][1:]} points" in page.reading
