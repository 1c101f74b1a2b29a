"""The command line: `animeshooter VERB ...`.

Each verb is one function that takes parsed arguments and returns an exit status; it lives in the room that does the
work and is imported only when the verb is used. Results go to stdout or to files, everything else to stderr; bad
input ends in one sentence and exit status 2.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from animeshooter_hf._version import __version__
from animeshooter_hf.errors import InputError, MissingExtraError

__all__ = ["VERBS", "build_parser", "main"]

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("animeshooter_hf.demo", "films in, dataset, generated story, scores and pictures out"),
    "toon": ("animeshooter_hf.toon.command", "render animated films with exact truth beside them"),
    "ingest": ("animeshooter_hf.dataset_builder.ingest_command", "turn the public release into Parquet"),
    "build": ("animeshooter_hf.dataset_builder.build_command", "turn films into a dataset of stories"),
    "stats": ("animeshooter_hf.dataset_builder.stats_command", "count what a dataset holds and what may be wrong"),
    "view": ("animeshooter_hf.site.site_command", "make a static site of a dataset: browse, play, search"),
    "publish": ("animeshooter_hf.dataset_builder.publish.publish_command", "put a dataset on the Hub, or take it down"),
    "train": ("animeshooter_hf.modeling.train_command", "train a pipeline in the paper's stages, or a LoRA of one IP"),
    "generate": ("animeshooter_hf.modeling.generate_command", "generate a story shot by shot"),
    "web": ("animeshooter_hf.modeling.web_command", "write, generate and mend stories on a page"),
    "evaluate": ("animeshooter_hf.eval.evaluate_command", "score stories against their references"),
    "bench": ("animeshooter_hf.bench_command", "make a benchmark of references and stories, and check entries to it"),
    "judge": ("animeshooter_hf.eval.judge_command", "let a multimodal model judge stories, and examine it"),
    "study": ("animeshooter_hf.eval.study_command", "ask people: a blind study as a static page, and its votes"),
    "leaderboard": ("animeshooter_hf.eval.leaderboard_command", "make a static leaderboard of results"),
}
"""Verb -> (module, one line of help). The module has `add_arguments(parser)` and `run(arguments) -> int`."""


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; only the named verb's module is imported, all of them if it is None."""
    parser = argparse.ArgumentParser(
        prog="animeshooter", description="Make, load, generate and score multi-shot animation."
    )
    parser.add_argument("--version", action="version", version=f"animeshooter {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (module_name, help_line) in VERBS.items():
        if verb not in (None, name):
            verbs.add_parser(name, help=help_line)
            continue
        module = import_module(module_name)
        child = verbs.add_parser(
            name,
            help=help_line,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(child)
        child.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status: 0 well, 1 done with reported problems, 2 bad input."""
    words = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in words if not word.startswith("-")), "")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        arguments = build_parser(verb).parse_args(words)
        return int(arguments.run(arguments))
    except (InputError, MissingExtraError) as error:
        sys.stderr.write(f"animeshooter {verb}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("animeshooter: stopped; the same command takes up where this one was.\n")
        return 130
