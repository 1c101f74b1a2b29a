"""The folder of a site: files written complete or not at all, only where they changed, and swept of what is gone.

Everything below `data/`, `media/` and `assets/` is ours. Chunks and media carry a hash of their bytes in their name, so
a page that is open while the site is written anew still finds what belongs to it until the sweep at the end.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError

__all__ = ["OUR_FOLDERS", "SITE_FILE", "SITE_FORMAT", "SiteFolder", "fnv64", "story_path"]

SITE_FILE = "site.json"
"""What the site is made from, and by which a folder is known to be a site of ours."""

SITE_FORMAT = "animeshooter-site"
"""What `site.json` says it is."""

OUR_FOLDERS = ("assets", "data", "media")
"""What is swept."""

_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


def fnv64(text: str) -> str:
    """Return the FNV-1a hash of a text's UTF-8 as 16 hex digits; the page computes the same one.

    Example:
        >>> fnv64("toon-0000_000")
        '21e99d6dd9217c5a'
    """
    value = _FNV_OFFSET
    for byte in text.encode("utf-8", "replace"):
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def story_path(story_id: str) -> str:
    """Return where the file of a story stands, from its ID alone, so that a link needs no index.

    The name is safe on every file system whatever the ID holds; 256 folders, by the digits that spread best, keep
    each of them small.
    """
    digest = fnv64(story_id)
    slug = re.sub(r"[^A-Za-z0-9_-]", "_", story_id)[:60]
    return f"data/stories/{digest[-2:]}/{slug}-{digest}.js"


class SiteFolder:
    """Writes the files of a site."""

    def __init__(self, root: Path, *, site_format: str = SITE_FORMAT) -> None:
        """Open or make the folder.

        Args:
            root: The folder.
            site_format: What kind of site it holds; one of another kind is not written over.

        Raises:
            InputError: If it holds something else than a site of this kind.
        """
        self.root = root
        self._format = site_format
        self.kept: set[str] = set()
        """Files of the site as it is written now, relative to the folder."""
        self.num_written = 0
        """Files that were new or changed."""
        self.bytes_written = 0
        """Their bytes."""
        self._claim()

    def _claim(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"--out must be a folder, and {self.root} is a file.")
        if self.root.is_dir() and any(self.root.iterdir()) and not self._is_ours():
            raise InputError(f"{self.root} holds other files and is no site of ours; name a new or an empty folder.")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {self.root} cannot be made: {error.strerror}.") from error
        if not (self.root / SITE_FILE).exists():
            self.write(SITE_FILE, _json({"format": self._format, "complete": False}))

    def _is_ours(self) -> bool:
        try:
            found = json.loads((self.root / SITE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(found, dict) and found.get("format") == self._format

    def write(self, path: str, data: bytes) -> str:
        """Write a file unless it holds these bytes already; return its path."""
        target = self.root / path
        self.kept.add(path)
        if target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data:
            return path
        partial = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InputError(f"{target} cannot be written: {error.strerror}.") from error
        self.num_written += 1
        self.bytes_written += len(data)
        return path

    def write_media(self, data: bytes, suffix: str) -> str:
        """Write a media file under the hash of its bytes, once for all that are equal; return its path.

        A file that is there with the right size is taken as it is: it was renamed into place when it was complete.
        """
        path = media_path(media_digest(data), suffix)
        if self.has(path, len(data)):
            return path
        return self.write(path, data)

    def has(self, path: str, size: int | None = None) -> bool:
        """Return whether a file is there, with a size if one is given, and keep it if it is."""
        target = self.root / path
        if not target.is_file() or (size is not None and target.stat().st_size != size):
            return False
        self.kept.add(path)
        return True

    def write_chunk(self, kind: str, name: str, value: Any) -> str:
        """Write data as a script that hands it to the page, named by its content; return its path.

        The page cannot `fetch` from disk, so that data are scripts.
        """
        text = to_script_json(value)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        path = f"data/{kind}/{name}-{digest}.js"
        return self.write(path, f"animeshooter.receive({json.dumps(path)},{text});\n".encode())

    def sweep(self) -> list[str]:
        """Remove what is ours and belongs to the site no longer; return the paths, sorted."""
        removed = []
        for folder in OUR_FOLDERS:
            for path in sorted((self.root / folder).rglob("*"), reverse=True):
                name = path.relative_to(self.root).as_posix()
                if path.is_dir() and not path.is_symlink():
                    if not any(path.iterdir()):
                        path.rmdir()
                elif name not in self.kept:
                    path.unlink()
                    removed.append(name)
        for path in self.root.glob(".*.part"):
            path.unlink()
        return sorted(removed)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield (path, file) of everything that belongs to the site, sorted."""
        for path in sorted(self.kept):
            yield path, self.root / path


def media_digest(data: bytes) -> str:
    """Return the name that media bytes get."""
    return hashlib.sha256(data).hexdigest()[:24]


def media_path(digest: str, suffix: str) -> str:
    """Return where media bytes of a digest stand."""
    return f"media/{digest[:2]}/{digest}{suffix}"


def to_script_json(value: Any) -> str:
    """Return JSON that is also JavaScript and holds nothing that ends a script: plain ASCII, no `<`."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
