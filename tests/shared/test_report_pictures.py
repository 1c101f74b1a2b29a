"""Contact sheets and plots show what they are given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.report.plots import plot_boundaries, plot_shot_scores, plot_waveform
from animeshooter_hf.report.sheets import SheetRow, composite_on_white, contact_sheet, save_sheet


def frame(value: int) -> np.ndarray:
    return np.full((36, 64, 3), value, np.uint8)


def test_a_sheet_shows_the_reference_and_evenly_chosen_frames() -> None:
    red = np.zeros((36, 36, 4), np.uint8)
    red[..., 0], red[:18, :, 3] = 255, 255
    row = SheetRow(frames=[frame(value) for value in range(0, 250, 10)], references=[red], title="shot 1", caption="x")
    sheet = np.asarray(contact_sheet([row, row], frame_height=36, columns=3))
    assert (sheet[12 + 9, 12 + 18] == (255, 0, 0)).all()
    assert (sheet[12 + 30, 12 + 18] == (255, 255, 255)).all()
    shown = [int(sheet[12 + 18, 12 + 36 + 18 + 32 + 70 * column, 0]) for column in range(3)]
    assert shown == [0, 120, 240]


def test_a_shot_without_frames_still_has_its_row() -> None:
    assert contact_sheet([SheetRow(frames=[], title="broken")]).height > 100


def test_a_sheet_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([])


def test_transparent_pixels_become_white() -> None:
    image = np.zeros((1, 2, 4), np.uint8)
    image[0, 0] = (10, 20, 30, 255)
    assert composite_on_white(image).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_pictures_are_written(tmp_path: Path) -> None:
    sheet = save_sheet(tmp_path / "a" / "sheet.jpg", [SheetRow(frames=[frame(9)])])
    assert Image.open(sheet).format == "JPEG"
    wave = np.sin(np.arange(44_100) / 9).astype(np.float32)[None]
    plots = [
        plot_shot_scores(tmp_path / "scores.svg", {"one": [0.4, None, 0.6]}, title="t", label="similarity"),
        plot_boundaries(tmp_path / "cuts.svg", [0.0, 3.0, 9.0, 1.0], found=[2], truth=[2], rate=24.0, title="t"),
        plot_waveform(tmp_path / "wave.svg", wave, 44_100, events=[(0.1, 0.2, "step")], title="t"),
    ]
    assert all("<svg" in plot.read_text() for plot in plots)
