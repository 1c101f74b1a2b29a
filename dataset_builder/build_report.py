"""What a build gave, as the command line prints it and as it stands beside the dataset."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.engine.runner import RunReport
from animeshooter_hf.dataset_builder.package import DatasetReport
from animeshooter_hf.dataset_builder.scan.boundaries import BoundaryScores
from animeshooter_hf.statistics import StoryStatistics

__all__ = ["BuildReport", "FilmReceipt"]

_COUNTS = ("num_found", "num_true", "num_matched")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmReceipt:
    """One film in the dataset: the outputs of its stages."""

    video_id: str
    """The film."""

    path: Path
    """Its file."""

    url: str | None = None
    """Where the video can be found, if that is known."""

    outputs: Mapping[str, Mapping[str, Any]]
    """Stage -> output."""

    truth: tuple[tuple[int, int, str], ...] | None = None
    """(first, last, kind) of its true boundaries, if its script knows them."""

    scores: BoundaryScores | None = None
    """The found boundaries against them."""

    seconds: float = 0.0
    """Time that its stages took, whenever they ran."""

    @property
    def lost(self) -> list[dict[str, Any]]:
        """Segments without a story, and stories of its script that do not hold, with the reason."""
        told = [{"story": one["story_id"], "reason": f"{one['code']}: {one['detail']}"} for one in self._problems]
        return [*self.outputs["script"]["lost"], *told, *self.outputs["script"].get("audio_lost", ())]

    @property
    def _problems(self) -> list[dict[str, Any]]:
        return list(self.outputs["segment"]["problems"])

    def to_json(self) -> dict[str, Any]:
        """Return the film as it stands in the build report: what was decided, without texts and masks."""
        scan, script, audio = (self.outputs[name] for name in ("scan", "script", "audio"))
        return {
            "video_id": self.video_id,
            "num_frames": scan["num_frames"],
            "frame_rate": scan["info"]["frame_rate"],
            "segments": self.outputs["segment"]["segments"],
            "stories": len(script["stories"]),
            "shots": sum(len(story["shots"]) for story in script["stories"]),
            "boundaries": {
                "found": [frame for frame, *_ in scan["boundaries"]],
                "kinds": [kind for _, kind, *_ in scan["boundaries"]],
                "truth": None if self.truth is None else [list(one) for one in self.truth],
                "scores": None if self.scores is None else asdict(self.scores),
            },
            "admission": self.outputs["admit"],
            "issues": script["issue_counts"],
            "lost": self.lost,
            "references": self.outputs["references"]["counts"],
            "verdicts": [
                {key: value for key, value in one.items() if key != "mask"}
                for one in self.outputs["references"]["verdicts"]
            ],
            "audio": audio["counts"],
            "dropped_audio": audio["dropped"],
            "problems": scan["problems"],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What a build gave."""

    dataset: DatasetReport | None
    """What was written; None if films wait."""

    is_new: bool = True
    """Whether it was written now; False if it stood there already."""

    films: list[FilmReceipt]
    """The films in the dataset."""

    refused: list[dict[str, Any]]
    """Films that were left out, with the reason; `stories` is how many a release tells of the film."""

    waiting: Mapping[str, str]
    """Films that could not be finished now, with the reason."""

    run: RunReport
    """What was done and what was done before."""

    quality: Mapping[str, Any] = field(default_factory=dict)
    """Duplicates, leakage, private data, statistics, as JSON values."""

    statistics: StoryStatistics | None = None
    """The paper's statistics of the dataset."""

    calls: Mapping[str, Any] = field(default_factory=dict)
    """Questions, tokens and money of the whole work folder."""

    @property
    def boundaries(self) -> BoundaryScores | None:
        """Boundaries found against the truth, over all films that know it."""
        known = [asdict(film.scores) for film in self.films if film.scores is not None]
        if not known:
            return None
        found, true, matched = (sum(one[key] for one in known) for key in _COUNTS)
        return BoundaryScores.of(num_found=found, num_true=true, num_matched=matched)

    def counts(self, stage: str, key: str = "counts") -> dict[str, int]:
        """Return reason -> number over all films, of a stage's output."""
        total: Counter[str] = Counter()
        for film in self.films:
            total.update(film.outputs[stage][key])
        return dict(sorted(total.items()))

    @property
    def identities(self) -> Mapping[str, Any] | None:
        """`identities` (`STORY/CHARACTER` -> identity), `scores` and `threshold`; None where nobody was linked."""
        return self.quality.get("identities")

    @property
    def release_problems(self) -> dict[str, int]:
        """Code -> number of what was wrong with what a release tells of the films in the dataset."""
        total: Counter[str] = Counter()
        for film in self.films:
            total.update(film.outputs["segment"].get("release_problems", {}))
            total.update(film.outputs["references"].get("problems", {}))
        return dict(sorted(total.items()))

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        scores = self.boundaries
        return {
            "out": None if self.dataset is None else str(self.dataset.out),
            "films": len(self.films),
            "rows": {} if self.dataset is None else self.dataset.rows,
            "references": self.counts("references"),
            "audio": self.counts("audio"),
            "issues": self.counts("script", "issue_counts"),
            "boundaries": None if scores is None else asdict(scores),
            "refused": self.refused,
            "stories_without_film": sum(one.get("stories", 0) for one in self.refused),
            "release_problems": self.release_problems,
            "waiting": dict(self.waiting),
            "lost": [{"film": film.video_id, **one} for film in self.films for one in film.lost],
            "quality": {key: value for key, value in self.quality.items() if key != "identities"},
            "identities": None if self.identities is None else self.identities["identities"],
            "calls": dict(self.calls),
            "skipped_media": []
            if self.dataset is None
            else [{"what": what, "reason": reason} for what, reason in self.dataset.skipped],
        }
