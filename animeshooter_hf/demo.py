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
    character  a new toon character: five clips, a reference, a story that no clip tells
    enhance    a LoRA of the library's small trained model "toon", from these clips
    generate   the story by that model, without and with the LoRA
    read       who is seen in both, read exactly, since the truth is known
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
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from animeshooter_hf._version import __version__
from animeshooter_hf.errors import InputError

__all__ = ["DemoSettings", "add_arguments", "run", "run_demo"]

_ATTACKS = ("frozen", "repeated", "pasted")
"""Attacks that the board shows beside the truth."""

_GENERATED = ("generated", "enhanced")
"""Folders of the generated story: by the model as it comes, and with the LoRA."""

_NAME = "Pip"
"""Of the new character."""

_FIRST_CHARACTER = 30_000_000
"""Seed of the first character; no training and no experiment draws stories from here on."""

_SEEDS_APART = 1_000
"""Seeds between two characters: each has a story and clips of its own."""

_NUM_CLIPS = 5
"""Clips that a character is learned from. Paper: 5 to 6."""

_ENHANCE = {
    "parts.transformer.rank": 16,
    "optimizer.learning_rate": 2e-3,
    "optimizer.warmup_steps": 10,
    "optimizer.schedule": "linear",
    "data.window": 1,
    "loss.timestep_sampling": "logit_normal",
    "batch_size": 5,
    "validate_every": 0,
    "save_every": 1_000,
    "licence": "apache-2.0",
}
"""Settings of the enhancement beside the stage's own. All are our choice: what half a minute on two cores allows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSettings:
    """Settings of the demo. All are our choice: small enough for five minutes on two cores."""

    out: Path
    """Folder of everything that the demo makes."""

    films: int = 4
    """Films to render."""

    seconds: float = 40.0
    """Length of each film."""

    shots: int = 4
    """Shots of the generated story. Paper: stories of four shots are scored."""

    enhance_steps: int = 80
    """Steps in which the model learns the character. Paper: 1K to 2K, for a model of billions."""

    seed: int = 0
    """Seed of films and generation."""

    sample: Path | None = None
    """Folder with a sample of the public release, or None."""

    def __post_init__(self) -> None:
        limits = (("films", 1, 1000), ("seconds", 10, 3600), ("shots", 2, 64), ("enhance_steps", 1, 100_000))
        for name, low, high in limits:
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"--{name.replace('_', '-')} must lie in {low} to {high}, got {value}.")


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
    parser.add_argument(
        "--enhance-steps",
        type=int,
        default=defaults.enhance_steps,
        help="steps in which the model learns the new character (default: %(default)s)",
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
        enhance_steps=arguments.enhance_steps,
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
        _Step("character", function=_draw_character),
        _Step("enhance", _enhance_words(settings)),
        _Step("generate", _generate_words(settings, "generated")),
        _Step("generate-enhanced", (*_generate_words(settings, "enhanced"), "--lora", f"{_NAME}={_lora_of(settings)}")),
        *[
            _Step(f"score-{name}", ("evaluate", str(out / name), "--out", str(out / "scores" / f"{name}.json")))
            for name in _GENERATED
        ],
        _Step("read", function=_read_characters),
        _Step("report", function=_report),
    ]


def _identity(step: _Step, settings: DemoSettings) -> str:
    """Return what a step depends on beside the steps before it."""
    own = json.dumps([settings.films, float(settings.seconds), settings.shots, settings.seed, str(settings.sample)])
    if not step.words:
        return own
    return json.dumps([*step.words, _mark_of_toon()] if "toon" in step.words[1:] else step.words)


@cache
def _mark_of_toon() -> str:
    """Return a hash of the library's own checkpoint, so that another one is not taken for done."""
    from animeshooter_hf.modeling.packaged import packaged_folder

    folder = packaged_folder("toon") or Path()
    mark = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        mark.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return mark.hexdigest()


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


def _draw_character(settings: DemoSettings) -> None:
    """Draw a character that no training has seen: clips of it, its reference, and a story that no clip tells."""
    from animeshooter_hf.dataset_builder.character_clips import write_character_dataset
    from animeshooter_hf.toon.compact import CompactSettings

    write_character_dataset(
        settings.out / "character",
        _FIRST_CHARACTER + _SEEDS_APART * settings.seed,
        num_clips=_NUM_CLIPS,
        settings=CompactSettings(num_shots=settings.shots),
        character_id=_NAME,
        overwrite=True,
    )


def _lora_of(settings: DemoSettings) -> Path:
    return settings.out / "enhancement" / "lora"


def _enhance_words(settings: DemoSettings) -> tuple[str, ...]:
    out = settings.out
    changes = {**_ENHANCE, "character": _NAME}
    return (
        *("train", "--stage", "enhance", "--pipeline", "toon", "--data", str(out / "character" / "data")),
        *("--out", str(_lora_of(settings).parent), "--steps", str(settings.enhance_steps), "--fresh"),
        *(word for key, value in changes.items() for word in ("--set", f"{key}={value}")),
    )


def _generate_words(settings: DemoSettings, name: str) -> tuple[str, ...]:
    drawn = settings.out / "character"
    return (
        *("generate", "--model", "toon", "--story", str(drawn / "story.json")),
        *("--reference", f"{_NAME}={drawn / 'reference.png'}", "--seed", str(settings.seed)),
        *("--out", str(settings.out / name), "--resume", "--overwrite"),
    )


def _read_characters(settings: DemoSettings) -> None:
    """Read who is seen in the true and the generated stories; the states hold frames as they were made."""
    import numpy as np

    from animeshooter_hf.dataset_builder.character_clips import read_character_clips
    from animeshooter_hf.eval.compact_reading import read_compact_story
    from animeshooter_hf.modeling.state import StoryState

    out = settings.out
    story = read_character_clips(out / "character").story
    clips = {"truth": list(np.load(out / "character" / "truth.npy"))}
    for name in _GENERATED:
        clips[name] = [shot.frames_FHW3 for shot in StoryState.load(out / name / "state").shots]
    _write_json(out / "reading.json", {name: read_compact_story(frames, story) for name, frames in clips.items()})


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
