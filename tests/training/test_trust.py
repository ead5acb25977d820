"""The filters of a config: thresholds, what each wants to know, what it says where it would leave nothing."""

import numpy as np
import pytest

from clouds.config import validate
from clouds.errors import UsageError
from clouds.training.filter_counts import FilterCounts
from clouds.training.trust import (
    ClassLosses,
    ClassLossFilter,
    ClipScoreFilter,
    ConfidenceFilter,
    Evidence,
    SamAgreementFilter,
    Totals,
    ViewAgreementFilter,
)
from pipelines.filter import FilterConfig

LABELS_HW = np.array([[0, 0, 1, 255]], np.uint8)
SEEN = Evidence(
    labels_HW=LABELS_HW,
    pseudo_HW=np.array([[0, 1, 1, 255]], np.uint8),
    confidence_HW=np.array([[255, 51, 128, 255]], np.uint8),
    loss_HW=np.array([[100, 300, 50, 0]], np.uint16),
    votes_HW=np.array([[4, 3, 2, 4]], np.uint8),
    views=4,
    prompt_score=0.25,
)
LOSSES = {
    "generated": ClassLosses(loss_sum_K=np.array([400, 100, 0]), pixels_K=np.array([2, 2, 0])),
    "source": ClassLosses(loss_sum_K=np.array([160, 0, 100]), pixels_K=np.array([2, 0, 2])),
}
TOTALS = Totals(losses=LOSSES, prompt_scores=(-0.1, 0.25, 0.3, 0.31))


@pytest.mark.parametrize(
    ("one", "kept", "best"),
    [
        (ConfidenceFilter(least=0.2), [True, True, True], 1.0),
        (ConfidenceFilter(least=0.21), [True, False, True], 1.0),
        # means 200 and 50
        (ClassLossFilter(), [True, False, True], 0.5),
        (ClassLossFilter(margin=1.5), [True, True, True], 0.5),
        # mean 80 of the one class, and of the other none: nothing tells what is usual for it
        (ClassLossFilter(mean_over="source"), [True, False, True], 0.0),
        (ClassLossFilter(mean_over="source", margin=1.24), [False, False, True], 0.0),
        (SamAgreementFilter(), [True, False, True], 1.0),
        (ViewAgreementFilter(), [True, False, False], 1.0),
        (ViewAgreementFilter(least=0.75), [True, True, False], 1.0),
        (ClipScoreFilter(least=0.25), [True, True, True], 0.25),
        (ClipScoreFilter(least=0.26), [False, False, False], 0.25),
        (ClipScoreFilter(lowest=0.25), [True, True, True], 0.25),
        (ClipScoreFilter(lowest=0.5), [False, False, False], 0.25),
    ],
)
def test_what_each_filter_keeps(one, kept, best):
    np.testing.assert_array_equal(one.keep(SEEN, TOTALS)[0, :3], kept)
    assert one.best(SEEN, TOTALS) == pytest.approx(best)


def test_where_no_pixel_has_a_label_there_is_no_best():
    nothing = Evidence(**{**vars(SEEN), "labels_HW": np.full((1, 4), 255, np.uint8)})
    for one in (ConfidenceFilter(least=0.5), ClassLossFilter(), SamAgreementFilter(), ViewAgreementFilter()):
        assert one.best(nothing, TOTALS) is None


def test_a_hard_image_is_one_of_hard_classes():
    assert TOTALS.hardness([[0, 10, 7]]) == 200
    assert TOTALS.hardness([[0, 10, 7], [1, 30, 0]]) == 87.5
    assert TOTALS.hardness([]) == 0


def test_classes_that_the_source_has_no_pixel_of_make_no_image_easy():
    assert TOTALS.hardness([[0, 10, 7]], "source") == 80
    assert TOTALS.hardness([[0, 10, 7], [1, 30, 0]], "source") == 80
    assert TOTALS.hardness([[0, 10, 7], [1, 30, 0], [2, 30, 0]], "source") == 57.5
    # of an image with nothing else nothing is known: it is as hard as the source's pixels are in the mean
    assert TOTALS.hardness([[1, 30, 0]], "source") == 65
    assert TOTALS.hardness([], "source") == 0


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "give `filters` or `harder`"),
        ({"filters": [{"type": "entropy"}]}, "'entropy'; known: confidence, class_loss, sam_agreement"),
        ({"filters": [{"type": "confidence"}]}, "least"),
        ({"filters": [{"type": "confidence", "least": 1.5}]}, "1.5"),
        ({"filters": [{"type": "confidence", "leats": 0.5}]}, "did you mean 'least'"),
        ({"filters": [{"type": "class_loss", "margin": 0}]}, "greater than 0"),
        ({"filters": [{"type": "class_loss", "mean_over": "real"}]}, "'generated' or 'source'"),
        ({"filters": [{"type": "clip_score"}]}, "either `least`, a score, or `lowest`"),
        ({"filters": [{"type": "clip_score", "least": 0.2, "lowest": 0.1}]}, "either `least`"),
        ({"filters": [{"type": "sam_agreement"}, {"type": "sam_agreement"}]}, "sam_agreement twice"),
        ({"filters": [{"type": "view_agreement"}], "views": {"flip": False, "scales": []}}, "one view"),
        ({"harder": {}, "clip": {"weights": "timm:convnext_atto", "pretrained": "d2_in1k"}}, "no CLIP"),
        ({"harder": {}, "clip": {"weights": "ViT-B-32"}}, "with `pretrained`"),
    ],
)
def test_a_config_that_cannot_be_says_why(tree, said):
    with pytest.raises(UsageError) as raised:
        validate(FilterConfig, tree, "test")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("asked", "meant"), [("clip-score", "clip_score"), ("confidance", "confidence"), ("SAM_agreement", "sam_agreement")]
)
def test_a_filter_that_there_is_not_names_the_nearest(asked, meant):
    with pytest.raises(UsageError, match=f"no filter of the type '{asked}'; did you mean '{meant}'"):
        validate(FilterConfig, {"filters": [{"type": asked, "least": 0.5}]}, "test")


