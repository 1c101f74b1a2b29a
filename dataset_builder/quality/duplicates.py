"""Near-duplicate films and shots, found by the perceptual hashes of their sampled frames.

Two films are duplicates if most of the shorter one's frames are found again in the longer one, in order and at one
shift of time: a copy in another size or encoding, a copy with its ends cut off, an episode inside a compilation. What
episodes have in common, an opening or a title card, is a small share and links nothing. Frames that say little (black,
white, one colour) are left out.

A film is judged as a whole, and so is a shot. Frames that repeat *inside* a shot are held pictures, the timing of
animation: they are never looked for, and nothing is dropped because of them.
"""

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.dataset_builder.quality.groups import connected_groups
from animeshooter_hf.dataset_builder.quality.hash_index import MAX_DISTANCE, near_pairs
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Shot

__all__ = [
    "SHOT_SETTINGS",
    "DuplicateLink",
    "DuplicateReport",
    "DuplicateSettings",
    "HashSequence",
    "find_duplicates",
    "keep_first",
    "shot_sequences",
]


_MAX_BELOW = 1000
_SPEEDS = (1.0, 25 / 24, 24 / 25)
"""What the time of the longer film is multiplied with: film at 24 frames per second is shown on television at 25."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateSettings:
    """When two films, or two shots, are the same. All our choice: the paper names no rule."""

    max_distance: int = 16
    """Bits of 64 by which two frames may differ that stand at the same place: copies are sampled at other moments, and
    things move. Unlike pictures differ in about 32."""

    seed_distance: int = 7
    """Bits by which two frames may differ that bring two films together at all, 0 to 7; see `hash_index.py`."""

    min_seed_share: float = 0.1
    """Share of the shorter one's frames that must be near a frame of the longer one before the order is looked at."""

    min_share: float = 0.6
    """Share of the shorter one's frames that must be found again, in order. Toon films that play in one room with one
    character reached 0.53 without being copies; copies whose ends were cut off went down to 0.5, mostly above 0.6."""

    min_distinct: int = 4
    """Different pictures that must be found again; less is too little to tell."""

    max_neighbours: int = 32
    """Bound of the search where very many hashes are alike, see `hash_index.py`."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed_distance <= MAX_DISTANCE or not 0 <= self.max_distance <= 64:
            raise ValueError(
                f"seed_distance must lie between 0 and {MAX_DISTANCE} and max_distance between 0 and 64, got {self}."
            )
        if not 0 < self.min_share <= 1 or not 0 <= self.min_seed_share <= 1:
            raise ValueError(f"min_share must lie in (0, 1] and min_seed_share in [0, 1], got {self}.")
        if self.min_distinct < 1 or self.max_neighbours < 1:
            raise ValueError(f"min_distinct and max_neighbours must be positive, got {self}.")


SHOT_SETTINGS = DuplicateSettings(max_distance=8, min_share=0.75, min_distinct=2)
"""For shots, which have a handful of sampled frames: stricter, but two different pictures are enough."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HashSequence:
    """The sampled frames of a film or of a shot, as hashes."""

    id: str
    """Video or shot."""

    owner: str
    """Video; what belongs to one video is never compared, because animation repeats itself on purpose."""

    hashes: NDArray[np.uint64]
    """One per sampled frame, in order."""

    frames: NDArray[np.int64]
    """Their ordinals in the film."""

    times: NDArray[np.float64]
    """When they are shown, in seconds of the film."""

    is_telling: NDArray[np.bool_]
    """Whether a frame shows enough to be recognised by."""

    seconds: float
    """Length of the film or the shot."""

    pixels: int
    """Width times height of the film."""

    def __post_init__(self) -> None:
        if not len(self.hashes) == len(self.frames) == len(self.times) == len(self.is_telling):
            raise ValueError(f"{self.id}: hashes, frames, times and is_telling must be equally long.")

    @property
    def telling(self) -> NDArray[np.uint64]:
        """Hashes of the frames that can be recognised."""
        return self.hashes[self.is_telling]

    @classmethod
    def from_scan(cls, video_id: str, scan: FilmScan, *, min_contrast: float = 8.0) -> "HashSequence":
        """Return the sequence of a scanned film.

        Args:
            video_id: Of the film.
            scan: Its scan.
            min_contrast: Standard deviation of the grey values (0 to 255) below which a frame says little. Our choice.
        """
        return cls(
            id=video_id,
            owner=video_id,
            hashes=np.array([sample.phash for sample in scan.samples], np.uint64),
            frames=np.array([sample.frame for sample in scan.samples], np.int64),
            times=np.array([scan.index.seconds(sample.frame) for sample in scan.samples], np.float64),
            is_telling=np.array([_contrast(sample.jpeg) >= min_contrast for sample in scan.samples], bool),
            seconds=scan.index.seconds(scan.num_frames),
            pixels=scan.width * scan.height,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the sequence as JSON values, as a receipt keeps it."""
        return {
            "id": self.id,
            "owner": self.owner,
            "hashes": [f"{value:016x}" for value in self.hashes.tolist()],
            "frames": self.frames.tolist(),
            "times": self.times.tolist(),
            "is_telling": self.is_telling.tolist(),
            "seconds": self.seconds,
            "pixels": self.pixels,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "HashSequence":
        """Return the sequence of its JSON form."""
        return cls(
            id=data["id"],
            owner=data["owner"],
            hashes=np.array([int(value, 16) for value in data["hashes"]], np.uint64),
            frames=np.array(data["frames"], np.int64),
            times=np.array(data["times"], np.float64),
            is_telling=np.array(data["is_telling"], bool),
            seconds=data["seconds"],
            pixels=data["pixels"],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateLink:
    """Two that are the same, and why we think so."""

    shorter: str
    """The one whose frames were looked for."""

    longer: str
    """The one in which they were found."""

    share: float
    """Share of the shorter one's telling frames that were found, in order."""

    num_found: int
    """How many frames that are."""

    num_frames: int
    """Telling frames of the shorter one."""

    num_distinct: int
    """Different pictures among those found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateReport:
    """What was found."""

    links: tuple[DuplicateLink, ...]
    """Pairs, by name."""

    below: tuple[DuplicateLink, ...]
    """Pairs that have something in common, but too little, the greatest share first and at most 1,000: evidence for
    choosing another threshold."""

    groups: tuple[tuple[str, ...], ...]
    """What hangs together by links, two or more in each."""

    too_little: tuple[str, ...] = field(default_factory=tuple)
    """Those with too few telling frames to be judged."""


def find_duplicates(sequences: Sequence[HashSequence], settings: DuplicateSettings | None = None) -> DuplicateReport:
    """Return which sequences are the same, with the evidence.

    Args:
        sequences: Films or shots, in any order; IDs are unique.
        settings: When two are the same.

    Raises:
        InputError: If two have the same ID.
    """
    settings = settings or DuplicateSettings()
    ordered = sorted(sequences, key=lambda one: one.id)
    names = [one.id for one in ordered]
    if len(set(names)) != len(names):
        double = next(one for one, other in itertools.pairwise(names) if one == other)
        raise InputError(f"Two films or shots have the ID {double}.")
    links: list[DuplicateLink] = []
    below: list[DuplicateLink] = []
    for one, other in _candidates(ordered, settings):
        shorter, longer = sorted((ordered[one], ordered[other]), key=_length)
        link = _compare(shorter, longer, settings.max_distance)
        is_same = link.share >= settings.min_share and link.num_distinct >= settings.min_distinct
        (links if is_same else below).append(link)
    below.sort(key=lambda link: (-link.share, link.shorter, link.longer))
    groups = connected_groups((), ((link.shorter, link.longer) for link in links))
    too_little = tuple(one.id for one in ordered if len(np.unique(one.telling)) < settings.min_distinct)
    return DuplicateReport(
        links=tuple(links), below=tuple(below[:_MAX_BELOW]), groups=tuple(groups), too_little=too_little
    )


def keep_first(sequences: Iterable[HashSequence], report: DuplicateReport) -> dict[str, str]:
    """Return which ones to drop, with the reason: `duplicate_of:ID` of one that is kept.

    Among those that hang together the longest is kept, or of those within 2 % of its length the one with most pixels;
    then the best of those that are no copy of it, and so on. So nothing is dropped for being like something dropped.
    """
    known = {one.id: one for one in sequences}
    partners: dict[str, set[str]] = {}
    for link in report.links:
        partners.setdefault(link.shorter, set()).add(link.longer)
        partners.setdefault(link.longer, set()).add(link.shorter)
    dropped: dict[str, str] = {}
    for group in report.groups:
        left = set(group)
        while left:
            longest = max(known[name].seconds for name in left)
            alike = [known[name] for name in left if known[name].seconds >= 0.98 * longest]
            best = min(alike, key=lambda one: (-one.pixels, -one.seconds, one.id)).id
            copies = partners[best] & left
            dropped.update((name, f"duplicate_of:{best}") for name in sorted(copies))
            left -= copies | {best}
    return dict(sorted(dropped.items()))


def shot_sequences(film: HashSequence, shots: Iterable[Shot], *, frame_rate: float) -> Iterator[HashSequence]:
    """Yield the sequence of each shot that has frames; a shot in which no frame was sampled gives an empty one."""
    for shot in shots:
        if shot.start_frame is None or shot.end_frame is None:
            continue
        inside = (film.frames >= shot.start_frame) & (film.frames < shot.end_frame)
        yield HashSequence(
            id=shot.shot_id,
            owner=film.owner,
            hashes=film.hashes[inside],
            frames=film.frames[inside],
            times=film.times[inside],
            is_telling=film.is_telling[inside],
            seconds=(shot.end_frame - shot.start_frame) / frame_rate,
            pixels=film.pixels,
        )


def _length(one: HashSequence) -> tuple[float, int, str]:
    return one.seconds, len(one.hashes), one.id


def _candidates(judged: Sequence[HashSequence], settings: DuplicateSettings) -> list[tuple[int, int]]:
    """Return pairs of positions that have enough near hashes to be worth comparing frame by frame."""
    owner_numbers = {owner: number for number, owner in enumerate(sorted({one.owner for one in judged}))}
    rows = [np.unique(one.telling, return_counts=True) for one in judged]
    hashes = np.concatenate([np.zeros(0, np.uint64), *(values for values, _ in rows)])
    weights = np.concatenate([np.zeros(0, np.int64), *(counts for _, counts in rows)])
    sequence = np.repeat(np.arange(len(rows)), [len(values) for values, _ in rows])
    owners = np.array([owner_numbers[judged[number].owner] for number in sequence.tolist()], np.int64)
    pairs = near_pairs(hashes, owners, max_distance=settings.seed_distance, max_neighbours=settings.max_neighbours)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    # One line per (sequence, row of it, other sequence): that row is found in the other one.
    found = np.unique(np.stack([sequence[both[:, 0]], sequence[both[:, 1]], both[:, 0]], axis=1), axis=0)
    if not len(found):
        return []
    pair_keys, inverse = np.unique(found[:, 0] * len(judged) + found[:, 1], return_inverse=True)
    matched = np.bincount(inverse, weights=weights[found[:, 2]])
    totals = np.array([len(one.telling) for one in judged])
    one, other = pair_keys // len(judged), pair_keys % len(judged)
    promising = matched >= np.maximum(1, settings.min_seed_share * totals[one])
    return sorted({(min(a, b), max(a, b)) for a, b in zip(one[promising], other[promising], strict=True)})


def _compare(shorter: HashSequence, longer: HashSequence, max_distance: int) -> DuplicateLink:
    """Return how many frames of the shorter one are found in the longer one, at one shift of time and one speed."""
    near = np.bitwise_count(shorter.telling[:, None] ^ longer.telling[None]) <= max_distance
    spacing = [one.seconds / max(1, len(one.hashes)) for one in (shorter, longer)]
    times = [one.times[one.is_telling] for one in (shorter, longer)]
    num_found, distinct = 0, 0
    for speed in _SPEEDS:
        shifts = times[1][None] * speed - times[0][:, None]
        inside = near & _common_shift(shifts, near, 1.5 * max(spacing))
        if int(inside.any(axis=1).sum()) <= num_found:
            continue  # even all of them would be no more
        found = _longest_chain(inside, max(1, round(spacing[1] / max(spacing[0], 1e-9))))
        if found > num_found:
            num_found, distinct = found, len(np.unique(shorter.telling[inside.any(axis=1)]))
    return DuplicateLink(
        shorter=shorter.id,
        longer=longer.id,
        share=num_found / max(1, len(shorter.telling)),
        num_found=num_found,
        num_frames=len(shorter.telling),
        num_distinct=distinct,
    )


def _common_shift(shifts: NDArray[np.float64], near: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    """Return which pairs of frames lie at the shift of time at which most near pairs lie, give or take a tolerance."""
    ordered = np.sort(shifts[near])
    if not len(ordered):
        return near
    counts = np.searchsorted(ordered, ordered + 2 * tolerance, side="right") - np.arange(len(ordered))
    first = ordered[int(np.argmax(counts))]
    return (shifts >= first) & (shifts <= first + 2 * tolerance)


def _longest_chain(near: NDArray[np.bool_], repeats: int) -> int:
    """Return how many rows find a column of their own, in order (the longest common subsequence).

    A picture that is held for 7 s in one film and for 2 s in the other is so found for 2 s only. Where the shorter film
    is sampled more densely, each frame of the longer one may be found `repeats` times.
    """
    best = np.zeros(near.shape[1] * repeats + 1, np.int64)
    for row in np.repeat(near, repeats, axis=1):
        best[1:] = np.maximum.accumulate(np.maximum(best[1:], best[:-1] + row))
    return int(best[-1])


def _contrast(jpeg: bytes) -> float:
    """Return the standard deviation of a JPEG's grey values, decoded at an eighth of its size where that is enough."""
    with Image.open(io.BytesIO(jpeg)) as picture:
        picture.draft("L", (64, 64))
        return float(np.asarray(picture.convert("L"), np.float32).std())
