"""The page that `animeshooter demo` ends with: what was made, in pictures, players, tables and headline figures.

In:  the folder of a demo; every number is read from a file that another verb has written there.
Out: OUT/index.html, its pictures in OUT/report/, and OUT/figures.json with the headline figures.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.loading import StoryItem, load_stories
from animeshooter_hf.report.character_section import character_section
from animeshooter_hf.report.page import (
    Block,
    Figure,
    Player,
    Section,
    code,
    link,
    picture,
    players,
    table,
    text,
    write_page,
)
from animeshooter_hf.report.plots import plot_boundaries, plot_shot_scores, plot_waveform
from animeshooter_hf.report.sheets import SheetRow, save_sheet
from animeshooter_hf.video import probe, read_audio, read_frames

__all__ = ["write_demo_page"]

_FRAMES = 5
_LOAD = """from datasets import load_dataset

stories = load_dataset("dataset", split="train")
shots = load_dataset("dataset", "shots", split="train", streaming=True)"""


def write_demo_page(out: Path, sample: Path | None = None) -> Path:
    """Write the page of a demo's folder and return its path.

    Args:
        out: The demo's folder.
        sample: Folder with a sample of the public release, if the demo used one.
    """
    build = _read(out / "dataset" / "build_report.json")
    scores = {path.stem: _read(path) for path in sorted((out / "scores").glob("*.json"))}
    scores["films"] = _read(out / "scores" / "films" / "results.json")
    reading = _read(out / "reading.json")
    headline = _headline(build, scores, reading)
    items = list(load_stories(out / "dataset"))
    sections = [_dataset_section(out, items, build), _truth_section(out, items, build)]
    if "demos" in scores and sample is not None:
        sections.append(_demos_section(out, sample / "demos", scores["demos"]))
    sections.append(_films_section(out, scores["films"]))
    sections.append(character_section(out, scores, reading))
    partial = out / ".figures.json.partial"
    figures = [{"value": figure.value, "name": figure.name} for figure in headline]
    partial.write_text(json.dumps({"headline": figures}, indent=1) + "\n", encoding="utf-8")
    partial.replace(out / "figures.json")
    return write_page(
        out / "index.html",
        title="From raw films to a scored story",
        subtitle="Everything on this page was made on this machine, with no download but packages.",
        headline=headline,
        sections=sections,
    )


def _headline(build: dict[str, Any], scores: dict[str, Any], reading: dict[str, Any]) -> list[Figure]:
    figures = []
    if "demos" in scores:
        auc = scores["demos"]["corpus"]["reference_fidelity"]["auc"]["value"]
        figures.append(Figure(_show(auc), "AUC: own reference above the others', on the paper's real demo stories"))
    else:
        auc = scores["films"]["corpus"]["reference_fidelity"].get("auc", {}).get("value")
        figures.append(Figure(_show(auc), "AUC: own reference above the others', on the films' own shots"))
    boundaries = build["boundaries"] or {}
    figures.append(
        Figure(_show(boundaries.get("f1")), f"F1 of shot boundaries against {boundaries.get('num_true', 0)} true ones")
    )
    chance = _show(reading["generated"]["chance"])
    figures.append(
        Figure(_show(reading["generated"]["identity"]), f"identity of a new character by `toon` (guessing: {chance})")
    )
    figures.append(Figure(_show(reading["enhanced"]["identity"]), "the same, enhanced by five clips of the character"))
    return figures


def _dataset_section(out: Path, items: Sequence[StoryItem], build: dict[str, Any]) -> Section:
    loaded = _read(out / "loaded.json")
    rows = [
        [config, sum(entry["rows"].values()), ", ".join(entry["media"]) or "none", len(entry["columns"])]
        for config, entry in loaded.items()
    ]
    blocks: list[Block] = [
        text("The films became a dataset of four configs. Plain load_dataset opened each of them:"),
        table(["config", "rows", "media columns", "columns"], rows),
        code(_LOAD),
    ]
    for item in items[:2]:
        sheet = save_sheet(out / "report" / f"{item.story.story_id}.jpg", [_story_row(item, n) for n in _some(item)])
        blocks.append(text(f"{item.story.story_id}: {item.story.storyline}"))
        blocks.append(picture(_relative(sheet, out), "References of those who appear, then frames of the shot."))
    films = sorted((out / "films").glob("*.mp4"))[:4]
    blocks.append(players([Player(_relative(film, out), film.stem) for film in films]))
    blocks += [
        link("site/index.html", "Browse it: play the stories with captions, masks and sound, and search them"),
        link("dataset/report/index.html", "What the build decided about each film, with pictures"),
        link("dataset/README.md", "The card that it would be published with"),
    ]
    counts = [[reason, number] for reason, number in build["references"].items()]
    blocks.append(table(["reference candidates", "number"], counts, "Rules: AnimeShooter, section 3."))
    return Section("The dataset", blocks)


def _truth_section(out: Path, items: Sequence[StoryItem], build: dict[str, Any]) -> Section:
    receipt = build["receipts"][0]
    truth = receipt["boundaries"]["truth"] or []
    plot = plot_boundaries(
        out / "report" / "boundaries.svg",
        receipt["boundaries"]["curve"],
        found=receipt["boundaries"]["found"],
        truth=[(first + last) // 2 for first, last, _ in truth],
        rate=receipt["num_frames"] / max(1e-9, _seconds(out, receipt)),
        title=f"{receipt['video_id']}: where shots begin",
    )
    blocks: list[Block] = [
        text("Every film has its exact truth beside it, so what the builder finds can be measured."),
        picture(_relative(plot, out), "A boundary is where every frame before differs from every frame after."),
        table(
            ["film", "found", "true", "matched", "F1"],
            [
                [
                    one["video_id"],
                    *(one["boundaries"]["scores"][key] for key in ("num_found", "num_true", "num_matched", "f1")),
                ]
                for one in build["receipts"]
                if one["boundaries"]["scores"]
            ],
        ),
    ]
    film = out / "films" / f"{receipt['video_id']}.mp4"
    script = _read(film.with_name(f"{film.stem}.script.json"))
    events = [(sound["start_seconds"], sound["end_seconds"], sound["kind"]) for sound in script["sounds"]]
    audio, rate = read_audio(film)
    wave = plot_waveform(
        out / "report" / "sound.svg", audio, rate, events=events, title=f"{film.stem}: sound and events"
    )
    blocks.append(picture(_relative(wave, out), "Coloured spans are the true sound events."))
    first = next((reference for item in items for reference in item.references()), None)
    if first is not None:
        blocks.append(_mask_picture(out, first.image, first.mask, first.character_id))
    return Section("Held against the truth", blocks)


def _demos_section(out: Path, demos: Path, scores: dict[str, Any]) -> Section:
    rows = []
    films = []
    for story in scores["stories"]:
        ip, number = story["story_id"].rsplit("_", 1)
        reference = np.asarray(Image.open(demos / f"{ip}_ref.png").convert("RGBA"))
        for shot in (shot for shot in scores["shots"] if shot["story_id"] == story["story_id"]):
            path = demos / ip / f"generated_video_{number}_{shot['shot_index'] + 1}_demo.mp4"
            score = _show(shot["values"].get("reference_fidelity/fidelity"))
            title = f"{story['story_id']} shot {shot['shot_index'] + 1}: fidelity {score}"
            rows.append(SheetRow(frames=_frames(path), references=[reference], title=title, caption=shot["caption"]))
            films.append(path)
    sheet = save_sheet(out / "report" / "demos.jpg", rows)
    return Section(
        "The paper's demo stories",
        [
            text(
                f"Real videos that the paper's model generated: {len(films)} shots, scored with the classical backend."
            ),
            _score_table(scores),
            _score_plot(out, "demos", scores),
            picture(_relative(sheet, out), "Reference beside frames of every shot."),
            text(scores["note"]),
        ],
    )


def _films_section(out: Path, scores: dict[str, Any]) -> Section:
    return Section(
        "The films' own shots",
        [
            text("References are cut from the same story here, so these scores are a ceiling."),
            _score_table(scores),
            _score_plot(out, "films", scores),
            text(
                "Beside them the same stories frozen, repeated and pasted over by the reference: each beats some score "
                "by a trick, and is caught by a control. The films themselves trip the control for pasting, rightly: "
                "their references are cut from these very shots."
            ),
            link("board/index.html", "The board of these systems: intervals, controls, every story with its frames"),
        ],
    )


def _story_row(item: StoryItem, index: int) -> SheetRow:
    shot = item.shots[index]
    references = [next(iter(item.references(name)), None) for name in shot.characters]
    count = item.num_frames(index)
    return SheetRow(
        frames=list(item.sample_frames(index, _evenly(count))),
        references=[_cropped(reference.cutout) for reference in references if reference is not None],
        title=f"shot {index + 1}, {shot.scene or 'no scene'}: {', '.join(shot.characters) or 'nobody'}",
        caption=shot.caption,
    )


def _mask_picture(out: Path, image: NDArray[np.uint8], mask: NDArray[np.bool_], name: str) -> Block:
    shown = image.copy()
    shown[mask] = (0.5 * shown[mask] + 0.5 * np.array([220, 40, 90])).astype(np.uint8)
    path = out / "report" / "mask.jpg"
    Image.fromarray(shown).save(path, quality=90)
    return picture(
        _relative(path, out), f"A reference frame of {name} with its mask, equal to the truth pixel by pixel."
    )


def _score_table(scores: dict[str, Any]) -> Block:
    rows = []
    for story in [*scores["stories"], {"story_id": "corpus", **_corpus(scores)}]:
        fidelity, consistency = story["reference_fidelity"], story["cross_shot_consistency"]
        rows.append(
            [story["story_id"], fidelity["mean"], fidelity["min"], fidelity["harmean_p"], fidelity["within_sd"],
             consistency["pairwise"], consistency["foreground_pairwise"], consistency["background_pairwise"]]
        )  # fmt: skip
    head = ["story", "mean of shots", "worst", "HarMeanP", "spread", "cross-shot", "foreground", "background"]
    coverage = scores["coverage"]
    told = f"{coverage['shots'] - coverage['shots_with_problems']} of {coverage['shots']} shots scored."
    return table(head, rows, f"{told} {'; '.join(scores['signatures'].values())}")


def _corpus(scores: dict[str, Any]) -> dict[str, Any]:
    return {metric: {name: one["value"] for name, one in values.items()} for metric, values in scores["corpus"].items()}


def _score_plot(out: Path, name: str, scores: dict[str, Any]) -> Block:
    series: dict[str, list[float | None]] = {}
    for shot in scores["shots"]:
        series.setdefault(shot["story_id"], []).append(shot["values"].get("reference_fidelity/fidelity"))
    plot = plot_shot_scores(
        out / "report" / f"{name}.svg", series, title="Reference fidelity, shot by shot", label="similarity"
    )
    return picture(_relative(plot, out), "A gap is a shot without a reference, or one that could not be read.")


def _frames(path: Path) -> list[NDArray[np.uint8]]:
    return list(read_frames(path, _evenly(probe(path).num_frames)))


def _evenly(count: int) -> list[int]:
    return sorted({int((number + 0.5) * count / _FRAMES) for number in range(_FRAMES)})


def _some(item: StoryItem) -> list[int]:
    return list(range(min(6, len(item.shots))))


def _cropped(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = np.flatnonzero(cutout[..., 3].any(axis=1)), np.flatnonzero(cutout[..., 3].any(axis=0))
    return cutout[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else cutout


def _seconds(out: Path, receipt: dict[str, Any]) -> float:
    return probe(out / "films" / f"{receipt['video_id']}.mp4").duration_seconds


def _relative(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path, out)).as_posix()


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
