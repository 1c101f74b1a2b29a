"""Put a dataset folder on the Hub, or take something down from one that is there.

DIR is a dataset folder (from `animeshooter build` or `ingest`), ORG/NAME the repository; it is made if there is none.
What goes up is a choice. `annotations-only`, the default: IDs, times, captions, masks. `references`: the characters'
pictures too. `full`: shots and sound too. Pictures and sound go only for videos that are known to be redistributable,
from the dataset's own table of rights or from --rights; the others are left out, and the plan says why. What stands on
a takedown list (the folder's, the repository's, --takedown) never goes up again.

Objects go up first, then one commit shows them all, then it gets a tag: a reader sees the old dataset or the new one.
A stopped run takes up where it was and sends nothing twice; a run with nothing changed sends nothing.

With --remove the shards that hold a video are found by their IDs, fetched, written anew and committed with the hashed
ID on the takedown list; no other shard is touched. ID is that of a video, a YouTube address, `story:ID`, or
`sha256:` and the hash of one (an ID that begins with a dash: --remove=-ID). Old commits and tags keep what they hold
unless --erase-history is given: older tags go, the branch is squashed, objects that nothing needs are deleted.

Example:
    animeshooter publish dataset/ me/my-stories --dry-run
    animeshooter publish dataset/ me/my-stories
    animeshooter publish dataset/ me/my-stories --policy full --rights rights.csv --gated manual --tag v1.0.0
    animeshooter publish me/my-stories --remove LvJRvwIDh0E --reason "asked for by the studio"
    animeshooter publish dataset/ me/my-stories --remove-file takedown.txt --erase-history

A token of the Hub comes from HF_TOKEN or `hf auth login`. A table of rights has the columns video_id, license, basis,
redistributable. Exit status: 0 done, 2 nothing was done, in one sentence why.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from animeshooter_hf.errors import InputError

if TYPE_CHECKING:
    from animeshooter_hf.dataset_builder.publish.plan import PublishPlan
    from animeshooter_hf.dataset_builder.publish.publisher import PublishReport

__all__ = ["add_arguments", "run"]

_POLICIES = ("annotations-only", "references", "full")
_REMOVING = ("remove", "remove_file")
_ONLY_PUBLISHING = ("policy", "rights", "takedown", "private", "gated", "message", "license", "title", "overwrite")
_ONLY_REMOVING = ("reason", "erase_history", "record_anyway")
_PREFIX = "hf://datasets/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "places",
        nargs="+",
        metavar="PLACE",
        help="DIR ORG/NAME, or ORG/NAME alone to --remove",
    )
    parser.add_argument("--policy", choices=_POLICIES, help="what goes up (default annotations-only)")
    parser.add_argument("--rights", type=Path, metavar="FILE", help="rights of the videos, .csv or .json")
    parser.add_argument("--takedown", type=Path, metavar="FILE", help="videos and stories that must not go up")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--private", action="store_const", const=True, help="make the repository private")
    shown.add_argument("--public", dest="private", action="store_const", const=False, help="make it public")
    parser.add_argument("--gated", choices=("auto", "manual", "no"), help="who gets in: who asks, whom you let in, all")
    parser.add_argument("--tag", default="auto", metavar="TAG", help="vX.Y.Z, auto (next minor version) or none")
    parser.add_argument("--revision", default="main", metavar="BRANCH", help="branch to write to (default %(default)s)")
    parser.add_argument("--message", metavar="TEXT", help="message of the commit")
    parser.add_argument("--license", metavar="ID", help="licence for the card, such as cc-by-nc-4.0")
    parser.add_argument("--title", metavar="TEXT", help="title of the card")
    parser.add_argument("--overwrite", action="store_true", help="take over a repository that holds something else")
    parser.add_argument(
        "--remove", action="append", metavar="ID", help="take a video or story:ID down; may be repeated"
    )
    parser.add_argument("--remove-file", type=Path, metavar="LIST", help="take down what a takedown list names")
    parser.add_argument("--reason", metavar="TEXT", help="why, for the changelog; must not name what is removed")
    parser.add_argument("--erase-history", action="store_true", help="remove it from old tags, commits and objects too")
    parser.add_argument("--record-anyway", action="store_true", help="list an ID that is not there all the same")
    parser.add_argument("--staging", type=Path, metavar="DIR", help="where files are prepared (default beside DIR)")
    parser.add_argument("--dry-run", action="store_true", help="show the exact plan and send nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask before pictures, sound or history go")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Publish or remove, and return the exit status."""
    is_removal = any(getattr(arguments, name) for name in _REMOVING)
    _refuse_mixed(arguments, is_removal=is_removal)
    if is_removal:
        return _remove(arguments)
    folder, repo_id = _folder_and_repo(arguments.places)
    if folder is None:
        raise InputError(f"Name the dataset folder too: animeshooter publish DIR {repo_id}.")
    return _publish(arguments, folder, repo_id)


