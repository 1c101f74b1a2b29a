"""What is known of the rights in each video, and whether its pixels may be published.

Rights come from what the user states (`rights.csv`, `rights.json`), from the `NAME.info.json` that lies beside a
downloaded film, and from the script of a toon film; what the user states counts most. What is not known is unknown, and
unknown is never permission: IDs, times and words may be published, pixels and sound may not.

This is bookkeeping, not legal advice: the table says who claimed what, where and when.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from animeshooter_hf.errors import InputError
from animeshooter_hf.toon import FilmSettings

__all__ = [
    "BASES",
    "Basis",
    "PixelPolicy",
    "RightsTable",
    "VideoRights",
    "may_publish_pixels",
    "reason_against_pixels",
    "rights_beside",
]

Basis = Literal["owned", "licensed", "public-domain", "cc", "research-exception", "unknown"]
"""`owned`: by whoever builds the dataset. `licensed`: by a contract. `cc`: a Creative Commons licence.
`research-exception`: the law allows copies for research, which is no permission to hand them on."""

BASES: tuple[Basis, ...] = get_args(Basis)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?Z?)?")
_MAX_BYTES = 256 << 20
_ALIASES = {"licence": "license", "url": "source_url", "channel": "author", "id": "video_id"}


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoRights:
    """The rights in one video, as far as they are known."""

    video_id: str
    """The video."""

    license: str | None = None
    """SPDX name, or the source's own words."""

    source_url: str | None = None
    """Where that was read."""

    author: str | None = None
    """Who made or uploaded it: the credit line."""

    retrieved_at: str | None = None
    """Day or UTC time of the look, such as "2026-01-31"."""

    basis: Basis = "unknown"
    """One of `BASES`."""

    redistributable: bool | None = None
    """Whether copies may be handed on; None where nobody knows."""

    def __post_init__(self) -> None:
        if not self.video_id:
            raise ValueError("VideoRights.video_id must not be empty.")
        if self.basis not in BASES:
            raise ValueError(f"basis must be one of {', '.join(BASES)}, got {self.basis!r}.")
        if self.retrieved_at is not None and not _DATE.fullmatch(self.retrieved_at):
            raise ValueError(f"retrieved_at must be a date such as 2026-01-31, got {self.retrieved_at!r}.")
        if self.redistributable and self.basis == "unknown":
            raise ValueError(f"{self.video_id} cannot be redistributable on an unknown basis; name the basis.")

    def to_row(self) -> dict[str, Any]:
        """Return the rights as plain JSON values, every key present."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "VideoRights":
        """Return the rights of a row; a CSV's texts are understood, and empty ones are absent.

        Raises:
            ValueError: If a key is unknown or a value does not fit.
        """
        known = {field.name for field in fields(cls)}
        named = {_ALIASES.get(str(key).strip(), str(key).strip()): value for key, value in row.items()}
        if unknown := sorted(set(named) - known):
            raise ValueError(f"Unknown column {unknown[0]!r}. Known columns: {', '.join(sorted(known))}.")
        values = {key: _text(key, value) for key, value in named.items() if key != "redistributable"}
        present = {key: value for key, value in values.items() if value is not None}
        return cls(**{"video_id": "", **present}, redistributable=_flag(named.get("redistributable")))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class RightsTable:
    """The rights of many videos."""

    rows: Mapping[str, VideoRights] = field(default_factory=dict)
    """Video ID -> its rights."""

    @classmethod
    def read(cls, path: str | Path) -> "RightsTable":
        """Return the table in a `.csv` (a header and a row per video) or `.json` (a list of rows, or ID -> row) file.

        Raises:
            InputError: If it cannot be read, a row does not hold, or a video stands there twice, differently.
        """
        path = Path(path)
        table: dict[str, VideoRights] = {}
        for number, row in _rows(path):
            try:
                rights = VideoRights.from_row(row)
            except ValueError as error:
                raise InputError(f"{path}, row {number}: {error}") from error
            if table.setdefault(rights.video_id, rights) != rights:
                raise InputError(f"{path}, row {number}: {rights.video_id} stands there already, with other rights.")
        return cls(table)

    def of(self, video_id: str) -> VideoRights:
        """Return the rights of a video; unknown ones if the table does not know it."""
        return self.rows.get(video_id) or VideoRights(video_id=video_id)

    def merge(self, other: "RightsTable") -> "RightsTable":
        """Return a table of both; where both know a video, the other one counts."""
        return RightsTable({**self.rows, **other.rows})

    def with_films(self, films: Iterable[tuple[str, Path]]) -> "RightsTable":
        """Return the table filled up with what lies beside films, given as (video ID, file); what it knows stays."""
        beside = {video_id: rights_beside(path, video_id) for video_id, path in films if video_id not in self.rows}
        return RightsTable({**beside, **self.rows})


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelPolicy:
    """Whose pixels and sound may be published."""

    is_allowed: bool = True
    """False: nobody's."""

    bases: tuple[Basis, ...] = ("owned", "licensed", "public-domain", "cc")
    """On these bases. Our choice: an exception for research allows no handing on."""

    def __post_init__(self) -> None:
        for basis in self.bases:
            if basis not in BASES or basis == "unknown":
                allowed = ", ".join(one for one in BASES if one != "unknown")
                raise InputError(f"A basis for publishing pixels must be one of {allowed}, got {basis!r}.")


