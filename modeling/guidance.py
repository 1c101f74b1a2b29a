"""Guidance with more than one scale: how strongly a shot follows its text, and how strongly its references.

A shot is predicted from up to three conditions: negative, the context without the references, the whole context. They
run as one batch, and what they predict is combined into one prediction:

    negative + text_scale * (unreferenced - negative) + reference_scale * (full - unreferenced)

With both scales equal this is ordinary classifier-free guidance. Source of the formula: InstructPix2Pix, arXiv
2211.09800, equation 3, with "image" read as "references".

No denoising loop is copied. The diffusers pipeline is called without guidance, so it asks the transformer for one
prediction per step; `BranchGuidance` hangs two hooks on the transformer, which multiply that call's batch and combine
what comes back. Schedulers, callbacks, offloading and step caches stay as they are, and without the hooks the plain
pipeline runs. All of it is off by default; the paper does not speak of guidance.

Shape letters used below
    B shots in the batch    L condition tokens    D width of the condition
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from animeshooter_hf.errors import InputError

__all__ = ["SCHEDULES", "BranchGuidance", "GuidanceSettings", "combine_predictions", "scale_at"]

SCHEDULES = ("constant", "cosine")
"""How scales move over the steps of a shot; see `scale_at`."""

NEEDS_UNREFERENCED = "reference_scale needs the condition of the context without references, and none is given."
"""Why a reference scale is refused."""

_LARGEST_SCALE = 100.0
"""Scales above this only burn the picture. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidanceSettings:
    """How the predictions of a step are weighed."""

    text_scale: float
    """Weight of the text, that is of the context without references. 1 or less, alone, switches guidance off."""

    reference_scale: float | None = None
    """Weight of what the references add. None gives them the text's scale without a third prediction."""

    schedule: str = "constant"
    """One of `SCHEDULES`."""

    low_noise_scale: float | None = None
    """Text scale of Wan 2.2's second expert, which takes the steps of little noise. None: the same as `text_scale`."""

    def __post_init__(self) -> None:
        for name in ("text_scale", "reference_scale", "low_noise_scale"):
            value = getattr(self, name)
            if value is None and name != "text_scale":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST_SCALE:
                raise InputError(f"{name} must lie in 0 to {_LARGEST_SCALE:g}, got {value!r}.")
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}.")

    @property
    def is_plain(self) -> bool:
        """Whether the guidance that diffusers builds into its pipelines does the same."""
        return self.reference_scale is None and self.schedule == "constant"

    @property
    def num_branches(self) -> int:
        """Predictions per step."""
        return 3 if self.reference_scale is not None else 2


def combine_predictions(
    negative: Tensor,
    full: Tensor,
    *,
    text_scale: float,
    unreferenced: Tensor | None = None,
    reference_scale: float | None = None,
) -> Tensor:
    """Return one prediction out of two or three of the same shape.

    Args:
        negative: Prediction from the negative condition.
        full: Prediction from the whole context.
        text_scale: Weight of the text.
        unreferenced: Prediction from the context without references.
        reference_scale: Weight of what the references add; given together with `unreferenced`.

    Raises:
        ValueError: If only one of the last two is given.
    """
    if (unreferenced is None) != (reference_scale is None):
        raise ValueError("unreferenced and reference_scale belong together: give both or neither.")
    if unreferenced is None or reference_scale is None:
        return negative + text_scale * (full - negative)
    return negative + text_scale * (unreferenced - negative) + reference_scale * (full - unreferenced)


def scale_at(scale: float, progress: float, schedule: str) -> float:
    """Return a scale at a moment of the denoising.

    "cosine" is the dynamic guidance of CogVideoX: 1 + scale * (1 - cos(pi * progress ** 5)) / 2, weak while the layout
    settles and full at the end. It takes the share of steps done, as the formula means it. `use_dynamic_cfg` of
    diffusers 0.42 puts a timestep of 0 to 999 where the number of a step belongs, so its argument leaves [0, 1].

    Args:
        scale: The scale as set.
        progress: Share of steps done, from 0 to 1.
        schedule: One of `SCHEDULES`.
    """
    if schedule == "constant":
        return scale
    return 1 + scale * (1 - math.cos(math.pi * progress**5)) / 2


class BranchGuidance:
    """Several predictions per step out of one call of the transformer, as a pair of hooks on it."""

    def __init__(
        self,
        settings: GuidanceSettings,
        negative_embeds_BLD: Tensor,
        unreferenced_embeds_BLD: Tensor | None = None,
        *,
        num_steps: Callable[[], int],
    ) -> None:
        """Prepare the branches.

        Args:
            settings: The scales.
            negative_embeds_BLD: Negative condition, one per shot.
            unreferenced_embeds_BLD: Condition of the context without references; needed for a `reference_scale`.
            num_steps: Asked at every step how many there are, as schedulers know it only once a run has begun.

        Raises:
            InputError: If there is a `reference_scale` and no condition without references.
        """
        if settings.reference_scale is not None and unreferenced_embeds_BLD is None:
            raise InputError(NEEDS_UNREFERENCED)
        self._settings = settings
        self._others = [negative_embeds_BLD]
        if settings.reference_scale is not None and unreferenced_embeds_BLD is not None:
            self._others.append(unreferenced_embeds_BLD)
        self._num_steps = num_steps
        self._step = 0

    @contextmanager
    def on(self, transformer: nn.Module, second: nn.Module | None = None) -> Iterator[None]:
        """Guide every call of these transformers; `second` is the expert of little noise. One run of a pipeline."""
        self._step = 0
        with ExitStack() as stack:
            for module in (transformer, second):
                if module is not None:
                    stack.callback(module.register_forward_pre_hook(self._multiply, with_kwargs=True).remove)
                    hook = self._combine_low_noise if module is second else self._combine
                    stack.callback(module.register_forward_hook(hook).remove)
            yield

    def _multiply(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        embeds_BLD = kwargs["encoder_hidden_states"]
        branches = len(self._others) + 1
        others = [other.to(embeds_BLD) for other in self._others]
        return args, {
            **kwargs,
            "hidden_states": torch.cat([kwargs["hidden_states"]] * branches),
            "timestep": torch.cat([kwargs["timestep"]] * branches),
            "encoder_hidden_states": torch.cat([*others, embeds_BLD]),
        }

    def _combine(self, _: nn.Module, args: Any, output: tuple[Tensor, ...]) -> tuple[Tensor]:
        return self._combined(output[0], self._settings.text_scale)

    def _combine_low_noise(self, _: nn.Module, args: Any, output: tuple[Tensor, ...]) -> tuple[Tensor]:
        low = self._settings.low_noise_scale
        return self._combined(output[0], self._settings.text_scale if low is None else low)

    def _combined(self, predictions: Tensor, text_scale: float) -> tuple[Tensor]:
        negative, *middle, full = predictions.float().chunk(len(self._others) + 1)
        progress = self._step / max(1, self._num_steps() - 1)
        self._step += 1
        schedule, reference_scale = self._settings.schedule, self._settings.reference_scale
        combined = combine_predictions(
            negative,
            full,
            text_scale=scale_at(text_scale, progress, schedule),
            unreferenced=middle[0] if middle else None,
            reference_scale=None if reference_scale is None else scale_at(reference_scale, progress, schedule),
        )
        return (combined,)
