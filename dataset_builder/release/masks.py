"""The masks of the public release: which frame shows which character, and where.

In the real sample every `counts` is a placeholder text; in the full release they are COCO runs. A mask that cannot
be used becomes None, its frame stays.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.release.drafts import draft_mask, draft_reference
from animeshooter_hf.dataset_builder.release.keys import MASK, REFERENCE, RLE, layout_of, read_keys
from animeshooter_hf.dataset_builder.release.values import (
    MAX_WHOLE,
    Place,
    fold_name,
    read_id,
    read_list,
    read_whole,
    show,
)
from animeshooter_hf.masks import MAX_MASK_PIXELS, RleMask, decode_runs, encode_runs
from animeshooter_hf.records import Character, ReferenceMask, Story

__all__ = ["count_all_pixels", "count_pixels", "default_references", "is_boundary_reference", "read_references"]

_PLACEHOLDER = re.compile(r"placeholder|too large|omitted", re.IGNORECASE)
_LONGEST_PLACEHOLDER = 200
_PLAIN_ROW, _PLAIN_RLE = ("frame", "rle"), ("size", "counts")
_MAX_GROUPS = 7
"""Groups of five bits in one run; more than a 35-bit number needs is damage."""
_IS_LONGER = 4096
"""Added to what two groups give, -512 to 511, where a run has more of them."""
_LARGEST_RUN = 1 << 35
"""Runs below this can be added up; there is no larger one in a mask."""


def read_references(value: object, characters: tuple[Character, ...], place: Place) -> tuple[ReferenceMask, ...]:
    """Return a segment's reference masks in order of frame, at most one per character and frame.

    Args:
        value: The `reference images` of a segment.
        characters: The declared characters, whose spelling of a name counts.
        place: Where reports go.
    """
    declared = {fold_name(character.id): character.id for character in characters}
    found: list[ReferenceMask] = []
    for entry in read_list(value, "reference images", place, id_key="ID"):
        if not isinstance(entry, Mapping):
            place.report("reference_unreadable", f"reference images hold {show(entry)}")
            continue
        fields = read_keys(entry, REFERENCE, "reference images", place)
        name = read_id(fields.get("id"), "the ID of a reference", place)
        if name is None:
            place.report("reference_unreadable", "reference images without an ID")
            continue
        name = _declared_name(name, declared, place)
        rows = read_list(fields.get("masks"), f"the masks of {show(name)}", place)
        references = [
            one for row in rows if (one := _read_plain_row(row, name) or _read_mask_row(row, name, place)) is not None
        ]
        frames = [one.frame_index for one in references]
        if frames != sorted(frames):
            place.report("references_unordered", f"the masks of {show(name)}")
        found += references
    kept: dict[tuple[int, str], ReferenceMask] = {}
    for reference in _without_damage(found, place):
        before = kept.setdefault((reference.frame_index, reference.character_id), reference)
        if before is not reference:
            _keep(reference, before, kept, place)
    references = [kept[key] for key in sorted(kept)]
    _report_sizes(references, place)
    return tuple(references)


def is_boundary_reference(story: Story, reference: ReferenceMask) -> bool:
    """Return whether a reference frame lies exactly on the end of its character's shot.

    The release samples both ends of a shot, so its last sample is the first frame of the next one, in which the
    character is usually not to be seen. One frame more is allowed for rounding to another frame rate.
    """
    frame, is_on_end = reference.frame_index, False
    for shot in story.shots:
        if shot.start_frame is None or shot.end_frame is None or reference.character_id not in shot.characters:
            continue
        if shot.start_frame <= frame < shot.end_frame:
            return False
        is_on_end |= shot.end_frame <= frame <= shot.end_frame + 1
    return is_on_end


def default_references(story: Story) -> tuple[ReferenceMask, ...]:
    """Return the reference masks that pictures are made from: all but those on the end of their shot."""
    return tuple(reference for reference in story.references if not is_boundary_reference(story, reference))


def count_pixels(counts: str, *, limit: int) -> int | None:
    """Return how many pixels COCO's compressed runs add up to, or None if the text is none.

    It says what `sum(decode_runs(counts, limit=limit))` says.

    Args:
        counts: The text.
        limit: The longest run that may occur.
    """
    return count_all_pixels([counts], [limit])[0]


def count_all_pixels(texts: Sequence[str], limits: Sequence[int]) -> list[int | None]:
    """Return `count_pixels` of many texts at once, which is some forty times faster than decoding them.

    The full release has millions of masks; numpy's overhead is paid once for all masks of a story. Texts that are not
    plainly good are decoded one by one.

    Args:
        texts: The texts.
        limits: The longest run that may occur, one per text.
    """
    likely = [number for number, text in enumerate(texts) if text and text.isascii() and ord(text[-1]) - 48 < 32]
    totals: list[int | None] = [None] * len(texts)
    good: set[int] = set()
    for number, total in zip(likely, _count_good([texts[number] for number in likely]), strict=True):
        if total is not None and total <= limits[number]:
            good.add(number)
            totals[number] = total
    for number, text in enumerate(texts):
        if number not in good:
            with contextlib.suppress(ValueError):
                totals[number] = sum(decode_runs(text, limit=limits[number]))
    return totals


def _count_good(texts: Sequence[str]) -> list[int | None]:
    """Return the pixels of each text, None where a run is negative, or for all of them if there is any other damage.

    Shape letters below
        B letters of all texts    R runs of all texts    T texts    C chains, two per text
    """
    nothing: list[int | None] = [None] * len(texts)
    codes_B = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8) - np.uint8(48)
    if not texts or int(codes_B.max()) > 63:
        return nothing
    ends_R = np.flatnonzero(codes_B < 32)
    runs_R = _read_groups(codes_B, ends_R)
    if runs_R is None:
        return nothing
    stops_T = np.searchsorted(ends_R, np.cumsum([len(text) for text in texts]))
    return _sum_runs(runs_R, stops_T)


def _read_groups(codes_B: NDArray[np.uint8], ends_R: NDArray[np.intp]) -> NDArray[np.int64] | None:
    """Return what each run is written as, or None if one has too many groups of five bits.

    Nearly all runs have one or two groups: those are put together for every letter at once, in 16 bits, and read where
    a run ends. The few longer ones are read again.

    Args:
        codes_B: The letters' values, 0 to 63; those above 31 are followed by another group of their run.
        ends_R: Where runs end.
    """
    goes_on_B = codes_B > 31
    flags_B, bits_B = goes_on_B.view(np.uint8), codes_B & np.uint8(31)
    values_B = ((codes_B ^ np.uint8(16)) - np.uint8(16)).view(np.int8).astype(np.int16)  # the last group has a sign
    values_B[1:] *= (flags_B[:-1] * np.uint8(31) + np.uint8(1)).astype(np.int16)
    values_B[1:] += (flags_B[:-1] * bits_B[:-1]).astype(np.int16)
    values_B[2:] += (flags_B[1:-1] & flags_B[:-2]).astype(np.int16) * np.int16(_IS_LONGER)
    values_R = values_B.take(ends_R)
    runs_R = values_R.astype(np.int64)
    which = np.flatnonzero(values_R >= _IS_LONGER // 2)
    runs_R[which] -= _IS_LONGER
    ends = ends_R[which]
    for group in range(2, _MAX_GROUPS):
        runs_R[which] = (runs_R[which] << 5) | bits_B[ends - group]
        longer = np.flatnonzero(goes_on_B[ends - (group + 1)])  # before the first letter stands the last: a run's end
        if not longer.size:
            return runs_R
        ends, which = ends[longer], which[longer]
    return None


def _sum_runs(runs_R: NDArray[np.int64], stops_T: NDArray[np.intp]) -> list[int | None]:
    """Return the sum of each text's runs, None where one is negative.

    From the fourth run on, each is written as the difference to the run two before it: a text has two chains of sums.
    Those of even places in all texts are laid out before those of odd ones, so that one sum runs through them all; what
    stands in front of a chain is taken off again. 64 bits hold all that: 2^26 letters of runs below 2^35.

    Args:
        runs_R: What is written; used up.
        stops_T: Where each text's runs end.
    """
    starts_T = np.concatenate(([0], stops_T[:-1]))
    totals_T = runs_R[starts_T]
    is_good_T = totals_T >= 0
    runs_R[starts_T] = 0  # the first run is in no chain
    sums_R = np.add.accumulate(np.concatenate((runs_R[::2], runs_R[1::2])))
    num_even = (len(runs_R) + 1) // 2
    starts_C = np.concatenate(((starts_T + 1) // 2, num_even + starts_T // 2))
    lengths_C = np.concatenate(((stops_T + 1) // 2, num_even + stops_T // 2)) - starts_C
    used = np.flatnonzero(lengths_C)
    starts_C, lengths_C = starts_C[used], lengths_C[used]
    before_C = np.where(starts_C > 0, sums_R[starts_C - 1], 0)
    added = np.zeros(2 * len(stops_T), dtype=np.int64)
    added[used] = np.add.reduceat(sums_R, starts_C) - before_C * lengths_C
    is_good = np.ones(2 * len(stops_T), dtype=bool)
    is_good[used] = np.minimum.reduceat(sums_R, starts_C) >= before_C
    is_good[used] &= np.maximum.reduceat(sums_R, starts_C) - before_C < _LARGEST_RUN
    totals_T += added.reshape(2, -1).sum(axis=0)
    is_good_T &= is_good.reshape(2, -1).all(axis=0)
    return [total if good else None for total, good in zip(totals_T.tolist(), is_good_T.tolist(), strict=True)]


def _declared_name(name: str, declared: Mapping[str, str], place: Place) -> str:
    known = declared.get(fold_name(name))
    if known is None:
        place.report("reference_for_undeclared", f"reference images of {show(name)}")
        return name
    if known != name:
        place.report("character_spelling", f"reference images of {show(name)}, declared as {show(known)}")
    return known


def _keep(
    reference: ReferenceMask, before: ReferenceMask, kept: dict[tuple[int, str], ReferenceMask], place: Place
) -> None:
    """Report a second mask of one character in one frame; keep it if the first one is none."""
    detail = f"{show(reference.character_id)} in frame {reference.frame_index}"
    if before.mask is None and reference.mask is not None:
        kept[reference.frame_index, reference.character_id] = reference
    is_conflict = before.mask is not None and reference.mask is not None and before.mask != reference.mask
    place.report("conflicting_reference" if is_conflict else "duplicate_reference", detail)


def _read_plain_row(row: object, name: str) -> ReferenceMask | None:
    """Return what `_read_mask_row` says of a row as nearly all are: a frame, a size and runs; None for any other."""
    if type(row) is not dict or layout_of(tuple(row), MASK) != _PLAIN_ROW:
        return None
    frame, rle = row.values()
    if type(rle) is not dict or layout_of(tuple(rle), RLE) != _PLAIN_RLE:
        return None
    size, counts = rle.values()
    if type(frame) is not int or not 0 <= frame <= MAX_WHOLE or type(size) is not list or len(size) != 2:
        return None
    height, width = size
    if type(height) is not int or type(width) is not int or type(counts) is not str:
        return None
    if height < 1 or width < 1 or height * width > MAX_MASK_PIXELS or len(counts) <= _LONGEST_PLACEHOLDER:
        return None
    return draft_reference(name, frame, draft_mask(height, width, counts))


def _read_mask_row(row: object, name: str, place: Place) -> ReferenceMask | None:
    if not isinstance(row, Mapping):
        place.report("reference_unreadable", f"a mask of {show(name)} is {show(row)}")
        return None
    fields = read_keys(row, MASK, "a reference mask", place)
    frame = read_whole(fields.get("frame"), "a frame index", place)
    if frame is None:
        place.report("reference_unreadable", f"a mask of {show(name)} in the frame {show(fields.get('frame'))}")
        return None
    rle = fields.get("rle")
    if isinstance(rle, Mapping):
        fields.update(read_keys(rle, RLE, "a mask", place))
    elif rle is not None:
        fields.setdefault("counts", rle)
    mask = _read_rle(fields.get("counts"), fields.get("size"), name, frame, place)
    return ReferenceMask(character_id=name, frame_index=frame, mask=mask)


def _read_rle(counts: Any, size: Any, name: str, frame: int, place: Place) -> RleMask | None:
    """Return a mask whose runs are not checked yet, or None."""
    if isinstance(counts, bytes):  # as pycocotools gives them
        counts = counts.decode("latin-1")
    if counts is None or counts == "" or counts == []:
        place.report("mask_missing", _name_of(name, frame))
        return None
    if isinstance(counts, str) and len(counts) <= _LONGEST_PLACEHOLDER and _PLACEHOLDER.search(counts):
        place.report("mask_placeholder", f"{_name_of(name, frame)}: {show(counts)}")
        return None
    sides = size if isinstance(size, list) and len(size) == 2 else [0, 0]
    height, width = (read_whole(side, "a side of a mask", place) or 0 for side in sides)
    if not 0 < height * width <= MAX_MASK_PIXELS:
        place.report("mask_size_unreadable", f"{_name_of(name, frame)}: size {show(size)}")
        return None
    if isinstance(counts, list):
        runs = _read_numbers(counts, height * width)
        counts = None if runs is None else encode_runs(runs)
        if runs is not None:
            place.report("mask_uncompressed", _name_of(name, frame))
    if not isinstance(counts, str):
        place.report("mask_invalid", f"{_name_of(name, frame)}: no COCO run-length text for {height}x{width}")
        return None
    return RleMask(height, width, counts)


def _without_damage(references: list[ReferenceMask], place: Place) -> list[ReferenceMask]:
    """Return the references, without those masks whose runs are damaged or do not add up to their size."""
    positions = [position for position, reference in enumerate(references) if reference.mask is not None]
    masks = [mask for reference in references if (mask := reference.mask) is not None]
    sizes = [mask.height * mask.width for mask in masks]
    totals = count_all_pixels([mask.counts for mask in masks], sizes)
    for position, mask, size, total in zip(positions, masks, sizes, totals, strict=True):
        if total != size:
            reference = references[position]
            found = "no COCO run-length text" if total is None else f"runs of {total} pixels"
            where = _name_of(reference.character_id, reference.frame_index)
            place.report("mask_invalid", f"{where}: {found} for {mask.height}x{mask.width}")
            references[position] = replace(reference, mask=None)
    return references


def _name_of(name: str, frame: int) -> str:
    return f"{show(name)} in frame {frame}"


def _read_numbers(counts: list[Any], limit: int) -> list[int] | None:
    if all(isinstance(run, int) and not isinstance(run, bool) and 0 <= run <= limit for run in counts):
        return list(counts)
    return None


def _report_sizes(references: list[ReferenceMask], place: Place) -> None:
    sizes = {(mask.height, mask.width) for reference in references if (mask := reference.mask) is not None}
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:4])
        place.report("mask_size_varies", f"{len(sizes)} sizes (height x width): {shown}")
