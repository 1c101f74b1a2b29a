"""The pictures of a build's page: contact sheets with masks, boundaries, sound, and reference candidates of a film.

Each function writes one picture and returns it with the words that say what it shows, for those who do not see it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Shot, Story
from animeshooter_hf.report.build_data import BuildPageSettings, Candidate, FilmPage, Transition
from animeshooter_hf.report.plots import plot_sound_lanes, plot_transitions
from animeshooter_hf.report.sheets import SheetRow, Tile, overlay_masks, save_sheet, tile_grid
from animeshooter_hf.video import read_audio, read_frames

__all__ = ["Drawn", "draw_boundaries", "draw_candidates", "draw_sound", "draw_story"]

_MARGIN = 0.08
Mask = tuple[str, int, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture on disk."""

    path: Path
    """The file."""

    words: str
    """What it shows."""


def draw_story(film: FilmPage, story: Story, path: Path, settings: BuildPageSettings) -> Drawn:
    """Draw a story's shots: start, middle and end, with the characters' masks where they are known."""
    shots = story.shots[: settings.shots_per_story]
    rows = [_shot_row(film, story, shot, settings.frame_height) for shot in shots]
    save_sheet(path, rows, frame_height=settings.frame_height, columns=3)
    cast = ", ".join(character.id for character in story.characters) or "nobody"
    more = f" The other {len(story.shots) - len(shots)} shots are not shown." if len(shots) < len(story.shots) else ""
    return Drawn(
        path,
        f"{len(shots)} shots of {story.story_id}, one a row: start, middle and end, with masks in colours ({cast})."
        f"{more}",
    )


def draw_boundaries(film: FilmPage, path: Path) -> Drawn | None:
    """Draw where shots begin, or return None if the film has no score curve."""
    if film.frame_rate is None or not len(film.curve):
        return None
    lanes = {"found": [_mark(one) for one in film.found]}
    words = f"Boundary score of {film.video_id} over time. Found: {_count_kinds(film.found)}."
    if film.truth is not None:
        lanes = {"true": [_mark(one) for one in film.truth], **lanes}
        words += f" True: {_count_kinds(film.truth)}."
    starts = [story.start_frame for story in film.stories if story.start_frame]
    if starts:
        words += " Dotted lines: a new story begins."
    plot_transitions(
        path,
        film.curve,
        lanes=lanes,
        story_starts=starts,
        rate=float(film.frame_rate),
        title=f"{film.video_id}: where shots begin",
    )
    return Drawn(path, words)


def draw_sound(film: FilmPage, path: Path) -> Drawn | None:
    """Draw the sound and what was found in it, or return None if the film has no sound that can be read."""
    if film.path is None:
        return None
    try:
        audio, rate = read_audio(film.path)
    except InputError:
        return None
    if not audio.size:
        return None
    lanes = {
        name: [(one.start_seconds, one.end_seconds, one.name) for one in stretches]
        for name, stretches in film.sounds.items()
    }
    plot_sound_lanes(path, audio, rate, lanes=lanes, title=f"{film.video_id}: sound")
    told = [
        f"{name}: {len(stretches)} ({sum(one.end_seconds - one.start_seconds for one in stretches):.1f} s)"
        for name, stretches in film.sounds.items()
    ]
    return Drawn(path, f"Waveform of {film.video_id} and what was found in it. {'; '.join(told) or 'Nothing'}.")


