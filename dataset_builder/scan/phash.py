"""A 64-bit perceptual hash of a picture: the signs of its slowest cosine waves.

Copies that were scaled, encoded anew or made a little brighter differ in a few bits, unlike pictures in about 32.
It is the usual DCT hash (the picture as 32x32 grey values, the 8x8 slowest waves without the mean, compared with their
median), written here because the usual package brings SciPy and PyWavelets along.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["perceptual_hash"]

_SIDE, _KEPT = 32, 8
_BITS = np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64))


def perceptual_hash(grey: NDArray[np.uint8]) -> int:
    """Return the hash of a picture as a number of 64 bits.

    Args:
        grey: Grey values, shape (height, width).
    """
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(small.astype(np.float32))[:_KEPT, :_KEPT].ravel()
    waves[0] = 0.0
    return int((_BITS * (waves > np.median(waves)).astype(np.uint64)).sum())
