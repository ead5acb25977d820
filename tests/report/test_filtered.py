"""What is told of filters: shares of the right whole, in every form."""

import pytest

from clouds.report.filtered import class_shares, counts_text, filter_sentence, filter_table

SUMMARY = {
    "labels": "refine-1",
    "images": 1200,
    "dropped_images": 30,
    "drawn_in_a_round": 1170,
    "labelled_pixels": 1000,
    "kept_pixels": 640,
    "filters": [
        {"type": "confidence", "setting": "least: 0.8", "alone_pixels": 300, "first_pixels": 300, "best": 1.0},
        {"type": "sam_agreement", "setting": "the same label", "alone_pixels": 100, "first_pixels": 60, "best": 1.0},
    ],
    "classes": {
        "road": {"labelled_pixels": 750, "kept_pixels": 600},
        "person": {"labelled_pixels": 250, "kept_pixels": 40},
    },
}


def test_filters_are_told_by_what_they_drop_alone_and_after_others():
    header, rows = filter_table(SUMMARY)
    assert header == ["filter", "setting", "dropped alone", "dropped after those above"]
    assert rows == [
        ["confidence", "least: 0.8", "30.0%", "30.0%"],
        ["sam_agreement", "the same label", "10.0%", "6.0%"],
    ]


def test_a_class_that_suffers_is_seen():
    assert class_shares(SUMMARY)[1] == [["road", "75.0%", "80.0%"], ["person", "25.0%", "16.0%"]]


@pytest.mark.parametrize(("drawn", "times"), [(1170, ""), (9000, "; in a round of draws they come 9,000 times")])
def test_a_sentence_says_what_is_left(drawn, times):
    said = filter_sentence({**SUMMARY, "drawn_in_a_round": drawn})
    assert said == (f"Of the labelled pixels of refine-1, 64.0% are kept; of 1,200 images 30 are dropped whole{times}.")


def test_without_filters_or_labels_nothing_breaks():
    empty = {**SUMMARY, "filters": [], "classes": {}, "labelled_pixels": 0, "kept_pixels": 0}
    text = counts_text(empty)
    assert "- are kept" in text and "filter |" not in text
    assert "30.0%" in counts_text(SUMMARY)
