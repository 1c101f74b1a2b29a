"""The page of a build shows what was found, kept and left out, works from disk, and can be read without seeing it."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import ReferenceMask, Story
from animeshooter_hf.report.build_page import (
    BuildPageData,
    BuildPageSettings,
    Candidate,
    FilmPage,
    ModelCalls,
    Stretch,
    Transition,
    write_build_page,
)
from animeshooter_hf.report.page import Figure, Section, table, text
from animeshooter_hf.report.sheets import MASK_COLOURS, Tile, overlay_masks, tile_grid
from animeshooter_hf.statistics import StoryCounter
from animeshooter_hf.toon.film import ToonFilm
from animeshooter_hf.toon.script import render_film, script_path
from animeshooter_hf.toon.settings import FilmSettings

RATE = Fraction(12)


class ScriptMasks:
    """The masks of a film's script."""

    def __init__(self, masks: Mapping[str, Any]) -> None:
        self._masks = masks

    def mask_at(self, character_id: str, frame: int) -> RleMask | None:
        for start, end, number in self._masks[character_id]["spans"]:
            if start <= frame < end:
                rle = self._masks[character_id]["rle"][number]
                return RleMask(*rle["size"], rle["counts"])
        return None


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> FilmPage:
    """A rendered film and what a build would say of it, taken from its script."""
    settings = FilmSettings(width=160, height=90, seconds=12, frame_rate=RATE, mean_shot_seconds=3)
    path = render_film(ToonFilm.from_seed(61, settings), tmp_path_factory.mktemp("film") / "toon.mp4")
    script = json.loads(script_path(path).read_text())
    masks = ScriptMasks(script["masks"])
    (story,) = [Story.from_json(row) for row in script["stories"]]
    name = story.characters[0].id
    seen = [frame for frame in range(0, script["num_frames"], 12) if masks.mask_at(name, frame) is not None]
    candidates = [
        Candidate(story_id=story.story_id, character_id=name, frame_index=frame, reason=reason, area=0.1,
                  mask=masks.mask_at(name, frame))
        for frame, reason in zip(seen, ["too_small", None, "refused"] * 9, strict=False)
    ]  # fmt: skip
    references = [
        ReferenceMask(character_id=name, frame_index=one.frame_index, mask=one.mask)
        for one in candidates if one.reason is None
    ]  # fmt: skip
    truth = [
        Transition(frame=one["frame"], start_frame=one["start_frame"], end_frame=one["end_frame"], kind=one["kind"])
        for one in script["boundaries"]
    ]
    return FilmPage(
        video_id=script["film_id"], path=path, frame_rate=RATE, num_frames=script["num_frames"],
        stories=[replace(story, references=references)], curve=np.linspace(0, 9, script["num_frames"]).tolist(),
        found=truth[:-1], truth=truth, masks=masks, candidates=candidates, problems={"time_snapped": 4},
        process_seconds=1.25, sounds={"speech": [Stretch(1.0, 2.5)], "effects": [Stretch(3.0, 4.0, "bell")]},
    )  # fmt: skip


