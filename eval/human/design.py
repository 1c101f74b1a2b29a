"""Who sees which film when: blind, balanced, with attention checks.

Ratings. Each rater gets a block of stories and sees every system's film of each, in as many rounds as there are
systems. Which system comes in which round is a row of a Williams square, another one for each rater and story: each
system stands equally often in each round, and follows each other one equally often. Two films of one story are never
side by side.

Pairs. Every pair of systems on every story is a cell; raters take blocks of cells in turn, so that all cells are
judged equally often (to within one). Which film stands at the left is chosen so that the sides stay even for each pair
of systems, for each rater and for each cell.

Checks, of each part and for each rater:
    wrong_ip    a rating: the film shows a story of another IP, so the character cannot be the one in the picture
                a pair: the story's own film against such a film of the same system
    repeated    a rating: a film that the rater has seen before, at least a third of the part earlier
    identical   a pair: the same film twice
They look like every other task. Their answers enter no result.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from animeshooter_hf.errors import InputError

__all__ = [
    "FilmKey",
    "Part",
    "StudyPlan",
    "StudySettings",
    "StudyTask",
    "choose_stories",
    "design_study",
    "williams_rows",
]

Part = Literal["rating", "pair"]
"""The two kinds of tasks."""

PARTS: tuple[Part, ...] = ("rating", "pair")


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySettings:
    """What a study looks like."""

    raters: int = 10
    """Orders to prepare; further raters get the first ones again. Paper: 10 raters."""

    num_stories: int = 15
    """Stories to choose, evenly over IPs; all of them if there are fewer. Paper: 15."""

    parts: tuple[Part, ...] = ("rating",)
    """Kinds of tasks, in order. Paper: ratings."""

    stories_per_rater: int | None = None
    """Stories that each rater rates; None for all. Paper: all."""

    pairs_per_rater: int | None = None
    """Pairs that each rater compares; None for all."""

    checks: int = 2
    """Attention checks of each sort in each part. Our choice: with four of them a rater who clicks at random fails at
    least two in 97 of 100 cases (worked out for the rules of votes.py)."""

    seed: int = 0
    """Seed of every choice, and of the files' names. Raters must not know it."""

    def __post_init__(self) -> None:
        for name, lowest in (("raters", 1), ("num_stories", 1), ("checks", 0)):
            if getattr(self, name) < lowest:
                raise InputError(f"{name} must be at least {lowest}, got {getattr(self, name)}.")
        for name in ("stories_per_rater", "pairs_per_rater"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        if not self.parts or len(set(self.parts)) != len(self.parts) or not set(self.parts) <= set(PARTS):
            raise InputError(f"The tasks must be one or both of {', '.join(PARTS)}, got {' '.join(self.parts)!r}.")


@dataclass(frozen=True, order=True, slots=True)
class FilmKey:
    """Which film."""

    system: str
    """Who made it."""

    story_id: str
    """What it tells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyTask:
    """One screen of the page."""

    task_id: str
    """Neutral name."""

    part: Part
    """Rating or pair."""

    story_id: str
    """Whose reference and captions are shown."""

    films: tuple[FilmKey, ...]
    """One to rate, or the left and the right one."""

    check: str = ""
    """Sort of attention check, "" for a task that counts."""

    repeats: str = ""
    """Task whose film is shown once more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlan:
    """All tasks, and each rater's order of them."""

    tasks: dict[str, StudyTask]
    """By neutral name."""

    orders: tuple[tuple[str, ...], ...]
    """One per rater, in order of showing."""

    notes: tuple[str, ...] = field(default=())
    """What the study cannot do, in words."""


def choose_stories(ips: dict[str, str], count: int, seed: int) -> list[str]:
    """Return stories chosen evenly over IPs: one of each IP, then a second of each, in an order of chance.

    Args:
        ips: IP of each story.
        count: How many to choose.
        seed: Seed of the choice.
    """
    rng = np.random.default_rng(seed)
    by_ip: dict[str, list[str]] = {}
    for story in sorted(ips):
        by_ip.setdefault(ips[story], []).append(story)
    lists = [[stories[at] for at in rng.permutation(len(stories))] for _, stories in sorted(by_ip.items())]
    lists = [lists[at] for at in rng.permutation(len(lists))]
    turns = itertools.zip_longest(*lists)
    return [story for turn in turns for story in turn if story is not None][:count]


def williams_rows(count: int) -> list[list[int]]:
    """Return orders of so many things in which each stands once in each place and follows each other equally often.

    An even number needs as many rows as things, an odd one twice as many. Source: Williams 1949.

    Example:
        >>> williams_rows(4)
        [[0, 3, 1, 2], [1, 0, 2, 3], [2, 1, 3, 0], [3, 2, 0, 1]]
    """
    zigzag = [-(at // 2 + 1) if at % 2 else at // 2 for at in range(count)]
    rows = [[(step + start) % count for step in zigzag] for start in range(count)]
    return rows if count % 2 == 0 else rows + [row[::-1] for row in rows]


def design_study(ips: dict[str, str], systems: Sequence[str], settings: StudySettings) -> StudyPlan:
    """Return the plan of a study.

    Args:
        ips: IP of each chosen story, in the order in which stories were chosen.
        systems: Names of the systems; all of them made all stories.
        settings: What the study looks like.

    Raises:
        InputError: If there are no stories, or pairs are wanted of one system.
    """
    if not ips or not systems:
        raise InputError("A study needs at least one system and one story that all systems made.")
    if "pair" in settings.parts and len(systems) < 2:
        raise InputError("Pairs need at least two systems.")
    designer = _Designer(dict(ips), sorted(systems), settings)
    orders = [designer.order_of(rater) for rater in range(settings.raters)]
    return designer.named(orders)


_Draft = tuple[Part, str, tuple[FilmKey, ...], str, int]
"""Part, story, films, check and the place of the draft that is repeated (-1 for none)."""


class _Designer:
    def __init__(self, ips: dict[str, str], systems: list[str], settings: StudySettings) -> None:
        self.ips, self.stories, self.systems, self.settings = ips, list(ips), systems, settings
        self.pairs = list(itertools.combinations(systems, 2))
        self.rows = williams_rows(len(systems))
        self.lean: Counter[tuple[object, ...]] = Counter()
        self.drafts: dict[_Draft, int] = {}

    def order_of(self, rater: int) -> list[int]:
        """Return the places of a rater's drafts, part by part."""
        rng = np.random.default_rng([self.settings.seed, rater])
        order: list[int] = []
        for part in self.settings.parts:
            drafts = self._ratings(rater, rng) if part == "rating" else self._pairs(rater, rng)
            order += self._with_checks(part, [self._place(draft) for draft in drafts], rater, rng)
        return order

    def named(self, orders: Sequence[Sequence[int]]) -> StudyPlan:
        """Return the plan; the tasks' names are numbers of chance, so that they say nothing."""
        shuffled = np.random.default_rng([self.settings.seed, len(self.drafts)]).permutation(len(self.drafts))
        names = [f"t{number + 1:04d}" for number in shuffled]
        tasks = {
            names[place]: StudyTask(
                task_id=names[place],
                part=part,
                story_id=story,
                films=films,
                check=check,
                repeats=names[repeats] if repeats >= 0 else "",
            )
            for (part, story, films, check, repeats), place in self.drafts.items()
        }
        notes = []
        if self.settings.checks and len(set(self.ips.values())) < 2:
            notes.append("All stories are of one IP, so there are no checks with a character of another IP.")
        return StudyPlan(
            tasks=dict(sorted(tasks.items())),
            orders=tuple(tuple(names[place] for place in order) for order in orders),
            notes=tuple(notes),
        )

    def _place(self, draft: _Draft) -> int:
        return self.drafts.setdefault(draft, len(self.drafts))

    def _ratings(self, rater: int, rng: np.random.Generator) -> Iterator[_Draft]:
        count = min(self.settings.stories_per_rater or len(self.stories), len(self.stories))
        block = [(rater * count + at) % len(self.stories) for at in range(count)]
        last = -1
        for turn in range(len(self.systems)):
            shuffled = [block[at] for at in rng.permutation(count)]
            if shuffled[0] == last and count > 1:
                shuffled.append(shuffled.pop(0))
            last = shuffled[-1]
            for at in shuffled:
                system = self.systems[self.rows[(rater + at) % len(self.rows)][turn]]
                yield "rating", self.stories[at], (FilmKey(system, self.stories[at]),), "", -1

    def _pairs(self, rater: int, rng: np.random.Generator) -> Iterator[_Draft]:
        num_stories, num_pairs = len(self.stories), len(self.pairs)
        cells = [(at, (at + turn) % num_pairs) for turn in range(num_pairs) for at in range(num_stories)]
        count = min(self.settings.pairs_per_rater or len(cells), len(cells))
        block = [cells[(rater * count + at) % len(cells)] for at in range(count)]
        for first in range(0, count, num_stories):
            part = block[first : first + num_stories]
            for place in rng.permutation(len(part)):
                at, pair = part[place]
                films = self._sides(rater, self.stories[at], self.pairs[pair])
                yield "pair", self.stories[at], films, "", -1

    def _sides(self, rater: int, story: str, pair: tuple[str, str]) -> tuple[FilmKey, FilmKey]:
        """Return left and right, so that what stood at the left too often stands at the right now."""
        keys = ((pair,), (pair, rater), (pair, story), *((system, rater) for system in pair))
        weights = (4, 3, 2, 1, -1)
        lean = sum(weight * self.lean[key] for key, weight in zip(keys, weights, strict=True))
        is_turned = lean > 0 or (lean == 0 and (rater + self.stories.index(story)) % 2 == 1)
        step = -1 if is_turned else 1
        for key, weight in zip(keys, weights, strict=True):
            self.lean[key] += step if weight > 0 else -step
        films = FilmKey(pair[0], story), FilmKey(pair[1], story)
        return (films[1], films[0]) if is_turned else films

    def _with_checks(self, part: Part, order: list[int], rater: int, rng: np.random.Generator) -> list[int]:
        """Insert the checks, spread over the part, with repeated films late."""
        drafts = list(self.drafts)
        later: list[tuple[float, int]] = []
        early = rng.permutation(max(1, len(order) // 3))
        for number in range(self.settings.checks):
            share = (number + rng.uniform(0.3, 0.7)) / self.settings.checks
            wrong = self._wrong_ip(part, rater, number, rng)
            if wrong is not None:
                later.append((share * len(order), self._place(wrong)))
            if number >= len(early):
                continue
            source = order[early[number]]
            _, story, films, _, _ = drafts[source]
            if part == "rating":
                where = len(order) * (2 + share) / 3
                later.append((where, self._place((part, story, films, "repeated", source))))
            else:
                film = films[int(rng.integers(2))]
                later.append((share * len(order), self._place((part, story, (film, film), "identical", -1))))
        places = [(float(at), place) for at, place in enumerate(order)] + later
        return list(dict.fromkeys(place for _, place in sorted(places)))

    def _wrong_ip(self, part: Part, rater: int, number: int, rng: np.random.Generator) -> _Draft | None:
        start = int(rng.integers(len(self.stories))) + number  # not the story of the check before
        turned = [self.stories[(start + at) % len(self.stories)] for at in range(len(self.stories))]
        story = turned[0]
        other = next((name for name in turned if self.ips[name] != self.ips[story]), None)
        if other is None:
            return None
        system = self.systems[(rater + number) % len(self.systems)]
        films: tuple[FilmKey, ...] = (FilmKey(system, other),)
        if part == "pair":
            films = (FilmKey(system, story), *films)
            films = films if (rater + number) % 2 else films[::-1]
        return part, story, films, "wrong_ip", -1
