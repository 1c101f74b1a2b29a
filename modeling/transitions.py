"""How one shot goes over into the next: cut, fade through a colour, dissolve, in picture and sound.

Transitions belong to the film, not to the story's state: shots stay as they were made, so editing one stays exact.

The time of a film, in frames, is exact:

    cut         the next shot begins where this one ends
    fade        the same: the last frames of this shot and the first of the next go to the colour and come from it
    dissolve    the next shot begins `num_frames` before this one ends; each dissolve shortens the film by so much

which is how editors and FFmpeg's `fade` and `xfade` count. Sample positions are the rounded times of frames counted
from the film's start, so sound and picture cannot drift apart.

Shape letters used below
    F frames    H height    W width    C channels    T samples
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.clock import exact_frame_rate
from animeshooter_hf.errors import InputError

__all__ = ["FilmPlan", "ShotSpan", "Transition", "film_frames", "film_sound", "parse_transition", "plan_film"]

_DECLICK_SECONDS = 0.005
"""Where sounds meet at a cut, each is faded this long so that the step does not click. Our choice."""

_TEXT = re.compile(r"(cut)|(dissolve):(\d{1,5})|(fade):(\d{1,5})(?::#([0-9A-Fa-f]{6}))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """How a shot goes over into the next."""

    kind: Literal["cut", "fade", "dissolve"] = "cut"
    """What is seen."""

    num_frames: int = 0
    """Length. Of a fade, the first half darkens (rounded down) and the rest comes back; a cut has none."""

    colour: tuple[int, int, int] = (0, 0, 0)
    """What a fade goes through, RGB."""

    def __post_init__(self) -> None:
        if self.kind not in ("cut", "fade", "dissolve"):
            raise InputError(f"A transition is cut, fade or dissolve, got {self.kind!r}.")
        least = {"cut": 0, "fade": 2, "dissolve": 1}[self.kind]
        count = self.num_frames
        if isinstance(count, bool) or not isinstance(count, int) or count < least:
            raise InputError(f"A {self.kind} takes a whole number of at least {least} frames, got {count!r}.")
        if self.kind == "cut" and count:
            raise InputError(f"A cut has no length, got {count} frames.")
        values = tuple(self.colour)
        if len(values) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in values):
            raise InputError(f"colour must be three numbers from 0 to 255, got {self.colour!r}.")
        object.__setattr__(self, "colour", values)

    @property
    def overlap(self) -> int:
        """Frames that both shots share."""
        return self.num_frames if self.kind == "dissolve" else 0

    @property
    def frames_before(self) -> int:
        """Frames of the shot before that it changes."""
        return {"cut": 0, "fade": self.num_frames // 2, "dissolve": self.num_frames}[self.kind]

    @property
    def frames_after(self) -> int:
        """Frames of the shot after that it changes."""
        return self.num_frames - self.num_frames // 2 if self.kind == "fade" else self.overlap


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotSpan:
    """Where a shot stands in the film."""

    start_frame: int
    """First frame of the film that shows it."""

    end_frame: int
    """Frame after the last one that shows it; with a dissolve it lies after the next shot's start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmPlan:
    """Where every shot stands, and what is between them."""

    spans: tuple[ShotSpan, ...]
    """One per shot."""

    transitions: tuple[Transition, ...]
    """Between the shots: one fewer."""

    frame_rate: Fraction
    """Frames per second, exact."""

    @property
    def num_frames(self) -> int:
        """Frames of the film: those of all shots less the dissolves."""
        return self.spans[-1].end_frame

    @property
    def seconds(self) -> Fraction:
        """Length of the film, exact."""
        return self.num_frames / self.frame_rate

    def sample_at(self, frame: int, sample_rate: int) -> int:
        """Return the sample that stands at the beginning of a frame of the film."""
        return round(frame / self.frame_rate * sample_rate)

    def samples_of(self, index: int, sample_rate: int) -> tuple[int, int]:
        """Return where the sound of a shot begins and ends in the film."""
        span = self.spans[index]
        return self.sample_at(span.start_frame, sample_rate), self.sample_at(span.end_frame, sample_rate)

    @property
    def chapter_frames(self) -> list[tuple[int, int]]:
        """First frame and frame after the last of each shot's chapter; a dissolve is parted in its middle."""
        starts = [0] + [
            span.start_frame + transition.overlap // 2
            for span, transition in zip(self.spans[1:], self.transitions, strict=True)
        ]
        return list(zip(starts, [*starts[1:], self.num_frames], strict=True))


