"""A Hub on loopback for the tests that publish and load; clients run in processes of their own, unmodified."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from loopback_hub import LoopbackHub, loopback_hub

RunClient = Callable[..., str]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with loopback_hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def run_client(hub: LoopbackHub, tmp_path: Path) -> RunClient:
    """Run Python code as a user of the Hub would, with a clean cache; what it prints comes back."""

    def run(code: str, *, xet: bool = False) -> str:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": "hf_loopback",
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_OFFLINE": "0",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert made.returncode == 0, made.stderr[-3000:]
        return made.stdout.strip()

    return run
