"""From stated times to exact frames: the shots of a segment, in order, without gap or overlap, at detected cuts.

Three ways of stating time are read: numbers of candidate cuts, a clock (MM:SS and all that is like it), and frames from
annotators that know them. Cuts and frames are exact. A clock is good to a second or worse, so its times are matched to
the detected cuts (`snap.py`), and what matches none becomes the nearest frame.

Seconds count from the segment's start in this file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from animeshooter_hf.dataset_builder.annotate.annotator import ScriptRequest
from animeshooter_hf.dataset_builder.script.answer import ParsedShot
from animeshooter_hf.dataset_builder.script.issues import IssueLog
from animeshooter_hf.dataset_builder.script.snap import snap_cost, snap_times

__all__ = ["PlacedShot", "SnapSettings", "candidate_frames", "place_shots"]

_SAME = 1e-6
_CLOCK_OFFSETS = (0.0, 0.5, -0.5)
"""Where the true time lies on average if a clock is rounded, cut off, or rounded up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapSettings:
    """How stated times become frames. All values are our choice, fixed on other films than those scored."""

    tolerance_seconds: float = 1.6
    """Largest distance of a stated time from the cut that it means: half a second of rounding and a second of error."""

    skip_cost_seconds: float = 2.5
    """Cost of a stated time that means no cut; above the tolerance, so that a match is made where there can be one."""

    cut_skip_cost_seconds: float = 0.6
    """Cost of a cut that nobody stated. Above 0, because an annotator who sees shots states most of them."""

    max_gap_seconds: float = 1.5
    """Longest stretch without a shot that is closed without asking: a clock of whole seconds makes such gaps."""

    def __post_init__(self) -> None:
        for name in (
            "tolerance_seconds",
            "skip_cost_seconds",
            "cut_skip_cost_seconds",
            "max_gap_seconds",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}.")


@dataclass(frozen=True, slots=True)
class PlacedShot:
    """A shot with its frames."""

    shot: ParsedShot
    """What was stated."""

    start_frame: int
    """First frame in the film."""

    end_frame: int
    """Frame after the last one."""


@dataclass(frozen=True, slots=True)
class _Timed:
    """A shot with both its times."""

    shot: ParsedShot
    start: float
    end: float


def candidate_frames(request: ScriptRequest) -> list[int]:
    """Return the frames that a shot may start or end at: the segment's start, its detected cuts, its end."""
    start, end = request.segment.start_frame, request.segment.end_frame
    return [start, *sorted({cut for cut in request.cuts if start < cut < end}), end]


def place_shots(
    shots: Sequence[ParsedShot], request: ScriptRequest, settings: SnapSettings, log: IssueLog
) -> list[PlacedShot] | None:
    """Return the shots with their frames, tiling the segment; None if a stretch of it is left without a shot.

    Args:
        shots: As stated, in any order.
        request: The segment, its cuts and the film's time.
        settings: Tolerances.
        log: Where issues go.
    """
    if not shots:
        log.add("no_shots")
        return None
    frames = candidate_frames(request)
    edges = [request.index.seconds_between(frames[0], frame) for frame in frames]
    num_frames = sum(shot.frames is not None for shot in shots)
    num_cuts = sum(shot.first_cut is not None or shot.last_cut is not None for shot in shots)
    if 2 * num_frames > len(shots):
        stated = _from_frames(shots, request, frames)
    elif 2 * num_cuts >= len(shots):
        stated = _from_cuts(shots, edges, log)
    else:
        stated = _from_clock(shots, edges[-1], request.index.seconds(frames[0]), log)
    timed = _in_order(_fill(stated, edges[-1], log), edges[-1], log)
    if not timed:
        log.add("no_shots", detail="no shot lies in the segment")
        return None
    if not _close_gaps(timed, edges[-1], settings, log, by_cuts=2 * num_cuts >= len(shots)):
        return None
    starts = [one.start for one in timed[1:]]
    if 2 * num_frames > len(shots):
        times = {one.start: one.shot.frames[0] for one in timed if one.shot.frames is not None}
        boundaries = [times.get(time, request.index.frame_at(time + edges[0])) for time in starts]
    elif 2 * num_cuts >= len(shots):
        boundaries = [frames[int(np.argmin(np.abs(np.asarray(edges) - time)))] for time in starts]
    else:
        boundaries = _snap(starts, request, frames, edges, settings, log)
    return _cut_segment(timed, boundaries, frames, log)