def parse_transition(text: str) -> Transition:
    """Return the transition of a text: "cut", "dissolve:8", "fade:12" or "fade:12:#ffffff" (lengths in frames).

    Raises:
        InputError: If it is none of these.

    Example:
        >>> parse_transition("fade:12:#ff0000")
        Transition(kind='fade', num_frames=12, colour=(255, 0, 0))
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise InputError(f"A transition is cut, dissolve:FRAMES, fade:FRAMES or fade:FRAMES:#RRGGBB, got {text!r}.")
    cut, dissolve, overlap, _, length, colour = match.groups()
    if cut:
        return Transition()
    if dissolve:
        return Transition(kind="dissolve", num_frames=int(overlap))
    red, green, blue = bytes.fromhex(colour or "000000")
    return Transition(kind="fade", num_frames=int(length), colour=(red, green, blue))


def plan_film(
    shot_lengths: Sequence[int],
    frame_rate: Fraction | float | str,
    transitions: Transition | Sequence[Transition] | None = None,
) -> FilmPlan:
    """Return where each shot stands in the film.

    Args:
        shot_lengths: Frames of each shot.
        frame_rate: Frames per second.
        transitions: One for all joins, or one per join (one fewer than shots); cuts if None.

    Raises:
        InputError: If there is no shot, one is too short for its transitions, or their number does not fit.
    """
    lengths = list(shot_lengths)
    if not lengths or min(lengths) < 1:
        raise InputError(f"A film needs shots of at least one frame, got lengths {lengths}.")
    joins = len(lengths) - 1
    if transitions is None or isinstance(transitions, Transition):
        between = (transitions or Transition(),) * joins
    else:
        between = tuple(transitions)
    if len(between) != joins:
        raise InputError(f"{len(lengths)} shots have {joins} joins, but {len(between)} transitions were given.")
    spans, start = [], 0
    for index, length in enumerate(lengths):
        before = between[index - 1].frames_after if index else 0
        after = between[index].frames_before if index < joins else 0
        if before + after > length:
            raise InputError(f"Shot {index} has {length} frames, but its transitions take {before + after}.")
        spans.append(ShotSpan(start_frame=start, end_frame=start + length))
        start += length - (between[index].overlap if index < joins else 0)
    return FilmPlan(spans=tuple(spans), transitions=between, frame_rate=exact_frame_rate(frame_rate))


def film_frames(shots: Sequence[NDArray[np.uint8]], plan: FilmPlan) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of the film, (H, W, 3) each; whole-number arithmetic, so every machine gives the same.

    Args:
        shots: uint8 of shape (F, H, W, 3), RGB; all of one size. They are not changed.
        plan: Of their lengths.

    Raises:
        InputError: If the shots are not those of the plan, or differ in size.
    """
    _check_shots(shots, plan)
    last = len(shots) - 1
    for index, frames_FHW3 in enumerate(shots):
        incoming = plan.transitions[index - 1] if index else Transition()
        outgoing = plan.transitions[index] if index < last else Transition()
        for number in range(incoming.overlap, len(frames_FHW3)):
            frame, left = frames_FHW3[number], len(frames_FHW3) - number
            if incoming.kind == "fade" and number < incoming.frames_after:
                frame = _blend(_plain(frame, incoming.colour), frame, number, incoming.frames_after)
            elif outgoing.kind == "fade" and left <= outgoing.frames_before:
                frame = _blend(_plain(frame, outgoing.colour), frame, left - 1, outgoing.frames_before)
            elif outgoing.kind == "dissolve" and left <= outgoing.overlap:
                arrived = outgoing.overlap - left
                frame = _blend(frame, shots[index + 1][arrived], arrived + 1, outgoing.overlap + 1)
            yield frame


