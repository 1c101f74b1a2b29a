"""What goes up: which configs a policy names, and whose pixels and sound the rights allow.

Words, times, IDs and masks may always go up; pictures and sound only where the rights in the video say so. What is not
known is no permission.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from animeshooter_hf.dataset_builder.quality.rights import PixelPolicy, RightsTable, reason_against_pixels
from animeshooter_hf.errors import InputError

__all__ = ["POLICIES", "PixelChoice", "Policy", "choose_pixels", "configs_of"]

Policy = Literal["annotations-only", "references", "full"]
"""`annotations-only`: the config `stories`. `references`: the characters' pictures too. `full`: shots and sound too."""

POLICIES: tuple[Policy, ...] = get_args(Policy)

_CONFIGS: Mapping[Policy, tuple[str, ...]] = {
    "annotations-only": ("stories",),
    "references": ("stories", "references"),
    "full": ("stories", "shots", "references", "audio"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelChoice:
    """Whose pixels and sound go up."""

    allowed: tuple[str, ...] = ()
    """Videos whose pixels and sound go up."""

    reasons: Mapping[str, str] = field(default_factory=dict)
    """Video -> why its pixels and sound stay here."""


def configs_of(policy: Policy) -> tuple[str, ...]:
    """Return the configs that a policy publishes.

    Raises:
        InputError: If there is no such policy.
    """
    if policy not in _CONFIGS:
        raise InputError(f"The policy must be one of {', '.join(POLICIES)}, got {policy!r}.")
    return _CONFIGS[policy]


def choose_pixels(
    video_ids: Iterable[str], rights: RightsTable, policy: Policy, settings: PixelPolicy | None = None
) -> PixelChoice:
    """Return whose pixels and sound may go up under a policy.

    Args:
        video_ids: The videos of the dataset.
        rights: What is known of their rights.
        policy: What is to be published; without pixels nobody is asked.
        settings: On which bases pixels may be published.

    Raises:
        InputError: If the policy asks for pixels and no video allows them.
    """
    if configs_of(policy) == ("stories",):
        return PixelChoice()
    reasons: dict[str, str] = {}
    allowed: list[str] = []
    for video_id in sorted(set(video_ids)):
        reason = reason_against_pixels(rights.of(video_id), settings)
        if reason is None:
            allowed.append(video_id)
        else:
            reasons[video_id] = reason
    if not allowed:
        raise InputError(
            f"No pixels may be published under --policy {policy}: none of the {len(reasons)} videos is known to be "
            "redistributable. State the rights in a table, --rights FILE with the columns video_id, license, basis, "
            "redistributable, or publish with --policy annotations-only."
        )
    return PixelChoice(allowed=tuple(allowed), reasons=reasons)
