"""Make a benchmark, check what a system made for it, and read its characters' attributes.

make   a benchmark of any folder of references, with given stories (--prompts) or a writer (--writer-model): a dataset
       folder that is ready for the Hub, with tracks, card, eval.yaml, manifest and a template for submissions
toon   the toon edition: complete, offline, free, and with the truth of every pixel
check  say what is missing or wrong in a submission, before it is scored
truth  toon edition: write the true shots as a predictions file, for the upper bound of every score
read   toon edition: recover the attributes of the characters from the pixels, by drawing the truth again

Example:
    animeshooter bench toon --out bench-toon/
    animeshooter bench make references/ --license cc-by-4.0 --prompts stories.yaml --out bench/
    animeshooter bench make references/ --writer-model NAME --base-url http://localhost:8000/v1 --out bench/
    animeshooter bench check bench-toon/ predictions.json --completed scored.json
    animeshooter bench read bench-toon/ predictions.json --into results.json

Exit status: 0 done, 1 a submission has problems or nothing could be read, 2 bad input.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animeshooter_hf.errors import InputError

if TYPE_CHECKING:
    from animeshooter_hf.eval.bench.make_bench import MakeSettings, StoryRequest
    from animeshooter_hf.eval.bench.submission import Submission
    from animeshooter_hf.records import Story

__all__ = ["add_arguments", "run"]

_MAKE_WORDS = """Make a benchmark of references.

