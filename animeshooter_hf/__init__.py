"""Make, load, train on, generate and score multi-shot animation with consistent characters.

Importing this package loads nothing heavy: every public name is fetched when it is first used.
The rooms are `animeshooter_hf.dataset_builder`, `.modeling`, `.eval` and `.cards`.

Source: AnimeShooter, arXiv 2506.03126.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from animeshooter_hf._version import __version__

if TYPE_CHECKING:
    from animeshooter_hf.dataset_builder.builder import AnimeShooterBuilder
    from animeshooter_hf.eval.runner import evaluate_stories
    from animeshooter_hf.loading import load_stories
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput, AnimeShooterGenPipeline
    from animeshooter_hf.records import AudioAnnotation, Character, ReferenceMask, Scene, Shot, Story

_HOMES = {
    "AnimeShooterBuilder": "animeshooter_hf.dataset_builder.builder",
    "AnimeShooterGenOutput": "animeshooter_hf.modeling.pipeline_animeshooter",
    "AnimeShooterGenPipeline": "animeshooter_hf.modeling.pipeline_animeshooter",
    "AudioAnnotation": "animeshooter_hf.records",
    "Character": "animeshooter_hf.records",
    "ReferenceMask": "animeshooter_hf.records",
    "Scene": "animeshooter_hf.records",
    "Shot": "animeshooter_hf.records",
    "Story": "animeshooter_hf.records",
    "evaluate_stories": "animeshooter_hf.eval.runner",
    "load_stories": "animeshooter_hf.loading",
}

__all__ = [
    "AnimeShooterBuilder",
    "AnimeShooterGenOutput",
    "AnimeShooterGenPipeline",
    "AudioAnnotation",
    "Character",
    "ReferenceMask",
    "Scene",
    "Shot",
    "Story",
    "__version__",
    "evaluate_stories",
    "load_stories",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