def _publish(arguments: argparse.Namespace, folder: Path, repo_id: str) -> int:
    from animeshooter_hf.dataset_builder.publish.publisher import plan_publication, publish_dataset
    from animeshooter_hf.dataset_builder.publish.settings import PublishSettings
    from animeshooter_hf.dataset_builder.quality.rights import RightsTable
    from animeshooter_hf.takedown import TakedownList

    settings = PublishSettings(
        policy=arguments.policy or "annotations-only",
        rights=RightsTable.read(arguments.rights) if arguments.rights else RightsTable(),
        takedown=TakedownList.read(arguments.takedown) if arguments.takedown else TakedownList(),
        private=arguments.private,
        gated=arguments.gated,
        tag=arguments.tag,
        revision=arguments.revision,
        message=arguments.message,
        licence=arguments.license,
        title=arguments.title,
        overwrite=arguments.overwrite,
        staging=arguments.staging,
    )
    if arguments.dry_run:
        plan = plan_publication(folder, repo_id, settings=settings)
        _tell(arguments, plan.to_text(), plan.to_json())
        return 0
    confirm = None if arguments.yes or not sys.stdin.isatty() else _ask_for_pixels
    report = publish_dataset(folder, repo_id, settings=settings, confirm=confirm)
    _tell(arguments, _report_text(report), report.to_json())
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from animeshooter_hf.dataset_builder.publish.removal import parse_identifiers, remove_from_dataset
    from animeshooter_hf.dataset_builder.publish.settings import RemovalSettings

    folder, repo_id = _folder_and_repo(arguments.places)
    identifiers = parse_identifiers(arguments.remove or (), arguments.remove_file)
    settings = RemovalSettings(
        reason=arguments.reason,
        erase_history=arguments.erase_history,
        record_anyway=arguments.record_anyway,
        tag=arguments.tag,
        revision=arguments.revision,
        staging=arguments.staging,
    )
    if arguments.erase_history and not (arguments.yes or arguments.dry_run) and sys.stdin.isatty():
        _ask(f"Erase the history of {repo_id}? Its older tags and commits are gone for good.")
    report = remove_from_dataset(repo_id, identifiers, settings=settings, folder=folder, dry_run=arguments.dry_run)
    _tell(arguments, report.to_text(), report.to_json())
    return 0


def _refuse_mixed(arguments: argparse.Namespace, *, is_removal: bool) -> None:
    """Refuse options that say nothing about what is asked for."""
    strangers = _ONLY_PUBLISHING if is_removal else _ONLY_REMOVING
    given = [name for name in strangers if getattr(arguments, name) not in (None, False)]
    if is_removal and arguments.private is False:
        given.append("public")
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise InputError(f"{option} goes with {'a publication, not with --remove' if is_removal else '--remove'}.")


def _folder_and_repo(places: list[str]) -> tuple[Path | None, str]:
    """Return the folder, if one is named, and the repository.

    Raises:
        InputError: If there are too many words, or the only one is a folder.
    """
    if len(places) > 2:
        raise InputError(f"Name one folder and one repository, ORG/NAME; got {len(places)} words.")
    repo_id = places[-1].removeprefix(_PREFIX)
    if len(places) == 2:
        return Path(places[0]), repo_id
    if not places[0].startswith(_PREFIX) and Path(places[0]).is_dir():
        raise InputError(
            f"{places[0]} is a folder here; name the repository behind it, ORG/NAME, or write {_PREFIX}{repo_id} "
            "if you mean that."
        )
    return None, repo_id


def _ask_for_pixels(plan: "PublishPlan") -> bool:
    """Ask before pictures or sound are published, and only then."""
    media = [config for config in plan.rows if config != "stories"]
    if not media:
        return True
    sys.stderr.write(plan.to_text())
    return _ask(f"Publish pictures and sound ({', '.join(media)}) to {plan.repo_id}?", refuse=False)


def _ask(question: str, *, refuse: bool = True) -> bool:
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    is_yes = sys.stdin.readline().strip().casefold() in ("y", "yes")
    if refuse and not is_yes:
        raise InputError("Nothing was done.")
    return is_yes


def _tell(arguments: argparse.Namespace, text: str, data: object) -> None:
    sys.stdout.write(json.dumps(data, indent=1) + "\n" if arguments.json else text)


def _report_text(report: "PublishReport") -> str:
    if not report.plan.changes and report.tag is None:
        return f"{report.url} holds this already; nothing was sent.\n"
    lines = [report.plan.to_text().rstrip()]
    lines.append(f"sent {report.bytes_sent:,} bytes; {report.num_checked} shards on the Hub are what the manifest says")
    return "\n".join([*lines, report.url, report.load_line()]) + "\n"
