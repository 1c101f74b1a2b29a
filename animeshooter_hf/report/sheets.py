"""Contact sheets: a row per shot, the reference at the left, frames of the shot beside it, the caption below."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["SheetRow", "composite_on_white", "contact_sheet", "save_sheet"]

_GAP, _MARGIN = 6, 12
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
