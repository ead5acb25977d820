"""The appraisal of mask models is fair: perfect masks score 1, blobs score little, and it repeats itself."""

import numpy as np
import pytest
from mask_models import FullSize, WildMasks
from small_corpus import RenderedCorpus

from clouds.ops.mask_model import MaskCandidates
from clouds.pretraining.appraisal_promptable import appraise_masks

CORPUS = RenderedCorpus(3)
KINDS = ("point", "points", "box")


class Objects(FullSize):
    """Knows the objects: answers with the one that most points lie on, or whose box fits best."""

    def __init__(self, objects_HW, place=0):
        self.objects_HW, self.place, self.shape = objects_HW, place, objects_HW.shape

    def predict(self, prompts, previous_NHW):
        logits = np.full((len(prompts), 3, *self.objects_HW.shape), -1, np.float32)
        for number, prompt in enumerate(prompts):
            logits[number, self.place][self.objects_HW == self.asked(prompt)] = 1
        quality = np.tile(np.array([0.9, 0.5, 0.1], np.float32), (len(prompts), 1))
        return MaskCandidates(logits, quality)

    def asked(self, prompt):
        if len(prompt.points_NXY):
            x, y = prompt.points_NXY.T
            return np.bincount(self.objects_HW[y, x]).argmax()
        return max(np.unique(self.objects_HW), key=lambda number: self.fit(number, prompt.box_XYXY))

    def fit(self, number, box_XYXY):
        rows, columns = np.nonzero(self.objects_HW == number)
        return -np.abs(np.array([columns.min(), rows.min(), columns.max(), rows.max()]) - box_XYXY).sum()


def appraised(place=0, **options):
    seen = iter(range(3))
    return appraise_masks(lambda image: Objects(CORPUS.instances(next(seen)), place), CORPUS, 3, **options)


def test_perfect_masks_score_one():
    scores = appraised()
    for kind in ("point", "points"):
        assert scores[kind] == scores[f"{kind}_best"] == scores[f"{kind}_small"] == scores[f"{kind}_large"] == 1.0
    # two objects may share a box
    assert scores["box"] > 0.95
    assert scores["refined"] > 0.9 > scores["component"] > 0.5


def test_a_model_that_gives_back_what_it_is_shown_wins_nothing_by_refining():
    class Echo(Objects):
        def predict(self, prompts, previous_NHW):
            answers = super().predict(prompts, previous_NHW)
            if previous_NHW is not None:
                answers.logits_NCHW[:] = previous_NHW[:, None]
            return answers

    seen = iter(range(3))
    scores = appraise_masks(lambda image: Echo(CORPUS.instances(next(seen))), CORPUS, 3)
    assert scores["refined_shown"] == pytest.approx(scores["component"])
    assert scores["refined"] > scores["refined_shown"]


def test_a_model_that_misjudges_its_own_masks_is_told_from_one_that_cannot_make_them():
    scores = appraised(place=1)
    assert scores["point_best"] == 1.0
    assert scores["point"] == 0.0


def test_blobs_score_little():
    scores = appraise_masks(lambda image: WildMasks((64, 128), 0), CORPUS, 3)
    assert all(scores[kind] < 0.2 for kind in KINDS)
    assert all(scores[kind] <= scores[f"{kind}_best"] for kind in KINDS)


def test_it_repeats_itself_and_small_objects_can_be_left_out():
    assert appraised(seed=4) == appraised(seed=4)
    assert appraised(seed=4)["component"] != appraised(seed=5)["component"]
    assert "point_small" not in appraised(min_area=100)


def test_there_must_be_something_to_appraise_with():
    with pytest.raises(ValueError, match="no object"):
        appraised(min_area=10**6)
