"""Make a static site of a dataset: browse its stories, play their shots, search, look at masks and hear the sound.

DATASET is a dataset folder or the ID of a dataset on the Hub. The site works from disk (open SITE/index.html), from any
static server, and as a Space. A second run writes only what has changed and removes what is gone; a run that was
stopped is taken up again. A takedown list in the dataset is obeyed.

  --media copy   clips, references and sound become files of the site
  --media link   pictures only; a shot links to the second of its source video
  --media none   no pixels and no sound: words, times and masks

With --space, pixels and sound of a video go up only where the dataset says that they may be handed on. Exit status 1
says that something could not be decoded; the site shows the rest.

Example:
    animeshooter view out/dataset --out site/
    animeshooter view out/dataset --out site/ --serve
    animeshooter view ORG/AnimeShooter --out site/ --split validation --limit 200 --media link
    animeshooter view out/dataset --out site/ --space ORG/AnimeShooter-viewer
"""

import argparse
import json
import re
import sys
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.site.story_file import MEDIA_MODES

if TYPE_CHECKING:
    from animeshooter_hf.loading import StoryView
    from animeshooter_hf.site.write_site import SiteReport

__all__ = ["add_arguments", "run"]

_HUB_ID = re.compile(r"(?:hf://datasets/)?([\w-][\w.-]*/[\w.-]+)")
_SPLITS = ("train", "validation", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter view`."""
    parser.add_argument("dataset", metavar="DATASET", help="a dataset folder, or ORG/NAME on the Hub")
    parser.add_argument("--out", type=Path, required=True, metavar="SITE", help="folder of the site")
    parser.add_argument("--split", default="all", help="one split, or all (default: %(default)s)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N stories of each split")
    parser.add_argument("--title", help="heading (default: the title of the dataset)")
    parser.add_argument("--media", choices=list(MEDIA_MODES), default="copy", help="see above (default: %(default)s)")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    parser.add_argument(
        "--serve",
        type=int,
        nargs="?",
        const=0,
        metavar="PORT",
        help="serve it on this machine until Ctrl-C, on a free port if none is named",
    )
    parser.add_argument("--space", metavar="ORG/NAME", help="put it on the Hub as a Space")
    parser.add_argument("--private", action="store_true", help="make a new Space private")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run `animeshooter view`: 0, or 1 if something of the dataset could not be decoded.

    Raises:
        InputError: If the dataset, an option or the folder cannot be used, or the Hub does not take the site.
    """
    from animeshooter_hf.site.write_site import SiteSettings, write_site

    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit must be at least 1, got {arguments.limit}.")
    if arguments.space is not None and not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", arguments.space):
        raise InputError(f"--space must be the name of a Space such as ORG/NAME, got {arguments.space!r}.")
    about = _read_about(arguments.dataset)
    settings = SiteSettings(
        title=arguments.title or about.title, media=arguments.media, source=about.repo_id, licence=about.licence
    )
    report = write_site(
        arguments.out,
        _open_views(arguments.dataset, arguments.split, arguments.limit, arguments.media),
        settings,
        rights=about.rights,
        reason_against_pixels=about.reason_against_pixels if arguments.space else lambda _: None,
        progress=True,
    )
    uploaded = _upload(arguments, report) if arguments.space else {}
    _say(arguments, report, uploaded)
    _show(arguments)
    return 1 if report.problems else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _About:
    """What the dataset says of itself."""

    title: str
    repo_id: str | None = None
    licence: str | None = None
    rights: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reason_against_pixels: Callable[[str], str | None] = lambda video_id: (
        f"The dataset does not say that the video {video_id} may be handed on."
    )


def _read_about(dataset: str) -> _About:
    """Read the manifest of a dataset; a dataset without one is titled by its name, and nothing of it is known."""
    from animeshooter_hf.dataset_builder.manifest import MANIFEST_FILE, DatasetManifest
    from animeshooter_hf.dataset_builder.quality.rights import RightsTable, reason_against_pixels

    folder = Path(dataset).expanduser()
    found = None if folder.exists() else _HUB_ID.fullmatch(dataset)
    repo_id = found[1] if found else None
    name = repo_id or folder.resolve().name
    if repo_id is not None:
        folder = _download_manifest(repo_id, MANIFEST_FILE) or folder
    if not (folder / MANIFEST_FILE).is_file():
        return _About(title=name, repo_id=repo_id)
    manifest = DatasetManifest.read(folder)
    table = RightsTable(manifest.rights)
    return _About(
        title=manifest.card.title,
        repo_id=repo_id,
        licence=manifest.card.licence_name if manifest.card.licence == "other" else manifest.card.licence,
        rights={video: one.to_row() for video, one in manifest.rights.items()},
        reason_against_pixels=lambda video: reason_against_pixels(table.of(video)),
    )


def _download_manifest(repo_id: str, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo_id, name, repo_type="dataset")).parent
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError):
        return None


def _open_views(dataset: str, split: str, limit: int | None, media: str) -> "dict[str, StoryView]":
    """Open the splits; of a dataset on the Hub only what is shown is fetched if there is a limit."""
    from animeshooter_hf.loading import load_stories

    kinds = ("audio",) if media == "none" else ("video", "references", "audio")
    is_remote = limit is not None and not Path(dataset).expanduser().exists()
    views = {}
    for name in [split] if split != "all" else _splits_of(dataset):
        view = load_stories(dataset, name, media=kinds, streaming=is_remote)
        views[name] = view if limit is None else view[:limit]
    return views


def _splits_of(dataset: str) -> list[str]:
    """Return the splits of a dataset, the usual ones in their usual order."""
    folder = Path(dataset).expanduser()
    if folder.is_dir():
        names = [path.name for path in (folder / "stories").glob("*.parquet")]
    elif found := _HUB_ID.fullmatch(dataset):
        names = _stories_on_hub(found[1])
    else:
        raise InputError(f"There is no dataset folder {dataset}.")
    splits = {found[1] for name in names if (found := re.fullmatch(r"(.+)-\d+-of-\d+\.parquet", name))}
    if not splits:
        raise InputError(f"{dataset} is no dataset of ours: it has no folder `stories` with Parquet files.")
    return sorted(splits, key=lambda name: (_SPLITS.index(name) if name in _SPLITS else len(_SPLITS), name))


def _stories_on_hub(repo_id: str) -> list[str]:
    from animeshooter_hf.hub.upload import HubUploader

    files = HubUploader(repo_id).head().files
    return [path.removeprefix("stories/") for path in files if path.startswith("stories/")]


def _upload(arguments: argparse.Namespace, report: "SiteReport") -> dict[str, Any]:
    from animeshooter_hf.site.space import upload_site

    made = upload_site(report.out, report.files, arguments.space, private=True if arguments.private else None)
    return {
        "space": arguments.space,
        "commit": made.commit,
        "uploaded": made.num_uploaded,
        "bytes_sent": made.bytes_sent,
        "deleted": made.num_deleted,
    }


def _say(arguments: argparse.Namespace, report: "SiteReport", uploaded: Mapping[str, Any]) -> None:
    for problem in report.problems[:20]:
        sys.stderr.write(f"animeshooter view: {problem}\n")
    if len(report.problems) > 20:
        sys.stderr.write(f"animeshooter view: and {len(report.problems) - 20} more of that kind.\n")
    if report.left_out:
        sys.stderr.write(
            f"animeshooter view: Pixels and sound of {len(report.left_out)} videos are left out; "
            f"{next(iter(report.left_out.values()))}\n"
        )
    if arguments.json:
        sys.stdout.write(json.dumps({**report.to_json(), **uploaded}, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(
        f"{report.stories} stories, {report.shots} shots, {report.clips} clips: {len(report.files)} files, "
        f"{report.num_bytes / 1e6:.1f} MB; {report.written} written, {len(report.removed)} removed.\n"
        f"Open {report.out / 'index.html'}\n"
    )
    if uploaded:
        sys.stdout.write(f"The Space {uploaded['space']} stands at commit {uploaded['commit']}.\n")


def _show(arguments: argparse.Namespace) -> None:
    """Open the browser or serve the site, as asked."""
    from animeshooter_hf.site.site_server import site_server

    if arguments.serve is None:
        if arguments.open:
            webbrowser.open((arguments.out / "index.html").resolve().as_uri())
        return
    with site_server(arguments.out, arguments.serve) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        sys.stderr.write(f"Serving {address} until Ctrl-C.\n")
        if arguments.open:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.stderr.write("\n")
