"""What shots are made with: the settings of a story, and what single shots have of their own.

Both are kept in the story's state, so that going on later, or making a shot anew, gives the same frames.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.guidance import GuidanceSettings
from animeshooter_hf.modeling.prompt_layout import LayoutSettings
from animeshooter_hf.modeling.transitions import Transition, parse_transition

__all__ = ["GenerationSettings", "ShotSettings", "ShotSettingsInput", "read_shot_settings"]

ShotSettingsInput = Mapping[int, Any] | Sequence[Any] | None
"""Index -> `ShotSettings` (or its JSON form), or one of these, or None, for each shot."""

_LARGEST_SEED = 2**63 - 1
_LARGEST_WEIGHT = 10.0
"""LoRA weights beyond this, in either direction, only break the picture. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationSettings:
    """What every shot of a story is made with."""

    num_frames: int
    """Frames per shot. CogVideoX: a multiple of 8, plus 1. Wan: a multiple of 4, plus 1."""

    height: int
    """Rows of a frame."""

    width: int
    """Columns of a frame."""

    num_inference_steps: int
    """Denoising steps per shot."""

    guidance_scale: float
    """Weight of classifier-free guidance; 1 or less switches it off."""

    reference_scale: float | None = None
    """Weight of what the references add; None gives them the weight of the text, without a third prediction."""

    guidance_schedule: str = "constant"
    """How the weights move over the steps: "constant" or "cosine"."""

    negative_prompt: str | None = None
    """What is not wanted, in words; None takes the stored null embeddings. It needs the text encoder."""

    lora_weights: Mapping[str, float] | None = None
    """LoRA -> weight, of those that are loaded; empty for none of them, None for those that are switched on."""

    layout: LayoutSettings = field(default_factory=LayoutSettings)
    """How the story is laid out for the MLLM."""

    max_image_pixels: int | None = None
    """Budget of each image that the MLLM sees; None takes the pipeline's."""

    max_caption_tokens: int | None = None
    """Tokens to which a caption is cut; None takes the pipeline's."""

    def __post_init__(self) -> None:
        for name in ("num_frames", "height", "width", "num_inference_steps"):
            _check_count(name, getattr(self, name))
        for name in ("max_image_pixels", "max_caption_tokens"):
            if getattr(self, name) is not None:
                _check_count(name, getattr(self, name))
        if self.num_inference_steps > 1000:
            raise InputError(f"num_inference_steps must be at most 1000, got {self.num_inference_steps}.")
        _check_scale("guidance_scale", self.guidance_scale)
        if self.reference_scale is not None:
            _check_scale("reference_scale", self.reference_scale)
        _check_text("negative_prompt", self.negative_prompt)
        object.__setattr__(self, "lora_weights", _checked_weights(self.lora_weights))
        _ = self.guidance

    @property
    def guidance(self) -> GuidanceSettings:
        """How the predictions of a step are weighed."""
        return GuidanceSettings(
            text_scale=self.guidance_scale, reference_scale=self.reference_scale, schedule=self.guidance_schedule
        )

    def for_shot(self, own: "ShotSettings") -> "GenerationSettings":
        """Return the settings of a shot that has some of its own."""
        changes = {name: value for name in _SHARED if (value := getattr(own, name)) is not None}
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "GenerationSettings":
        """Return the settings of a JSON object; what an older version did not write has its default.

        Raises:
            InputError: If a value is not possible.
        """
        layout = data.get("layout")
        return cls(**{**data, "layout": LayoutSettings(**(layout or {}))})


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotSettings:
    """What a shot has of its own; None where it has what its story has."""

    seed: int | None = None
    """Seed of its noise."""

    num_frames: int | None = None
    """Frames."""

    num_inference_steps: int | None = None
    """Denoising steps."""

    guidance_scale: float | None = None
    """See `GenerationSettings`."""

    reference_scale: float | None = None
    """See `GenerationSettings`."""

    negative_prompt: str | None = None
    """See `GenerationSettings`."""

    lora_weights: Mapping[str, float] | None = None
    """See `GenerationSettings`."""

    continues: bool | None = None
    """Begin with the last frame of the shot before, as it is, instead of with a cut; for Wan 2.2 TI2V."""

    transition: Transition | None = None
    """How it goes over into the next shot of the film; a text such as "fade:8" does as well. None: a cut."""

    audio_prompt: str | None = None
    """What is heard, in words; "" for silence. None takes the story's annotation, or its captions."""

    def __post_init__(self) -> None:
        seed = self.seed
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= _LARGEST_SEED):
            raise InputError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed!r}.")
        if self.continues is not None and not isinstance(self.continues, bool):
            raise InputError(f"continues must be true or false, got {self.continues!r}.")
        for name in ("num_frames", "num_inference_steps"):
            if getattr(self, name) is not None:
                _check_count(name, getattr(self, name))
        for name in ("guidance_scale", "reference_scale"):
            if getattr(self, name) is not None:
                _check_scale(name, getattr(self, name))
        for name in ("negative_prompt", "audio_prompt"):
            _check_text(name, getattr(self, name))
        object.__setattr__(self, "lora_weights", _checked_weights(self.lora_weights))
        if isinstance(self.transition, str):
            object.__setattr__(self, "transition", parse_transition(self.transition))
        if self.transition is not None and not isinstance(self.transition, Transition):
            raise InputError(f"transition must be a Transition or a text such as fade:8, got {self.transition!r}.")

    def to_json(self) -> dict[str, Any]:
        """Return what is set, as a JSON object."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.transition is not None:
            values["transition"] = _transition_text(self.transition)
        return {name: value for name, value in values.items() if value is not None}


def read_shot_settings(value: ShotSettingsInput, num_shots: int) -> dict[int, ShotSettings]:
    """Return index -> settings of the shots that have some of their own.

    Args:
        value: See `ShotSettingsInput`.
        num_shots: Shots of the story.

    Raises:
        InputError: If an index or a key is unknown, or a value is not possible; the message names the shot.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InputError(f"shot_settings must be a mapping of shot indices, or a list, got {value!r:.80}.")
        if len(value) != num_shots:
            raise InputError(f"The story has {num_shots} shots, but there are {len(value)} shot_settings.")
        value = dict(enumerate(value))
    for index in value:
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < num_shots:
            raise InputError(f"shot_settings are for shot {index!r}, but the story has the shots 0 to {num_shots - 1}.")
    read = {index: _read_one(index, one) for index, one in sorted(value.items()) if one is not None}
    return {index: one for index, one in read.items() if one != ShotSettings()}


