"""ClassMix: some classes of a labelled image are pasted onto another. It knows no model and no augmentation.

Olsson et al. 2021 (arXiv 2007.07936); across domains, from a labelled source onto an unlabelled image, DACS (arXiv
2007.08702), which DAFormer and CLUDA took over.
"""

import math

import numpy as np
from numpy.typing import NDArray


def pasted_pixels(
    labels_HW: NDArray[np.uint8], rng: np.random.Generator, share: float = 0.5, ignore: int = 255
) -> NDArray[np.bool_]:
    """Where a labelled image is pasted: the pixels of a share of its classes, drawn without replacement.

    Args:
        labels_HW: class ids; those that are `ignore` are no class, are never drawn and never pasted.
        share: of the classes that the image has, in [0, 1]; rounded up, so that half of three classes are two.

    Returns:
        Booleans of the same shape; none is true where there is no class, or the share is 0.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"the share of classes is {share}: it lies in [0, 1]")
    classes = np.unique(labels_HW)
    classes = classes[classes != ignore]
    # 0.1 times 30 is a little more than 3
    count = math.ceil(round(share * len(classes), 9))
    return np.isin(labels_HW, rng.choice(classes, size=count, replace=False))
