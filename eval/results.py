"""What scoring returns: numbers per shot, per story and for the corpus, each with its coverage and interval.

A value that could not be had is None, never 0, and counted: `n_failed` where a file or an embedding failed,
`n_skipped` where the question does not arise (one shot has no pair, a shot without a reference has no fidelity).

results_file.py    these records as JSON, written and read
results_folder.py  a folder with tables and pictures beside that file
results_table.py   the same for reading
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.atomic_files import check_writable, write_text_atomically

__all__ = ["SYSTEM_KINDS", "CurvePoint", "GateResult", "MetricValue", "Results", "ShotScore", "StoryScore"]
__all__ += ["SystemInfo", "check_writable", "write_text_atomically"]

SYSTEM_KINDS = ("model", "adversarial", "reported", "truth")
"""What made the shots: a model, an attack on the scores, nobody here (numbers from a paper), or the data itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricValue:
    """One number and what it rests on."""

    value: float | None
    """The number, or None if there is nothing to make it from."""

    n_evaluated: int
    """Stories that went in."""

    n_failed: int = 0
    """Stories left out because something failed."""

    n_skipped: int = 0
    """Stories to which the question does not apply."""

    low: float | None = None
    """Lower end of the 95 % interval over IPs and their stories; None where there is none."""

    high: float | None = None
    """Upper end."""

    direction: str = "none"
    """Which way is better: "higher", "lower", or "none" for numbers that only describe."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """One place of a curve over the shots of a story, or over the distance between shots."""

    position: int
    """Shot from 1 (as the paper counts), or shots of distance from 1."""

    value: float | None
    """Mean over the stories that have it."""

    n_evaluated: int
    """Stories that went in."""

    low: float | None = None
    """As in `MetricValue`."""

    high: float | None = None
    """As in `MetricValue`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """One control over all stories."""

    control: str
    """Its name, such as "static"."""

    num_flagged: int
    """Stories beyond its limit."""

    num_tested: int
    """Stories that could be tested."""

    is_gated: bool
    """Whether too many are beyond it for the system to be ranked."""

    limit: str
    """The limit in words."""

    is_experimental: bool = False
    """Whether it is shown but gates nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotScore:
    """One shot."""

    story_id: str
    """Its story."""

    ip_id: str
    """Its story's IP."""

    shot_index: int
    """Position in the story, from 0."""

    caption: str
    """Its caption, or ""."""

    num_frames: int
    """Frames looked at; fewer than asked for where the shot is shorter, 0 where it could not be read."""

    values: Mapping[str, float | None]
    """"METRIC/NAME" -> number."""

    problems: Mapping[str, str]
    """Metric -> why it failed or was skipped; empty where all is well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryScore:
    """One metric of one story."""

    values: Mapping[str, float | None]
    """Name -> number."""

    n_evaluated: int
    """Shots that went in."""

    n_failed: int
    """Shots that could not be read or compared."""

    n_skipped: int
    """Shots to which the metric does not apply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemInfo:
    """Whose shots were scored, and who says so."""

    name: str = ""
    """Name of the system, such as ORG/MODEL."""

    revision: str = ""
    """Its version or commit."""

    kind: str = "model"
    """One of `SYSTEM_KINDS`."""

    url: str = ""
    """Where it is described."""

    license: str = ""
    """Licence of its weights."""

    sampled_by: str = ""
    """Who generated the shots."""

    evaluated_by: str = ""
    """Who scored them."""

    date: str = ""
    """Day of scoring, YYYY-MM-DD."""

    notes: str = ""
    """Anything a reader must know."""

    def __post_init__(self) -> None:
        if self.kind not in SYSTEM_KINDS:
            raise InputError(f"The kind of a system must be one of {', '.join(SYSTEM_KINDS)}, got {self.kind!r}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """All scores of one run."""

    system: SystemInfo = field(default_factory=SystemInfo)
    """Whose shots they are of."""

    benchmark: Mapping[str, str] | None = None
    """`id`, `revision` and `track` of the benchmark; None if the stories are of none."""

    signatures: Mapping[str, str]
    """Metric -> exactly what was computed; only equal signatures may be compared."""

    headlines: Mapping[str, str] = field(default_factory=dict)
    """Metric -> its number for a table of one column."""

    note: str
    """The backend's caution, or ""."""

    settings: Mapping[str, Any]
    """The settings of the run."""

    corpus: Mapping[str, Mapping[str, MetricValue]]
    """Metric -> name -> mean over stories (or a pooled number) with its coverage."""

    curves: Mapping[str, Sequence[CurvePoint]] = field(default_factory=dict)
    """"METRIC/NAME" -> its means along the story, or over the distance between shots."""

    gates: Sequence[GateResult] = ()
    """Controls of the whole system."""

    stories: Mapping[str, Mapping[str, StoryScore]]
    """Story -> metric -> its scores, in the order given."""

    ip_ids: Mapping[str, str]
    """Story -> its IP."""

    tracks: Mapping[str, str] = field(default_factory=dict)
    """Story -> its track of the benchmark; stories of none are not here."""

    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Story -> the controls that it fails; stories that fail none are not here."""

    shots: tuple[ShotScore, ...]
    """Every shot of every story, in order."""

    manifest: Mapping[str, Any] = field(default_factory=dict)
    """What the numbers were made with and from: `library_versions`, and `inputs`, name -> SHA-256."""

    @property
    def num_shots_failed(self) -> int:
        """Shots of which some metric failed or was skipped."""
        return sum(1 for shot in self.shots if shot.problems)

    @property
    def coverage(self) -> dict[str, int]:
        """Stories, IPs and shots, and how many shots have a problem."""
        return {
            "stories": len(self.stories),
            "ips": len(set(self.ip_ids.values())),
            "shots": len(self.shots),
            "shots_with_problems": self.num_shots_failed,
        }

    def value(self, metric: str, name: str) -> float | None:
        """Return a corpus value, such as `value("reference_fidelity", "harmean_p")`."""
        return self.corpus[metric][name].value

    def story_values(self, metric: str, name: str) -> dict[str, float]:
        """Return story -> number, for the stories that have it."""
        found = {story: scores[metric].values.get(name) for story, scores in self.stories.items() if metric in scores}
        return {story: value for story, value in found.items() if value is not None}

    def described(self, **changes: Any) -> "Results":
        """Return the same results with another `system`, `benchmark` or `manifest`."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the results as plain JSON values, as `results_file.py` says; `None` becomes null."""
        from animeshooter_hf.eval.results_file import results_to_json

        return results_to_json(self)

    def write(self, path: Any) -> None:
        """Write the results as JSON; the file is complete or not there.

        Raises:
            InputError: If it cannot be written.
        """
        from animeshooter_hf.eval.results_file import write_results

        write_results(self, path)

    def table(self) -> str:
        """Return a table for reading: a line per story, a line for the corpus, and what it rests on."""
        from animeshooter_hf.eval.results_table import results_table

        return results_table(self)
