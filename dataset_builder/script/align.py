"""From a model's answer to a story that holds: checked, mended, and set to the exact frames of the film.

Every repair is an issue with a code (`issues.py`); rules that a model could keep if it was told are `violated`, and
`write_segment_script` asks once more with them. What still does not hold is no story, and the reason says why. The raw
text is kept whatever comes of it.

Source: AnimeShooter, arXiv 2506.03126, section 3; the validation ladder and the matching to cuts are our choice.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from animeshooter_hf.dataset_builder.annotate.annotator import Annotator, ScriptRequest
from animeshooter_hf.dataset_builder.annotate.question import Answer
from animeshooter_hf.dataset_builder.script.answer import ParsedAnswer, ParsedCharacter, read_answer
from animeshooter_hf.dataset_builder.script.film_script import validate_story
from animeshooter_hf.dataset_builder.script.issues import SCRIPT_ISSUES, IssueLog, ScriptIssue
from animeshooter_hf.dataset_builder.script.timeline import PlacedShot, SnapSettings, place_shots
from animeshooter_hf.records import Character, Shot, Story, make_shot_id, make_story_id

__all__ = ["AlignSettings", "Aligned", "Attempt", "align_script", "write_segment_script"]

_CLIP_SECONDS = 4.0
_SAME = 1e-6
_DANGLING = frozenset(["a", "an", "and", "the", "with", "wearing", "wears", "or", "of", "in", "on", "over", "its"])
_FATAL = ("hole", "no_shots", "no_caption", "not_a_script", "answer_not_json", "answer_empty", "invalid_story")


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignSettings:
    """How an answer is checked and mended."""

    snap: SnapSettings = field(default_factory=SnapSettings)
    """How times become frames."""

    max_characters: int = 3
    """Main characters that are kept. Paper: one to three."""

    max_scenes: int = 3
    """Scenes above which the number is reported; all are kept. Paper: one to three; its release holds up to five."""

    max_caption_words: int = 150
    """Words above which a caption is reported. Our choice; the paper's captions have 31 on average."""

    max_phrase_words: int = 12
    """Words of a character's short phrase. Our choice: text encoders of segmenters take 32 tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One answer, as provenance keeps it."""

    answer: Answer
    """The raw text, outcome, usage and who answered."""

    issues: tuple[ScriptIssue, ...]
    """What was wrong with it."""

    violated: tuple[str, ...]
    """The rules it broke."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aligned:
    """What became of an answer."""

    story: Story | None
    """The story; None if the answer gives none."""

    phrases: Mapping[str, str] = field(default_factory=dict)
    """Character -> a few words for a segmenter."""

    issues: tuple[ScriptIssue, ...] = ()
    """What was found and mended."""

    violated: tuple[str, ...] = ()
    """Rules that are worth asking again for, each with what was found."""

    reason: str | None = None
    """Why there is no story, as `code: detail`; None if there is one."""

    raw_text: str | None = None
    """The answer."""

    attempts: tuple[Attempt, ...] = ()
    """All answers, in order, where `write_segment_script` asked."""


def align_script(request: ScriptRequest, answer_text: object, *, settings: AlignSettings | None = None) -> Aligned:
    """Return the story of an answer with exact frames, and everything that was wrong with it.

    It is total: no text makes it raise, and it takes time linear in the text.

    Args:
        request: What was asked; its index gives frames their time.
        answer_text: The raw text, of any type.
        settings: Limits.
    """
    settings = settings or AlignSettings()
    log = IssueLog()
    raw_text = answer_text if isinstance(answer_text, str) else None
    parsed = read_answer(answer_text, log)
    placed: list[PlacedShot] | None = None
    if not any(code in log for code in _FATAL):
        parsed = _main_characters(parsed, settings, log)
        placed = place_shots(parsed.shots, request, settings.snap, log)
    story = None
    if placed is not None:
        _report_usage(parsed, settings, log)
        story = _make_story(request, parsed, placed, settings, log)
    return Aligned(
        story=story,
        phrases={} if story is None else _phrases(parsed.characters, settings, log),
        issues=log.issues(),
        violated=log.violated(),
        reason=None if story is not None else _reason(log),
        raw_text=raw_text,
    )


def write_segment_script(
    annotator: Annotator, request: ScriptRequest, settings: AlignSettings | None = None
) -> Aligned:
    """Ask for the script of a segment, and once more if the answer breaks rules; return the better of the two.

    The answer that has a story counts before one that has none, then the one that breaks fewer rules, then the last.
    A refused, failed or skipped call is not repeated here: that is the model's business.
    """
    attempts: list[Attempt] = []
    results: list[Aligned] = []
    asked = request
    for _ in range(2):
        answer = annotator.write_script(asked)
        result = align_script(request, answer.text, settings=settings)
        if answer.text is None:
            result = replace(result, violated=(), reason=f"answer_empty: {answer.outcome}: {answer.detail}")
        attempts.append(Attempt(answer=answer, issues=result.issues, violated=result.violated))
        results.append(result)
        if not result.violated:
            break
        asked = replace(request, complaints=result.violated, last_answer=result.raw_text)
    best = min(reversed(results), key=lambda one: (one.story is None, len(one.violated)))
    return replace(best, attempts=tuple(attempts))


def _reason(log: IssueLog) -> str:
    found = {issue.code: issue.detail for issue in log.issues()}
    code = next((code for code in _FATAL if code in found), "invalid_story")
    return f"{code}: {found.get(code) or SCRIPT_ISSUES[code]}"


def _main_characters(parsed: ParsedAnswer, settings: AlignSettings, log: IssueLog) -> ParsedAnswer:
    """Keep the characters with the most shots if there are too many."""
    if len(parsed.characters) <= settings.max_characters:
        return parsed
    log.add("too_many_characters", detail=f"{len(parsed.characters)} characters")
    num_shots = Counter(name for shot in parsed.shots for name in shot.characters)
    order = sorted(parsed.characters, key=lambda one: -num_shots[one.id])
    kept = {one.id for one in order[: settings.max_characters]}
    shots = [replace(shot, characters=tuple(n for n in shot.characters if n in kept)) for shot in parsed.shots]
    return replace(parsed, characters=tuple(one for one in parsed.characters if one.id in kept), shots=tuple(shots))


def _report_usage(parsed: ParsedAnswer, settings: AlignSettings, log: IssueLog) -> None:
    acting = {name for shot in parsed.shots for name in shot.characters}
    shown = {shot.scene for shot in parsed.shots}
    if not parsed.characters:
        log.add("no_characters")
    for character in parsed.characters:
        if character.id not in acting:
            log.add("unused_character", detail=repr(character.id))
    for scene in parsed.scenes:
        if scene.id not in shown:
            log.add("unused_scene", detail=repr(scene.id))
    if len(parsed.scenes) > settings.max_scenes:
        log.add("scenes_many", detail=f"{len(parsed.scenes)} scenes")


def _make_story(
    request: ScriptRequest, parsed: ParsedAnswer, placed: Sequence[PlacedShot], settings: AlignSettings, log: IssueLog
) -> Story | None:
    film = request.film
    story_id = make_story_id(film.video_id, request.segment_index)
    names = [(one.id, re.compile(rf"\b{re.escape(one.id)}\b", re.IGNORECASE)) for one in parsed.characters]
    shots: list[Shot] = []
    for one in placed:
        shot = _make_shot(request, one, make_shot_id(story_id, len(shots)), len(shots), log)
        _report_captions(shot, names, settings, log)
        shots.append(shot)
    story = Story(
        video_id=film.video_id,
        story_id=story_id,
        frame_rate=film.info.frame_rate,
        start_frame=request.segment.start_frame,
        end_frame=request.segment.end_frame,
        storyline=parsed.storyline,
        characters=tuple(Character(id=one.id, appearance=one.appearance) for one in parsed.characters),
        scenes=parsed.scenes,
        shots=tuple(shots),
    )
    if "no_caption" in log:
        return None
    for problem in validate_story(story, len(request.index)):
        log.add("invalid_story", detail=f"{problem.code}: {problem.detail}")
    return None if "invalid_story" in log else story


def _make_shot(request: ScriptRequest, placed: PlacedShot, shot_id: str, number: int, log: IssueLog) -> Shot:
    stated, origin = placed.shot, request.segment.start_frame
    start = request.index.seconds_between(origin, placed.start_frame)
    end = request.index.seconds_between(origin, placed.end_frame)
    clip = _fit_clip(stated.clip_span, start, end, f"shot {number}", log)
    if stated.scene is None and not stated.is_prologue_or_epilogue:
        log.add("scene_missing", detail=f"shot {number}")
    return Shot(
        shot_id=shot_id,
        index=number,
        start_frame=placed.start_frame,
        end_frame=placed.end_frame,
        start_seconds=start,
        end_seconds=end,
        clip_start_seconds=clip[0] if clip else None,
        clip_end_seconds=clip[1] if clip else None,
        is_prologue_or_epilogue=stated.is_prologue_or_epilogue,
        characters=stated.characters,
        scene=stated.scene,
        narrative_caption=stated.narrative_caption,
        descriptive_caption=stated.descriptive_caption,
        audio=stated.audio,
    )


def _fit_clip(
    span: tuple[float, float] | None, start: float, end: float, what: str, log: IssueLog
) -> tuple[float, float] | None:
    """Return the four-second span of a shot, mended; None where there is none or the shot is not longer than that."""
    if span is None:
        return None
    detail = f"{what} from {start:.2f} to {end:.2f} s: {span[0]:.2f} to {span[1]:.2f} s"
    if span[1] == float("inf") or end - start <= _CLIP_SECONDS:
        log.add("clip_span_dropped", detail=detail)
        return None
    if abs(span[1] - span[0] - _CLIP_SECONDS) > _SAME:
        log.add("clip_span_length", detail=detail)
        first = (span[0] + span[1] - _CLIP_SECONDS) / 2
        span = (first, first + _CLIP_SECONDS)
    outside = max(start - span[0], span[1] - end)
    if outside <= _SAME:
        return span
    log.add("clip_span_shifted" if outside < 1 else "clip_span_outside_shot", detail=detail)
    first = min(max(span[0], start), end - _CLIP_SECONDS)
    return (first, first + _CLIP_SECONDS)


def _report_captions(
    shot: Shot, names: Sequence[tuple[str, re.Pattern[str]]], settings: AlignSettings, log: IssueLog
) -> None:
    if not shot.caption:
        log.add("no_caption", detail=f"shot {shot.index}")
    for caption in (shot.narrative_caption or "", shot.descriptive_caption or ""):
        num_words = caption.count(" ") + 1
        if num_words > settings.max_caption_words:
            log.add("caption_long", detail=f"{num_words} words in shot {shot.index}")
        for name, pattern in names:
            if name not in shot.characters and pattern.search(caption[:4000]):
                log.add("caption_names_other", detail=f"shot {shot.index} tells of {name[:40]!r}")


def _phrases(characters: Sequence[ParsedCharacter], settings: AlignSettings, log: IssueLog) -> dict[str, str]:
    phrases: dict[str, str] = {}
    for one in characters:
        words = one.phrase.split()
        if not words:
            log.add("phrase_missing", detail=repr(one.id[:40]))
            words = re.split(r"[.;]", one.appearance or one.id, maxsplit=1)[0].split()[: settings.max_phrase_words]
            while len(words) > 1 and words[-1].casefold() in _DANGLING:
                words.pop()
        elif len(words) > settings.max_phrase_words:
            log.add("phrase_long", detail=f"{len(words)} words for {one.id[:40]!r}")
        phrases[one.id] = " ".join(words[: settings.max_phrase_words]).rstrip(",:") or one.id
    return phrases
