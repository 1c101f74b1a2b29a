"""Score stories against their references, and shots against each other.

PATH is a predictions file (JSON or JSONL), a folder that `animeshooter generate` or `animeshooter build` wrote, or a
folder in the layout of the paper's demos. A table with 95 % intervals goes to stdout, all numbers go where --out says:
a file that ends with .json, or a folder that also holds tables and the frames that were looked at.
A video that is missing or broken has no score and is counted; it stops nothing.

The classical backend is for smoke tests and sanity checks: it knows colour only and is not for ranking. What was taken
from a file is kept in a cache, so a run that was stopped goes on, and other metrics of the same files are quick.

Example:
    animeshooter evaluate generated/ --out scores.json
    animeshooter evaluate predictions.jsonl --metrics reference_fidelity --workers 4 --system ORG/MODEL --out results/
    animeshooter evaluate ours.jsonl --against baseline/results.json
    animeshooter evaluate generated/ --attack frozen --out results/frozen/
    animeshooter evaluate --list-backends
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.adversarial import ATTACKS, attack_stories
from animeshooter_hf.eval.atomic_files import check_writable
from animeshooter_hf.eval.backbones.base import BACKBONES, DTYPES
from animeshooter_hf.eval.backbones.table import format_backbone_table
from animeshooter_hf.eval.compare import compare_results, comparison_table
from animeshooter_hf.eval.embedding_cache import EmbeddingCache, default_cache_folder
from animeshooter_hf.eval.encoding import EncodingSettings
from animeshooter_hf.eval.engine import EngineOptions
from animeshooter_hf.eval.metrics import DEFAULT_METRICS, METRICS, open_metrics
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.presets import PRESETS, preset_settings
from animeshooter_hf.eval.results import SYSTEM_KINDS, Results, SystemInfo
from animeshooter_hf.eval.results_file import read_results
from animeshooter_hf.eval.results_folder import check_results_folder, is_folder_path, write_results_folder
from animeshooter_hf.eval.runner import run_evaluation
from animeshooter_hf.eval.sampling import SAMPLINGS
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.eval.view_features import Thumbnails
from animeshooter_hf.eval.views import FIDELITY_VIEWS, REFERENCE_BACKGROUNDS

__all__ = ["add_arguments", "run"]

_SYSTEM = (
    ("--system", "name", "name of what made the shots, such as ORG/MODEL"),
    ("--revision", "revision", "its version or commit"),
    ("--url", "url", "where it is described"),
    ("--system-license", "license", "licence of its weights"),
    ("--sampled-by", "sampled_by", "who generated the shots"),
    ("--evaluated-by", "evaluated_by", "who scores them"),
    ("--notes", "notes", "anything a reader must know"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter evaluate`."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="what to score")
    known = f"some of: {', '.join(METRICS)} (default: {' '.join(DEFAULT_METRICS)})"
    parser.add_argument("--metrics", nargs="+", default=list(DEFAULT_METRICS), metavar="METRIC", help=known)
    _add_encoding_options(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes; changes no number (default: %(default)s)")
    parser.add_argument(
        "--batch-size", type=int, default=64, help="pictures a model gets at once; changes no number (default: 64)"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help=f"where embeddings are kept (default: {default_cache_folder()})"
    )
    parser.add_argument("--no-cache", action="store_true", help="keep nothing, and use nothing that was kept")
    parser.add_argument("--clear-cache", action="store_true", help="empty the cache first")
    for option, name, words in _SYSTEM:
        parser.add_argument(option, dest=f"system_{name}", default="", metavar="TEXT", help=words)
    parser.add_argument("--system-kind", help=f"one of: {', '.join(SYSTEM_KINDS)} (default: model)")
    parser.add_argument("--attack", metavar="NAME", help=f"turn the shots into an attack first: {', '.join(ATTACKS)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the attack (default: %(default)s)")
    parser.add_argument("--benchmark", metavar="ID[@REVISION]", help="benchmark whose stories these are")
    parser.add_argument("--against", type=Path, metavar="RESULTS", help="compare with the results of another system")
    parser.add_argument("--out", metavar="PLACE", help="FILE.json, or a folder for tables and frames as well")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of the table")


class _ListBackends(argparse.Action):
    """Print what there is, and leave, as `--version` does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(format_backbone_table() + "\n")
        parser.exit()


