"""The film and its scan as later stages get them: from the scan's receipt and blob, without opening the film."""

from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from animeshooter_hf.dataset_builder.engine.stage import StageContext
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.video import VideoInfo

__all__ = ["film_of", "info_to_json", "scan_of"]


def info_to_json(info: VideoInfo) -> dict[str, Any]:
    """Return what a film says of itself as JSON values."""
    rate = info.frame_rate
    return {**asdict(info), "frame_rate": f"{rate.numerator}/{rate.denominator}"}


def film_of(context: StageContext) -> FilmSource:
    """Return the film of a unit that needs the scan."""
    told: Mapping[str, Any] = context.inputs["scan"]["info"]
    info = VideoInfo(**{**told, "frame_rate": Fraction(told["frame_rate"])})
    return FilmSource(video_id=context.item.id, path=context.item.path, info=info)


def scan_of(context: StageContext) -> FilmScan:
    """Return the scan of a unit that needs it."""
    return FilmScan.load(context.fetch(context.inputs["scan"]["scan"]))
