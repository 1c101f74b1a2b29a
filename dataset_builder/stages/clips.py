"""The clips stage: shots, cut-outs and sound of a film, encoded once and kept until the dataset is packaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from animeshooter_hf.dataset_builder.engine.stage import Item, StageContext, StageResult
from animeshooter_hf.dataset_builder.release.reader import is_audio_story_id
from animeshooter_hf.records import Story

__all__ = ["ClipsStage", "MediaPolicy", "final_stories"]

MediaPolicy = Literal["full", "none"]
"""`full`: clips, references and sound; `none`: annotations and masks only."""


@dataclass(frozen=True, kw_only=True)
class ClipsStage:
    """Encodes the media of a film."""

    media: MediaPolicy = "full"
    """What is made."""

    crf: int = 18
    """Quality of the clips, x264's scale."""

    name = "clips"
    version = 1
    needs = ("scan", "script", "references", "audio")

    def settings_key(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return {"media": self.media, "crf": self.crf}

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """See `Stage`."""
        return {}

    def run(self, context: StageContext) -> StageResult:
        """Cut and encode."""
        if self.media == "none":
            return StageResult(output={"files": {}, "skipped": []})
        # These load `datasets`, which takes longer than many a unit.
        from animeshooter_hf.dataset_builder.package_media import make_media
        from animeshooter_hf.dataset_builder.staged_media import stage_media

        made, skipped = {}, []
        for story in final_stories(context.inputs):
            heard = context.inputs["audio"]["stories"].get(story.story_id)
            audio_story = story.with_shots([]) if heard is None else Story.from_json(heard)
            # A story of the audio release gives sound alone: its pictures are those of other stories.
            pictured = story.with_shots([]) if is_audio_story_id(story.story_id) else story
            rows = make_media(pictured, context.item.path, audio_story=audio_story, crf=self.crf)
            made[story.story_id] = rows
            skipped += [list(one) for one in rows.skipped]
        files = stage_media(made)
        return StageResult(
            output={"files": {config: f"{context.blob_prefix}.{config}" for config in files}, "skipped": skipped},
            blobs={f".{config}": content for config, content in files.items()},
        )


def final_stories(inputs: Mapping[str, Mapping[str, Any]]) -> list[Story]:
    """Return the stories of a film with their references, from the outputs of the stages before.

    A shot that is an audio shot by itself, with the same frames, carries its audio annotation. Stories of the audio
    release, which splits films in its own way, come last.
    """
    references = inputs["references"]["references"]
    stories = []
    for row in inputs["script"]["stories"]:
        heard = inputs["audio"]["stories"].get(row["story_id"]) or {"shots": []}
        sounds = {(shot["start_frame"], shot["end_frame"]): shot["audio_annotation"] for shot in heard["shots"]}
        shots = [
            {**shot, "audio_annotation": sounds.get((shot["start_frame"], shot["end_frame"]))} for shot in row["shots"]
        ]
        masks = references.get(row["story_id"], [])
        stories.append(Story.from_json({**row, "shots": shots, "reference_masks": masks}))
    heard_alone = [row for name, row in inputs["audio"]["stories"].items() if is_audio_story_id(name)]
    return stories + [Story.from_json(row) for row in heard_alone]
