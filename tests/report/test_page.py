"""The report's page in a real browser: what it shows, and what its sliders, filters and buttons do.

Chromium is found on the machine and driven by Playwright; without either of them these tests are skipped.
"""

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_runs import generate, label, log_training, open_run, predict, refine, score, stage_of
from PIL import Image

from clouds.data.images import read_image, read_labels
from clouds.data.labels import LabelMap
from clouds.report import browser
from clouds.report.html import write_html
from clouds.report.palette import safe_map

COUNT, PER_PAGE = 60, 48
PROMPTS = [f"{'a wet street' if index % 3 else 'an alley'} number {index} <b>&amp;" for index in range(COUNT)]
CLASSES = LabelMap.of("street11")
SAFE = safe_map(CLASSES)


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e '.[test]'")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        # its sandbox wants rights that a container has not; the page is our own
        try:
            started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"{found} does not start: {str(error).splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A run of one round whose later pictures lie beside the page, not in it."""
    folder = tmp_path_factory.mktemp("run")
    assembly = open_run(folder, "rounds=1")
    log_training(stage_of(assembly, "train"), [30 / step**0.3 for step in range(1, 60)], complete=True)
    generate(assembly, PROMPTS, shard_items=20, width=64)
    label(assembly, 1, width=64)
    refine(assembly, 1, width=64)
    log_training(stage_of(assembly, "selftrain-1"), [9, 8, 6.5], complete=True)
    for model, right in (("train", 0.4), ("selftrain-1", 0.7)):
        score(assembly, model, {"fog": right, "night": right - 0.1})
        predict(assembly, model, right, kept=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(browser.Browser.embedded, "__defaults__", (100_000,))
        # three files a shard, as a run of thousands of images has them
        patch.setattr(browser, "FILE_ITEMS", 7)
        write_html(assembly.config, assembly.stages, [stage.name for stage in assembly.stages])
    return folder / "report"


class Opened:
    """A page with what it complained about, which nothing may be left of at the end."""

    def __init__(self, context, path: Path) -> None:
        self.context = context
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        # an animated jump to a heading would move what is measured
        self.page.add_style_tag(content="html { scroll-behavior: auto !important }")

    def ids(self) -> list[str]:
        """The images that are shown, in order."""
        return self.page.eval_on_selector_all(".card", "cards => cards.map(card => card.item.id)")

    def choose(self, id_: str, value: str) -> None:
        self.page.select_option(f"#{id_}", value)

    def slide(self, selector: str, value: float) -> None:
        self.page.eval_on_selector(
            selector,
            "(range, value) => { range.value = value; range.dispatchEvent(new Event('input', { bubbles: true })); }",
            value,
        )

    def filled(self, number: int = 0):
        """A card whose pictures are there."""
        card = self.page.locator(".card").nth(number)
        card.scroll_into_view_if_needed()
        card.locator("img.after").wait_for(state="attached")
        self.page.wait_for_function(
            "n => [...document.querySelectorAll('.card')[n].querySelectorAll('img')].every(one => one.complete)",
            arg=number,
        )
        return card

    def shot(self, locator) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)


@pytest.fixture
def opened(chromium, report) -> Iterator[Opened]:
    with chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light") as context:
        found = Opened(context, report / "index.html")
        yield found
        assert found.complaints == []


def listed(report: Path) -> dict[str, list]:
    """The row of every image, by id."""
    files = sorted((report / "gallery").glob("*.json"))
    return {row[0]: row for file in files for row in json.loads(file.read_text(encoding="utf-8"))["items"]}


def expected(report: Path, id_: str, split: float, strength: float) -> np.ndarray:
    """The image with its pseudo-label over the left part and its refined label over the rest, as files hold them."""
    run, shard = report.parent, f"{int(id_) // 20:05d}"
    shown_HWC = read_image(run / "generate" / shard / f"{id_}.png").astype(float)
    left = round(split * shown_HWC.shape[1])
    before_HW = read_labels(run / "label-1" / shard / "labels" / f"{id_}.png")
    labels_HW = read_labels(run / "refine-1" / shard / f"{id_}.png").copy()
    labels_HW[:, :left] = before_HW[:, :left]
    known_HW = labels_HW != 255
    shown_HWC[known_HW] = (1 - strength) * shown_HWC[known_HW] + strength * SAFE.palette[labels_HW[known_HW]]
    return shown_HWC


