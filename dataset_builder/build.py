"""From films to a dataset: scan, segment, annotate, choose references, gate the sound, package.

Each film is one unit of work. What is learnt of it is written to the work folder as a receipt, under a name made of the
film's state, the script's state, the settings and our version; so a stopped build takes up where it was, an unchanged
film is not done again, and one bad film harms no other.
"""

import hashlib
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from animeshooter_hf._version import __version__
from animeshooter_hf.dataset_builder.annotate.sidecar import SidecarAnnotator, script_path
from animeshooter_hf.dataset_builder.audio_track import AudioSettings, gate_audio
from animeshooter_hf.dataset_builder.package import CardFacts, DatasetReport, SplitSettings, check_out, write_dataset
from animeshooter_hf.dataset_builder.references.candidates import ReferenceSettings, choose_references, count_reasons
from animeshooter_hf.dataset_builder.references.rules import MaskRules
from animeshooter_hf.dataset_builder.scan.boundaries import BoundaryScores, ShotSettings, boundary_scores, scan_film
from animeshooter_hf.dataset_builder.segments import SegmentSettings, make_segments
from animeshooter_hf.dataset_builder.sources.folder import FilmSource, find_films
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

__all__ = ["TOON_FACTS", "BuildReport", "BuildSettings", "build_dataset"]

TOON_FACTS = CardFacts(
    title="AnimeShooter toon stories",
    summary="Stories cut from animated films that were drawn in code, with exact shots, masks, captions and sounds.",
    licence="apache-2.0",
    made_by=(
        "`animeshooter toon` rendered the films and wrote their truth beside them; `animeshooter build` took stories, "
        "captions and masks from there, chose references by the paper's rules, and cut clips and sound."
    ),
    known_gaps=("The films are drawn in code: they are simpler than hand-made animation.",),
    tags=("synthetic",),
)
"""What the card says of films that come with a script."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSettings:
    """Settings of every stage."""

    shots: ShotSettings = field(default_factory=ShotSettings)
    """Shot boundaries."""

    segments: SegmentSettings = field(default_factory=SegmentSettings)
    """Stories."""

    references: ReferenceSettings = field(default_factory=ReferenceSettings)
    """Reference frames."""

    masks: MaskRules = field(default_factory=MaskRules)
    """When a mask is kept."""

    audio: AudioSettings = field(default_factory=AudioSettings)
    """Which sound is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What a build gave."""

    dataset: DatasetReport
    """What was written."""

    films: list[dict[str, Any]]
    """A receipt per film."""

    refused: list[dict[str, str]]
    """Films that were left out, with the reason."""

    @property
    def boundaries(self) -> BoundaryScores | None:
        """Boundaries found against the truth, over all films that know it."""
        known = [film["boundaries"] for film in self.films if film["boundaries"]["truth"] is not None]
        if not known:
            return None
        found, true, matched = (sum(one["scores"][key] for one in known) for key in _COUNTS)
        precision, recall = matched / found if found else None, matched / true if true else None
        both = (precision or 0) + (recall or 0)
        f1 = None if precision is None or recall is None else 2 * precision * recall / both if both else 0.0
        return BoundaryScores(
            precision=precision, recall=recall, f1=f1, num_found=found, num_true=true, num_matched=matched
        )

    def counts(self, key: str) -> dict[str, int]:
        """Return reason -> number over all films, for "references" or "audio"."""
        total: Counter[str] = Counter()
        for film in self.films:
            total.update(film[key])
        return dict(sorted(total.items()))

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        scores = self.boundaries
        return {
            "out": str(self.dataset.out),
            "films": len(self.films),
            "rows": self.dataset.rows,
            "references": self.counts("references"),
            "audio": self.counts("audio"),
            "boundaries": None if scores is None else asdict(scores),
            "refused": self.refused,
            "problems": [problem for film in self.films for problem in film["problems"]],
            "skipped_media": [{"what": what, "reason": reason} for what, reason in self.dataset.skipped],
        }


_COUNTS = ("num_found", "num_true", "num_matched")


def build_dataset(
    paths: Sequence[Path],
    out: Path,
    *,
    work: Path | None = None,
    settings: BuildSettings | None = None,
    splits: SplitSettings | None = None,
    facts: CardFacts = TOON_FACTS,
    num_workers: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> BuildReport:
    """Build a dataset of four configs from films with scripts, and return what was done.

    Args:
        paths: Films, or folders of them.
        out: Folder of the dataset.
        work: Folder of the receipts; `.OUT.work` beside `out` if None.
        settings: Of every stage.
        splits: How videos are divided.
        facts: What the card says beside what the data tell.
        num_workers: Processes. It changes no byte.
        overwrite: Replace a dataset of ours.
        progress: Whether to show bars on stderr.

    Raises:
        InputError: If no film can be used, or a folder cannot be written.
    """
    if not 1 <= num_workers <= 256:
        raise InputError(f"The number of workers must lie in 1 to 256, got {num_workers}.")
    out = Path(out)
    check_out(out, overwrite=overwrite)
    films, refused = find_films(paths)
    work = work or out.with_name(f".{out.name}.work")
    settings = settings or BuildSettings()
    try:
        work.mkdir(parents=True, exist_ok=True)
        receipts = _run(films, work, settings, num_workers, progress)
    except OSError as error:
        raise InputError(f"{work} cannot be written: {error.strerror}.") from error
    left_out = [{"film": str(film.path), "reason": film.reason} for film in refused]
    good: list[dict[str, Any]] = []
    for film, receipt in zip(films, receipts, strict=True):
        if receipt.get("failed"):
            left_out.append({"film": str(film.path), "reason": receipt["failed"]})
        else:
            good.append(receipt)
    stories = [Story.from_json(row) for receipt in good for row in receipt["stories"]]
    if not stories:
        raise InputError(left_out[0]["reason"] if left_out else "The films tell no story that holds.")
    media = _Films({film.video_id: film.path for film in films})
    dataset = write_dataset(
        out, stories, media=media, splits=splits, facts=facts, overwrite=overwrite, progress=progress
    )
    return BuildReport(dataset=dataset, films=good, refused=left_out)


class _Films:
    """The films as a media source."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths

    def video_path(self, video_id: str) -> Path | None:
        return self._paths.get(video_id)


