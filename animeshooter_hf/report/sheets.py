"""Contact sheets: a row per shot, the reference at the left, frames of the shot beside it, the caption below."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = [
    "MASK_COLOURS",
    "SheetRow",
    "Tile",
    "composite_on_white",
    "contact_sheet",
    "overlay_masks",
    "save_sheet",
    "tile_grid",
]

_GAP, _MARGIN = 6, 12
MASK_COLOURS = ((214, 60, 90), (40, 110, 200), (240, 160, 20), (130, 80, 170), (30, 150, 110), (150, 90, 40))
"""Colours of characters, in the order in which their story names them."""

_KEPT, _REJECTED = (46, 147, 60), (180, 40, 60)
_INK, _FAINT, _PAPER = (33, 37, 41), (108, 117, 125), (255, 255, 255)


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetRow:
    """One row of a contact sheet."""

    frames: Sequence[NDArray[np.uint8]]
    """Frames of the shot, each of shape (height, width, 3), RGB; empty if it could not be read."""

    title: str = ""
    """Line in bold, such as the shot's number and scores."""

    caption: str = ""
    """Text below it."""

    references: Sequence[NDArray[np.uint8]] = field(default_factory=tuple)
    """References of those who appear, each (height, width, 3 or 4)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One picture of a grid."""

    image: NDArray[np.uint8] | None
    """Shape (height, width, 3 or 4); None if there is nothing to show."""

    lines: Sequence[str]
    """What stands below it; what does not fit is cut off."""

    is_good: bool
    """Whether its frame is green; otherwise red and thin. The lines say it in words too."""


