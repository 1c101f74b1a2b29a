"""Turn films into a dataset of stories, shots, references and sound.

FILM is a video or a folder of videos, each with its script (NAME.script.json) beside it, as `animeshooter toon` writes
them. OUT then opens with plain `load_dataset`. A stopped build takes up where it was; unchanged films are not done
again. What was decided about every film stands in OUT/build_report.json.

Example:
    animeshooter toon --films 6 --out films/
    animeshooter build films/ --out dataset/ --workers 2

Exit status: 0 every film was used, 1 some were left out (they are named), 2 nothing could be done.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter build`."""
    parser.add_argument("films", nargs="+", type=Path, metavar="FILM", help="a film, or a folder of films")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the dataset")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder of the receipts (default: .OUT.work)")
    parser.add_argument(
        "--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes (default %(default)s)"
    )
    parser.add_argument(
        "--split-seed", type=int, default=0, help="decides which films are held out (default %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is a dataset of ours")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Build the dataset and return the exit status."""
    from animeshooter_hf.dataset_builder.build import build_dataset
    from animeshooter_hf.dataset_builder.package import SplitSettings

    out: Path = arguments.out
    for path in arguments.films:
        if path.exists() and out.resolve() in (path.resolve(), *path.resolve().parents):
            raise InputError(f"The films lie in {out}, which is to be written; name another folder with --out.")
    report = build_dataset(
        arguments.films,
        out,
        work=arguments.work,
        splits=SplitSettings(seed=arguments.split_seed),
        num_workers=arguments.workers,
        overwrite=arguments.overwrite,
    )
    summary = report.to_json()
    details = {**summary, "receipts": report.films, "splits": asdict(report.dataset)["splits"]}
    (out / "build_report.json").write_text(json.dumps(details, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(summary, indent=1) + "\n" if arguments.json else _text(summary))
    for film in report.refused:
        sys.stderr.write(f"left out: {film['film']}: {film['reason']}\n")
    return 1 if report.refused or summary["problems"] else 0


def _text(summary: dict[str, Any]) -> str:
    rows = {config: sum(splits.values()) for config, splits in summary["rows"].items()}
    lines = [f"films       {summary['films']}", *(f"{config:<11} {count}" for config, count in rows.items())]
    scores = summary["boundaries"]
    if scores is not None and scores["f1"] is not None:
        lines.append(
            f"boundaries  F1 {scores['f1']:.3f} (precision {scores['precision']:.3f}, recall {scores['recall']:.3f}) "
            f"against {scores['num_true']} true ones"
        )
    for name in ("references", "audio"):
        told = ", ".join(f"{count} {reason}" for reason, count in summary[name].items())
        lines.append(f"{name:<11} {told or 'none'}")
    return "\n".join([*lines, f"dataset     {summary['out']}"]) + "\n"
