"""Guidance: the arithmetic by hand, off means the plain pipeline, and three branches in one call."""

import math
from functools import cache
from typing import Any

import pytest
import torch

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders import ReferenceLatents, ShotInputs, decoder_for
from animeshooter_hf.modeling.decoders.step_cache import enable_step_cache
from animeshooter_hf.modeling.guidance import BranchGuidance, GuidanceSettings, combine_predictions, scale_at
from animeshooter_hf.modeling.testing_decoders import tiny_cogvideox, tiny_wan

torch.set_num_threads(1)

SIZES = {
    "cogvideox": {"num_frames": 9, "height": 32, "width": 48, "num_inference_steps": 3},
    "wan": {"num_frames": 5, "height": 32, "width": 64, "num_inference_steps": 3},
}


@cache
def decoder(family: str) -> Any:
    return decoder_for(**(tiny_cogvideox() if family == "cogvideox" else tiny_wan("2.2")))


def embeds(seed: int) -> torch.Tensor:
    return torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(seed))


FULL, NEGATIVE, UNREFERENCED = embeds(1), embeds(2), embeds(3)


def latents(guidance: GuidanceSettings | float, family: str = "cogvideox", *, full: torch.Tensor = FULL) -> Any:
    return decoder(family).decode_latents(
        full,
        NEGATIVE,
        guidance_scale=guidance,
        generators=[torch.Generator().manual_seed(0)],
        inputs=ShotInputs(unreferenced_embeds_BLD=UNREFERENCED),
        **SIZES[family],
    )


def test_predictions_are_combined_as_by_hand() -> None:
    negative, middle, full = torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([10.0])
    assert combine_predictions(negative, full, text_scale=2.0).item() == 1 + 2 * 9
    both = {"unreferenced": middle, "reference_scale": 0.5}
    assert combine_predictions(negative, full, text_scale=4.0, **both).item() == 1 + 4 * 2 + 0.5 * 7


def test_equal_scales_are_ordinary_guidance() -> None:
    negative, middle, full = torch.randn(3, 50, dtype=torch.float64)
    three = combine_predictions(negative, full, text_scale=6.0, unreferenced=middle, reference_scale=6.0)
    torch.testing.assert_close(three, combine_predictions(negative, full, text_scale=6.0))


def test_one_of_two_belonging_arguments_is_refused() -> None:
    with pytest.raises(ValueError, match="give both or neither"):
        combine_predictions(torch.ones(1), torch.ones(1), text_scale=1.0, reference_scale=1.0)


def test_the_cosine_schedule_rises_from_one_to_one_plus_the_scale() -> None:
    assert scale_at(6.0, 0.0, "cosine") == 1
    assert scale_at(6.0, 1.0, "cosine") == pytest.approx(7)
    assert scale_at(6.0, 0.5, "cosine") == pytest.approx(1 + 3 * (1 - math.cos(math.pi / 32)))
    values = [scale_at(6.0, step / 20, "cosine") for step in range(21)]
    assert values == sorted(values)
    assert scale_at(6.0, 0.3, "constant") == 6


@pytest.mark.parametrize("family", ["cogvideox", "wan"])
def test_a_plain_scale_is_the_guidance_of_diffusers(family: str) -> None:
    assert torch.equal(latents(GuidanceSettings(text_scale=6.0), family), latents(6.0, family))


