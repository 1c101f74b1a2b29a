"""Settings under a name: those of the paper's Table 2, as far as it states them.

Source: AnimeShooter, arXiv 2506.03126, appendix C.3: five uniformly sampled frames, CLIP similarity and DreamSim
distance of whole frames to the reference. Which CLIP and DreamSim, whether the five frames include both ends, and what
stands behind the cut-out reference is not said; here: the backend's own weights, both ends, and white.
"""

from collections.abc import Mapping
from typing import Any

from animeshooter_hf.errors import InputError

__all__ = ["PRESETS", "preset_settings"]

_PAPER: dict[str, Any] = {
    "frames_per_shot": 5,
    "sampling": "linspace",
    "fidelity_view": "full",
    "reference_background": "white",
}

PRESETS: dict[str, Mapping[str, Any]] = {
    "paper-clip": {**_PAPER, "backend": "clip"},
    "paper-dreamsim": {**_PAPER, "backend": "dreamsim"},
}
"""Name -> fields of `EncodingSettings`."""


def preset_settings(name: str | None, **given: Any) -> dict[str, Any]:
    """Return the settings of a preset, with those given in their place; None means not given.

    Raises:
        InputError: If there is no such preset.
    """
    if name is not None and name not in PRESETS:
        raise InputError(f"There is no preset {name!r}. Presets: {', '.join(PRESETS)}.")
    chosen = dict(PRESETS[name]) if name is not None else {}
    return chosen | {key: value for key, value in given.items() if value is not None}
