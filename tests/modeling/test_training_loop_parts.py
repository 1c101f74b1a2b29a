"""The parts of the loop by themselves: batches, optimizers, the moving average, random states, the log."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.batch_order import BatchOrder, PartSampler
from animeshooter_hf.modeling.training.draws import draw_seed
from animeshooter_hf.modeling.training.optimizers import (
    WeightAverage,
    learning_rate_factor,
    make_optimizers,
    set_learning_rates,
)
from animeshooter_hf.modeling.training.processes import seed_libraries
from animeshooter_hf.modeling.training.settings import OptimizerSettings, PartSettings, PartsSettings
from animeshooter_hf.modeling.training.train_log import draw_curve, read_log
from animeshooter_hf.modeling.training.train_state import (
    latest_state,
    load_common,
    load_random_states,
    random_states,
    save_state,
    set_random_states,
)

NAMES = {
    "mllm.layers.0.q_proj.lora_A.default.weight": (2, 4),
    "adapter.query_tokens": (3, 4),
    "adapter.state_in.weight": (4, 4),
    "adapter.state_in.bias": (4,),
    "transformer.proj_out.weight": (4, 4),
    "reference_latents.gates": (2, 2),
}


def weights() -> list[tuple[str, nn.Parameter]]:
    torch.manual_seed(0)
    return [(name, nn.Parameter(torch.randn(shape))) for name, shape in NAMES.items()]


def groups_by_name(named: list[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer) -> dict[str, tuple]:
    found = {}
    for group in optimizer.param_groups:
        for weight in group["params"]:
            (name,) = [name for name, one in named if one is weight]
            found[name] = (group["lr"], group["weight_decay"])
    return found


# ---------------------------------------------------------------------------------------------------- batches


def test_an_epoch_sees_every_window_and_is_another_in_the_next_one() -> None:
    order = BatchOrder(num_windows=10, batch_size=4, seed=1)
    assert order.steps_per_epoch == 3
    epochs = [[key for step in range(3 * epoch, 3 * epoch + 3) for key in order.batch(step)] for epoch in range(2)]
    assert [{key.epoch for key in keys} for keys in epochs] == [{0}, {1}]
    assert [{key.position for key in keys} for keys in epochs] == [set(range(10)), set(range(10))]
    assert [key.position for key in epochs[0]] != [key.position for key in epochs[1]]


def test_a_batch_is_of_one_size() -> None:
    buckets = np.array([0, 1, 0, 1, 1, 0, 0])
    order = BatchOrder(num_windows=7, batch_size=2, seed=0, buckets=buckets)
    batches = [[int(buckets[key.position]) for key in order.batch(step)] for step in range(order.steps_per_epoch)]
    assert all(len(set(sizes)) == 1 for sizes in batches)
    assert len(batches) == 4


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)])
def test_processes_and_passes_share_the_same_batch(processes: int, accumulation: int) -> None:
    order = BatchOrder(num_windows=9, batch_size=4, seed=3)
    read: dict[int, object] = {}
    for rank in range(processes):
        sampler = PartSampler(
            order=order, begins_at=1, steps=2, accumulation=accumulation, rank=rank, world_size=processes
        )
        for turn, keys in enumerate(sampler):
            read |= dict(zip(sampler.places(turn), keys, strict=True))
    assert [read[place] for place in range(4)] == order.batch(1)


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    order = BatchOrder(num_windows=9, batch_size=4)
    with pytest.raises(InputError, match="batch_size 4 cannot be cut into equal parts for 3 processes"):
        PartSampler(order=order, begins_at=0, steps=1, world_size=3)


def test_a_source_without_windows_is_refused() -> None:
    with pytest.raises(InputError, match="no window to train on"):
        BatchOrder.of([], batch_size=1, seed=0)


def test_draws_differ_by_seed_step_place_and_purpose() -> None:
    base = draw_seed(0, 1, 2, "noise")
    others = [draw_seed(1, 1, 2, "noise"), draw_seed(0, 2, 2, "noise"), draw_seed(0, 1, 3, "noise"),
              draw_seed(0, 1, 2, "dropout"), draw_seed(0, 12, 2, "noise"), draw_seed(0, 1, 22, "noise")]  # fmt: skip
    assert len({base, *others}) == 7
    assert base == draw_seed(0, 1, 2, "noise")


# ---------------------------------------------------------------------------------------------------- optimizers


def test_matrices_decay_and_tables_and_vectors_do_not() -> None:
    named = weights()
    parts = PartsSettings(adapter=PartSettings(mode="full", learning_rate_scale=0.5))
    settings = OptimizerSettings(learning_rate=2e-4, weight_decay=0.1)
    (optimizer,) = make_optimizers(named, settings, parts)
    assert groups_by_name(named, optimizer) == {
        "mllm.layers.0.q_proj.lora_A.default.weight": (2e-4, 0.1),
        "adapter.query_tokens": (1e-4, 0.0),
        "adapter.state_in.weight": (1e-4, 0.1),
        "adapter.state_in.bias": (1e-4, 0.0),
        "transformer.proj_out.weight": (2e-4, 0.1),
        "reference_latents.gates": (2e-4, 0.0),
    }


def test_muon_moves_hidden_matrices_and_adamw_the_rest() -> None:
    named = weights()
    muon, adamw = make_optimizers(named, OptimizerSettings(name="muon"), PartsSettings())
    assert set(groups_by_name(named, muon)) == {
        "mllm.layers.0.q_proj.lora_A.default.weight",
        "adapter.state_in.weight",
    }
    assert set(groups_by_name(named, muon)) | set(groups_by_name(named, adamw)) == set(NAMES)


def test_a_step_of_muon_is_about_as_long_as_one_of_adamw() -> None:
    lengths = []
    for name in ("adamw", "muon"):
        torch.manual_seed(1)
        weight = nn.Parameter(torch.randn(64, 32))
        settings = OptimizerSettings(name=name, learning_rate=0.01, weight_decay=0)
        optimizer = make_optimizers([("adapter.state_in.weight", weight)], settings, PartsSettings())[0]
        before = weight.detach().clone()
        weight.grad = torch.randn(64, 32)
        optimizer.step()
        lengths.append(float((weight.detach() - before).norm()))
    assert 0.1 < lengths[1] / lengths[0] < 1


def test_nothing_to_train_and_8_bit_states_on_a_cpu_are_refused() -> None:
    with pytest.raises(InputError, match="Nothing is trained"):
        make_optimizers([], OptimizerSettings(), PartsSettings())
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="adamw8bit needs a GPU"):
            make_optimizers(weights(), OptimizerSettings(name="adamw8bit"), PartsSettings())


def test_the_learning_rate_warms_up_and_falls() -> None:
    def told(schedule: str) -> list[float]:
        settings = OptimizerSettings(schedule=schedule, warmup_steps=2)
        return [round(learning_rate_factor(step, settings, 6), 4) for step in range(7)]

    assert told("constant") == [0.5, 1, 1, 1, 1, 1, 1]
    assert told("linear") == [0.5, 1, 1, 0.75, 0.5, 0.25, 0]
    assert told("cosine") == [0.5, 1, 1, 0.8536, 0.5, 0.1464, 0]


def test_every_group_follows_the_learning_rate() -> None:
    parts = PartsSettings(adapter=PartSettings(mode="full", learning_rate_scale=0.5))
    optimizers = make_optimizers(weights(), OptimizerSettings(name="muon", learning_rate=1.0), parts)
    set_learning_rates(optimizers, 0.1)
    set_learning_rates(optimizers, 0.3)
    rates = {round(group["lr"], 6) for optimizer in optimizers for group in optimizer.param_groups}
    assert rates == {0.3, 0.15}


def test_the_average_follows_the_weights_and_gives_them_back() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage([("a", weight)], 0.5)
    with torch.no_grad():
        weight.fill_(3.0)
    average.update(0)  # decay (1 + 0) / (10 + 0)
    assert average.state_dict()["a"].item() == pytest.approx(1 * 0.1 + 3 * 0.9)
    average.update(100)
    assert average.state_dict()["a"].item() == pytest.approx(2.8 * 0.5 + 3 * 0.5)
    with average.in_place():
        assert weight.item() == pytest.approx(2.9)
    assert weight.item() == 3.0
    with pytest.raises(ValueError, match="of other weights"):
        average.load_state_dict({"b": torch.zeros(1)})


# ---------------------------------------------------------------------------------------------------- states


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_random_states_of_all_three_libraries_are_taken_up() -> None:
    seed_libraries(2**63 + 5)
    random.gauss(0, 1)
    kept = random_states()
    first = draws()
    assert draws() != first
    set_random_states(kept)
    assert draws() == first


def test_a_state_brings_back_weights_optimizer_average_and_random_numbers(tmp_path: Path) -> None:
    named = weights()
    (optimizer,) = make_optimizers(named, OptimizerSettings(), PartsSettings())
    for _, weight in named:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    average = {name: weight.detach() * 2 for name, weight in named}
    save_state(tmp_path, 7, weights=dict(named), optimizers=[optimizer], average=average, facts={"bad_steps": 3})
    first = draws()
    others = weights()
    (another,) = make_optimizers(others, OptimizerSettings(), PartsSettings())
    state = latest_state(tmp_path)
    assert state is not None
    assert (state.step, state.facts["bad_steps"]) == (7, 3)
    loaded = load_common(state, dict(others), [another])
    assert load_random_states(state, 0)
    assert not load_random_states(state, 1)
    assert draws() == first
    assert loaded is not None
    for name, weight in named:
        assert torch.equal(dict(others)[name], weight)
        assert torch.equal(loaded[name], weight * 2)
    for one, other in zip(optimizer.state.values(), another.state.values(), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_state_of_other_weights_or_another_optimizer_is_refused(tmp_path: Path) -> None:
    named = weights()
    optimizers = make_optimizers(named, OptimizerSettings(), PartsSettings())
    save_state(tmp_path, 1, weights=dict(named), optimizers=optimizers)
    state = latest_state(tmp_path)
    assert state is not None
    with pytest.raises(InputError, match="is of other weights"):
        load_common(state, dict(named[1:]), optimizers)
    with pytest.raises(InputError, match="is of another optimizer"):
        load_common(state, dict(named), make_optimizers(named, OptimizerSettings(name="muon"), PartsSettings()))


def test_a_state_that_is_there_and_whole_is_not_written_again(tmp_path: Path) -> None:
    named = weights()
    optimizers = make_optimizers(named, OptimizerSettings(), PartsSettings())
    folder = save_state(tmp_path, 1, weights=dict(named), optimizers=optimizers)
    before = (folder / "state.json").stat().st_mtime_ns
    save_state(tmp_path, 1, weights=dict(named), optimizers=optimizers)
    assert (folder / "state.json").stat().st_mtime_ns == before
    (folder / "weights.safetensors").write_bytes(b"broken")
    assert latest_state(tmp_path) is None
    save_state(tmp_path, 1, weights=dict(named), optimizers=optimizers)
    assert latest_state(tmp_path) is not None


# ---------------------------------------------------------------------------------------------------- the log


def test_a_line_of_the_log_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 1.0 / step}) for step in (1, 2)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + '\n{"step": 3, "lo')
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2]
    curve = draw_curve(tmp_path)
    assert curve is None or curve.stat().st_size > 1000


def test_an_empty_log_has_no_curve(tmp_path: Path) -> None:
    assert draw_curve(tmp_path) is None
