"""Frames of a clip equal those of `read_frames` to the bit, in whatever order they are asked for."""

import io
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.clip_decoder import ClipCache, ClipDecoder
from animeshooter_hf.video import read_frames
from animeshooter_hf.video.reading import to_rgb

SAMPLE = Path(__file__).parents[3] / "shared" / "release-sample" / "demos"
NUM_FRAMES = 40


def encode(
    codec: str, container_format: str, pixels: str = "yuv420p", gaps: bool = False, flags: str = "", **options: str
) -> bytes:
    """A clip in which something moves before a ground that rolls."""
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8), (9, 9), 3)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_format, options={"movflags": flags} if flags else {}) as container:
        stream: Any = container.add_stream(codec, rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, pixels
        for number in range(NUM_FRAMES):
            image = np.roll(ground, (number, 2 * number), (0, 1))
            image[10:40, number : number + 30] = (number * 6, 40, 200)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = number + (number // 7 if gaps else 0), Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


ENCODINGS: dict[str, dict[str, Any]] = {
    "one group with pictures in both directions": {"codec": "libx264", "container_format": "mp4", "bf": "3"},
    "short groups": {"codec": "libx264", "container_format": "mp4", "g": "7", "bf": "2"},
    "open groups": {"codec": "libx264", "container_format": "mp4", "x264-params": "keyint=9:open-gop=1:bframes=3"},
    "no pictures in both directions": {"codec": "libx264", "container_format": "mp4", "bf": "0"},
    "full colour and a varying rate": {
        "codec": "libx264", "container_format": "mp4", "pixels": "yuv444p", "gaps": True, "bf": "2",
    },
    "a transport stream": {"codec": "libx264", "container_format": "mpegts", "g": "10"},
    "another codec": {"codec": "mpeg4", "container_format": "mp4", "bf": "2"},
}  # fmt: skip


@pytest.mark.parametrize("name", ENCODINGS)
def test_random_requests_give_the_frames_of_a_plain_read(name: str) -> None:
    clip = encode(**ENCODINGS[name])
    expected = read_frames(clip, range(NUM_FRAMES))
    decoder = ClipDecoder(clip)
    assert len(decoder) == NUM_FRAMES
    rng = random.Random(0)
    for _ in range(40):
        if rng.random() < 0.5:
            start = rng.randrange(NUM_FRAMES)
            indices = list(range(start, rng.randrange(start, NUM_FRAMES) + 1))
        else:
            indices = [rng.randrange(NUM_FRAMES) for _ in range(rng.randrange(1, 8))]
        np.testing.assert_array_equal(decoder.read(indices), expected[indices])
    assert decoder.read([]).shape == (0, 96, 128, 3)
    decoder.close()


def test_pictures_that_no_other_refers_to_are_left_out_on_the_way() -> None:
    decoder = ClipDecoder(encode(**ENCODINGS["one group with pictures in both directions"]))
    decoder.read([NUM_FRAMES - 1])
    assert decoder.num_decoded < NUM_FRAMES * 3 // 4


def test_reading_on_decodes_no_frame_twice() -> None:
    decoder = ClipDecoder(encode(**ENCODINGS["one group with pictures in both directions"]))
    for start in range(0, NUM_FRAMES, 8):
        decoder.read(range(start, start + 8))
    assert decoder.num_decoded == NUM_FRAMES


def test_the_demo_clips_of_the_release_are_read_to_the_bit() -> None:
    if not SAMPLE.is_dir():
        pytest.skip("the release's sample is not here")
    clip = next(iter(sorted(SAMPLE.glob("*/*.mp4")))).read_bytes()
    decoder = ClipDecoder(clip)
    for indices in (range(20, 36), [4, 14, 24, 34, 44], [0], range(36, 40)):
        np.testing.assert_array_equal(decoder.read(indices), read_frames(clip, indices))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv444p", "yuv420p10le", "gray", "rgb24", "rgba"])
def test_a_kept_converter_gives_the_same_pixels_as_a_new_one(pixels: str) -> None:
    rng = np.random.default_rng(1)
    for width, height in ((64, 48), (66, 50), (322, 182)):
        frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (height, width, 3), np.uint8), "rgb24").reformat(
            format=pixels
        )
        expected = frame.to_ndarray(format="rgb24")
        np.testing.assert_array_equal(to_rgb(frame), expected)
        out = np.zeros_like(expected)
        assert to_rgb(frame, out) is out
        np.testing.assert_array_equal(out, expected)


def test_a_clip_that_loses_its_end_gives_the_frames_before_it() -> None:
    clip = encode("libx264", "mp4", flags="frag_keyframe+empty_moov", g="10", bf="0")
    cut = clip[: len(clip) * 2 // 3]
    decoder = ClipDecoder(cut)
    whole = read_frames(clip, range(10))
    np.testing.assert_array_equal(decoder.read(range(10)), whole)
    with pytest.raises(InputError, match="does not lie in the clip"):
        decoder.read([NUM_FRAMES - 1])


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be read as a video"):
        ClipDecoder(b"nothing of the kind")


def test_a_clip_that_fails_while_borrowed_is_not_kept() -> None:
    cache = ClipCache(4, 1 << 30)
    clip = encode(**ENCODINGS["short groups"])
    with pytest.raises(InputError, match="frame 99"), cache.borrow("a", lambda: clip) as decoder:
        decoder.read([99])
    assert len(cache) == 0
    with cache.borrow("a", lambda: clip) as decoder, cache.borrow("a", lambda: clip) as other:
        assert decoder is not other
    assert (len(cache), cache.counts.opened) == (1, 3)
