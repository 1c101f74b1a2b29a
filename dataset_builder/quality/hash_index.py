"""Find near hashes among very many: pairs of 64-bit hashes that differ in few bits, without comparing all with all.

A hash is divided into four bands of 16 bits, each gathered from the whole hash. If two hashes differ in at most 7
bits, one of the four bands differs in at most one bit (7 < 4 x 2), so looking up each band and its 16 neighbours at one
bit finds every such pair. Where very many hashes share a band, as a common title card makes them, a hash is compared
with the nearest `max_neighbours` in the order of the remaining bits only, so that the work grows with the number of
hashes and not with its square.

Source: M. Norouzi, A. Punjani, D. Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_DISTANCE", "near_pairs"]

MAX_DISTANCE = 7
"""Bits within which every pair is found."""

_BANDS, _BAND_BITS = 4, 16
_CHUNK = 1 << 22


def near_pairs(
    hashes: NDArray[np.uint64], owners: NDArray[np.int64], *, max_distance: int = 7, max_neighbours: int = 32
) -> NDArray[np.int64]:
    """Return the pairs of hashes of different owners that differ in at most `max_distance` bits.

    Args:
        hashes: Shape (N,).
        owners: Shape (N,); pairs of one owner are left out.
        max_distance: Bits, 0 to 7.
        max_neighbours: Hashes of one band that a hash is compared with.

    Returns:
        Shape (pairs, 2): positions, the smaller first, each pair once, in order.

    Raises:
        ValueError: If the distance or the shapes do not fit.
    """
    if not 0 <= max_distance <= MAX_DISTANCE:
        raise ValueError(f"max_distance must lie between 0 and {MAX_DISTANCE}, got {max_distance}.")
    if hashes.ndim != 1 or hashes.shape != owners.shape:
        raise ValueError(f"hashes and owners must be lists of equal length, got {hashes.shape} and {owners.shape}.")
    found = [np.zeros(0, np.int64)]
    for band in range(_BANDS):
        turned = _band_first(hashes, band)
        order = np.argsort(turned, kind="stable")
        for one, other in _candidates(turned[order], max_neighbours):
            first, second = order[one], order[other]
            near = np.bitwise_count(hashes[first] ^ hashes[second]) <= max_distance
            near &= owners[first] != owners[second]
            first, second = first[near], second[near]
            found.append(np.minimum(first, second) * len(hashes) + np.maximum(first, second))
    keys = np.unique(np.concatenate(found))
    return np.stack([keys // max(1, len(hashes)), keys % max(1, len(hashes))], axis=1)


def _band_first(hashes: NDArray[np.uint64], band: int) -> NDArray[np.uint64]:
    """Return the hashes with their bits in another order: every fourth bit, from the band's number on, comes first."""
    turned = np.zeros_like(hashes)
    places = [bit for step in range(_BANDS) for bit in range((band + step) % _BANDS, 64, _BANDS)]
    for target, source in enumerate(places):
        turned |= ((hashes >> np.uint64(source)) & np.uint64(1)) << np.uint64(63 - target)
    return turned


def _candidates(
    ordered: NDArray[np.uint64], max_neighbours: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield positions in `ordered` whose first bands are equal or differ in one bit, in chunks of bounded size."""
    shift = np.uint64(64 - _BAND_BITS)
    bands = (ordered >> shift).astype(np.int64)
    starts = np.searchsorted(bands, np.arange((1 << _BAND_BITS) + 1))
    here = np.arange(len(ordered))
    yield from _expand(here, here + 1, np.minimum(starts[bands + 1], here + 1 + max_neighbours))
    for bit in range(_BAND_BITS):
        asking = here[(bands >> bit) & 1 == 0]
        other = bands[asking] | (1 << bit)
        low, high = starts[other], starts[other + 1]
        middle = np.searchsorted(ordered, ordered[asking] ^ (np.uint64(1 << bit) << shift))
        begin = np.maximum(low, np.minimum(middle - max_neighbours // 2, high - max_neighbours))
        yield from _expand(asking, begin, np.minimum(high, begin + max_neighbours))


def _expand(
    asking: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (who asks, whom) for every position in the half-open range of each."""
    counts = np.maximum(end - begin, 0)
    asking, begin, counts = asking[counts > 0], begin[counts > 0], counts[counts > 0]
    sums = np.concatenate(([0], np.cumsum(counts)))
    first = 0
    while first < len(asking):
        last = max(first + 1, int(np.searchsorted(sums, sums[first] + _CHUNK, side="right")) - 1)
        some = counts[first:last]
        offsets = np.arange(int(some.sum())) - np.repeat(sums[first:last] - sums[first], some)
        yield np.repeat(asking[first:last], some), np.repeat(begin[first:last], some) + offsets
        first = last
