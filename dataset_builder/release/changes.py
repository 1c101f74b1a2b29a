"""The difference between two JSON values as a short list of changes, and its application.

It serves to keep what the rows do not: `told` is what the rows say in the release's form, `original` the file; applied
to the one, the changes give the other, value for value and type for type, whatever the two are.

A change is (path, action, value). `set` puts a value at a path, `remove` takes a key out of an object, `order` puts an
object's keys in order, `arrange` makes a list anew: each number in its value takes the element of that position in the
told list, null leaves room for a new one.
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from animeshooter_hf.dataset_builder.release.keys import CHARACTER, MASK, SHOT, fold_key, is_short

__all__ = ["Change", "apply_changes", "find_changes"]

_NAMING = {alias for table in (CHARACTER, MASK, SHOT) for alias, field in table.items()
           if field in ("id", "frame", "start", "end", "span")}  # fmt: skip
"""Keys that tell one element of a list from another."""


_NAMING_KEYS: dict[tuple[str, ...], tuple[str, ...]] = {}
_MAX_REMEMBERED = 4096
_NAMES = (str, int)


class Change(NamedTuple):
    """One difference."""

    path: tuple[str | int, ...]
    """Keys and positions from the top, in the original."""

    action: Literal["set", "remove", "order", "arrange"]
    """What is done there."""

    value: Any = None
    """What is set, the order, or the arrangement."""


def find_changes(told: Any, original: Any) -> list[Change]:
    """Return the changes that make the original of the told value; none if they are the same."""
    changes: list[Change] = []
    _compare(told, original, (), changes)
    return changes


def apply_changes(told: Any, changes: Sequence[Change]) -> Any:
    """Return the original; it is made of the told value and of the values of the changes, which are used up.

    Raises:
        LookupError: If a change does not fit the told value.
    """
    root = [told]
    for change in changes:
        here: Any = root
        path = (0, *change.path)
        for step in path[:-1]:
            here = here[step]
        if change.action == "remove":
            del here[path[-1]]
        elif change.action == "set":
            here[path[-1]] = change.value
        elif change.action == "order":
            here[path[-1]] = {key: here[path[-1]][key] for key in change.value}
        else:
            before = here[path[-1]]
            here[path[-1]] = _rearrange(before, change.value)
    return root[0]


def _rearrange(before: list[Any], arrangement: Sequence[int | None]) -> list[Any]:
    after: list[Any] = []
    taken: set[int] = set()
    for at in arrangement:
        after.append(None if at is None else copy.deepcopy(before[at]) if at in taken else before[at])
        taken |= set() if at is None else {at}
    return after


def _compare(told: Any, original: Any, path: tuple[str | int, ...], changes: list[Change]) -> None:
    if type(told) is not type(original):
        changes.append(Change(path, "set", original))
    elif isinstance(original, dict):
        _compare_objects(told, original, path, changes)
    elif isinstance(original, list):
        _compare_lists(told, original, path, changes)
    elif not _is_same(told, original):
        changes.append(Change(path, "set", original))


def _compare_objects(
    told: dict[str, Any], original: dict[str, Any], path: tuple[str | int, ...], changes: list[Change]
) -> None:
    for key, value in original.items():
        if key not in told:
            changes.append(Change((*path, key), "set", value))
            continue
        if not _is_same(told[key], value):  # no path is made for what is, and nearly everything is
            _compare(told[key], value, (*path, key), changes)
    if list(told) != list(original):
        changes.extend(Change((*path, key), "remove") for key in told if key not in original)
        made = [key for key in told if key in original] + [key for key in original if key not in told]
        if made != list(original):
            changes.append(Change(path, "order", list(original)))


def _compare_lists(told: list[Any], original: list[Any], path: tuple[str | int, ...], changes: list[Change]) -> None:
    if _is_same(told, original):
        return
    arrangement: list[int | None] | range = range(len(original))
    names, wanted = _names(told), _names(original)
    if names != wanted:
        arrangement = _arrange(names, wanted)
        if arrangement != list(range(len(told))):
            changes.append(Change(path, "arrange", arrangement))
    for position, at in enumerate(arrangement):
        value = original[position]
        if at is None:
            changes.append(Change((*path, position), "set", value))
        elif not _is_same(told[at], value):
            _compare(told[at], value, (*path, position), changes)


def _is_same(told: Any, original: Any) -> bool:
    """Return whether two JSON values are the same: of one type, in one order, all the way down."""
    kind = type(original)
    if kind is not type(told):
        return False
    if kind is dict:
        if list(told) != list(original):
            return False
        told, original = told.values(), original.values()
    elif kind is not list:
        return bool(told == original) and (kind is not float or repr(told) == repr(original))  # -0.0 is not 0.0
    elif len(told) != len(original):
        return False
    for one, other in zip(told, original, strict=True):
        kind = type(other)
        if kind is dict or kind is list:
            if not _is_same(one, other):
                return False
        elif kind is not type(one) or one != other or (kind is float and not _is_same(one, other)):
            return False
    return True


def _arrange(names: list[Any], wanted: list[Any]) -> list[int | None]:
    """Return for each wanted element the position of the one that has its name; the unnamed are paired in order."""
    free: dict[Any, list[int]] = {}
    for position in reversed(range(len(names))):
        if names[position] is not None:
            free.setdefault(names[position], []).append(position)
    arrangement: list[int | None] = []
    for name in wanted:
        positions = free.get(name)
        arrangement.append(None if not positions else positions.pop() if len(positions) > 1 else positions[0])
    used = {position for position in arrangement if position is not None}
    rest = [position for position in range(len(names)) if position not in used]
    places = [position for position, at in enumerate(arrangement) if at is None]
    if len(rest) == len(places):
        for place, position in zip(places, rest, strict=True):
            arrangement[place] = position
    return arrangement


def _names(items: list[Any]) -> list[Any]:
    """Return for each element what tells it from the others, None if nothing does."""
    names: list[Any] = []
    keys: tuple[str, ...] = ()
    naming: tuple[str, ...] = ()
    for item in items:
        if isinstance(item, dict):
            if keys != (keys := tuple(item)):  # the elements of a list mostly have the same keys
                naming = _naming_keys(keys)
            named = [value for key in naming if isinstance(value := item[key], _NAMES)]
            names.append(tuple(named) or None)
        else:
            names.append(item if isinstance(item, _NAMES) else None)
    return names


def _naming_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of an object's keys that tell it from others."""
    found = _NAMING_KEYS.get(keys)
    if found is None:
        found = tuple(key for key in keys if fold_key(key) in _NAMING)
        if is_short(keys):
            if len(_NAMING_KEYS) >= _MAX_REMEMBERED:
                _NAMING_KEYS.clear()
            _NAMING_KEYS[keys] = found
    return found
