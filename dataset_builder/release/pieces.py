"""The release in pieces that are read apart and give together what one reading gives, for several processes at once.

A video that comes again in another file is told once, or numbered on; so files that tell of the same video stay in one
piece. Pieces stand in the order of their first file: whoever reads them in that order, in one process or in ten, gets
the same stories in the same order.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from animeshooter_hf.dataset_builder.release.files import (
    ReleaseAddress,
    ReleaseFile,
    ReleaseShelf,
    iter_release_files,
)
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import read_release_documents
from animeshooter_hf.dataset_builder.splits import SplitSettings, split_videos
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story
from animeshooter_hf.takedown import TakedownList

__all__ = ["ReleasePiece", "ReleaseShard", "read_release_shard", "split_release"]

MAX_SHARDS = 64
"""Shards of one split; each opens the zip once, whose list of files is long. Our choice."""


@dataclass(frozen=True, slots=True)
class ReleasePiece:
    """Files that are read together."""

    files: tuple[ReleaseAddress, ...]
    """The files, in the order of the release."""

    videos: frozenset[str]
    """What is wanted of them."""


ReleaseShard = tuple[ReleasePiece, ...]
"""Pieces that one process reads."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What one file adds to the release."""

    file: ReleaseAddress
    videos: frozenset[str]
    """Videos of which it tells something new."""

    kept: frozenset[str]
    """Those of which something may be used."""


def split_release(
    path: Path, *, takedown: TakedownList, splits: SplitSettings | None = None, progress: bool = True
) -> dict[str, list[ReleaseShard]]:
    """Return split -> shards, divided by video as `animeshooter ingest` divides; the release is read once for it.

    Args:
        path: A `.json`, a `.zip` or a folder that holds some.
        takedown: Videos and stories that are left out.
        splits: Shares and seed.
        progress: Whether to show a bar on stderr.

    Raises:
        InputError: If the path is no release, or no story is left.
    """
    told = list(_read_told(path, takedown, progress))
    parts = split_videos((video for one in told for video in one.kept), splits or SplitSettings())
    groups = _group_by_video(told)
    pieces = {split: _pieces(groups, frozenset(videos)) for split, videos in parts.items()}
    found = {split: _shards(those) for split, those in pieces.items() if those}
    if not found:
        raise InputError(f"{path} holds no story.")
    return found


def read_release_shard(shard: ReleaseShard, takedown: TakedownList) -> Iterator[Story]:
    """Yield the stories of a shard.

    Raises:
        InputError: If one of its files is no longer what it was.
    """
    with ReleaseShelf() as shelf:
        for piece in shard:
            for document in read_release_documents((shelf.read(file) for file in piece.files), ProblemLog()):
                for story in document.stories:
                    if story.video_id in piece.videos and not takedown.hits_story(story.story_id, story.video_id):
                        yield story


def _read_told(path: Path, takedown: TakedownList, progress: bool) -> Iterator[_Told]:
    log = ProblemLog()
    bar = tqdm(iter_release_files(path, log), desc="find videos", unit=" files", disable=None if progress else True)
    passed: list[ReleaseAddress] = []
    for document in read_release_documents(_noted(bar, passed), log):
        file, stories = passed.pop(), document.stories
        passed.clear()
        if stories:
            kept = {story.video_id for story in stories if not takedown.hits_story(story.story_id, story.video_id)}
            yield _Told(file, frozenset(story.video_id for story in stories), frozenset(kept))


def _noted(files: Iterable[ReleaseFile], passed: list[ReleaseAddress]) -> Iterator[ReleaseFile]:
    """Yield the files, and note the address of each as it passes; the reader asks for one at a time."""
    for file in files:
        if file.address is not None:
            passed.append(file.address)
        yield file


def _group_by_video(told: Sequence[_Told]) -> list[list[_Told]]:
    """Return the files in groups that share no video, in the order of their first files."""
    group_of: dict[str, int] = {}
    groups: list[list[tuple[int, _Told]]] = []
    for position, one in enumerate(told):
        met = sorted({group_of[video] for video in one.videos if video in group_of})
        home = met[0] if met else len(groups)
        if not met:
            groups.append([])
        groups[home].append((position, one))
        for video in one.videos:
            group_of[video] = home
        for other in met[1:]:  # this file joins groups that were apart
            for _, moved in groups[other]:
                group_of.update(dict.fromkeys(moved.videos, home))
            groups[home] += groups[other]
            groups[other] = []
    return [[one for _, one in sorted(group, key=lambda pair: pair[0])] for group in groups if group]


def _pieces(groups: Iterable[Sequence[_Told]], videos: frozenset[str]) -> list[ReleasePiece]:
    """Return those groups that hold one of the videos."""
    pieces = []
    for group in groups:
        wanted = videos & frozenset(video for one in group for video in one.kept)
        if wanted:
            pieces.append(ReleasePiece(tuple(one.file for one in group), wanted))
    return pieces


def _shards(pieces: Sequence[ReleasePiece]) -> list[ReleaseShard]:
    """Return the pieces in runs of about equal length, in their order."""
    count = min(MAX_SHARDS, len(pieces))
    bounds = [len(pieces) * number // count for number in range(count + 1)]
    return [tuple(pieces[start:end]) for start, end in itertools.pairwise(bounds)]
