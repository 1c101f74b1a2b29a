"""The words of the judge's prompts: text files in `prompts/`, in our own words, with `{name}` for what is filled in."""

import hashlib
from functools import cache
from importlib.resources import files

__all__ = ["prompt_text", "prompts_hash"]

_RUBRIC = "rubric"


def prompt_text(name: str, **values: str | int) -> str:
    """Return a prompt with its values filled in; `{rubric}` is filled by itself.

    Raises:
        ValueError: If a value has no place in the prompt.
    """
    text = _read(name).replace("{rubric}", _read(_RUBRIC))
    for key, value in values.items():
        place = "{" + key + "}"
        if place not in text:
            raise ValueError(f"The prompt {name} has no place for {key}.")
        text = text.replace(place, str(value))
    return text


def prompts_hash(protocol: str) -> str:
    """Return the first twelve digits of a SHA-256 over all prompts of a protocol, for its signature."""
    names = (protocol, f"{protocol}_answer", _RUBRIC, "repair", "anchor")
    return hashlib.sha256("\0".join(_read(name) for name in names).encode()).hexdigest()[:12]


@cache
def _read(name: str) -> str:
    text = (files("animeshooter_hf.eval.judge") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
    return text.strip()
