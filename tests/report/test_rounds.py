"""What changed in the labels between rounds, beside the same counted plainly."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_runs import finished_run, stage_of

from clouds.data.images import read_labels, write_labels
from clouds.data.labels import LabelMap
from clouds.report import rounds
from clouds.report.rounds import joint_counts, round_changes

LABELS = LabelMap.of("street11")
PROMPTS = [f"street {number}" for number in range(3)]


@pytest.fixture
def run(tmp_path):
    return finished_run(tmp_path, PROMPTS)


def maps(assembly, name):
    folder = stage_of(assembly, name).artifact.folder
    return {path.relative_to(folder): read_labels(path) for path in sorted(folder.glob("*/*.png"))}


def test_shares_are_those_of_the_pixels(run):
    [change] = round_changes(run.stages, LABELS)
    first, second = (np.stack(list(maps(run, f"refine-{number}").values())) for number in (1, 2))
    assert (change.before, change.after, change.images) == ("refine-1", "refine-2", len(PROMPTS))
    assert change.changed == pytest.approx(np.mean(first != second)) and change.changed > 0
    both = (first != 255) & (second != 255)
    assert change.agreement == pytest.approx(np.mean(first[both] == second[both]))
    for name, (before, after) in change.shares.items():
        one = LABELS.names.index(name)
        assert before == pytest.approx(np.mean(first[first != 255] == one))
        assert after == pytest.approx(np.mean(second[second != 255] == one))
    assert set(change.shares) == {LABELS.names[one] for one in {*first.flat, *second.flat} - {255}}
    assert json.loads(json.dumps(change.json()))["class_shares"].keys() == change.shares.keys()


def test_a_sample_is_looked_at_and_a_damaged_file_is_passed_over(run, monkeypatch):
    folder = stage_of(run, "refine-2").artifact.folder
    (folder / "00000" / "000001.png").write_bytes(b"no png")
    assert round_changes(run.stages, LABELS)[0].images == len(PROMPTS) - 1
    monkeypatch.setattr(rounds, "SHOWN", 2)
    assert round_changes(run.stages, LABELS)[0].images <= 2


def test_equal_labels_agree_and_labels_of_nothing_have_no_agreement(run):
    for path, labels_HW in maps(run, "refine-1").items():
        write_labels(stage_of(run, "refine-2").artifact.folder / path, labels_HW)
    [change] = round_changes(run.stages, LABELS)
    assert (change.changed, change.agreement) == (0.0, 1.0)
    for path, labels_HW in maps(run, "refine-1").items():
        write_labels(stage_of(run, "refine-2").artifact.folder / path, np.full_like(labels_HW, 255))
    [change] = round_changes(run.stages, LABELS)
    assert change.agreement is None and change.changed > 0.5 and "agree" not in change.sentence


def test_one_round_or_no_classes_have_nothing_to_compare(run):
    assert round_changes([stage for stage in run.stages if stage.name != "refine-2"], LABELS) == []
    assert round_changes(run.stages, None) == []


@given(hnp.arrays(np.uint8, (2, 5, 6)), st.permutations(range(256)))
def test_joint_counts_know_only_pairs(pair, order):
    counts = joint_counts(*pair)
    assert counts.sum() == 30
    assert np.array_equal(counts.T, joint_counts(*pair[::-1]))
    table = np.array(order, np.uint8)
    moved = joint_counts(table[pair[0]], table[pair[1]])
    assert np.array_equal(moved[np.ix_(table, table)], counts)
