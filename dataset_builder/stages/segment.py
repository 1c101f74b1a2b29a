"""The segment stage: where stories begin and end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.dataset_builder.annotate.release_annotator import place_segments
from animeshooter_hf.dataset_builder.annotate.sidecar import check_script, script_path
from animeshooter_hf.dataset_builder.engine.stage import Item, StageContext, StageResult
from animeshooter_hf.dataset_builder.segments import SegmentSettings, make_segments
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.dataset_builder.stages.answering import AnnotatorConfig, answering_key
from animeshooter_hf.dataset_builder.stages.film import film_of, scan_of
from animeshooter_hf.errors import InputError

__all__ = ["SegmentStage"]


@dataclass(frozen=True, kw_only=True)
class SegmentStage:
    """Cuts a film into segments of about a minute at its boundaries."""

    settings: SegmentSettings = field(default_factory=SegmentSettings)
    """How long a segment is."""

    annotator: AnnotatorConfig = field(default_factory=AnnotatorConfig)
    """Where a release or the film's own script answers, its stories are the segments."""

    name = "segment"
    version = 1
    needs = ("scan", "admit")

    def settings_key(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return {**settings_to_json(self.settings), "annotator": self.annotator.kind}

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """See `Stage`."""
        return answering_key(self.annotator, item)

    def run(self, context: StageContext) -> StageResult:
        """Make the segments."""
        film, scan = film_of(context), context.inputs["scan"]
        kind = self.annotator.kind_for(film.path, context.item.annotation)
        if kind == "release" and context.item.annotation is not None:
            return StageResult(output=place_segments(context.item.annotation, film, scan_of(context).index).to_json())
        if kind == "script":
            return StageResult(output=_told_segments(film))
        rate = scan["num_frames"] / scan["seconds"]
        boundaries = [frame for frame, *_ in scan["boundaries"]]
        segments = make_segments(boundaries, scan["num_frames"], rate, self.settings)
        return StageResult(output={"segments": [asdict(segment) for segment in segments], "problems": []})


def _told_segments(film: FilmSource) -> dict[str, Any]:
    """Return the segments of the stories that a film's script tells; those that do not hold are problems."""
    told = check_script(film)
    if not told.stories:
        first = told.problems[0]
        raise InputError(f"{script_path(film.path)} tells no story that holds: {first.code}: {first.detail}.")
    return {
        "segments": [{"start_frame": story.start_frame, "end_frame": story.end_frame} for story in told.stories],
        "problems": [asdict(problem) for problem in told.problems],
    }
