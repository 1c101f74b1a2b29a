"""Whether every shot's sound fits its picture and its description, and how loud it is.

What needs no model is always measured; with `audio_backend` a sound encoder (CLAP, PE-AV) compares sound with sound
captions, and sound with frames if it sees. The formulas stand in `audio_scores.py` and `text_scores.py`, what is taken
from a shot in `audio_features.py`.

    sync_auc            share of other shots' sounds that go less well with the picture than its own, [0, 1]; higher, .5
                        is chance. It cannot be raised by sound that does not know the picture
    sync                best correlation of motion and onsets within 250 ms, [-1, 1]; higher
    sync_others         the same with the sound of other shots: what chance gives, [-1, 1]; describes
    sync_lag_ms         where the best correlation is, [-250, 250]; describes; positive: the sound is late
    sync_lag_abs_ms     its distance from 0, [0, 250]; lower; about 125 for sound that knows nothing of the picture
    loudness_lufs       ITU-R BS.1770-4 integrated loudness, up to about 0; describes
    loudness_jump_lu    mean difference of neighbouring shots, from 0 on; lower
    true_peak_dbtp, sample_peak_dbfs   highest level between and at the samples; describe; above 0 playback clips
    clipping_share      share of samples at or beyond full scale, [0, 1]; lower
    silence_share       share of the picture's time below -60 dBFS, [0, 1]; describes
    sound_text*         cosine of sound and its caption, [-1, 1], with contrast, auc, retrieval at 1; higher
    sound_video*        cosine of frames and sound, [-1, 1], with the same against the story's other sounds; higher

A shot without sound is skipped, sound that cannot be decoded has failed, a silent track has silence_share 1 and no
sync. Shots whose picture stands still, or of fewer than eight intervals between frames, have no sync either. All these
are counted, with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.audio_features import LEVELS, ClipFeature, SoundFeature
from animeshooter_hf.eval.audio_scores import (
    LOCAL_SECONDS,
    MAX_LAG_SECONDS,
    NUM_OTHERS,
    SoundTrack,
    Sync,
    VisualTrack,
    level_jumps,
    other_tracks,
    sync_against_others,
)
from animeshooter_hf.eval.backbones.audio_base import AudioModel, load_audio_model
from animeshooter_hf.eval.backbones.base import Backbone
from animeshooter_hf.eval.encoding import EncodedShot, EncodedStory, EncodingSettings
from animeshooter_hf.eval.results import StoryScore
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, PixelFeature
from animeshooter_hf.eval.story_metric import Direction, MetricScores, StoryMetric
from animeshooter_hf.eval.text_scores import MAX_WORDS, embed_captions, match_own, text_similarity

__all__ = ["AudioAlignment"]

_MATCHES = ("sound_text", "sound_video")
_MATCH_PARTS = ("", "_contrast", "_auc", "_retrieval_at_1")


class AudioAlignment(StoryMetric):
    """Sync with its control, levels, and what a sound encoder says."""

    name = "audio_alignment"
    headline = "sync_auc"
    directions: ClassVar[Mapping[str, Direction]] = {
        "sync_auc": "higher",
        "sync": "higher",
        "sync_others": "none",
        "sync_lag_ms": "none",
        "sync_lag_abs_ms": "lower",
        "loudness_lufs": "none",
        "loudness_jump_lu": "lower",
        "true_peak_dbtp": "none",
        "sample_peak_dbfs": "none",
        "clipping_share": "lower",
        "silence_share": "none",
        "sound_text": "higher",
        "sound_text_contrast": "higher",
        "sound_text_auc": "higher",
        "sound_text_retrieval_at_1": "higher",
        "sound_video": "higher",
        "sound_video_contrast": "higher",
        "sound_video_auc": "higher",
        "sound_video_retrieval_at_1": "higher",
    }

    def __init__(
        self, settings: EncodingSettings, backbone: Backbone, *, audio_model: AudioModel | None = None
    ) -> None:
        """Load the sound encoder that the settings name, unless one is given.

        Raises:
            InputError: If there is none of that name, or its weights are not whole.
        """
        super().__init__(settings, backbone)
        if audio_model is None and settings.audio_backend is not None:
            audio_model = load_audio_model(settings.audio_backend, device=settings.device, dtype=settings.dtype)
        self.audio_model = audio_model
        self._sound = SoundFeature()
        self._clip = None if audio_model is None else ClipFeature(audio_model)

    @property
    def signature(self) -> str:
        """What is measured, over which lags, against how many others; and the sound encoder."""
        model = "none" if self.audio_model is None else f"{self.audio_model.signature}|captions:{MAX_WORDS} words"
        sync = f"lag:{MAX_LAG_SECONDS * 1000:g}ms|local:{LOCAL_SECONDS:g}s|others:{NUM_OTHERS}"
        return f"audio|{self._sound.signature}|{sync}|encoder:{model}|v1"

    @property
    def shot_features(self) -> Sequence[PixelFeature | EmbeddingFeature]:
        """Sound with motion, and rows of the sound encoder if there is one."""
        return [self._sound] if self._clip is None else [self._sound, self._clip]

    def score(self, stories: Sequence[EncodedStory]) -> MetricScores:
        """Return the numbers of all stories; the control takes its sounds from all of them."""
        syncs = _sync_shots(stories)
        texts = self._caption_rows(stories)
        scores, shots, problems = {}, {}, {}
        for story in stories:
            judged = [
                _judge(shot, syncs.get((story.story_id, index)), self._problem(shot))
                for index, shot in enumerate(story.shots)
            ]
            self._add_matches(story, judged, texts)
            shots[story.story_id] = [one.values for one in judged]
            problems[story.story_id] = [one.failed or one.skipped for one in judged]
            scores[story.story_id] = _story_score(judged)
        return MetricScores(stories=scores, shots=shots, problems=problems)

    def _problem(self, shot: EncodedShot) -> str:
        return shot.problem_of(*(feature.name for feature in self.shot_features))

    def _caption_rows(self, stories: Sequence[EncodedStory]) -> dict[str, NDArray[np.float32]]:
        """Return sound caption -> its row, for all that are not empty."""
        captions = sorted({text for story in stories for text in story.sound_captions if text.strip()})
        if self.audio_model is None or not captions:
            return {}
        return dict(zip(captions, embed_captions(captions, self.audio_model.embed_text), strict=True))

    def _add_matches(
        self, story: EncodedStory, judged: Sequence["_Judged"], texts: Mapping[str, NDArray[np.float32]]
    ) -> None:
        """Compare each shot's sound with the story's sound captions, and its frames with the story's sounds."""
        sounds = [shot.arrays.get("clip.sound") for shot in story.shots]
        frames = [shot.arrays.get("clip.frames") for shot in story.shots]
        captions = [text if text in texts else "" for text in story.sound_captions or ("",) * len(story.shots)]
        said = [texts[text] if text else None for text in captions]
        heard = [f"sound {index}" if row is not None else "" for index, row in enumerate(sounds)]
        for index, one in enumerate(judged):
            one.values |= _match_values("sound_text", sounds[index], said, captions, index)
            one.values |= _match_values("sound_video", frames[index], sounds, heard, index)