def shrunk(shot_HWC: np.ndarray, width: int, height: int) -> np.ndarray:
    image = Image.fromarray(shot_HWC.astype(np.uint8))
    return np.asarray(image.resize((width, height), Image.Resampling.BOX)).astype(int)


def test_the_slider_shows_more_of_the_one_label_and_less_of_the_other(opened, report):
    card = opened.filled(2)
    stack, range_ = card.locator(".stack"), card.locator("input.split")
    # what lies over the picture to say how it is used is not part of it
    opened.page.add_style_tag(content=".handle, .tag { visibility: hidden }")
    shots = {}
    for value in (0, 50, 100):
        opened.slide(".card:nth-child(3) input.split", value)
        shots[value] = opened.shot(stack)
        found, wanted = shrunk(shots[value], 64, 32), expected(report, "000002", value / 100, 0.6)
        assert np.abs(found - wanted).mean() < 6
        # and nearer to what it should show than to what the other end shows
        other = expected(report, "000002", 1 - value / 100, 0.6)
        assert value == 50 or np.abs(found - wanted).mean() < 0.8 * np.abs(found - other).mean()
    assert np.abs(shots[0] - shots[100]).mean() > 1
    range_.focus()
    opened.page.keyboard.press("Home")
    opened.page.keyboard.press("ArrowRight")
    assert range_.get_attribute("aria-valuetext") == "1 % pseudo-label, 99 % refined"
    assert "000002" in range_.get_attribute("aria-label")


def test_labels_can_be_fainter_and_other_views_chosen(opened, report):
    card = opened.filled(0)
    stack = card.locator(".stack")
    opened.page.add_style_tag(content=".handle, .tag { visibility: hidden }")
    opened.slide("#strength", 0)
    plain = opened.shot(stack)
    # the photo is compressed, and smoothed where it is enlarged
    shown = shrunk(plain, 64, 32)
    assert np.abs(shown - expected(report, "000000", 0, 0)).mean() < 14
    others = [np.abs(shown - expected(report, f"{index:06d}", 0, 0)).mean() for index in range(1, COUNT)]
    assert np.abs(shown - expected(report, "000000", 0, 0)).mean() < min(others) / 2
    opened.slide("#strength", 100)
    assert np.abs(shrunk(opened.shot(stack), 64, 32) - expected(report, "000000", 0.5, 1)).mean() < 6

    opened.page.get_by_text("image", exact=True).click()
    assert np.abs(opened.shot(stack) - plain).mean() < 0.5
    opened.page.get_by_text("confidence", exact=True).click()
    sure = shrunk(opened.shot(stack), 64, 32)
    confidence_HW = read_labels(report.parent / "label-1" / "00000" / "confidence" / "000000.png")
    assert sure[confidence_HW > 200][:, :2].mean() > sure[confidence_HW < 100][:, :2].mean() + 60
    opened.page.get_by_text("changes", exact=True).click()
    shown = shrunk(opened.shot(stack), 64, 32)
    refined_HW = read_labels(report.parent / "refine-1" / "00000" / "000000.png")
    lost_HW = (read_labels(report.parent / "label-1" / "00000" / "labels" / "000000.png") != 255) & (refined_HW == 255)
    assert np.abs(shown[lost_HW] - (0, 114, 178)).mean() < 12


