"""A Hub on loopback for the tests that publish and load; clients run in processes of their own, unmodified."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from client_environment import client_environment
from loopback_hub import LoopbackHub, loopback_hub
from uploader_jobs import ClientServer, RunClient, Uploaders


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with loopback_hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Hub, a process that runs `animeshooter publish`, and a dataset folder; see `publish_folder.World`."""
    from publish_folder import open_world

    with open_world(tmp_path_factory.mktemp("publish")) as made:
        yield made


@pytest.fixture(scope="session")
def client_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ClientServer]]:
    servers: dict[Any, ClientServer] = {}

    def get(xet: bool, **environment: str) -> ClientServer:
        key = xet, *sorted(environment.items())
        if key not in servers:
            folder = tmp_path_factory.mktemp("clients")
            settings = client_environment("http://127.0.0.1:9", folder / "home", xet=xet, **environment)
            servers[key] = ClientServer(folder, settings)
        return servers[key]

    yield get
    for server in servers.values():
        server.close()


@pytest.fixture
def uploaders(hub: LoopbackHub, client_server: Callable[..., ClientServer]) -> Uploaders:
    return Uploaders(hub, client_server)


@pytest.fixture
def run_client(hub: LoopbackHub, tmp_path: Path) -> RunClient:
    """Run Python code as a user of the Hub would, with a clean cache; what it prints comes back."""

    def run(code: str, *, xet: bool = False) -> str:
        environment = client_environment(hub.url, tmp_path / "home", xet=xet)
        made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert made.returncode == 0, made.stderr[-3000:]
        return made.stdout.strip()

    return run
