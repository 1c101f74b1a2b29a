"""The masks of the public release: which frame shows which character, and where.

In the real sample every `counts` is a placeholder text; in the full release they are COCO runs. A mask that cannot
be used becomes None, its frame stays.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from animeshooter_hf.dataset_builder.release.keys import MASK, REFERENCE, RLE, read_keys
from animeshooter_hf.dataset_builder.release.values import Place, fold_name, read_id, read_list, read_whole, show
from animeshooter_hf.masks import MAX_MASK_PIXELS, RleMask, encode_runs
from animeshooter_hf.records import Character, ReferenceMask

__all__ = ["count_pixels", "read_references"]

_PLACEHOLDER = re.compile(r"placeholder|too large|omitted", re.IGNORECASE)
_LONGEST_PLACEHOLDER = 200
_MAX_GROUPS = 7
"""Groups of five bits in one run; more than a 35-bit number needs is damage."""


def read_references(value: object, characters: tuple[Character, ...], place: Place) -> tuple[ReferenceMask, ...]:
    """Return a segment's reference masks in order of frame, at most one per character and frame.

    Args:
        value: The `reference images` of a segment.
        characters: The declared characters, whose spelling of a name counts.
        place: Where reports go.
    """
    declared = {fold_name(character.id): character.id for character in characters}
    kept: dict[tuple[str, int], ReferenceMask] = {}
    is_ordered = True
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
        last = -1
        for row in read_list(fields.get("masks"), f"the masks of {show(name)}", place):
            reference = _read_mask_row(row, name, place)
            if reference is None:
                continue
            is_ordered &= last <= reference.frame_index
            last = reference.frame_index
            _keep(reference, kept, place)
        if not is_ordered:
            place.report("references_unordered", f"the masks of {show(name)}")
            is_ordered = True
    references = sorted(kept.values(), key=lambda reference: (reference.frame_index, reference.character_id))
    _report_sizes(references, place)
    return tuple(references)


def count_pixels(counts: str, *, limit: int) -> int | None:
    """Return how many pixels COCO's compressed runs add up to, or None if the text is none.

    It says what `sum(decode_runs(counts, limit=limit))` says, some twenty times faster; the full release has
    millions of masks.

    Args:
        counts: The text.
        limit: The longest run that may occur.
    """
    if not counts or not counts.isascii():
        return None
    codes = np.frombuffer(counts.encode("ascii"), dtype=np.uint8) - np.uint8(48)
    ends = np.flatnonzero((codes & 0x20) == 0)
    if int(codes.max()) > 63 or not len(ends) or int(ends[-1]) != len(codes) - 1:
        return None
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if int(lengths.max()) > _MAX_GROUPS:
        return None
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 0x1F).astype(np.int64) << shifts, starts)
    runs -= np.where(codes[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    np.cumsum(runs[1::2], out=runs[1::2])
    np.cumsum(runs[2::2], out=runs[2::2])
    if int(runs.min()) < 0 or int(runs.max()) > limit:
        return None
    return int(runs.sum())


def _declared_name(name: str, declared: Mapping[str, str], place: Place) -> str:
    known = declared.get(fold_name(name))
    if known is None:
        place.report("reference_for_undeclared", f"reference images of {show(name)}")
        return name
    if known != name:
        place.report("character_spelling", f"reference images of {show(name)}, declared as {show(known)}")
    return known


def _keep(reference: ReferenceMask, kept: dict[tuple[str, int], ReferenceMask], place: Place) -> None:
    key = (reference.character_id, reference.frame_index)
    before = kept.setdefault(key, reference)
    if before is reference:
        return
    detail = f"{show(reference.character_id)} in frame {reference.frame_index}"
    if before.mask is None and reference.mask is not None:
        kept[key] = reference
    is_conflict = before.mask is not None and reference.mask is not None and before.mask != reference.mask
    place.report("conflicting_reference" if is_conflict else "duplicate_reference", detail)


def _read_mask_row(row: object, name: str, place: Place) -> ReferenceMask | None:
    if not isinstance(row, Mapping):
        place.report("reference_unreadable", f"a mask of {show(name)} is {show(row)}")
        return None
    fields = read_keys(row, MASK, "a reference mask", place)
    frame = read_whole(fields.get("frame"), "a frame index", place)
    if frame is None:
        place.report("reference_unreadable", f"a mask of {show(name)} in the frame {show(fields.get('frame'))}")
        return None
    where = f"{show(name)} in frame {frame}"
    rle = fields.get("rle")
    if isinstance(rle, Mapping):
        fields.update(read_keys(rle, RLE, "a mask", place))
    elif rle is not None:
        fields.setdefault("counts", rle)
    return ReferenceMask(character_id=name, frame_index=frame, mask=_read_rle(fields, where, place))


def _read_rle(fields: Mapping[str, Any], where: str, place: Place) -> RleMask | None:
    counts, size = fields.get("counts"), fields.get("size")
    if counts is None or counts == "" or counts == []:
        place.report("mask_missing", where)
        return None
    if isinstance(counts, str) and len(counts) <= _LONGEST_PLACEHOLDER and _PLACEHOLDER.search(counts):
        place.report("mask_placeholder", f"{where}: {show(counts)}")
        return None
    sides = size if isinstance(size, list) and len(size) == 2 else [0, 0]
    height, width = (read_whole(side, "a side of a mask", place) or 0 for side in sides)
    if not 0 < height * width <= MAX_MASK_PIXELS:
        place.report("mask_size_unreadable", f"{where}: size {show(size)}")
        return None
    if isinstance(counts, list):
        runs = _read_runs(counts, height * width)
        counts = "" if runs is None else encode_runs(runs)
        if runs is not None:
            place.report("mask_uncompressed", where)
    total = count_pixels(counts, limit=height * width) if isinstance(counts, str) else None
    if total != height * width:
        found = "no COCO run-length text" if total is None else f"runs of {total} pixels"
        place.report("mask_invalid", f"{where}: {found} for {height}x{width}")
        return None
    return RleMask(height, width, counts)


def _read_runs(counts: list[Any], limit: int) -> list[int] | None:
    if all(isinstance(run, int) and not isinstance(run, bool) and 0 <= run <= limit for run in counts):
        return list(counts)
    return None


def _report_sizes(references: list[ReferenceMask], place: Place) -> None:
    sizes = {(mask.height, mask.width) for reference in references if (mask := reference.mask) is not None}
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:4])
        place.report("mask_size_varies", f"{len(sizes)} sizes (height x width): {shown}")
