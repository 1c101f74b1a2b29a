"""CLAP: sound and text in one space. Which sound fits which description.

Source: Wu et al., arXiv 2211.06687; weights laion/larger_clap_general (general sound, speech and music), licence
Apache-2.0. The repository's main branch holds them as a pickle only, so the commit of its safetensors is taken.

Two things of transformers are not done here, since they give another number every time: sound longer than the ten
seconds of the model (or what its settings say) is not cut at random but heard in equal pieces, and for checkpoints with
fusion no sound of a batch is declared "longer" at random.

Shape letters used below
    N pieces or texts    W windows of the spectrogram    B mel bands
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.audio_base import AudioModel, SoundView, reading_settings
from animeshooter_hf.eval.backbones.pretrained import (
    EXTRA,
    PURPOSE,
    find_checkpoint,
    load_model,
    load_tokenizer,
    pick_device,
)
from animeshooter_hf.optional import require

__all__ = ["ClapModel"]

_MAX_TOKENS = 77
"""As LAION trained it."""


class ClapModel(AudioModel):
    """CLAP by LAION, in the layout of transformers."""

    name = "clap"
    purpose = "sound against its description"
    license = "Apache-2.0"
    source = "laion/larger_clap_general"
    default_revision = "16c8cc3159a3c8a31e8ff5ef1f66b0d9ab3667db"

    _extractor: Any

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> Self:
        """Return the model with weights, tokenizer and the settings of its spectrogram."""
        checkpoint = find_checkpoint(weights or cls.source, revision)
        transformers = require("transformers", extra=EXTRA, purpose=PURPOSE)
        place = pick_device(device)
        tokenizer = load_tokenizer(checkpoint)
        settings = checkpoint.folder / "preprocessor_config.json"
        with reading_settings(str(settings)):
            extractor = transformers.ClapFeatureExtractor.from_pretrained(checkpoint.folder, local_files_only=True)
        network = load_model("ClapModel", checkpoint, ("clap",), device=place, dtype=dtype)
        if len(tokenizer) > network.config.text_config.vocab_size:
            raise InputError(f"The tokenizer of {checkpoint.folder} has more words than the network.")
        model = cls(network, tokenizer, label=checkpoint.label, device=place, dtype=dtype)
        model._extractor = extractor
        model.sample_rate, model.max_seconds = int(extractor.sampling_rate), float(extractor.max_length_s)
        return model

    @property
    def signature(self) -> str:
        """Name, weights with commit, pieces, precision and version."""
        extractor = self._extractor
        pieces = f"{extractor.max_length_s}s-{extractor.truncation}-{extractor.padding}"
        return f"clap|{self._label}|mono{self.sample_rate}|equal<{pieces}|{_MAX_TOKENS}tokens|{self._dtype}|v1"

    def _prepare_sound(self, view: SoundView) -> NDArray[Any]:
        features = self._extractor(view.samples, sampling_rate=view.sample_rate, return_tensors="np")
        return np.asarray(features["input_features"][0], np.float32)

    def _embed_batch(self, batch: NDArray[Any]) -> Any:
        import torch

        is_longer = torch.zeros((len(batch), 1), dtype=torch.bool, device=self._device)
        return self._model.get_audio_features(input_features=self._tensor(batch), is_longer=is_longer).pooler_output

    def _embed_texts(self, texts: list[str]) -> Any:
        tokens = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
        ).to(self._device)
        return self._model.get_text_features(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
