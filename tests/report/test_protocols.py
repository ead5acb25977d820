"""The words for how scores came about, of every protocol and of scores that older versions wrote."""

import numpy as np
import pytest

from clouds.models.protocol import ProtocolConfig
from clouds.ops.confusion import confusion_matrix
from clouds.report.protocols import protocol_lines, protocol_note, protocol_words
from clouds.report.tables import class_table
from clouds.scoring.scores import scores_json


def protocol(images=3, failed=0, **values):
    return {"images": images, "failed": failed, **ProtocolConfig(**values).describe()}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "as stored, whole image"),
        ({"short_edge": 1024}, "short edge 1024, whole image"),
        ({"size": (512, 1024), "window": (512, 512), "stride": (426, 426)},
         "resized to 512x1024, windows of 512x512 at strides of 426x426"),
        ({"window": (8, 100)}, "as stored, windows of 8x100 at strides of 6x75"),
        ({"flip": True}, "as stored, whole image, mean with the mirrored image"),
        ({"scales": (0.5,)}, "as stored, whole image, scale 0.5"),
        ({"scales": (0.5, 1, 1.75)}, "as stored, whole image, mean of scales 0.5, 1, 1.75"),
        ({"scales": (0.5, 1), "flip": True}, "as stored, whole image, mean of scales 0.5, 1, each also mirrored"),
    ],
)  # fmt: skip
def test_every_protocol_has_its_words(values, words):
    assert protocol_words(protocol(**values)) == f"{words}, compared at label resolution"


def test_scores_of_an_older_version_have_theirs():
    old = {"images": 3, "failed": 1, "short_edge": None, "windows": "whole image", "compared_at": "label resolution"}
    assert protocol_note(old) == "3 images, 1 failed, as stored, whole image, compared at label resolution"


@pytest.mark.parametrize(
    ("form", "held"),
    [("labels", "the run's ids"), ("cityscapes", "Cityscapes' original ids"), ("acdc", "Cityscapes' train ids")],
)
def test_files_have_their_words(form, held):
    protocol = {"predictions": "theirs", "form": form, "images": 3, "failed": 0, "compared_at": "label resolution"}
    told = f"3 images, theirs read from files of {held}, compared at label resolution"
    assert protocol_note(protocol) == told


def test_each_distinct_protocol_is_told_once():
    first = {"fog": {"protocol": protocol()}, "night": {"protocol": protocol(2, 1)}}
    second = {"fog": {"protocol": protocol()}, "rain": {"protocol": protocol(flip=True)}}
    assert protocol_lines([first, second]) == [
        "fog (3 images), night (2 images, 1 failed): as stored, whole image, compared at label resolution",
        "rain (3 images): as stored, whole image, mean with the mirrored image, compared at label resolution",
    ]
    assert protocol_lines([]) == []


def test_the_table_of_classes_ends_with_its_protocols_and_the_constant_predictions():
    result = scores_json(confusion_matrix(np.array([[0, 0]]), np.array([[0, 1]]), 2, 255), ["sky", "car"])
    results = {name: {**result, "protocol": protocol(short_edge=8)} for name in ("fog", "night")}
    assert class_table(results, ["sky", "car"]).split("\n\n")[1].splitlines() == [
        "- fog (3 images), night (3 images): short edge 8, whole image, compared at label resolution",
        "- fog: sky everywhere would score 25.0",
        "- night: sky everywhere would score 25.0",
    ]
