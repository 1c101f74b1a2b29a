"""Read the characters of a benchmark from a folder of reference pictures.

    REFERENCES/about.yaml            license, source, attribution of all that says nothing else (optional)
    REFERENCES/NAME.png              one picture of the character NAME; NAME_ref.png too, as in the paper's demos
    REFERENCES/NAME/*.png            several pictures of one character
    REFERENCES/NAME/about.yaml       its own name, appearance, license, source, attribution (optional; or about.json)
    REFERENCES/NAME/clips/*.mp4      clips for training on it (optional), each with a caption in *.txt beside it

Every picture needs a licence. Appearances are told to the writer of stories and stand nowhere in the benchmark.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageOps, UnidentifiedImageError

from animeshooter_hf.cards.hub_vocabulary import LICENCES
from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.bench_records import BenchClip, BenchReference, make_slug
from animeshooter_hf.video import probe

__all__ = ["BenchCharacter", "read_characters"]

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_ABOUT = ("about.yaml", "about.yml", "about.json")
_ABOUT_KEYS = ("name", "appearance", "license", "source", "attribution")


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchCharacter:
    """A character that stories can be about."""

    character_id: str
    """Name in captions."""

    ip_id: str
    """Name in IDs."""

    appearance: str
    """For the writer; "" if unknown."""

    references: tuple[BenchReference, ...]
    """Pictures."""

    clips: tuple[BenchClip, ...] = ()
    """For training."""


def read_characters(folder: str | Path, *, licence: str | None = None) -> list[BenchCharacter]:
    """Return the characters of a folder in the order of their names.

    Args:
        folder: See the top of this file.
        licence: Of everything that says nothing else.

    Raises:
        InputError: If there is none, a picture or a clip cannot be read, or a licence is missing or unknown.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    shared = {**({"license": licence} if licence else {}), **_read_about(folder)}
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            pictures = sorted(one for one in path.iterdir() if one.suffix.lower() in _PICTURES)
            if not pictures:
                raise InputError(f"{path} holds no picture ({', '.join(_PICTURES)}).")
            found.append(_read_character(path.name, pictures, {**shared, **_read_about(path)}, path / "clips"))
        elif path.suffix.lower() in _PICTURES:
            found.append(_read_character(path.stem.removesuffix("_ref"), [path], shared, None))
    if not found:
        raise InputError(f"{folder} holds no references: neither pictures nor folders of pictures.")
    for key in ("ip_id", "character_id"):
        names = [getattr(one, key) for one in found]
        if len(set(names)) != len(names):
            raise InputError(f"Two characters of {folder} are called {max(names, key=names.count)!r}.")
    return found


def _read_character(stem: str, pictures: list[Path], about: Mapping[str, str], clips: Path | None) -> BenchCharacter:
    name, licence = about.get("name", stem), about.get("license")
    if licence is None:
        raise InputError(
            f"The references of {name} have no licence. Say it with --license, or in about.yaml beside them."
        )
    if licence not in LICENCES or licence == "unknown":
        raise InputError(f"The Hub knows no licence {licence!r} (of {name}); such as cc-by-4.0, cc0-1.0 or other.")
    if licence == "other" and not about.get("source"):
        raise InputError(f"The licence 'other' of {name} needs words: say in about.yaml, as source, what may be done.")
    ip_id = make_slug(stem)
    if not ip_id:
        raise InputError(f"The name {stem!r} has no letter or digit that can stand in an ID; rename it.")
    rights = {"license": licence, "source": about.get("source", ""), "attribution": about.get("attribution", "")}
    return BenchCharacter(
        character_id=name,
        ip_id=ip_id,
        appearance=about.get("appearance", ""),
        references=tuple(
            BenchReference(character_id=name, ip_id=ip_id, image=_read_picture(path), **rights) for path in pictures
        ),
        clips=tuple(_read_clips(clips, ip_id, licence)) if clips is not None and clips.is_dir() else (),
    )


def _read_about(folder: Path) -> dict[str, str]:
    """Return what a folder says about its pictures."""
    path = next((folder / name for name in _ABOUT if (folder / name).is_file()), None)
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        data: Any = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read.") from error
    if not isinstance(data, Mapping) or not all(isinstance(value, str) for value in data.values()):
        raise InputError(f"{path} must hold texts under {', '.join(_ABOUT_KEYS)}.")
    unknown = sorted(set(data) - set(_ABOUT_KEYS))
    if unknown:
        raise InputError(f"Unknown key {unknown[0]!r} in {path}. Known keys: {', '.join(_ABOUT_KEYS)}.")
    return {key: value.strip() for key, value in data.items() if value.strip()}


def _read_picture(path: Path) -> bytes:
    """Return a picture as PNG, upright, with alpha if it has any."""
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            picture = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise InputError(f"{path} is no picture that can be read.") from error
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _read_clips(folder: Path, ip_id: str, licence: str) -> list[BenchClip]:
    clips = []
    for number, path in enumerate(sorted(folder.glob("*.mp4"))):
        probe(path)
        words = path.with_suffix(".txt")
        clips.append(
            BenchClip(
                ip_id=ip_id,
                clip_id=f"{ip_id}_enhance_{number:02d}",
                caption=words.read_text(encoding="utf-8").strip() if words.is_file() else "",
                video=path.read_bytes(),
                license=licence,
            )
        )
    return clips