def overlay_masks(
    image: NDArray[np.uint8], masks: Sequence[tuple[str, int, NDArray[np.bool_]]], *, height: int
) -> NDArray[np.uint8]:
    """Return a picture of a height, with masks laid over it in colours and each one's name at its top.

    Args:
        image: Shape (height, width, 3), RGB.
        masks: (name, number of its colour, mask of the picture's shape); a mask of another shape is scaled to it.
        height: Of the result, in pixels.
    """
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    picture = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.LANCZOS)
    shown = np.asarray(picture, np.float32).copy()
    labels: list[tuple[str, tuple[int, int, int], int, int]] = []
    for name, number, mask in masks:
        inside = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
        if not inside.any():
            continue
        colour = MASK_COLOURS[number % len(MASK_COLOURS)]
        padded = np.pad(inside, 1)
        edge = inside & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
        shown[inside] = 0.6 * shown[inside] + 0.4 * np.array(colour)
        shown[edge] = colour
        rows, columns = np.nonzero(inside)
        labels.append((name, colour, int(columns.mean()), int(rows.min())))
    canvas = Image.fromarray(shown.astype(np.uint8))
    draw, font = ImageDraw.Draw(canvas), _font(max(10, height // 13))
    taken: list[tuple[float, float, float, float]] = []
    for name, colour, middle, top in labels:
        box = draw.textbbox((0, 0), name, font=font)
        wide, tall = box[2] + 6, box[3] + 4
        left = min(max(0, middle - wide // 2), max(0, width - wide))
        upper = max(0, top - tall)
        while any(left < r and left + wide > x and upper < b and upper + tall > y for x, y, r, b in taken):
            upper += tall
        taken.append((left, upper, left + wide, upper + tall))
        draw.rectangle((left, upper, left + wide - 1, upper + tall - 1), fill=colour)
        draw.text((left + 3, upper + 1), name, fill=_PAPER, font=font)
    return np.asarray(canvas)


def tile_grid(tiles: Sequence[Tile], *, columns: int = 6, size: int = 132) -> Image.Image:
    """Return pictures as a grid of squares, each with its lines below.

    Raises:
        ValueError: If there is no picture.
    """
    if not tiles:
        raise ValueError("A grid needs at least one tile.")
    font = _font(12)
    columns = min(columns, len(tiles))
    text_height = 15 * max(len(tile.lines) for tile in tiles) + 4
    cell_width, cell_height = size + 2 * _GAP, size + text_height + 2 * _GAP
    lines = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * cell_width + 2 * _MARGIN, lines * cell_height + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        left = _MARGIN + number % columns * cell_width + _GAP
        top = _MARGIN + number // columns * cell_height
        if tile.image is None:
            draw.text((left + 8, top + size // 2 - 8), "no picture", fill=_FAINT, font=font)
        else:
            picture = Image.fromarray(composite_on_white(tile.image))
            picture.thumbnail((size - 6, size - 6), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + (size - picture.width) // 2, top + (size - picture.height) // 2))
        colour = _KEPT if tile.is_good else _REJECTED
        draw.rectangle((left, top, left + size - 1, top + size - 1), outline=colour, width=3 if tile.is_good else 1)
        for line, words in enumerate(tile.lines):
            fill = colour if line == 0 else _INK
            draw.text((left, top + size + 2 + 15 * line), _shortened(words, font, size), fill=fill, font=font)
    return sheet


def contact_sheet(rows: Sequence[SheetRow], *, frame_height: int = 110, columns: int = 5) -> Image.Image:
    """Return one picture with a row per shot.

    Args:
        rows: What to show.
        frame_height: Height of each frame, in pixels.
        columns: Frames a row; more are left out, evenly.

    Raises:
        ValueError: If there is no row.
    """
    if not rows:
        raise ValueError("A contact sheet needs at least one row.")
    font, small = _font(14), _font(12)
    built = [_row(row, frame_height, columns, font, small) for row in rows]
    width = max(image.width for image in built) + 2 * _MARGIN
    height = sum(image.height for image in built) + _GAP * (len(built) - 1) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    top = _MARGIN
    for image in built:
        sheet.paste(image, (_MARGIN, top))
        top += image.height + _GAP
    return sheet


def save_sheet(path: Path, rows: Sequence[SheetRow], *, frame_height: int = 110, columns: int = 5) -> Path:
    """Write a contact sheet as JPEG and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, frame_height=frame_height, columns=columns).save(path, quality=88)
    return path


def composite_on_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGB of shape (height, width, 3); where an RGBA picture is transparent, it becomes white."""
    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:].astype(np.float32) / 255
    return np.rint(image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _row(
    row: SheetRow, frame_height: int, columns: int, font: ImageFont.FreeTypeFont, small: ImageFont.FreeTypeFont
) -> Image.Image:
    picks = np.unique(np.linspace(0, len(row.frames) - 1, min(columns, len(row.frames))).round().astype(int))
    references = [_fit(composite_on_white(image), frame_height) for image in row.references[:3]]
    frames = [_fit(row.frames[pick], frame_height) for pick in picks] if len(row.frames) else []
    pictures = [*references, *frames]
    width = max(sum(picture.width for picture in pictures) + _GAP * len(pictures), 560)
    lines = textwrap.wrap(row.caption, width=max(60, width // 7))[:2]
    canvas = Image.new("RGB", (width, frame_height + 20 + 15 * len(lines) + 6), _PAPER)
    draw = ImageDraw.Draw(canvas)
    left = 0
    for number, picture in enumerate(pictures):
        canvas.paste(picture, (left, 0))
        if number < len(references):
            draw.rectangle((left, 0, left + picture.width - 1, frame_height - 1), outline=_FAINT)
        left += picture.width + (3 * _GAP if number == len(references) - 1 else _GAP)
    if not frames:
        draw.text((left, frame_height // 2 - 8), "no frames could be read", fill=_FAINT, font=small)
    draw.text((0, frame_height + 3), row.title, fill=_INK, font=font)
    for number, line in enumerate(lines):
        draw.text((0, frame_height + 20 + 15 * number), line, fill=_FAINT, font=small)
    return canvas


def _shortened(words: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    while words and font.getlength(words) > room:
        words = words[:-2].rstrip("…") + "…" if len(words) > 2 else ""
    return words


def _fit(image: NDArray[np.uint8], height: int) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(image))
    width = max(1, round(picture.width * height / picture.height))
    enlarging = height > picture.height
    return picture.resize((width, height), Image.Resampling.NEAREST if enlarging else Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, so no text can be drawn.")
    return font
