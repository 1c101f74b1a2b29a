"""What must not be torn apart over splits: copies of one film, films of one channel, films with the same characters.

A model that has trained on an episode of a series knows the hero of the next one. So the splits are made by groups:
`leak_safe_groups` makes them, `package.split_videos` keeps them together, and `check_leakage` looks at splits that
somebody else has made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from animeshooter_hf.dataset_builder.quality.groups import connected_groups, group_of

__all__ = ["LeakageFinding", "check_leakage", "leak_safe_groups"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LeakageFinding:
    """Something that is in two splits, or in none."""

    code: str
    """"group_in_two_splits", "video_in_two_splits", "video_in_no_split" or "video_without_group"."""

    group: str
    """The group, or the video where it is about one."""

    videos: Mapping[str, tuple[str, ...]]
    """Split -> those of its videos that are concerned."""


def leak_safe_groups(
    videos: Iterable[str],
    duplicate_groups: Iterable[Iterable[str]] = (),
    channels: Mapping[str, str | None] | None = None,
    identity_links: Iterable[Iterable[str]] = (),
) -> dict[str, str]:
    """Return video -> its group, named after the first of its videos.

    Args:
        videos: All videos.
        duplicate_groups: Videos that are copies, from `find_duplicates`.
        channels: Video -> channel or series; None and the empty text are unknown and join nobody.
        identity_links: Videos in which the same character occurs. IDs are scoped by story: only links that somebody has
            made by looking count, never equal names.
    """
    known = set(videos)
    of_channel: dict[str, list[str]] = {}
    for video, channel in (channels or {}).items():
        if channel and channel.strip() and video in known:
            of_channel.setdefault(channel.strip().casefold(), []).append(video)
    links = [*duplicate_groups, *identity_links, *of_channel.values()]
    groups = connected_groups(known, [sorted(known.intersection(link)) for link in links])
    return dict(sorted(group_of(groups).items()))


def check_leakage(splits: Mapping[str, Iterable[str]], groups: Mapping[str, str]) -> list[LeakageFinding]:
    """Return what is wrong with splits, by code and name; an empty list is what one wants.

    Args:
        splits: Split -> its videos.
        groups: Video -> group, from `leak_safe_groups`.
    """
    found: list[LeakageFinding] = []
    where: dict[str, set[str]] = {}
    members: dict[str, dict[str, set[str]]] = {}
    for split, videos in splits.items():
        for video in videos:
            where.setdefault(video, set()).add(split)
            members.setdefault(groups.get(video, video), {}).setdefault(split, set()).add(video)

    def report(code: str, name: str, concerned: Mapping[str, Iterable[str]]) -> None:
        told = {split: tuple(sorted(videos)) for split, videos in sorted(concerned.items())}
        found.append(LeakageFinding(code=code, group=name, videos=told))

    for group, by_split in members.items():
        if len(by_split) > 1:
            report("group_in_two_splits", group, by_split)
    for video, of in where.items():
        if len(of) > 1:
            report("video_in_two_splits", video, {split: [video] for split in of})
        if video not in groups:
            report("video_without_group", video, {split: [video] for split in of})
    for video in groups:
        if video not in where:
            report("video_in_no_split", video, {})
    return sorted(found, key=lambda one: (one.code, one.group))
