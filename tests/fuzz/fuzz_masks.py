"""Fuzz the codec of run-length masks against pycocotools, and the fast count against the decoder.

Targets
    rle_text     any text: decoded or refused; the same number of pixels by both ways; back to the same runs
    rle_runs     any runs: encoded as pycocotools encodes them, and decoded again
    rle_array    any picture: the same text by our codec and by pycocotools, the same picture back

    python tests/fuzz/fuzz_masks.py --runs 1000000 --seed 1
"""

import sys

import numpy as np
from harness import Target, main
from pycocotools import mask as coco

from animeshooter_hf.dataset_builder.release.masks import count_pixels
from animeshooter_hf.masks import RleMask, decode_runs, encode_runs

SIDES = [(1, 1), (4, 4), (7, 5), (16, 9), (64, 36), (1, 300), (300, 1), (720, 720)]
MOST_PIXELS = 1 << 28


def check_text(data: bytes) -> str:
    """Decode a text; the first byte chooses the mask's size, and whether the rest is moved into the codec's letters."""
    height, width = SIDES[data[0] % len(SIDES)] if data else (4, 4)
    body = data[1:]
    if data and data[0] & 0x80:
        body = bytes(48 + byte % 64 for byte in body)
    text = body.decode("latin-1")
    pixels = height * width
    for limit in (pixels, MOST_PIXELS):
        try:
            runs = decode_runs(text, limit=limit)
        except ValueError:
            assert count_pixels(text, limit=limit) is None, "the fast count takes what the decoder refuses"
            runs = []
        else:
            assert count_pixels(text, limit=limit) == sum(runs)
            assert decode_runs(encode_runs(runs), limit=limit) == runs
    mask = RleMask(height, width, text)
    if not mask.is_valid:
        return "decoded" if runs else "refused"
    ours, theirs = mask.to_array(coco=None), mask.to_array(coco=coco)
    assert np.array_equal(ours, theirs)
    assert mask.area == int(ours.sum())
    return "a mask"


def check_runs(data: bytes) -> str:
    """Encode runs: two bytes each, made to add up to a mask that is one pixel wide."""
    numbers = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data) - 1, 2)] or [1]
    height = sum(numbers)
    text = encode_runs(numbers)
    assert decode_runs(text, limit=max(height, 1)) == numbers
    assert count_pixels(text, limit=max(height, 1)) == height
    if height == 0:
        return "no pixel"
    theirs = coco.frPyObjects({"size": [height, 1], "counts": numbers}, height, 1)["counts"].decode()
    assert text == theirs, (text, theirs)
    return "runs"


def check_array(data: bytes) -> str:
    """Encode a picture of the bytes' bits."""
    height = 1 + (data[0] if data else 0) % 31
    bits = np.unpackbits(np.frombuffer(data[1:] or b"\0", np.uint8))
    width = max(1, len(bits) // height)
    picture = np.resize(bits, (height, width)).astype(bool)
    ours, theirs = RleMask.from_array(picture, coco=None), RleMask.from_array(picture, coco=coco)
    assert ours == theirs
    assert np.array_equal(ours.to_array(coco=None), picture)
    assert count_pixels(ours.counts, limit=height * width) == height * width
    return "picture"


TOKENS = [b"0`0", b"o", b"P", b"\x7f", b"oooooo?", b"`" * 7, b"p", b"placeholder"]
TARGETS = [
    Target(
        name="rle_text",
        check=check_text,
        seeds=[b"\x010`0", b"\x81abc", b"\x04" + RleMask.from_array(np.eye(64, 36, dtype=bool)).counts.encode(), b""],
        tokens=TOKENS,
        max_input_bytes=512,
    ),
    Target(name="rle_runs", check=check_runs, seeds=[b"\1\0\2\0\3\0", b"\xff\xff\0\0\1\0", b""], max_input_bytes=128),
    Target(name="rle_array", check=check_array, seeds=[b"\4\xf0\x0f", bytes(range(64)), b""], max_input_bytes=256),
]

if __name__ == "__main__":
    sys.exit(main(__doc__, TARGETS))