def test_a_filter_without_a_type_is_told_them():
    with pytest.raises(UsageError, match="a filter has a `type`, one of confidence, class_loss"):
        validate(FilterConfig, {"filters": [{"least": 0.5}]}, "test")


@pytest.mark.parametrize(
    ("lowest", "images", "idle"), [(0.1, 7, True), (0.1, 10, False), (0.3, 3, True), (0.0, 3, False), (0.1, 0, False)]
)
def test_a_share_of_few_images_that_is_none_of_them_explains_itself(lowest, images, idle):
    told = ClipScoreFilter(lowest=lowest).idle(images)
    assert bool(told) == idle
    if idle:
        assert f"lowest {lowest:g} of {images} images is less than one image" in told
        assert not ClipScoreFilter(lowest=float(f"{1 / images:.2g}") + 0.01).idle(images), "what it advises helps"
    assert not ClipScoreFilter(least=0.1).idle(images)


def test_only_what_filters_want_is_measured():
    def wants(tree):
        return validate(FilterConfig, tree, "test").wants()

    assert wants({"harder": {}}) == wants({"filters": [{"type": "class_loss"}]}) == {"loss"}
    over_source = {"loss", "source_loss"}
    assert wants({"harder": {"mean_over": "source"}}) == over_source
    assert wants({"filters": [{"type": "class_loss", "mean_over": "source"}], "harder": {}}) == over_source
    assert wants({"filters": [{"type": "confidence", "least": 0.5}]}) == {"confidence"}
    kinds = [{"type": "view_agreement"}, {"type": "clip_score", "lowest": 0.1}, {"type": "sam_agreement"}]
    assert wants({"filters": kinds}) == {"views", "prompt", "pseudo"}


def row(labelled, kept, **alone):
    dropped = {name: {"alone": count, "first": count, "best": best} for name, (count, best) in alone.items()}
    return {"times": int(kept > 0), "classes": [[0, labelled, kept]] if labelled else [], "dropped": dropped}


def counts(filters, *rows):
    return FilterCounts.of(rows, filters, ["road"])


def test_a_filter_that_would_drop_everything_is_named_with_its_threshold_and_the_best_it_saw():
    rows = [row(10, 0, confidence=(10, 0.4)), row(6, 0, confidence=(6, 0.71)), row(0, 0, confidence=(0, None))]
    message, mend = counts([ConfidenceFilter(least=0.9)], *rows).nothing_left()
    assert "'confidence' (least: 0.9) would drop every labelled pixel of 3 images; the highest confidence" in message
    assert message.endswith("seen is 0.71")
    assert "filter.filters" in mend


def test_of_a_loss_the_lowest_is_the_best():
    rows = [row(10, 0, class_loss=(10, 0.4)), row(6, 0, class_loss=(6, 0.71))]
    message, _ = counts([ClassLossFilter(margin=0.1)], *rows).nothing_left()
    assert "lowest loss, as a multiple of its class' mean, seen is 0.4" in message


def test_filters_that_only_together_leave_nothing_are_all_named():
    rows = [row(10, 0, confidence=(4, 0.4), sam_agreement=(6, 1.0))]
    message, _ = counts([ConfidenceFilter(least=0.9), SamAgreementFilter()], *rows).nothing_left()
    assert "together" in message and "'confidence' (least: 0.9) 40%" in message and "'sam_agreement'" in message


def test_labels_that_were_empty_before_are_no_filters_doing():
    assert counts([ConfidenceFilter(least=0.9)], row(0, 0, confidence=(0, None))).nothing_left() is None
    assert counts([], row(5, 5)).nothing_left() is None
    assert counts([], row(5, 5), row(0, 0)).summary("refine-1")["dropped_images"] == 1