_SHARED = (
    "num_frames", "num_inference_steps", "guidance_scale", "reference_scale", "negative_prompt", "lora_weights",
)  # fmt: skip
"""Settings that a shot may have of its own in place of its story's."""


def _read_one(index: int, value: Any) -> ShotSettings:
    if isinstance(value, ShotSettings):
        return value
    if not isinstance(value, Mapping):
        raise InputError(f"The settings of shot {index} must be ShotSettings, got {value!r:.80}.")
    known = [one.name for one in fields(ShotSettings)]
    for key in value:
        if key not in known:
            raise InputError(f"The settings of shot {index} have the unknown key {key!r}; known are "
                             f"{', '.join(known)}.")  # fmt: skip
    try:
        return ShotSettings(**value)
    except InputError as error:
        raise InputError(f"Shot {index}: {error}") from error


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}.")


def _check_scale(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise InputError(f"{name} must lie in 0 to 100, got {value!r}.")


def _check_text(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise InputError(f"{name} must be a text, got {value!r:.80}.")


def _checked_weights(weights: Any) -> dict[str, float] | None:
    if weights is None:
        return None
    if not isinstance(weights, Mapping):
        raise InputError(f"lora_weights must be a mapping of LoRA names to weights, got {weights!r:.80}.")
    for name, weight in weights.items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight)
        if not is_number or abs(weight) > _LARGEST_WEIGHT:
            raise InputError(f"The weight of the LoRA {name!r} must lie in -{_LARGEST_WEIGHT:g} to {_LARGEST_WEIGHT:g},"
                             f" got {weight!r}.")  # fmt: skip
    return dict(weights)


def _transition_text(transition: Transition) -> str:
    if transition.kind == "cut":
        return "cut"
    colour = f":#{bytes(transition.colour).hex()}" if transition.kind == "fade" else ""
    return f"{transition.kind}:{transition.num_frames}{colour}"
