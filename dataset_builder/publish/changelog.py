"""The CHANGELOG.md of a published dataset: one entry per commit of ours, in numbers.

It never names what was removed: whoever asked for it would be named with it.
"""

import re
from collections.abc import Mapping, Sequence

from animeshooter_hf.dataset_builder.manifest import DatasetManifest

__all__ = ["CHANGELOG_FILE", "UNTAGGED", "count_rows", "newest_version", "publication_lines", "with_entry"]

CHANGELOG_FILE = "CHANGELOG.md"
"""Its name in the repository."""

UNTAGGED = "untagged"
"""Heading of an entry whose commit got no tag."""

_HEAD = "# Changes\n"
_ENTRY = re.compile(r"^## (\S+)\s*$", re.MULTILINE)


def with_entry(text: str, version: str | None, lines: Sequence[str]) -> str:
    """Return a changelog with one more entry on top.

    Args:
        text: The changelog so far; "" if there is none.
        version: The tag that the commit will get; None if none.
        lines: What to say, one point each.
    """
    entry = f"## {version or UNTAGGED}\n\n" + "".join(f"- {line}\n" for line in lines)
    found = _ENTRY.search(text)
    head, rest = (text[: found.start()], text[found.start() :]) if found else (text, "")
    return "\n".join(part.strip("\n") + "\n" for part in (head or _HEAD, entry, rest) if part.strip())


def newest_version(text: str) -> str | None:
    """Return the tag that the newest entry is about; None if there is none or it got none."""
    found = _ENTRY.search(text)
    return found[1] if found and found[1] != UNTAGGED else None


def publication_lines(before: DatasetManifest | None, after: DatasetManifest) -> list[str]:
    """Return what a publication changed, in numbers."""
    old = {} if before is None else count_rows(before)
    rows = count_rows(after)
    told = []
    for config in dict.fromkeys([*rows, *old]):
        here, there = sum(rows.get(config, {}).values()), sum(old.get(config, {}).values())
        told.append(f"{config} {here:,}" if before is None or here == there else f"{config} {there:,} -> {here:,}")
    known = set() if before is None else {(shard.path, shard.sha256) for shard in before.shards}
    written = [shard for shard in after.shards if (shard.path, shard.sha256) not in known]
    gone = known - {(shard.path, shard.sha256) for shard in after.shards}
    size = sum(shard.num_bytes for shard in written)
    files = f"Files: {len(written)} new or changed ({size:,} bytes), {len(gone)} replaced or deleted."
    return [f"Rows: {', '.join(told)}.", files, f"Policy: {after.rights_policy}."]


def count_rows(manifest: DatasetManifest) -> Mapping[str, Mapping[str, int]]:
    """Return config -> split -> rows."""
    return {config.name: dict(config.num_rows) for config in manifest.configs()}
