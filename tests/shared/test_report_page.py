"""The report's page shows its parts, escapes what it is given, and is written whole."""

from pathlib import Path

import pytest

from animeshooter_hf.report.page import (
    Figure,
    Player,
    Section,
    code,
    picture,
    players,
    table,
    text,
    warning,
    write_page,
)


def test_the_page_shows_every_kind_of_block(tmp_path: Path) -> None:
    blocks = [
        text("a paragraph"),
        warning("random weights"),
        code("animeshooter demo"),
        picture("report/a.jpg", "a sheet"),
        players([Player("generated/shot.mp4", "shot 1")]),
        table(["story", "mean"], [["one", 0.5], ["two", None]], "a note"),
    ]
    page = write_page(
        tmp_path / "index.html",
        title="Demo",
        subtitle="of everything",
        headline=[Figure("0.93", "AUC")],
        sections=[Section("The scores", blocks)],
    )
    html = page.read_text()
    for part in ("a paragraph", 'src="report/a.jpg"', "<video src=", "<td>0.500</td>", "<td>–</td>", 'id="the-scores"'):
        assert part in html
    assert [item.name for item in tmp_path.iterdir()] == ["index.html"]


def test_text_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    section = Section("s", [text("<script>alert(1)</script>")])
    page = write_page(tmp_path / "index.html", title="t", subtitle="", headline=[], sections=[section])
    assert "<script>" not in page.read_text()


def test_a_row_that_does_not_fit_its_table_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells"):
        table(["a"], [["b", "c"]])
