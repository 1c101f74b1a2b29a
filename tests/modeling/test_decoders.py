"""Decoders: frames bit-equal to the plain pipelines, what each states, batches, callbacks, what is refused."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders import DECODERS, CogVideoXDecoder, ShotInputs, WanDecoder, decoder_for
from animeshooter_hf.modeling.guidance import GuidanceSettings
from animeshooter_hf.modeling.testing_decoders import COGVIDEOX_VARIANTS, WAN_VARIANTS, tiny_cogvideox, tiny_wan

torch.set_num_threads(1)

COGVIDEOX = {"num_frames": 9, "height": 32, "width": 48, "num_inference_steps": 2}
WAN = {"num_frames": 5, "height": 32, "width": 64, "num_inference_steps": 3}


@cache
def cogvideox(variant: str) -> dict[str, Any]:
    return tiny_cogvideox(variant)


@cache
def wan(variant: str) -> dict[str, Any]:
    return tiny_wan(variant)


def embeds(count: int = 1, tokens: int = 16, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, tokens, 32, generator=torch.Generator().manual_seed(seed))


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def plain_frames(pipeline: Any, tokens: int = 16, **options: Any) -> Any:
    """Frames as a user of diffusers would get them."""
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline(
        prompt_embeds=embeds(tokens=tokens),
        negative_prompt_embeds=embeds(tokens=tokens, seed=2),
        generator=noise(),
        output_type="pil",
        **options,
    ).frames[0]
    return np.stack([np.asarray(picture) for picture in pictures])


@pytest.mark.parametrize(("variant", "tokens"), [("2b", 16), ("5b", 16), ("5b", 7), ("1.5", 11)])
def test_cogvideox_frames_equal_those_of_the_plain_pipeline(variant: str, tokens: int) -> None:
    decoder = decoder_for(**cogvideox(variant))
    ours = decoder.decode(
        embeds(tokens=tokens), embeds(tokens=tokens, seed=2), guidance_scale=6.0, generator=noise(), **COGVIDEOX
    )
    plain = CogVideoXPipeline(tokenizer=None, text_encoder=None, **cogvideox(variant))
    assert ours.shape == (9, 32, 48, 3)
    assert ours.std() > 1
    assert np.array_equal(ours, plain_frames(plain, tokens, guidance_scale=6.0, **COGVIDEOX))


def test_cogvideox_with_the_dpm_scheduler_equals_the_plain_pipeline() -> None:
    parts = {**cogvideox("2b"), "scheduler": CogVideoXDPMScheduler.from_config(cogvideox("2b")["scheduler"].config)}
    ours = decoder_for(**parts).decode(embeds(), embeds(seed=2), guidance_scale=6.0, generator=noise(), **COGVIDEOX)
    plain = CogVideoXPipeline(tokenizer=None, text_encoder=None, **parts)
    assert np.array_equal(ours, plain_frames(plain, guidance_scale=6.0, **COGVIDEOX))


@pytest.mark.parametrize("variant", WAN_VARIANTS)
def test_wan_frames_equal_those_of_the_plain_pipeline(variant: str) -> None:
    ours = decoder_for(**wan(variant)).decode(embeds(), embeds(seed=2), guidance_scale=5.0, generator=noise(), **WAN)
    plain = WanPipeline(tokenizer=None, text_encoder=None, expand_timesteps=variant == "ti2v", **wan(variant))
    assert ours.shape == (5, 32, 64, 3)
    assert ours.std() > 1
    assert np.array_equal(ours, plain_frames(plain, guidance_scale=5.0, **WAN))


def test_both_experts_of_wan_2_2_have_their_part_and_their_scale() -> None:
    decoder = decoder_for(**wan("2.2"))
    calls = []
    hooks = [
        decoder.pipeline.components[name].register_forward_hook(lambda *_, name=name: calls.append(name))
        for name in ("transformer", "transformer_2")
    ]
    settings = GuidanceSettings(text_scale=4.0, low_noise_scale=3.0)
    ours = decoder.decode(embeds(), embeds(seed=2), guidance_scale=settings, generator=noise(), **WAN)
    for hook in hooks:
        hook.remove()
    assert set(calls) == {"transformer", "transformer_2"}
    plain = WanPipeline(tokenizer=None, text_encoder=None, **wan("2.2"))
    assert np.array_equal(ours, plain_frames(plain, guidance_scale=4.0, guidance_scale_2=3.0, **WAN))


def test_a_ti2v_shot_that_begins_with_a_frame_equals_the_plain_image_pipeline() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8))
    decoder = decoder_for(**wan("ti2v"))
    ours = decoder.decode(
        embeds(), embeds(seed=2), guidance_scale=5.0, generator=noise(), inputs=ShotInputs(last_frames=[picture]), **WAN
    )
    plain = WanImageToVideoPipeline(tokenizer=None, text_encoder=None, expand_timesteps=True, **wan("ti2v"))
    assert np.array_equal(ours, plain_frames(plain, guidance_scale=5.0, image=picture, **WAN))
    without = decoder.decode(embeds(), embeds(seed=2), guidance_scale=5.0, generator=noise(), **WAN)
    assert not np.array_equal(ours, without)


def test_ti2v_shots_of_a_batch_begin_each_with_its_own_frame() -> None:
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(0, 256, (32, 64, 3), np.uint8)) for _ in range(2)]
    decoder = decoder_for(**wan("ti2v"))
    together = decoder.decode_batch(
        embeds(2),
        embeds(seed=2),
        guidance_scale=5.0,
        generators=[noise(0), noise(1)],
        inputs=ShotInputs(last_frames=pictures),
        **WAN,
    )
    for number, picture in enumerate(pictures):
        alone = decoder.decode(
            embeds(2)[number : number + 1],
            embeds(seed=2),
            guidance_scale=5.0,
            generator=noise(number),
            inputs=ShotInputs(last_frames=[picture]),
            **WAN,
        )
        assert np.array_equal(together[number], alone)


@pytest.mark.parametrize(
    ("parts", "size"),
    [(lambda: cogvideox("2b"), COGVIDEOX), (lambda: cogvideox("1.5"), COGVIDEOX), (lambda: wan("2.1"), WAN)],
)
def test_a_batch_of_shots_equals_them_one_by_one_up_to_rounding(
    parts: Callable[[], dict[str, Any]], size: dict[str, int]
) -> None:
    decoder = decoder_for(**parts())
    settings = {"guidance_scale": 6.0, **size}
    together = decoder.decode_latents(embeds(3), embeds(seed=2), generators=[noise(n) for n in range(3)], **settings)
    for number in range(3):
        alone = decoder.decode_latents(
            embeds(3)[number : number + 1], embeds(seed=2), generators=[noise(number)], **settings
        )
        torch.testing.assert_close(together[number : number + 1], alone, rtol=0, atol=2e-5)
    frames = decoder.decode_batch(embeds(3), embeds(seed=2), generators=[noise(n) for n in range(3)], **settings)
    alone = decoder.decode(embeds(3)[2:], embeds(seed=2), generator=noise(2), **settings)
    assert np.abs(frames[2].astype(int) - alone).max() <= 1


def test_a_callback_sees_every_step_and_may_change_latents() -> None:
    decoder = decoder_for(**cogvideox("2b"))
    steps = []

    def look(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps.append((step, tensors["latents"].shape, sorted(tensors)))
        return {"latents": torch.zeros_like(tensors["latents"])}

    inputs = ShotInputs(callback_on_step_end=look, callback_tensors=("latents", "prompt_embeds"))
    latents = decoder.decode_latents(
        embeds(), embeds(seed=2), guidance_scale=6.0, generators=[noise()], inputs=inputs, **COGVIDEOX
    )
    assert steps == [(step, (1, 3, 4, 4, 6), ["latents", "prompt_embeds"]) for step in (0, 1)]
    assert not latents.any()


def test_decoders_state_what_they_are() -> None:
    stated = {
        (name, variant): (decoder.condition_length, decoder.frame_rate, decoder.prediction_type, decoder.extra_inputs)
        for name, parts, variants in (("cog", cogvideox, COGVIDEOX_VARIANTS), ("wan", wan, WAN_VARIANTS))
        for variant in variants
        for decoder in [decoder_for(**parts(variant))]
    }
    nothing = frozenset[str]()
    assert stated == {
        ("cog", "2b"): (16, Fraction(8), "v_prediction", nothing),
        ("cog", "5b"): (None, Fraction(8), "v_prediction", nothing),
        ("cog", "1.5"): (None, Fraction(16), "v_prediction", nothing),
        ("wan", "2.1"): (None, Fraction(16), "flow_prediction", nothing),
        ("wan", "2.2"): (None, Fraction(16), "flow_prediction", nothing),
        ("wan", "ti2v"): (None, Fraction(24), "flow_prediction", frozenset({"last_frames"})),
    }


def test_the_published_models_have_their_published_sizes() -> None:
    with torch.device("meta"):
        small = CogVideoXTransformer3DModel(num_layers=1)
        big = CogVideoXTransformer3DModel(
            num_layers=1, patch_size_t=2, sample_height=300, sample_width=300, sample_frames=81,
            use_rotary_positional_embeddings=True,
        )  # fmt: skip
    vae, scheduler = cogvideox("2b")["vae"], cogvideox("2b")["scheduler"]
    vae16 = type(vae).from_config({**vae.config, "latent_channels": 16})
    first = CogVideoXDecoder(transformer=small, vae=vae16, scheduler=scheduler)
    assert (first.condition_length, first.text_dim, first.default_size) == (226, 4096, (49, 480, 720))
    newer = CogVideoXDecoder(transformer=big, vae=vae16, scheduler=scheduler)
    assert (newer.condition_length, newer.default_size) == (None, (81, 768, 1360))
    newer.check_size(*newer.default_size)
    with pytest.raises(InputError, match="height must be at most 2400 pixels, got 2416"):
        newer.check_size(81, 2416, 1360)
    assert decoder_for(**wan("2.1")).default_size == (81, 480, 832)
    assert decoder_for(**wan("ti2v")).default_size == (121, 704, 1280)


def test_the_ofs_of_a_transformer_that_has_one_is_given() -> None:
    config = {key: value for key, value in cogvideox("1.5")["transformer"].config.items() if not key.startswith("_")}
    config["ofs_embed_dim"] = config["time_embed_dim"]
    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel.from_config(config).eval()
    seen = []
    transformer.ofs_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].tolist()))
    decoder = decoder_for(**{**cogvideox("1.5"), "transformer": transformer})
    decoder.decode_latents(embeds(), embeds(seed=2), guidance_scale=6.0, generators=[noise()], **COGVIDEOX)
    assert seen == [[2.0], [2.0]]


@pytest.mark.parametrize(
    ("parts", "size", "message"),
    [
        (lambda: cogvideox("2b"), (13, 32, 48), r"multiple of 8 plus 1 \(near: 9, 17\), got 13"),
        (lambda: cogvideox("2b"), (9, 30, 48), "height must be a multiple of 16 pixels, got 30. The nearest is 32"),
        (lambda: cogvideox("5b"), (9, 32, 0), "width must be a multiple of 16 pixels, got 0. The nearest is 16"),
        (lambda: cogvideox("1.5"), (9, 48, 48), "height must be at most 32 pixels, got 48"),
        (lambda: wan("2.1"), (7, 32, 64), r"multiple of 4 plus 1 \(near: 5, 9\), got 7"),
        (lambda: wan("2.1"), (5, 40, 64), "height must be a multiple of 16 pixels, got 40. The nearest is 32"),
        (lambda: wan("ti2v"), (5, 48, 64), "height must be a multiple of 32 pixels, got 48. The nearest is 64"),
    ],
)
def test_sizes_that_cannot_be_made_are_refused(
    parts: Callable[[], dict[str, Any]], size: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        decoder_for(**parts()).check_size(*size)


def test_conditions_and_inputs_that_do_not_fit_are_refused() -> None:
    decoder = decoder_for(**cogvideox("2b"))
    picture = Image.new("RGB", (48, 32))

    def decode(prompt: torch.Tensor, negative: torch.Tensor, count: int = 1, **more: Any) -> None:
        options = {"guidance_scale": 6.0, **COGVIDEOX, **more}
        decoder.decode_batch(prompt, negative, generators=[noise()] * count, **options)

    with pytest.raises(InputError, match=r"must have the shape \(shots, tokens, 32\), got \(1, 16, 31\)"):
        decode(embeds()[..., :31], embeds())
    with pytest.raises(InputError, match="exactly 16 tokens, got 15"):
        decode(embeds(tokens=15), embeds(tokens=15))
    with pytest.raises(InputError, match=r"negative condition must have the shape \(1, 16, 32\)"):
        decode(embeds(), embeds(tokens=15))
    with pytest.raises(InputError, match="one generator per shot, got 2 for 1"):
        decode(embeds(), embeds(), 2)
    with pytest.raises(InputError, match="CogVideoXDecoder takes no last_frames"):
        decode(embeds(), embeds(), inputs=ShotInputs(last_frames=[picture]))
    with pytest.raises(InputError, match="takes no reference_latents with these weights"):
        decode(embeds(), embeds(), inputs=ShotInputs(reference_latents_BRChw=torch.zeros(1, 1, 4, 4, 6)))
    with pytest.raises(InputError, match="text_scale must lie in 0 to 100, got -1"):
        decode(embeds(), embeds(), guidance_scale=-1)
    with pytest.raises(InputError, match="for each of the 2 shots, got 1"):
        decoder_for(**wan("ti2v")).decode_batch(
            embeds(2),
            embeds(),
            generators=[noise()] * 2,
            guidance_scale=1.0,
            inputs=ShotInputs(last_frames=[picture]),
            **WAN,
        )


def test_models_that_no_decoder_runs_are_refused() -> None:
    parts = cogvideox("2b")
    image_model = CogVideoXTransformer3DModel.from_config({**parts["transformer"].config, "in_channels": 8})
    with pytest.raises(InputError, match="takes 8 channels, but latents have 4: it is an image-to-video model"):
        decoder_for(**{**parts, "transformer": image_model})
    image_wan = WanTransformer3DModel.from_config({**wan("2.1")["transformer"].config, "in_channels": 36})
    with pytest.raises(InputError, match="takes 36 channels, but latents have 16"):
        decoder_for(**{**wan("2.1"), "transformer": image_wan})
    with pytest.raises(InputError, match="transformer_2 and boundary_ratio belong together"):
        decoder_for(**wan("2.1"), boundary_ratio=0.9)
    with pytest.raises(InputError, match="CogVideoXDecoder has no part boundary_ratio"):
        decoder_for(**parts, boundary_ratio=0.9)
    with pytest.raises(InputError, match="Linear is not supported; supported are CogVideoXTransformer3DModel, Wan"):
        decoder_for(**{**parts, "transformer": torch.nn.Linear(1, 1)})
    with pytest.raises(InputError, match="low_noise_scale is for Wan models of two experts"):
        decoder_for(**wan("2.1")).decode(
            embeds(),
            embeds(),
            guidance_scale=GuidanceSettings(text_scale=4.0, low_noise_scale=3.0),
            generator=noise(),
            **WAN,
        )
    with pytest.raises(ValueError, match="variant must be one of"):
        tiny_wan("3.0")
    with pytest.raises(ValueError, match="variant must be one of"):
        tiny_cogvideox("3b")


def test_both_families_are_in_the_registry() -> None:
    assert {"CogVideoXTransformer3DModel": CogVideoXDecoder, "WanTransformer3DModel": WanDecoder} == DECODERS
