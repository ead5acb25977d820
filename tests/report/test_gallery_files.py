"""The gallery's files: what they list, what their pictures show, and what is made again."""

import base64
import io
import json

import numpy as np
import pytest
from made_runs import finished_run, generate, label, open_run, publish, refine, scratch, stage_of
from PIL import Image

from clouds.data.images import read_image, read_labels, write_image, write_labels
from clouds.data.labels import LabelMap
from clouds.report import browser
from clouds.report.browser import bring_up_to_date, in_script
from clouds.report.palette import safe_map
from clouds.report.thumbnails import CHANGES, differences

CLASSES = safe_map(LabelMap.of("street11"))
PROMPTS = [f"street {index} </script> & more" for index in range(10)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, finished_run(folder, PROMPTS)


def pixels(text: str, mode: str = "RGBA") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert(mode))


def pictures_of(made, name: str) -> list[dict]:
    text = (made.folder / f"{name}.js").read_text(encoding="utf-8")
    assert text.startswith(f'cloudsPictures("{name}",') and text.endswith(");\n")
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])


def test_every_image_is_listed_with_what_is_known_of_it(run, tmp_path):
    folder, assembly = run
    made = bring_up_to_date(tmp_path, assembly.stages, CLASSES)
    rows = list(made.rows())
    assert [row[:3] for row in rows] == [[f"{index:06d}", PROMPTS[index], str(7000 + index)] for index in range(10)]
    before_HW = read_labels(folder / "label-2" / "00001" / "labels" / "000005.png")
    after_HW = read_labels(folder / "refine-2" / "00001" / "000005.png")
    confidence_HW = read_labels(folder / "label-2" / "00001" / "confidence" / "000005.png")
    confidence, changed, ignored, shares, problem = rows[5][3:]
    assert confidence == pytest.approx(np.mean(confidence_HW) / 255, abs=1e-4) and problem == ""
    assert changed == pytest.approx(np.mean(before_HW != after_HW), abs=1e-4)
    assert ignored == pytest.approx(np.mean(after_HW == 255), abs=1e-4)
    assert dict(shares)[3] == pytest.approx(np.mean(after_HW == 3), abs=1e-4)
    assert [share for _, share in shares] == sorted((share for _, share in shares), reverse=True)


def test_pictures_show_the_files_they_are_made_from(run, tmp_path):
    folder, assembly = run
    made = bring_up_to_date(tmp_path, assembly.stages, CLASSES)
    shown = pictures_of(made, "00001-00")[1]  # the fifth image: the first shard has four
    image_HWC = read_image(folder / "generate" / "00001" / "000005.png")
    assert np.abs(pixels(shown["p"], "RGB").astype(int) - image_HWC).mean() < 8
    for key, path in (("b", "label-2/00001/labels/000005.png"), ("a", "refine-2/00001/000005.png")):
        labels_HW, shown_HWC = read_labels(folder / path), pixels(shown[key])
        known_HW = labels_HW != 255
        np.testing.assert_array_equal(shown_HWC[known_HW][:, :3], CLASSES.palette[labels_HW[known_HW]])
        np.testing.assert_array_equal(shown_HWC[..., 3] > 0, known_HW)
    assert [name for name, _ in shown["e"]] == ["refine-1"]
    before_HW, after_HW = (
        read_labels(folder / path) for path in ("label-2/00001/labels/000005.png", "refine-2/00001/000005.png")
    )
    np.testing.assert_array_equal(pixels(shown["d"])[..., 3] > 0, before_HW != after_HW)


def test_differences_tell_new_classes_lost_labels_and_new_labels():
    kinds_HW = differences(np.array([[1, 1, 1, 255]]), np.array([[1, 2, 255, 2]]), 255)
    assert kinds_HW.tolist() == [[0, 1, 2, 3]]
    assert len(CHANGES) == 3


def test_pixels_add_up_to_those_of_the_files(run, tmp_path):
    folder, assembly = run
    totals = bring_up_to_date(tmp_path, assembly.stages, CLASSES).totals()
    assert (totals.images, totals.labelled, totals.refined, totals.unreadable) == (10, 10, 10, 0)
    refined = [read_labels(path) for path in sorted((folder / "refine-2").glob("*/*.png"))]
    assert totals.after_K1.tolist()[:11] == [sum(int((ids == id_).sum()) for ids in refined) for id_ in range(11)]
    assert totals.after_K1[-1] == sum(int((ids == 255).sum()) for ids in refined)


def test_only_shards_that_changed_are_made_again(run, tmp_path, monkeypatch):
    _, assembly = run
    bring_up_to_date(tmp_path, assembly.stages, CLASSES)
    first = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / "00002-00.js").unlink()
    (tmp_path / "00009.json").write_text("{}", encoding="utf-8")  # of a shard that is there no more
    bring_up_to_date(tmp_path, assembly.stages, CLASSES)
    second = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert second.keys() == first.keys()
    assert {name for name in first if first[name] != second[name]} == {"00002-00.js", "00002.json"}
    # other colours are other pictures
    bring_up_to_date(tmp_path, assembly.stages, LabelMap.of("street11"))
    third = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert all(third[name] != second[name] for name in third)


