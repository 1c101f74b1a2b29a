"""The file of one story: everything that its page shows, and the media files that it names.

Clips, pictures and sound are written byte for byte as the dataset holds them; only thumbnails and the outline of a
waveform are made here. The file carries a key of all that went into it, so a second run decodes nothing again.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import StoryItem
from animeshooter_hf.loading.opened_dataset import OpenedDataset
from animeshooter_hf.site.site_folder import SiteFolder, media_digest, media_path, story_path, to_script_json
from animeshooter_hf.video import iter_frames, probe, read_audio

__all__ = ["MEDIA_MODES", "MediaMode", "StoryFile", "write_story_file"]

MediaMode = Literal["copy", "link", "none"]

MEDIA_MODES: dict[MediaMode, str] = {
    "copy": "clips, references and sound become files of the site",
    "link": "pictures only; a shot links to the second of its source video",
    "none": "no pixels and no sound: words, times and masks",
}

_FORMAT = 1
_THUMBNAIL_WIDTH = 320
_THUMBNAIL_FRAME = 12
_NUM_PEAKS = 240
_PEAK_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SOUND_KEYS = (
    "shot_id",
    "start_time",
    "end_time",
    "start_frame",
    "end_frame",
    "audio_type",
    "sound_description",
    "visual_context",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryFile:
    """What was written for a story."""

    data: Mapping[str, Any]
    """What the page gets: `story`, `split`, `clips`, `thumbnails`, `references`, `sounds`, `rights`, `left_out`."""

    is_new: bool
    """Whether anything was made; False where the file of an earlier run still fits."""

    problems: Sequence[str] = ()
    """What could not be decoded, a sentence each."""


@dataclass(slots=True)
class _Media:
    """The bytes of a story's media, by what they are."""

    clips: list[bytes | None] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    sounds: list[dict[str, Any]] = field(default_factory=list)


def write_story_file(
    folder: SiteFolder,
    item: StoryItem,
    dataset: OpenedDataset,
    split: str,
    *,
    media: MediaMode = "copy",
    rights: Mapping[str, Any] | None = None,
    left_out: str | None = None,
) -> StoryFile:
    """Write the file of a story and its media, or keep what an earlier run wrote of the same.

    Args:
        folder: The site.
        item: The story.
        dataset: The tables that hold its media.
        split: Its split.
        media: One of `MEDIA_MODES`.
        rights: What is known of the rights in its video, as plain JSON values.
        left_out: Why its pixels and sound are left out, a sentence for the page; None leaves them in.
    """
    story = item.story.to_json()
    found = _read_media(item, dataset, "none" if left_out else media)
    facts = {"split": split, "story": story, "rights": rights, "left_out": left_out, "media": media}
    key = _key(facts, found)
    path = story_path(item.story.story_id)
    kept = _earlier(folder, path, key)
    if kept is not None:
        return StoryFile(data=kept, is_new=False)
    problems: list[str] = []
    data = {
        "key": key,
        **facts,
        "clips": [folder.write_media(clip, ".mp4") if clip and media == "copy" else None for clip in found.clips],
        "thumbnails": [
            _thumbnail(folder, clip, shot.shot_id, problems) if clip else None
            for clip, shot in zip(found.clips, item.shots, strict=True)
        ],
        "references": [_write_reference(folder, row) for row in found.references],
        "sounds": [_write_sound(folder, row, problems) for row in found.sounds],
        "problems": problems,
    }
    folder.write(path, f"animeshooter.receive({json.dumps(path)},{to_script_json(data)});\n".encode())
    return StoryFile(data=data, is_new=True, problems=problems)


def _read_media(item: StoryItem, dataset: OpenedDataset, media: MediaMode) -> _Media:
    """Return the bytes of a story's media; those that are not to be shown are not read."""
    sounds = _read_rows(dataset, "audio", item.story_id, _SOUND_KEYS, "audio" if media == "copy" else None)
    sounds.sort(key=lambda row: (row["start_frame"] is None, row["start_frame"], row["shot_id"]))
    if media == "none":
        return _Media(clips=[None] * len(item.shots), sounds=sounds)
    references = _read_rows(dataset, "references", item.story_id, ("character_id", "frame_index"), "image")
    return _Media(
        clips=[_clip(item, index) for index in range(len(item.shots))],
        references=[row for row in references if row["bytes"] is not None],
        sounds=sounds,
    )


