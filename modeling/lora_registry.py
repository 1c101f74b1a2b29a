"""Several LoRAs in one pipeline: which act in a shot, and how strongly."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.lora import LoraInfo, check_weight, load_lora, set_weights

__all__ = ["LoraRegistry"]


class LoraRegistry:
    """LoRAs by name, with a weight each, and whose character each is.

    Example:
        loras = LoraRegistry(pipeline)
        loras.add("me/mia-lora", weight=0.8)          # its character stands in its lora.json
        loras.add("style/", "ink", weight=0.5)        # belongs to nobody: always active
        with_mia = loras.weights_for(["Mia"])         # {"mia": 0.8, "ink": 0.5}
        loras.apply(with_mia)
    """

    def __init__(self, pipeline: Any) -> None:
        """Begin with none; LoRAs that the pipeline has already are not known here."""
        self._pipeline = pipeline
        self._infos: dict[str, LoraInfo] = {}
        self._weights: dict[str, float] = {}

    @property
    def infos(self) -> tuple[LoraInfo, ...]:
        """What each says about itself, in the order in which they were added."""
        return tuple(self._infos.values())

    def add(self, place: str | Path, name: str | None = None, weight: float = 1.0, **options: Any) -> LoraInfo:
        """Load a LoRA; for options and errors see `load_lora`."""
        info = load_lora(self._pipeline, place, name, weight, **options)
        self._infos[info.name], self._weights[info.name] = info, weight
        return info

    def weights_for(self, characters: Iterable[str], overrides: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return the weights for a shot: LoRAs of characters who are seen, and those that belong to nobody.

        Args:
            characters: Who is seen, by the story's names.
            overrides: LoRA -> another weight for this shot; it is active whoever is seen. 0 leaves one out.

        Raises:
            InputError: If an override names no LoRA, or a weight is out of range.
        """
        seen = set(characters)
        weights = {name: self._weights[name] for name, info in self._infos.items() if info.character in (None, *seen)}
        for name, weight in (overrides or {}).items():
            if name not in self._infos:
                raise InputError(f"There is no LoRA {name!r}; loaded are {', '.join(self._infos) or 'none'}.")
            check_weight(name, weight)
            weights[name] = weight
        return {name: weight for name, weight in weights.items() if weight}

    def apply(self, weights: Mapping[str, float]) -> None:
        """Let these be active with these weights, and no others; none at all is the plain model, bit by bit."""
        for name, weight in weights.items():
            if name not in self._infos:
                raise InputError(f"There is no LoRA {name!r}; loaded are {', '.join(self._infos) or 'none'}.")
            check_weight(name, weight)
        set_weights(self._pipeline.transformer, weights)
