"""The environment of a user of the Hub on loopback."""

import os
from pathlib import Path

__all__ = ["client_environment"]


def client_environment(endpoint: str, home: Path, *, xet: bool = False, **more: str) -> dict[str, str]:
    """Return the environment of a user of a Hub; an empty value takes a variable away."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": "hf_loopback",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "HF_HUB_OFFLINE": "0",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        **more,
    }
    return {name: value for name, value in environment.items() if value}
