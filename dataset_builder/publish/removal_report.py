"""What a removal changed, for people and for scripts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from animeshooter_hf.dataset_builder.publish.plan import show_size
from animeshooter_hf.hub.history import EraseReport

__all__ = ["RemovalReport", "ShardChange"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardChange:
    """A shard that is not what it was."""

    path: str
    """In the repository."""

    rows_before: int
    """Rows that it had."""

    rows_after: int
    """Rows that it has; 0 if it is gone."""

    bytes_before: int
    """Size that it had."""

    bytes_after: int
    """Size that it has; 0 if it is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemovalReport:
    """What was taken down."""

    repo_id: str
    """The repository."""

    is_dry_run: bool
    """Whether nothing was done."""

    commit: str | None
    """The commit without it; the head's own if there was nothing to do."""

    tag: str | None
    """The tag of that commit; None if none was made."""

    shards: tuple[ShardChange, ...]
    """Shards that changed."""

    num_untouched: int
    """Shards that did not."""

    removed_rows: Mapping[str, int]
    """Config -> rows that are gone."""

    num_stories: int
    """Stories that are gone."""

    num_recorded: int
    """Entries that are new on the takedown list."""

    num_fetched: int
    """Files that were fetched to be looked at or written anew."""

    bytes_fetched: int
    """Their size."""

    bytes_sent: int
    """Bytes that were sent, or would be."""

    other_tags: tuple[str, ...]
    """Tags that keep what they hold."""

    erases_history: bool = False
    """Whether the history was to go too."""

    erased: EraseReport | None = None
    """What is gone of the history; None if it stays."""

    local_rows: Mapping[str, int] | None = None
    """Config -> rows that are gone from the folder here; None if none was named."""

    def with_local(self, rows: Mapping[str, int]) -> "RemovalReport":
        """Return the report with what was done to the folder here."""
        return replace(self, local_rows=dict(rows))

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as a person reads it."""
        lines = [*self._remote_lines(), *self._local_lines(), *self._history_lines()]
        return "\n".join(lines) + "\n"

    def _remote_lines(self) -> list[str]:
        if not self.shards:
            recorded = f"{self.num_recorded} new on its takedown list" if self.num_recorded else "gone already"
            return [f"{self.repo_id}: nothing of it is there; {recorded}"]
        rows = ", ".join(f"{config} {count:,}" for config, count in self.removed_rows.items())
        verb = "would go" if self.is_dry_run else "gone"
        lines = [f"{self.repo_id}: {self.num_stories:,} stories {verb}; rows {verb}: {rows}"]
        for one in self.shards:
            after = f"{one.rows_after:,} rows, {one.bytes_after:,} bytes" if one.rows_after else "deleted"
            lines.append(f"  {one.path}: {one.rows_before:,} rows, {one.bytes_before:,} bytes -> {after}")
        sent = f"{self.bytes_sent:,} bytes ({show_size(self.bytes_sent)}) {'to send' if self.is_dry_run else 'sent'}"
        fetched = f"{self.num_fetched} files ({show_size(self.bytes_fetched)}) fetched"
        tag = f", tag {self.tag}" if self.tag else ""
        lines.append(f"{self.num_untouched} shards untouched; {fetched}; {sent}{tag}")
        return lines

    def _local_lines(self) -> list[str]:
        if self.local_rows is None:
            return []
        rows = ", ".join(f"{config} {count:,}" for config, count in self.local_rows.items()) or "none"
        verb, reports = ("to go", "go") if self.is_dry_run else ("gone", "went")
        also = f"; reports of the build in it {reports} too" if self.local_rows else ""
        return [f"rows {verb} from the folder here: {rows}{also}"]

    def _history_lines(self) -> list[str]:
        tags = f"the tags {', '.join(self.other_tags)}" if self.other_tags else "copies made by others"
        if self.erases_history and self.erased is None:
            return [f"Old commits and {tags} would go for good."]
        if self.erased is None:
            return [f"Old commits and {tags} still hold what they held; --erase-history removes old commits and tags."]
        objects = f"{len(self.erased.deleted_objects)} stored objects ({show_size(self.erased.deleted_bytes)})"
        lines = [f"history erased: {len(self.erased.deleted_tags)} tags, {objects}"]
        if self.erased.other_refs:
            lines.append(f"not touched, and may hold it: {', '.join(self.erased.other_refs)}")
        return [*lines, "Copies that others have made, and caches, are out of reach."]
