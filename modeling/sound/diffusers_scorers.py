"""Text-to-audio pipelines of diffusers as scorers: Stable Audio, Stable Audio 3, AudioLDM 2.

Shape letters used below
    C channels    T samples
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.checkpoint import fingerprint

__all__ = ["AudioLDM2Scorer", "DiffusersScorer", "ScorerSettings", "StableAudio3Scorer", "StableAudioScorer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScorerSettings:
    """How a pipeline is called; None leaves its own default."""

    num_inference_steps: int | None = None
    """Denoising steps."""

    guidance_scale: float | None = None
    """Weight of classifier-free guidance."""

    negative_prompt: str | None = None
    """What should not be heard."""

    def __post_init__(self) -> None:
        steps, scale = self.num_inference_steps, self.guidance_scale
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 1000):
            raise InputError(f"num_inference_steps must be a whole number from 1 to 1000, got {steps!r}.")
        if scale is not None and (
            isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 <= scale <= 100
        ):
            raise InputError(f"guidance_scale must lie in 0 to 100, got {scale!r}.")


class DiffusersScorer:
    """What the three have in common.

    Args:
        pipeline: Of the class that the subclass names.
        settings: How it is called.
        source: What the weights are, for the file: a `SoundModel`'s texts, or "random weights".

    Raises:
        InputError: If the pipeline is of another class.
    """

    pipeline_class = ""
    """Name of the class in diffusers."""

    def __init__(
        self, pipeline: Any, settings: ScorerSettings | None = None, source: Mapping[str, str] | None = None
    ) -> None:
        if type(pipeline).__name__ != self.pipeline_class:
            raise InputError(f"This scorer takes a {self.pipeline_class}, got {type(pipeline).__name__}.")
        self.pipeline = pipeline
        """The pipeline, on its device."""
        self.settings = settings or ScorerSettings()
        """How it is called."""
        self._source = dict(source or {"model": self.pipeline_class, "licence": "unknown", "source": "unknown"})
        self._fingerprint = fingerprint(pipeline.components)
        pipeline.set_progress_bar_config(disable=True)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Model, licence, source, a mark of the weights, and the settings."""
        settings = {name: getattr(self.settings, name) for name in self.settings.__dataclass_fields__}
        return {**self._source, "model_fingerprint": self._fingerprint, "settings": settings}

    @property
    def max_seconds(self) -> float:
        """The longest sound that the model was made for."""
        raise NotImplementedError

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return int(self.pipeline.vae.config.sampling_rate)

    def __call__(self, prompt: str, seconds: float, generator: torch.Generator) -> tuple[NDArray[np.float32], int]:
        """Return the sound, of about the length.

        Raises:
            InputError: If it is longer than the model can make.
        """
        if not 0 < seconds <= self.max_seconds:
            raise InputError(f"{self.pipeline_class} makes up to {self.max_seconds:g} s at once, got {seconds:g} s.")
        settings = {name: getattr(self.settings, name) for name in self.settings.__dataclass_fields__}
        given = {name: value for name, value in settings.items() if value is not None}
        with torch.no_grad():
            audios = self.pipeline(prompt, generator=generator, **self._length(seconds), **given).audios
        sound = torch.as_tensor(audios[0]).detach().float().cpu().numpy()
        return (sound[None] if sound.ndim == 1 else sound), self.sample_rate

    def _length(self, seconds: float) -> dict[str, float]:
        """Return the argument that tells the pipeline how long."""
        raise NotImplementedError


class StableAudioScorer(DiffusersScorer):
    """`StableAudioPipeline`: 44.1 kHz stereo, up to 47 s. It makes the longest sound always and cuts it."""

    pipeline_class = "StableAudioPipeline"

    @property
    def max_seconds(self) -> float:
        """Latents of the transformer times samples per latent."""
        return float(self.pipeline.transformer.config.sample_size * self.pipeline.vae.hop_length / self.sample_rate)

    def _length(self, seconds: float) -> dict[str, float]:
        return {"audio_end_in_s": seconds}


class StableAudio3Scorer(DiffusersScorer):
    """`StableAudio3Pipeline`: 44.1 kHz stereo, 8 steps; the cost grows with the length."""

    pipeline_class = "StableAudio3Pipeline"

    @property
    def max_seconds(self) -> float:
        """Longest duration that the embedder tells apart; the small checkpoints are made for 120 s, medium for 380."""
        return float(self.pipeline.duration_embedder.config.max_val)

    def _length(self, seconds: float) -> dict[str, float]:
        return {"duration": seconds}


class AudioLDM2Scorer(DiffusersScorer):
    """`AudioLDM2Pipeline`: 16 kHz mono, trained on about 10 s."""

    pipeline_class = "AudioLDM2Pipeline"

    @property
    def sample_rate(self) -> int:
        """Of the vocoder."""
        return int(self.pipeline.vocoder.config.sampling_rate)

    @property
    def max_seconds(self) -> float:
        """The length of training; the pipeline would go on beyond it, with no word about quality."""
        pipeline = self.pipeline
        hop = float(np.prod(pipeline.vocoder.config.upsample_rates)) / self.sample_rate
        return float(pipeline.unet.config.sample_size * pipeline.vae_scale_factor * hop)

    def _length(self, seconds: float) -> dict[str, float]:
        return {"audio_length_in_s": seconds}
