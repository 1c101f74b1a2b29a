"""Listeners that score speech, music and effects in a piece of sound: AST, CLAP and Silero VAD.

They are optional and decide only what the features leave open. All take weights that the user has; a checkpoint that
lacks one is refused, because it would score at random.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require

__all__ = ["AstTagger", "AudioTagger", "ClapTagger", "SileroTagger", "SoundTags", "TaggerConfig", "TaggerKind"]
__all__ += ["open_tagger"]

TaggerKind = Literal["ast", "clap", "silero"]
"""Who listens."""

_SPEECH_WORDS = ("speech", "conversation", "narration", "monologue", "talking")
_MUSIC_WORDS = ("music", "singing", "song")
_CLAP_TEXTS = {
    "speech": "This is the sound of people talking.",
    "music": "This is the sound of background music.",
    "effect": "This is a sound effect without speech or music.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundTags:
    """How likely each kind is heard for most of a piece of sound; they need not add up to 1."""

    speech: float
    """0 to 1."""

    music: float | None
    """0 to 1, or None if the listener knows only speech."""

    effect: float | None
    """0 to 1, or None if the listener knows only speech."""


class AudioTagger(Protocol):
    """Anything that listens."""

    name: str
    """Of the model, for provenance."""

    sample_rate: int
    """The rate of the sound that it takes."""

    def tag(self, audio_T: NDArray[np.float32], rate: int) -> SoundTags:
        """Return the tags of mono samples in [-1, 1].

        Raises:
            ValueError: If there are none, or they come at another rate than `sample_rate`.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggerConfig:
    """Which listener is asked about what the features leave open."""

    name: TaggerKind = "ast"
    """`ast`, `clap` or `silero`."""

    checkpoint: str = ""
    """Folder or Hub name of the weights; silero brings its own and takes none."""

    window_seconds: float = 10.0
    """Longer sound is scored by AST in pieces of this length. Our choice: what AudioSet's models were trained on."""

    threshold: float = 0.5
    """Probability from which on Silero takes a piece of 32 ms for speech. Its own default."""

    def __post_init__(self) -> None:
        if self.name not in get_args(TaggerKind):
            raise InputError(f"The tagger must be one of {', '.join(get_args(TaggerKind))}, got {self.name!r}.")
        if (self.name == "silero") == bool(self.checkpoint):
            wants = "brings its own weights and takes no checkpoint" if self.checkpoint else "needs a checkpoint"
            raise InputError(f"The tagger {self.name} {wants}.")
        if self.window_seconds <= 0:
            raise InputError(f"window_seconds must be positive, got {self.window_seconds}.")


def open_tagger(config: TaggerConfig) -> AudioTagger:
    """Return the listener of a config, with its weights loaded.

    Raises:
        InputError: If its weights cannot be loaded whole.
        MissingExtraError: If its package is not installed.
    """
    if config.name == "ast":
        return AstTagger(config.checkpoint, window_seconds=config.window_seconds)
    if config.name == "clap":
        return ClapTagger(config.checkpoint)
    return SileroTagger(threshold=config.threshold)


class AstTagger:
    """An audio classifier of transformers with AudioSet's labels, such as the Audio Spectrogram Transformer."""

    def __init__(self, model_path: str | Path, *, window_seconds: float = 10.0) -> None:
        """Load the model.

        Args:
            model_path: Folder or Hub name of an `ASTForAudioClassification`.
            window_seconds: Longer sound is scored in pieces of this length, and the scores are averaged.

        Raises:
            InputError: If the model cannot be loaded, lacks weights, or has no labels for speech and music.
            MissingExtraError: If transformers is not installed.
        """
        transformers = require("transformers", extra="models", purpose="Tagging sound")
        self._model = _load(transformers.AutoModelForAudioClassification, model_path)
        self._extractor = _load_plain(transformers.AutoFeatureExtractor, model_path)
        labels = {int(number): str(label).lower() for number, label in self._model.config.id2label.items()}
        self._speech = _labelled(labels, _SPEECH_WORDS)
        self._music = [number for number in _labelled(labels, _MUSIC_WORDS) if number not in self._speech]
        self._others = sorted(set(labels) - set(self._speech) - set(self._music))
        if not self._speech or not self._music or not self._others:
            raise InputError(f"{model_path} has no labels for speech, music and other sounds, so it cannot tag.")
        self.name = f"ast:{model_path}"
        self.sample_rate = int(self._extractor.sampling_rate)
        self._window = max(1, round(window_seconds * self.sample_rate))

    def tag(self, audio_T: NDArray[np.float32], rate: int) -> SoundTags:
        """Return the tags; see `AudioTagger.tag`."""
        _check(audio_T, rate, self.sample_rate)
        torch = require("torch", extra="models", purpose="Tagging sound")
        scores = []
        for piece_T in _pieces(audio_T, self._window):
            inputs = self._extractor(piece_T, sampling_rate=rate, return_tensors="pt")
            with torch.inference_mode():
                scores.append(torch.sigmoid(self._model(**inputs).logits[0].float()).numpy())
        mean = np.mean(scores, axis=0)
        speech, music, effect = (float(mean[numbers].max()) for numbers in (self._speech, self._music, self._others))
        return SoundTags(speech=speech, music=music, effect=effect)


