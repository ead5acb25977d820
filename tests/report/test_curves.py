"""Loss curves: what is read from a log, and where it is drawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import log_training, open_run, stage_of

from clouds.report.curves import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    downsample,
    draw,
    read_curves,
    ticks,
)
from clouds.report.html import write_html

LOSS = st.floats(-1e6, 1e6, allow_nan=False)


def test_a_long_log_becomes_few_points_that_keep_its_mean():
    points = [(float(step), step / 10) for step in range(1, 90_001)]
    thin, per_point = downsample(points, MAX_POINTS)
    assert len(thin) == MAX_POINTS
    assert per_point == 300
    assert thin[0] == pytest.approx((150.5, 15.05))


@given(st.lists(LOSS, min_size=1, max_size=700))
def test_every_point_lies_inside_the_drawing(losses):
    curve = draw("train", [(float(step), loss) for step, loss in enumerate(losses, 1)])
    points = [tuple(map(float, point.split(","))) for point in curve.path.split()]
    assert len(points) <= MAX_POINTS
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in points)
    assert all(TOP - 0.1 <= tick.at <= HEIGHT - BOTTOM + 0.1 for tick in curve.y_ticks)
    assert all(LEFT <= tick.at <= WIDTH - RIGHT for tick in curve.x_ticks)


def test_higher_losses_are_drawn_higher():
    points = draw("train", [(1, 8.0), (2, 4.0), (3, 2.0)]).path.split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights)
    assert heights[0] < heights[-1]


@given(LOSS, LOSS)
def test_marks_are_few_and_enclose_the_values(one, other):
    low, high = min(one, other), max(one, other)
    marks = ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert 2 <= len(marks) <= 8
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack


def test_round_marks():
    assert ticks(0.3, 7.9) == [0, 2, 4, 6, 8]
    assert ticks(1, 3, whole=True) == [1, 2, 3]


def test_torn_lines_and_losses_that_are_no_number_are_left_out(tmp_path):
    assembly = open_run(tmp_path)
    log_training(stage_of(assembly, "train"), [5.0, float("nan"), 3.0], complete=False)
    with (tmp_path / "train" / ".work" / "model" / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 4, "lo')
    log_training(stage_of(assembly, "selftrain-1"), [2.0, 1.0], complete=True)
    first, second = read_curves(assembly.stages)
    assert (first.stage, first.steps, first.first, first.last) == ("train", 3, 5.0, 3.0)
    assert (second.stage, second.last) == ("selftrain-1", 1.0)


def test_a_validation_has_a_curve_of_its_own_from_its_second_value_on(tmp_path):
    assembly = open_run(tmp_path)
    log_training(stage_of(assembly, "train"), [5.0, 4.0, 3.0, 2.0], complete=False)
    log = tmp_path / "train" / ".work" / "model" / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace('"loss"', '"miou": 0.25, "loss"')
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert [curve.what for curve in read_curves(assembly.stages)] == ["loss"]
    lines[3] = lines[3].replace('"loss"', '"miou": 0.5, "loss"')
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    loss, miou = read_curves(assembly.stages)
    assert (loss.what, loss.begun, loss.steps) == ("loss", 1, 4)
    assert (miou.what, miou.begun, miou.steps, miou.first, miou.last) == ("validation mIoU", 2, 4, 0.25, 0.5)
    assert len(miou.path.split()) == 2
    page = write_html(assembly.config, assembly.stages, []).read_text(encoding="utf-8")
    assert "validation mIoU 0.25 at step 2, 0.5 at step 4" in page