def _from_frames(
    shots: Sequence[ParsedShot], request: ScriptRequest, frames: Sequence[int]
) -> list[tuple[ParsedShot, float | None, float | None]]:
    found: list[tuple[ParsedShot, float | None, float | None]] = []
    for shot in shots:
        start, end = shot.frames or (None, None)
        found.append(
            (
                shot,
                None if start is None else request.index.seconds_between(frames[0], start),
                None if end is None else request.index.seconds_between(frames[0], end),
            )
        )
    return found


def _from_cuts(
    shots: Sequence[ParsedShot], edges: Sequence[float], log: IssueLog
) -> list[tuple[ParsedShot, float | None, float | None]]:
    numbers = [(shot.first_cut, shot.last_cut) for shot in shots]
    last = len(edges) - 1
    if _are_intervals(numbers, last):
        log.add("cuts_as_intervals", detail=f"the first shot runs from {numbers[0][0]} to {numbers[0][1]}")
        numbers = [(first, None if end is None else end + 1) for first, end in numbers]

    def seconds(number: int | None) -> float | None:
        if number is None:
            return None
        if not 0 <= number <= last:
            log.add("cut_out_of_range", detail=f"cut {number} of 0 to {last}")
        return edges[min(max(number, 0), last)]

    return [(shot, seconds(first), seconds(end)) for shot, (first, end) in zip(shots, numbers, strict=True)]


def _are_intervals(numbers: Sequence[tuple[int | None, int | None]], last: int) -> bool:
    """Return whether shots name their first and last interval: each starts one after the one before it ended."""
    if any(first is None or end is None for first, end in numbers):
        return False
    steps = [after[0] - before[1] for before, after in pairwise(numbers)]  # type: ignore[operator]  # none is None
    return numbers[0][0] == 0 and numbers[-1][1] == last - 1 and all(step == 1 for step in steps)


def _from_clock(
    shots: Sequence[ParsedShot], duration: float, origin: float, log: IssueLog
) -> list[tuple[ParsedShot, float | None, float | None]]:
    """Return the stated times, counted from the segment's start even if they counted from the film's."""
    if any(shot.first_cut is not None for shot in shots):
        log.add("answered_in_clock")
    starts = [shot.start_seconds for shot in shots if shot.start_seconds is not None]
    ends = [shot.end_seconds for shot in shots if shot.end_seconds is not None and shot.end_seconds < math.inf]
    shift = 0.0
    if starts and ends and origin > 2 and max(ends) > duration + 1.5 and abs(min(starts) - origin) <= 1.5:
        log.add("times_absolute", detail=f"times run from {min(starts):g} to {max(ends):g} s")
        shift = origin

    def moved(time: float | None) -> float | None:
        return None if time is None else max(time - shift, 0.0)

    return [
        (
            shot if shot.clip_span is None else replace(shot, clip_span=_moved_span(shot.clip_span, shift)),
            moved(shot.start_seconds),
            duration if shot.end_seconds == math.inf else moved(shot.end_seconds),
        )
        for shot in shots
    ]


def _moved_span(span: tuple[float, float], shift: float) -> tuple[float, float]:
    return (max(span[0] - shift, 0.0), max(span[1] - shift, 0.0))


def _fill(
    stated: Sequence[tuple[ParsedShot, float | None, float | None]], duration: float, log: IssueLog
) -> list[_Timed]:
    """Return the shots with both times; what is missing is taken from the neighbours, or divided evenly."""
    starts = [start for _, start, _ in stated]
    ends = [end for _, _, end in stated]
    missing = sum(time is None for time in (*starts, *ends))
    if missing:
        log.add("time_missing", detail=f"{missing} of {2 * len(stated)} times", count=missing)
    joints: list[float | None] = [starts[0] if starts[0] is not None else 0.0]
    joints += [before if after is None else after for before, after in zip(ends[:-1], starts[1:], strict=True)]
    joints.append(ends[-1] if ends[-1] is not None else duration)
    known = [number for number, joint in enumerate(joints) if joint is not None]
    filled = np.interp(np.arange(len(joints)), known, [min(joints[number] or 0.0, 1e6) for number in known]).tolist()
    timed: list[_Timed] = []
    for number, (shot, start, end) in enumerate(stated):
        first = filled[number] if start is None else start
        last = filled[number + 1] if end is None else end
        if last < first - _SAME:
            if start is not None and end is not None:
                log.add("shot_reversed", detail=f"shot {number} runs from {start:g} to {end:g} s")
            first, last = last, first
        timed.append(_Timed(shot, first, last))
    return timed