def draw_candidates(film: FilmPage, path: Path, settings: BuildPageSettings) -> Drawn | None:
    """Draw reference candidates, kept and rejected ones of every reason, or return None if there are none."""
    chosen = _choose(film.candidates, settings.candidates_per_film)
    if not chosen:
        return None
    images = _pictures(film, [one.frame_index for one in chosen])
    tiles = [
        Tile(
            image=_cropped(images.get(one.frame_index), one),
            lines=[
                "kept" if one.reason is None else one.reason.replace("_", " "),
                f"{one.character_id}, frame {one.frame_index}",
                "no mask" if one.area is None else f"{one.area:.1%} of the image",
            ],
            is_good=one.reason is None,
        )
        for one in chosen
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    tile_grid(tiles).save(path, quality=88)
    counts = Counter(one.reason or "kept" for one in film.candidates)
    told = ", ".join(f"{reason.replace('_', ' ')} {number}" for reason, number in counts.most_common())
    return Drawn(path, f"{len(tiles)} of {len(film.candidates)} reference candidates of {film.video_id}: {told}.")


def _shot_row(film: FilmPage, story: Story, shot: Shot, height: int) -> SheetRow:
    frames: list[NDArray[np.uint8]] = []
    if shot.start_frame is not None and shot.end_frame is not None and shot.end_frame > shot.start_frame:
        picks = [shot.start_frame, _middle(film, story, shot.start_frame, shot.end_frame), shot.end_frame - 1]
        images = _pictures(film, picks)
        frames = [
            overlay_masks(images[pick], _masks_at(film, story, pick), height=height) for pick in picks if pick in images
        ]
    title = f"{shot.index + 1} | {_span(shot)} | {shot.scene or 'no scene'} | {', '.join(shot.characters) or 'nobody'}"
    return SheetRow(frames=frames, title=title, caption=shot.caption)


def _middle(film: FilmPage, story: Story, start: int, end: int) -> int:
    """Return the middle frame, or the reference frame nearest to it where only references have masks."""
    middle = (start + end) // 2
    inside = [one.frame_index for one in story.references if start <= one.frame_index < end and one.mask is not None]
    return middle if film.masks is not None or not inside else min(inside, key=lambda frame: abs(frame - middle))


def _masks_at(film: FilmPage, story: Story, frame: int) -> list[Mask]:
    told: list[Mask] = []
    for number, character in enumerate(story.characters):
        if film.masks is not None:
            found = [film.masks.mask_at(character.id, frame)]
        else:
            here = (one for one in story.references if one.frame_index == frame and one.character_id == character.id)
            found = [one.mask for one in here]
        told += [(character.id, number, mask.to_array()) for mask in found if mask is not None and mask.is_valid]
    return told


def _pictures(film: FilmPage, frames: Sequence[int]) -> Mapping[int, NDArray[np.uint8]]:
    """Return frame -> picture; empty if the film cannot be read, because a report must not fail for it."""
    wanted = sorted({frame for frame in frames if 0 <= frame < film.num_frames})
    if film.path is None or not wanted:
        return {}
    try:
        return dict(zip(wanted, read_frames(film.path, wanted), strict=True))
    except InputError:
        return {}


def _cropped(image: NDArray[np.uint8] | None, one: Candidate) -> NDArray[np.uint8] | None:
    """Return the part of a frame around a mask, what is outside the mask faded; the whole frame without a mask."""
    if image is None or one.mask is None or not one.mask.is_valid:
        return image
    mask = one.mask.to_array()
    if mask.shape != image.shape[:2] or not mask.any():
        return image
    faded = (0.2 * image + 0.8 * 255).astype(np.uint8)
    faded[mask] = image[mask]
    rows, columns = np.nonzero(mask)
    margin = round(_MARGIN * max(mask.shape))
    top, left = max(0, rows.min() - margin), max(0, columns.min() - margin)
    return faded[top : rows.max() + margin + 1, left : columns.max() + margin + 1]


def _choose(candidates: Sequence[Candidate], limit: int) -> list[Candidate]:
    """Return up to `limit` candidates, reason by reason in turns, so that the rare ones are seen too."""
    by_reason: dict[str | None, list[Candidate]] = {}
    for one in candidates:
        by_reason.setdefault(one.reason, []).append(one)
    queues = [by_reason[reason] for reason in sorted(by_reason, key=lambda reason: (reason is not None, reason or ""))]
    shares = _fair_shares([len(queue) for queue in queues], limit)
    return [
        queue[int(number * len(queue) / share)]
        for queue, share in zip(queues, shares, strict=True)
        for number in range(share)
    ]


def _fair_shares(sizes: Sequence[int], limit: int) -> list[int]:
    shares = [0] * len(sizes)
    left = limit
    while left and any(share < size for share, size in zip(shares, sizes, strict=True)):
        for number, size in enumerate(sizes):
            if left and shares[number] < size:
                shares[number] += 1
                left -= 1
    return shares


def _mark(one: Transition) -> tuple[int, int, int, str]:
    return one.frame, one.start_frame, one.end_frame, one.kind


def _count_kinds(found: Sequence[Transition]) -> str:
    counts = Counter(one.kind for one in found)
    return ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items())) or "none"


def _span(shot: Shot) -> str:
    if shot.start_seconds is None or shot.end_seconds is None:
        return "time unknown"
    return f"{shot.start_seconds:.2f} to {shot.end_seconds:.2f} s"
