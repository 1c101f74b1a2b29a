"""What a results file of version 2 says, as records. `eval/results.py` writes such files; this room only reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from animeshooter_hf.eval.results import GateResult
from animeshooter_hf.eval.results_folder import frames_name

__all__ = ["Benchmark", "CorpusValue", "GateResult", "Kind", "ResultsRun", "ShotRow", "StoryRow", "System"]

Kind = Literal["model", "adversarial", "reported", "truth"]
"""What a system is. Only a model is ranked."""

Direction = Literal["higher", "lower", "none"]
"""Which way is better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """Whose stories were scored."""

    name: str
    """Such as "org/model"."""

    kind: Kind
    """What it is."""

    revision: str = ""
    """Commit or version of the weights."""

    url: str = ""
    """Where it can be found."""

    license: str = ""
    """Of its weights."""

    sampled_by: str = ""
    """Who generated the stories."""

    evaluated_by: str = ""
    """Who scored them."""

    date: str = ""
    """When, as ISO 8601."""

    notes: str = ""
    """Anything else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """What the stories were generated for; stories of another benchmark, revision or track are never compared."""

    id: str = ""
    """Dataset repository; "" where the results name no benchmark."""

    revision: str = ""
    """Its commit or version."""

    track: str = ""
    """Track, such as "zero-shot"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusValue:
    """One number of a run and what it rests on."""

    value: float | None
    """The number; None if there is nothing to make it from."""

    low: float | None
    """Lower end of its interval; None if there is none."""

    high: float | None
    """Upper end."""

    n_evaluated: int
    """Stories that went in."""

    n_failed: int
    """Stories left out because something failed."""

    n_skipped: int
    """Stories to which the question does not apply."""

    direction: Direction
    """Which way is better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryRow:
    """One story of a run."""

    story_id: str
    """Story."""

    ip_id: str
    """Whose story it is: intervals and comparisons are clustered by it."""

    track: str = ""
    """Its track."""

    flags: tuple[str, ...] = ()
    """Controls beyond whose limit it is."""

    captions: tuple[str, ...] = ()
    """What each shot should show."""

    values: Mapping[tuple[str, str], float | None] = field(default_factory=dict)
    """(metric, name) -> number."""

    counts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Metric -> shots that went in, failed, and do not apply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotRow:
    """One shot of a run."""

    story_id: str
    """Its story."""

    ip_id: str
    """Its story's IP."""

    shot_index: int
    """From 0."""

    num_frames: int
    """Frames looked at."""

    values: Mapping[tuple[str, str], float | None] = field(default_factory=dict)
    """(metric, name) -> number."""

    problems: Mapping[str, str] = field(default_factory=dict)
    """Metric -> why there is no number."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ResultsRun:
    """One results file or folder."""

    path: Path
    """The file `results.json`, or whatever it is called."""

    digest: str
    """SHA-256 of that file, as hex."""

    system: System
    """Whose."""

    benchmark: Benchmark
    """On what."""

    signatures: Mapping[str, str]
    """Metric -> exactly what was computed."""

    note: str
    """A caution, or ""."""

    headlines: Mapping[str, str]
    """Metric -> its number for a table of one column, as far as the file says so."""

    corpus: Mapping[tuple[str, str], CorpusValue]
    """(metric, name) -> number."""

    gates: tuple[GateResult, ...]
    """Controls."""

    stories: tuple[StoryRow, ...]
    """Every story."""

    shots: tuple[ShotRow, ...]
    """Every shot."""

    coverage: Mapping[str, int]
    """Stories, IPs, shots, shots with problems."""

    settings: Mapping[str, Any]
    """Settings of the run."""

    manifest: Mapping[str, Any]
    """Versions and hashes."""

    folder: Path | None = None
    """The results folder; None for a lone file."""

    def frames_of(self, story_id: str) -> Path | None:
        """Return the strip of a story's frames, or None if the folder holds none; no ID leads out of the folder."""
        if self.folder is None:
            return None
        frames = (self.folder / "frames").resolve()
        path = (frames / frames_name(story_id)).resolve()
        return path if path.parent == frames and path.is_file() else None
