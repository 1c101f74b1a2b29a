"""From films to a dataset: run the stages over every film, check all of them together, package.

Each film goes through the stages in a process of its own (`engine/`), and every result has a receipt in the work
folder; so a stopped build takes up where it was, what did not change is not done again, and one bad film harms no
other. What needs all films, duplicates and splits, is done here, from the receipts alone.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from animeshooter_hf._version import __version__
from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.dataset_builder.annotate.accounting import summarise_calls
from animeshooter_hf.dataset_builder.annotate.open_model import ledger_path, open_model
from animeshooter_hf.dataset_builder.annotate.release_annotator import MODEL_NAME as RELEASE
from animeshooter_hf.dataset_builder.annotate.sidecar import read_script, script_path
from animeshooter_hf.dataset_builder.build_report import BuildReport, FilmReceipt
from animeshooter_hf.dataset_builder.build_settings import BuildSettings, make_stages
from animeshooter_hf.dataset_builder.engine.ledger import Ledger, Plan, Unit
from animeshooter_hf.dataset_builder.engine.runner import LocalRunner
from animeshooter_hf.dataset_builder.engine.stage import Item, Stage
from animeshooter_hf.dataset_builder.engine.store import WorkStore
from animeshooter_hf.dataset_builder.package import (
    CardFacts,
    DatasetReport,
    check_out,
    is_dataset_folder,
    read_dataset_report,
    write_dataset,
)
from animeshooter_hf.dataset_builder.quality.all_films import FilmQuality, check_all_films
from animeshooter_hf.dataset_builder.quality.duplicates import HashSequence
from animeshooter_hf.dataset_builder.quality.private_data import redact
from animeshooter_hf.dataset_builder.quality.rights import RightsTable
from animeshooter_hf.dataset_builder.release.film_annotation import count_told
from animeshooter_hf.dataset_builder.scan.boundaries import boundary_scores
from animeshooter_hf.dataset_builder.sources.source import SourceSettings, collect_films
from animeshooter_hf.dataset_builder.staged_media import StagedMedia
from animeshooter_hf.dataset_builder.stages.clips import final_stories
from animeshooter_hf.dataset_builder.stages.looks import read_looks
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story
from animeshooter_hf.takedown import TakedownList, apply_takedown

__all__ = ["FILM_FACTS", "TOON_FACTS", "BuildSettings", "build_dataset", "find_items", "launch_build"]

TOON_FACTS = CardFacts(
    title="AnimeShooter toon stories",
    summary="Stories cut from animated films that were drawn in code, with exact shots, masks, captions and sounds.",
    licence="apache-2.0",
    made_by=(
        "`animeshooter toon` rendered the films and wrote their truth beside them; `animeshooter build` took stories, "
        "captions and masks from there, chose references by the paper's rules, and cut clips and sound."
    ),
    known_gaps=("The films are drawn in code: they are simpler than hand-made animation.",),
    tags=("synthetic",),
)
"""What the card says of films that come with a toon script."""

FILM_FACTS = CardFacts(
    title="Animated stories",
    summary="Stories cut from animated films, with shots, captions, character references and sounds.",
    licence="other",
    made_by=(
        "`animeshooter build` found shot boundaries, asked a model for each story's script, set it to exact frames, "
        "chose references by the paper's rules, and cut clips and sound."
    ),
    known_gaps=(
        "Scripts and sound descriptions were written by a model and not checked by people.",
        "Each film keeps the rights of its owners; what is known of them stands in `manifest.json`.",
    ),
)
"""What the card says of other films."""

RELEASE_FACTS = CardFacts(
    title="AnimeShooter stories, set to frames",
    source_datasets=("extended",),
    summary="Stories of the public AnimeShooter release, their shots set to the exact frames of the films.",
    licence="cc-by-nc-4.0",
    made_by=(
        "`animeshooter build` took storylines, captions, masks and sounds from the release (AnimeShooter, arXiv "
        "2506.03126), found shot boundaries in the films, set the release's times of whole seconds to them, and cut "
        "clips and sound."
    ),
    known_gaps=(
        "Annotations were written by a model and not checked by people.",
        "Stories whose film was not at hand are not here; `build_report.json` counts them.",
        "Each film keeps the rights of its owners; what is known of them stands in `manifest.json`.",
    ),
)
"""What the card says of the films of the public release."""


def find_items(
    specs: Sequence[str | Path], work: Path, settings: BuildSettings, *, progress: bool = True
) -> tuple[list[Item], list[dict[str, Any]]]:
    """Return the films of all sources, brought to this machine where need be, and those that were refused.

    Raises:
        InputError: If a source cannot be used, or none gives a film.
    """
    given = settings.sources
    takedown = TakedownList.read(given.takedown) if given.takedown else TakedownList()
    told = SourceSettings(
        takedown=takedown,
        download=given.download,
        videos=given.videos,
        may_download=given.may_download,
        release_audio=given.release_audio,
    )
    found = collect_films(specs, work / "films", told, progress=progress)
    refused = [_left_out(str(one.path), one.reason, one.num_stories) for one in found.refused]
    items = [Item(id=film.video_id, path=film.path, url=film.url, annotation=film.annotation) for film in found.films]
    return items, refused


def build_dataset(
    specs: Sequence[str | Path],
    out: Path,
    *,
    work: str | Path | None = None,
    settings: BuildSettings | None = None,
    facts: CardFacts | None = None,
    num_workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    stages: Sequence[Stage] | None = None,
) -> BuildReport:
    """Build a dataset of four configs from films, and return what was done.

    Args:
        specs: Films, folders of them, or other sources; see `sources/source.py`.
        out: Folder of the dataset.
        work: Folder or URL of the receipts; `.OUT.work` beside `out` if None.
        settings: Of every stage.
        facts: What the card says beside what the data tell.
        num_workers: Processes, if not those of the settings. It changes no byte.
        overwrite: Replace a dataset of ours.
        progress: Whether to show bars on stderr.
        stages: Other stages than those of the settings, under the same names.

    Raises:
        InputError: If no film can be used, or a folder cannot be written.
        MissingExtraError: If a stage needs an extra that is not installed.
    """
    settings = settings or BuildSettings()
    if num_workers is not None:
        settings = replace(settings, run=replace(settings.run, slots=num_workers))
    out = Path(out)
    check_out(out, overwrite=True)
    store = WorkStore(work or out.with_name(f".{out.name}.work"))
    stages = make_stages(settings) if stages is None else stages
    takedown = TakedownList.read(settings.sources.takedown) if settings.sources.takedown else TakedownList()
    takedown = takedown.merge(TakedownList.read_beside(out))
    rights = RightsTable.read(settings.sources.rights) if settings.sources.rights else RightsTable()
    is_new = not store.folder.exists()
    items, refused = _open(specs, store, settings, progress=progress, is_new=is_new)
    rights = rights.with_films([(item.id, item.path) for item in items])
    plan = Plan.of(stages, items)
    mark = _mark(plan, settings, rights, takedown, facts)
    finished = _finished(out, mark, overwrite=overwrite)
    runner = LocalRunner(stages, store, settings.run)
    run = runner.run(items, progress=progress)
    refused += _stopped(items, {**run.dropped, **run.quarantined})
    receipts = _receipts(runner.ledger, plan, items)
    if not receipts and not run.waiting:
        if is_new and not run.quarantined and not run.done.get("clips"):
            shutil.rmtree(store.folder, ignore_errors=True)
        raise InputError(refused[0]["reason"] if refused else "The films tell no story that holds.")
    report = BuildReport(
        dataset=None, films=receipts, refused=refused, waiting=run.waiting, run=run, calls=_calls(store)
    )
    if run.waiting:
        return report
    checked = check_all_films([_quality(one, rights, store) for one in receipts], settings.quality)
    kept = [one for one in receipts if one.video_id not in checked.dropped]
    names = sorted(one.video_id for one in receipts)
    # A film that was in quarantine then may be there now: the same build goes on, and its dataset is replaced.
    dataset = finished if finished is not None and finished.provenance.get("films") == names else None
    is_written = dataset is None
    if dataset is None:
        dataset = write_dataset(
            out,
            apply_takedown(checked.stories, takedown).kept,
            media=StagedMedia(
                _clip_files(kept), store.fetch, clean=redact if settings.quality.private_data == "redact" else None
            ),
            splits=settings.splits,
            groups=checked.groups,
            facts=facts or _facts(kept),
            rights={one.video_id: rights.of(one.video_id) for one in kept},
            provenance={**_provenance(settings, stages, kept), "mark": mark, "films": names},
            takedown=takedown,
            overwrite=overwrite or finished is not None,
            progress=progress,
        )
    skipped = [tuple(pair) for one in kept for pair in one.outputs["clips"]["skipped"]]
    return replace(
        report,
        dataset=replace(dataset, skipped=[*dataset.skipped, *skipped]),
        is_new=is_written,
        films=kept,
        refused=[*refused, *_stopped(items, checked.dropped)],
        quality=checked.to_json(),
        statistics=checked.statistics,
    )


def _open(
    specs: Sequence[str | Path], store: WorkStore, settings: BuildSettings, *, progress: bool, is_new: bool
) -> tuple[list[Item], list[dict[str, str]]]:
    """Return the films and those refused; a work folder that was made for nothing is taken away again."""
    _make_folder(store.folder)
    try:
        if settings.annotator.model is not None:
            # A missing key or package is said now, and not by every worker.
            open_model(settings.annotator.model, store.folder)
        return find_items(specs, store.folder, settings, progress=progress)
    except (InputError, ImportError):
        if is_new:
            shutil.rmtree(store.folder, ignore_errors=True)
        raise


def _mark(
    plan: Plan, settings: BuildSettings, rights: RightsTable, takedown: TakedownList, facts: CardFacts | None
) -> str:
    """Return a hash of everything that the packaged dataset depends on."""
    told = [
        [[item, list(keys.values())] for item, keys in plan.keys.items()],
        settings_to_json(settings.quality),
        settings_to_json(settings.splits),
        [rights.of(item).to_row() for item in plan.keys],
        takedown.fingerprint(),
        None if facts is None else settings_to_json(facts),
        __version__,
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _finished(out: Path, mark: str, *, overwrite: bool) -> DatasetReport | None:
    """Return the dataset that stands in OUT already if it is the very one that would be built.

    Raises:
        InputError: If another one stands there, and it is not to be replaced.
    """
    if not is_dataset_folder(out):
        return None
    known = read_dataset_report(out)
    if known.provenance.get("mark") == mark:
        return known
    check_out(out, overwrite=overwrite)
    return None


def _stopped(items: Sequence[Item], reasons: Mapping[str, str]) -> list[dict[str, str]]:
    by_id = {item.id: item for item in items}
    return [_film_left_out(by_id[name], reason) for name, reason in reasons.items()]


def _clip_files(films: Sequence[FilmReceipt]) -> dict[str, Mapping[str, str]]:
    """Return film -> config -> staged file."""
    return {film.video_id: film.outputs["clips"]["files"] for film in films if film.outputs["clips"]["files"]}


def launch_build(
    specs: Sequence[str | Path],
    work: str | Path,
    settings: BuildSettings,
    *,
    launcher: str,
    ranks: int,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> None:
    """Let an engine run the stages; `build_dataset` with the same work folder then finds the receipts and packages.

    Args:
        specs: See `build_dataset`; every rank must see the files under the same paths.
        work: Folder or URL that all ranks share.
        settings: Of every stage.
        launcher: One of `engine.scale.LAUNCHERS`.
        ranks: Number of tasks; each runs `settings.run.slots` processes.
        options: Arguments of datatrove's executor.
        progress: Whether to show bars on stderr.

    Raises:
        InputError: If no film can be used, or the launcher refuses its options.
        MissingExtraError: If datatrove is not installed.
    """
    from animeshooter_hf.dataset_builder.engine.scale import BuildRank, launch

    store = WorkStore(work)
    _make_folder(store.folder)
    items, _ = find_items(specs, store.folder, settings, progress=progress)
    rank = BuildRank(stages=tuple(make_stages(settings)), root=store.root, settings=settings.run, items=tuple(items))
    launch(rank, launcher=launcher, ranks=ranks, options=options)


def _calls(store: WorkStore) -> dict[str, Any]:
    """Return the totals of all questions that were ever asked from the work folder."""
    summary = summarise_calls(ledger_path(store.folder))
    by_question = [
        {"question": question, "outcome": outcome, **asdict(totals)}
        for (question, outcome), totals in summary.by_question_and_outcome.items()
    ]
    return {"total": asdict(summary.total), "by_question": by_question}


def _facts(films: Sequence[FilmReceipt]) -> CardFacts:
    if all(film.outputs["script"]["answers"]["models"] == [RELEASE] for film in films):
        return RELEASE_FACTS
    return TOON_FACTS if all(film.truth is not None for film in films) else FILM_FACTS


def _film_left_out(item: Item, reason: str) -> dict[str, Any]:
    return _left_out(str(item.path), reason, 0 if item.annotation is None else count_told(item.annotation))


def _left_out(film: str, reason: str, num_stories: int) -> dict[str, Any]:
    """Return what the report says of a film that is left out, and with how many stories of a release."""
    return {"film": film, "reason": reason, **({"stories": num_stories} if num_stories else {})}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from error


def _receipts(ledger: Ledger, plan: Plan, items: Sequence[Item]) -> list[FilmReceipt]:
    """Return the films of which every stage is done, from their receipts."""
    found: list[FilmReceipt] = []
    for item in items:
        outputs: dict[str, Mapping[str, Any]] = {}
        seconds = 0.0
        for stage, key in plan.keys[item.id].items():
            receipt = ledger.receipt(Unit(stage, item.id, key))
            if receipt is None or receipt["outcome"] != "ok":
                break
            outputs[stage] = receipt["output"]
            seconds += receipt["seconds"]
        else:
            found.append(
                _against_truth(
                    FilmReceipt(video_id=item.id, path=item.path, url=item.url, outputs=outputs, seconds=seconds)
                )
            )
    return found


def _against_truth(film: FilmReceipt) -> FilmReceipt:
    """Return the receipt with the found boundaries held against the true ones, if the film's script knows them."""
    path = film.path
    try:
        entries = read_script(script_path(path)).get("boundaries") if script_path(path).is_file() else None
    except InputError:
        entries = None
    if entries is None:
        return film
    truth = tuple(_boundary(entry) for entry in entries)
    scores = boundary_scores([one[0] for one in film.outputs["scan"]["boundaries"]], [one[:2] for one in truth])
    return replace(film, truth=truth, scores=scores)


