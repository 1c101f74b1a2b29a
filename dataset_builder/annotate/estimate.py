"""How many tokens a question takes: an estimate by the providers' published rules, for dry runs, limits and budgets.

An estimate, not a count: words by a quarter of their characters, pictures by their size, sound and video by their
length. The answer is counted as long as it may get.
"""

import io
import math
import wave
from typing import Literal

import av
from PIL import Image

from animeshooter_hf.dataset_builder.annotate.question import Clip, Part, Picture, Question, Sound, Text, Usage

__all__ = ["ModelKind", "estimate_question"]

ModelKind = Literal["openai", "gemini", "transformers"]
"""Whose rules: OpenAI's tiles, Gemini's tiles, or 28 x 28 pixel patches as in the Qwen-VL family (also behind vLLM)."""

_CHARACTERS_PER_TOKEN = 4
_SOUND_TOKENS_PER_SECOND = {"openai": 10, "gemini": 32, "transformers": 25}
_VIDEO_FRAMES_PER_SECOND = 1


def estimate_question(question: Question, model_kind: ModelKind) -> Usage:
    """Return the tokens that a question reads, and the most that its answer may have.

    Args:
        question: The question; media that cannot be opened count nothing.
        model_kind: Whose rules.
    """
    read = sum(_part_tokens(part, model_kind) for part in question.parts)
    if question.schema is not None:
        read += math.ceil(len(str(question.schema)) / _CHARACTERS_PER_TOKEN)
    return Usage(prompt_tokens=read, output_tokens=question.max_output_tokens)


def _part_tokens(part: Part, kind: ModelKind) -> int:
    if isinstance(part, Text):
        return math.ceil(len(part.text) / _CHARACTERS_PER_TOKEN)
    if isinstance(part, Picture):
        return _picture_tokens(*_picture_size(part), kind)
    if isinstance(part, Sound):
        return math.ceil(_wav_seconds(part) * _SOUND_TOKENS_PER_SECOND[kind])
    return _clip_tokens(part, kind)


def _picture_tokens(width: int, height: int, kind: ModelKind) -> int:
    """Return the tokens of a picture; 0 x 0 has none."""
    if width * height == 0:
        return 0
    if kind == "gemini":  # 258 if both sides are at most 384, else 258 for each tile of 768
        small = max(width, height) <= 384
        return 258 if small else 258 * math.ceil(width / 768) * math.ceil(height / 768)
    if kind == "openai":  # within 2048 x 2048, then the short side at most 768; 85, and 170 for each tile of 512
        scale = min(1.0, 2048 / max(width, height))
        scale *= min(1.0, 768 / (scale * min(width, height)))
        return 85 + 170 * math.ceil(width * scale / 512) * math.ceil(height * scale / 512)
    return math.ceil(width / 28) * math.ceil(height / 28) + 2


def _picture_size(picture: Picture) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(picture.jpeg)) as image:
            return image.size
    except OSError:
        return 0, 0


def _wav_seconds(sound: Sound) -> float:
    try:
        with wave.open(io.BytesIO(sound.wav)) as file:
            return file.getnframes() / file.getframerate()
    except (wave.Error, EOFError, ZeroDivisionError):
        return 0.0


def _clip_tokens(clip: Clip, kind: ModelKind) -> int:
    """Return the tokens of a clip: one picture each second, and its sound."""
    try:
        with av.open(io.BytesIO(clip.mp4), "r") as container:
            seconds = float((container.duration or 0) / av.time_base)
            video = container.streams.video[0]
            size, has_sound = (video.width, video.height), bool(container.streams.audio)
    except (av.FFmpegError, IndexError):
        return 0
    num_frames = math.ceil(seconds * _VIDEO_FRAMES_PER_SECOND)
    picture = 258 if kind == "gemini" else _picture_tokens(*size, kind)
    sound = math.ceil(seconds * _SOUND_TOKENS_PER_SECOND[kind]) if has_sound else 0
    return num_frames * picture + sound
