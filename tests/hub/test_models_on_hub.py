"""Checkpoints on a Hub: published in one commit, and loaded by unmodified clients with the same frames, bit by bit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from client_environment import client_environment
from loopback_hub import LoopbackHub, loopback_hub


@dataclass(frozen=True)
class Told:
    """What the clients said, and the Hub after it."""

    hub: LoopbackHub
    published: dict[str, Any]
    read: dict[str, Any]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """What `model_client.py` says; the answer to its first commit is lost."""
    folder = tmp_path_factory.mktemp("models")
    with loopback_hub(folder / "hub") as hub:
        hub.cut("POST", "me/whole/commit", "after")
        command = [sys.executable, str(Path(__file__).parent / "model_client.py")]
        environment = client_environment(hub.url, folder / "home")
        made = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert made.returncode == 0, made.stderr[-3000:]
        published, read = json.loads(made.stdout.splitlines()[-1])
        yield Told(hub, published, read)


@pytest.mark.parametrize("name", ["whole", "revision", "offline", "pointer", "shim"])
def test_a_published_checkpoint_makes_the_same_frames(told: Told, name: str) -> None:
    assert told.read[name] == told.published["plain"]


@pytest.mark.parametrize("name", ["lora", "lora-pointer", "shim lora", "shim pointer"])
def test_one_with_a_lora_on_the_multimodal_model_makes_the_same_frames(told: Told, name: str) -> None:
    assert told.published["lora"] != told.published["plain"]
    assert told.read[name] == told.published["lora"]


@pytest.mark.parametrize(
    "module", ["animeshooter_hf.modeling.adapter", "animeshooter_hf.modeling.decoders.reference_latents"]
)
def test_modules_that_checkpoints_name_are_there_once_the_pipeline_class_is(told: Told, module: str) -> None:
    assert module in told.read["imported"]


def test_the_shim_gives_our_class(told: Told) -> None:
    assert told.read["shim class"] == "AnimeShooterGenPipeline"


def test_the_base_class_never_loses_a_lora_in_silence(told: Told) -> None:
    assert "1 weights of mllm are missing, such as adapter_model.safetensors" in told.read["shim lost lora"]


def test_a_checkpoint_is_one_commit_and_the_same_again_is_none(told: Told) -> None:
    held = told.hub.repositories["model", "me/whole"]
    assert [held.titles[commit] for commit in held.log(held.refs["main"])] == [
        "Upload AnimeShooterGenPipeline",
        "initial commit",
    ]
    assert held.is_private
    assert held.tags["v1"] == held.refs["main"]
    assert told.published["address"] == told.published["again"] == f"{told.hub.url}/me/whole/commit/{held.refs['main']}"


def test_no_object_is_sent_twice(told: Told) -> None:
    assert len(told.hub.uploads()) == len(set(told.hub.uploads()))


def test_weights_that_a_pointer_stands_for_go_and_files_of_others_stay(told: Told) -> None:
    held = told.hub.repositories["model", "me/pointer"]
    newest, first, _ = (set(held.commits[commit]) for commit in held.log(held.refs["main"]))
    assert "mllm/model.safetensors" in first
    assert [path for path in newest if path.startswith("mllm/")] == ["mllm/base_model.json"]
    assert ".gitattributes" in newest


def test_a_pointer_keeps_its_revision_when_the_base_moves_on(told: Told) -> None:
    held = told.hub.repositories["model", "me/base"]
    assert held.refs["main"] != told.published["base_revision"]
    assert told.read["pointer"] == told.published["plain"]


def test_what_cannot_be_loaded_is_said_in_one_sentence(told: Told) -> None:
    none, base, revision, homeless, wan, offline, no_lora, no_weights = told.read["errors"]
    assert none.startswith("There is no model me/none on the Hub that can be seen from here.")
    assert base == "me/base is no checkpoint: it has no model_index.json."
    assert revision == "The model me/whole has no revision 'v9' on the Hub."
    assert homeless.startswith("The checkpoint me/homeless holds no multimodal model but points to me/absent, which")
    assert wan == "me/wan is a checkpoint of WanPipeline, not of AnimeShooterGenPipeline."
    assert offline == "The checkpoint me/never is not on this machine, and the Hub cannot be asked."
    assert no_lora.startswith("The LoRA me/none cannot be had from the Hub: ")
    assert no_weights.endswith("holds no LoRA that can be read: pytorch_lora_weights.safetensors is missing or broken.")
    assert not any("\n" in error for error in told.read["errors"])


def test_a_lora_of_its_own_names_its_base_and_comes_back_exactly(told: Told) -> None:
    assert told.published["mia"] != told.published["plain"]
    assert told.read["mia"] == told.published["mia"]
    assert (told.read["mia base"], told.read["mia character"]) == ("me/whole", "Mia")
    held = told.hub.repositories["model", "me/mia"]
    assert told.published["mia address"] == f"{told.hub.url}/me/mia/commit/{held.refs['main']}"
    assert set(held.commits[held.refs["main"]]) >= {"README.md", "lora.json", "pytorch_lora_weights.safetensors"}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("me/whole", 'pipe = ash.AnimeShooterGenPipeline.from_pretrained("me/whole")'),
        ("me/mia", 'pipe = ash.AnimeShooterGenPipeline.from_pretrained("me/whole")'),
        ("me/mia", 'loras.add("me/mia", weight=1.0)'),
        ("me/lora-pointer", "The multimodal model is not in this repository: loading follows a pointer to `me/base`"),
    ],
)
def test_the_card_on_the_hub_says_how_to_load_what_is_there(told: Told, name: str, line: str) -> None:
    held = told.hub.repositories["model", name]
    card = told.hub.blob(held.commits[held.refs["main"]]["README.md"].oid).read_text()
    assert line in card
    assert "path/of" not in card