class ClapTagger:
    """CLAP, which compares sound with sentences."""

    def __init__(self, model_path: str | Path, *, texts: dict[str, str] | None = None) -> None:
        """Load the model.

        Args:
            model_path: Folder or Hub name of a `ClapModel` with its processor.
            texts: "speech", "music" and "effect" -> the sentence that it is compared with.

        Raises:
            InputError: If the model cannot be loaded, lacks weights, or a sentence is missing.
            MissingExtraError: If transformers is not installed.
        """
        transformers = require("transformers", extra="models", purpose="Tagging sound")
        self._texts = dict(_CLAP_TEXTS if texts is None else texts)
        if set(self._texts) != set(_CLAP_TEXTS):
            raise InputError(f"texts must have the keys {', '.join(_CLAP_TEXTS)}, got {', '.join(self._texts)}.")
        self._model = _load(transformers.ClapModel, model_path)
        self._processor = _load_plain(transformers.ClapProcessor, model_path)
        self.name = f"clap:{model_path}"
        self.sample_rate = int(self._processor.feature_extractor.sampling_rate)
        self._window = round(float(self._processor.feature_extractor.max_length_s) * self.sample_rate)

    def tag(self, audio_T: NDArray[np.float32], rate: int) -> SoundTags:
        """Return the tags, which add up to 1; see `AudioTagger.tag`."""
        _check(audio_T, rate, self.sample_rate)
        torch = require("torch", extra="models", purpose="Tagging sound")
        scores = []
        for piece_T in _pieces(audio_T, self._window):
            inputs = self._processor(
                text=list(self._texts.values()), audio=piece_T, sampling_rate=rate, return_tensors="pt", padding=True
            )
            with torch.inference_mode():
                scores.append(self._model(**inputs).logits_per_audio[0].float().softmax(-1).numpy())
        return SoundTags(**dict(zip(self._texts, map(float, np.mean(scores, axis=0)), strict=True)))


class SileroTagger:
    """Silero VAD, which knows speech only; its wheel brings its weights."""

    name = "silero-vad"
    sample_rate = 16_000

    def __init__(self, *, threshold: float = 0.5) -> None:
        """Load the model.

        Args:
            threshold: Probability from which on a piece of 32 ms is speech.

        Raises:
            MissingExtraError: If silero-vad is not installed.
        """
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {threshold}.")
        self._silero = require("silero_vad", extra="vad", purpose="Finding speech")
        self._model = self._silero.load_silero_vad()
        self._threshold = threshold

    def tag(self, audio_T: NDArray[np.float32], rate: int) -> SoundTags:
        """Return the share of the time that is speech as its tag; see `AudioTagger.tag`."""
        _check(audio_T, rate, self.sample_rate)
        torch = require("torch", extra="vad", purpose="Finding speech")
        found = self._silero.get_speech_timestamps(
            torch.from_numpy(np.ascontiguousarray(audio_T)), self._model, threshold=self._threshold, sampling_rate=rate
        )
        spoken = sum(one["end"] - one["start"] for one in found)
        return SoundTags(speech=min(1.0, spoken / len(audio_T)), music=None, effect=None)


def _load(kind: Any, path: str | Path) -> Any:
    """Return a model in evaluation mode; one with a weight missing or of another shape is refused."""
    try:
        model, report = kind.from_pretrained(str(path), output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} holds no model that can be loaded: {str(error).splitlines()[0]}") from error
    lacking = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if lacking:
        raise InputError(f"The checkpoint {path} is not whole: {len(lacking)} weights lack, such as {lacking[0]}.")
    return model.eval()


def _load_plain(kind: Any, path: str | Path) -> Any:
    try:
        return kind.from_pretrained(str(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} holds no preprocessor of sound: {str(error).splitlines()[0]}") from error


def _labelled(labels: dict[int, str], words: Iterable[str]) -> list[int]:
    return sorted(number for number, label in labels.items() if any(word in label for word in words))


def _check(audio_T: NDArray[np.float32], rate: int, wanted: int) -> None:
    if audio_T.ndim != 1 or not len(audio_T):
        raise ValueError(f"audio must be mono samples of shape (T,), got the shape {audio_T.shape}.")
    if rate != wanted:
        raise ValueError(f"This listener takes sound at {wanted} samples per second, got {rate}.")


def _pieces(audio_T: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    """Return pieces of at most `size` samples, all about equally long."""
    return np.array_split(audio_T, -(-len(audio_T) // size))
