"""Mask models that are plain functions of the prompt, for the tests of the refinement."""

import numpy as np

from clouds.ops.components import connected_components
from clouds.ops.mask_model import MaskCandidates


class FullSize:
    """The half all of them share: logits at the image's own size, `shape` where masks are to be shown."""

    def shown(self, regions, images=()):
        logits_NHW = np.full((len(regions), *self.shape), -1, np.float32)
        for number, region in enumerate(regions):
            logits_NHW[number][region.window][region.mask_HW] = 1
        return logits_NHW

    def masks(self, logits_NHW, images=()):
        yield from logits_NHW > 0


class PerfectMasks(FullSize):
    """Gives, for points on a segment of the true label map, that segment: the one most of the points lie on."""

    def __init__(self, truth_HW, connectivity=8):
        self.shape = truth_HW.shape
        regions = connected_components(truth_HW, connectivity=connectivity)
        self.segments_HW = np.full(truth_HW.shape, -1)
        for number, region in enumerate(regions):
            self.segments_HW[region.window][region.mask_HW] = number

    def predict(self, prompts, previous_NHW):
        masks = []
        for prompt in prompts:
            x, y = prompt.points_NXY.T
            numbers, counts = np.unique(self.segments_HW[y, x], return_counts=True)
            masks.append(self.segments_HW == numbers[counts.argmax()])
        logits_N1HW = np.where(np.stack(masks), 1, -1).astype(np.float32)[:, None]
        return MaskCandidates(logits_N1HW, np.full((len(prompts), 1), 0.9, np.float32))


class ScriptedMasks(FullSize):
    """Answers each call with the next of the given (masks_NCHW, quality_NC), and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.shape = np.shape(self.answers[0][0])[2:] if answers else ()

    def predict(self, prompts, previous_NHW):
        self.asked.append((list(prompts), previous_NHW))
        masks_NCHW, quality_NC = self.answers.pop(0)
        logits = np.where(np.asarray(masks_NCHW, bool), 1, -1).astype(np.float32)
        return MaskCandidates(logits, np.asarray(quality_NC, np.float32))


class WildMasks(FullSize):
    """Three arbitrary blobs per prompt, a function of its points (and of the mask shown) alone, with coarse scores."""

    def __init__(self, shape, seed):
        self.shape, self.seed = shape, seed

    def predict(self, prompts, previous_NHW):
        logits = np.full((len(prompts), 3, *self.shape), -1, np.float32)
        quality = np.zeros((len(prompts), 3), np.float32)
        for number, prompt in enumerate(prompts):
            shown = 0 if previous_NHW is None else 1 + int((previous_NHW[number] > 0).sum())
            rng = np.random.default_rng([self.seed, shown, *prompt.points_NXY.ravel().tolist()])
            for choice in range(3):
                rows, columns = (np.sort(rng.integers(0, side + 1, 2)) for side in self.shape)
                logits[number, choice, slice(*rows), slice(*columns)] = 1
                # few different scores, so that ties happen
                quality[number, choice] = rng.integers(0, 4) / 4
        return MaskCandidates(logits, quality)
