"""The small autoencoder: sizes of CogVideoX's, a start at principal components, strict files, a decoder's VAE."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders import decoder_for, encode_references
from animeshooter_hf.modeling.folded_autoencoder import FoldedAutoencoder
from animeshooter_hf.modeling.testing_decoders import tiny_cogvideox
from animeshooter_hf.toon.compact import plan_compact_story

torch.set_num_threads(1)


def make(fold: int = 2, channels: int = 4) -> FoldedAutoencoder:
    torch.manual_seed(0)
    return FoldedAutoencoder(
        latent_channels=channels, block_out_channels=(8, 8, 16, 16), temporal_compression_ratio=fold
    ).eval()


def toon_video() -> torch.Tensor:
    frames = torch.from_numpy(np.stack([plan_compact_story(seed).frames(0) for seed in range(4)]))
    return frames.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


@pytest.mark.parametrize(("fold", "frames", "latents"), [(2, 1, 1), (2, 5, 3), (2, 9, 5), (4, 5, 2), (4, 9, 3)])
def test_the_first_frame_and_each_group_after_it_become_one_latent(fold: int, frames: int, latents: int) -> None:
    model = make(fold)
    with torch.no_grad():
        encoded = model.encode(torch.rand(2, 3, frames, 16, 24)).latent_dist.mode()
        assert encoded.shape == (2, 4, latents, 2, 3)
        assert model.decode(encoded).sample.shape == (2, 3, frames, 16, 24)
        assert model.decode(encoded, return_dict=False)[0].shape == (2, 3, frames, 16, 24)


def test_latents_of_a_group_depend_on_its_own_frames_alone() -> None:
    model = make()
    video = torch.rand(1, 3, 5, 16, 16)
    other = video.clone()
    other[:, :, 3:] = 0
    with torch.no_grad():
        one, two = (model.encode(pixels).latent_dist.mode() for pixels in (video, other))
    torch.testing.assert_close(one[:, :, :2], two[:, :, :2])
    assert (one[:, :, 2] != two[:, :, 2]).any()


def test_it_starts_as_principal_components_and_more_of_them_lose_less() -> None:
    video = toon_video()
    losses = []
    for channels in (4, 16):
        model = make(channels=channels)
        groups = video[:, :, 1:].unflatten(2, (-1, 2)).permute(0, 2, 3, 1, 4, 5).reshape(-1, 6, 64, 64)
        model.start_from_principal_components(groups)
        with torch.no_grad():
            latents = model.encode(video).latent_dist.mode()
            losses.append(float((model.decode(latents).sample - video).square().mean()))
        assert float(latents.std()) == pytest.approx(1.0, abs=0.3)
    assert losses[1] < 0.6 * losses[0] < 0.6 * float(video.var())


def test_it_is_the_vae_of_a_cogvideox_decoder() -> None:
    parts = tiny_cogvideox("2b")
    parts["vae"] = make(fold=4, channels=parts["transformer"].config.in_channels)
    decoder = decoder_for(**parts)
    embeds = torch.zeros(1, 16, 32)
    frames = decoder.decode(
        embeds, embeds, num_frames=9, height=32, width=48, num_inference_steps=2, guidance_scale=1.0,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert frames.shape == (9, 32, 48, 3)
    assert encode_references(parts["vae"], [Image.new("RGB", (20, 20))], height=32, width=48).shape == (1, 4, 4, 6)


def test_what_was_saved_is_loaded_and_a_missing_weight_is_refused(tmp_path: Path) -> None:
    model = make()
    model.save_pretrained(tmp_path)
    again = FoldedAutoencoder.from_pretrained(tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))
    weights = next(tmp_path.glob("*.safetensors"))
    kept = load_file(weights)
    del kept["linear_in.bias"]
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 weights of the autoencoder are missing, such as linear_in\.bias"):
        FoldedAutoencoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("shape", [(1, 3, 4, 16, 16), (1, 3, 5, 12, 16), (1, 1, 5, 16, 16)])
def test_videos_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="2k \\+ 1"):
        make().encode(torch.zeros(shape))


@pytest.mark.parametrize(
    "options", [{"temporal_compression_ratio": 3}, {"block_out_channels": (8, 8)}, {"block_out_channels": (8, 9, 8, 8)},
                {"latent_channels": 0}, {"scaling_factor": 0.0}]
)  # fmt: skip
def test_impossible_settings_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        FoldedAutoencoder(**options)  # type: ignore[arg-type]
