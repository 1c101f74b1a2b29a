"""Compare the list of videos that comes with the release (`video_ids.txt`) with the videos that were annotated."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.release.names import find_case_twins
from animeshooter_hf.dataset_builder.release.values import show
from animeshooter_hf.errors import InputError

__all__ = ["IdList", "Reconciliation", "parse_video_ids", "read_video_ids", "reconcile"]

_ID = re.compile(r"[\w-]{1,64}")
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_ADDRESS = re.compile(r"(?:[?&]v=|youtu\.be/|/shorts/|/embed/)([\w-]{6,64})")
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class IdList:
    """What a list of video IDs holds."""

    video_ids: tuple[str, ...]
    """The IDs in order, repeats included."""

    malformed: tuple[tuple[int, str], ...]
    """(line number, what stands there) of lines that are neither an ID nor an address with one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciliation:
    """How a list and the annotations agree. Every list is sorted."""

    listed: int
    """Different IDs in the list."""

    annotated: int
    """Different IDs in the annotations."""

    in_both: int
    """Different IDs in both."""

    only_listed: tuple[str, ...]
    """In the list, without an annotation."""

    only_annotated: tuple[str, ...]
    """Annotated, but not in the list."""

    duplicates: dict[str, int]
    """ID -> how often it stands in the list, where that is more than once."""

    case_twins: tuple[tuple[str, ...], ...]
    """IDs of either side that differ by case alone: two videos, but one file on some disks."""

    malformed: tuple[tuple[int, str], ...]
    """(line number, what stands there) of lines of the list that hold no ID."""

    unusual: tuple[str, ...]
    """IDs of the list that are not of YouTube's form (11 letters, digits, "-" or "_"); they are compared too."""

    def to_json(self) -> dict[str, Any]:
        """Return what `reconcile.json` holds."""
        return asdict(self)

    def line(self) -> str:
        """Return the result in a line."""
        counts = {
            "in both": self.in_both,
            "only in the list": len(self.only_listed),
            "only annotated": len(self.only_annotated),
            "repeated in the list": len(self.duplicates),
            "alike but for case": len(self.case_twins),
            "malformed lines": len(self.malformed),
        }
        return "video IDs: " + ", ".join(f"{count:,} {what}" for what, count in counts.items())


def parse_video_ids(text: str) -> IdList:
    """Return the IDs of a list, one a line; addresses that hold an ID count, blank lines and "#" comments do not.

    It is total: what is no ID becomes a malformed line.
    """
    video_ids, malformed = [], []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        word = line.strip().strip("\ufeff\"',")
        if not word or word.startswith("#"):
            continue
        address = _ADDRESS.search(word)
        if address is not None:
            word = address[1]
        if _ID.fullmatch(word) and word.isascii():
            video_ids.append(word)
        else:
            malformed.append((number, show(word)))
    return IdList(video_ids=tuple(video_ids), malformed=tuple(malformed))


def read_video_ids(path: Path) -> IdList:
    """Return the IDs of a file.

    Raises:
        InputError: If it cannot be read, is far too large, or holds no ID at all.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > _MAX_BYTES:
        raise InputError(f"{path} is larger than a list of video IDs can be: more than {_MAX_BYTES:,} bytes.")
    ids = parse_video_ids(content.decode("utf-8", "replace"))
    if not ids.video_ids:
        raise InputError(f"{path} holds no video ID; one a line is expected.")
    return ids


def reconcile(ids: IdList, annotated: Iterable[str]) -> Reconciliation:
    """Return how a list and the annotated videos agree.

    Args:
        ids: The list.
        annotated: Video IDs of the stories; repeats count once.
    """
    listed, told = set(ids.video_ids), set(annotated)
    return Reconciliation(
        listed=len(listed),
        annotated=len(told),
        in_both=len(listed & told),
        only_listed=tuple(sorted(listed - told)),
        only_annotated=tuple(sorted(told - listed)),
        duplicates={name: count for name, count in sorted(Counter(ids.video_ids).items()) if count > 1},
        case_twins=tuple(find_case_twins(listed | told)),
        malformed=ids.malformed,
        unusual=tuple(sorted(name for name in listed if not _YOUTUBE_ID.fullmatch(name))),
    )