def _boundary(entry: Mapping[str, Any]) -> tuple[int, int, str]:
    """Return (first, last, kind): the frame of a cut, or the frames that a transition touches."""
    frame = int(entry["frame"])
    if entry["kind"] == "cut":
        return frame, frame, "cut"
    return int(entry["start_frame"]), int(entry["end_frame"]), str(entry["kind"])


def _quality(film: FilmReceipt, rights: RightsTable, store: WorkStore) -> FilmQuality:
    scan, looks = film.outputs["scan"], film.outputs.get("looks")
    return FilmQuality(
        video_id=film.video_id,
        stories=tuple(_with_admission(story, film, rights) for story in final_stories(film.outputs)),
        hashes=HashSequence.from_json(scan["hashes"]),
        seconds=scan["seconds"],
        rights=rights.of(film.video_id),
        looks=() if looks is None else read_looks(looks, store.fetch(looks["looks"]) if looks["looks"] else None),
    )


def _with_admission(story: Story, film: FilmReceipt, rights: RightsTable) -> Story:
    """Return a story with where its film is from, what may be done with it, and for whom it is fit."""
    known = rights.of(film.video_id)
    rating = film.outputs["admit"].get("rating")
    return replace(
        story,
        url=story.url or film.url or known.source_url,
        license=known.license,
        rating=None if rating == "unknown" else rating,
    )


def _provenance(settings: BuildSettings, stages: Sequence[Stage], films: Sequence[FilmReceipt]) -> dict[str, Any]:
    """Return by what the dataset was made: versions, settings, prompts, models and detectors."""
    told = {stage.name: {"version": stage.version, "settings": stage.settings_key()} for stage in stages}
    answers = [film.outputs[name].get("answers") for film in films for name in ("script", "references", "audio")]
    return {
        "tool": f"animeshooter-hf {__version__}",
        "stages": told,
        "settings_sha256": hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest(),
        "models": sorted({model for one in answers if one for model in one["models"]}),
        "detectors": sorted({film.outputs["scan"]["detector"] for film in films}),
    }
