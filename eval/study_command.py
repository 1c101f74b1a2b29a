"""Ask people: make a blind study of several systems as a static page, and read its votes.

`make` takes the stories of each system (a predictions file, or a folder that `animeshooter generate` or `build` wrote),
as PATH or NAME=PATH, and writes a folder that works from disk or from any web server. Raters see films under neutral
names, in an order of their own, and save a file with their votes at the end. The key, which says whose film is whose,
is written beside the folder and must stay with you.

`read` takes those files and the key, leaves out what fails its checks, and writes agreement, means, rankings and
intervals; with --results it also says how far metrics and judges agree with people. A table goes to stdout.

Example:
    animeshooter study make ours=generated/ baseline=other/predictions.json --out study/
    animeshooter study make a=a.json b=b.json --out study/ --tasks rating pair --raters 20 --seed 4711
    animeshooter study read votes-*.json --key study.key.json --out votes.json
    animeshooter study read votes-*.json --key study.key.json --results ours=scores.json --out votes.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.atomic_files import check_writable, write_text_atomically
from animeshooter_hf.eval.human.design import PARTS, StudySettings
from animeshooter_hf.eval.human.metric_agreement import agreement_table, metric_agreement, read_metric_values
from animeshooter_hf.eval.human.study_key import read_key
from animeshooter_hf.eval.human.study_report import human_means, study_report, study_tables
from animeshooter_hf.eval.human.votes import read_votes
from animeshooter_hf.eval.human.write_study import PageSettings, StudyReport, write_study
from animeshooter_hf.eval.predictions import read_predictions

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter study`."""
    parser.add_argument("action", choices=("make", "read"), help="make a page, or read its votes")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="make: stories of a system; read: files of votes")
    parser.add_argument("--out", type=Path, help="make: folder for raters (needed); read: file for all numbers")
    parser.add_argument("--key", type=Path, help="file of the key (make: default OUT.key.json; read: needed)")
    made, page = StudySettings(), PageSettings()
    make = parser.add_argument_group("make")
    make.add_argument(
        "--tasks", nargs="+", choices=PARTS, default=list(made.parts), help="what raters do (default and paper: rating)"
    )
    make.add_argument("--stories", type=int, default=made.num_stories, help="stories (default and paper: %(default)s)")
    make.add_argument("--raters", type=int, default=made.raters, help="orders (default and paper: %(default)s)")
    make.add_argument("--stories-per-rater", type=int, help="stories that each rater rates (default and paper: all)")
    make.add_argument("--pairs-per-rater", type=int, help="pairs that each rater compares (default: all)")
    make.add_argument(
        "--checks", type=int, default=made.checks, help="attention checks of each sort (default: %(default)s)"
    )
    make.add_argument("--seed", type=int, default=made.seed, help="seed, not for raters' eyes (default: %(default)s)")
    make.add_argument("--height", type=int, default=page.height, help="rows of every film (default: %(default)s)")
    make.add_argument("--sound", action="store_true", help="keep the sound of films")
    make.add_argument("--title", default=page.title, help="heading of the page")
    make.add_argument("--contact", default=page.contact, help="whom to write to and where to send votes, as text")
    read = parser.add_argument_group("read")
    read.add_argument(
        "--results", nargs="+", default=[], metavar="[NAME=]FILE", help="results of `animeshooter evaluate`"
    )
    read.add_argument("--draws", type=int, default=2_000, help="draws of every interval (default: %(default)s)")
    read.add_argument("--json", action="store_true", help="print the numbers as JSON instead of the table")


def run(arguments: argparse.Namespace) -> int:
    """Run `animeshooter study`: 0, or 1 if stories were left out of a study or no vote counts.

    Raises:
        InputError: If a path, an option or the output cannot be used.
    """
    return _make(arguments) if arguments.action == "make" else _read(arguments)


def _make(arguments: argparse.Namespace) -> int:
    if arguments.out is None:
        raise InputError("`animeshooter study make` needs --out, the folder that raters get.")
    settings = StudySettings(
        raters=arguments.raters,
        num_stories=arguments.stories,
        parts=tuple(arguments.tasks),
        stories_per_rater=arguments.stories_per_rater,
        pairs_per_rater=arguments.pairs_per_rater,
        checks=arguments.checks,
        seed=arguments.seed,
    )
    page = PageSettings(
        title=arguments.title, contact=arguments.contact, height=arguments.height, with_sound=arguments.sound
    )
    out = arguments.out.absolute()
    key = arguments.key or out.with_name(f"{out.name}.key.json")
    predictions = {}
    for name, path in _named(arguments.paths):
        if name in predictions:
            raise InputError(f"There are two systems of the name {name}. Name them: NAME={path}.")
        if path.is_file() and "animeshooter-scores" in path.read_text(encoding="utf-8", errors="ignore")[:200]:
            raise InputError(f"{path} holds scores, no films. Give the predictions that were scored.")
        predictions[name] = list(read_predictions(path))
    report = write_study(predictions, out, key, settings, page, progress=True)
    sys.stdout.write(_made(report))
    for story, reason in report.left_out.items():
        sys.stderr.write(f"animeshooter study: story {story} is left out: {reason}\n")
    return 1 if report.left_out else 0


def _made(report: StudyReport) -> str:
    lines = [
        f"{report.num_films} films of {report.num_stories} stories in {report.out}; give raters this folder.",
        f"Each rater has {report.tasks_per_rater} tasks; films alone take {report.minutes_per_rater:.0f} minutes.",
        f"The key is {report.key}; raters must not see it.",
    ]
    return "\n".join([*lines, *report.notes]) + "\n"


def _read(arguments: argparse.Namespace) -> int:
    if arguments.key is None:
        raise InputError("`animeshooter study read` needs --key, the file that `study make` wrote beside its folder.")
    if arguments.draws < 1:
        raise InputError(f"--draws must be at least 1, got {arguments.draws}.")
    if arguments.out is not None:
        check_writable(arguments.out)
    key = read_key(arguments.key)
    metrics = {}
    for given, path in _named(arguments.results, default=""):
        system, values = read_metric_values(path)
        name = given or system
        if name not in key.systems:
            raise InputError(f"{path} is of system {name!r}; the study has {', '.join(key.systems)}. Use NAME={path}.")
        if name in metrics:
            raise InputError(f"There are two results of system {name}.")
        metrics[name] = values
    book = read_votes([Path(path) for path in arguments.paths], key)
    report = study_report(book, key, draws=arguments.draws)
    text = study_tables(report)
    if metrics:
        report["agreement"] = metric_agreement(human_means(book.votes), metrics, key, draws=arguments.draws)
        text += agreement_table(report["agreement"])
    if arguments.out is not None:
        write_text_atomically(arguments.out, json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    sys.stdout.write(json.dumps(report, allow_nan=False) + "\n" if arguments.json else text)
    if not book.votes:
        sys.stderr.write("animeshooter study: no vote counts.\n")
    return 0 if book.votes else 1


def _named(words: Sequence[str], default: str | None = None) -> list[tuple[str, Path]]:
    """Return the name and the path of each NAME=PATH; without a name the path's own, or the default."""
    found = []
    for word in words:
        name, equals, path = word.partition("=")
        if equals and not Path(word).exists():
            if not name.strip():
                raise InputError(f"{word} has no name before the equals sign.")
            found.append((name.strip(), Path(path)))
        else:
            found.append(((default if default is not None else _own_name(Path(word))), Path(word)))
    return found


def _own_name(path: Path) -> str:
    """Return the name of a folder, or of a file without its ending."""
    resolved = path.resolve()
    return resolved.name if resolved.is_dir() else resolved.stem
