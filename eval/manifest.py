"""What a run's numbers were made with and from: versions of libraries, and hashes of every file that went in."""

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from animeshooter_hf._version import __version__

__all__ = ["library_versions", "make_manifest"]

_LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "av",
    "pillow",
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "open-clip-torch",
    "onnxruntime",
)
"""Those that a number may depend on; what is not installed is left out."""


@cache
def library_versions() -> dict[str, str]:
    """Return name -> version, of this library, of Python and of what is installed of `_LIBRARIES`."""
    versions = {"animeshooter-hf": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def make_manifest(inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest of a run over some inputs, name -> SHA-256 ("" for a file that could not be read)."""
    return {"library_versions": dict(library_versions()), "inputs": dict(inputs)}
