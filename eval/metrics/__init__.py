"""The metrics by name. A file is imported when its metric is asked for."""

from collections.abc import Sequence
from importlib import import_module

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import Backbone, load_backbone
from animeshooter_hf.eval.encoding import EncodingSettings
from animeshooter_hf.eval.story_metric import StoryMetric

__all__ = ["DEFAULT_METRICS", "METRICS", "check_metrics", "open_metrics"]

_HERE = "animeshooter_hf.eval.metrics"

METRICS: dict[str, tuple[str, str]] = {
    "reference_fidelity": (f"{_HERE}.reference_fidelity", "ReferenceFidelity"),
    "cross_shot_consistency": (f"{_HERE}.cross_shot_consistency", "CrossShotConsistency"),
    "shot_controls": (f"{_HERE}.shot_controls", "ShotControls"),
    "text_alignment": (f"{_HERE}.text_alignment", "TextAlignment"),
    "audio_alignment": (f"{_HERE}.audio_alignment", "AudioAlignment"),
    "character_assignment": (f"{_HERE}.character_assignment", "CharacterAssignment"),
}
"""Name -> (module, class)."""

DEFAULT_METRICS = ("reference_fidelity", "cross_shot_consistency", "shot_controls")
"""What is scored unless the user says otherwise: what needs no weights, and never likeness without its controls."""


def check_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics without repeats.

    Raises:
        InputError: If there is none, or one is unknown.
    """
    names = (metrics,) if isinstance(metrics, str) else tuple(dict.fromkeys(metrics))
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise InputError(f"There is no metric {unknown[0] if unknown else ''!r}. Metrics: {', '.join(METRICS)}.")
    return names


def open_metrics(
    metrics: Sequence[str], settings: EncodingSettings, *, backbone: Backbone | None = None
) -> tuple[StoryMetric, ...]:
    """Return the metrics, ready to score, with one backbone for all of them.

    Args:
        metrics: Their names.
        settings: As the user wrote them.
        backbone: Given, it is used in place of the one that the settings name.

    Raises:
        InputError: If a metric or the backbone is unknown, or a metric cannot work with these settings.
    """
    names = check_metrics(metrics)
    backbone = backbone or load_backbone(settings.backend, device=settings.device, dtype=settings.dtype)
    opened = []
    for name in names:
        module, class_name = METRICS[name]
        metric: StoryMetric = getattr(import_module(module), class_name)(settings, backbone)
        if metric.encodes_captions and not backbone.has_text:
            raise InputError(f"{name} needs a backend that reads text, such as clip; {backbone.name!r} reads none.")
        opened.append(metric)
    return tuple(opened)
