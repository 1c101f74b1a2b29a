"""A dataset's provenance, as the manifest keeps it, in words.

What a stage does is told here; which stages ran, in which version, with which prompts and models, is told by the
provenance. An unknown stage is named and not explained.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["detector_names", "model_names", "prompt_hashes", "stage_sentences"]

_STAGES: Mapping[str, str] = {
    "probe": "reads what kind of film a file is and refuses what cannot be decoded",
    "scan": "decodes each film once and finds the boundaries of shots",
    "admit": "keeps animation and drops stills, live action and films with burnt-in subtitles, with the reason",
    "segment": "cuts a film into stories of about a minute, at boundaries of shots",
    "script": "asks the annotator for storyline, characters, scenes and captions, and sets every shot to exact frames",
    "references": "looks for frames that show a character best, and cuts the character out",
    "audio": "finds shots whose sound is neither speech nor music, and asks what is heard",
    "clips": "cuts clips and sound exactly, and encodes them",
}
_NO_MODELS = {"truth", "auto", "script"}


def stage_sentences(provenance: Mapping[str, Any]) -> list[str]:
    """Return a sentence per stage that ran, in order."""
    stages = provenance.get("stages")
    if not isinstance(stages, Mapping):
        return []
    return [
        f"{name} (version {_version(stage)}) {_STAGES[name]}."
        if name in _STAGES
        else f"{name} (version {_version(stage)})."
        for name, stage in stages.items()
    ]


def model_names(provenance: Mapping[str, Any]) -> list[str]:
    """Return the models that answered, each once; a script that tells the truth is no model."""
    return list(dict.fromkeys(name for name in _texts(provenance.get("models")) if name not in _NO_MODELS))


def detector_names(provenance: Mapping[str, Any]) -> list[str]:
    """Return what found the boundaries of shots."""
    return list(dict.fromkeys(_texts(provenance.get("detectors"))))


def prompt_hashes(provenance: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Return (stage, SHA-256 of each of its prompts) of the stages that ask something; nothing if no model answered."""
    if not model_names(provenance):
        return []
    stages = provenance.get("stages")
    found = []
    for name, stage in stages.items() if isinstance(stages, Mapping) else ():
        hashes = tuple(dict.fromkeys(_prompts(stage)))
        if hashes:
            found.append((name, hashes))
    return found


def _version(stage: Any) -> str:
    return str(stage["version"]) if isinstance(stage, Mapping) and "version" in stage else "unknown"


def _texts(value: Any) -> Sequence[str]:
    return [one for one in value if isinstance(one, str) and one.strip()] if isinstance(value, list | tuple) else []


def _prompts(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "prompts":
                yield from _texts(list(value.values()) if isinstance(value, Mapping) else value)
            else:
                yield from _prompts(value)