def _run(
    films: Sequence[FilmSource], work: Path, settings: BuildSettings, num_workers: int, progress: bool
) -> list[dict[str, Any]]:
    """Return a receipt per film, from the work folder where it is there already."""
    receipts: dict[str, dict[str, Any]] = {}
    todo: list[tuple[FilmSource, Path]] = []
    for film in films:
        path = work / f"{film.video_id}.{_fingerprint(film, settings)}.json"
        try:
            receipts[film.video_id] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            todo.append((film, path))
    with tqdm(
        total=len(films), initial=len(receipts), desc="films", unit=" film", disable=None if progress else True
    ) as bar:
        if num_workers == 1 or len(todo) < 2:
            for film, path in todo:
                receipts[film.video_id] = _process(film, settings, path)
                bar.update()
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(num_workers, len(todo)), mp_context=context) as pool:
                futures = [(film, pool.submit(_process, film, settings, path)) for film, path in todo]
                for film, future in futures:
                    receipts[film.video_id] = future.result()
                    bar.update()
    return [receipts[film.video_id] for film in films]


def _process(film: FilmSource, settings: BuildSettings, receipt: Path) -> dict[str, Any]:
    """Do all stages of one film; a film that cannot be used gives a receipt that says why, which is not kept."""
    try:
        data = _stages(film, settings)
    except InputError as error:
        return {"video_id": film.video_id, "failed": str(error)}
    partial = receipt.with_name(f".{receipt.name}.partial-{os.getpid()}")
    partial.write_text(json.dumps(data), encoding="utf-8")
    partial.replace(receipt)
    return data


def _stages(film: FilmSource, settings: BuildSettings) -> dict[str, Any]:
    scan = scan_film(film.path, settings.shots)
    found = [boundary.frame for boundary in scan.boundaries]
    rate = float(film.info.frame_rate)
    segments = make_segments(found, scan.num_frames, rate, settings.segments)
    script = SidecarAnnotator().annotate(film, segments)
    stories: list[dict[str, Any]] = []
    references: Counter[str] = Counter()
    audio: Counter[str] = Counter()
    verdicts: list[dict[str, Any]] = []
    for told in script.stories:
        story, unfit = gate_audio(told, music=script.music, speech=script.speech, settings=settings.audio)
        audio.update(unfit.values())
        audio["kept"] += sum(shot.audio is not None for shot in story.shots)
        row = story.to_json()
        if script.masks is not None:
            chosen, judged = choose_references(story, script.masks, settings.references, settings.masks)
            references.update(count_reasons(judged))
            verdicts += [asdict(verdict) for verdict in judged]
            row["reference_masks"] = [
                {
                    "character_id": one.character_id,
                    "frame_index": one.frame_index,
                    "mask": None
                    if one.mask is None
                    else {"size": [one.mask.height, one.mask.width], "counts": one.mask.counts},
                }
                for one in chosen
            ]
        stories.append(row)
    truth = script.true_boundaries
    return {
        "video_id": film.video_id,
        "num_frames": scan.num_frames,
        "frame_rate": str(film.info.frame_rate),
        "segments": [asdict(segment) for segment in segments],
        "stories": stories,
        "boundaries": {
            "found": found,
            "truth": None if truth is None else [list(one) for one in truth],
            "scores": None if truth is None else asdict(boundary_scores(found, [one[:2] for one in truth])),
            "curve": [round(float(score), 1) for score in scan.scores],
        },
        "references": dict(references),
        "verdicts": verdicts,
        "audio": dict(audio),
        "problems": [asdict(problem) for problem in script.problems],
    }


def _fingerprint(film: FilmSource, settings: BuildSettings) -> str:
    """Return a mark of everything a receipt depends on."""
    mark = hashlib.sha256(f"{__version__} {json.dumps(asdict(settings), sort_keys=True)}".encode())
    for path in (film.path, script_path(film.path)):
        if path.is_file():
            state = path.stat()
            mark.update(f"{path.name} {state.st_size} {state.st_mtime_ns}".encode())
    return mark.hexdigest()[:16]
