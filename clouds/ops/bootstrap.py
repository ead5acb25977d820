"""How far a mean IoU would move had other images been drawn: a bootstrap over images. It knows no model and no file.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, the percentile interval. A resample draws as many images
as there are, with replacement, adds up their counts and takes the mean IoU of the sum.
"""

import numpy as np

from clouds.ops.confusion import FloatArray, Matrix, mean_iou


class MeanIouBootstrap:
    """Resamples images that come in chunks; what it holds does not grow with their number.

    How often an image of a chunk is in a resample is drawn when the chunk comes: first how many draws of the resample
    fall into the chunk (binomial), then on which of its images (multinomial). This is drawing from all images at once.
    The same seed, number of images and chunks give the same draws, whatever the counts: so those of several models on
    one data set are of the same resamples.
    """

    def __init__(self, num_images: int, num_classes: int, resamples: int = 1000, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._images_left = num_images
        self._draws_left_B = np.full(resamples, num_images)
        self._sums_BS = np.zeros((resamples, 3 * num_classes))

    def add(self, counts_N3K: Matrix) -> None:
        """The next images' counts of each class, as `class_counts` gives them."""
        count = len(counts_N3K)
        if count > self._images_left:
            raise ValueError(f"{count} images more, but {self._images_left} were left to come")
        drawn_B = self._rng.binomial(self._draws_left_B, count / self._images_left)
        weights_BN = self._rng.multinomial(drawn_B, np.full(count, 1 / count))
        # float64 multiplies much faster than integers, and is exact up to 2^53
        self._sums_BS += weights_BN.astype(np.float64) @ counts_N3K.reshape(count, -1).astype(np.float64)
        self._images_left -= count
        self._draws_left_B -= drawn_B

    def means(self) -> FloatArray:
        """The mean IoU of each resample in [0, 1]; NaN for one without any ground truth."""
        if self._images_left:
            raise ValueError(f"{self._images_left} images are still to come")
        resamples = len(self._sums_BS)
        right_BK, truth_BK, predicted_BK = self._sums_BS.reshape(resamples, 3, -1).swapaxes(0, 1)
        return mean_iou(right_BK, truth_BK, predicted_BK)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Between which values this share of the resamples lies, as much below it as above it; NaN without any."""
        means_B = self.means()
        known = means_B[~np.isnan(means_B)]
        if not known.size:
            return float("nan"), float("nan")
        low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)