def test_filters_and_orders_choose_what_is_shown(opened, report):
    rows = listed(report)
    assert opened.ids() == list(rows)[:PER_PAGE]
    opened.page.fill("#find", "ALLEY number")
    opened.page.wait_for_function("document.getElementById('found').textContent.startsWith('20 of 60')")
    assert opened.ids() == [id_ for id_, row in rows.items() if "alley" in row[1]]

    opened.choose("class", str(CLASSES.names.index("person")))
    with_people = [id_ for id_, row in rows.items() if "alley" in row[1] and 9 in dict(row[6])]
    assert opened.ids() == with_people and 0 < len(with_people) < 20
    opened.choose("order", "class")
    assert opened.ids() == sorted(with_people, key=lambda id_: -dict(rows[id_][6])[9])
    opened.page.click("#clear")
    assert len(opened.ids()) == PER_PAGE

    opened.choose("order", "changed")
    assert opened.ids() == sorted(rows, key=lambda id_: -rows[id_][4])[:PER_PAGE]
    opened.choose("order", "worst")
    assert opened.ids() == sorted(rows, key=lambda id_: rows[id_][3])[:PER_PAGE]
    opened.choose("order", "best")
    assert opened.ids() == sorted(rows, key=lambda id_: -rows[id_][3])[:PER_PAGE]
    least = float(np.floor(1000 * np.median([row[4] for row in rows.values()])) / 10)
    opened.choose("order", "made")
    opened.slide("#least", least)
    least = float(opened.page.input_value("#least"))
    assert opened.ids() == [id_ for id_, row in rows.items() if row[4] >= least / 100][:PER_PAGE]
    assert 0 < len(opened.ids()) < COUNT
    opened.page.fill("#find", "no such word")
    opened.page.wait_for_function("document.getElementById('found').textContent.startsWith('None of 60')")
    assert opened.ids() == []


def test_a_class_that_is_asked_for_stands_out_and_colours_can_be_the_label_maps_own(opened, report):
    opened.page.add_style_tag(content=".handle, .tag { visibility: hidden }")
    opened.slide("#strength", 100)
    opened.filled(0)
    road, sky = CLASSES.names.index("road"), CLASSES.names.index("sky")
    labels_HW = read_labels(report.parent / "refine-1" / "00000" / "000000.png")
    right_HW = np.indices(labels_HW.shape)[1] > 34

    def color(id_: int) -> np.ndarray:
        shown = shrunk(opened.shot(opened.filled(0).locator(".stack")), 64, 32)
        return np.median(shown[(labels_HW == id_) & right_HW], axis=0)

    np.testing.assert_allclose(color(road), SAFE.colors[road], atol=2)
    opened.choose("class", str(road))
    np.testing.assert_allclose(color(road), SAFE.colors[road], atol=2)
    assert np.ptp(color(sky)) < 40 < np.ptp(SAFE.colors[sky])
    opened.choose("class", "")
    opened.page.check("#own-colors")
    np.testing.assert_allclose(color(road), CLASSES.colors[road], atol=2)
    truth = opened.page.locator("#predictions ~ article img[alt^=Truth]").first
    truth.scroll_into_view_if_needed()
    shown = {tuple(one) for one in opened.shot(truth).reshape(-1, 3).tolist()}
    assert CLASSES.colors[road] in shown and SAFE.colors[road] not in shown


def test_pages_are_turned_and_pictures_loaded_when_they_are_seen(opened, report):
    loaded = []
    opened.page.on("request", lambda request: loaded.append(Path(request.url).name))
    opened.filled(0)
    # the images of the second page lie in the last two files of the third shard, which the first page has no need of
    assert not {"00002-01.js", "00002-02.js"} & set(loaded)
    assert opened.page.locator("#previous").is_disabled()
    opened.page.click("#next")
    assert opened.ids() == list(listed(report))[PER_PAGE:]
    card = opened.filled(COUNT - PER_PAGE - 1)
    assert "00002-02.js" in loaded and all(name.endswith(".js") for name in loaded)
    opened.page.add_style_tag(content=".handle, .tag { visibility: hidden }")
    found = shrunk(opened.shot(card.locator(".stack")), 64, 32)
    assert np.abs(found - expected(report, "000059", 0.5, 0.6)).mean() < 6
    assert opened.page.locator("#next").is_disabled()
    opened.choose("page", "0")
    assert opened.ids()[0] == "000000"


def pictures_shown(opened: Opened) -> dict[str, np.ndarray]:
    """The picture of every card of the page, small, by the image's id; each is scrolled to, so that it is loaded."""
    opened.page.evaluate(
        """async () => {
            for (const card of document.querySelectorAll('.card')) {
                card.scrollIntoView();
                while (!card.querySelector('img.photo')) await new Promise((done) => setTimeout(done, 5));
            }
        }"""
    )
    found = opened.page.eval_on_selector_all(
        ".card", "cards => cards.map(card => [card.item.id, card.querySelector('img.photo').src])"
    )
    decoded = ((id_, base64.b64decode(source.partition(",")[2])) for id_, source in found)
    return {id_: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int) for id_, data in decoded}


