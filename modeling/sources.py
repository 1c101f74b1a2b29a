"""Where the parts of a pipeline come from, as far as the parts themselves know, and under which licence.

A model remembers the repository that it was loaded from. Licences are those that were read or are believed for that
very repository; for any other nothing is claimed.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.modeling.backbones import USUAL_CHECKPOINTS
from animeshooter_hf.modeling.packaged import PACKAGED

__all__ = ["LICENCES", "PartSource", "part_sources", "repository_of"]

LICENCES: dict[str, str] = {
    "zai-org/CogVideoX-2b": "Apache-2.0",
    "zai-org/CogVideoX-5b": "CogVideoX licence (own terms)",
    "zai-org/CogVideoX1.5-5B": "CogVideoX licence (own terms)",
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "Apache-2.0",
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": "Apache-2.0",
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": "Apache-2.0",
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": "Apache-2.0",
    **{one.model_id: one.licence + ("" if one.is_sure else " (believed)") for one in USUAL_CHECKPOINTS.values()},
}
"""Repository -> licence of its weights, as the files of the families say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSource:
    """Where one component comes from."""

    repository: str
    """On the Hub."""

    revision: str | None
    """Its revision, where it is known."""

    licence: str | None
    """Licence of that repository's weights, where it is known here."""


def part_sources(pipeline: Any) -> dict[str, PartSource]:
    """Return component -> its source, for those that were loaded from a repository."""
    found = {}
    for name, component in pipeline.components.items():
        config = getattr(component, "config", None)
        repository = repository_of(config)
        if repository is not None:
            revision = getattr(config, "_commit_hash", None)
            found[name] = PartSource(repository=repository, revision=revision, licence=LICENCES.get(repository))
    return found


def repository_of(config: Any) -> str | None:
    """Return the repository, or the packaged checkpoint, that settings say they were loaded from; a folder is none."""
    if config is None:
        return None
    name = config.get("_name_or_path") if hasattr(config, "get") else getattr(config, "_name_or_path", None)
    is_named = str(name) in PACKAGED or re.fullmatch(r"[\w.-]+/[\w.-]+", str(name or ""))
    return str(name) if is_named and not Path(str(name)).exists() else None