def film_sound(sounds: Sequence[NDArray[np.float32] | None], plan: FilmPlan, sample_rate: int) -> NDArray[np.float32]:
    """Return the sound of the film, stereo, exactly as long as its picture.

    Each shot's sound is cut, or followed by silence, to the shot's place. Over a dissolve both sounds cross at equal
    power (their squared gains sum to one); with a fade the sound goes out and comes back too; at a cut each is faded
    for 5 ms against clicks.

    Args:
        sounds: Per shot (1 or 2, T), or None for silence.
        plan: Of the film.
        sample_rate: Of all sounds.

    Raises:
        InputError: If the number of sounds does not fit, or one has another shape.
    """
    if len(sounds) != len(plan.spans):
        raise InputError(f"The film has {len(plan.spans)} shots, but {len(sounds)} sounds were given.")
    film_CT = np.zeros((2, plan.sample_at(plan.num_frames, sample_rate)), np.float32)
    last = len(sounds) - 1
    for index, sound_CT in enumerate(sounds):
        if sound_CT is None:
            continue
        if sound_CT.ndim != 2 or sound_CT.shape[0] not in (1, 2):
            raise InputError(f"The sound of shot {index} must have the shape (1 or 2, samples), got {sound_CT.shape}.")
        begin, end = plan.samples_of(index, sample_rate)
        placed_CT = np.zeros((2, end - begin), np.float32)
        kept = min(end - begin, sound_CT.shape[1])
        placed_CT[:, :kept] = sound_CT[:, :kept]
        if index:
            ramp_T = _ramp(plan, index - 1, sample_rate, after=True)[: end - begin]
            placed_CT[:, : len(ramp_T)] *= ramp_T
        if index < last:
            ramp_T = _ramp(plan, index, sample_rate, after=False)[: end - begin]
            placed_CT[:, end - begin - len(ramp_T) :] *= ramp_T[::-1]
        film_CT[:, begin:end] += placed_CT
    return film_CT


def _ramp(plan: FilmPlan, join: int, sample_rate: int, *, after: bool) -> NDArray[np.float32]:
    """Return rising gains at a join, for the sound after it; those of the sound before it are mirrored."""
    transition = plan.transitions[join]
    seam = plan.spans[join + 1].start_frame
    if transition.kind == "cut":
        length = round(_DECLICK_SECONDS * sample_rate)
    elif after or transition.kind == "dissolve":
        length = plan.sample_at(seam + transition.frames_after, sample_rate) - plan.sample_at(seam, sample_rate)
    else:
        length = plan.sample_at(seam, sample_rate) - plan.sample_at(seam - transition.frames_before, sample_rate)
    return np.sin((np.arange(length) + 0.5) * (np.pi / 2 / max(1, length))).astype(np.float32)


def _blend(first: NDArray[np.uint8], second: NDArray[np.uint8], weight: int, whole: int) -> NDArray[np.uint8]:
    """Return the picture that is `weight / whole` of the second and the rest of the first, rounded to nearest."""
    mixed = first.astype(np.int32) * (whole - weight) + second.astype(np.int32) * weight
    return ((2 * mixed + whole) // (2 * whole)).astype(np.uint8)


def _plain(frame: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(colour, np.uint8), frame.shape)


def _check_shots(shots: Sequence[NDArray[np.uint8]], plan: FilmPlan) -> None:
    lengths = [span.end_frame - span.start_frame for span in plan.spans]
    if [len(frames_FHW3) for frames_FHW3 in shots] != lengths:
        raise InputError(f"The plan is for shots of {lengths} frames, got {[len(one) for one in shots]}.")
    for index, frames_FHW3 in enumerate(shots):
        if frames_FHW3.dtype != np.uint8 or frames_FHW3.ndim != 4 or frames_FHW3.shape[3] != 3:
            raise InputError(f"Shot {index} must be uint8 (frames, height, width, 3), got {frames_FHW3.shape}.")
        if frames_FHW3.shape[1:] != shots[0].shape[1:]:
            sizes = [f"{one.shape[2]}x{one.shape[1]}" for one in (frames_FHW3, shots[0])]
            raise InputError(f"Shot {index} is {sizes[0]}, but shot 0 is {sizes[1]}.")
