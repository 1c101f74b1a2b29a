"""One story as one film that does not tell where it comes from.

Shots follow each other without a gap. Every film is decoded and encoded anew: one size (scaled into a box, black around
it), one frame rate (frames are shown again or dropped, so the speed stays), one encoder, no sound unless asked for, and
none of the tags of its source. What a system's films look like, and their proportions, can of course still be seen.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.shot_media import read_picture
from animeshooter_hf.eval.story_prediction import Picture, ShotSource
from animeshooter_hf.video.reading import FrameCursor, probe, to_rgb
from animeshooter_hf.video.sound import read_audio
from animeshooter_hf.video.writing import VideoWriter

__all__ = ["FRAME_RATE", "common_width", "write_film", "write_reference"]

FRAME_RATE = 24
"""Frames per second of every film. Our choice: the rate of film; what a slower model repeats stays visible."""

SAMPLE_RATE = 44_100
"""Samples per second of the sound."""

_CRF = 20
"""Quality of x264. Our choice: no artefact of our own that raters could see, at about 1 MB for twelve seconds."""

_REFERENCE_SIDE = 640
"""Longer side of a reference in pixels, at most. Our choice: it is shown no larger."""

_WIDEST, _TALLEST = 2.4, 0.5
"""Ends of width / height of the box."""


def common_width(stories: Sequence[Sequence[ShotSource]], height: int) -> int:
    """Return the width of the box of this height that holds the widest first shot.

    Raises:
        InputError: If a first shot cannot be opened.
    """
    ratio = _TALLEST
    for shots in stories:
        info = probe(_file(shots[0]))
        ratio = max(ratio, min(_WIDEST, info.width / info.height))
    return round(height * ratio / 2) * 2


def write_film(
    path: Path,
    shots: Sequence[ShotSource],
    *,
    width: int,
    height: int,
    with_sound: bool = False,
    sounds: Sequence[str | Path | bytes | None] = (),
) -> float:
    """Write the shots as one film and return its length in seconds.

    Args:
        path: Where the mp4 goes.
        shots: Video files, or the bytes of some.
        width: Pixels of the box, even.
        height: The same.
        with_sound: Keep the sound; a shot without any is silent, so that every film has a track.
        sounds: Sound of each shot where it is not inside the clip; empty if it always is.

    Raises:
        InputError: If a shot or its own sound cannot be read, or is an array (which has no speed).
    """
    seconds = Fraction(0)
    frames_written = samples_written = 0
    writer = VideoWriter(path, width, height, FRAME_RATE, crf=_CRF, sample_rate=SAMPLE_RATE if with_sound else None)
    with writer:
        for shot, sound in zip(shots, sounds or (None,) * len(shots), strict=True):
            source = _file(shot)
            with FrameCursor(source) as cursor:
                index = cursor.index
                length = Fraction(index.seconds(len(index))).limit_denominator(10**6)
                for ordinal, frame in cursor.frames(0, len(index)):
                    # A frame is shown until the next one; the ends of shots fall on the grid of the whole film.
                    until = round((seconds + Fraction(index.seconds(ordinal + 1))) * FRAME_RATE)
                    if until > frames_written:
                        image = _boxed(to_rgb(frame), width, height)
                    while frames_written < until:
                        writer.write_frame(image)
                        frames_written += 1
            seconds += length
            if with_sound:
                upto = round(seconds * SAMPLE_RATE)
                writer.write_audio(_sound(source, sound, float(length), upto - samples_written))
                samples_written = upto
    return frames_written / FRAME_RATE


def write_reference(path: Path, picture: Picture) -> None:
    """Write a reference as a PNG without tags, a cut-out on white.

    Raises:
        InputError: If it cannot be read.
    """
    pixels = read_picture(picture)
    image = Image.fromarray(pixels)
    if pixels.shape[2] == 4:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")
    image.thumbnail((_REFERENCE_SIDE, _REFERENCE_SIDE), Image.Resampling.LANCZOS)
    Image.fromarray(np.asarray(image)).save(path, format="PNG", optimize=True)


def _file(shot: ShotSource) -> str | Path | bytes:
    if isinstance(shot, np.ndarray):
        raise InputError("A study needs video files; frames in memory have no speed.")
    return shot


def _boxed(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return the picture scaled into a box, in its middle, on black."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, min(width, round(image.shape[1] * scale))), max(1, min(height, round(image.shape[0] * scale))))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if size == (width, height):
        return np.asarray(scaled, dtype=np.uint8)
    boxed = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    boxed[top : top + size[1], left : left + size[0]] = scaled
    return boxed


def _sound(
    clip: str | Path | bytes, own: str | Path | bytes | None, seconds: float, num_samples: int
) -> NDArray[np.float32]:
    """Return stereo sound of exactly so many samples; silence for a clip that has none."""
    sound_CT = np.zeros((2, num_samples), np.float32)
    if own is None and not probe(clip).has_audio:
        return sound_CT
    found_CT, _ = read_audio(clip if own is None else own, end_seconds=seconds, sample_rate=SAMPLE_RATE)
    kept = min(num_samples, found_CT.shape[1])
    sound_CT[:, :kept] = found_CT[:2, :kept]
    return sound_CT