@pytest.mark.parametrize("family", ["cogvideox", "wan"])
def test_three_branches_with_equal_scales_equal_the_guidance_of_diffusers(family: str) -> None:
    three = latents(GuidanceSettings(text_scale=6.0, reference_scale=6.0), family)
    torch.testing.assert_close(three, latents(6.0, family), rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", ["cogvideox", "wan"])
def test_a_reference_scale_of_zero_forgets_what_the_references_add(family: str) -> None:
    three = latents(GuidanceSettings(text_scale=6.0, reference_scale=0.0), family)
    torch.testing.assert_close(three, latents(6.0, family, full=UNREFERENCED), rtol=0, atol=1e-4)
    assert (three - latents(GuidanceSettings(text_scale=6.0, reference_scale=9.0), family)).abs().max() > 1e-2


def test_guided_shots_of_a_batch_equal_them_one_by_one() -> None:
    settings = GuidanceSettings(text_scale=6.0, reference_scale=3.0, schedule="cosine")
    prompts = torch.cat([FULL, embeds(8)])
    together = decoder("cogvideox").decode_latents(
        prompts,
        NEGATIVE,
        guidance_scale=settings,
        generators=[torch.Generator().manual_seed(0) for _ in range(2)],
        inputs=ShotInputs(unreferenced_embeds_BLD=UNREFERENCED),
        **SIZES["cogvideox"],
    )
    alone = torch.cat([latents(settings, full=prompts[:1]), latents(settings, full=prompts[1:])])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_reference_latents_belong_to_the_branch_with_references() -> None:
    parts = tiny_cogvideox()
    path = ReferenceLatents.for_transformer(parts["transformer"])
    torch.nn.init.constant_(path.gates, 1.0)

    def with_path(reference_scale: float, given: torch.Tensor | None) -> torch.Tensor:
        return decoder_for(**parts, reference_latents=path).decode_latents(
            FULL,
            NEGATIVE,
            guidance_scale=GuidanceSettings(text_scale=6.0, reference_scale=reference_scale),
            generators=[torch.Generator().manual_seed(0)],
            inputs=ShotInputs(unreferenced_embeds_BLD=UNREFERENCED, reference_latents_BRChw=given),
            **SIZES["cogvideox"],
        )

    given = torch.randn(1, 2, 4, 4, 6, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(with_path(0.0, given), with_path(0.0, None), rtol=0, atol=1e-4)
    assert (with_path(3.0, given) - with_path(3.0, None)).abs().max() > 1e-2


def test_one_call_of_the_transformer_per_step_makes_all_branches() -> None:
    sizes = []
    transformer = decoder("cogvideox").pipeline.transformer
    hook = transformer.patch_embed.register_forward_pre_hook(lambda _, args: sizes.append(len(args[1])))
    latents(GuidanceSettings(text_scale=6.0, reference_scale=3.0))
    latents(GuidanceSettings(text_scale=6.0, schedule="cosine"))
    hook.remove()
    assert sizes == [3, 3, 3, 2, 2, 2]


def test_a_schedule_moves_both_scales_over_the_steps_of_both_experts() -> None:
    seen: list[float] = []

    class Watched(BranchGuidance):
        def _combined(self, predictions: torch.Tensor, text_scale: float) -> tuple[torch.Tensor]:
            seen.append(self._step / 2)
            return super()._combined(predictions, text_scale)

    negative = torch.zeros(1, 16, 32)
    branches = Watched(GuidanceSettings(text_scale=4.0, schedule="cosine"), negative, num_steps=lambda: 3)
    wan = decoder("wan").pipeline
    with branches.on(wan.transformer, wan.transformer_2):
        wan(prompt_embeds=FULL, guidance_scale=1.0, output_type="latent", **SIZES["wan"])
    assert seen == [0.0, 0.5, 1.0]
    assert not torch.equal(latents(GuidanceSettings(text_scale=6.0, schedule="cosine")), latents(6.0))


def test_nothing_is_left_on_the_transformer() -> None:
    transformer = decoder("cogvideox").pipeline.transformer
    latents(GuidanceSettings(text_scale=6.0, reference_scale=3.0))
    assert not transformer._forward_pre_hooks
    assert not transformer._forward_hooks


def test_the_second_expert_of_wan_has_its_own_text_scale() -> None:
    both = {"text_scale": 6.0, "reference_scale": 6.0}
    two = latents(GuidanceSettings(**both, low_noise_scale=3.0), "wan")
    assert (two - latents(GuidanceSettings(**both), "wan")).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_scale": -1}, "text_scale must lie in 0 to 100, got -1"),
        ({"text_scale": True}, "text_scale must lie in 0 to 100, got True"),
        ({"text_scale": 6.0, "reference_scale": 101}, "reference_scale must lie in 0 to 100, got 101"),
        ({"text_scale": 6.0, "schedule": "linear"}, "schedule must be one of constant, cosine, got 'linear'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GuidanceSettings(**settings)


def test_a_reference_scale_without_its_condition_is_refused() -> None:
    settings = GuidanceSettings(text_scale=6.0, reference_scale=3.0)
    with pytest.raises(InputError, match="needs the condition of the context without references"):
        BranchGuidance(settings, NEGATIVE, num_steps=lambda: 3)
    with pytest.raises(InputError, match="needs the condition of the context without references"):
        decoder("cogvideox").decode(
            FULL, NEGATIVE, guidance_scale=settings, generator=torch.Generator(), **SIZES["cogvideox"]
        )


def test_faster_cache_and_several_branches_are_refused_together() -> None:
    parts = tiny_cogvideox()
    enable_step_cache(parts["transformer"], "faster")
    with pytest.raises(InputError, match="FasterCache guesses the negative prediction"):
        decoder_for(**parts).decode(
            FULL,
            NEGATIVE,
            guidance_scale=GuidanceSettings(text_scale=6.0, schedule="cosine"),
            generator=torch.Generator(),
            **SIZES["cogvideox"],
        )
