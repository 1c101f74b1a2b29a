"""Write the static site of a dataset.

The order keeps the site whole at every moment: media, the story that names them, the chunks of the list, and last of
all the page that names the chunks; only then is removed what belongs to it no longer. A run that was killed is taken
up where it was; a second run writes what has changed.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from tqdm import tqdm

from animeshooter_hf._version import __version__
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import StoryItem, StoryView
from animeshooter_hf.loading.opened_dataset import OpenedDataset
from animeshooter_hf.site.site_folder import SITE_FILE, SITE_FORMAT, SiteFolder
from animeshooter_hf.site.story_file import MEDIA_MODES, MediaMode, write_story_file
from animeshooter_hf.site.story_index import StoryIndex, card_of

__all__ = ["SCRIPTS", "SiteReport", "SiteSettings", "write_site"]

SCRIPTS = ("base", "masks", "chunks", "search", "list", "player", "references", "sounds", "story", "keys", "site")
"""The scripts of the page, in the order in which they are loaded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteSettings:
    """What a site shows."""

    title: str = "Stories"
    """Its heading."""

    media: MediaMode = "copy"
    """One of `MEDIA_MODES`."""

    source: str | None = None
    """Repository of the dataset on the Hub, "ORG/NAME"; None if it has none."""

    licence: str | None = None
    """Licence of the dataset, as the Hub names it."""

    def __post_init__(self) -> None:
        if self.media not in MEDIA_MODES:
            raise InputError(f"--media must be one of {', '.join(MEDIA_MODES)}, got {self.media!r}.")
        if not self.title.strip():
            raise InputError("--title must not be empty.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteReport:
    """What became of a site."""

    out: Path
    """The folder; `index.html` in it is the page."""

    stories: int
    """Stories on the site."""

    shots: int
    """Their shots."""

    clips: int
    """Shots that can be played."""

    files: Sequence[str]
    """Everything that belongs to the site, relative to the folder, sorted."""

    num_bytes: int
    """Size of all files."""

    written: int
    """Files that were new or changed."""

    bytes_written: int
    """Their bytes."""

    removed: Sequence[str]
    """Files of an earlier run that belong to it no longer."""

    left_out: Mapping[str, str] = field(default_factory=dict)
    """Video -> why its pixels and sound are left out."""

    problems: Sequence[str] = ()
    """What could not be decoded, a sentence each."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values, without the list of files."""
        return {
            "out": str(self.out),
            "stories": self.stories,
            "shots": self.shots,
            "clips": self.clips,
            "files": len(self.files),
            "bytes": self.num_bytes,
            "written": self.written,
            "bytes_written": self.bytes_written,
            "removed": len(self.removed),
            "left_out": dict(self.left_out),
            "problems": list(self.problems),
        }


def write_site(
    out: Path,
    views: Mapping[str, StoryView],
    settings: SiteSettings | None = None,
    *,
    rights: Mapping[str, Mapping[str, Any]] | None = None,
    reason_against_pixels: Callable[[str], str | None] = lambda video_id: None,
    progress: bool = False,
) -> SiteReport:
    """Write a site and return what became of it; memory does not grow with the media.

    Args:
        out: A new or empty folder, or a site of an earlier run.
        views: Split -> its stories, in the order of the list.
        settings: What it shows.
        rights: Video -> what is known of its rights, shown on the pages of its stories.
        reason_against_pixels: Returns for a video why its pixels and sound are to be left out, or None.
        progress: Whether to show a bar on stderr.

    Raises:
        InputError: If the folder is something else, cannot be written, or there is no story.
    """
    settings = settings or SiteSettings()
    folder = SiteFolder(out)
    index = StoryIndex(folder)
    counts: Counter[str] = Counter()
    problems: list[str] = []
    left_out: dict[str, str] = {}
    bar = tqdm(total=sum(map(len, views.values())), desc="site", unit="story", disable=not progress)
    for split, dataset, item in _each(views):
        video = item.story.video_id
        reason = reason_against_pixels(video)
        if reason is not None:
            left_out[video] = reason
        made = write_story_file(
            folder, item, dataset, split, media=settings.media, rights=(rights or {}).get(video), left_out=reason
        )
        index.add(card_of(item.story, split, made.data))
        counts.update(stories=1, shots=len(item.shots), clips=sum(path is not None for path in made.data["clips"]))
        problems += made.problems
        bar.update()
    bar.close()
    if not counts["stories"]:
        raise InputError("There is no story to show.")
    _write_page(folder, settings, index.finish())
    removed = folder.sweep()
    files = sorted(folder.kept)
    return SiteReport(
        out=out,
        stories=counts["stories"],
        shots=counts["shots"],
        clips=counts["clips"],
        files=files,
        num_bytes=sum((out / path).stat().st_size for path in files),
        written=folder.num_written,
        bytes_written=folder.bytes_written,
        removed=removed,
        left_out=left_out,
        problems=problems,
    )


def _each(views: Mapping[str, StoryView]) -> Iterator[tuple[str, OpenedDataset, StoryItem]]:
    for split, view in views.items():
        for item in view:
            yield split, view.opened, item


def _write_page(folder: SiteFolder, settings: SiteSettings, contents: dict[str, Any]) -> None:
    """Write scripts, styles, the page's first data, the page, and what the site is made from."""
    facts = {
        "title": settings.title,
        "media": settings.media,
        "source": settings.source,
        "licence": settings.licence,
        "tool": f"animeshooter-hf {__version__}",
    }
    first = folder.write_chunk("site", "site", {**facts, **contents})
    assets = {name: _write_asset(folder, name) for name in ("icon.svg", "site.css", *_scripts())}
    version = hashlib.sha256(json.dumps([first, assets]).encode()).hexdigest()[:10]
    folder.write("index.html", _render("index.html.jinja", facts, first=first, assets=assets, version=version))
    folder.write("README.md", _render("README.md.jinja", facts, totals=contents["totals"]))
    about = {"format": SITE_FORMAT, "complete": True, **facts, "totals": contents["totals"]}
    folder.write(SITE_FILE, (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())


def _scripts() -> tuple[str, ...]:
    return tuple(f"{name}.js" for name in SCRIPTS)


def _write_asset(folder: SiteFolder, name: str) -> str:
    """Write a script or a style under a name with its hash, so that no cache serves an old one; return its path."""
    data = (Path(__file__).parent / "assets" / name).read_bytes()
    stem, suffix = name.rsplit(".", 1)
    return folder.write(f"assets/{stem}-{hashlib.sha256(data).hexdigest()[:10]}.{suffix}", data)


def _render(template: str, facts: Mapping[str, Any], **values: Any) -> bytes:
    environment = Environment(
        loader=PackageLoader("animeshooter_hf.site", "."),
        autoescape=template.startswith("index"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**facts, **values).encode()
