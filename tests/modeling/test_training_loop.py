"""A training from begin to end, at toy size: the same numbers after a stop, on two processes, after a kill."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from toon_dataset import write_toon_dataset

from animeshooter_hf.config_file import read_settings, settings_to_json
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import load_stories
from animeshooter_hf.modeling.open_pipeline import open_pipeline
from animeshooter_hf.modeling.testing_training import tiny_training_pipeline
from animeshooter_hf.modeling.training.open_training import open_windows
from animeshooter_hf.modeling.training.parameters import changed_parts, frozen_marks, prepare_parts
from animeshooter_hf.modeling.training.settings import (
    STAGES,
    DataSettings,
    DropoutSettings,
    OptimizerSettings,
    PartSettings,
    PartsSettings,
    TrainSettings,
    defaults_for,
)
from animeshooter_hf.modeling.training.train_log import read_log
from animeshooter_hf.modeling.training.train_state import latest_state
from animeshooter_hf.modeling.training.trainer import train

SCRIPT = Path(__file__).with_name("training_process.py")
STEPS = 4


def _script() -> Any:
    spec = spec_from_file_location("training_process", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


settings_of: Callable[..., TrainSettings] = _script().settings_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toon_dataset(tmp_path_factory.mktemp("toon"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def whole(data: Path, cache: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing came between."""
    out = tmp_path_factory.mktemp("whole") / "out"
    train(settings_of(data, out, steps=STEPS, cache=cache), pipeline=tiny_training_pipeline())
    return out