def _add_encoding_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list-backends", action=_ListBackends, nargs=0, help="print all backends with their licences")
    parser.add_argument("--preset", help=f"settings of the paper's Table 2, one of: {', '.join(PRESETS)}")
    parser.add_argument(
        "--backend",
        metavar="NAME[:WEIGHTS]",
        help=f"one of: {', '.join(BACKBONES)}; with :REPO_OR_FOLDER[@REVISION] for other weights (default: classical)",
    )
    parser.add_argument("--style-backend", metavar="NAME[:WEIGHTS]", help="encoder of the style view (default: none)")
    parser.add_argument("--audio-backend", metavar="NAME[:WEIGHTS]", help="encoder of sounds (default: none)")
    parser.add_argument("--device", default="cpu", help="where a model runs (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", help=f"{' or '.join(DTYPES)} (default: %(default)s)")
    parser.add_argument("--frames-per-shot", type=int, help="frames looked at in each shot (default and paper: 5)")
    parser.add_argument("--sampling", help=f"{' or '.join(SAMPLINGS)} (default: bin_centre)")
    parser.add_argument(
        "--fidelity-view", help=f"compared with a reference, one of: {', '.join(FIDELITY_VIEWS)} (default: auto)"
    )
    parser.add_argument(
        "--reference-background",
        help=f"behind a cut-out reference, one of: {', '.join(REFERENCE_BACKGROUNDS)} (default: the backend's)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `animeshooter evaluate`: 0, or 1 if no story got a score.

    Raises:
        InputError: If a path, an option or the output cannot be used.
    """
    other = None if arguments.against is None else read_results(arguments.against)
    folder = _check_out(arguments.out)
    settings = EncodingSettings(
        **preset_settings(
            arguments.preset,
            backend=arguments.backend,
            device=arguments.device,
            dtype=arguments.dtype,
            frames_per_shot=arguments.frames_per_shot,
            sampling=arguments.sampling,
            fidelity_view=arguments.fidelity_view,
            reference_background=arguments.reference_background,
            style_backend=arguments.style_backend,
            audio_backend=arguments.audio_backend,
        )
    )
    options = EngineOptions(num_workers=arguments.workers, batch_size=arguments.batch_size, progress=True)
    metrics = open_metrics([name for words in arguments.metrics for name in words.split(",") if name], settings)
    system = _system(arguments)
    thumbnails = [] if folder is None else [Thumbnails(settings.frames_per_shot, settings.sampling)]
    cache = _cache(arguments)
    try:
        results, stories = run_evaluation(
            _stories(arguments),
            metrics,
            settings,
            options=options,
            cache=cache,
            system=system,
            benchmark=_benchmark(arguments.benchmark),
            extras=thumbnails,
        )
    finally:
        if cache is not None:
            cache.close()
    if folder is not None:
        write_results_folder(results, stories, folder)
    elif arguments.out is not None:
        results.write(arguments.out)
    return _tell(results, other, arguments)


def _tell(results: Results, other: Results | None, arguments: argparse.Namespace) -> int:
    """Print what was asked for, and return the exit status."""
    if arguments.json:
        sys.stdout.write(json.dumps(results.to_json(), allow_nan=False) + "\n")
    else:
        sys.stdout.write(results.table())
    if other is not None:
        names = [one.system.name or words for one, words in ((results, "these"), (other, str(arguments.against)))]
        stream = sys.stderr if arguments.json else sys.stdout
        stream.write("\n" + comparison_table(compare_results(results, other), *names))
    if results.num_shots_failed:
        sys.stderr.write(f"animeshooter evaluate: {results.num_shots_failed} shots have no score for some metric.\n")
    return 0 if any(score.n_evaluated for scores in results.stories.values() for score in scores.values()) else 1


def _check_out(out: str | None) -> Path | None:
    """Return the folder to write, None for a file or nothing."""
    if out is None:
        return None
    if is_folder_path(out):
        check_results_folder(Path(out))
        return Path(out)
    check_writable(Path(out))
    return None


def _system(arguments: argparse.Namespace) -> SystemInfo:
    facts = {name: getattr(arguments, f"system_{name}") for _, name, _ in _SYSTEM}
    kind = arguments.system_kind or ("adversarial" if arguments.attack else "model")
    if arguments.attack:
        if kind != "adversarial":
            raise InputError(f"With --attack the system is adversarial, not {kind}; leave --system-kind out.")
        facts["name"] = facts["name"] or f"attack: {arguments.attack.replace('_', ' ')}"
    return SystemInfo(**facts, kind=kind, date=datetime.now(UTC).date().isoformat())


def _benchmark(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    name, _, revision = text.partition("@")
    if not name:
        raise InputError(f"--benchmark is written ID or ID@REVISION, got {text!r}.")
    return {"id": name, "revision": revision}


def _cache(arguments: argparse.Namespace) -> EmbeddingCache | None:
    if arguments.no_cache:
        if arguments.cache is not None or arguments.clear_cache:
            raise InputError("--no-cache goes neither with --cache nor with --clear-cache.")
        return None
    cache = EmbeddingCache(arguments.cache or default_cache_folder())
    if arguments.clear_cache:
        cache.clear()
    return cache


def _stories(arguments: argparse.Namespace) -> Iterator[StoryPrediction]:
    stories = _read_all(arguments.paths)
    return attack_stories(stories, arguments.attack, arguments.seed) if arguments.attack else stories


def _read_all(paths: Sequence[Path]) -> Iterator[StoryPrediction]:
    """Yield the stories of all paths; every path is looked at before the first file is decoded."""
    for path in paths:
        if not path.exists():
            raise InputError(f"There is no file or folder {path}.")
    for path in paths:
        yield from read_predictions(path)
