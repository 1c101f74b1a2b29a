"""What tokens cost: a small table as data (`prices.json`), which a file of the user's own overrides.

Prices change and are quoted here with source and date; a model that is not in the table has no price, never a guess.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from animeshooter_hf.dataset_builder.annotate.question import Usage
from animeshooter_hf.errors import InputError

__all__ = ["Price", "find_price"]

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{3,4})$")
"""The end of a model's name that tells a snapshot, such as `-2025-04-14` or `-001`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """Price of a model, in money per million tokens."""

    model: str
    """Name of the model, without the date of a snapshot."""

    prompt: float
    """Read."""

    output: float
    """Written, thoughts included."""

    cached: float | None = None
    """Read from the provider's cache; None costs as much as read."""

    batch_factor: float = 1.0
    """What a batch costs, as a part of that."""

    source: str = ""
    """Where it was found."""

    date: str = ""
    """When."""

    def __post_init__(self) -> None:
        for name in ("prompt", "output", "cached", "batch_factor"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
                raise InputError(f"The price of {self.model} has {name} {value!r}; a number of at least 0 is needed.")

    def money(self, usage: Usage, *, in_batch: bool = False) -> float:
        """Return what tokens cost."""
        cached_price = self.prompt if self.cached is None else self.cached
        fresh_tokens = max(0, usage.prompt_tokens - usage.cached_tokens)
        millionths = fresh_tokens * self.prompt + usage.cached_tokens * cached_price + usage.output_tokens * self.output
        return millionths * (self.batch_factor if in_batch else 1.0) / 1_000_000


def find_price(model: str, file: Path | None = None) -> Price | None:
    """Return the price of a model, or None if it is not known.

    Args:
        model: Its name; the date of a snapshot at its end may be unknown to the table.
        file: A table of the user's own, in the form of `prices.json`; its entries come first.

    Raises:
        InputError: If the file cannot be used.
    """
    own = _read(file.read_text, str(file)) if file is not None else {}
    known = _read((files("animeshooter_hf.dataset_builder") / "annotate" / "prices.json").read_text, "prices.json")
    table = known | own
    return table.get(model) or table.get(_DATED.sub("", model))


def _read(read_text: Callable[..., str], name: str) -> dict[str, Price]:
    try:
        data = json.loads(read_text(encoding="utf-8"))
        prices = [Price(**entry) for entry in data["prices"]]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The price table {name} cannot be read ({error}). "
            'It needs the form {"prices": [{"model": "NAME", "prompt": 0.3, "output": 2.5}]}.'
        ) from error
    return {price.model: price for price in prices}