def test_an_interrupted_gallery_goes_on_where_it_was(run, tmp_path, monkeypatch):
    _, assembly = run
    made = browser.thumbnail
    monkeypatch.setattr(
        browser, "thumbnail", lambda item, label_map: (1 / (item.id != "000005")) and made(item, label_map)
    )
    with pytest.raises(ZeroDivisionError):
        bring_up_to_date(tmp_path, assembly.stages, CLASSES)
    asked = []
    monkeypatch.setattr(browser, "thumbnail", lambda item, label_map: asked.append(item.id) or made(item, label_map))
    assert len(list(bring_up_to_date(tmp_path, assembly.stages, CLASSES).rows())) == 10
    assert sorted(asked) == [f"{index:06d}" for index in range(4, 10)]


def test_files_of_pictures_are_of_about_one_size_and_the_page_holds_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "FILE_ITEMS", 3)
    assembly = open_run(tmp_path / "run")
    generate(assembly, PROMPTS)
    made = bring_up_to_date(tmp_path / "gallery", assembly.stages, CLASSES)
    sizes = {path.stem: len(pictures_of(made, path.stem)) for path in sorted(made.folder.glob("*.js"))}
    assert sizes == {"00000-00": 2, "00000-01": 2, "00001-00": 2, "00001-01": 2, "00002-00": 2}
    assert [name for name, _ in made.embedded()] == list(sizes)
    content = [text for _, text in made.embedded(budget=1)]
    assert len(content) == 1 and json.loads(content[0]) == pictures_of(made, "00000-00")


def test_a_run_that_is_under_way_shows_each_item_as_far_as_it_is(tmp_path):
    assembly = open_run(tmp_path / "run")
    generate(assembly, PROMPTS[:4])
    made = bring_up_to_date(tmp_path / "gallery", assembly.stages, CLASSES)
    assert [sorted(one) for one in pictures_of(made, "00000-00")] == [["h", "p", "w"]] * 4
    label(assembly, 1)
    made = bring_up_to_date(tmp_path / "gallery", assembly.stages, CLASSES)
    assert [sorted(one) for one in pictures_of(made, "00000-00")] == [["b", "c", "h", "p", "w"]] * 4
    assert made.totals().refined == 0 and made.totals().labelled == 4
    refine(assembly, 1)
    label(assembly, 2)  # round 2 has labels only: before and after are those of round 1
    made = bring_up_to_date(tmp_path / "gallery", assembly.stages, CLASSES)
    shown = pixels(pictures_of(made, "00000-00")[0]["b"])
    ids_HW = read_labels(tmp_path / "run" / "label-1" / "00000" / "labels" / "000000.png")
    np.testing.assert_array_equal(shown[..., :3], CLASSES.palette[ids_HW])


def test_a_damaged_file_costs_its_item_only(tmp_path):
    assembly = finished_run(tmp_path / "run", PROMPTS[:4])
    (tmp_path / "run" / "refine-2" / "00000" / "000001.png").write_bytes(b"no png")
    image = tmp_path / "run" / "generate" / "00000" / "000002.png"
    write_image(image, read_image(image)[:-2])
    made = bring_up_to_date(tmp_path / "gallery", assembly.stages, CLASSES)
    problems = [row[-1] for row in made.rows()]
    assert "no known image format" in problems[1] and "differs from the image's" in problems[2]
    assert problems[0] == problems[3] == ""
    assert made.totals().unreadable == 2


def test_ids_beyond_the_classes_count_as_ignored(tmp_path):
    assembly = open_run(tmp_path / "run")
    generate(assembly, PROMPTS[:1])
    stage = stage_of(assembly, "label-1")
    folder = scratch(stage.artifact, "00000")
    write_labels(folder / "a.png", np.full((64, 128), 77, np.uint8))
    publish(stage.artifact, "00000", [{"file_name": "a.png", "id": "000000"}])
    [row] = bring_up_to_date(tmp_path / "gallery", assembly.stages, CLASSES).rows()
    assert row[5:7] == [1.0, []]


def test_a_run_without_images_or_classes(tmp_path):
    assembly = open_run(tmp_path / "run")
    made = bring_up_to_date(tmp_path / "gallery", assembly.stages, CLASSES)
    assert list(made.rows()) == [] == list(made.embedded())
    assert made.totals().confidence is None
    generate(assembly, PROMPTS[:2])
    made = bring_up_to_date(tmp_path / "gallery", assembly.stages, None)
    assert len(list(made.rows())) == 2


def test_nothing_leaves_a_script_element():
    text = in_script({"prompt": "</script><!-- \u2028", "more": "ü"})
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == {"prompt": "</script><!-- \u2028", "more": "ü"}
