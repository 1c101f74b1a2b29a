"""Put a site on the Hub as a Space: a repository whose files are served as they are."""

from collections.abc import Sequence
from pathlib import Path

from animeshooter_hf.hub.upload import Change, CommitReport, HubUploader, RemoteHead
from animeshooter_hf.site.site_folder import OUR_FOLDERS

__all__ = ["upload_site"]


def upload_site(
    root: Path, files: Sequence[str], repo_id: str, *, private: bool | None = None, progress: bool = True
) -> CommitReport:
    """Make the Space if there is none and bring it to the state of a site; what is there already is not sent again.

    Args:
        root: The site.
        files: What belongs to it, relative to the root. Other files of ours that the Space holds are removed; what
            somebody else put there stays.
        repo_id: "ORG/NAME".
        private: Whether a new Space is private; None leaves it to the Hub.
        progress: Whether to show a bar on stderr.

    Raises:
        InputError: In one sentence, if the Hub does not take it.
    """
    uploader = HubUploader(repo_id, repo_type="space")
    uploader.ensure_repo(private=private, space_sdk="static")

    def change(head: RemoteHead) -> Change:
        gone = {path for path in head.files if path.split("/")[0] in OUR_FOLDERS} - set(files)
        return Change({path: root / path for path in sorted(files)}, frozenset(gone))

    return uploader.commit(change, message="Update the site", progress=progress)