@pytest.fixture(scope="module")
def processes(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the trainings of `training_process.py` took place."""
    folder = tmp_path_factory.mktemp("processes")
    done = subprocess.run([sys.executable, str(SCRIPT), str(data), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out) if "loss" in line]


def state_of(out: Path) -> dict[str, torch.Tensor]:
    """Return every tensor that the last state holds, the optimizers' too."""
    state = latest_state(out / "state")
    assert state is not None
    found = {}
    for file in sorted(state.folder.glob("*.safetensors")):
        found |= {f"{file.stem} {name}": value for name, value in load_file(file).items()}
    for file in sorted(state.folder.glob("optimizer_*.pt")):
        for number, values in torch.load(file, weights_only=True)["state"].items():
            found |= {f"{file.stem} {number} {name}": torch.as_tensor(value) for name, value in values.items()}
    return found


def assert_same(one: Path, other: Path) -> None:
    assert losses(one) == losses(other)
    first, second = state_of(one), state_of(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def stop_at(*steps: int) -> Callable[[int, Any], None]:
    def ask(step: int, _: Any) -> None:
        if step in steps:
            os.kill(os.getpid(), signal.SIGINT)

    return ask


# ---------------------------------------------------------------------------------------------------- going on


@pytest.mark.parametrize(
    ("stage", "optimizer", "stops"),
    [("multi", "adamw", (1, 2, 3)), ("multi", "muon", (2,)), ("enhance", "adamw", (2,))],
)
def test_a_training_that_is_stopped_after_any_step_ends_with_the_same_bits(
    data: Path, cache: str, tmp_path: Path, stage: str, optimizer: str, stops: tuple[int, ...]
) -> None:
    settings = settings_of(data, tmp_path / "whole", stage, steps=STEPS, cache=cache, accumulation=2, save_every=100)
    moving = replace(settings.optimizer, name=optimizer, ema_decay=0.9, schedule="cosine", warmup_steps=2)
    settings = replace(settings, optimizer=moving)
    train(settings, pipeline=tiny_training_pipeline())
    broken = replace(settings, out=str(tmp_path / "broken"))
    for step in stops:
        with pytest.raises(KeyboardInterrupt):
            train(broken, pipeline=tiny_training_pipeline(), on_step=stop_at(step))
    train(broken, pipeline=tiny_training_pipeline())
    assert [line["step"] for line in read_log(tmp_path / "broken")] == [1, 2, 3, 4]
    assert_same(tmp_path / "whole", tmp_path / "broken")


def test_a_training_that_is_killed_while_it_saves_goes_on_from_a_whole_state(
    data: Path, cache: str, processes: Path, whole: Path
) -> None:
    left = json.loads((processes / "report.json").read_text())["killed"]
    assert any(name.endswith(".partial") for name in left), "the kill came at another moment each time"
    state = latest_state(processes / "killed" / "state")
    assert state is not None
    assert state.step >= 2
    train(settings_of(data, processes / "killed", steps=state.step + 1), pipeline=tiny_training_pipeline())
    assert losses(processes / "killed")[:STEPS] == losses(whole)[: state.step + 1]
    assert not list((processes / "killed" / "state").glob("*.partial"))


def test_a_full_disk_ends_in_one_sentence_and_the_same_command_goes_on(
    data: Path, cache: str, processes: Path, whole: Path
) -> None:
    told = (processes / "full.txt").read_text()
    assert told.startswith("The state of step 1 cannot be written to ")
    assert "File too large" in told
    assert told.endswith("Make room and run the same command again.")
    out = processes / "full"
    assert not list((out / "state").iterdir())
    train(replace(settings_of(data, out, steps=1), cache=cache, is_cached=False), pipeline=tiny_training_pipeline())
    assert len(losses(out)) == 1


def test_a_disk_that_is_full_while_the_optimizer_is_written_ends_in_one_sentence(processes: Path) -> None:
    told = (processes / "full_optimizer.txt").read_text()
    assert "torch could not write optimizer_0.pt, as where a disk is full; there is no earlier one." in told
    assert not list((processes / "full_optimizer").iterdir())


def test_what_was_trained_is_not_lost_where_it_cannot_be_written(data: Path, cache: str, tmp_path: Path) -> None:
    settings = settings_of(data, tmp_path / "out", "align", steps=1, cache=cache)
    blocking = tmp_path / "out" / ".pipeline.partial"
    with pytest.raises(InputError, match=r"^What was trained cannot be written to .* The saved states are whole; make"):
        train(settings, pipeline=tiny_training_pipeline(), on_step=lambda *_: blocking.touch())
    blocking.unlink()
    place = train(settings, pipeline=tiny_training_pipeline())
    assert open_pipeline(str(place)).config.weights_origin.startswith("trained: stage align, 1 steps")
    assert [line["step"] for line in read_log(tmp_path / "out")] == [1]


def test_two_processes_train_as_one_does(processes: Path, whole: Path) -> None:
    assert json.loads((processes / "report.json").read_text())["two"] == [0, 0]
    assert losses(processes / "two") == pytest.approx(losses(whole)[:3], rel=1e-5)
    one = load_file(whole / "state" / "step_00000003" / "weights.safetensors")
    two = load_file(processes / "two" / "state" / "step_00000003" / "weights.safetensors")
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=2e-6)


def test_a_state_that_was_damaged_is_passed_over_for_the_one_before(
    data: Path, cache: str, tmp_path: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(data, tmp_path / "out", steps=STEPS, cache=cache)
    with pytest.raises(KeyboardInterrupt):
        train(settings, pipeline=tiny_training_pipeline(), on_step=stop_at(3))
    file = tmp_path / "out" / "state" / "step_00000003" / "weights.safetensors"
    held = bytearray(file.read_bytes())
    held[-1] ^= 1
    file.write_bytes(held)
    train(settings, pipeline=tiny_training_pipeline())
    assert "weights.safetensors was changed" in caplog.text
    assert_same(tmp_path / "out", whole)


def test_only_the_latest_states_stay(whole: Path) -> None:
    assert sorted(path.name for path in (whole / "state").iterdir()) == ["step_00000003", "step_00000004"]


def test_a_training_that_is_done_is_not_done_again_and_more_steps_go_on(data: Path, cache: str, tmp_path: Path) -> None:
    settings = settings_of(data, tmp_path / "out", "align", steps=1, cache=cache)
    place = train(settings, pipeline=tiny_training_pipeline())
    before = (place / "model_index.json").stat().st_mtime_ns
    assert train(settings, pipeline=tiny_training_pipeline()) == place
    assert (place / "model_index.json").stat().st_mtime_ns == before
    train(replace(settings, steps=2), pipeline=tiny_training_pipeline())
    assert [line["step"] for line in read_log(tmp_path / "out")] == [1, 2]
    train(replace(settings, seed=9), pipeline=tiny_training_pipeline(), fresh=True)
    assert [line["step"] for line in read_log(tmp_path / "out")] == [1]


def test_workers_that_read_ahead_change_nothing(data: Path, cache: str, tmp_path: Path, whole: Path) -> None:
    settings = settings_of(data, tmp_path / "out", steps=STEPS, cache=cache, workers=1)
    train(settings, pipeline=tiny_training_pipeline())
    assert_same(tmp_path / "out", whole)


class _Unreadable:
    """Windows of which one cannot be read."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Any) -> Any:
        if key.position == 1:
            raise InputError("The clip of shot three cannot be read.")
        return self.source[key]


def test_a_window_that_a_worker_cannot_read_is_one_sentence(data: Path, tmp_path: Path) -> None:
    settings = settings_of(data, tmp_path / "out", workers=1, is_cached=False)
    source = _Unreadable(open_windows(settings, tiny_training_pipeline().decoder))
    with pytest.raises(InputError, match=r"^The clip of shot three cannot be read\.$"):
        train(settings, pipeline=tiny_training_pipeline(), source=source)


# ---------------------------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("stage", ["align", "multi", "enhance"])
def test_frozen_parts_stay_as_they_were_and_trained_ones_move(
    data: Path, cache: str, tmp_path: Path, stage: str
) -> None:
    settings = settings_of(data, tmp_path / "out", stage, steps=1, cache=cache)
    untouched, pipeline = tiny_training_pipeline(), tiny_training_pipeline()
    torch.manual_seed(0)
    before = {name: weight.clone() for name, weight in prepare_parts(untouched, settings.parts)}
    train(settings, pipeline=pipeline)
    # Before it is aligned, the adapter gets the scale of the text encoder's features, and those of "".
    measured = ["adapter"] if stage == "align" else []
    assert changed_parts(frozen_marks(untouched), frozen_marks(pipeline)) == measured
    state = latest_state(tmp_path / "out" / "state")
    assert state is not None
    after = load_file(state.folder / "weights.safetensors")
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    wanted = {name for name in ("mllm", "adapter", "transformer", "reference_latents")
              if settings.parts[name].mode != "frozen"}  # fmt: skip
    assert moved == wanted


def test_the_adapter_is_aligned_at_the_scale_of_the_text_encoder(data: Path, cache: str, tmp_path: Path) -> None:
    settings = settings_of(data, tmp_path / "out", "align", steps=1, cache=cache)
    settings = replace(settings, loss=replace(settings.loss, pad_weight=1.0))
    pipeline = tiny_training_pipeline()
    place = train(settings, pipeline=pipeline)
    shots = [shot for item in load_stories(data) for shot in item.story.shots]
    states_SLD = torch.cat([pipeline.encode_text(shot.descriptive_caption or "") for shot in shots])
    adapter = open_pipeline(str(place)).adapter
    torch.testing.assert_close(adapter.output_mean, states_SLD.mean((0, 1)))
    torch.testing.assert_close(adapter.output_std, states_SLD.std((0, 1), correction=0))
    torch.testing.assert_close(adapter.null_embeds, pipeline.encode_text(""))
    again = settings_of(data, tmp_path / "again", "align", steps=1, cache=cache)
    train(replace(again, data=replace(again.data, trigger="mia")), pipeline=pipeline)
    assert torch.equal(pipeline.adapter.output_mean, adapter.output_mean)


def test_what_was_trained_loads_as_a_pipeline_that_says_so(data: Path, cache: str, tmp_path: Path) -> None:
    settings = settings_of(data, tmp_path / "out", steps=2, cache=cache, validate_every=2, licence="apache-2.0")
    parts = replace(settings.parts, transformer=PartSettings(mode="lora", rank=2, alpha=8.0))
    settings = replace(settings, parts=parts, optimizer=replace(settings.optimizer, ema_decay=0.5))
    scores = {"likeness": 0.25}
    pipeline = tiny_training_pipeline()
    place = train(settings, pipeline=pipeline, on_validation=lambda *_: scores)
    assert place == tmp_path / "out" / "pipeline"
    loaded = open_pipeline(str(place))
    assert loaded.config.weights_origin == ("trained: stage multi, 2 steps on data, seed 0; began with random weights")
    # What is saved is the moving average, with the video model's LoRA merged.
    state = latest_state(tmp_path / "out" / "state")
    assert state is not None
    average = load_file(state.folder / "average.safetensors")
    assert torch.equal(loaded.adapter.query_tokens, average["adapter.query_tokens"])
    assert not getattr(loaded.transformer, "peft_config", None)
    name = "transformer_blocks.0.attn1.to_q"
    down, up = (average[f"transformer.{name}.lora_{one}.default.weight"] for one in "AB")
    base = tiny_training_pipeline().transformer.get_submodule(name).weight
    torch.testing.assert_close(loaded.transformer.get_submodule(name).weight, base + 4.0 * up @ down)
    card = (place / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "| likeness | 0.2500 |" in card
    assert "![samples/00.png]" in card
    assert "transformer (LoRA of rank 2)" in card
    assert str(tmp_path) not in card
    assert read_log(tmp_path / "out")[-1] == {"step": 2, "validation/likeness": 0.25}
    sheets = sorted((tmp_path / "out" / "validation" / "step_2").glob("*.png"))
    assert [sheet.name for sheet in sheets] == ["compact-0_000.png", "compact-1_000.png"]
    assert Image.open(sheets[0]).width > 300


def test_a_lora_that_was_trained_comes_back_with_its_alpha(data: Path, cache: str, tmp_path: Path) -> None:
    settings = settings_of(data, tmp_path / "out", "enhance", steps=2, cache=cache, character="fox")
    parts = replace(settings.parts, transformer=PartSettings(mode="lora", rank=2, alpha=8.0))
    settings = replace(settings, parts=parts, data=replace(settings.data, trigger="mia_toon"))
    trained = tiny_training_pipeline()
    place = train(settings, pipeline=trained)
    assert place == tmp_path / "out" / "lora"
    loaded = tiny_training_pipeline()
    info = loaded.load_lora(place)
    assert (info.rank, info.alpha, info.trigger, info.character) == (2, 8.0, "mia_toon", "fox")
    one, other = trained.transformer.state_dict(), loaded.transformer.state_dict()
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    layers = [pipeline.transformer.transformer_blocks[0].attn1.to_q for pipeline in (trained, loaded)]
    assert layers[0].scaling == {"default": 4.0}
    assert layers[1].scaling == {"default": 4.0}


# ---------------------------------------------------------------------------------------------------- refusals


def test_a_loss_that_is_no_number_stops_with_a_sentence_and_the_state_is_kept(
    data: Path, cache: str, tmp_path: Path
) -> None:
    settings = settings_of(data, tmp_path / "out", "single", steps=6, cache=cache, save_every=100)
    settings = replace(settings, optimizer=replace(settings.optimizer, learning_rate=1e30, max_grad_norm=None))
    with pytest.raises(InputError, match=r"^Step \d gave a loss of .*is kept in .*lower learning_rate"):
        train(settings, pipeline=tiny_training_pipeline())
    state = latest_state(tmp_path / "out" / "state")
    assert state is not None
    assert state.step == len(losses(tmp_path / "out"))


def test_a_log_that_cannot_be_written_ends_in_one_sentence(data: Path, cache: str, tmp_path: Path) -> None:
    settings = settings_of(data, tmp_path / "out", "align", cache=cache)

    def spoil(*_: Any) -> None:
        (tmp_path / "out" / "log.jsonl").unlink()
        (tmp_path / "out" / "log.jsonl").mkdir()

    with pytest.raises(InputError, match=r"^The log .* cannot be written: Is a directory\. The saved states are whole"):
        train(settings, pipeline=tiny_training_pipeline(), on_step=spoil)


def test_steps_without_a_finite_loss_may_be_left_out(data: Path, cache: str, tmp_path: Path) -> None:
    pipeline = tiny_training_pipeline()
    with torch.no_grad():
        pipeline.adapter.state_in.weight[0, 0] = torch.nan
    settings = settings_of(data, tmp_path / "out", "align", steps=2, cache=cache, max_bad_steps=2)
    train(settings, pipeline=pipeline)
    assert losses(tmp_path / "out") == [None, None]
    before = tiny_training_pipeline().adapter.query_tokens
    assert torch.equal(pipeline.adapter.query_tokens, before)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"seed": 1},
            "holds a training with seed 0, and now it is 1; name another folder, or begin anew with --fresh.",
        ),
        ({"stage": "enhance"}, "holds a training with "),
        ({"optimizer": "muon"}, "holds a training with optimizer.name 'adamw', and now it is 'muon'"),
    ],
)
def test_the_folder_of_another_training_is_refused(
    data: Path, whole: Path, changes: dict[str, Any], sentence: str
) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    settings = settings_of(data, whole, changes.pop("stage", "multi"), steps=STEPS)
    if "optimizer" in changes:
        settings = replace(settings, optimizer=replace(settings.optimizer, name=changes["optimizer"]))
    settings = replace(settings, seed=changes.get("seed", 0))
    with pytest.raises(InputError) as caught:
        train(settings, pipeline=tiny_training_pipeline())
    assert sentence in str(caught.value)
    assert before == {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}


def test_a_training_does_not_go_on_from_another_pipeline(data: Path, whole: Path) -> None:
    with pytest.raises(InputError, match="began with another pipeline"):
        train(settings_of(data, whole, steps=STEPS), pipeline=tiny_training_pipeline(1))


def test_a_folder_of_something_else_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.png").touch()
    with pytest.raises(InputError, match="is not empty and holds no training"):
        train(settings_of(data, tmp_path), pipeline=tiny_training_pipeline())
    with pytest.raises(InputError, match="lies in, a file"):
        train(settings_of(data, tmp_path / "holiday.png"), pipeline=tiny_training_pipeline())


def test_two_trainings_in_one_folder_at_once_are_refused(data: Path, cache: str, tmp_path: Path) -> None:
    settings = settings_of(data, tmp_path / "out", "align", steps=1, cache=cache)

    def another(*_: Any) -> None:
        with pytest.raises(InputError, match="Another process trains into"):
            train(settings, pipeline=tiny_training_pipeline())

    train(settings, pipeline=tiny_training_pipeline(), on_step=another)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trackers": ("tensorbord",)}, "There is no tracker 'tensorbord'; there are auto, "),
        ({"trackers": ("dvclive",)}, "The tracker dvclive is not installed: pip install dvclive."),
        ({"out": ""}, "Name the folder to write to."),
        ({"num_frames": 17}, "left out because"),
        ({"window": 9}, "9 clips in a row"),
        ({"parts": PartsSettings()}, "Nothing is trained"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_sentence(
    data: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    settings = settings_of(data, tmp_path / "out")
    of_data = {name: value for name, value in changes.items() if name in ("num_frames", "window")}
    others = {name: value for name, value in changes.items() if name not in of_data}
    settings = replace(settings, data=replace(settings.data, **of_data), **others)
    with pytest.raises(InputError) as caught:
        train(settings, pipeline=tiny_training_pipeline())
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (PartSettings, {"mode": "lora", "rank": 0}, "The rank of a LoRA must be a whole number of at least 1, got 0."),
        (TrainSettings, {"stage": "multi", "batch_size": 6, "accumulation": 4}, "6 cannot be cut into 4 equal parts"),
        (TrainSettings, {"stage": "second"}, "stage must be one of align, single, multi, enhance, got 'second'."),
        (DropoutSettings, {"reference": 0.6, "caption": 0.6}, "must be at most 1 together"),
        (OptimizerSettings, {"learning_rate": 0}, "learning_rate must be a number above 0, got 0."),
        (OptimizerSettings, {"betas": (0.9,)}, "betas must be two numbers"),
        (DataSettings, {"buckets": ("480x720",)}, "A bucket is written HEIGHTxWIDTHxFRAMES"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(kind: Any, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        kind(**values)


@pytest.mark.parametrize("stage", STAGES)
def test_settings_come_back_from_a_file_and_an_unknown_key_is_refused(stage: str, tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    told = settings_to_json(defaults_for(stage))
    file.write_text(json.dumps(told))
    assert read_settings(file, TrainSettings) == defaults_for(stage)
    file.write_text(json.dumps({**told, "learning_rate": 1}))
    with pytest.raises(InputError, match="unknown key 'learning_rate', known are stage"):
        read_settings(file, TrainSettings)


def test_the_defaults_are_the_papers_table() -> None:
    table = {
        stage: (
            defaults_for(stage).data.window,
            defaults_for(stage).batch_size,
            defaults_for(stage).steps,
            {name: defaults_for(stage).parts[name].mode for name in ("mllm", "adapter", "transformer")},
            defaults_for(stage).dropout,
        )
        for stage in STAGES
    }
    read, learned = {"mllm": "lora", "adapter": "full", "transformer": "frozen"}, 1_800_000
    thrice = DropoutSettings(reference=0.05, caption=0.05, both=0.05)
    assert table == {
        "align": (1, 32, learned, {**read, "mllm": "frozen"}, DropoutSettings()),
        "single": (1, 24, 17_000, read, thrice),
        "multi": (3, 8, 8_000, read, DropoutSettings(both=0.05)),
        "enhance": (3, 2, 1_000, {"mllm": "frozen", "adapter": "frozen", "transformer": "lora"}, DropoutSettings()),
    }


def test_a_dataset_without_references_is_refused(tmp_path: Path) -> None:
    bare = write_toon_dataset(tmp_path / "bare", seeds=[0], with_references=False)
    with pytest.raises(InputError, match=r"has a reference picture.*require_references"):
        train(settings_of(bare, tmp_path / "out"), pipeline=tiny_training_pipeline())


def test_align_without_a_text_encoder_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="T5"):
        train(settings_of(data, tmp_path / "out", "align"), pipeline=tiny_training_pipeline(with_text_encoder=False))