def _in_order(timed: Sequence[_Timed], duration: float, log: IssueLog) -> list[_Timed]:
    """Return the shots by their start, each once, and only those that lie in the segment."""
    kept: list[_Timed] = []
    seen: set[_Timed] = set()
    for number, one in enumerate(timed):
        if one in seen:
            log.add("duplicate_shot", detail=f"shot {number}")
            continue
        seen.add(one)
        where = f"shot {number} runs from {one.start:g} to {one.end:g} s of {duration:.2f} s"
        if one.start > duration + _SAME and one.end > duration + 1 + _SAME:
            log.add("shot_outside_segment", detail=where)
            continue
        if one.end > duration + 1 + _SAME:
            log.add("time_past_end", detail=where)
        kept.append(_Timed(one.shot, min(one.start, duration), min(one.end, duration)))
    if any(before.start > after.start + _SAME for before, after in pairwise(kept)):
        log.add("shots_unordered", detail="the shots are sorted by their start")
        kept.sort(key=lambda one: one.start)
    return kept


def _close_gaps(
    timed: Sequence[_Timed], duration: float, settings: SnapSettings, log: IssueLog, *, by_cuts: bool
) -> bool:
    """Report where shots do not join, and return whether all gaps may be closed."""
    is_whole = True
    for code, gap, where in _gaps(timed, duration):
        if gap > settings.max_gap_seconds:
            log.add("hole", detail=f"{gap:.2f} s {where}")
            is_whole = False
        elif gap > _SAME and by_cuts:
            log.add("interval_skipped", detail=f"{gap:.2f} s {where}")
        # A clock that is cut off ends up to a second early; that is its resolution, not an error.
        elif gap > _SAME and not (code == "tail_gap" and gap < 1):
            log.add(code, detail=f"{gap:.2f} s {where}")
        elif gap < -_SAME:
            log.add("shot_overlap", detail=f"{-gap:.2f} s {where}")
    for number, one in enumerate(timed):
        if one.end <= one.start + _SAME:
            log.add("shot_empty", detail=f"shot {number} at {one.start:g} s")
    return is_whole


def _gaps(timed: Sequence[_Timed], duration: float) -> list[tuple[str, float, str]]:
    """Return (code, seconds, where) at the head, between the shots, and at the tail; negative is an overlap."""
    found = [("head_gap", timed[0].start, "before the first shot")]
    covered = timed[0].end
    for number, one in enumerate(timed[1:], 1):
        found.append(("shot_gap", one.start - covered, f"before shot {number} at {one.start:g} s"))
        covered = max(covered, one.end)
    return [*found, ("tail_gap", duration - covered, f"after the last shot, of {duration:.2f} s")]


def _snap(
    starts: Sequence[float],
    request: ScriptRequest,
    frames: Sequence[int],
    edges: Sequence[float],
    settings: SnapSettings,
    log: IssueLog,
) -> list[int]:
    """Return the frame of each stated start (of all shots but the first)."""
    cuts = np.asarray(edges[1:-1])
    limits = (settings.tolerance_seconds, settings.skip_cost_seconds, settings.cut_skip_cost_seconds)
    times = np.asarray(starts, float)
    offset = min(_CLOCK_OFFSETS, key=lambda one: round(snap_cost(times + one, cuts, *limits), 9))  # type: ignore[arg-type]
    snapped = snap_times(times + offset, cuts, *limits)  # type: ignore[arg-type]  # arrays are sequences
    boundaries: list[int] = []
    for time, number in zip(times.tolist(), snapped.tolist(), strict=True):
        if number >= 0:
            boundaries.append(frames[number + 1])
            continue
        log.add("time_unsnapped", detail=f"no detected cut near {time:g} s")
        boundaries.append(request.index.frame_at(request.index.seconds(frames[0]) + max(0.0, time + offset)))
    unused = len(cuts) - int((snapped >= 0).sum())
    if unused:
        log.add("cut_inside_shot", detail=f"{unused} of {len(cuts)} cuts", count=unused)
    return boundaries


def _cut_segment(
    timed: Sequence[_Timed], boundaries: Sequence[int], frames: Sequence[int], log: IssueLog
) -> list[PlacedShot]:
    """Return the shots between the boundaries; a shot that no frame is left for is left out.

    Matched boundaries ascend; one that was only taken from its time may lie behind the next, and then yields.
    """
    joints = [frames[0], *boundaries, frames[-1]]
    upper = np.minimum.accumulate(np.clip(joints, frames[0], frames[-1])[::-1])[::-1].tolist()
    placed: list[PlacedShot] = []
    for number, one in enumerate(timed):
        start, end = upper[number], upper[number + 1]
        if end <= start:
            log.add("shot_without_frames", detail=f"shot {number} at {one.start:g} s")
            continue
        placed.append(PlacedShot(one.shot, start, end))
    return placed
