"""What was decided about each candidate, with everything that decided it, so that it can be decided anew.

A verdict keeps the numbers of the rules and the segmenter's raw mask. `decide` is the decision as a pure function of
such evidence; finding references calls it, and `reapply_rules` calls it again with other thresholds, from the stored
verdicts alone: no frame is decoded, no segmenter runs, no verifier is asked.

A verifier costs money, so it is asked about frames that lie evenly over the story until enough have passed, and never
about the others.

Reasons, in the order in which they are looked for:

    not_seen             the segmenter found nobody
    segmenter_failed     it could not answer
    same_figure          another character of the shot claims the same figure, and is surer of it (or as sure)
    too_many_contours    the paper's rules (`rules.py`)
    too_many_components
    too_small
    too_large
    blurred, cut_off     our own limits, off unless asked for
    not_verified         a verifier is in use, but has never been asked about this mask (only when rules are re-applied)
    verifier_failed      it gave no answer that could be used
    refused              it said no; `failed_criteria` says to what
    lower_score          another figure of the same character in the same frame was taken, or stands before this one
    surplus              good as far as is known, but there are enough

Of masks that came with an annotation (`given.py`), before the paper's rules:

    no_mask              there is none, or nothing is in it
    other_shape          it has another shape than the film
    not_declared         the story does not declare the character
    boundary             the frame is the first one of the next shot
    outside_story        the frame lies in another story
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from animeshooter_hf.dataset_builder.references.rules import MaskRules, clean_mask, rule_reason
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import ReferenceMask

__all__ = [
    "ReferenceSettings",
    "ReferenceVerdict",
    "References",
    "Verification",
    "count_reasons",
    "decide",
    "reapply_rules",
    "take_evenly",
]

T = TypeVar("T")

Place = tuple[str, int, str]
"""Story, frame and character."""

_SETTLED = (
    "not_seen", "segmenter_failed", "no_mask", "other_shape", "not_declared", "boundary", "outside_story",
)  # fmt: skip
"""Reasons that no thresholds can change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceSettings:
    """How references are chosen."""

    frames_per_second: float = 1.0
    """Candidates per second of a shot. Paper: 1."""

    max_per_character: int = 12
    """References kept per character and story, evenly over its candidates. Our choice: the release has 5 to 29."""

    max_shared: float = 0.5
    """Two characters' masks that share more (of the smaller one) are one figure with two names. Our choice."""

    min_sharpness: float = -1.0
    """Blurrier cut-outs are rejected; see `pictures.sharpness_of`. Our choice: -1, it is only written down."""

    max_border_share: float = 1.0
    """Masks of whose outline more lies on the frame's border are rejected. Our choice: 1, it is only written down."""

    max_failures_in_row: int = 3
    """Frames that a segmenter may fail one after the other before the film is given up. Our choice."""

    def __post_init__(self) -> None:
        if self.frames_per_second <= 0 or self.max_per_character < 1 or self.max_failures_in_row < 1:
            raise ValueError(
                f"frames_per_second, max_per_character and max_failures_in_row must be positive, got {self}."
            )
        if not 0 <= self.max_shared <= 1 or not 0 <= self.max_border_share <= 1:
            raise ValueError(f"max_shared and max_border_share must lie in 0 to 1, got {self}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What a verifier said of a cut-out."""

    passed: bool
    """Whether every criterion holds."""

    failed_criteria: tuple[str, ...] = ()
    """Those that do not, or were not answered."""

    problem: str = ""
    """Why there is no answer that could be used; empty where there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceVerdict:
    """What was decided about one figure in one candidate frame, and from what."""

    story_id: str
    """Story."""

    character_id: str
    """Character."""

    frame_index: int
    """Frame of the video."""

    reason: str | None
    """Why it was rejected, or None if it was kept. The file's first lines list the reasons."""

    num_contours: int = 0
    """Contours of the cleaned mask."""

    num_components: int = 0
    """Components of the cleaned mask."""

    area: float = 0.0
    """Share of the image that the largest component covers."""

    kernel: int = MaskRules().kernel
    """Kernel with which these numbers were made."""

    instance: int = 0
    """Which of the segmenter's figures for this character, best first."""

    score: float | None = None
    """The segmenter's, 0 to 1."""

    mask: RleMask | None = None
    """The mask as it came from the segmenter."""

    is_exact: bool = False
    """Whether the mask is known to be exact, and is kept as it came; otherwise it is kept in its cleaned form."""

    shared: float = 0.0
    """Largest share of the smaller mask that this one has in common with another character's figure in the frame that
    scores as high or higher."""

    shared_with: str | None = None
    """That other character."""

    sharpness: float | None = None
    """Of the picture inside the mask, see `pictures.sharpness_of`; None where the picture was not looked at."""

    border_share: float | None = None
    """Share of the mask's outline that lies on the frame's border."""

    verifier_is_used: bool = False
    """Whether a verifier has to agree."""

    verified: bool | None = None
    """What it said, or None if it was not asked."""

    failed_criteria: tuple[str, ...] = ()
    """What it said no to."""

    detail: str = ""
    """What a reason has to add."""

    @property
    def place(self) -> Place:
        """Story, frame and character."""
        return self.story_id, self.frame_index, self.character_id

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values."""
        row = asdict(self)
        row["failed_criteria"] = list(self.failed_criteria)
        row["mask"] = (
            None
            if self.mask is None
            else {"size": [self.mask.height, self.mask.width], "counts": self.mask.counts}
        )  # fmt: skip
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "ReferenceVerdict":
        """Return the verdict of its JSON form.

        Raises:
            InputError: If a key is unknown or a value does not fit.
        """
        unknown = sorted(set(row) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(f"Unknown key of a reference verdict: {unknown[0]!r}.")
        try:
            rle = row.get("mask")
            mask = None if rle is None else RleMask(int(rle["size"][0]), int(rle["size"][1]), str(rle["counts"]))
            return cls(**{**row, "mask": mask, "failed_criteria": tuple(row.get("failed_criteria") or ())})
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise InputError(f"A reference verdict is damaged: {error}.") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class References:
    """The references of a story."""

    kept: tuple[ReferenceMask, ...]
    """In order of frame, then of character."""

    verdicts: tuple[ReferenceVerdict, ...]
    """One per figure found, and one per candidate frame in which nobody was found."""

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> how many figures, "kept" among them."""
        return count_reasons(self.verdicts)


Ask = Callable[[ReferenceVerdict], Verification | None]
"""Asks the verifier about a figure; None: it cannot be asked any more."""


def count_reasons(verdicts: Iterable[ReferenceVerdict]) -> dict[str, int]:
    """Return reason -> how many candidates, "kept" among them."""
    return dict(sorted(Counter(verdict.reason or "kept" for verdict in verdicts).items()))


def decide(
    evidence: Sequence[ReferenceVerdict], rules: MaskRules, settings: ReferenceSettings, ask: Ask | None
) -> References:
    """Return the references of a story, of each character as many as are wanted, evenly over its frames.

    Without a verifier, the best figure of a frame stands or falls. With one, the figures of a frame are tried from the
    best on until it agrees.

    Args:
        evidence: Every figure that was found; reasons are not looked at, save that nobody was found.
        rules: The paper's.
        settings: Our own limits.
        ask: The verifier, if there is one.
    """
    decided: dict[tuple[Place, int], ReferenceVerdict] = {}
    by_character: dict[tuple[str, str], list[list[ReferenceVerdict]]] = {}
    for group in _by_place(evidence):
        by_character.setdefault((group[0].story_id, group[0].character_id), []).append(group)
    for groups in by_character.values():
        judged = [[_judged(one, rules, settings) for one in group] for group in groups]
        settled = _without_verifier(judged, settings) if ask is None else _with_verifier(judged, settings, ask)
        decided.update({(one.place, one.instance): one for group in settled for one in group})
    final = tuple(decided[one.place, one.instance] for one in evidence)
    kept = [
        ReferenceMask(character_id=one.character_id, frame_index=one.frame_index, mask=_kept_mask(one, rules))
        for one in final
        if one.reason is None
    ]
    return References(kept=tuple(sorted(kept, key=lambda one: (one.frame_index, one.character_id))), verdicts=final)


def reapply_rules(
    verdicts: Sequence[ReferenceVerdict], rules: MaskRules, settings: ReferenceSettings | None = None
) -> References:
    """Decide anew from stored verdicts, with other thresholds; without frames, segmenter or verifier.

    It gives what finding the references with these thresholds would have given, save where a verifier would now be
    asked about a mask that it has never seen: such a mask is rejected as "not_verified". Candidate frames and which
    masks are one figure with two names follow from the stored evidence, so `frames_per_second` has no effect.

    Raises:
        InputError: If the kernel is another one and a verdict holds no mask.
    """
    settings = settings or ReferenceSettings()
    is_verified = any(one.verifier_is_used for one in verdicts)
    evidence = [_with_numbers(one, rules) for one in verdicts]
    return decide(evidence, rules, settings, _stored_answer if is_verified else None)


def take_evenly(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many of the items, evenly spread, the first one among them."""
    step = max(1.0, len(items) / most)
    return [items[int(number * step)] for number in range(min(len(items), most))]


def _without_verifier(
    groups: Sequence[list[ReferenceVerdict]], settings: ReferenceSettings
) -> list[list[ReferenceVerdict]]:
    """Settle a character's frames: the best figure of each stands or falls, and of the good ones enough are kept."""
    good = [group for group in groups if group[0].reason is None]
    kept = {group[0].place for group in take_evenly(good, settings.max_per_character)}
    return [
        [
            replace(group[0], reason="surplus") if group[0].reason is None and group[0].place not in kept else group[0],
            *(replace(one, reason="lower_score") for one in group[1:]),
        ]
        for group in groups
    ]


def _with_verifier(
    groups: Sequence[list[ReferenceVerdict]], settings: ReferenceSettings, ask: Ask
) -> list[list[ReferenceVerdict]]:
    """Settle a character's frames: ask about evenly spread ones until enough have passed."""
    settled: dict[Place, list[ReferenceVerdict]] = {}
    pending = [group for group in groups if any(one.reason is None for one in group)]
    missing = settings.max_per_character
    while pending and missing:
        for group in take_evenly(pending, missing):
            settled[group[0].place] = answered = _until_it_agrees(group, ask)
            missing -= any(one.reason is None for one in answered)
        pending = [group for group in pending if group[0].place not in settled]
    return [
        settled.get(group[0].place) or [replace(one, reason=one.reason or "surplus") for one in group]
        for group in groups
    ]


def _until_it_agrees(group: Sequence[ReferenceVerdict], ask: Ask) -> list[ReferenceVerdict]:
    """Return the figures of a frame, tried from the best on until the verifier agrees."""
    tried: list[ReferenceVerdict] = []
    is_found = False
    for one in group:
        if is_found:
            one = replace(one, reason="lower_score")
        elif one.reason is None:
            one = _verified(one, ask(one))
        is_found = is_found or one.reason is None
        tried.append(one)
    return tried


def _judged(one: ReferenceVerdict, rules: MaskRules, settings: ReferenceSettings) -> ReferenceVerdict:
    """Return a figure with the reason that follows from its numbers alone."""
    return one if one.reason in _SETTLED else replace(one, reason=_evidence_reason(one, rules, settings))


def _evidence_reason(one: ReferenceVerdict, rules: MaskRules, settings: ReferenceSettings) -> str | None:
    if one.shared > settings.max_shared:
        return "same_figure"
    if (reason := rule_reason(one.num_contours, one.num_components, one.area, rules)) is not None:
        return reason
    if one.sharpness is not None and one.sharpness < settings.min_sharpness:
        return "blurred"
    return "cut_off" if one.border_share is not None and one.border_share > settings.max_border_share else None


def _verified(one: ReferenceVerdict, answer: Verification | None) -> ReferenceVerdict:
    if answer is None:
        return replace(one, reason="not_verified")
    if answer.problem:
        return replace(one, reason="verifier_failed", detail=answer.problem)
    reason = None if answer.passed else "refused"
    return replace(one, reason=reason, verified=answer.passed, failed_criteria=answer.failed_criteria)


def _stored_answer(one: ReferenceVerdict) -> Verification | None:
    if one.verified is None:
        return Verification(passed=False, problem=one.detail) if one.detail else None
    return Verification(passed=one.verified, failed_criteria=one.failed_criteria)


def _with_numbers(one: ReferenceVerdict, rules: MaskRules) -> ReferenceVerdict:
    """Return a verdict with its numbers for the rules' kernel."""
    if one.reason in _SETTLED or one.kernel == rules.kernel:
        return one
    if one.mask is None:
        raise InputError(
            f"Kernel {rules.kernel} cannot be tried on frame {one.frame_index} of {one.story_id}: its mask is not kept."
        )
    cleaned = clean_mask(one.mask.to_array(), rules)
    numbers = {"num_contours": cleaned.num_contours, "num_components": cleaned.num_components, "area": cleaned.area}
    return replace(one, kernel=rules.kernel, **numbers)  # type: ignore[arg-type]


def _kept_mask(one: ReferenceVerdict, rules: MaskRules) -> RleMask | None:
    if one.mask is None or one.is_exact:
        return one.mask
    return RleMask.from_array(clean_mask(one.mask.to_array(), rules).mask)


def _by_place(verdicts: Sequence[ReferenceVerdict]) -> Iterator[list[ReferenceVerdict]]:
    """Yield the figures of each character in each frame, best first, in the order of the verdicts."""
    places: dict[Place, list[ReferenceVerdict]] = {}
    for one in verdicts:
        places.setdefault(one.place, []).append(one)
    for group in places.values():
        yield sorted(group, key=lambda one: one.instance)
