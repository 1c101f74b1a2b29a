"""Films in, dataset, generated story, scores and pictures out: every part of the library once, with no download.

The demo is a row of the other verbs; what it runs is printed as it goes, so each line can be typed by hand. A step
that is finished is not done again; a stopped demo takes up where it was.

    ingest     the paper's public release, if a sample is given
    toon       animated films with exact truth beside them
    build      a dataset of four configs from those films
    load       plain `load_dataset` on each config
    stats      the paper's Table 1 counted on it, and what may be wrong
    site       a static site of it, to browse and to play
    evaluate   the real demo stories of the paper, if given, the films' own shots, and attacks on them
    board      a leaderboard of these
    generate   a story with a real pipeline at toy size (random weights, and it says so)
    report     OUT/index.html: contact sheets, tables, plots, players

Example:
    animeshooter demo --out out
    animeshooter demo --out out --films 6 --seconds 60 --sample path/to/release-sample
"""

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from animeshooter_hf._version import __version__
from animeshooter_hf.errors import InputError

__all__ = ["DemoSettings", "add_arguments", "run", "run_demo"]

_ATTACKS = ("frozen", "repeated", "pasted")
"""Attacks that the board shows beside the truth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSettings:
    """Settings of the demo. All are our choice: small enough for three minutes on two cores."""

    out: Path
    """Folder of everything that the demo makes."""

    films: int = 4
    """Films to render."""

    seconds: float = 40.0
    """Length of each film."""

    shots: int = 4
    """Shots of the generated story. Paper: stories of four shots are scored."""

    seed: int = 0
    """Seed of films and generation."""

    sample: Path | None = None
    """Folder with a sample of the public release, or None."""

    def __post_init__(self) -> None:
        for name, low, high in (("films", 1, 1000), ("seconds", 10, 3600), ("shots", 1, 64)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"--{name} must lie in {low} to {high}, got {value}.")


@dataclass(frozen=True, slots=True)
class _Step:
    """One step: either a verb's words or a function of ours."""

    name: str
    words: tuple[str, ...] = ()
    function: Callable[[DemoSettings], Any] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter demo`."""
    defaults = DemoSettings(out=Path("out"))
    parser.add_argument("--out", type=Path, default=defaults.out, help="folder for everything (default: %(default)s)")
    parser.add_argument("--films", type=int, default=defaults.films, help="films to render (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=defaults.seconds, help="length of each film (default: %(default)s)"
    )
    parser.add_argument(
        "--shots", type=int, default=defaults.shots, help="shots of the generated story (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="seed (default: %(default)s)")
    parser.add_argument("--sample", type=Path, help="folder with a sample of the public release")
    parser.add_argument("--fresh", action="store_true", help="forget finished steps and do everything again")


def run(arguments: argparse.Namespace) -> int:
    """Run `animeshooter demo`."""
    settings = DemoSettings(
        out=arguments.out,
        films=arguments.films,
        seconds=arguments.seconds,
        shots=arguments.shots,
        seed=arguments.seed,
        sample=arguments.sample,
    )
    return run_demo(settings, fresh=arguments.fresh)


def run_demo(settings: DemoSettings, *, fresh: bool = False) -> int:
    """Run every step that is not done yet, and print where the report is and the figures that matter.

    Raises:
        InputError: If the folder cannot be written, the sample is missing, or a step refuses its input.
    """
    if settings.sample is not None and not settings.sample.is_dir():
        raise InputError(f"--sample: there is no folder {settings.sample}.")
    receipts = settings.out / ".steps"
    try:
        if fresh and receipts.exists():
            shutil.rmtree(receipts)
        receipts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{settings.out} cannot be written: {error.strerror}.") from error
    steps = _steps(settings)
    chain = hashlib.sha256(__version__.encode()).hexdigest()
    began = time.perf_counter()
    for number, step in enumerate(steps, start=1):
        chain = hashlib.sha256(f"{chain} {step.name} {_identity(step, settings)}".encode()).hexdigest()
        receipt = receipts / f"{step.name}.json"
        if _is_done(receipt, chain):
            _say(f"[{number}/{len(steps)}] {step.name}: done before")
            continue
        _say(f"[{number}/{len(steps)}] {step.name}")
        seconds = _perform(step, settings)
        _write_json(receipt, {"chain": chain, "seconds": round(seconds, 2)})
    _say(f"All steps done in {time.perf_counter() - began:.0f} s.")
    figures = json.loads((settings.out / "figures.json").read_text())
    sys.stdout.write(f"\nReport: {(settings.out / 'index.html').resolve()}\n")
    for figure in figures["headline"]:
        sys.stdout.write(f"  {figure['value']:>8}  {figure['name']}\n")
    return 0


def _steps(settings: DemoSettings) -> list[_Step]:
    out, sample = settings.out, settings.sample
    files = [str(path) for path in sorted(sample.glob("*.json"))] if sample else []
    release = [_Step("ingest", ("ingest", *files, "--out", str(out / "release"), "--overwrite"))] if files else []
    demos = (
        [_Step("score-demos", ("evaluate", str(sample / "demos"), "--out", str(out / "scores" / "demos.json")))]
        if sample and (sample / "demos").is_dir()
        else []
    )
    scored = ("evaluate", str(out / "dataset"), "--cache", str(out / ".cache" / "scores"))
    truth = ("--system", "the films themselves", "--system-kind", "truth")
    boards = [str(out / "scores" / name) for name in ("films", *_ATTACKS)]
    films = ("toon", "--films", str(settings.films), "--seconds", f"{settings.seconds:g}", "--seed", str(settings.seed))
    return [
        *release,
        _Step("films", (*films, "--out", str(out / "films"))),
        _Step("build", ("build", str(out / "films"), "--out", str(out / "dataset"), "--overwrite")),
        _Step("load", function=_load),
        _Step("stats", ("stats", str(out / "dataset"), "--out", str(out / "stats"), "--plots", str(out / "stats"))),
        _Step("site", ("view", str(out / "dataset"), "--out", str(out / "site"))),
        *demos,
        _Step("score-films", (*scored, *truth, "--out", str(out / "scores" / "films"))),
        *[
            _Step(f"attack-{name}", (*scored, "--attack", name, "--out", str(out / "scores" / name)))
            for name in _ATTACKS
        ],
        _Step("board", ("leaderboard", *boards, "--out", str(out / "board"), "--title", "The demo's board")),
        _Step("model", function=_make_model),
        _Step("generate", function=_generate),
        _Step("score-generated", ("evaluate", str(out / "generated"), "--out", str(out / "scores" / "generated.json"))),
        _Step("report", function=_report),
    ]


def _identity(step: _Step, settings: DemoSettings) -> str:
    """Return what a step depends on beside the steps before it."""
    own = json.dumps([settings.films, float(settings.seconds), settings.shots, settings.seed, str(settings.sample)])
    return json.dumps(step.words) if step.words else own


def _is_done(receipt: Path, chain: str) -> bool:
    try:
        return bool(json.loads(receipt.read_text())["chain"] == chain)
    except (OSError, ValueError, KeyError):
        return False


def _perform(step: _Step, settings: DemoSettings) -> float:
    began = time.perf_counter()
    if step.function is not None:
        step.function(settings)
    else:
        _verb(step.words)
    return time.perf_counter() - began


def _verb(words: Sequence[str]) -> None:
    """Run another verb in this process."""
    from animeshooter_hf.command_line import main

    _say(f"    animeshooter {shlex.join(words)}")
    with contextlib.redirect_stdout(sys.stderr):
        status = main(words)
    if status not in (0, 1):
        raise InputError(f"The verb {words[0]} stopped with status {status}; its message stands above.")


def _load(settings: DemoSettings) -> None:
    """Open every config with plain `load_dataset` and write down what a user would see."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from datasets import Audio, Image, Video, get_dataset_config_names, load_dataset

    folder = str(settings.out / "dataset")
    seen: dict[str, dict[str, Any]] = {}
    for config in get_dataset_config_names(folder):
        splits = load_dataset(folder, config, cache_dir=str(settings.out / ".cache"))
        columns = next(iter(splits.values())).features
        media = [name for name, kind in columns.items() if isinstance(kind, Video | Audio | Image)]
        seen[config] = {
            "rows": {name: split.num_rows for name, split in splits.items()},
            "columns": list(columns),
            "media": media,
        }
    _write_json(settings.out / "loaded.json", seen)


def _make_model(settings: DemoSettings) -> None:
    """Save a pipeline of real classes at toy size. Its weights are random, and its config says so."""
    from animeshooter_hf.modeling.testing import tiny_pipeline

    tiny_pipeline(seed=settings.seed).save_pretrained(str(settings.out / "model"))


def _generate(settings: DemoSettings) -> None:
    """Generate the first shots of a film's story anew, from its captions and its characters' references."""
    from PIL import Image

    from animeshooter_hf.loading import load_stories

    out = settings.out
    items = load_stories(out / "dataset", split="train")
    item = max(items, key=lambda one: (min(settings.shots, len(one.story.shots)), one.story.story_id))
    told = [shot for shot in item.story.shots if not shot.is_prologue_or_epilogue][: settings.shots]
    cast = sorted({name for shot in told for name in shot.characters})
    words = ["generate", "--model", str(out / "model"), "--story", str(out / "story.json")]
    for name in cast:
        references = item.references(name)
        if references:
            path = out / "references" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(references[0].cutout).save(path)
            words += ["--reference", f"{name}={path}"]
    row = item.story.with_shots([replace(shot, index=index) for index, shot in enumerate(told)]).to_json()
    _write_json(out / "story.json", {**row, "reference_masks": []})
    _verb([*words, "--seed", str(settings.seed), "--out", str(out / "generated"), "--resume"])


def _report(settings: DemoSettings) -> None:
    from animeshooter_hf.report.demo_page import write_demo_page

    write_demo_page(settings.out, settings.sample)


def _write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
