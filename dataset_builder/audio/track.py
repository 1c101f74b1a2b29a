"""AnimeShooter-audio of one story: gate, joint shots, descriptions. Everything that is left out has a reason.

From cheap to dear: the features judge the whole segment, then each audio shot; what they leave open goes to a tagger,
if there is one; what that leaves open the annotator decides, who describes every shot that is kept.

Source: AnimeShooter, arXiv 2506.03126, appendix A.3.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from animeshooter_hf.dataset_builder.annotate.annotator import AudioRequest
from animeshooter_hf.dataset_builder.annotate.question import Answer
from animeshooter_hf.dataset_builder.audio.describe import encode_wav, parse_audio
from animeshooter_hf.dataset_builder.audio.gate import (
    GateSettings,
    SoundShares,
    Stretch,
    Verdict,
    judge_shares,
    sound_shares,
    sound_stretches,
)
from animeshooter_hf.dataset_builder.audio.joint import AudioShot, JointSettings, joint_shots
from animeshooter_hf.dataset_builder.audio.taggers import AudioTagger
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan, SampledFrame
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Shot, Story
from animeshooter_hf.video import FrameIndex, read_audio

__all__ = ["AudioDescriber", "AudioResult", "AudioTrackSettings", "DroppedAudio", "describe_shots", "make_audio_story"]

_WAV_RATE = 16_000


class AudioDescriber(Protocol):
    """The part of an `Annotator` that this stage needs."""

    def describe_audio(self, request: AudioRequest) -> Answer:
        """Answer with JSON; see `Annotator.describe_audio`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioTrackSettings:
    """Settings of the audio stage."""

    gate: GateSettings = field(default_factory=GateSettings)
    """What is speech and music, and how much is too much."""

    joint: JointSettings = field(default_factory=JointSettings)
    """Where picture and sound change together."""

    tagger_sure: float = 0.7
    """A tagger's score from which on speech or music excludes a borderline shot; below 1 minus it, it does not."""

    def __post_init__(self) -> None:
        if not 0.5 < self.tagger_sure <= 1:
            raise ValueError(f"tagger_sure must lie above 0.5 and at most at 1, got {self.tagger_sure}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class DroppedAudio:
    """A part of a story that is not in AnimeShooter-audio."""

    name: str
    """ID of the audio shot, or of the story if it is left out as a whole."""

    start_frame: int
    """First frame."""

    end_frame: int
    """Frame after the last one."""

    reason: str
    """Short name, by which drops are counted."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    """What the reason rests on: shares, confidences, scores of the tagger."""

    detail: str = ""
    """More in words, such as what became of the call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioResult:
    """What the audio stage gives for a story."""

    story: Story | None
    """The story with its audio shots, each annotated whole; None if none is left."""

    dropped: tuple[DroppedAudio, ...] = ()
    """What was left out, in order of time."""

    stretches: tuple[Stretch, ...] = ()
    """Speech, music, effects and silence inside the story, in seconds of the film."""

    shots: tuple[AudioShot, ...] = ()
    """All audio shots, kept or not; they tile the story, unless it is too short or was left out as a whole."""

    @property
    def counts(self) -> dict[str, int]:
        """Return reason -> number, with "kept"."""
        total = Counter(one.reason for one in self.dropped)
        total["kept"] = 0 if self.story is None else len(self.story.shots)
        return dict(sorted(total.items()))


def make_audio_story(
    film: FilmSource,
    story: Story,
    scan: FilmScan,
    annotator: AudioDescriber,
    settings: AudioTrackSettings | None = None,
    tagger: AudioTagger | None = None,
    script: Mapping[str, Any] | None = None,
) -> AudioResult:
    """Return the audio story of a story: the same inputs give the same result.

    Args:
        film: The film.
        story: With frames; its shots begin at cuts of the picture.
        scan: Of the film, with the features of its sound.
        annotator: Describes what is heard.
        settings: Of all steps.
        tagger: Listens to what the features leave open.
        script: A film's own truth; its `speech` and `music` then take the place of those found.

    Raises:
        ValueError: If the story has no frames, or they do not lie in the film.
    """
    settings = settings or AudioTrackSettings()
    segment = _segment(story, scan)
    if scan.sound is None or not scan.sound.num_hops:
        return AudioResult(story=None, dropped=(_whole(story, segment, "no_sound"),))
    stretches = sound_stretches(scan.sound, settings.gate)
    if script is not None:
        stretches = _told(stretches, script)
    begin, end = scan.index.seconds(segment.start_frame), scan.index.seconds(segment.end_frame)
    inside = tuple(one for one in stretches if one.end_seconds > begin and one.start_seconds < end)
    shares = sound_shares(stretches, begin, end)
    verdict = judge_shares(shares, settings.gate)
    if verdict not in ("keep", "borderline"):
        dropped = _whole(story, segment, f"segment_{verdict}", _numbers(shares))
        return AudioResult(story=None, dropped=(dropped,), stretches=inside)
    cuts = [shot.start_frame for shot in story.shots if shot.start_frame is not None]
    shots = joint_shots(cuts, scan.index, scan.sound, settings.joint, segment=segment)
    if not shots:
        return AudioResult(story=None, dropped=(_whole(story, segment, "too_short"),), stretches=inside)
    candidates, dropped_shots = _gate(film, story, shots, stretches, settings, tagger)
    told, undescribed = describe_shots(annotator, film, story, candidates, scan.samples, scan.index)
    return AudioResult(
        story=told,
        dropped=tuple(sorted([*dropped_shots, *undescribed], key=lambda one: one.start_frame)),
        stretches=inside,
        shots=tuple(shots),
    )


def describe_shots(
    annotator: AudioDescriber,
    film: FilmSource,
    story: Story,
    shots: Sequence[tuple[int, AudioShot, Verdict]],
    samples: Sequence[SampledFrame],
    index: FrameIndex,
) -> tuple[Story | None, list[DroppedAudio]]:
    """Return the story with those audio shots that the annotator describes whole as effects, and the others.

    An audio shot is called `STORY_aNN` by its number among all audio shots of the story, so its name does not change
    when others are left out.

    Args:
        annotator: Who describes.
        film: The film.
        story: The story with its picture shots.
        shots: (number, audio shot, verdict of the gate) of those that may be kept; for a borderline one the
            annotator's word alone decides what it is.
        samples: Frames of the film.
        index: Time of the film.
    """
    kept: list[Shot] = []
    dropped: list[DroppedAudio] = []
    for number, audio_shot, verdict in shots:
        shot = _record(story, audio_shot, number, len(kept), index)
        try:
            wav = _wav(film, audio_shot)
        except InputError as error:
            dropped.append(_drop(story, audio_shot, number, "sound_unreadable", detail=str(error)))
            continue
        seen = tuple(one for one in samples if audio_shot.start_frame <= one.frame < audio_shot.end_frame)
        answer = annotator.describe_audio(AudioRequest(film=film, story=story, shot=shot, samples=seen, wav=wav))
        parsed = parse_audio(answer.text if answer.outcome == "ok" else None)
        if answer.outcome != "ok":
            dropped.append(_drop(story, audio_shot, number, f"answer_{answer.outcome}", detail=answer.detail))
        elif parsed.kind is not None and parsed.kind != "effect":
            # Features told this shot from speech and music, unless it was borderline; two must agree to keep it.
            reason = parsed.kind if verdict == "borderline" else f"annotator_hears_{parsed.kind}"
            dropped.append(_drop(story, audio_shot, number, reason, detail="said by the annotator"))
        elif parsed.missing:
            detail = f"not told: {', '.join(parsed.missing)}"
            dropped.append(_drop(story, audio_shot, number, "answer_incomplete", detail=detail))
        else:
            kept.append(replace(shot, audio=parsed.annotation()))
    return (story.with_shots(kept) if kept else None), dropped


def _gate(
    film: FilmSource,
    story: Story,
    shots: Sequence[AudioShot],
    stretches: Sequence[Stretch],
    settings: AudioTrackSettings,
    tagger: AudioTagger | None,
) -> tuple[list[tuple[int, AudioShot, Verdict]], list[DroppedAudio]]:
    """Return the audio shots that may be kept, and those that may not."""
    candidates: list[tuple[int, AudioShot, Verdict]] = []
    dropped: list[DroppedAudio] = []
    for number, shot in enumerate(shots):
        shares = sound_shares(stretches, shot.start_seconds, shot.end_seconds)
        verdict, numbers = judge_shares(shares, settings.gate), _numbers(shares)
        if verdict == "borderline" and tagger is not None:
            verdict, heard = _listen(tagger, film, shot, settings.tagger_sure)
            numbers |= heard
        if verdict in ("keep", "borderline"):
            candidates.append((number, shot, verdict))
        else:
            dropped.append(_drop(story, shot, number, verdict, numbers))
    return candidates, dropped


def _listen(tagger: AudioTagger, film: FilmSource, shot: AudioShot, sure: float) -> tuple[Verdict, dict[str, float]]:
    """Return what a tagger makes of a borderline shot; one that it cannot read stays borderline."""
    try:
        audio_CT, rate = read_audio(
            film.path,
            start_seconds=shot.start_seconds,
            end_seconds=shot.end_seconds,
            sample_rate=tagger.sample_rate,
            mono=True,
        )
    except InputError:
        return "borderline", {}
    tags = tagger.tag(audio_CT[0], rate)
    numbers = {"tagged_speech": round(tags.speech, 4)}
    if tags.music is not None:
        numbers["tagged_music"] = round(tags.music, 4)
    if tags.speech >= sure:
        return "speech", numbers
    if tags.music is None:
        return "borderline", numbers
    if tags.music >= sure:
        return "music", numbers
    return ("keep" if max(tags.speech, tags.music) <= 1 - sure else "borderline"), numbers


def _record(story: Story, shot: AudioShot, number: int, position: int, index: FrameIndex) -> Shot:
    """Return an audio shot as a record, with what its picture shots tell."""
    covered = [one for one in story.shots if _is_in(one, shot)]
    origin = index.seconds(story.start_frame or 0)
    named = {one.id for one in story.characters}
    names = dict.fromkeys(name for one in covered for name in one.characters if name in named)
    scenes = {one.scene for one in covered if one.scene is not None}
    return Shot(
        shot_id=_name(story, number),
        index=position,
        start_frame=shot.start_frame,
        end_frame=shot.end_frame,
        start_seconds=round(shot.start_seconds - origin, 6),
        end_seconds=round(shot.end_seconds - origin, 6),
        is_prologue_or_epilogue=bool(covered) and all(one.is_prologue_or_epilogue for one in covered),
        characters=tuple(names),
        scene=scenes.pop() if len(scenes) == 1 else None,
        narrative_caption=_joined([one.narrative_caption for one in covered]),
        descriptive_caption=_joined([one.descriptive_caption for one in covered]),
    )


def _is_in(shot: Shot, audio_shot: AudioShot) -> bool:
    """Return whether at least half of a picture shot lies in an audio shot."""
    if shot.start_frame is None or shot.end_frame is None:
        return False
    overlap = min(shot.end_frame, audio_shot.end_frame) - max(shot.start_frame, audio_shot.start_frame)
    return overlap > 0 and 2 * overlap >= shot.end_frame - shot.start_frame


def _joined(texts: Sequence[str | None]) -> str | None:
    """Return the captions as one text, each once."""
    return " ".join(dict.fromkeys(text.strip() for text in texts if text and text.strip())) or None


def _wav(film: FilmSource, shot: AudioShot) -> bytes:
    audio_CT, rate = read_audio(
        film.path, start_seconds=shot.start_seconds, end_seconds=shot.end_seconds, sample_rate=_WAV_RATE, mono=True
    )
    return encode_wav(audio_CT[0], rate)


def _told(stretches: Sequence[Stretch], script: Mapping[str, Any]) -> tuple[Stretch, ...]:
    """Return the stretches with speech and music as a script tells them; what was taken for them is an effect."""
    kept = [one if one.kind == "silence" else replace(one, kind="effect") for one in stretches]
    told = [Stretch(float(a), float(b), "speech", 1.0) for a, b in script.get("speech") or ()]
    told += [Stretch(float(a), float(b), "music", 1.0) for a, b in script.get("music") or ()]
    return tuple(sorted([*kept, *told], key=lambda one: (one.start_seconds, one.end_seconds, one.kind)))


def _segment(story: Story, scan: FilmScan) -> Segment:
    start, end = story.start_frame, story.end_frame
    if start is None or end is None or not 0 <= start < end <= scan.num_frames:
        raise ValueError(f"Story {story.story_id}: frames {start} to {end} do not lie in a film of {scan.num_frames}.")
    return Segment(start, end)


def _numbers(shares: SoundShares) -> dict[str, float]:
    return {
        "speech": round(shares.speech, 4),
        "music": round(shares.music, 4),
        "sounding": round(shares.sounding, 4),
        "speech_confidence": round(shares.speech_confidence, 4),
        "music_confidence": round(shares.music_confidence, 4),
    }


def _name(story: Story, number: int) -> str:
    return f"{story.story_id}_a{number:02d}"


def _whole(story: Story, segment: Segment, reason: str, numbers: Mapping[str, float] | None = None) -> DroppedAudio:
    return DroppedAudio(
        name=story.story_id,
        start_frame=segment.start_frame,
        end_frame=segment.end_frame,
        reason=reason,
        numbers=numbers or {},
    )


def _drop(
    story: Story,
    shot: AudioShot,
    number: int,
    reason: str,
    numbers: Mapping[str, float] | None = None,
    detail: str = "",
) -> DroppedAudio:
    return DroppedAudio(
        name=_name(story, number),
        start_frame=shot.start_frame,
        end_frame=shot.end_frame,
        reason=reason,
        numbers=numbers or {},
        detail=detail,
    )