def _read_rows(
    dataset: OpenedDataset, kind: str, story_id: str, columns: Sequence[str], cell: str | None
) -> list[dict[str, Any]]:
    """Return rows of a story with the bytes of one of their media cells, as the dataset holds them."""
    table = dataset.media_table(kind)
    if table is None:
        return []
    numbers = table.story_rows(story_id)
    present = [name for name in columns if name in table.column_names]
    rows = table.rows(numbers, present)
    return [
        {**dict.fromkeys(columns), **row, "bytes": table.media(number, cell) if cell else None}
        for number, row in zip(numbers, rows, strict=True)
    ]


def _clip(item: StoryItem, index: int) -> bytes | None:
    try:
        return item.clip(index)
    except InputError:
        return None


def _key(facts: Mapping[str, Any], found: _Media) -> str:
    """Return a hash of everything that the file depends on."""

    def named(value: object) -> str:
        return media_digest(value) if isinstance(value, bytes) else repr(value)

    media = [found.clips, found.references, found.sounds]
    text = json.dumps([_FORMAT, facts, media], sort_keys=True, default=named, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _earlier(folder: SiteFolder, path: str, key: str) -> dict[str, Any] | None:
    """Return what an earlier run wrote, if it was made of the same and all its files are there."""
    target = folder.root / path
    head = f"animeshooter.receive({json.dumps(path)},"
    try:
        text = target.read_text(encoding="ascii")
        data = json.loads(text[len(head) :].removesuffix(");\n"))
    except (OSError, ValueError):
        return None
    if not text.startswith(head) or not isinstance(data, dict) or data.get("key") != key or data.get("problems"):
        return None
    paths = [*data["clips"], *data["thumbnails"], *(one["image"] for one in data["references"])]
    paths += [one["file"] for one in data["sounds"]]
    if not all([folder.has(one) for one in paths if one]):  # a list: every file that is there is kept
        return None
    folder.has(path)
    return data


def _thumbnail(folder: SiteFolder, clip: bytes, shot_id: str, problems: list[str]) -> str | None:
    """Write a small picture of a clip, named after the clip, so that it is decoded once; return its path."""
    path = media_path(media_digest(b"thumbnail 1" + clip), ".webp")
    if folder.has(path):
        return path
    try:
        number = min(probe(clip).num_frames // 2, _THUMBNAIL_FRAME)
        frame = next(iter(iter_frames(clip, number, number + 1))).image
    except (InputError, StopIteration):
        problems.append(f"The clip of shot {shot_id} cannot be decoded.")
        return None
    return folder.write(path, _small_picture(frame))


def _small_picture(frame: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(frame)
    width = min(_THUMBNAIL_WIDTH, picture.width)
    picture = picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.BICUBIC)
    written = BytesIO()
    picture.save(written, "WEBP", quality=72, method=4)
    return written.getvalue()


def _write_reference(folder: SiteFolder, row: dict[str, Any]) -> dict[str, Any]:
    data: bytes = row["bytes"]
    with Image.open(BytesIO(data)) as picture:
        size, suffix = list(picture.size), {"JPEG": ".jpg", "WEBP": ".webp"}.get(picture.format or "", ".png")
    return {
        "character_id": row["character_id"],
        "frame_index": row["frame_index"],
        "image": folder.write_media(data, suffix),
        "size": size,
    }


def _write_sound(folder: SiteFolder, row: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """Write the sound of a row of `audio`, if it is to be written, and return the row with its outline."""
    data: bytes | None = row["bytes"]
    described = {**{key: row[key] for key in _SOUND_KEYS}, "file": None, "peaks": "", "seconds": None}
    if data is None:
        return described
    try:
        samples_CT, rate = read_audio(data)
    except InputError:
        problems.append(f"The sound of {row['shot_id']} cannot be decoded.")
        return described
    seconds = round(samples_CT.shape[1] / rate, 4)
    suffix = ".flac" if data[:4] == b"fLaC" else ".wav" if data[:4] == b"RIFF" else ".mp4"
    path = folder.write_media(data, suffix)
    return {**described, "file": path, "peaks": peaks_of(samples_CT), "seconds": seconds}


def peaks_of(samples_CT: NDArray[np.float32]) -> str:
    """Return the outline of a waveform: the loudest sample of up to 240 stretches, a sign each.

    The signs are those of URL-safe base64 and stand for 0 to 63; 63 times the square root of the sample, so that quiet
    sounds can be seen.
    """
    loudness_T = np.abs(samples_CT).max(axis=0) if samples_CT.size else np.zeros(0, np.float32)
    stretches = np.array_split(loudness_T, min(_NUM_PEAKS, max(1, len(loudness_T))))
    levels = (math.sqrt(min(1.0, float(part.max()))) if len(part) else 0.0 for part in stretches)
    return "".join(_PEAK_SIGNS[round(63 * level)] for level in levels)
