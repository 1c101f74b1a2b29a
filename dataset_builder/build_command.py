"""Turn films into a dataset of stories, shots, references and sound.

SOURCE is a film or a folder of films, or: ids:LIST.txt (video IDs, through yt-dlp), hf://datasets/ORG/NAME (videos of a
Hub repository), release:ANNOTATIONS.zip (the public release, its videos in --videos DIR), toon:N (films drawn in code).

A film of a release is told by the release, its times of whole seconds set to the cuts that are found; a film with a
script beside it (NAME.script.json) by its script; the others by a model (--model). Annotations without videos are the
business of `animeshooter ingest`; how many stories of a release were left out for want of a film is told. OUT then
opens with plain `load_dataset`; OUT/build_report.json says what was decided, and OUT/report/index.html shows it. A
stopped build takes up where it was. What has not changed is not done again, and no answered question is asked twice.

  animeshooter build status WORK            how many films have passed each stage
  animeshooter build explain WORK FILM      why a film is not there, stage by stage (FILM/STAGE: all of one unit)
  animeshooter build retry WORK [TEXT]      lift the quarantine of units whose film, stage or reason contains TEXT
  animeshooter build pour WORK RESULTS      take over the results of a batch file (with the build's --model options)

Example:
    animeshooter toon --films 6 --out films/
    animeshooter build films/ --out dataset/ --workers 2
    animeshooter build films/ --out dataset/ --model qwen3-vl --base-url http://127.0.0.1:8000/v1 --segmenter sam3
    animeshooter build release:dataset_anime_shooter.zip --videos videos/ --release-audio audio.zip --out dataset/
    animeshooter build films/ --out dataset/ --config build.yaml --dry-run
    animeshooter build status .dataset.work

Exit status: 0 every film was used, 1 some were left out or wait (they are named), 2 nothing could be done.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animeshooter_hf.errors import InputError

if TYPE_CHECKING:
    from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig
    from animeshooter_hf.dataset_builder.build_report import BuildReport
    from animeshooter_hf.dataset_builder.build_settings import BuildSettings
    from animeshooter_hf.dataset_builder.dry_run import DryRun
    from animeshooter_hf.dataset_builder.references.embedders import EmbedderConfig

__all__ = ["add_arguments", "run"]

_MANAGEMENT = ("status", "explain", "retry", "pour")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter build`."""
    parser.add_argument(
        "films", nargs="+", metavar="SOURCE", help="films, folders of films, or other sources; see above"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the dataset")
    parser.add_argument("--work", metavar="DIR", help="folder or URL of the receipts (default: .OUT.work)")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings, .yaml or .json; options here count before it"
    )
    parser.add_argument("--workers", type=int, help=f"processes (default {min(2, os.cpu_count() or 1)})")
    parser.add_argument("--timeout", type=float, metavar="S", help="a unit that takes longer is killed (default 3600)")
    parser.add_argument(
        "--memory", type=int, metavar="MIB", help="a unit that holds more is killed (default: no limit)"
    )
    parser.add_argument(
        "--detector", metavar="NAME", help="own, pyscenedetect, transnetv2 (weights in --config), or MODULE:CLASS"
    )
    parser.add_argument(
        "--annotator",
        choices=("auto", "release", "script", "truth", "noisy", "model"),
        help="who writes the scripts (default auto)",
    )
    parser.add_argument("--model", metavar="ID", help="model that writes scripts, checks references, describes sounds")
    parser.add_argument(
        "--model-kind", choices=("openai", "gemini", "transformers"), help="how it is reached (default openai)"
    )
    parser.add_argument("--base-url", metavar="URL", help="address of an OpenAI-compatible endpoint, with /v1")
    parser.add_argument(
        "--script-mode", choices=("cuts", "clock"), help="how scripts state time (default cuts; paper: clock)"
    )
    parser.add_argument("--budget", type=float, metavar="MONEY", help="the most that calls may cost, over all runs")
    parser.add_argument("--batch", action="store_true", help="write questions to a batch file instead of asking them")
    parser.add_argument("--segmenter", metavar="NAME", help="sam3, grounded_sam2, clipseg, florence2 or remote")
    parser.add_argument("--checkpoint", metavar="ID", help="weights of the segmenter, or the address of a remote one")
    parser.add_argument(
        "--media", choices=("full", "none"), help="make clips and pictures, or annotations only (default full)"
    )
    parser.add_argument("--rights", type=Path, metavar="FILE", help="rights of the videos, .csv or .json")
    parser.add_argument("--takedown", type=Path, metavar="FILE", help="videos that must not be used")
    parser.add_argument("--videos", type=Path, metavar="DIR", help="the videos of a release: source")
    parser.add_argument("--release-audio", type=Path, metavar="PATH", help="the audio release, .json, folder or .zip")
    parser.add_argument(
        "--download", action="store_true", help="download videos of a release: source that are not in --videos"
    )
    parser.add_argument("--duplicates", choices=("drop", "report", "off"), help="copies of one film (default drop)")
    parser.add_argument(
        "--private-data", choices=("report", "redact", "off"), help="mail addresses and the like (default report)"
    )
    parser.add_argument(
        "--identities", metavar="NAME", help="link characters by looks: classical, or a backbone as ORG/NAME=THRESHOLD"
    )
    parser.add_argument("--split-seed", type=int, help="decides which films are held out (default 0)")
    parser.add_argument("--launcher", choices=("processes", "slurm", "ray", "jobs"), help="run ranks through datatrove")
    parser.add_argument("--ranks", type=int, default=2, help="ranks of the launcher (default %(default)s)")
    parser.add_argument("--launcher-options", metavar="JSON", default="{}", help="arguments of datatrove's executor")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done: hours, questions, tokens, money"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is a dataset of ours")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Build the dataset, or look after a build, and return the exit status."""
    if arguments.films[0] in _MANAGEMENT and not Path(arguments.films[0]).exists():
        from animeshooter_hf.dataset_builder.build_management import manage

        return manage(arguments.films, arguments)
    if arguments.out is None:
        raise InputError("Name the folder of the dataset with --out.")
    out: Path = arguments.out
    for word in arguments.films:
        path = Path(word)
        if path.exists() and out.resolve() in (path.resolve(), *path.resolve().parents):
            raise InputError(f"The films lie in {out}, which is to be written; name another folder with --out.")
    settings = settings_of(arguments)
    work = arguments.work or out.with_name(f".{out.name}.work")
    if arguments.dry_run:
        from animeshooter_hf.dataset_builder.dry_run import plan_build

        plan = plan_build(arguments.films, work, settings)
        sys.stdout.write(json.dumps(plan.to_json(), indent=1) + "\n" if arguments.json else _plan_text(plan))
        return 1 if plan.refused else 0
    return _build(arguments, out, work, settings)


def settings_of(arguments: argparse.Namespace) -> "BuildSettings":
    """Return the settings of a file, with the options of the command line put over them.

    Raises:
        InputError: If a key or a value does not fit.
    """
    from animeshooter_hf.config_file import read_settings
    from animeshooter_hf.dataset_builder.build_settings import BuildSettings

    settings = read_settings(arguments.config, BuildSettings) if arguments.config else BuildSettings()
    slots = arguments.workers
    if slots is None and arguments.config is None:
        slots = min(2, os.cpu_count() or 1)
    given: dict[str, dict[str, Any]] = {
        "run": {"slots": slots, "timeout_seconds": arguments.timeout, "memory_mib": arguments.memory},
        "annotator": {
            "kind": arguments.annotator,
            "mode": arguments.script_mode,
            "model": _model(arguments, settings.annotator.model),
        },
        "sources": {
            "rights": arguments.rights,
            "takedown": arguments.takedown,
            "videos": arguments.videos,
            "may_download": arguments.download or None,
            "release_audio": arguments.release_audio,
        },
        "quality": {
            "duplicates": arguments.duplicates,
            "private_data": arguments.private_data,
            "identities": _embedder(arguments, settings.quality.identities),
        },
        "splits": {"seed": arguments.split_seed},
    }
    for section, values in given.items():
        settings = replace(settings, **{section: replace(getattr(settings, section), **_present(values))})
    if arguments.detector:
        detector = replace(settings.scan.detector, name=arguments.detector)
        settings = replace(settings, scan=replace(settings.scan, detector=detector))
    if arguments.segmenter or arguments.checkpoint:
        from animeshooter_hf.dataset_builder.references.segmenter import SegmenterConfig

        chosen = _present({"name": arguments.segmenter, "checkpoint": arguments.checkpoint})
        settings = replace(settings, segmenter=replace(settings.segmenter or SegmenterConfig(), **chosen))
    return replace(settings, media=arguments.media) if arguments.media else settings


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _embedder(arguments: argparse.Namespace, known: "EmbedderConfig | None") -> "EmbedderConfig | None":
    """Return who links characters, put over the one of the settings file; None if nobody does."""
    if arguments.identities is None:
        return known
    from animeshooter_hf.dataset_builder.references.embedders import EmbedderConfig

    name, _, threshold = arguments.identities.partition("=")
    try:
        least = float(threshold) if threshold else None
    except ValueError as error:
        raise InputError(f"--identities {arguments.identities} should end in a number, such as =0.8.") from error
    return replace(known or EmbedderConfig(), name=name, threshold=least)


def _model(arguments: argparse.Namespace, known: "ModelConfig | None") -> "ModelConfig | None":
    """Return the model of the options, put over the one of the settings file; None if the options name nothing."""
    given = _present(
        {
            "model": arguments.model,
            "kind": arguments.model_kind,
            "base_url": arguments.base_url,
            "budget_money": arguments.budget,
            "batch": arguments.batch or None,
        }
    )
    if not given:
        return known
    if known is not None:
        return replace(known, **given)
    if "model" not in given:
        raise InputError("The options of a model need the model: give --model.")
    from animeshooter_hf.config_file import settings_from
    from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig

    # An endpoint of one's own, such as vLLM's, asks for no key unless the environment holds one.
    if "base_url" in given and not os.environ.get("OPENAI_API_KEY"):
        given["needs_key"] = False
    return settings_from({"kind": "openai", **given}, ModelConfig)


def _build(arguments: argparse.Namespace, out: Path, work: str | Path, settings: "BuildSettings") -> int:
    from animeshooter_hf.dataset_builder.build import build_dataset, launch_build
    from animeshooter_hf.dataset_builder.build_output import write_build_output

    if arguments.launcher:
        try:
            options = json.loads(arguments.launcher_options)
        except ValueError as error:
            raise InputError(f"--launcher-options is no JSON: {error}.") from error
        if not isinstance(options, dict):
            raise InputError("--launcher-options must be a JSON object.")
        launch_build(
            arguments.films, work, settings, launcher=arguments.launcher, ranks=arguments.ranks, options=options
        )
        if arguments.launcher == "slurm":
            sys.stdout.write("The ranks are in Slurm's hands. When they are done, run this again without --launcher.\n")
            return 0
    report = build_dataset(arguments.films, out, work=work, settings=settings, overwrite=arguments.overwrite)
    summary = report.to_json()
    if report.dataset is not None and (report.is_new or not (out / "build_report.json").exists()):
        write_build_output(report, out, work)
    sys.stdout.write(json.dumps(summary, indent=1) + "\n" if arguments.json else _text(report, summary))
    for film in report.refused:
        sys.stderr.write(f"left out: {film['film']}: {film['reason']}\n")
    for name, reason in report.waiting.items():
        sys.stderr.write(f"waits: {name}: {reason}\n")
    return 1 if report.refused or report.waiting or summary["lost"] else 0


def _text(report: "BuildReport", summary: dict[str, Any]) -> str:
    rows = {config: sum(splits.values()) for config, splits in summary["rows"].items()}
    lines = [f"films       {summary['films']}", *(f"{config:<11} {count}" for config, count in rows.items())]
    scores = summary["boundaries"]
    if scores is not None and scores["f1"] is not None:
        lines.append(
            f"boundaries  F1 {scores['f1']:.3f} (precision {scores['precision']:.3f}, recall {scores['recall']:.3f}) "
            f"against {scores['num_true']} true ones"
        )
    for name in ("references", "audio", "issues"):
        told = ", ".join(f"{count} {reason}" for reason, count in summary[name].items())
        lines.append(f"{name:<11} {told or 'none'}")
    total = summary["calls"]["total"]
    if total["calls"]:
        tokens = total["prompt_tokens"] + total["output_tokens"]
        asked = f"{total['calls']} ({total['from_cache']} from the cache)"
        lines.append(f"questions   {asked}, {tokens:,} tokens, {total['money']:.2f}")
    run = report.run
    lines.append(f"units       {sum(run.done.values())} done, {run.reused} done before, {run.seconds:.1f} s")
    if summary["stories_without_film"]:
        lost = f"{summary['stories_without_film']:,} stories of the release, with their films"
        lines.append(f"left out    {lost}; `animeshooter ingest` takes annotations without videos")
    if report.dataset is None:
        lines.append(f"waiting     {len(report.waiting)} films; run the same command again to go on")
    else:
        lines.append(f"dataset     {summary['out']}")
    return "\n".join(lines) + "\n"


def _plan_text(plan: "DryRun") -> str:
    lines = [f"films         {plan.films}, {plan.film_hours:.2f} hours"]
    lines += [f"left out      {len(plan.refused)}"] if plan.refused else []
    lines += [f"{stage:<13} {plan.todo[stage]} to do, {plan.done[stage]} done" for stage in plan.todo]
    lines.append(f"decoding      {plan.decode_hours:.3f} core hours")
    for one in plan.questions:
        money = "no price known" if one.money is None else f"{one.money:.2f}"
        tokens = f"{one.prompt_tokens:,} tokens read, {one.output_tokens:,} written"
        lines.append(f"{one.name:<16} {one.calls} questions, {tokens}, {money}")
    known = [one.money for one in plan.questions if one.money is not None]
    if known:
        lines.append(f"money         {sum(known):.2f} (an estimate)")
    return "\n".join(lines) + "\n"