@pytest.mark.parametrize("order", ["made", "worst", "changed"])
def test_over_many_files_every_card_has_its_own_picture_on_every_page_and_in_any_order(opened, report, order):
    names = [path.name for path in sorted((report / "gallery").glob("*.js"))]
    assert names == [f"{shard:05d}-{file:02d}.js" for shard in range(3) for file in range(3)]
    truth = {
        id_: read_image(report.parent / "generate" / f"{int(id_) // 20:05d}" / f"{id_}.png").astype(int)
        for id_ in listed(report)
    }
    opened.choose("order", order)
    seen = pictures_shown(opened)
    opened.page.click("#next")
    seen |= pictures_shown(opened)
    rows = listed(report)
    by = {"made": lambda id_: 0, "worst": lambda id_: rows[id_][3], "changed": lambda id_: -rows[id_][4]}[order]
    assert list(seen) == sorted(rows, key=by)
    for id_, shown in seen.items():
        nearest = min(truth, key=lambda one: np.abs(truth[one] - shown).mean())
        assert nearest == id_


def test_a_class_that_is_chosen_leaves_images_of_several_files(opened, report):
    person = CLASSES.names.index("person")
    opened.choose("class", str(person))
    opened.choose("order", "class")
    seen = pictures_shown(opened)
    assert list(seen) == opened.ids()
    assert len({(int(id_) // 20, int(id_) % 20 // 7) for id_ in seen}) > 3
    for id_, shown in list(seen.items())[:8]:
        own = read_image(report.parent / "generate" / f"{int(id_) // 20:05d}" / f"{id_}.png").astype(int)
        assert np.abs(own - shown).mean() < 14


def test_the_page_alone_still_shows_what_it_holds(chromium, report, tmp_path):
    shutil.copy(report / "index.html", tmp_path)
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        opened = Opened(context, tmp_path / "index.html")
        opened.filled(0)
        assert opened.complaints == []
        opened.page.click("#next")
        opened.page.get_by_text("is not beside this page").first.wait_for()


def test_details_show_every_picture_and_go_on_to_the_next(opened, report):
    row = listed(report)["000001"]
    opened.filled(1).get_by_role("button").click()
    dialog = opened.page.locator("dialog")
    dialog.locator(".strip img").first.wait_for()
    captions = dialog.locator("figcaption").all_inner_texts()
    assert [caption.split(",")[0].split(":")[0] for caption in captions] == [
        *("Image", "Pseudo-label", "Confidence", "Refined label", "Changed"),
    ]
    assert dialog.locator("h3").inner_text() == row[1]
    assert row[2] in dialog.inner_text()
    assert all(dialog.locator("img").nth(number).get_attribute("alt") for number in range(5))
    opened.page.click("#later")
    dialog.get_by_text(PROMPTS[2]).wait_for()
    opened.page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_light_and_dark_follow_the_system_until_one_is_chosen(chromium, report):
    def ground(opened: Opened) -> str:
        return opened.page.evaluate("getComputedStyle(document.body).backgroundColor")

    with chromium.new_context(color_scheme="dark") as context:
        opened = Opened(context, report / "index.html")
        assert ground(opened) == "rgb(18, 22, 27)"
        opened.page.get_by_role("button", name="Light colours").click()
        assert ground(opened) == "rgb(255, 255, 255)"
        opened.page.reload()
        assert ground(opened) == "rgb(255, 255, 255)"
        opened.page.get_by_role("button", name="Dark colours").click()
        assert ground(opened) == "rgb(18, 22, 27)"
        assert opened.complaints == []


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_nothing_is_wider_than_the_window(chromium, report, width):
    with chromium.new_context(viewport={"width": width, "height": 800}) as context:
        opened = Opened(context, report / "index.html")
        opened.filled(0)
        opened.page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
        assert opened.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        opened.page.locator(".more").first.click()
        dialog = opened.page.locator("dialog")
        dialog.locator(".strip img").first.wait_for()
        box = dialog.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert opened.complaints == []


def test_bars_are_as_long_as_their_numbers(opened, report):
    models = json.loads((report / "report.json").read_text(encoding="utf-8"))["models"]
    measured = opened.page.eval_on_selector_all(
        "#result-bars .track",
        """all => all.map(one =>
            one.querySelector('.bar').getBoundingClientRect().width / one.getBoundingClientRect().width)""",
    )
    wanted = [model["results"][dataset]["mean_iou"] for dataset in ("fog", "night") for model in models]
    np.testing.assert_allclose(measured, wanted, atol=0.005)

    shown = opened.page.eval_on_selector_all(
        "table[data-dataset=night] tbody tr",
        """rows => rows.map(row => [row.querySelector('th').innerText.trim(), ...[...row.querySelectorAll('.bar')].map(
            bar => bar.getBoundingClientRect().width / row.querySelector('.track').getBoundingClientRect().width)])""",
    )
    for name, *widths in shown:
        ious = [model["results"]["night"]["iou"][name] for model in models]
        np.testing.assert_allclose(widths, [iou for iou in ious if iou is not None], atol=0.01)


def test_all_of_it_is_reached_by_keyboard(opened):
    opened.filled(0)
    reached = set()
    for _ in range(45):
        opened.page.keyboard.press("Tab")
        reached.add(
            opened.page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.name"
            )
        )
    assert {"theme", "find", "class", "order", "least", "strength", "view", "own-colors", "split", "more"} <= reached
    images = opened.page.eval_on_selector_all("img", "all => all.filter(one => !one.alt).length")
    names = opened.page.eval_on_selector_all(
        "button, input, select",
        "all => all.filter(one => !(one.ariaLabel || one.textContent.trim() || one.labels?.length)).length",
    )
    assert (images, names) == (0, 0)


def test_unfinished_runs_open_without_complaint_and_say_what_is_missing(chromium, tmp_path):
    assembly = open_run(tmp_path, "rounds=1")
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        path = write_html(assembly.config, assembly.stages, [])
        nothing = Opened(context, path)
        assert nothing.page.get_by_text("No generated image has been published yet.").is_visible()
        assert nothing.page.get_by_text("generate: not begun").is_visible()

        generate(assembly, PROMPTS[:3], width=64)
        write_html(assembly.config, assembly.stages, ["generate"])
        images = Opened(context, path)
        images.page.locator(".card").first.scroll_into_view_if_needed()
        images.page.locator(".card img.photo").first.wait_for()
        assert images.page.locator(".card").count() == 3
        assert images.page.locator(".card .prompt").first.inner_text() == PROMPTS[0]
        assert images.page.locator("input.split").count() == 0
        # nothing is offered that no image has something to show for
        for control in ("#class", "#least", "#strength", ".views", "#gallery .legend"):
            assert not images.page.locator(control).is_visible()
        offered = "all => all.filter(one => !one.hidden).map(one => one.value)"
        assert images.page.eval_on_selector_all("#order option", offered) == ["made"]
        assert images.page.locator("#find").is_visible() and "–" not in images.page.inner_text(".card")
        images.page.locator(".more").first.click()
        told = images.page.locator("dialog dt").all_inner_texts()
        assert told == ["image", "seed"]

        label(assembly, 1, width=64)
        write_html(assembly.config, assembly.stages, ["generate", "label-1"])
        labelled = Opened(context, path)
        labelled.page.locator(".card").first.scroll_into_view_if_needed()
        labelled.page.locator(".card img.before").first.wait_for()
        assert labelled.page.locator(".card img.before").first.get_attribute("alt").startswith("Pseudo-label: ")
        assert labelled.page.get_by_text("refine-1: not begun").is_visible()
        assert labelled.page.eval_on_selector_all("#order option", offered) == ["made", "worst", "best", "class"]
        views = labelled.page.locator(".views label:not([hidden]) span").all_inner_texts()
        assert views == ["label", "image", "confidence"]
        assert not labelled.page.locator("#least").is_visible() and labelled.page.locator("#strength").is_visible()
        assert [one.complaints for one in (nothing, images, labelled)] == [[], [], []]
