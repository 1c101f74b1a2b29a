"""Settings from a file: JSON or YAML into the same frozen dataclasses that code and command line use.

An unknown key, a value of another type and a value that the dataclass itself refuses are each one sentence that names
the key. cattrs does the work.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import cattrs
import yaml
from cattrs.strategies import configure_union_passthrough

from animeshooter_hf.errors import InputError

__all__ = ["read_settings", "settings_from", "settings_to_json"]

Settings = TypeVar("Settings")


def read_settings(path: Path, kind: type[Settings]) -> Settings:
    """Return the settings of a `.json`, `.yaml` or `.yml` file; what is absent keeps its default.

    Raises:
        InputError: If the file cannot be read, or a key or a value does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The settings {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    try:
        data = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"The settings {path} are no {path.suffix.lstrip('.').upper() or 'YAML'}: {first}.") from error
    try:
        return settings_from(data or {}, kind)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def settings_from(data: object, kind: type[Settings]) -> Settings:
    """Return the settings that a mapping means.

    Raises:
        InputError: If a key or a value does not fit.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"Settings must be keys and values, got {type(data).__name__}.")
    try:
        return _converter().structure(data, kind)
    except InputError:
        raise
    except Exception as error:  # cattrs raises groups of whatever its parts raised
        raise InputError(_sentence(error)) from error


def settings_to_json(settings: Any) -> Any:
    """Return settings as plain JSON values, by which they are hashed and written down."""
    if not is_dataclass(settings) or isinstance(settings, type):
        raise TypeError(f"Settings are a dataclass, got {type(settings).__name__}.")
    return json.loads(json.dumps(asdict(settings), default=str))


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(Path, lambda value, _: Path(_checked(value, str, "a text")))
    converter.register_structure_hook(Fraction, lambda value, _: Fraction(str(value)))
    converter.register_structure_hook(bool, lambda value, _: _checked(value, bool, "true or false"))
    converter.register_structure_hook(str, lambda value, _: _checked(value, str, "a text"))
    converter.register_structure_hook(int, lambda value, _: _whole(value))
    converter.register_structure_hook(float, lambda value, _: float(_checked(value, (int, float), "a number")))
    converter.register_structure_hook_func(
        lambda kind: get_origin(kind) is tuple, lambda value, kind: _tuple(value, kind, converter)
    )
    configure_union_passthrough(str | int | float | bool | None, converter)
    return converter


def _checked(value: object, kind: Any, name: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"expected {name}, got {value!r}")
    return value


def _whole(value: object) -> int:
    return int(_checked(value, int, "a whole number"))


def _tuple(value: object, kind: Any, converter: cattrs.Converter) -> tuple[Any, ...]:
    return tuple(converter.structure(one, get_args(kind)[0]) for one in _checked(value, list, "a list"))


def _sentence(error: BaseException) -> str:
    """Return the first message of what cattrs raised, with the place of the key."""
    messages = cattrs.transform_error(error, path="settings", format_exception=_describe)
    return str(next(iter(messages), error)).removesuffix(".") + "."


def _describe(error: BaseException, kind: type | None) -> str:
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        known = ", ".join(field.name for field in fields(error.cl))
        return f"unknown key {sorted(error.extra_fields)[0]!r}, known are {known}"
    if isinstance(error, KeyError):
        return f"the key {error.args[0]!r} is missing"
    name = getattr(kind, "__name__", str(kind))
    return str(error).removesuffix(".") if isinstance(error, ValueError) else f"a value does not fit {name}"
