"""All settings of a build, and the stages that they make.

The command line, a settings file (`animeshooter build --config`) and Python use the same dataclass; its sections are
the settings dataclasses of the rooms, each beside the code it steers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from animeshooter_hf.dataset_builder.annotate.prompts import load_prompt
from animeshooter_hf.dataset_builder.audio.taggers import TaggerConfig
from animeshooter_hf.dataset_builder.audio.track import AudioTrackSettings
from animeshooter_hf.dataset_builder.engine.runner import RunSettings
from animeshooter_hf.dataset_builder.engine.stage import Stage
from animeshooter_hf.dataset_builder.package import SplitSettings
from animeshooter_hf.dataset_builder.quality.admit import AdmitSettings
from animeshooter_hf.dataset_builder.quality.duplicates import DuplicateSettings
from animeshooter_hf.dataset_builder.references.embedders import EmbedderConfig
from animeshooter_hf.dataset_builder.references.rules import MaskRules
from animeshooter_hf.dataset_builder.references.segmenter import SegmenterConfig
from animeshooter_hf.dataset_builder.references.verdicts import ReferenceSettings
from animeshooter_hf.dataset_builder.scan.one_pass import ScanSettings
from animeshooter_hf.dataset_builder.script.align import AlignSettings
from animeshooter_hf.dataset_builder.segments import SegmentSettings
from animeshooter_hf.dataset_builder.sources.download import DownloadSettings
from animeshooter_hf.dataset_builder.sources.folder import MAX_SECONDS
from animeshooter_hf.dataset_builder.stages.admit import AdmitStage
from animeshooter_hf.dataset_builder.stages.answering import AnnotatorConfig
from animeshooter_hf.dataset_builder.stages.audio import AudioStage
from animeshooter_hf.dataset_builder.stages.clips import ClipsStage, MediaPolicy
from animeshooter_hf.dataset_builder.stages.looks import LooksStage
from animeshooter_hf.dataset_builder.stages.probe import ProbeStage
from animeshooter_hf.dataset_builder.stages.references import ReferencesStage
from animeshooter_hf.dataset_builder.stages.scan import ScanStage
from animeshooter_hf.dataset_builder.stages.script import ScriptStage
from animeshooter_hf.dataset_builder.stages.segment import SegmentStage

__all__ = ["BuildSettings", "QualitySettings", "SourceFiles", "make_stages"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFiles:
    """What is known of the films beside the films."""

    rights: Path | None = None
    """Table of rights, `.csv` or `.json`; see `quality/rights.py`."""

    takedown: Path | None = None
    """Takedown list: neither downloaded, nor built, nor packaged; it goes into the dataset folder too."""

    videos: Path | None = None
    """Folder of the videos of a `release:` source."""

    may_download: bool = False
    """Whether videos of a `release:` source that are not in `videos` are downloaded."""

    release_audio: Path | None = None
    """The audio release that belongs to a `release:` source: a `.json`, a folder or the zip."""

    download: DownloadSettings = field(default_factory=DownloadSettings)
    """How videos are downloaded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QualitySettings:
    """Checks over all films together."""

    duplicates: Literal["drop", "report", "off"] = "drop"
    """What becomes of films that are copies of another: `drop` keeps the best of them."""

    duplicate_rule: DuplicateSettings = field(default_factory=DuplicateSettings)
    """When two films are the same."""

    private_data: Literal["report", "redact", "off"] = "report"
    """What becomes of mail addresses, phone numbers and the like in captions."""

    identities: EmbedderConfig | None = None
    """Who tells by looks which characters of different stories are one; None links nobody."""

    identities_join_splits: bool = True
    """Whether films that share a character, as far as links tell, stay in one split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSettings:
    """Settings of every stage."""

    max_seconds: float = MAX_SECONDS
    """Longer films are dropped. Paper: 20 minutes."""

    scan: ScanSettings = field(default_factory=ScanSettings)
    """The decoding pass, shot boundaries included."""

    admit: AdmitSettings = field(default_factory=AdmitSettings)
    """Which films are good enough."""

    segments: SegmentSettings = field(default_factory=SegmentSettings)
    """Stories."""

    annotator: AnnotatorConfig = field(default_factory=AnnotatorConfig)
    """Who answers."""

    align: AlignSettings = field(default_factory=AlignSettings)
    """How answers are checked and mended."""

    segmenter: SegmenterConfig | None = None
    """Who finds figures; None takes the masks of a film's own script."""

    references: ReferenceSettings = field(default_factory=ReferenceSettings)
    """How references are chosen."""

    masks: MaskRules = field(default_factory=MaskRules)
    """When a mask is kept."""

    audio: AudioTrackSettings = field(default_factory=AudioTrackSettings)
    """AnimeShooter-audio."""

    tagger: TaggerConfig | None = None
    """Who listens to what the features of the sound leave open."""

    media: MediaPolicy = "full"
    """Whether clips, references and sound are made, or only annotations and masks."""

    crf: int = 18
    """Quality of the clips, x264's scale."""

    sources: SourceFiles = field(default_factory=SourceFiles)
    """Rights, takedowns, downloads."""

    quality: QualitySettings = field(default_factory=QualitySettings)
    """Duplicates, private data, identities."""

    splits: SplitSettings = field(default_factory=SplitSettings)
    """How videos are divided."""

    run: RunSettings = field(default_factory=RunSettings)
    """Processes and limits; none of it changes a result."""


def make_stages(settings: BuildSettings) -> tuple[Stage, ...]:
    """Return the stages of a build, in order."""
    annotator = settings.annotator
    script_prompts = (f"script_{annotator.mode}", "script_again")
    return (
        ProbeStage(max_seconds=settings.max_seconds),
        ScanStage(settings=settings.scan),
        AdmitStage(settings=settings.admit, annotator=annotator, prompts=_hashes("admit_film")),
        SegmentStage(settings=settings.segments, annotator=annotator),
        ScriptStage(annotator=annotator, settings=settings.align, prompts=_hashes(*script_prompts)),
        ReferencesStage(
            segmenter=settings.segmenter,
            settings=settings.references,
            rules=settings.masks,
            annotator=annotator,
            prompts=_hashes("verify_reference", "segment_character"),
        ),
        *([] if settings.quality.identities is None else [LooksStage(embedder=settings.quality.identities)]),
        AudioStage(
            settings=settings.audio, tagger=settings.tagger, annotator=annotator, prompts=_hashes("audio_describe")
        ),
        ClipsStage(media=settings.media, crf=settings.crf),
    )


def _hashes(*names: str) -> tuple[str, ...]:
    return tuple(load_prompt(name).sha256 for name in names)
