"""Write the static site of boards.

The page knows at first all rows and columns of all boards; the numbers of single stories are a file per system, and
what stands side by side is a file per story, loaded when somebody looks. Pages, data and pictures are written as the
site of a dataset writes its own, so a site that is open while it is made anew stays whole.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from animeshooter_hf import site as dataset_site
from animeshooter_hf._version import __version__
from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.leaderboard.board_data import Picture, board_data, story_data, story_list_data, system_data
from animeshooter_hf.eval.leaderboard.ranking import Board, Entry
from animeshooter_hf.eval.leaderboard.significance import DRAWS, Neighbours, compare_neighbours
from animeshooter_hf.eval.leaderboard.system_table import SystemTable, column_key, make_table
from animeshooter_hf.site.site_folder import SITE_FILE, SiteFolder, fnv64

__all__ = ["BOARD_FORMAT", "SCRIPTS", "BoardReport", "BoardSettings", "ComparedBoard", "compare", "write_board_site"]

BOARD_FORMAT = "animeshooter-leaderboard"
"""What `site.json` says the folder is."""

SCRIPTS = ("state", "columns", "table", "board", "curves", "system", "story", "start")
"""The scripts of the page after the dataset site's `base`, in the order in which they are loaded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardSettings:
    """What the site says of itself."""

    title: str = "AnimeShooter-Bench"
    """Heading."""

    subtitle: str = "Multi-shot animation: does the character stay who it is, from shot to shot?"
    """Line below it."""

    has_frames: bool = True
    """Whether strips of frames are copied into the site."""

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise InputError("--title must not be empty.")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ComparedBoard:
    """A board with the comparisons of its neighbours."""

    board: Board
    """The board."""

    neighbours: Mapping[str, Sequence[Neighbours]]
    """Key of a column -> comparisons, best first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardReport:
    """What became of a site."""

    out: Path
    """The folder; `index.html` in it is the page."""

    systems: int
    """Rows of all boards."""

    stories: int
    """Stories of all boards."""

    files: Sequence[str]
    """Everything that belongs to the site, relative to the folder, sorted."""

    num_bytes: int
    """Size of all files."""

    first_bytes: int
    """Bytes that the page loads before it shows a board."""

    problems: Sequence[str] = field(default_factory=tuple)
    """Pictures that could not be used, a sentence each."""


def compare(board: Board, *, draws: int = DRAWS, progress: bool = False) -> ComparedBoard:
    """Return a board with the neighbours of its headline columns compared, with this many resamples."""
    columns = [] if board.is_reported else [column for column in board.columns if column.is_headline]
    bar = tqdm(columns, desc="comparisons", unit="column", disable=not progress)
    made = {column_key(board, column): compare_neighbours(board, column, draws=draws) for column in bar}
    return ComparedBoard(board=board, neighbours=made)


def write_board_site(
    out: Path, boards: Sequence[ComparedBoard], settings: BoardSettings | None = None, *, progress: bool = False
) -> BoardReport:
    """Write the site and return what became of it.

    Args:
        out: A new or empty folder, or a leaderboard of an earlier run.
        boards: In the order of the page.
        settings: What it says of itself.
        progress: Whether to show bars on stderr.

    Raises:
        InputError: If the folder is something else or cannot be written.
    """
    settings = settings or BoardSettings()
    folder = SiteFolder(out, site_format=BOARD_FORMAT)
    problems: list[str] = []
    data = [_write_board(folder, one, settings, problems, progress) for one in boards]
    facts = {"title": settings.title, "subtitle": settings.subtitle, "tool": f"animeshooter-hf {__version__}"}
    first = folder.write_chunk("site", "site", {**facts, "boards": data})
    loaded = [first, _write_page(folder, facts, first)]
    assets = sorted(path for path in folder.kept if path.startswith("assets/"))
    about = {"format": BOARD_FORMAT, "complete": True, **facts}
    folder.write(SITE_FILE, (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())
    folder.sweep()
    files = sorted(folder.kept)

    def size(paths: Sequence[str]) -> int:
        return sum((out / path).stat().st_size for path in paths)

    return BoardReport(
        out=out,
        systems=sum(len(one.board.entries) for one in boards),
        stories=sum(len(one.board.ip_ids) for one in boards),
        files=files,
        num_bytes=size(files),
        first_bytes=size([*loaded, *assets]),
        problems=problems,
    )


def _write_board(
    folder: SiteFolder, compared: ComparedBoard, settings: BoardSettings, problems: list[str], progress: bool
) -> dict[str, Any]:
    board = compared.board
    bar = tqdm(board.entries, desc="systems", unit="system", disable=not progress)
    tables = [make_table(board, entry) for entry in bar]
    pictures = {
        entry.key: _write_pictures(folder, entry, problems) if settings.has_frames else {} for entry in board.entries
    }
    ranked = [table for table in tables if table.entry.status == "ranked"]
    systems = [
        _write_chunk(folder, "systems", table.entry.key, system_data(table, ranked, pictures[table.entry.key]))
        for table in tables
    ]
    stories = {story: _write_story(folder, board, story, tables, pictures) for story in board.ip_ids}
    return {
        **board_data(board, compared.neighbours),
        "systemFiles": systems,
        "storyList": _write_chunk(folder, "lists", board.key, story_list_data(board, stories)),
    }


def _write_story(
    folder: SiteFolder,
    board: Board,
    story: str,
    tables: Sequence[SystemTable],
    pictures: Mapping[str, Mapping[str, Picture]],
) -> str:
    of_story = {key: strips[story] for key, strips in pictures.items() if story in strips}
    return _write_chunk(folder, "side", f"{board.key} {story}", story_data(board, story, tables, of_story))


def _write_chunk(folder: SiteFolder, kind: str, name: str, value: Any) -> str:
    """Write data under a name that is safe whatever the system or the story is called."""
    return folder.write_chunk(kind, fnv64(name), value)


def _write_pictures(folder: SiteFolder, entry: Entry, problems: list[str]) -> dict[str, Picture]:
    """Copy the strips of a system, one at a time; a file that is no JPEG is left out and named."""
    found: dict[str, Picture] = {}
    for run in entry.runs:
        for story in run.stories:
            path = run.frames_of(story.story_id)
            if path is None or story.story_id in found:
                continue
            data = path.read_bytes()
            try:
                with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
                    width, height = picture.size
            except (UnidentifiedImageError, OSError):
                problems.append(f"{path} is no JPEG that can be shown.")
                continue
            found[story.story_id] = (folder.write_media(data, ".jpg"), width, height)
    return found


def _write_page(folder: SiteFolder, facts: Mapping[str, str], first: str) -> str:
    """Write scripts, styles and the page; return its path."""
    house = Path(dataset_site.__file__).parent / "assets"
    own = Path(__file__).parent / "assets"
    sources = {name: house / name for name in ("icon.svg", "site.css", "base.js")}
    sources |= {name: own / name for name in ("board.css", *(f"{script}.js" for script in SCRIPTS))}
    assets = {name: _write_asset(folder, path) for name, path in sources.items()}
    version = hashlib.sha256(json.dumps([first, assets]).encode()).hexdigest()[:10]
    return folder.write("index.html", render("index.html.jinja", **facts, first=first, assets=assets, version=version))


def _write_asset(folder: SiteFolder, source: Path) -> str:
    """Write a script or a style under a name with its hash, so that no cache serves an old one; return its path."""
    data = source.read_bytes()
    return folder.write(f"assets/{source.stem}-{hashlib.sha256(data).hexdigest()[:10]}{source.suffix}", data)


def render(template: str, **values: Any) -> bytes:
    """Return a page or a README from a template of this room; pages are escaped."""
    environment = Environment(
        loader=PackageLoader("animeshooter_hf.eval.leaderboard", "."),
        autoescape=template.startswith("index"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values).encode()
