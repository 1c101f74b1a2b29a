"""The settings of a publication and of a removal."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from animeshooter_hf.dataset_builder.publish.policy import Policy, configs_of
from animeshooter_hf.dataset_builder.publish.versions import check_tag
from animeshooter_hf.dataset_builder.quality.rights import RightsTable
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TakedownList

__all__ = ["Gate", "PublishSettings", "RemovalSettings"]

Gate = Literal["auto", "manual", "no"]
"""Who gets in: everybody who asks, whom the owner lets in, or everybody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishSettings:
    """What is published, and how."""

    policy: Policy = "annotations-only"
    """What goes up. Our choice: the source videos are other people's, so words and masks only unless told otherwise."""

    rights: RightsTable = field(default_factory=RightsTable)
    """Rights that count before those that the dataset knows."""

    takedown: TakedownList = field(default_factory=TakedownList)
    """What must not go up, beside what the folder and the repository list."""

    private: bool | None = None
    """Whether the repository is private; None leaves it as it is, a new one as the account has it."""

    gated: Gate | None = None
    """Who gets in; None leaves it as it is."""

    tag: str = "auto"
    """Such as "v1.2.0"; "auto" is the next minor version, "none" no tag."""

    revision: str = "main"
    """The branch."""

    message: str | None = None
    """Of the commit; one in numbers if None."""

    licence: str | None = None
    """For the card; the folder's own if None."""

    title: str | None = None
    """For the card; the folder's own if None."""

    overwrite: bool = False
    """Whether a repository that holds something else may be taken over."""

    staging: Path | None = None
    """Where the files are prepared; beside the folder if None."""

    def __post_init__(self) -> None:
        configs_of(self.policy)
        check_tag(self.tag)
        if self.gated not in (None, "auto", "manual", "no"):
            raise InputError(f"gated must be auto, manual or no, got {self.gated!r}.")
        for name in ("revision", "message", "licence", "title"):
            value = getattr(self, name)
            if value is not None and (not value.strip() or "\n" in value):
                raise InputError(f"{name} must be one line of text, got {value!r}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemovalSettings:
    """How something is removed from a published dataset."""

    reason: str | None = None
    """For the changelog and the commit; it must not name what is removed."""

    erase_history: bool = False
    """Whether old commits, tags and stored objects go too."""

    record_anyway: bool = False
    """Whether an ID that is not there is put onto the list all the same."""

    tag: str = "auto"
    """Such as "v1.2.0"; "auto" is the next minor version, "none" no tag."""

    revision: str = "main"
    """The branch."""

    staging: Path | None = None
    """Where shards are rewritten; a folder in the Hub's cache if None."""

    def __post_init__(self) -> None:
        check_tag(self.tag)
        if self.reason is not None and (not self.reason.strip() or "\n" in self.reason):
            raise InputError(f"The reason must be one line of text, got {self.reason!r}.")
