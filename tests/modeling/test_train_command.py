"""`animeshooter train`: its options, its settings, and one training from the command line."""

import argparse
import json
from pathlib import Path

import pytest
from toon_dataset import write_toon_dataset

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.open_pipeline import open_pipeline
from animeshooter_hf.modeling.testing_training import tiny_training_pipeline
from animeshooter_hf.modeling.train_command import add_arguments, run, settings_of
from animeshooter_hf.modeling.training.settings import defaults_for
from animeshooter_hf.modeling.training.train_log import read_log

SMALL = (
    "batch_size=2",
    "trackers=[]",
    "validate_every=0",
    "parts.mllm.rank=2",
    "parts.transformer.rank=2",
    "optimizer.warmup_steps=0",
)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toon_dataset(tmp_path_factory.mktemp("toon"), seeds=[0])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_training_pipeline().save_pretrained(folder)
    return folder


def small(model: Path, data: Path, out: Path, stage: str = "enhance", *more: str) -> list[str]:
    words = ["--stage", stage, "--pipeline", str(model), "--data", str(data), "--out", str(out), "--steps", "2"]
    return [*words, *(word for change in SMALL for word in ("--set", change)), *more]


def test_the_options_are_these() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = sorted(option for action in parser._actions for option in action.option_strings)
    assert options == sorted([
        "-h", "--help", "--stage", "--pipeline", "--data", "--out", "--config", "--set", "--steps", "--seed",
        "--trackers", "--dry-run", "--print-config", "--resume", "--fresh",
    ])  # fmt: skip


def test_single_settings_stand_over_options_over_the_file_over_the_stage(tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(
        "stage: single\nsteps: 7\nseed: 5\nbatch_size: 4\ndata:\n  height: 64\nparts:\n  mllm:\n    rank: 8\n"
    )
    words = ["--config", str(config), "--steps", "9", "--data", "d", "--set", "seed=6", "--set", "data.width=96"]
    settings = settings_of(parsed(*words, "--trackers", "tensorboard,wandb"))
    assert (settings.stage, settings.steps, settings.seed, settings.batch_size) == ("single", 9, 6, 4)
    assert (settings.data.dataset, settings.data.height, settings.data.width) == ("d", 64, 96)
    assert (settings.parts.mllm.mode, settings.parts.mllm.rank) == ("lora", 8)
    assert settings.dropout == defaults_for("single").dropout
    assert settings.trackers == ("tensorboard", "wandb")


def test_single_settings_are_read_as_json_or_as_text() -> None:
    words = ["optimizer.learning_rate=2e-5", "data.frame_rate=24000/1001", "data.trigger=mia toon", "cache=none",
             "gradient_checkpointing=True", 'parts.mllm.targets=["q_proj"]']  # fmt: skip
    settings = settings_of(parsed("--stage", "multi", *(word for one in words for word in ("--set", one))))
    assert settings.optimizer.learning_rate == 2e-5
    assert str(settings.data.frame_rate) == "24000/1001"
    assert (settings.data.trigger, settings.cache, settings.gradient_checkpointing) == ("mia toon", None, True)
    assert settings.parts.mllm.targets == ("q_proj",)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name the stage with --stage: align, single, multi, enhance."),
        (["--stage", "multi"], "Name the pipeline with --pipeline."),
        (["--stage", "multi", "--pipeline", "tiny"], "Name the data with --data."),
        (["--stage", "multi", "--pipeline", "tiny", "--data", "d"], "Name the folder to write to with --out."),
        (["--stage", "multi", "--set", "steps"], "--set takes KEY=VALUE"),
        (["--stage", "multi", "--set", "parts.mllm.rank=0"], "The rank of a LoRA must be a whole number of at least 1"),
        (["--stage", "multi", "--set", "optimizer.lr=1"], "unknown key 'lr', known are name, learning_rate"),
        (["--stage", "multi", "--set", "steps=many"], "expected a whole number, got 'many' @ settings.steps."),
        (["--stage", "multi", "--config", "nowhere.yaml"], "The settings nowhere.yaml cannot be read"),
        (["--stage", "multi", "--pipeline", "tiny", "--data", "nowhere/", "--out", "o"], "nowhere"),
        (["--stage", "multi", "--pipeline", "tiny", "--data", "d", "--out", "o", "--resume"], "o holds no training"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        run(parsed(*words))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_settings_that_are_printed_are_a_file_of_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parsed("--stage", "multi", "--steps", "3", "--print-config")) == 0
    file = tmp_path / "train.json"
    file.write_text(capsys.readouterr().out)
    assert settings_of(parsed("--config", str(file))) == settings_of(parsed("--stage", "multi", "--steps", "3"))


def test_a_dry_run_tells_parameters_memory_and_steps_and_writes_nothing(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parsed(*small(model, data, tmp_path / "out", "multi", "--dry-run"))) == 0
    told = capsys.readouterr().out
    pipeline = open_pipeline(str(model))
    rank, layers = 2, 3
    lora = layers * sum(
        rank * (layer.in_features + layer.out_features)
        for name, layer in pipeline.mllm.named_modules()
        if name.endswith(tuple(f"language_model.layers.0.self_attn.{one}_proj" for one in "qkvo"))
    )
    adapter = sum(weight.numel() for weight in pipeline.adapter.parameters())
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line.strip()}
    assert rows["mllm"][2:] == [f"{lora:,}", "lora", "of", "rank", "2"]
    assert rows["adapter"][1:] == [f"{adapter:,}", f"{adapter:,}", "full"]
    assert rows["transformer"][2:] == ["0", "frozen"]
    assert "2 windows, 1 steps an epoch, 2.00 epochs" in told
    # AdamW keeps two numbers in fp32 for each trained weight.
    trained = lora + adapter + 16
    assert f"{8 * trained / 1e6:,.1f} MB" == " ".join(rows["optimizer"][1:])
    assert not (tmp_path / "out").exists()


def test_a_training_from_the_command_line_goes_on_and_leaves_a_lora(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = small(model, data, out)
    assert run(parsed(*words)) == 0
    assert capsys.readouterr().out == f"{out / 'lora'}\n"
    assert run(parsed(*words, "--resume", "--steps", "3")) == 0
    assert [line["step"] for line in read_log(out)] == [1, 2, 3]
    card = (out / "lora" / "README.md").read_text()
    assert f"animeshooter train --stage enhance --pipeline {model.name} --data data --steps 3" in card
    assert json.loads((out / "lora" / "lora.json").read_text())["rank"] == 2
    with pytest.raises(InputError, match="holds a training with seed 0, and now it is 1"):
        run(parsed(*words, "--seed", "1"))
    assert run(parsed(*words, "--seed", "1", "--fresh")) == 0
    assert [line["step"] for line in read_log(out)] == [1, 2]
