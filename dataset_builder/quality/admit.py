"""The admit stage: which films are taken in at all.

Rules that need no model come first: length, pictures that can be read, something that moves. Then the annotator is
asked about 16 pictures: is it animation, does it have burnt-in subtitles, what is its rating? The rating decides
nothing; it becomes a column. Cheap scores of the pictures are kept as numbers beside the decision; they decide only
where there is no annotator and the settings say so.

Source: AnimeShooter, arXiv 2506.03126, section 3 (collection): 16 uniform frames shown to an MLLM; what is not
animation, has burnt-in subtitles, or lasts longer than 20 minutes is dropped.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np

from animeshooter_hf.dataset_builder.annotate.annotator import AdmitRequest, Annotator
from animeshooter_hf.dataset_builder.annotate.prompts import load_prompt
from animeshooter_hf.dataset_builder.annotate.question import Answer, Part, Picture, Question, Text
from animeshooter_hf.dataset_builder.quality.picture_scores import PictureScores, decode_picture, score_pictures
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan, SampledFrame
from animeshooter_hf.dataset_builder.sources.folder import MAX_SECONDS, FilmSource
from animeshooter_hf.errors import InputError

__all__ = [
    "ADMIT_SCHEMA",
    "RATINGS",
    "Admission",
    "AdmitAnswer",
    "AdmitSettings",
    "Rating",
    "admit_film",
    "admit_question",
    "judge_frames",
    "parse_admission",
]

Rating = Literal["general", "teen", "mature", "unknown"]
"""Who may watch it."""

RATINGS: tuple[Rating, ...] = get_args(Rating)

ADMIT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "is_animation": {"type": "boolean"},
        "has_burnt_in_subtitles": {"type": "boolean"},
        "rating": {"type": "string", "enum": list(RATINGS)},
        "reason": {"type": "string"},
    },
    "required": ["is_animation", "has_burnt_in_subtitles", "rating", "reason"],
    "additionalProperties": False,
}
"""JSON schema of the answer."""

_PICTURE_SIDE = 512
_JPEG_QUALITY = 85
_MAX_ANSWER = 100_000
_MAX_REASON = 500
_MAX_OBJECTS = 16
_TRUE = {"true", "yes", "y", "1"}
_FALSE = {"false", "no", "n", "0"}
_SAME_RATING: Mapping[str, Rating] = {
    **dict.fromkeys(("g", "all", "all ages", "everyone", "safe", "family", "pg", "kids", "sfw"), "general"),
    **dict.fromkeys(("pg-13", "pg13", "teens", "13+", "12+", "questionable"), "teen"),
    **dict.fromkeys(("r", "r-17", "adult", "explicit", "nsfw", "18+", "17+"), "mature"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AdmitSettings:
    """When a film is taken in."""

    min_seconds: float = 3.0
    """Shorter films are left out. Our choice: less holds no story."""

    max_seconds: float = MAX_SECONDS
    """Longer films are left out. Paper: 20 minutes."""

    num_pictures: int = 16
    """Pictures that are shown. Paper: 16."""

    still_change: float = 0.75
    """A film whose pictures differ by no more than this, in grey levels, is a still. Our choice."""

    require_animation: bool = True
    """Whether films that the annotator does not take for animation are left out. Paper: yes."""

    refuse_subtitles: bool = True
    """Whether films in which the annotator sees burnt-in subtitles are left out. Paper: yes."""

    subtitle_score: float | None = None
    """Without an annotator, films whose subtitle score is at least this are left out; None for none. Our choice."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_seconds < self.max_seconds:
            raise InputError(
                "min_seconds must lie below max_seconds and not below 0, "
                f"got {self.min_seconds} and {self.max_seconds}."
            )
        if not 1 <= self.num_pictures <= 256:
            raise InputError(f"num_pictures must lie in 1 to 256, got {self.num_pictures}.")
        if self.subtitle_score is not None and not 0 < self.subtitle_score <= 1:
            raise InputError(f"subtitle_score must lie above 0 and at most at 1, got {self.subtitle_score}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class AdmitAnswer:
    """What an annotator's answer says; None where it says nothing that can be read."""

    is_animation: bool | None = None
    """Whether the film is animation."""

    has_burnt_in_subtitles: bool | None = None
    """Whether it has subtitles in its pictures."""

    rating: Rating = "unknown"
    """Who may watch it."""

    reason: str = ""
    """The annotator's own words."""

    @property
    def is_complete(self) -> bool:
        """Whether both questions are answered."""
        return self.is_animation is not None and self.has_burnt_in_subtitles is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Whether a film is taken in."""

    admitted: bool
    """Whether it is."""

    reasons: tuple[str, ...] = ()
    """Why not, each as `code: detail`; empty if it is admitted."""

    numbers: Mapping[str, float]
    """What was measured, so that limits can be applied again: seconds and the picture scores."""

    rating: Rating = "unknown"
    """Who may watch it; a column, never a reason."""

    said: AdmitAnswer | None = None
    """What the annotator said; None if it was not asked."""

    answer: Answer | None = None
    """The raw answer; None if the annotator was not asked."""

    @property
    def is_decided(self) -> bool:
        """Whether the decision is final: no annotator was needed, or it answered both questions."""
        return self.said is None or self.said.is_complete

    def to_json(self) -> dict[str, Any]:
        """Return the decision as plain JSON values; the raw text is kept as it came."""
        said = self.said
        return {
            "admitted": self.admitted,
            "reasons": list(self.reasons),
            "numbers": dict(self.numbers),
            "rating": self.rating,
            "is_decided": self.is_decided,
            "is_animation": said.is_animation if said else None,
            "has_burnt_in_subtitles": said.has_burnt_in_subtitles if said else None,
            "annotator_reason": said.reason if said else None,
            "raw_answer": self.answer.text if self.answer else None,
        }


def admit_film(
    film: FilmSource, scan: FilmScan, annotator: Annotator | None, settings: AdmitSettings | None = None
) -> Admission:
    """Return whether a film is taken in; the annotator is asked only if no rule speaks against the film.

    An answer that does not come or cannot be read admits nothing and refuses nothing: the film is not admitted, and
    `is_decided` is False, so that it is asked about again.

    Args:
        film: The film.
        scan: What one pass over it gave.
        annotator: Who looks at the pictures; None if nobody does.
        settings: When a film is taken in.
    """
    settings = settings or AdmitSettings()
    samples = judge_frames(scan, settings.num_pictures)
    scores = score_pictures([one for one in (decode_picture(sample.jpeg) for sample in samples) if one is not None])
    seconds = scan.index.seconds(scan.num_frames) if scan.num_frames else 0.0
    numbers = _numbers(seconds, scores)
    reasons = _rules(seconds, scores, settings)
    if reasons:
        return Admission(admitted=False, reasons=tuple(reasons), numbers=numbers)
    if annotator is None:
        limit = settings.subtitle_score
        if limit is not None and scores.subtitles >= limit:
            reasons.append(f"burnt_in_subtitles: the score {scores.subtitles:.2f} is not below {limit:g}")
        return Admission(admitted=not reasons, reasons=tuple(reasons), numbers=numbers)
    answer = annotator.admit(AdmitRequest(film=film, samples=samples, index=scan.index))
    said = parse_admission(answer.text or "") if answer.outcome in ("ok", "truncated") else AdmitAnswer()
    reasons = _annotator_reasons(said, answer, settings)
    return Admission(
        admitted=not reasons, reasons=tuple(reasons), numbers=numbers, rating=said.rating, said=said, answer=answer
    )


def judge_frames(scan: FilmScan, num_pictures: int = 16) -> tuple[SampledFrame, ...]:
    """Return sampled frames, evenly spaced over the film; all of them if there are no more than asked for."""
    samples = scan.samples
    if len(samples) <= num_pictures:
        return samples
    places = [round((number + 0.5) * len(samples) / num_pictures - 0.5) for number in range(num_pictures)]
    return tuple(samples[place] for place in places)


def admit_question(request: AdmitRequest) -> Question:
    """Return the question of a request: the prompt, then the pictures at no more than 512 pixels a side."""
    prompt = load_prompt("admit_film")
    seconds = request.index.seconds(len(request.index)) if len(request.index) else 0.0
    pictures: list[Part] = [Picture(_shrink(sample.jpeg)) for sample in request.samples]
    text = prompt.fill(num_frames=len(pictures), duration=f"{seconds:.0f}")
    return Question(
        name="admit_film",
        parts=(Text(text), *pictures),
        schema=ADMIT_SCHEMA,
        max_output_tokens=512,
        prompt_hash=prompt.sha256,
    )


def parse_admission(text: str) -> AdmitAnswer:
    """Return what an answer says; it is total: words around the JSON, texts for flags and other ratings are understood.

    Example:
        >>> parse_admission('Sure! {"is_animation": "yes", "has_burnt_in_subtitles": false}').is_animation
        True
    """
    row = _find_object(text[:_MAX_ANSWER])
    rating = row.get("rating")
    word = rating.strip().casefold() if isinstance(rating, str) else ""
    reason = row.get("reason")
    return AdmitAnswer(
        is_animation=_flag(row.get("is_animation")),
        has_burnt_in_subtitles=_flag(row.get("has_burnt_in_subtitles")),
        rating=next((one for one in RATINGS if one == word), _SAME_RATING.get(word, "unknown")),
        reason=" ".join(reason.split())[:_MAX_REASON] if isinstance(reason, str) else "",
    )


def _rules(seconds: float, scores: PictureScores, settings: AdmitSettings) -> list[str]:
    reasons = []
    if not scores.num_pictures or not math.isfinite(seconds):
        return ["undecodable: not one picture of the film can be read"]
    if seconds > settings.max_seconds:
        reasons.append(f"too_long: {seconds:.0f} seconds, at most {settings.max_seconds:g}")
    if seconds < settings.min_seconds:
        reasons.append(f"too_short: {seconds:.2f} seconds, at least {settings.min_seconds:g}")
    if scores.change <= settings.still_change:
        reasons.append("still: the picture never changes")
    return reasons


def _annotator_reasons(said: AdmitAnswer, answer: Answer, settings: AdmitSettings) -> list[str]:
    reasons = []
    if settings.require_animation and said.is_animation is False:
        reasons.append(f"not_animation: {said.reason or 'the annotator says so'}")
    if settings.refuse_subtitles and said.has_burnt_in_subtitles:
        reasons.append(f"burnt_in_subtitles: {said.reason or 'the annotator says so'}")
    if not said.is_complete and not reasons:
        detail = answer.detail or "the answer cannot be read"
        reasons.append(f"undecided: {answer.outcome}, {detail}")
    return reasons


def _numbers(seconds: float, scores: PictureScores) -> dict[str, float]:
    return {
        "seconds": seconds,
        "num_pictures": scores.num_pictures,
        "change": scores.change,
        "flat_share": scores.flat_share,
        "grain": scores.grain,
        "subtitle_score": scores.subtitles,
    }


def _shrink(jpeg: bytes) -> bytes:
    """Return a JPEG of at most 512 pixels a side; the same bytes if it is no larger, or cannot be read."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if picture is None or max(picture.shape[:2]) <= _PICTURE_SIDE:
        return jpeg
    height, width = picture.shape[:2]
    scale = _PICTURE_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])


def _find_object(text: str) -> Mapping[str, Any]:
    """Return the first JSON object in a text that answers something, with its keys in one spelling; {} if none does."""
    decoder = json.JSONDecoder()
    place = -1
    for _ in range(_MAX_OBJECTS):
        place = text.find("{", place + 1)
        if place < 0:
            break
        try:
            value, _ = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            continue
        row = {key.strip().casefold().replace(" ", "_").replace("-", "_"): one for key, one in value.items()}
        if "is_animation" in row or "has_burnt_in_subtitles" in row:
            return row
    return {}


def _flag(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    word = value.strip().casefold() if isinstance(value, str) else ""
    return True if word in _TRUE else False if word in _FALSE else None
