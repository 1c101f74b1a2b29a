"""Score stories against their references, and shots against each other.

PATH is a predictions file (JSON or JSONL), a folder that `animeshooter generate` or `animeshooter build` wrote, or a
folder in the layout of the paper's demos. A table goes to stdout, all numbers go to the file named by --out.
A video that is missing or broken has no score and is counted; it stops nothing.

The classical backend is for smoke tests and sanity checks: it knows colour only and is not for ranking.

Example:
    animeshooter evaluate generated/ --out scores.json
    animeshooter evaluate predictions.jsonl --metrics reference_fidelity --workers 4 --out scores.json
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import BACKBONES
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.results import check_writable
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.sampling import SAMPLINGS
from animeshooter_hf.eval.scoring import METRICS
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.eval.views import REFERENCE_BACKGROUNDS

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter evaluate`."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="what to score")
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=list(METRICS),
        metavar="METRIC",
        help="some of: " + ", ".join(METRICS) + " (default: all)",
    )
    parser.add_argument("--backend", default="classical", help=f"one of: {', '.join(BACKBONES)} (default: %(default)s)")
    parser.add_argument(
        "--frames-per-shot",
        type=int,
        default=5,
        help="frames looked at in each shot (default and paper: %(default)s)",
    )
    parser.add_argument("--sampling", default="bin_centre", help=f"{' or '.join(SAMPLINGS)} (default: %(default)s)")
    parser.add_argument(
        "--reference-background",
        help=f"behind a cut-out reference, one of: {', '.join(REFERENCE_BACKGROUNDS)} (default: the backend's)",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes; changes no number (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file for all numbers, as JSON")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of the table")


def run(arguments: argparse.Namespace) -> int:
    """Run `animeshooter evaluate`: 0, or 1 if no story got a score.

    Raises:
        InputError: If a path, an option or the output cannot be used.
    """
    if arguments.out is not None:
        check_writable(arguments.out)
    results = evaluate_stories(
        _read_all(arguments.paths),
        [name for words in arguments.metrics for name in words.split(",") if name],
        backend=arguments.backend,
        num_workers=arguments.workers,
        frames_per_shot=arguments.frames_per_shot,
        sampling=arguments.sampling,
        reference_background=arguments.reference_background,
        progress=True,
    )
    if arguments.out is not None:
        results.write(arguments.out)
    if arguments.json:
        sys.stdout.write(json.dumps(results.to_json(), allow_nan=False) + "\n")
    else:
        sys.stdout.write(results.table())
    if results.num_shots_failed:
        sys.stderr.write(f"animeshooter evaluate: {results.num_shots_failed} shots have no score for some metric.\n")
    return 0 if any(score.n_evaluated for scores in results.stories.values() for score in scores.values()) else 1


def _read_all(paths: Sequence[Path]) -> Iterator[StoryPrediction]:
    """Yield the stories of all paths; every path is looked at before the first file is decoded."""
    for path in paths:
        if not path.exists():
            raise InputError(f"There is no file or folder {path}.")
    for path in paths:
        yield from read_predictions(path)