def may_publish_pixels(rights: VideoRights, policy: PixelPolicy | None = None) -> bool:
    """Return whether frames and sound of a video may be published."""
    return reason_against_pixels(rights, policy) is None


def reason_against_pixels(rights: VideoRights, policy: PixelPolicy | None = None) -> str | None:
    """Return why frames and sound of a video may not be published, in one sentence; None if they may."""
    policy = policy or PixelPolicy()
    if not policy.is_allowed:
        return "The settings allow no pixels to be published."
    if rights.redistributable is not True:
        known = "is not known to be" if rights.redistributable is None else "is not"
        return f"The video {rights.video_id} {known} redistributable."
    if rights.basis not in policy.bases:
        return f"The video {rights.video_id} is held on the basis {rights.basis!r}, which is no permission to publish."
    return None


def rights_beside(film: Path, video_id: str) -> VideoRights:
    """Return the rights that lie beside a film: in its toon script, or in its `NAME.info.json`; unknown ones if none.

    A broken file there says nothing.
    """
    script = _object(film.with_name(f"{film.stem}.script.json"))
    if _is_toon(script):
        return VideoRights(
            video_id=video_id, license="Apache-2.0", author="animeshooter toon", basis="owned", redistributable=True
        )
    info = _object(film.with_name(f"{film.stem}.info.json"))
    said = {key: value for key in info if isinstance(value := info[key], str) and value.strip()}
    basis, redistributable = _read_license(said.get("license"))
    retrieved = said.get("retrieved_at")
    return VideoRights(
        video_id=video_id,
        license=said.get("license"),
        source_url=said.get("webpage_url"),
        author=said.get("channel") or said.get("uploader"),
        retrieved_at=retrieved if retrieved and _DATE.fullmatch(retrieved) else None,
        basis=basis,
        redistributable=redistributable,
    )


def _is_toon(script: Mapping[str, Any]) -> bool:
    """Return whether a script is one that the toon world wrote: its fingerprint fits its seed and settings."""
    try:
        return bool(script["fingerprint"] == FilmSettings.from_json(script["settings"]).fingerprint(script["seed"]))
    except (KeyError, TypeError, ValueError):
        return False


def _read_license(text: str | None) -> tuple[Basis, bool | None]:
    """Return basis and whether copies may be handed on, of a licence in a site's words.

    Only Attribution, ShareAlike and CC0 permit it without asking what for or what is done with it; the other Creative
    Commons licences are left to whoever publishes.
    """
    words = (text or "").casefold()
    if not words:
        return "unknown", None
    if "standard youtube" in words:
        return "unknown", False
    if re.search(r"\bcc-?0\b|creative commons zero|public domain", words):
        return "public-domain", True
    if re.search(r"creative commons|\bcc[ -]by\b", words):
        is_limited = re.search(r"\bnc\b|\bnd\b|non-?commercial|no-?deriv", words) is not None
        is_plain = re.search(r"attribution|\bby\b", words) is not None
        return "cc", True if is_plain and not is_limited else None
    return "unknown", None


def _rows(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    """Return (number, row) of a table file."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"The table of rights {path} is larger than {_MAX_BYTES >> 20} MB.")
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            reader = csv.DictReader(io.StringIO(text, newline=""), restkey="(more columns than the header)", restval="")
            return list(enumerate(reader, 2))
        data = json.loads(text)
    except FileNotFoundError as error:
        raise InputError(f"There is no table of rights {path}.") from error
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The table of rights {path} cannot be read as CSV or JSON.") from error
    if isinstance(data, Mapping):
        data = [{"video_id": key, **row} if isinstance(row, Mapping) else row for key, row in data.items()]
    if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
        raise InputError(f"The table of rights {path} must be a list of objects, or an object of objects.")
    return list(enumerate(data, 1))


def _text(key: str, value: Any) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise ValueError(f"{key} must be a text, got {str(value)[:80]!r}.")
    return value.strip()


def _flag(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    word = value.strip().casefold() if isinstance(value, str) else None
    if word in ("", "unknown", "null", "none"):
        return None
    if word in ("true", "yes", "1"):
        return True
    if word in ("false", "no", "0"):
        return False
    raise ValueError(f"redistributable must be true, false or empty, got {str(value)[:80]!r}.")


def _object(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
