"""The half of the pipeline that loads, saves and uploads it, and keeps what T5 and LoRAs leave behind."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import CogVideoXLoraLoaderMixin
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.checkpoint import missing_weights
from animeshooter_hf.modeling.hub_checkpoint import load_checkpoint, push_checkpoint, save_checkpoint
from animeshooter_hf.modeling.lora import LoraInfo, load_lora, save_lora

__all__ = ["PipelineCheckpoint"]

_Self = TypeVar("_Self", bound="PipelineCheckpoint")


class PipelineCheckpoint(DiffusionPipeline, CogVideoXLoraLoaderMixin):
    """Loading, saving, uploading; LoRA; text embeddings."""

    def register_to_config(self, **kwargs: Any) -> None:
        """Register settings; the last one that loading registers, `_name_or_path`, makes it check the weights.

        Every way of loading ends there, also the one through the checkpoint's `pipeline.py`.
        """
        if "_name_or_path" in kwargs:
            for name, component in self.components.items():
                missing = missing_weights(component)
                if missing:
                    raise InputError(
                        f"The checkpoint {kwargs['_name_or_path']} is not whole: {len(missing)} weights of {name} are "
                        f"missing, such as {missing[0]}."
                    )
        super().register_to_config(**kwargs)

    @classmethod
    def from_pretrained(cls: type[_Self], pretrained_model_name_or_path: str | Path, **kwargs: Any) -> _Self:
        """Return the pipeline of a folder, of a repository on the Hub, or the library's own "toon".

        "toon" is a small model of toon stories that comes with the library, in float32 unless `dtype` says otherwise.
        The plain text "toon" always means it; a folder of that name is "./toon" or a `Path`. For the options see
        diffusers.

        Raises:
            InputError: If it is no checkpoint of this pipeline, or a file or a weight is missing or broken.
        """
        loaded: _Self = load_checkpoint(pretrained_model_name_or_path, pipeline_class=cls, **kwargs)
        return loaded

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write the checkpoint, with a card and the `pipeline.py` by which plain diffusers finds this class.

        Raises:
            InputError: If `push_to_hub` is asked for here; `push_to_hub()` does that.
        """
        save_checkpoint(self, save_directory, **kwargs)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload the checkpoint with its card, and return its address.

        Args:
            repo_id: Such as "name/model".
            kwargs: Of `push_checkpoint`, such as `private`, `token`, `commit_message`.
        """
        return push_checkpoint(self, repo_id, **kwargs)

    def save_lora(self, save_directory: str | Path, adapter_name: str = "default", **kwargs: Any) -> None:
        """Write a LoRA of the transformer with its alpha, a card and what it was trained on; see `lora.save_lora`.

        Raises:
            InputError: If there is no LoRA of that name.
        """
        save_lora(self, save_directory, adapter_name, **kwargs)

    def load_lora(self, place: str | Path, name: str | None = None, weight: float = 1.0, **kwargs: Any) -> LoraInfo:
        """Load a LoRA of a folder or a repository on the Hub, and return what it says of itself; see `lora.load_lora`.

        Raises:
            InputError: Before the model is touched: no LoRA there, one for another model, or a name that is taken.
        """
        return load_lora(self, place, name, weight, **kwargs)

    @torch.no_grad()
    def encode_text(self, text: str) -> Tensor:
        """Return the text encoder's features of a text, shape (1, L, D), as long as the adapter's condition.

        Raises:
            InputError: If the pipeline has no text encoder or no tokenizer.
        """
        self.check_text_encoder("Features of a text")
        length = self.adapter.config.condition_length
        embeds_1LD: Tensor = self.decoder.encode_text(
            [text], tokenizer=self.tokenizer, text_encoder=self.text_encoder, length=length
        )
        return embeds_1LD

    def store_null_embeds(self) -> None:
        """Compute the text encoder's features of "" and store them in the adapter; T5 is not needed afterwards.

        Raises:
            InputError: If the pipeline has no text encoder or no tokenizer.
        """
        self.check_text_encoder("Null embeddings")
        self.adapter.set_null_embeds(self.encode_text(""))

    def check_text_encoder(self, purpose: str) -> None:
        """Raise an InputError unless the pipeline has its text encoder and its tokenizer."""
        if self.text_encoder is None or self.tokenizer is None:
            raise InputError(f"{purpose} come from T5: load the pipeline with its tokenizer and text_encoder.")
