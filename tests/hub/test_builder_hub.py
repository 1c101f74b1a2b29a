"""`AnimeShooterBuilder` over a repository: it downloads what it needs, and a new commit is never served stale."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_environment import client_environment
from loopback_hub import LoopbackHub, loopback_hub

from animeshooter_hf.dataset_builder.package_writer import ConfigWriter, WriterSettings
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.takedown import hash_id

CLIP_BYTES = 400_000
NUM_SHOTS = 12

LOOP = """
import json, sys
from huggingface_hub import HfApi
from animeshooter_hf import AnimeShooterBuilder
api = HfApi()
def build(config="shots", data_dir="me/data", **options):
    return AnimeShooterBuilder(config_name=config, data_dir=data_dir, **options)
def stream(**options):
    return build(**options).as_streaming_dataset(split="train").decode(False)
def prepare(**options):
    builder = build(**options)
    builder.download_and_prepare()
    return builder.as_dataset(split="train").with_format("arrow")[:].to_pylist()
for line in sys.stdin:
    try:
        answer = eval(json.loads(line))
    except ValueError as error:
        answer = [type(error).__name__, str(error)]
    print("@" + json.dumps(answer), flush=True)
"""


class Client:
    """A user's process, which says what an expression gives; the server counts what that took."""

    def __init__(self, hub: LoopbackHub, home: Path) -> None:
        self.hub = hub
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOOP],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=client_environment(hub.url, home),
        )  # fmt: skip
        self.bytes = 0

    def ask(self, expression: str) -> Any:
        """Return the value of an expression; `bytes` then says how many the server has sent for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = self.hub.bytes_sent
        self._process.stdin.write(json.dumps(expression) + "\n")
        self._process.stdin.flush()
        answer = next(line for line in self._process.stdout if line.startswith("@"))
        self.bytes = self.hub.bytes_sent - before
        return json.loads(answer[1:])

    def upload(self, folder: Path) -> None:
        self.ask(f"api.upload_folder(repo_id='me/data', repo_type='dataset', folder_path={str(folder)!r}) and None")

    def close(self) -> None:
        self._process.communicate()


def row(number: int) -> dict[str, Any]:
    video = {"path": f"{number}.mp4", "bytes": secrets.token_bytes(CLIP_BYTES)}
    ids = {"video_id": f"v{number:02d}", "story_id": f"v{number:02d}_000", "shot_id": f"v{number:02d}_000_00"}
    empty = dict.fromkeys(CONFIGS["shots"])
    return {**empty, **ids, "characters": ["Mia"], "narrative_caption": f"Mia does {number}.", "video": video}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shots in two files of three row groups each."""
    root = tmp_path_factory.mktemp("data")
    settings = WriterSettings(row_group_bytes=2 * CLIP_BYTES + 10_000, shard_bytes=6 * CLIP_BYTES + 30_000)
    writer = ConfigWriter(root, "shots", "train", CONFIGS["shots"], settings)
    for number in range(NUM_SHOTS):
        writer.write_story([row(number)])
    assert [shard.num_rows for shard in writer.close()] == [6, 6]
    return root


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("hub")
    with loopback_hub(root / "store") as hub:
        client = Client(hub, root / "home")
        client.ask("api.create_repo('me/data', repo_type='dataset') and None")
        client.upload(folder)
        yield client
        client.close()


IDS = [f"v{number:02d}_000_00" for number in range(NUM_SHOTS)]


def test_every_row_is_streamed(client: Client) -> None:
    assert client.ask("[row['shot_id'] for row in stream()]") == IDS
    assert client.ask("[len(row['video']['bytes']) for row in stream().take(1)]") == [CLIP_BYTES]
    assert client.ask("stream().reshard().num_shards") == 6


def test_the_first_row_takes_one_row_group_and_not_the_file(client: Client) -> None:
    assert client.ask("next(iter(stream()))['shot_id']") == IDS[0]
    assert 2 * CLIP_BYTES < client.bytes < 3 * CLIP_BYTES


def test_captions_are_streamed_without_the_clips_beside_them(client: Client) -> None:
    captions = client.ask("[row['narrative_caption'] for row in stream(columns=['narrative_caption'])]")
    assert captions == [f"Mia does {number}." for number in range(NUM_SHOTS)]
    assert client.bytes < CLIP_BYTES


def test_it_is_prepared_and_then_served_from_the_cache(client: Client) -> None:
    assert client.ask("[row['shot_id'] for row in prepare()]") == IDS
    assert client.bytes > NUM_SHOTS * CLIP_BYTES
    assert client.ask("[row['shot_id'] for row in prepare(data_dir='hf://datasets/me/data@main')]") == IDS
    assert client.bytes < CLIP_BYTES


def test_a_new_commit_is_never_served_stale(client: Client, tmp_path: Path) -> None:
    old = client.ask("api.dataset_info('me/data').sha")
    assert len(client.ask("[row['shot_id'] for row in prepare(columns=['shot_id'])]")) == NUM_SHOTS
    (tmp_path / "takedown.txt").write_text(f"{hash_id('v00')}\nstory:{hash_id('v11_000')}\n")
    client.upload(tmp_path)
    assert client.ask("[row['shot_id'] for row in prepare(columns=['shot_id'])]") == IDS[1:-1]
    assert client.ask("[row['shot_id'] for row in stream(columns=['shot_id'])]") == IDS[1:-1]
    assert client.ask(f"len(prepare(columns=['shot_id'], data_dir='me/data@{old}'))") == NUM_SHOTS


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("build('audio')", "The dataset me/data on the Hub holds no audio."),
        ("build(data_dir='me/absent')", "There is no folder me/absent, and the Hub does not give a dataset"),
        ("build(data_dir='me/data@absent')", "There is no folder me/data@absent, and the Hub does not give"),
    ],
)
def test_what_the_hub_has_not_is_refused_in_a_sentence(client: Client, expression: str, message: str) -> None:
    kind, said = client.ask(expression)
    assert kind == "InputError"
    assert said.startswith(message)
