"""Checks of single settings; each raises an InputError of one sentence that names the setting."""

import math
from collections.abc import Sequence
from typing import Any

from animeshooter_hf.errors import InputError

__all__ = ["check_choice", "check_number", "check_whole"]


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}.")


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse what is not allowed."""
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def check_number(
    name: str, value: Any, *, above: float | None = None, least: float | None = None, most: float | None = None
) -> None:
    """Refuse what is no finite number, or out of bounds."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or (above is not None and value <= above) or (least is not None and value < least):
        bound = "" if above is None and least is None else f" above {above}" if above is not None else f" from {least}"
        raise InputError(f"{name} must be a number{bound}, got {value!r}.")
    if most is not None and value > most:
        raise InputError(f"{name} must be at most {most}, got {value!r}.")
