"""CLIP: pictures and texts in one space. The paper scores with CLIP and does not say which; ViT-L/14 is our choice.

Source: Radford et al., arXiv 2103.00020; weights openai/clip-vit-large-patch14, licence MIT (that of OpenAI's code
repository; the model card names none).

Since transformers 5 `get_image_features` and `get_text_features` return an output object; the projected embedding is
its `pooler_output`. Programs that take the object for the tensor broke then.

Shape letters used below
    N pictures or texts    D embedding width
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.neural import NeuralBackbone, to_numpy
from animeshooter_hf.eval.backbones.preparation import read_preparation
from animeshooter_hf.eval.backbones.pretrained import find_checkpoint, load_model, load_tokenizer, pick_device

__all__ = ["ClipBackbone", "ImageTextBackbone"]


class ImageTextBackbone(NeuralBackbone):
    """A network of transformers with `get_image_features` and `get_text_features`."""

    has_text = True
    pooling = "projection"

    model_class: ClassVar[str]
    """Name in transformers."""

    model_types: ClassVar[tuple[str, ...]]
    """What the checkpoint's config may name."""

    lowercases: ClassVar[bool] = False
    """Whether texts are put in lower case before the tokenizer."""

    masks_padding: ClassVar[bool] = True
    """Whether the network is told which tokens are padding."""

    _tokenizer: Any

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> Self:
        """Return the backend with weights and tokenizer."""
        checkpoint = find_checkpoint(weights or cls.source, revision)
        checkpoint.check_kind(cls.model_types)
        preparation = read_preparation(checkpoint.folder)
        place = pick_device(device)
        tokenizer = load_tokenizer(checkpoint)
        model = load_model(cls.model_class, checkpoint, cls.model_types, device=place, dtype=dtype)
        if len(tokenizer) > model.config.text_config.vocab_size:
            raise InputError(f"The tokenizer of {checkpoint.folder} has more words than the network.")
        backbone = cls(model, preparation, label=checkpoint.label, device=place, dtype=dtype)
        backbone._tokenizer = tokenizer
        return backbone

    @property
    def max_tokens(self) -> int:
        """Tokens that the network has places for, its special ones included; a longer text loses its end."""
        return int(self._model.config.text_config.max_position_embeddings)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, special ones included: those beyond `max_tokens` are not read."""
        return [len(self._tokenizer(self._spell(text), truncation=False)["input_ids"]) for text in texts]

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of unit length per text, of shape (N, D). Nothing is put around the text.

        Raises:
            InputError: If a text is empty.
        """
        blank = next((index for index, text in enumerate(texts) if not text.strip()), None)
        if blank is not None:
            raise InputError(f"Text {blank} is empty.")
        return self._in_batches([self._spell(text) for text in texts], self._embed_texts)

    def _spell(self, text: str) -> str:
        return text.lower() if self.lowercases else text

    def _embed_batch(self, items: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return to_numpy(self._model.get_image_features(pixel_values=self._pixels(items)).pooler_output)

    def _embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # Padded to the full length, so that a row does not depend on the longest text of its batch.
        tokens = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self._device)
        inputs = {"input_ids": tokens["input_ids"]}
        if self.masks_padding:
            inputs["attention_mask"] = tokens["attention_mask"]
        return to_numpy(self._model.get_text_features(**inputs).pooler_output)


class ClipBackbone(ImageTextBackbone):
    """CLIP by OpenAI or LAION, in the layout of transformers."""

    name = "clip"
    purpose = "general look; text alignment; the paper's metric"
    license = "MIT"
    source = "openai/clip-vit-large-patch14"
    model_class = "CLIPModel"
    model_types = ("clip",)
