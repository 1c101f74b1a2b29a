"""Optional parts: say which extra is missing instead of failing somewhere inside."""

from importlib import import_module
from types import ModuleType

from animeshooter_hf.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module, or say what to install and why.

    Args:
        module: Dotted name to import.
        extra: Name of the `animeshooter-hf` extra that brings it.
        purpose: What the caller wanted to do, as a short phrase.

    Raises:
        MissingExtraError: If the module is not installed; it is an `ImportError`.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"{purpose} needs {module}. Install it with: pip install 'animeshooter-hf[{extra}]'"
        ) from error