class Page(HTMLParser):
    """What a browser would find on a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.html = path.read_text(encoding="utf-8")
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))
        self.links += [value for name, value in attrs if name in ("src", "href") and value]

    def cells(self, first: str) -> list[str]:
        """Return the cells of the first table row that begins with a text."""
        rows = re.findall(r"<tr>(.*?)</tr>", self.html, re.DOTALL)
        told = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
        return next(cells for cells in told if cells and cells[0] == first)


@pytest.fixture(scope="module")
def page(film: FilmPage, tmp_path_factory: pytest.TempPathFactory) -> Page:
    build = BuildPageData(
        films=[film, FilmPage(video_id="broken", left_out="decode_failed: frame 9")],
        statistics=StoryCounter.count(film.stories),
        reasons={"references": {"kept": 3, "too_small": 7}, "audio": {}},
        calls=[ModelCalls(question="script", model="stub", calls=1200, failed=1, prompt_tokens=99, money=0.5)],
        figures=[Figure("0.97", "F1 of shot boundaries")],
        warnings=["The captions are toy captions."],
        sections=[Section("Duplicates", [text("None were found.")])],
    )
    return Page(write_build_page(tmp_path_factory.mktemp("out"), build))


def test_the_page_stands_where_it_should_and_needs_nothing_but_its_folder(page: Page) -> None:
    assert page.path.parts[-2:] == ("report", "index.html")
    for link in page.links:
        assert link.startswith("#") or (page.path.parent / link).is_file(), link
    assert "<script" not in page.html
    assert "http" not in page.html


def test_every_picture_says_in_words_what_it_shows(page: Page, film: FilmPage) -> None:
    words = [image["alt"] or "" for image in page.images]
    assert len(words) == 5
    assert all(len(alt) > 30 for alt in words)
    assert any("Found: " in alt and "True: " in alt for alt in words)
    assert any("speech: 1 (1.5 s)" in alt for alt in words)
    assert any("too small" in alt and "kept" in alt for alt in words)
    assert any(film.stories[0].characters[0].id in alt for alt in words)


def test_captions_stand_on_the_page_as_text(page: Page, film: FilmPage) -> None:
    for shot in film.stories[0].shots:
        assert (shot.narrative_caption or "").replace("'", "&#39;") in page.html


def test_films_reasons_calls_and_figures_are_told(page: Page, film: FilmPage) -> None:
    shots = film.stories[0].shots
    cells = page.cells(film.video_id)
    assert cells[1:5] == ["in the dataset", "0 min 12 s", "1", str(len(shots))]
    assert cells[7:] == ["time snapped 4", "1.2"]
    assert page.cells("broken")[1:3] == ["left out: decode_failed: frame 9", "–"]
    assert page.cells("too small") == ["too small", "7"]
    assert page.cells("script")[2:] == ["1,200", "0", "1", "99", "0", "0.5000"]
    assert page.cells("shots")[1:3] == [str(len(shots)), "2,200,000"]
    for part in ("1 of 2", "0.97", "toy captions", "decode failed (1)", "None were found."):
        assert part in page.html


def test_a_film_whose_file_is_gone_is_shown_without_pictures(film: FilmPage, tmp_path: Path) -> None:
    lost = replace(film, path=tmp_path / "gone.mp4")
    page = Page(write_build_page(tmp_path / "out", BuildPageData(films=[lost, replace(film, path=None, curve=())])))
    assert page.cells(film.video_id)[1] == "in the dataset"
    assert not any("Waveform" in (image["alt"] or "") for image in page.images)


def test_names_from_outside_become_neither_markup_nor_paths(film: FilmPage, tmp_path: Path) -> None:
    strange = replace(film, video_id="../../<script>alert(1)</script>")
    page = Page(write_build_page(tmp_path / "out", BuildPageData(films=[strange])))
    assert "<script" not in page.html
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report"]


def test_a_build_of_nothing_has_a_page_too(tmp_path: Path) -> None:
    page = Page(write_build_page(tmp_path, BuildPageData(films=[], statistics=StoryCounter.count([]))))
    assert "0 of 0" in page.html
    assert page.images == []


def test_pictures_of_an_earlier_page_are_gone(film: FilmPage, tmp_path: Path) -> None:
    old = tmp_path / "report" / "pictures" / "film-9" / "old.jpg"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    write_build_page(tmp_path, BuildPageData(films=[]))
    assert not old.exists()


def test_long_lists_are_cut_and_the_page_says_so(film: FilmPage, tmp_path: Path) -> None:
    films = [replace(film, video_id=f"film {number}", path=None, curve=()) for number in range(5)]
    films.append(FilmPage(video_id="left", left_out="too_long"))
    settings = BuildPageSettings(pictured_films=1, films_in_table=3, shots_per_story=2)
    page = Page(write_build_page(tmp_path, BuildPageData(films=films), settings))
    assert page.cells("left")[1] == "left out: too_long"
    assert "3 more films are not shown" in page.html
    assert page.html.count("<h2") == 3
    assert f"The other {len(film.stories[0].shots) - 2} shots are not shown" in page.html


def test_without_masks_of_all_frames_those_of_the_references_are_shown(film: FilmPage, tmp_path: Path) -> None:
    bare = replace(film, masks=None, stories=[replace(film.stories[0], references=())])
    sheets = []
    for number, one in enumerate(replace(one, curve=()) for one in (bare, replace(film, masks=None), film)):
        write_build_page(tmp_path / str(number), BuildPageData(films=[one]))
        path = tmp_path / str(number) / "report" / "pictures" / "film-0" / "story-0.jpg"
        sheets.append(np.asarray(Image.open(path), np.int16))
    changed = [int((np.abs(sheet - sheets[0]).max(axis=2) > 40).sum()) for sheet in sheets]
    assert 0 == changed[0] < changed[1] < changed[2]


def test_a_mask_is_laid_over_its_pixels_in_its_colour_with_its_name() -> None:
    image = np.full((90, 160, 3), 200, np.uint8)
    mask = np.zeros((90, 160), bool)
    mask[40:80, 30:70] = True
    shown = overlay_masks(image, [("Mia", 1, mask)], height=180)
    assert shown.shape == (180, 320, 3)
    assert shown[120, 100].tolist() == [int(0.6 * 200 + 0.4 * channel) for channel in MASK_COLOURS[1]]
    assert shown[80, 100].tolist() == list(MASK_COLOURS[1])
    assert shown[20, 300].tolist() == [200, 200, 200]
    assert (shown[60:80] == MASK_COLOURS[1]).all(axis=2).sum() > 100
    empty = overlay_masks(image, [("Mia", 1, np.zeros((90, 160), bool))], height=90)
    assert (empty == 200).all()


def test_names_of_masks_at_one_place_do_not_cover_each_other() -> None:
    mask = np.zeros((90, 160), bool)
    mask[40:80, 60:100] = True
    shown = overlay_masks(np.zeros((90, 160, 3), np.uint8), [("Mia", 0, mask), ("Tom", 1, mask)], height=90)
    labels = [np.flatnonzero((shown == colour).all(axis=2).sum(axis=1) > 8) for colour in MASK_COLOURS[:2]]
    assert labels[0].min() < labels[1].min()


def test_every_reason_is_seen_in_the_grid(film: FilmPage, tmp_path: Path) -> None:
    many = [replace(film.candidates[0], reason=None)] * 40 + [replace(film.candidates[0], reason="too_large")]
    page = Page(write_build_page(tmp_path, BuildPageData(films=[replace(film, candidates=many)])))
    assert any("24 of 41" in (image["alt"] or "") and "too large 1" in (image["alt"] or "") for image in page.images)


def test_a_grid_shows_kept_in_green_rejected_in_red_and_bears_a_missing_picture() -> None:
    grey = np.full((20, 30, 3), 128, np.uint8)
    tiles = [
        Tile(image=grey, lines=["kept"], is_good=True),
        Tile(image=None, lines=["a reason that is far too long for the width of a tile"], is_good=False),
    ]
    grid = np.asarray(tile_grid(tiles, size=60))
    left, right = grid[12, 48], grid[12, 48 + 72]
    assert left[1] > left[0]
    assert right[0] > right[1]
    with pytest.raises(ValueError, match="at least one tile"):
        tile_grid([])


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        BuildPageSettings(pictured_films=-1)
    with pytest.raises(ValueError, match="must be positive"):
        BuildPageSettings(films_in_table=0)


def test_columns_of_words_are_told_from_columns_of_numbers() -> None:
    block = table(["a", "b", "c"], [["x", 1, None], ["y", "0.00–2.96", None]])
    assert block.word_columns == [0]
