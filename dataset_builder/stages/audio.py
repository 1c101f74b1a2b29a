"""The audio stage: AnimeShooter-audio, cut where picture and sound change together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.dataset_builder.annotate.release_annotator import told_audio
from animeshooter_hf.dataset_builder.annotate.sidecar import read_script, script_path
from animeshooter_hf.dataset_builder.audio.taggers import AudioTagger, TaggerConfig, open_tagger
from animeshooter_hf.dataset_builder.audio.track import AudioTrackSettings, make_audio_story
from animeshooter_hf.dataset_builder.engine.stage import Item, StageContext, StageResult
from animeshooter_hf.dataset_builder.stages.answering import (
    AnnotatorConfig,
    answering_key,
    answering_settings,
    open_annotator,
)
from animeshooter_hf.dataset_builder.stages.film import film_of, scan_of
from animeshooter_hf.records import Story

__all__ = ["AudioStage"]


@dataclass(frozen=True, kw_only=True)
class AudioStage:
    """Makes the audio story of every story of a film."""

    settings: AudioTrackSettings = field(default_factory=AudioTrackSettings)
    """Gate, joint cuts, lengths."""

    tagger: TaggerConfig | None = None
    """Who listens to what the features leave open, before the annotator does; None is nobody."""

    annotator: AnnotatorConfig = field(default_factory=AnnotatorConfig)
    """Who describes."""

    prompts: tuple[str, ...] = ()
    """Hashes of the prompts."""

    name = "audio"
    version = 1
    needs = ("scan", "script")

    def settings_key(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return {
            "settings": settings_to_json(self.settings),
            "tagger": None if self.tagger is None else settings_to_json(self.tagger),
            "annotator": answering_settings(self.annotator),
            "prompts": list(self.prompts),
        }

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """See `Stage`."""
        return answering_key(self.annotator, item)

    def run(self, context: StageContext) -> StageResult:
        """Make the audio stories."""
        film, scan = film_of(context), scan_of(context)
        annotator = open_annotator(self.annotator, film.path, context.store.folder, context.item.annotation)
        kind = self.annotator.kind_for(film.path, context.item.annotation)
        if kind == "release":
            given = [Story.from_json(row) for row in context.inputs["script"]["stories"]]
            heard = [Story.from_json(row) for row in context.inputs["script"].get("audio_stories", ())]
            return StageResult(output=told_audio(given, heard))
        # A film's own script knows its speech and music; it counts where the script is who answers.
        told = kind == "script"
        script = read_script(script_path(film.path)) if told else None
        tagger = None if self.tagger is None else _open_once(self.tagger)
        stories: dict[str, Any] = {}
        dropped: list[dict[str, Any]] = []
        stretches: list[dict[str, Any]] = []
        counts: Counter[str] = Counter()
        for row in context.inputs["script"]["stories"]:
            result = make_audio_story(film, Story.from_json(row), scan, annotator, self.settings, tagger, script)
            if result.story is not None:
                stories[result.story.story_id] = result.story.to_json()
            counts.update(result.counts)
            dropped += [asdict(one) for one in result.dropped]
            stretches += [asdict(one) for one in result.stretches]
        annotator.require_answers()
        return StageResult(
            output={
                "stories": stories,
                "dropped": dropped,
                "stretches": stretches,
                "counts": dict(sorted(counts.items())),
                "answers": annotator.provenance(),
            }
        )


@lru_cache(maxsize=1)
def _open_once(config: TaggerConfig) -> AudioTagger:
    """Return a tagger; its weights are loaded once per process."""
    return open_tagger(config)
