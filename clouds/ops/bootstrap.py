"""How far scores would move had other images been drawn: a bootstrap over images. It knows no model and no file.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, the percentile interval. A resample draws as many images
as there are, with replacement, adds up their counts and takes the scores of the sum.
"""

import numpy as np

from clouds.ops.confusion import FloatArray, Matrix


def percentile_interval(values_BK: FloatArray, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Between which values this share of the resamples lies in each column, as much below it as above it.

    NaNs are left out; NaN for a column of them.
    """
    low_K, high_K = np.full((2, values_BK.shape[1]), np.nan)
    known_K = ~np.isnan(values_BK).all(axis=0)
    if known_K.any():
        shares = [(1 - level) / 2, (1 + level) / 2]
        low_K[known_K], high_K[known_K] = np.nanquantile(values_BK[:, known_K], shares, axis=0)
    return low_K, high_K


class ImageBootstrap:
    """Resamples images that come in chunks; what it holds does not grow with their number.

    The counts of classes may be followed by others, such as of categories: all are of the same resamples.

    How often an image of a chunk is in a resample is drawn when the chunk comes: first how many draws of the resample
    fall into the chunk (binomial), then on which of its images (multinomial). This is drawing from all images at once.
    The same seed, number of images and chunks give the same draws, whatever the counts: so those of several models on
    one data set are of the same resamples.
    """

    def __init__(self, num_images: int, num_counted: int, resamples: int = 1000, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._images_left = num_images
        self._draws_left_B = np.full(resamples, num_images)
        self._sums_BS = np.zeros((resamples, 3 * num_counted))

    def add(self, counts_N3K: Matrix) -> None:
        """The next images' counts of each class, or whatever is counted, as `class_counts` gives them."""
        count = len(counts_N3K)
        if count > self._images_left:
            raise ValueError(f"{count} images more, but {self._images_left} were left to come")
        drawn_B = self._rng.binomial(self._draws_left_B, count / self._images_left)
        weights_BN = self._rng.multinomial(drawn_B, np.full(count, 1 / count))
        # float64 multiplies much faster than integers, and is exact up to 2^53
        self._sums_BS += weights_BN.astype(np.float64) @ counts_N3K.reshape(count, -1).astype(np.float64)
        self._images_left -= count
        self._draws_left_B -= drawn_B

    def sums(self) -> FloatArray:
        """(3, B, K): the counts of each resample, in the order of `class_counts`."""
        if self._images_left:
            raise ValueError(f"{self._images_left} images are still to come")
        return self._sums_BS.reshape(len(self._sums_BS), 3, -1).swapaxes(0, 1)
