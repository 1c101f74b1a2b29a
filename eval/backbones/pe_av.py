"""PE-AV: sound, video and text in one space. Which sound fits which picture.

Source: Vyas et al., arXiv 2512.19687; weights facebook/pe-av-small-16-frame, licence Apache-2.0. Its video branch needs
the package `timm`. All checkpoints get 16 frames, as the "16-frame" ones were trained with.

transformers 5.23 has the parts right and the doors broken: `get_text_audio_embeds` and `get_video_embeds` call methods
that are not there, and `from_pretrained` stops at a buffer of today's `timm`. So the network is made from its config,
the weights are put in by name, whole or not at all, and the parts are called as its `forward` does. Similarity is the
cosine of the embeddings, which the network itself compares by their product; so it lies in [-1, 1].

Shape letters used below
    N pieces, shots or texts    F frames
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.audio_base import AudioModel, FramesView, SoundView, reading_settings
from animeshooter_hf.eval.backbones.preparation import Preparation
from animeshooter_hf.eval.backbones.pretrained import (
    EXTRA,
    MODEL_FILES,
    PURPOSE,
    Checkpoint,
    check_finite,
    find_checkpoint,
    load_tokenizer,
    pick_device,
    read_state,
    torch_dtype,
)
from animeshooter_hf.eval.views import View
from animeshooter_hf.optional import require

__all__ = ["NUM_FRAMES", "PeAvModel"]

NUM_FRAMES = 16
"""Frames that are seen of a shot, the first and the last included. The "16-frame" checkpoints were trained so."""

_MAX_TOKENS = 512
"""Our choice: no description of sound is longer; the text network would take 8192."""

_BILINEAR = 2
"""Pillow's number, as it stands in the settings."""


class PeAvModel(AudioModel):
    """Perception Encoder Audio-Visual by Meta, in the layout of transformers."""

    name = "pe-av"
    purpose = "sound against picture and description"
    license = "Apache-2.0"
    source = "facebook/pe-av-small-16-frame"
    has_video = True
    max_seconds = 30.0
    batch_size = 4

    _extractor: Any
    _preparation: Preparation

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> Self:
        """Return the model with weights, tokenizer and the settings of sound and frames."""
        files = (*MODEL_FILES, "video_preprocessor_config.json")
        checkpoint = find_checkpoint(weights or cls.source, revision, files=files)
        transformers = require("transformers", extra=EXTRA, purpose=PURPOSE)
        require("timm", extra="pe-av", purpose="The video branch of PE-AV")
        place = pick_device(device)
        tokenizer = load_tokenizer(checkpoint)
        with reading_settings(f"The settings of sound and video in {checkpoint.folder}"):
            extractor = transformers.PeAudioFeatureExtractor.from_pretrained(checkpoint.folder, local_files_only=True)
            video = transformers.PeVideoVideoProcessor.from_pretrained(checkpoint.folder, local_files_only=True)
            if not (video.do_resize and video.do_rescale and video.do_normalize) or int(video.resample) != _BILINEAR:
                raise ValueError("frames are to be resized bilinearly, rescaled and normalised; nothing else is known")
            preparation = Preparation(
                size=(int(video.size["height"]), int(video.size["width"])),
                resampling="bilinear",
                mean=tuple(video.image_mean),
                std=tuple(video.image_std),
            )
        network = _load_network(checkpoint).to(place, torch_dtype(dtype)).eval().requires_grad_(False)
        model = cls(network, tokenizer, label=checkpoint.label, device=place, dtype=dtype)
        model._extractor, model._preparation = extractor, preparation
        model.sample_rate = int(extractor.sampling_rate)
        return model

    @property
    def signature(self) -> str:
        """Name, weights with commit, pieces, frames, precision and version."""
        sound = f"mono{self.sample_rate}-equal<{self.max_seconds:g}s"
        return f"pe-av|{self._label}|{sound}|{NUM_FRAMES}frames-{self._preparation.signature}|{self._dtype}|v1"

    def frames_seen(self, num_frames: int) -> tuple[int, ...]:
        """Return 16 ordinals from the first to the last frame; a shorter shot repeats some."""
        return tuple(int(place * (num_frames - 1) / (NUM_FRAMES - 1)) for place in range(NUM_FRAMES))

    def _prepare_sound(self, view: SoundView) -> NDArray[Any]:
        features = self._extractor([view.samples], sampling_rate=view.sample_rate, return_tensors="np")
        return np.asarray(features["input_values"][0], np.float32)

    def _prepare_frames(self, view: FramesView) -> NDArray[Any]:
        return np.stack([self._preparation.prepare(View(frame)) for frame in view.frames])

    def _embed_batch(self, batch: NDArray[Any]) -> Any:
        if batch.dtype != np.uint8:
            return self._model.audio_model.get_audio_embeds(self._tensor(batch))
        video = self._model.video_model
        pixels = np.stack([self._preparation.normalise(list(frames)) for frames in batch])
        return video.video_head(video.video_encoder(pixel_values_videos=self._tensor(pixels)).pooler_output)

    def _embed_texts(self, texts: list[str]) -> Any:
        # One by one: the network has no place for padding that would not move the other tokens' numbers.
        import torch

        rows = []
        for text in texts:
            tokens = self._tokenizer(text, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
            read = self._model.text_model(
                input_ids=tokens["input_ids"].to(self._device),
                attention_mask=tokens["attention_mask"].to(self._device),
                output_hidden_states=True,
            )
            rows.append(self._model.audio_model.text_audio_head(read.hidden_states[-1][:, 0]))
        return torch.cat(rows)


def _load_network(checkpoint: Checkpoint) -> Any:
    """Return the network with every weight from the checkpoint; weights that it shares are stored once.

    Raises:
        InputError: If it is of another kind, cannot be read, or is not whole.
    """
    if checkpoint.model_type != "pe_audio_video":
        raise InputError(
            f"{checkpoint.folder} holds a model of the kind {checkpoint.model_type!r}, not 'pe_audio_video'."
        )
    paths = sorted(checkpoint.folder.glob("model*.safetensors"))
    if not paths:
        raise InputError(f"The checkpoint {checkpoint.folder} is not whole: it has no model.safetensors.")
    transformers = require("transformers", extra=EXTRA, purpose=PURPOSE)
    with reading_settings(str(checkpoint.folder / "config.json")):
        config = transformers.PeAudioVideoConfig.from_pretrained(checkpoint.folder, local_files_only=True)
        network = transformers.PeAudioVideoModel(config)
    state: dict[str, Any] = {}
    for path in paths:
        state |= read_state(path)
    _put_weights(network, state, checkpoint.folder)
    check_finite(checkpoint, state)
    return network


def _put_weights(network: Any, state: Mapping[str, Any], folder: Path) -> None:
    wanted = network.state_dict(keep_vars=True)
    unknown = sorted(set(state) - set(wanted))
    if unknown:
        raise InputError(
            f"The checkpoint {folder} holds weights that are not known: {len(unknown)}, such as {unknown[0]}."
        )
    stored = {wanted[name].data_ptr() for name in state}
    missing = sorted(name for name, weight in wanted.items() if name not in state and weight.data_ptr() not in stored)
    if missing:
        raise InputError(f"The checkpoint {folder} lacks weights: {len(missing)}, such as {missing[0]}.")
    for name, weight in state.items():
        if weight.shape != wanted[name].shape:
            shapes = f"{tuple(weight.shape)} instead of {tuple(wanted[name].shape)}"
            raise InputError(f"The checkpoint {folder} has weights of another shape, such as {name}: {shapes}.")
    network.load_state_dict(dict(state), strict=False)
