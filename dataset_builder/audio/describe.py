"""Ask what is heard in an audio shot, read the answer, and know the perfect one for a toon film.

Source: AnimeShooter, arXiv 2506.03126, appendix A.3: `type`, `sound description` (pitch, intensity, temporal pattern)
and `visual context` (the source on screen).
"""

import io
import re
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.annotate.annotator import AudioRequest
from animeshooter_hf.dataset_builder.annotate.prompts import load_prompt
from animeshooter_hf.dataset_builder.annotate.question import Part, Picture, Question, Sound, Text
from animeshooter_hf.dataset_builder.audio.gate import SoundKind
from animeshooter_hf.dataset_builder.script.issues import IssueLog
from animeshooter_hf.dataset_builder.script.json_text import extract_json
from animeshooter_hf.records import AudioAnnotation

__all__ = ["AUDIO_SCHEMA", "AudioAnswer", "audio_question", "encode_wav", "parse_audio", "true_audio"]

AUDIO_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["effect", "speech", "music", "silence"]},
        "type": {"type": "string"},
        "sound_description": {"type": "string"},
        "visual_context": {"type": "string"},
    },
    "required": ["kind", "type", "sound_description", "visual_context"],
    "additionalProperties": False,
}
"""JSON schema of the answer."""

_MAX_PICTURES = 8
_MAX_TEXT = 2000
_KEYS = {
    "kind": ("kind", "category", "class", "sound_kind"),
    "type": ("type", "audio_type", "sound_type", "object"),
    "sound_description": ("sound_description", "description", "sound"),
    "visual_context": ("visual_context", "visual", "context", "source"),
}
_KNOWN = {key for spellings in _KEYS.values() for key in spellings}
_KINDS: dict[str, SoundKind] = {
    "effect": "effect", "effects": "effect", "sfx": "effect", "foley": "effect", "ambience": "effect",
    "ambient": "effect", "noise": "effect", "speech": "speech", "voice": "speech", "dialogue": "speech",
    "dialog": "speech", "talking": "speech", "narration": "speech", "music": "music", "bgm": "music", "song": "music",
    "singing": "music", "silence": "silence", "silent": "silence", "none": "silence",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioAnswer:
    """What an annotator said of an audio shot; what it left out is None or ""."""

    kind: SoundKind | None = None
    """What is heard for most of the time, or None if the answer does not tell."""

    audio_type: str = ""
    """Category of the sound."""

    sound_description: str = ""
    """Pitch, intensity and temporal pattern."""

    visual_context: str = ""
    """The source on screen."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the fields that are not told."""
        texts = {name: getattr(self, name) for name in ("audio_type", "sound_description", "visual_context")}
        return tuple(name for name, text in {"kind": self.kind, **texts}.items() if not text)

    def annotation(self) -> AudioAnnotation:
        """Return it as a record."""
        return AudioAnnotation(
            audio_type=self.audio_type, sound_description=self.sound_description, visual_context=self.visual_context
        )


def audio_question(request: AudioRequest) -> Question:
    """Return the question of an audio shot: the prompt, up to 8 pictures and the sound.

    Raises:
        ValueError: If the shot has no frames.
    """
    story, shot = request.story, request.shot
    if shot.start_frame is None or shot.end_frame is None or story.frame_rate is None:
        raise ValueError(f"Shot {shot.shot_id} has no frames or its story no rate, so its length is unknown.")
    prompt = load_prompt("audio_describe")
    listed = [f"- {one.id}: {one.appearance or 'no description'}" for one in story.characters]
    captions = [text for text in (shot.narrative_caption, shot.descriptive_caption) if text]
    text = prompt.fill(
        seconds=f"{float((shot.end_frame - shot.start_frame) / story.frame_rate):.1f}",
        storyline=story.storyline or "(unknown)",
        characters="\n".join(listed) or "(none)",
        captions="\n".join(captions) or "(unknown)",
    )
    chosen = np.unique(np.linspace(0, len(request.samples) - 1, _MAX_PICTURES).round().astype(int))
    pictures = [Picture(request.samples[number].jpeg) for number in chosen] if request.samples else []
    parts: tuple[Part, ...] = (Text(text), *pictures, Sound(request.wav))
    return Question(
        name="audio_describe", parts=parts, schema=AUDIO_SCHEMA, max_output_tokens=1024, prompt_hash=prompt.sha256
    )


def parse_audio(text: str | None) -> AudioAnswer:
    """Return what an answer says; total: any text gives an answer, and what cannot be read is left out.

    Fences, words about the JSON, a list of one, other spellings of the keys and of the kinds are read too.
    """
    plain = _keys(extract_json(text, IssueLog(), rank=_rank).value)
    found: dict[str, str] = {}
    for name, spellings in _KEYS.items():
        values = [_words(plain[key]) for key in spellings if key in plain]
        found[name] = next((value for value in values if value), "")
    return AudioAnswer(
        kind=_kind(found["kind"]),
        audio_type=found["type"],
        sound_description=found["sound_description"],
        visual_context=found["visual_context"],
    )


def true_audio(script: Mapping[str, Any], request: AudioRequest) -> dict[str, str]:
    """Return the perfect answer about an audio shot of a toon film.

    It is speech or music if more than half of its time is covered by it (the larger one), silence if no effect sounds
    in it, else an effect: the annotation of the picture shot in it whose effects sound longest.

    Args:
        script: The film's truth.
        request: With a shot that has frames of the film.

    Raises:
        ValueError: If the shot has no frames.
    """
    shot = request.shot
    if shot.start_frame is None or shot.end_frame is None:
        raise ValueError(f"Shot {shot.shot_id} has no frames.")
    rate = Fraction(script["frame_rate"])
    start, end = float(shot.start_frame / rate), float(shot.end_frame / rate)
    covered = {
        kind: sum(_overlap(start, end, float(begin), float(stop)) for begin, stop in script[kind])
        for kind in ("speech", "music")
    }
    largest = max(covered, key=lambda kind: covered[kind])
    if covered[largest] > 0.5 * (end - start):
        return dict(_TRUE_TEXTS[largest])
    seconds: dict[str, float] = {}
    for sound in script["sounds"]:
        overlap = _overlap(start, end, float(sound["start_seconds"]), float(sound["end_seconds"]))
        seconds[sound["shot_id"]] = seconds.get(sound["shot_id"], 0.0) + overlap
    annotations = {row["shot_id"]: row["audio_annotation"] for story in script["stories"] for row in story["shots"]}
    best = max((name for name in seconds if annotations.get(name)), key=lambda name: seconds[name], default=None)
    if best is None or seconds[best] <= 0:
        return dict(_TRUE_TEXTS["speech" if covered["speech"] > 0 else "silence"])
    told = annotations[best]
    return {
        "kind": "effect",
        "type": str(told["audio_type"]),
        "sound_description": str(told["sound_description"]),
        "visual_context": str(told["visual_context"]),
    }


_TRUE_TEXTS: dict[str, dict[str, str]] = {
    "speech": {
        "kind": "speech",
        "type": "speech",
        "sound_description": "A voice of medium pitch that babbles in short phrases.",
        "visual_context": "A character that talks.",
    },
    "music": {
        "kind": "music",
        "type": "background music",
        "sound_description": "A soft tune over slow chords.",
        "visual_context": "Its source is not seen.",
    },
    "silence": {
        "kind": "silence",
        "type": "silence",
        "sound_description": "Nothing is heard.",
        "visual_context": "Nothing on screen makes a sound.",
    },
}


def encode_wav(audio_T: NDArray[np.float32], sample_rate: int) -> bytes:
    """Return 16-bit mono WAV of samples in [-1, 1]; the same samples give the same bytes."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.clip(np.rint(audio_T * 32767.0), -32768, 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def _overlap(start: float, end: float, begin: float, stop: float) -> float:
    return max(0.0, min(end, stop) - max(start, begin))


def _keys(value: object) -> dict[str, Any]:
    """Return the plainly spelt keys of an answer; a list of one and an object around it are taken off."""
    for _ in range(4):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict):
            plain = {re.sub(r"[\s_\-]+", "_", str(key).strip().lower()): part for key, part in value.items()}
            if _KNOWN & set(plain):
                return plain
            value = next((part for part in value.values() if isinstance(part, dict | list)), None)
    return {}


def _rank(value: object) -> int:
    return len(_KNOWN & set(_keys(value)))


def _words(value: object) -> str:
    """Return a value as one line of words; what is no text, number or list of those gives ""."""
    if isinstance(value, list):
        value = ", ".join(part for part in map(_words, value[:20]) if part)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    words = " ".join(str(value).split())[:_MAX_TEXT].encode("utf-8", "ignore").decode()
    return "" if words.lower().strip(".") in ("", "n/a", "none", "null", "unknown") else words


def _kind(text: str) -> SoundKind | None:
    """Return the kind that a text names; the first one if there are several."""
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in _KINDS:
            return _KINDS[word]
    return None