@dataclass(slots=True)
class _Judged:
    """One shot."""

    values: dict[str, float | None]
    failed: str = ""
    skipped: str = ""


def _sync_shots(stories: Sequence[EncodedStory]) -> dict[tuple[str, int], Sync]:
    """Return (story, shot) -> its sync, for the shots that have one."""
    tracks: dict[str, tuple[tuple[str, int], VisualTrack, SoundTrack]] = {}
    for story in stories:
        for index, shot in enumerate(story.shots):
            if _is_audible(shot):
                visual = VisualTrack(shot.arrays["sound.motion"].astype(np.float64), shot.arrays["sound.seconds"])
                sound = SoundTrack(shot.arrays["sound.onset"].astype(np.float64))
                tracks[f"{story.story_id}\0{index}"] = ((story.story_id, index), visual, sound)
    others = other_tracks(sorted(tracks))
    found = {}
    for name, (place, visual, own) in tracks.items():
        sync = sync_against_others(visual, own, [tracks[other][2] for other in others[name]])
        if sync is not None:
            found[place] = sync
    return found


def _is_audible(shot: EncodedShot) -> bool:
    """Return whether a shot has sound that could be read, and some of it is heard."""
    if shot.problem_of("sound") or not shot.arrays["sound.present"][0]:
        return False
    return bool(shot.arrays["sound.levels"][LEVELS.index("silence_share")] < 1.0)


def _judge(shot: EncodedShot, sync: Sync | None, problem: str) -> _Judged:
    """Return the numbers of a shot that need no model."""
    values: dict[str, float | None] = dict.fromkeys(_SHOT_NAMES)
    if not shot.problem_of("sound") and shot.arrays["sound.present"][0]:
        levels = shot.arrays["sound.levels"].tolist()
        values |= {name: level if np.isfinite(level) else None for name, level in zip(LEVELS, levels, strict=True)}
    if sync is not None:
        values |= {"sync": sync.peak, "sync_others": sync.others, "sync_auc": sync.auc}
        values |= {"sync_lag_ms": sync.lag_ms, "sync_lag_abs_ms": abs(sync.lag_ms)}
    if problem:
        return _Judged(values, failed=problem)
    if not shot.arrays["sound.present"][0]:
        return _Judged(values, skipped="The shot has no sound.")
    if sync is None:
        reason = "The picture stands still or is too short." if _is_audible(shot) else "The sound is silent."
        return _Judged(values, skipped=reason)
    return _Judged(values)


def _match_values(
    prefix: str,
    row_D: NDArray[np.float32] | None,
    candidates: Sequence[NDArray[np.float32] | None],
    names: Sequence[str],
    own: int,
) -> dict[str, float | None]:
    """Return how a row matches its own candidate against the others; None where there is no pair."""
    values: dict[str, float | None] = {prefix + part: None for part in _MATCH_PARTS}
    if row_D is None or candidates[own] is None:
        return values
    blank_D = np.zeros_like(row_D)
    rows_SD = np.stack([blank_D if candidate is None else candidate for candidate in candidates])
    match = match_own(text_similarity(row_D[None], rows_SD), names, own)
    found = (match.own, match.contrast, match.auc, match.retrieval_at_1)
    return {prefix + part: value for part, value in zip(_MATCH_PARTS, found, strict=True)}


def _story_score(judged: Sequence[_Judged]) -> StoryScore:
    averages: dict[str, float | None] = {}
    for name in AudioAlignment.directions:
        found = [value for one in judged if (value := one.values.get(name)) is not None]
        averages[name] = mean(found) if found else None
    averages["loudness_jump_lu"] = level_jumps([one.values["loudness_lufs"] for one in judged])
    num_failed = sum(1 for one in judged if one.failed)
    num_skipped = sum(1 for one in judged if one.skipped)
    return StoryScore(
        values=averages,
        n_evaluated=len(judged) - num_failed - num_skipped,
        n_failed=num_failed,
        n_skipped=num_skipped,
    )


_SHOT_NAMES = tuple(name for name in AudioAlignment.directions if name != "loudness_jump_lu")
