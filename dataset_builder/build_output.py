"""Write what a build decided beside its dataset: as JSON, as statistics beside the paper's, as a page with pictures.

In:  the receipts of the films, the scans in the work folder, the films themselves.
Out: OUT/build_report.json, OUT/report/statistics.*, OUT/report/index.html with its pictures (extra `report`), and
     OUT/identities.json where characters were linked
"""

import json
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.annotate.sidecar import SidecarMasks, read_script, script_path
from animeshooter_hf.dataset_builder.build_report import BuildReport, FilmReceipt
from animeshooter_hf.dataset_builder.engine.store import WorkStore
from animeshooter_hf.dataset_builder.quality.statistics import write_statistics
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan
from animeshooter_hf.dataset_builder.stages.clips import final_stories
from animeshooter_hf.errors import InputError, MissingExtraError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.report.build_data import Candidate, FilmPage, ModelCalls, Stretch, Transition

__all__ = ["write_build_output"]

_PICTURED = 3


def write_build_output(report: BuildReport, out: Path, work: str | Path) -> Path | None:
    """Write the report, the statistics and the page, and return the page's path; None without the extra `report`.

    Args:
        report: What was built.
        out: The dataset's folder.
        work: Folder or URL of the receipts.

    Raises:
        InputError: If the folder cannot be written.
    """
    store = WorkStore(work)
    scans = {
        film.video_id: FilmScan.load(store.fetch(film.outputs["scan"]["scan"])) for film in report.films[:_PICTURED]
    }
    try:
        _write_report(report, out, scans)
        if report.statistics is not None:
            write_statistics(report.statistics, out / "report", plots=False)
        return _write_page(report, out, scans)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from error
    except MissingExtraError as error:
        sys.stderr.write(f"no page is written: {error}\n")
        return None


def _write_report(report: BuildReport, out: Path, scans: Mapping[str, FilmScan]) -> None:
    films = [film.to_json() for film in report.films]
    for row in films:
        if row["video_id"] in scans:
            row["boundaries"]["curve"] = [round(float(one), 1) for one in scans[row["video_id"]].curve]
    splits = {} if report.dataset is None else report.dataset.splits
    details = {**report.to_json(), "receipts": films, "splits": splits}
    for name, content in {"build_report.json": details, "identities.json": report.identities}.items():
        if content is not None:
            partial = out / f".{name}.partial"
            partial.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
            partial.replace(out / name)


def _write_page(report: BuildReport, out: Path, scans: Mapping[str, FilmScan]) -> Path:
    from animeshooter_hf.report.build_page import BuildPageData, write_build_page

    left_out = [FilmPage(video_id=Path(one["film"]).stem, left_out=one["reason"]) for one in report.refused]
    reasons = {
        "references": report.counts("references"),
        "audio": report.counts("audio"),
        "script": report.counts("script", "issue_counts"),
    }
    data = BuildPageData(
        films=[*(_film_page(film, scans.get(film.video_id)) for film in report.films), *left_out],
        statistics=report.statistics,
        reasons=reasons,
        calls=_calls(report),
    )
    return write_build_page(out, data)


def _film_page(film: FilmReceipt, kept_scan: FilmScan | None) -> FilmPage:
    """Return what the page shows of a film; pictures only where its scan is given."""
    scan = film.outputs["scan"]
    page: dict[str, Any] = {
        "video_id": film.video_id,
        "path": None if kept_scan is None else film.path,
        "frame_rate": Fraction(scan["info"]["frame_rate"]),
        "num_frames": scan["num_frames"],
        "stories": final_stories(film.outputs),
        "problems": _problems(film),
        "process_seconds": film.seconds,
        "found": [
            Transition(frame=frame, kind=kind, start_frame=start, end_frame=end)
            for frame, kind, start, end in scan["boundaries"]
        ],
        "truth": _truth(film),
        "sounds": _sounds(film),
        "candidates": [_candidate(one) for one in film.outputs["references"]["verdicts"]],
    }
    if kept_scan is not None:
        page["curve"] = kept_scan.curve.tolist()
        page["masks"] = _masks(film.path)
    return FilmPage(**page)


def _problems(film: FilmReceipt) -> dict[str, int]:
    counts = dict(film.outputs["script"]["issue_counts"])
    for one in film.outputs["scan"]["problems"]:
        code = one.split(":")[0]
        counts[code] = counts.get(code, 0) + 1
    if film.outputs["script"]["lost"]:
        counts["segment_without_story"] = len(film.outputs["script"]["lost"])
    return counts


def _truth(film: FilmReceipt) -> list[Transition] | None:
    if film.truth is None:
        return None
    return [
        Transition(frame=first if kind == "cut" else (first + last) // 2, start_frame=first, end_frame=last, kind=kind)
        for first, last, kind in film.truth
    ]


def _sounds(film: FilmReceipt) -> dict[str, list[Stretch]]:
    rate = Fraction(film.outputs["scan"]["info"]["frame_rate"])
    lanes: dict[str, list[Stretch]] = {}
    for one in film.outputs["audio"]["stretches"]:
        if one["kind"] != "silence":
            lanes.setdefault(one["kind"], []).append(Stretch(one["start_seconds"], one["end_seconds"]))
    for story in film.outputs["audio"]["stories"].values():
        lanes.setdefault("kept shots", []).extend(
            Stretch(
                float(shot["start_frame"] / rate),
                float(shot["end_frame"] / rate),
                (shot["audio_annotation"] or {}).get("audio_type") or "",
            )
            for shot in story["shots"]
        )
    return lanes


def _candidate(row: Mapping[str, Any]) -> Candidate:
    mask = row.get("mask")
    return Candidate(
        story_id=row["story_id"],
        character_id=row["character_id"],
        frame_index=row["frame_index"],
        reason=row["reason"],
        area=row.get("area"),
        mask=None if not mask else RleMask(int(mask["size"][0]), int(mask["size"][1]), mask["counts"]),
    )


def _masks(path: Path) -> SidecarMasks | None:
    if not script_path(path).is_file():
        return None
    try:
        masks = read_script(script_path(path)).get("masks")
    except InputError:
        return None
    return SidecarMasks(masks) if masks else None


def _calls(report: BuildReport) -> list[ModelCalls]:
    models = ", ".join(sorted({m for film in report.films for m in film.outputs["script"]["answers"]["models"]}))
    table: dict[str, dict[str, Any]] = {}
    for one in report.calls.get("by_question", ()):
        row = table.setdefault(
            one["question"],
            {"calls": 0, "from_cache": 0, "failed": 0, "prompt_tokens": 0, "output_tokens": 0, "money": 0.0},
        )
        row["calls"] += one["calls"] - one["from_cache"]
        row["failed"] += 0 if one["outcome"] == "ok" else one["calls"]
        for key in ("from_cache", "prompt_tokens", "output_tokens", "money"):
            row[key] += one[key]
    return [ModelCalls(question=name, model=models, **row) for name, row in sorted(table.items())]
