"""The prompts: text files in `dataset_builder/prompts/`, one question each, in our own words.

A prompt's hash stands in the provenance of whatever it helped to write, so a changed prompt is a changed dataset.
`$name` is replaced by a value; an unknown or a missing one is an error of ours.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from string import Template

__all__ = ["Prompt", "load_prompt"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file."""

    name: str
    """File name without suffix."""

    text: str
    """Its text, with `$name` where values go."""

    sha256: str
    """Hash of the text."""

    def fill(self, **values: object) -> str:
        """Return the text with all values in place.

        Raises:
            KeyError: If a value is missing.
        """
        return Template(self.text).substitute({name: str(value) for name, value in values.items()})


@lru_cache
def load_prompt(name: str) -> Prompt:
    """Return the prompt of a name."""
    text = (files("animeshooter_hf.dataset_builder") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
    return Prompt(name, text, hashlib.sha256(text.encode()).hexdigest())
