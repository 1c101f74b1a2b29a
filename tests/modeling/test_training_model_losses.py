"""Losses equal the formulas, and what diffusers' own trainers compute; what is dropped is a function of the seed."""

from collections import Counter

import numpy as np
import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.prompt_layout import ShotChunk
from animeshooter_hf.modeling.testing_decoders import tiny_cogvideox, tiny_wan
from animeshooter_hf.modeling.training.condition_dropout import (
    NO_CAPTION,
    draw_dropout,
    noisy_picture,
    without_caption,
    without_references,
)
from animeshooter_hf.modeling.training.draws import sample_generator
from animeshooter_hf.modeling.training.losses import (
    DiffusionProcess,
    FlowProcess,
    alignment_loss,
    diffusion_loss,
    loss_by_time,
    noise_process,
)
from animeshooter_hf.modeling.training.settings import DropoutSettings, LossSettings

torch.set_num_threads(1)


def drawn(count: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clips, noise, and what a model might tell, shape (B, F, C, h, w)."""
    generator = torch.Generator().manual_seed(0)
    first, second, third = (torch.randn(count, 3, 4, 4, 6, generator=generator) for _ in range(3))
    return first, second, third


def generators(count: int) -> list[torch.Generator]:
    return [sample_generator(0, 0, position, "test") for position in range(count)]


# ---------------------------------------------------------------------------------------------------- diffusion


@pytest.mark.parametrize("kind", [CogVideoXDDIMScheduler, CogVideoXDPMScheduler])
def test_the_loss_of_cogvideox_is_that_of_diffusers_trainer(kind: type) -> None:
    scheduler = kind.from_config(tiny_cogvideox("2b")["scheduler"].config)
    process = noise_process(scheduler)
    clips, noise, told = drawn()
    times = torch.tensor([0, 1, 300, 700, 998, 999])
    # examples/cogvideo/train_cogvideox_lora.py of diffusers.
    noisy = scheduler.add_noise(clips, noise, times)
    clip_told = scheduler.get_velocity(told, noisy, times)
    weights = (1 / (1 - scheduler.alphas_cumprod[times])).view(-1, 1, 1, 1, 1)
    theirs = (weights * (clip_told - clips) ** 2).reshape(len(clips), -1).mean(1)
    ours = diffusion_loss(told, process.target(clips, noise, times), process.weights(times, None))
    torch.testing.assert_close(process.noised(clips, noise, times), noisy, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours, theirs.float(), rtol=2e-3, atol=1e-4)


def test_each_prediction_of_a_diffusion_model_has_its_target() -> None:
    abar = torch.linspace(0.99, 0.01, 10, dtype=torch.float64)
    clips, noise, _ = drawn(2)
    times = torch.tensor([2, 8])
    root, rest = (value[times].sqrt().float().view(-1, 1, 1, 1, 1) for value in (abar, 1 - abar))
    expected = {"v_prediction": root * noise - rest * clips, "epsilon": noise, "sample": clips}
    for prediction, target in expected.items():
        torch.testing.assert_close(DiffusionProcess(abar, prediction).target(clips, noise, times), target)


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon", "sample"])
def test_min_snr_weights_are_those_of_the_paper(prediction: str) -> None:
    abar = torch.tensor([0.999, 0.9, 0.5, 0.1], dtype=torch.float64)
    times, gamma = torch.arange(4), 5.0
    snr = abar / (1 - abar)
    capped = torch.minimum(snr, torch.tensor(gamma))
    expected = {"v_prediction": capped / (snr + 1), "epsilon": capped / snr, "sample": capped}[prediction]
    process = DiffusionProcess(abar, prediction)
    torch.testing.assert_close(process.weights(times, gamma), expected.float())
    assert torch.equal(process.weights(times, None), torch.ones(4))


def test_min_snr_weights_are_finite_where_nothing_of_the_clip_is_left() -> None:
    scheduler = tiny_cogvideox("2b")["scheduler"]
    for prediction, expected in (("v_prediction", 0.0), ("epsilon", 1.0), ("sample", 0.0)):
        weights = DiffusionProcess(scheduler.alphas_cumprod, prediction).weights(torch.tensor([999]), 5.0)
        assert weights.tolist() == [expected]


def test_uniform_times_are_all_as_likely_and_logit_normal_ones_in_the_middle() -> None:
    process = noise_process(tiny_cogvideox("2b")["scheduler"])
    uniform = process.sample_times(LossSettings(), generators(2000), 1).double()
    assert uniform.dtype == torch.float64
    assert 0 <= uniform.min() < 20
    assert 980 < uniform.max() <= 999
    assert abs(uniform.mean() - 499.5) < 25
    settings = LossSettings(timestep_sampling="logit_normal", timestep_mean=1.0, timestep_std=0.5)
    middle = process.sample_times(settings, generators(2000), 1).double()
    assert abs(middle.median() - 731) < 15
    assert middle.std() < 0.5 * uniform.std()


def test_times_depend_on_the_generators_alone() -> None:
    process = noise_process(tiny_cogvideox("2b")["scheduler"])
    first = process.sample_times(LossSettings(), generators(4), 1)
    assert torch.equal(first, process.sample_times(LossSettings(), generators(4), 1))
    assert torch.equal(first[:2], process.sample_times(LossSettings(), generators(2), 1))


# ---------------------------------------------------------------------------------------------------- flow


def test_the_loss_of_wan_is_that_of_diffusers_flow_matching_trainers() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    process = noise_process(scheduler)
    clips, noise, told = drawn(3)
    chosen = torch.tensor([10, 500, 990])
    times = scheduler.timesteps[chosen]
    # examples/dreambooth/train_dreambooth_lora_*.py of diffusers.
    sigmas = scheduler.sigmas[chosen].view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(process.noised(clips, noise, times), (1.0 - sigmas) * clips + sigmas * noise)
    theirs = ((told - (noise - clips)) ** 2).reshape(3, -1).mean(1)
    ours = diffusion_loss(told, process.target(clips, noise, times), process.weights(times, None))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler(shift=3.0), tiny_wan()["scheduler"]])
def test_times_of_a_flow_are_shifted_as_its_scheduler_shifts_them(scheduler: object) -> None:
    process = noise_process(scheduler)
    assert isinstance(process, FlowProcess)
    shares = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(process.times_of(shares, 1), torch.tensor([500.0, 750.0, 1000.0]))


def test_a_shift_by_resolution_moves_larger_shots_to_more_noise() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    process = noise_process(scheduler)
    share = torch.tensor([0.5], dtype=torch.float64)
    few, many = (process.times_of(share, tokens).item() / 1000 for tokens in (256, 4096))
    for value, mu in ((few, 0.5), (many, 1.15)):
        expected = scheduler.time_shift(mu, 1.0, 0.5)
        assert value == pytest.approx(expected, rel=1e-5)


def test_min_snr_weights_of_a_flow_cap_the_error_of_the_clip() -> None:
    times = torch.tensor([100.0, 500.0, 900.0])
    sigma = times.double() / 1000
    expected = torch.minimum(((1 - sigma) / sigma) ** 2, torch.tensor(5.0)) * sigma**2
    torch.testing.assert_close(FlowProcess().weights(times, 5.0), expected.float())


def test_a_scheduler_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="predicts 'nonsense' cannot be trained"):
        DiffusionProcess(torch.ones(3), "nonsense")
    with pytest.raises(InputError, match="flow-matching scheduler whose model predicts 'epsilon'"):
        noise_process(UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="epsilon"))
    assert isinstance(noise_process(EulerDiscreteScheduler()), DiffusionProcess)


def test_a_prediction_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="prediction has the shape"):
        diffusion_loss(torch.zeros(1, 2), torch.zeros(1, 3), torch.ones(1))


def test_losses_are_told_by_bands_of_time() -> None:
    losses, shares = torch.tensor([1.0, 3.0, 10.0, 20.0]), torch.tensor([0.0, 0.2, 0.5, 1.0])
    expected = {"loss_at_0.00_to_0.25": 2.0, "loss_at_0.50_to_0.75": 10.0, "loss_at_0.75_to_1.00": 20.0}
    assert loss_by_time(losses, shares) == expected


# ---------------------------------------------------------------------------------------------------- alignment


def test_the_alignment_loss_weights_pads_apart_and_tells_the_cosine_of_tokens() -> None:
    wanted = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    told = wanted.clone()
    told[:, 3:] += 2.0
    is_token = torch.tensor([[True] * 3 + [False] * 2] * 2)
    found = alignment_loss(told, wanted, is_token, pad_weight=0.1)
    torch.testing.assert_close(found.losses_B, torch.full((2,), 4.0 * 0.2 / 3.2))
    assert found.token_cosine.item() == pytest.approx(1.0)
    assert found.pad_error.item() == pytest.approx(4.0)


def test_the_alignment_loss_with_pads_of_weight_1_is_the_papers_plain_mse() -> None:
    told, wanted = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.mse_loss(told, wanted)
    is_token = torch.rand(3, 5) > 0.5
    torch.testing.assert_close(alignment_loss(told, wanted, is_token, 1.0).losses_B.mean(), expected)
    torch.testing.assert_close(alignment_loss(told, wanted, None, 0.1).losses_B.mean(), expected)


def test_states_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="but the text encoder's states"):
        alignment_loss(torch.zeros(1, 4, 8), torch.zeros(1, 5, 8))


# ---------------------------------------------------------------------------------------------------- dropout


def test_conditions_are_dropped_as_often_as_the_papers_table_says() -> None:
    settings = DropoutSettings(reference=0.05, caption=0.05, both=0.05)
    counts = Counter(draw_dropout(settings, seed=0, step=step, position=0) for step in range(8000))
    shares = {(one.reference, one.caption, one.context): count / 8000 for one, count in counts.items()}
    assert set(shares) == {(False, False, False), (True, False, False), (False, True, False), (True, True, False)}
    for kind in ((True, False, False), (False, True, False), (True, True, False)):
        assert abs(shares[kind] - 0.05) < 0.01


def test_what_is_dropped_depends_on_seed_step_and_position_alone() -> None:
    settings = DropoutSettings(reference=0.3, caption=0.3, both=0.3, context=0.5)
    first = [draw_dropout(settings, seed=1, step=step, position=2) for step in range(30)]
    assert first == [draw_dropout(settings, seed=1, step=step, position=2) for step in range(30)]
    assert first != [draw_dropout(settings, seed=2, step=step, position=2) for step in range(30)]
    assert first != [draw_dropout(settings, seed=1, step=step, position=3) for step in range(30)]
    without = DropoutSettings(reference=0.3, caption=0.3, both=0.3)
    moved = [draw_dropout(without, seed=1, step=step, position=2) for step in range(30)]
    assert [(one.reference, one.caption) for one in first] == [(one.reference, one.caption) for one in moved]


def test_a_dropped_condition_leaves_the_rest_of_the_chunk() -> None:
    picture, last = Image.new("RGB", (8, 8)), Image.new("RGB", (9, 9))
    first = ShotChunk(("Mia:", picture, "Mia naps."), num_reference_segments=2)
    assert without_references(first) == ShotChunk(("Mia naps.",))
    assert without_caption(first) == ShotChunk(("Mia:", picture), num_reference_segments=2)
    assert without_caption(ShotChunk((last, "She wakes."))) == ShotChunk((last, NO_CAPTION))
    assert without_caption(ShotChunk(("She wakes.",))) == ShotChunk((NO_CAPTION,))


def test_noise_on_a_picture_has_a_deviation_drawn_up_to_that_asked_for_and_none_changes_nothing() -> None:
    frame = np.full((64, 64, 3), 128, np.uint8)
    generator = torch.Generator().manual_seed(0)
    deviations = [(noisy_picture(frame, 0.1, generator).astype(float) - 128).std() for _ in range(40)]
    assert max(deviations) < 26.5
    assert abs(np.mean(deviations) - 12.75) < 2
    assert noisy_picture(frame, 0.0, torch.Generator()) is frame