REFERENCES holds NAME.png for each character, or a folder NAME/ with its pictures; in it clips/*.mp4 (with captions in
*.txt) for training, and about.yaml with name, appearance, license, source, attribution. An about.yaml beside them
speaks for all. Every picture needs a licence.

--prompts is a list of stories in JSON or YAML, each with ip and captions, and if wanted track, storyline, scenes,
characters, sounds (one for each caption); or CSV with a row for each shot: ip, story, caption, track, storyline,
scene, characters (apart by ;), sound. The ip mia+leo is a story of both.

--writer-model writes simple stories for each character; a stopped run asks for none of them again.
"""
_SIZE = re.compile(r"(\d{1,5})[xX](\d{1,5})")
_WRITER_OPTIONS = ("base_url", "stories", "shots", "long_shots", "tracks")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb: one parser for each of its own verbs."""
    verbs = parser.add_subparsers(dest="bench_verb", metavar="make|toon|check|truth|read", required=True)
    _add_make(
        verbs.add_parser(
            "make",
            help="a benchmark of references",
            description=_MAKE_WORDS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _add_toon(verbs.add_parser("toon", help="the toon edition"))
    _add_check(verbs.add_parser("check", help="what is wrong with a submission"))
    _add_truth(verbs.add_parser("truth", help="the true shots as predictions"))
    _add_read(verbs.add_parser("read", help="which attributes a submission shows"))


def run(arguments: argparse.Namespace) -> int:
    """Run `animeshooter bench`: 0, or 1 if a submission has problems or nothing could be read."""
    return int(arguments.run_bench(arguments))


def _add_make(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("references", type=Path, metavar="REFERENCES", help="folder of pictures, see above")
    _add_place(parser)
    parser.add_argument("--license", metavar="ID", help="of references that say nothing else, and of the whole")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="stories as JSON, YAML or CSV")
    parser.add_argument("--writer-model", metavar="MODEL", help="who writes: folder, repository, or name at --base-url")
    parser.add_argument("--base-url", metavar="URL", help="OpenAI-compatible endpoint; its key is in OPENAI_API_KEY")
    parser.add_argument("--device", default="cpu", help="of a writer on this machine (default %(default)s)")
    parser.add_argument("--tracks", nargs="+", metavar="TRACK", help="with a writer (default main zero_shot)")
    parser.add_argument("--stories", type=int, metavar="N", help="with a writer: stories of each IP (default 10)")
    parser.add_argument("--shots", type=int, metavar="N", help="with a writer: shots of a story (default 4)")
    parser.add_argument("--long-shots", type=int, metavar="N", help="with a writer: in the track long (default 15)")
    parser.add_argument("--seed", type=int, default=0, help="of the writer (default %(default)s)")
    parser.set_defaults(run_bench=_make)


def _add_toon(parser: argparse.ArgumentParser) -> None:
    _add_place(parser)
    parser.add_argument("--characters", type=int, default=20, metavar="N", help="IPs (default and paper: %(default)s)")
    parser.add_argument(
        "--stories", type=int, default=10, metavar="N", help="of each IP in main (default and paper: %(default)s)"
    )
    parser.add_argument("--shots", type=int, default=4, metavar="N", help="of a story (default and paper: %(default)s)")
    parser.add_argument(
        "--long-shots", type=int, default=15, metavar="N", help="in the track long (default %(default)s)"
    )
    parser.add_argument(
        "--clips", type=int, default=6, metavar="N", help="for training on each IP (default %(default)s)"
    )
    parser.add_argument("--tracks", nargs="+", metavar="TRACK", help="which tracks (default: all)")
    parser.add_argument("--size", default="480x270", metavar="WxH", help="pixels, even (default %(default)s)")
    parser.add_argument("--frame-rate", default="16", metavar="RATE", help="(default and paper's demos: %(default)s)")
    parser.add_argument(
        "--frames", type=int, default=49, metavar="N", help="of a shot (default and paper's demos: %(default)s)"
    )
    parser.add_argument("--with-truth", action="store_true", help="also write every true shot as a clip, for the bound")
    parser.add_argument("--seed", type=int, default=0, help="of all chance (default %(default)s)")
    parser.set_defaults(run_bench=_toon)


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the benchmark")
    parser.add_argument("--id", metavar="ORG/NAME", help="repository that it will be (default: the folder's name)")
    parser.add_argument("--overwrite", action="store_true", help="replace a benchmark that is there")


def _add_submission(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", metavar="BENCH", help="folder of the benchmark, or its repository on the Hub")
    parser.add_argument(
        "predictions", nargs="+", type=Path, metavar="PREDICTIONS", help="submission, or generated folders"
    )
    parser.add_argument("--revision", metavar="REV", help="of the repository")


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_submission(parser)
    parser.add_argument("--tracks", nargs="+", metavar="TRACK", help="in place of what the submission says")
    parser.add_argument(
        "--per-ip-training", choices=("yes", "no"), help="whether it was trained on the tested characters; likewise"
    )
    parser.add_argument("--no-decode", action="store_true", help="do not decode the clips to their end")
    parser.add_argument("--completed", type=Path, metavar="FILE", help="write what `animeshooter evaluate` scores")
    parser.add_argument("--json", action="store_true", help="print the problems as JSON")
    parser.set_defaults(run_bench=_check)


def _add_truth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", metavar="BENCH", help="toon edition that was made --with-truth")
    parser.add_argument("--revision", metavar="REV", help="of the repository, if it is one")
    parser.add_argument("--track", default="main", help="which track (default %(default)s)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="file that `animeshooter evaluate` scores"
    )
    parser.set_defaults(run_bench=_truth)


def _add_read(parser: argparse.ArgumentParser) -> None:
    _add_submission(parser)
    parser.add_argument("--track", default="main", help="which track (default %(default)s)")
    parser.add_argument("--frames-per-shot", type=int, default=5, metavar="N", help="looked at (default %(default)s)")
    parser.add_argument("--search", type=int, default=4, metavar="PIXELS", help="largest shift (default %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes; changes no number (default %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for all numbers, as JSON")
    parser.add_argument("--into", type=Path, metavar="RESULTS", help="results.json to put the numbers into")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of the table")
    parser.set_defaults(run_bench=_read)


def _make(arguments: argparse.Namespace) -> int:
    from animeshooter_hf.eval.bench.bench_folder import check_place
    from animeshooter_hf.eval.bench.given_prompts import read_prompts
    from animeshooter_hf.eval.bench.make_bench import make_bench_of_prompts, make_bench_of_writer
    from animeshooter_hf.eval.bench.reference_folder import read_characters

    if (arguments.prompts is None) == (arguments.writer_model is None):
        raise InputError("A benchmark needs stories: say either --prompts or --writer-model.")
    if arguments.prompts is not None:
        given = [name for name in _WRITER_OPTIONS if getattr(arguments, name) is not None]
        if given:
            raise InputError(f"--{given[0].replace('_', '-')} has no effect with --prompts; it is for a writer.")
    check_place(arguments.out, overwrite=arguments.overwrite)
    settings = _make_settings(arguments)
    characters = read_characters(arguments.references, licence=arguments.license)
    where: dict[str, Any] = {"benchmark_id": arguments.id, "overwrite": arguments.overwrite}
    if arguments.prompts is not None:
        place = make_bench_of_prompts(arguments.out, characters, read_prompts(arguments.prompts), settings, **where)
    else:
        writer = _Writer(arguments)
        place = make_bench_of_writer(
            arguments.out, characters, writer, settings, writer_name=arguments.writer_model, progress=True, **where
        )
    sys.stdout.write(f"{place}\n")
    return 0


def _make_settings(arguments: argparse.Namespace) -> "MakeSettings":
    from animeshooter_hf.eval.bench.make_bench import MakeSettings

    named = {
        "tracks": None if arguments.tracks is None else tuple(arguments.tracks),
        "stories_per_ip": arguments.stories,
        "num_shots": arguments.shots,
        "num_long_shots": arguments.long_shots,
        "license": arguments.license,
    }
    given = {name: value for name, value in named.items() if value is not None}
    return MakeSettings(seed=arguments.seed, **given)


class _Writer:
    """Writes stories with a model; `eval` knows no writer, so it is opened here."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from animeshooter_hf.modeling.writer_models import EndpointSettings, LocalWriter, as_writer

        if arguments.base_url is not None:
            key = "OPENAI_API_KEY" if os.environ.get("OPENAI_API_KEY") else None
            endpoint = EndpointSettings(model=arguments.writer_model, base_url=arguments.base_url, api_key_env=key)
            self._writer = as_writer(endpoint)
        else:
            self._writer = LocalWriter(arguments.writer_model, device=arguments.device)

    def __call__(self, request: "StoryRequest") -> "Story":
        from animeshooter_hf.modeling.writer import WriterSettings, write_story

        settings = WriterSettings(num_shots=request.num_shots, with_sound=request.with_sound, seed=request.seed)
        return write_story(
            request.premise,
            self._writer,
            characters=request.characters,
            settings=settings,
            story_id=request.story_id,
        )


def _toon(arguments: argparse.Namespace) -> int:
    from animeshooter_hf.clock import exact_frame_rate
    from animeshooter_hf.eval.bench.toon_bench import ToonBenchSettings, make_toon_bench
    from animeshooter_hf.eval.bench.toon_stories import ToonStorySettings
    from animeshooter_hf.eval.bench.tracks import TRACKS

    size = _SIZE.fullmatch(arguments.size.strip())
    if size is None:
        raise InputError(f"--size must look like 480x270, got {arguments.size!r}.")
    try:
        frame_rate = exact_frame_rate(arguments.frame_rate)
    except ValueError as error:
        raise InputError(f"--frame-rate cannot be used. {error}") from error
    settings = ToonBenchSettings(
        num_characters=arguments.characters,
        stories_per_ip=arguments.stories,
        num_shots=arguments.shots,
        num_long_shots=arguments.long_shots,
        clips_per_ip=arguments.clips,
        seed=arguments.seed,
        tracks=tuple(arguments.tracks or TRACKS),
        with_truth_clips=arguments.with_truth,
        story=ToonStorySettings(
            width=int(size[1]), height=int(size[2]), frame_rate=frame_rate, num_frames=arguments.frames
        ),
    )
    place = make_toon_bench(
        arguments.out, settings, benchmark_id=arguments.id, overwrite=arguments.overwrite, progress=True
    )
    sys.stdout.write(f"{place}\n")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from animeshooter_hf.eval.bench.bench_folder import open_benchmark
    from animeshooter_hf.eval.bench.check_submission import check_submission, write_completed
    from animeshooter_hf.eval.bench.tracks import check_tracks

    benchmark = open_benchmark(arguments.benchmark, arguments.revision)
    tracks = arguments.tracks or ()
    if tracks:
        check_tracks(tracks)
    training = None if arguments.per_ip_training is None else arguments.per_ip_training == "yes"
    submission = _submission(arguments, tracks=tracks, per_ip_training=training)
    problems = check_submission(benchmark, submission, decode=not arguments.no_decode)
    if arguments.completed is not None and not any(one.kind == "num_shots" for one in problems):
        write_completed(benchmark, submission, arguments.completed)
    if arguments.json:
        rows = [{"kind": one.kind, "where": one.where, "words": one.words} for one in problems]
        sys.stdout.write(json.dumps({"problems": rows}, indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(f"{one.kind}: {one.words}\n" for one in problems))
        words = "Nothing is wrong." if not problems else f"{len(problems)} problems."
        sys.stdout.write(f"{len(submission.stories)} stories were looked at. {words}\n")
    return 1 if problems else 0


def _truth(arguments: argparse.Namespace) -> int:
    from animeshooter_hf.eval.bench.bench_folder import open_benchmark
    from animeshooter_hf.eval.bench.completed_file import write_predictions_file
    from animeshooter_hf.eval.bench.toon_bench import truth_predictions

    benchmark = open_benchmark(arguments.benchmark, arguments.revision)
    path = write_predictions_file(truth_predictions(benchmark, arguments.track), arguments.out)
    sys.stdout.write(f"{path}\n")
    return 0


def _read(arguments: argparse.Namespace) -> int:
    from animeshooter_hf.eval.attribute_reading import ReadingSettings
    from animeshooter_hf.eval.bench.bench_folder import open_benchmark
    from animeshooter_hf.eval.bench.read_attributes import merge_attributes, read_attributes, write_attributes
    from animeshooter_hf.eval.bench.submission import submitted_predictions

    try:
        settings = ReadingSettings(frames_per_shot=arguments.frames_per_shot, search_pixels=arguments.search)
    except ValueError as error:
        raise InputError(str(error)) from error
    results: Any = None
    if arguments.into is not None:
        try:
            results = json.loads(arguments.into.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{arguments.into} is no results file that can be read.") from error
    benchmark = open_benchmark(arguments.benchmark, arguments.revision)
    stories = submitted_predictions(benchmark, _submission(arguments), arguments.track)
    if not stories:
        raise InputError(f"The submission holds no story of the track {arguments.track}.")
    read = read_attributes(benchmark, stories, settings, num_workers=arguments.workers, progress=True).to_json()
    if results is not None:
        write_attributes(arguments.into, merge_attributes(results, read))
    if arguments.out is not None:
        write_attributes(arguments.out, read)
    sys.stdout.write(json.dumps(read) + "\n" if arguments.json else _table(read))
    return 0 if read["corpus"].get("identity", {}).get("n_evaluated") else 1


def _submission(arguments: argparse.Namespace, **stated: Any) -> "Submission":
    from animeshooter_hf.eval.bench.submission import read_submission

    return read_submission(arguments.predictions, **stated)


def _table(read: dict[str, Any]) -> str:
    lines = [f"{'':34}{'value':>9}{'interval':>20}{'stories':>9}{'failed':>8}"]
    for name, row in read["corpus"].items():
        value = "-" if row["value"] is None else f"{row['value']:.4f}"
        between = "-" if row["low"] is None else f"[{row['low']:.4f}, {row['high']:.4f}]"
        lines.append(f"{name:34}{value:>9}{between:>20}{row['n_evaluated']:>9}{row['n_failed']:>8}")
    return "\n".join(lines) + "\n"
