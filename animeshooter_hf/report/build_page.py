"""The page of a build: headline figures, the paper's Table 1, every film, reasons counted, and pictures to look at.

In:  records that say what was made of each film (`build_data.py`); the films themselves for pictures.
Out: OUT/report/index.html and its pictures in OUT/report/pictures/. It works from disk, with no network and no script.
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from animeshooter_hf.records import Shot, Story
from animeshooter_hf.report.build_data import (
    BuildPageData,
    BuildPageSettings,
    Candidate,
    FilmMasks,
    FilmPage,
    ModelCalls,
    Stretch,
    Transition,
)
from animeshooter_hf.report.build_pictures import Drawn, draw_boundaries, draw_candidates, draw_sound, draw_story
from animeshooter_hf.report.page import Block, Figure, Section, picture, table, text, warning, write_page
from animeshooter_hf.report.plots import plot_histograms
from animeshooter_hf.statistics import DISTRIBUTIONS, PAPER_TABLE_1, StoryCounter, StoryStatistics

__all__ = [
    "BuildPageData",
    "BuildPageSettings",
    "Candidate",
    "FilmMasks",
    "FilmPage",
    "ModelCalls",
    "Stretch",
    "Transition",
    "write_build_page",
]


def write_build_page(out: Path, build: BuildPageData, settings: BuildPageSettings | None = None) -> Path:
    """Write the page of a build and return its path, OUT/report/index.html.

    A film that cannot be read any more is shown without pictures; nothing else on the page depends on its file.

    Args:
        out: The build's folder; what was in OUT/report/pictures before is removed.
        build: What was made.
        settings: How much is shown.

    Raises:
        MissingExtraError: If matplotlib (extra `report`) is not installed.
    """
    settings = settings or BuildPageSettings()
    report = out / "report"
    pictures = report / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    sections = [_films_section(build.films, settings)]
    if build.statistics is not None:
        sections.insert(0, _statistics_section(build.statistics, pictures, report))
    sections += _reason_sections(build)
    pictured = [film for film in build.films if film.stories][: settings.pictured_films]
    sections += [
        _film_section(film, pictures / f"film-{number}", report, settings) for number, film in enumerate(pictured)
    ]
    sections += build.sections
    first = Section("In short", [*(warning(words) for words in build.warnings), text(_in_short(build))])
    return write_page(
        report / "index.html",
        title=build.title,
        subtitle=build.subtitle,
        headline=[*_headline(build), *build.figures],
        sections=[first, *sections],
    )


def _headline(build: BuildPageData) -> list[Figure]:
    counted = build.statistics or StoryCounter.count(story for film in build.films for story in film.stories)
    kept = sum(film.left_out is None for film in build.films)
    seconds = sum(film.num_frames / film.frame_rate for film in build.films if film.frame_rate and not film.left_out)
    return [
        Figure(f"{kept} of {len(build.films)}", f"films are in the dataset, {_duration(float(seconds))} in all"),
        Figure(f"{counted.counts['stories']:,}", "stories"),
        Figure(f"{counted.counts['shots']:,}", f"shots, {counted.counts['audio_shots']:,} of them with sound"),
        Figure(f"{counted.counts['references']:,}", "reference images"),
    ]


def _in_short(build: BuildPageData) -> str:
    left_out = Counter(_code(film.left_out) for film in build.films if film.left_out)
    told = ", ".join(f"{reason} ({number})" for reason, number in left_out.most_common()) or "none"
    calls = sum(one.calls for one in build.calls)
    money = [one.money for one in build.calls if one.money is not None]
    cost = f"{sum(money):,.2f} {build.currency}" if money else "no known price"
    words = f"Films left out: {told}."
    return f"{words} Calls to models: {calls:,}, {cost}." if build.calls else f"{words} No model was called."


def _statistics_section(counted: StoryStatistics, pictures: Path, report: Path) -> Section:
    rows = []
    for name, paper in PAPER_TABLE_1.items():
        one = counted.distributions.get(name)
        value = counted.value(name)
        rows.append(
            [
                DISTRIBUTIONS.get(name, name),
                _number(value),
                _number(paper),
                *([None] * 4 if one is None else [*map(_number, (one.minimum, one.median, one.maximum)), one.unknown]),
            ]
        )
    blocks: list[Block] = [
        text("The rows of the paper's Table 1, counted here. A value that is not there is unknown, never zero."),
        table(["what", "here (mean)", "paper", "least", "median", "greatest", "unknown"], rows),
    ]
    panels = {DISTRIBUTIONS[name]: one for name, one in counted.distributions.items() if one.known > 1}
    if panels:
        papers = {DISTRIBUTIONS[name]: PAPER_TABLE_1[name] for name in DISTRIBUTIONS if name in PAPER_TABLE_1}
        plot = plot_histograms(pictures / "statistics.svg", panels, papers=papers)
        words = f"Histograms: {', '.join(panels)}. Solid line: mean here; dashed line: mean in the paper."
        blocks.append(_shown(Drawn(plot, words), report))
    if counted.audio_types:
        sounds = [[name, number] for name, number in list(counted.audio_types.items())[:30]]
        blocks.append(table(["kind of sound", "shots"], sounds))
    return Section("Beside the paper's Table 1", blocks)


def _films_section(films: Sequence[FilmPage], settings: BuildPageSettings) -> Section:
    ordered = [film for film in films if film.left_out] + [film for film in films if not film.left_out]
    shown = ordered[: settings.films_in_table]
    rows = []
    for film in shown:
        shots = [shot for story in film.stories for shot in story.shots]
        length = None if film.frame_rate is None else _duration(float(film.num_frames / film.frame_rate))
        rows.append(
            [
                film.video_id,
                "left out: " + film.left_out if film.left_out else "in the dataset",
                length,
                len(film.stories),
                len(shots),
                sum(len(story.references) for story in film.stories),
                sum(shot.audio is not None for shot in shots),
                _counted(film.problems),
                None if film.process_seconds is None else f"{film.process_seconds:.1f}",
            ]
        )
    head = [
        "film",
        "outcome",
        "length",
        "stories",
        "shots",
        "references",
        "with sound",
        "what was odd",
        "seconds taken",
    ]
    missing = len(films) - len(shown)
    note = f"{missing:,} more films are not shown." if missing else ""
    return Section("Films", [table(head, rows, note)])


def _reason_sections(build: BuildPageData) -> list[Section]:
    sections = []
    blocks = [
        table([stage, "number"], [[reason.replace("_", " "), number] for reason, number in _by_number(counts)])
        for stage, counts in build.reasons.items()
        if counts
    ]
    if blocks:
        sections.append(Section("Reasons, counted", blocks))
    if build.calls:
        head = ["question", "model", "calls", "from cache", "failed", "tokens read", "tokens written"]
        rows = [
            [one.question, one.model, *(f"{number:,}" for number in (one.calls, one.from_cache, one.failed)),
             f"{one.prompt_tokens:,}", f"{one.output_tokens:,}", None if one.money is None else f"{one.money:,.4f}"]
            for one in build.calls
        ]  # fmt: skip
        sections.append(Section("Calls to models", [table([*head, build.currency], rows)]))
    return sections


def _film_section(film: FilmPage, pictures: Path, report: Path, settings: BuildPageSettings) -> Section:
    drawn = [draw_boundaries(film, pictures / "boundaries.svg"), draw_sound(film, pictures / "sound.svg")]
    blocks: list[Block] = [_shown(one, report) for one in drawn if one is not None]
    for number, story in enumerate(film.stories[: settings.stories_per_film]):
        sheet = draw_story(film, story, pictures / f"story-{number}.jpg", settings)
        blocks += [text(f"{story.story_id}: {story.storyline or 'no storyline'}"), _shown(sheet, report)]
        blocks.append(_captions(story, settings))
    grid = draw_candidates(film, pictures / "references.jpg", settings)
    if grid is not None:
        blocks.append(_shown(grid, report))
    return Section(f"Film {film.video_id}", blocks)


def _captions(story: Story, settings: BuildPageSettings) -> Block:
    rows = [
        [shot.index + 1, _clock(shot), ", ".join(shot.characters) or None, shot.scene, shot.narrative_caption,
         shot.descriptive_caption, None if shot.audio is None else shot.audio.audio_type]
        for shot in story.shots[: settings.shots_per_story]
    ]  # fmt: skip
    return table(["shot", "seconds", "characters", "scene", "what happens", "what is seen", "sound"], rows)


def _shown(drawn: Drawn, report: Path) -> Block:
    return picture(Path(os.path.relpath(drawn.path, report)).as_posix(), drawn.words)


def _clock(shot: Shot) -> str | None:
    if shot.start_seconds is None or shot.end_seconds is None:
        return None
    return f"{shot.start_seconds:.2f}–{shot.end_seconds:.2f}"


def _code(reason: str | None) -> str:
    """Return the part of a reason by which it is counted: what stands before a colon."""
    return (reason or "").split(":")[0].replace("_", " ")


def _counted(counts: Mapping[str, int]) -> str | None:
    return ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in _by_number(counts)) or None


def _by_number(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _number(value: float | int | None) -> str | None:
    if value is None:
        return None
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
