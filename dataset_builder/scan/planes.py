"""A decoded frame as a few thousand bytes: small planes of luma and colour, straight from the decoder's planes.

No picture is converted to RGB for this. A row holds the luma as 64x36 and the two colour planes as 32x18, whatever the
film's size and aspect, so that distances mean the same in every film.

Shape letters used below
    N frames    D bytes of a row (3456)
"""

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

__all__ = [
    "CHROMA_SIZE",
    "LUMA_SIZE",
    "ROW_BYTES",
    "distances",
    "fill_row",
    "kept_texture",
    "luma_spread",
    "small_luma",
]

LUMA_SIZE = (64, 36)
"""Width and height of the luma in a row."""

CHROMA_SIZE = (32, 18)
"""Width and height of each colour plane in a row."""

_LUMA, _CHROMA = LUMA_SIZE[0] * LUMA_SIZE[1], CHROMA_SIZE[0] * CHROMA_SIZE[1]
ROW_BYTES = _LUMA + 2 * _CHROMA
"""Bytes of a row."""

_CHROMA_WEIGHT = 1.2
_MIDDLE_SIZE = (256, 144)
_PLAIN_FORMATS = frozenset({"yuv420p", "yuvj420p"})
_WEIGHTS = np.concatenate(
    [np.full(_LUMA, 1 / _LUMA), np.full(2 * _CHROMA, _CHROMA_WEIGHT / (2 * _CHROMA))]
).astype(np.float32)  # fmt: skip
_BLOCK = 512
_TEXTURE, _SAME_TEXTURE, _LEAST_TEXTURED = 4.0, 0.35, 8


def fill_row(frame: av.VideoFrame, row_D: NDArray[np.uint8], reformatter: VideoReformatter) -> None:
    """Write the small planes of a frame into a row; what is no 8-bit 4:2:0 picture is made one by the reformatter."""
    picture = _as_planes(frame, reformatter)
    width, height = picture.width, picture.height
    cv2.resize(
        small_luma(picture, reformatter),
        LUMA_SIZE,
        row_D[:_LUMA].reshape(LUMA_SIZE[::-1]),
        interpolation=cv2.INTER_AREA,
    )
    half_width, half_height = (width + 1) // 2, (height + 1) // 2
    how = cv2.INTER_AREA if half_height <= _MIDDLE_SIZE[1] else cv2.INTER_LINEAR
    for number in (1, 2):
        start = _LUMA + (number - 1) * _CHROMA
        target = row_D[start : start + _CHROMA].reshape(CHROMA_SIZE[::-1])
        cv2.resize(_plane(picture, number, half_width, half_height), CHROMA_SIZE, target, interpolation=how)


def small_luma(frame: av.VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """Return the luma of a frame, that of a large one as 256x144.

    Averaging every pixel of a large plane would cost more than the rest of the pass; four samples for a pixel do.
    """
    picture = _as_planes(frame, reformatter)
    luma = _plane(picture, 0, picture.width, picture.height)
    if picture.height <= 2 * _MIDDLE_SIZE[1]:
        return luma
    return np.asarray(cv2.resize(luma, _MIDDLE_SIZE, interpolation=cv2.INTER_LINEAR), np.uint8)


def distances(first_ND: NDArray[np.uint8], second_ND: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how far rows lie apart, in grey levels: the mean difference of the luma plus 1.2 times that of colour.

    Args:
        first_ND: Rows.
        second_ND: As many rows, or one that is compared with each of `first_ND`.
    """
    if len(second_ND) != len(first_ND):
        second_ND = np.broadcast_to(second_ND, first_ND.shape)
    found = np.empty(len(first_ND), np.float32)
    for start in range(0, len(first_ND), _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = cv2.absdiff(first_ND[part], np.ascontiguousarray(second_ND[part])).astype(np.float32) @ _WEIGHTS
    return found


def luma_spread(row_D: NDArray[np.uint8]) -> float:
    """Return the mean deviation of a row's luma from its mean, in grey levels: how much there is to see."""
    luma = row_D[:_LUMA].astype(np.float32)
    return float(np.abs(luma - luma.mean()).mean())


def kept_texture(first_D: NDArray[np.uint8], second_D: NDArray[np.uint8]) -> float:
    """Return which share of the textured blocks of the luma is the same in two rows; 0 where hardly any has texture.

    A figure that moves leaves the texture behind it as it was; a cut or a moving camera leaves none. Blocks are 4x4.
    """
    first, second = _blocks(first_D), _blocks(second_D)
    texture = np.maximum(first.std(axis=1), second.std(axis=1))
    textured = texture > _TEXTURE
    if int(textured.sum()) < _LEAST_TEXTURED:
        return 0.0
    change = np.abs(first - second).mean(axis=1)
    return float((change[textured] < _SAME_TEXTURE * texture[textured]).mean())


def _blocks(row_D: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the luma of a row as blocks, shape (144, 16)."""
    width, height = LUMA_SIZE
    blocks = row_D[:_LUMA].reshape(height // 4, 4, width // 4, 4).transpose(0, 2, 1, 3)
    return blocks.reshape(-1, 16).astype(np.float32)


def _as_planes(frame: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
    return frame if frame.format.name in _PLAIN_FORMATS else reformatter.reformat(frame, format="yuv420p")


def _plane(frame: av.VideoFrame, number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return a view of a plane without its padding."""
    plane = frame.planes[number]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, :width]
