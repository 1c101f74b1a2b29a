"""Tags of published datasets: `vX.Y.Z`, "auto" for the next one, "none" for no tag."""

import re
from collections.abc import Callable, Mapping

from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.state import Change, MakeChange, RemoteHead, next_tag
from animeshooter_hf.hub.upload import CommitReport, HubRefusedError, HubUnreachableError, HubUploader

__all__ = ["check_tag", "choose_tag", "commit_tagged"]

_MAX_RACES = 50

_VERSION = re.compile(r"v\d+\.\d+\.\d+")


def check_tag(tag: str) -> str:
    """Return a tag that can be asked for: "auto", "none" or "vX.Y.Z".

    Raises:
        InputError: If it is none of them.
    """
    if tag not in ("auto", "none") and not _VERSION.fullmatch(tag):
        raise InputError(f"A tag looks like v1.2.0, or is auto or none; got {tag!r}.")
    return tag


def choose_tag(wanted: str, tags: Mapping[str, str], announced: str | None, *, changes: bool) -> str | None:
    """Return the tag that a commit gets, or that an unchanged head still lacks; None if none.

    Args:
        wanted: What was asked for; see `check_tag`.
        tags: Tag -> commit, as they are.
        announced: The version in the newest entry of the changelog: whoever wrote it may have been stopped before it
            was tagged.
        changes: Whether there will be a commit.
    """
    if wanted == "none":
        return None
    if wanted != "auto":
        return wanted if changes or wanted not in tags else None
    is_missing = announced is not None and announced not in tags
    if not changes:
        return announced if is_missing else None
    return next_tag([*tags, *([announced] if announced else [])])


def commit_tagged(
    uploader: HubUploader,
    make_change: MakeChange,
    tag: Callable[[], str | None],
    *,
    wanted: str,
    message: str,
    progress: bool,
) -> CommitReport:
    """Make a commit and its tag; a tag that was chosen here is chosen anew if somebody else was faster with it.

    Raises:
        InputError: As `HubUploader.commit`.
    """
    chosen: list[str | None] = [None]

    def make(head: RemoteHead) -> Change:
        chosen[0] = None
        return make_change(head)

    def choose() -> str | None:
        chosen[0] = tag()
        return chosen[0]

    num_races = 0
    while True:
        try:
            return uploader.commit(make, message=message, tag=choose, progress=progress)
        except InputError as error:
            is_final = isinstance(error, HubRefusedError | HubUnreachableError) or wanted != "auto"
            num_races += 1
            if is_final or num_races > _MAX_RACES or chosen[0] not in uploader.tags():
                raise
