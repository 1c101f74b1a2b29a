"""Cached windows: what they serve is what the encoders give, and nothing stale can be served."""

import multiprocessing
import os
import pickle
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from toon_dataset import write_toon_dataset
from torch import distributed

from animeshooter_hf import load_stories
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.modeling.backbones import backbone_for
from animeshooter_hf.modeling.decoders import encode_references
from animeshooter_hf.modeling.prompt_layout import ShotChunk, fit_image
from animeshooter_hf.modeling.testing_decoders import tiny_wan
from animeshooter_hf.modeling.testing_mllms import FAMILIES, tiny_backbone
from animeshooter_hf.modeling.testing_training import tiny_training_pipeline
from animeshooter_hf.modeling.training.buckets import Bucket
from animeshooter_hf.modeling.training.cache_settings import CacheSettings
from animeshooter_hf.modeling.training.cached_windows import CachedWindows
from animeshooter_hf.modeling.training.content_marks import mark_array, mark_code, mark_module, mark_of, mark_picture
from animeshooter_hf.modeling.training.feature_encoders import latent_statistics, mark_saved
from animeshooter_hf.modeling.training.feature_store import FeatureStore
from animeshooter_hf.modeling.training.story_windows import StoryWindows
from animeshooter_hf.modeling.training.toon_windows import ToonWindows
from animeshooter_hf.modeling.training.vision_features import (
    encoder_outputs,
    mark_vision,
    picture_features,
    vision_mark,
)
from animeshooter_hf.modeling.training.window_settings import WindowSettings
from animeshooter_hf.modeling.training.windows import Window, window_loader
from animeshooter_hf.toon.compact import CompactSettings

_SIZE = Bucket(64, 64, 9)
_COMPACT = CompactSettings(size=64, frames_per_shot=9, frame_rate=8, num_shots=4)
_QUIET = CacheSettings(progress=False)
_EVERYTHING = replace(_QUIET, text_states=True, vision_features=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toon_dataset(tmp_path_factory.mktemp("cache"), seeds=range(2))


@pytest.fixture(scope="module")
def pipeline() -> Any:
    made = tiny_training_pipeline()
    made.mllm.requires_grad_(False)
    return made


def windows(folder: Path, **settings: Any) -> StoryWindows:
    return StoryWindows(load_stories(folder), WindowSettings(**{"buckets": (_SIZE,), **settings}))


def made(source: Any, pipeline: Any, cache: Path, settings: CacheSettings = _QUIET) -> Mapping[str, int]:
    with FeatureStore(cache) as store:
        return CachedWindows(source, pipeline, store, settings).report.made


def spoil(path: Path) -> None:
    """Overwrite every fiftieth byte behind the header."""
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start::50] = bytes(byte ^ 90 for byte in data[start::50])
    path.write_bytes(data)


def tensor_of(window: Window, name: str) -> torch.Tensor:
    found = getattr(window, name)
    assert isinstance(found, torch.Tensor)
    return found


# ------------------------------------------------------------------------------------------- what a window is served


def test_a_window_holds_what_the_encoders_give(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    source = windows(folder)
    settings = replace(_EVERYTHING, is_sampled=False)
    cached = CachedWindows(source, pipeline, FeatureStore(tmp_path), settings)
    assert len(cached) == len(source)
    plain, window = source[1], cached[1]
    assert plain.frames_SFHW3 is not None
    assert window.frames_SFHW3 is None
    assert (window.shots, window.size, window.key) == (plain.shots, plain.size, plain.key)
    for ours, theirs in zip(window.last_frames[1:], plain.last_frames[1:], strict=True):
        assert ours is not None
        np.testing.assert_array_equal(ours, theirs)
    pixels = torch.from_numpy(plain.frames_SFHW3).permute(0, 4, 1, 2, 3) / 127.5 - 1
    with torch.no_grad():
        posterior = pipeline.vae.encode(pixels).latent_dist
    expected = posterior.mean.transpose(1, 2) * pipeline.vae.config.scaling_factor
    torch.testing.assert_close(tensor_of(window, "latents_SFChw"), expected, rtol=0, atol=1e-6)
    references = [image for images in plain.references.values() for image in images]
    stills = encode_references(pipeline.vae, references, height=64, width=64)
    assert torch.equal(tensor_of(window, "reference_latents_RChw"), stills)
    lasts = [Image.fromarray(frames[-1]) for frames in plain.frames_SFHW3]
    expected = encode_references(pipeline.vae, lasts, height=64, width=64)
    assert torch.equal(tensor_of(window, "last_latents_SChw"), expected)
    states = torch.cat([pipeline.encode_text(shot.caption) for shot in plain.shots])
    torch.testing.assert_close(tensor_of(window, "text_states_SLD"), states, rtol=0, atol=1e-6)
    assert tensor_of(window, "is_token_SL").all(), "these captions are longer than the condition"


def test_tokens_and_pads_are_told_apart(folder: Path, tmp_path: Path) -> None:
    pipeline = tiny_training_pipeline()
    pipeline.adapter.register_to_config(condition_length=60)
    settings = replace(_QUIET, latents=False, stills=False, text_states=True)
    window = CachedWindows(windows(folder, window=1), pipeline, FeatureStore(tmp_path), settings)[0]
    caption = window.shots[0].caption
    length = len(pipeline.tokenizer(caption).input_ids)
    assert tensor_of(window, "is_token_SL")[0].tolist() == [True] * length + [False] * (60 - length)
    assert tensor_of(window, "text_states_SLD").shape == (1, 60, 32)
    assert window.latents_SFChw is None


def test_latents_are_drawn_from_the_posterior_by_epoch_and_window(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    source, store = windows(folder), FeatureStore(tmp_path)
    mean = CachedWindows(source, pipeline, store, replace(_QUIET, is_sampled=False))[0].latents_SFChw
    drawn = CachedWindows(source, pipeline, store, _QUIET)
    first, again, later = (tensor_of(drawn[SampleKey(epoch, 0)], "latents_SFChw") for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert mean is not None
    deviation = latent_statistics(pipeline.vae, source[0].frames_SFHW3)[1]  # type: ignore[arg-type]
    spread = ((first - mean) / deviation).std().item()
    assert 0.9 < spread < 1.1


def test_a_shot_alone_and_in_a_batch_has_the_same_latents(pipeline: Any) -> None:
    frames = np.stack([ToonWindows(range(1), settings=_COMPACT)[0].frames_SFHW3[n] for n in (0, 2)])  # type: ignore
    together = latent_statistics(pipeline.vae, frames)[0]
    apart = torch.cat([latent_statistics(pipeline.vae, one[None])[0] for one in frames])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


def test_values_are_kept_in_the_training_s_type(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    cached = CachedWindows(windows(folder), pipeline, FeatureStore(tmp_path), replace(_QUIET, dtype="bfloat16"))
    window = cached[0]
    assert tensor_of(window, "latents_SFChw").dtype == torch.bfloat16
    assert tensor_of(window, "reference_latents_RChw").dtype == torch.bfloat16


@pytest.mark.parametrize("variant", ["2.1", "ti2v"])
def test_wan_latents_are_normalised_channel_by_channel(variant: str) -> None:
    vae = tiny_wan(variant)["vae"]
    frames = np.random.default_rng(0).integers(0, 256, (1, 5, 32, 32, 3), np.uint8)
    mean, deviation = latent_statistics(vae, frames)
    with torch.no_grad():
        posterior = vae.encode(torch.from_numpy(frames).permute(0, 4, 1, 2, 3) / 127.5 - 1).latent_dist
    shift, spread = (
        torch.tensor(one).view(1, 1, -1, 1, 1) for one in (vae.config.latents_mean, vae.config.latents_std)
    )
    torch.testing.assert_close(mean, (posterior.mean.transpose(1, 2) - shift) / spread, rtol=0, atol=1e-5)
    torch.testing.assert_close(deviation, posterior.std.transpose(1, 2) / spread, rtol=0, atol=1e-5)


def test_cogvideox_latents_are_those_of_its_own_vae() -> None:
    from animeshooter_hf.modeling.testing import tiny_vae

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = tiny_vae()
    frames = np.random.default_rng(0).integers(0, 256, (1, 9, 16, 16, 3), np.uint8)
    mean, _ = latent_statistics(vae, frames)
    with torch.no_grad():
        posterior = vae.encode(torch.from_numpy(frames).permute(0, 4, 1, 2, 3) / 127.5 - 1).latent_dist
    assert mean.shape == (1, 3, 4, 2, 2)
    torch.testing.assert_close(mean, posterior.mode().transpose(1, 2) * vae.config.scaling_factor, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "gemma3"])
def test_a_model_reads_cached_vision_features_as_it_reads_pictures(family: str) -> None:
    if family == "smolvlm":
        pytest.importorskip("num2words", reason="SmolVLM's processor needs num2words")
    backbone = tiny_backbone(family)
    pictures = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (32, 64, 3), np.uint8)) for n in range(2)]
    tokens = backbone.tokenize(ShotChunk(("Pip", pictures[0], "and", pictures[1])), 0)
    given = {"inputs_embeds": backbone.mllm.get_input_embeddings()(tokens.ids_L[None]), "output_hidden_states": True}
    positions = backbone._positions(tokens)
    with torch.no_grad():
        read = backbone.mllm(**given, position_ids=positions, **backbone._image_arguments(tokens))
        features = encoder_outputs([picture_features(backbone, picture) for picture in pictures])
        cached = backbone.mllm(**given, position_ids=positions, mm_encoder_outputs=features)
    torch.testing.assert_close(cached.hidden_states[-1], read.hidden_states[-1], rtol=0, atol=1e-5)


def test_vision_features_are_found_by_the_picture_that_the_model_would_get(
    folder: Path, pipeline: Any, tmp_path: Path
) -> None:
    settings = replace(_QUIET, vision_features=True)
    window = CachedWindows(windows(folder), pipeline, FeatureStore(tmp_path), settings)[0]
    backbone = backbone_for(pipeline.mllm, pipeline.processor)
    pictures = [window.references["Pip"][0], *(Image.fromarray(one) for one in window.last_frames if one is not None)]
    assert window.vision_features is not None
    assert len(window.vision_features) == 3
    for picture in pictures:
        fitted = fit_image(picture, pipeline.config.max_image_pixels)
        expected = picture_features(backbone, fitted)
        for name, tensor in window.vision_features[vision_mark(fitted)].items():
            assert torch.equal(tensor, expected[name])


def test_vision_features_of_a_tower_that_is_trained_are_refused(folder: Path, tmp_path: Path) -> None:
    pipeline = tiny_training_pipeline()
    with pytest.raises(InputError, match="Vision features cannot be cached: visual of the multimodal model is trained"):
        CachedWindows(windows(folder), pipeline, FeatureStore(tmp_path), replace(_QUIET, vision_features=True))


def test_vision_features_of_a_family_that_needs_pixels_are_refused() -> None:
    with pytest.raises(InputError, match="Vision features of a gemma3 cannot be cached"):
        mark_vision(tiny_backbone("gemma3"))


# -------------------------------------------------------------------------------------------------- nothing is stale


def test_a_second_run_makes_nothing(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    first = made(windows(folder), pipeline, tmp_path, _EVERYTHING)
    assert first == {"clips": 8, "references": 2, "captions": 8}
    assert made(windows(folder), pipeline, tmp_path, _EVERYTHING) == {"clips": 0, "references": 0, "captions": 0}
    other = tiny_training_pipeline()
    other.mllm.requires_grad_(False)
    assert made(windows(folder), other, tmp_path, _EVERYTHING) == {"clips": 0, "references": 0, "captions": 0}


def test_a_changed_clip_of_the_same_name_size_and_time_is_encoded_anew(
    folder: Path, pipeline: Any, tmp_path: Path
) -> None:
    data = shutil.copytree(folder, tmp_path / "data")
    with FeatureStore(tmp_path / "cache") as store:
        cached = CachedWindows(windows(data, window=1), pipeline, store, _QUIET)
        before = [cached[number].latents_SFChw for number in range(8)]
    (path,) = (data / "shots").iterdir()
    stat = path.stat()
    clips = [cell["bytes"] for cell in pq.read_table(path)["video"].to_pylist()]
    whole = path.read_bytes()
    longest = int(np.argmax([len(clip) for clip in clips]))
    at = whole.index(clips[longest])
    # Another clip in its place, filled up to the same length with what an mp4 lets stand at its end.
    fitting = min(clips, key=len)
    rest = len(clips[longest]) - len(fitting)
    filled = fitting + rest.to_bytes(4, "big") + b"free" + bytes(rest - 8)
    path.write_bytes(whole[:at] + filled + whole[at + len(filled) :])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    with FeatureStore(tmp_path / "cache") as store:
        cached = CachedWindows(windows(data, window=1), pipeline, store, _QUIET)
    assert cached.report.made["clips"] == 1
    after = [cached[number].latents_SFChw for number in range(8)]
    same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]  # type: ignore[arg-type]
    assert same == [number != longest for number in range(8)]


def changed_scale(pipeline: Any) -> None:
    pipeline.vae.register_to_config(scaling_factor=0.5)


def changed_weight(pipeline: Any) -> None:
    with torch.no_grad():
        pipeline.vae.encoder[0].weight.view(-1)[-1] += 1e-6


def changed_buffer(pipeline: Any) -> None:
    pipeline.vae.register_buffer("offset", torch.ones(1))


def changed_type(pipeline: Any) -> None:
    pipeline.vae.to(torch.bfloat16)


@pytest.mark.parametrize("change", [changed_scale, changed_weight, changed_buffer, changed_type])
def test_a_changed_vae_encodes_clips_and_references_anew(
    folder: Path, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    pipeline = tiny_training_pipeline()
    source = windows(folder, window=1)
    settings = replace(_QUIET, text_states=True)
    assert made(source, pipeline, tmp_path, settings)["clips"] == 8
    change(pipeline)
    assert made(source, pipeline, tmp_path, settings) == {"clips": 8, "references": 2, "captions": 0}


def test_a_changed_text_encoder_tokenizer_or_length_encodes_captions_anew(folder: Path, tmp_path: Path) -> None:
    pipeline = tiny_training_pipeline(with_reference_latents=False)
    source, settings = windows(folder, window=1), replace(_QUIET, latents=False, text_states=True)
    assert made(source, pipeline, tmp_path, settings)["captions"] == 8
    assert made(source, pipeline, tmp_path, settings)["captions"] == 0
    with torch.no_grad():
        pipeline.text_encoder.shared.weight[5, 5] += 1e-5
    assert made(source, pipeline, tmp_path, settings)["captions"] == 8
    letters = [(chr(code), -3.0) for code in range(126, 32, -1)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters]
    pipeline.register_modules(tokenizer=type(pipeline.tokenizer)(vocab=vocabulary, extra_ids=0))
    assert made(source, pipeline, tmp_path, settings)["captions"] == 8
    pipeline.adapter.register_to_config(condition_length=20)
    assert made(source, pipeline, tmp_path, settings)["captions"] == 8


def test_a_changed_vision_tower_reads_pictures_anew(folder: Path, tmp_path: Path) -> None:
    pipeline = tiny_training_pipeline(with_text_encoder=False, with_reference_latents=False)
    pipeline.mllm.requires_grad_(False)
    source, settings = windows(folder, window=2), replace(_QUIET, vision_features=True)
    assert made(source, pipeline, tmp_path, settings)["clips"] == 8
    pipeline.mllm.lm_head.weight.data[0, 0] += 1
    assert made(source, pipeline, tmp_path, settings)["clips"] == 0, "the language model gives no vision features"
    next(pipeline.mllm.model.visual.parameters()).data.view(-1)[0] += 1e-5
    again = made(source, pipeline, tmp_path, settings)
    assert again == {"clips": 6, "references": 2, "captions": 0}, "nobody sees the last frame of a story"


@pytest.mark.parametrize(
    ("changes", "clips"),
    [
        ({"buckets": (Bucket(32, 64, 9),)}, 8),
        ({"buckets": (Bucket(64, 64, 5),)}, 8),
        ({"frame_rate": 6.0, "short_shots": "repeat"}, 8),
        ({"place": "center"}, 8),
        ({"seed": 1}, 8),
        ({"references": 3}, 0),
        ({"step": 2}, 0),
    ],
)
def test_changed_preparation_encodes_clips_anew_and_what_does_not_touch_them_does_not(
    folder: Path, pipeline: Any, tmp_path: Path, changes: dict[str, Any], clips: int
) -> None:
    settings = replace(_QUIET, stills=False)
    assert made(windows(folder, window=1), pipeline, tmp_path, settings)["clips"] == 8
    again = made(windows(folder, **{"window": 1, **changes}), pipeline, tmp_path, settings)
    assert again["clips"] == clips


def test_another_type_or_tiling_encodes_anew(folder: Path, tmp_path: Path) -> None:
    from animeshooter_hf.modeling.testing import tiny_vae

    pipeline = tiny_training_pipeline(with_reference_latents=False)
    pipeline.register_modules(vae=tiny_vae())
    source = ToonWindows(range(1), settings=replace(_COMPACT, size=32, num_shots=2), window=1)
    assert made(source, pipeline, tmp_path)["clips"] == 2
    assert made(source, pipeline, tmp_path, replace(_QUIET, dtype="float16"))["clips"] == 2
    pipeline.vae.enable_tiling()
    assert made(source, pipeline, tmp_path)["clips"] == 2
    pipeline.vae.disable_tiling()
    assert made(source, pipeline, tmp_path)["clips"] == 0


def test_changed_text_is_encoded_anew_and_clips_are_not(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    settings = replace(_QUIET, text_states=True)
    made(windows(folder), pipeline, tmp_path, settings)
    again = made(windows(folder, trigger="toon"), pipeline, tmp_path, settings)
    assert again == {"clips": 0, "references": 0, "captions": 8}


def test_a_longer_dataset_encodes_only_what_is_new(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    view = load_stories(folder)
    settings = WindowSettings(buckets=(_SIZE,))
    assert made(StoryWindows(view[1:], settings), pipeline, tmp_path)["clips"] == 4
    assert made(StoryWindows(view, settings), pipeline, tmp_path) == {"clips": 4, "references": 1, "captions": 0}


def test_only_what_a_window_needs_is_kept(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    with FeatureStore(tmp_path) as store:
        single = CachedWindows(windows(folder, window=1), pipeline, store, _QUIET)
        assert store.report().entries == {"latents": 8, "stills": 2}
        assert single[0].last_latents_SChw is None
        CachedWindows(windows(folder, window=4), pipeline, store, _QUIET)
        assert store.report().entries == {"latents": 8, "stills": 10, "frames": 6}


def test_where_nothing_is_made_of_clips_they_are_not_even_read(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    class Deaf(ToonWindows):
        def _mark(self, seed: int, shot: int | None) -> Any:
            assert shot is None, "a clip was asked for"
            return super()._mark(seed, shot)

    settings = replace(_QUIET, latents=False, stills=False, text_states=True)
    source = Deaf(range(2), settings=_COMPACT, window=1)
    cached = CachedWindows(source, pipeline, FeatureStore(tmp_path), settings)
    captions = {caption for position in (0, 4) for caption in source.story(position).captions}
    assert cached.report.made == {"clips": 0, "references": 0, "captions": len(captions)}
    assert cached[0].latents_SFChw is None
    assert tensor_of(cached[0], "text_states_SLD").shape == (1, 16, 32)


def test_a_streamed_dataset_finds_what_a_local_one_has_made(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    assert made(windows(folder), pipeline, tmp_path)["clips"] == 8
    streamed = StoryWindows(load_stories(folder.as_uri(), streaming=True), WindowSettings(buckets=(_SIZE,)))
    assert streamed.view.opened.is_remote
    assert made(streamed, pipeline, tmp_path) == {"clips": 0, "references": 0, "captions": 0}
    assert made(streamed, pipeline, tmp_path / "other")["clips"] == 8


# ----------------------------------------------------------------------------------------------- broken off, in parts


def test_a_run_that_is_killed_while_it_encodes_goes_on_with_what_is_missing(pipeline: Any, tmp_path: Path) -> None:
    source = ToonWindows(range(4), settings=replace(_COMPACT, size=32, frames_per_shot=5), window=2, step=2)

    def work() -> None:
        CachedWindows(source, pipeline, FeatureStore(tmp_path / "cache", shard_bytes=1), replace(_QUIET, batch_size=1))

    child = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    child.start()
    while len(list((tmp_path / "cache").glob("*.safetensors"))) < 8:
        assert child.is_alive()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL, "the run was over before it was killed"
    resumed = CachedWindows(source, pipeline, FeatureStore(tmp_path / "cache"), replace(_QUIET, batch_size=1))
    whole = CachedWindows(source, pipeline, FeatureStore(tmp_path / "whole"), replace(_QUIET, batch_size=1))
    assert 0 < resumed.report.made["clips"] < whole.report.made["clips"] == 16
    for number in range(len(whole)):
        for name in ("latents_SFChw", "reference_latents_RChw", "last_latents_SChw"):
            assert torch.equal(tensor_of(resumed[number], name), tensor_of(whole[number], name))


def test_no_pixels_are_kept_when_windows_have_been_read(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    source = windows(folder, window=1)
    with FeatureStore(tmp_path) as store:
        cached = CachedWindows(source, pipeline, store, _QUIET)
    before = [len(pickle.dumps(one)) for one in (source, cached)]
    num_bytes = 0
    for number in range(len(source)):
        shown = source[number].frames_SFHW3
        assert shown is not None
        num_bytes += shown.nbytes + tensor_of(cached[number], "latents_SFChw").nbytes
    grown = [len(pickle.dumps(one)) for one in (source, cached)]
    assert max(now - then for now, then in zip(grown, before, strict=True)) < 0.01 * num_bytes


def test_a_damaged_value_is_made_again(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    source = windows(folder)
    with FeatureStore(tmp_path) as store:
        before = CachedWindows(source, pipeline, store, _QUIET)[0].latents_SFChw
    (path,) = tmp_path.glob("*.safetensors")
    spoil(path)
    cached = CachedWindows(source, pipeline, FeatureStore(tmp_path), _QUIET)
    assert cached.report.made["clips"] == 0, "damage is not looked for unless it is asked for"
    assert before is not None
    torch.testing.assert_close(tensor_of(cached[0], "latents_SFChw"), before, rtol=0, atol=1e-5)
    verified = CachedWindows(source, pipeline, FeatureStore(tmp_path), replace(_QUIET, is_verified=True))
    assert verified.report.made["clips"] > 0


def test_a_worker_that_cannot_encode_says_what_to_do(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    with FeatureStore(tmp_path) as store:
        cached = CachedWindows(windows(folder), pipeline, store, _QUIET)
    for path in tmp_path.glob("*.safetensors"):
        spoil(path)
    worker = pickle.loads(pickle.dumps(cached))
    with pytest.raises(InputError, match=r"has lost a part of window .* Run the same command again") as raised:
        worker[0]
    assert "compact-0_000_00" in str(raised.value)


def test_workers_serve_the_same_windows(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    with FeatureStore(tmp_path) as store:
        cached = CachedWindows(windows(folder), pipeline, store, _QUIET)
    batches = []
    for workers in (0, 2):
        options = {"num_workers": workers, "multiprocessing_context": "fork"} if workers else {}
        loader = window_loader(cached, batch_size=2, **options)
        batches.append([window for batch in loader for window in batch["windows"]])
    for one, other in zip(*batches, strict=True):
        assert one.key == other.key
        assert torch.equal(tensor_of(one, "latents_SFChw"), tensor_of(other, "latents_SFChw"))


def test_two_processes_encode_each_a_share_and_both_serve_everything(
    folder: Path, pipeline: Any, tmp_path: Path
) -> None:
    fork = multiprocessing.get_context("fork")
    told, tell = fork.Pipe(duplex=False)

    def work(rank: int) -> None:
        meeting = f"file://{tmp_path}/meeting"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
        source = windows(folder)
        cached = CachedWindows(source, pipeline, FeatureStore(tmp_path / "cache"), _EVERYTHING)
        num_known = len(source.known_marks()["clips"])
        sums = [float(tensor_of(cached[number], "latents_SFChw").sum()) for number in range(len(cached))]
        num_files = len(list((tmp_path / "cache").glob("*.safetensors")))
        tell.send((dict(cached.report.made), sums, num_files, num_known))
        distributed.destroy_process_group()

    children = [fork.Process(target=work, args=(rank,), daemon=True) for rank in range(2)]
    for child in children:
        child.start()
    first, second = told.recv(), told.recv()
    for child in children:
        child.join()
    assert first[0] == second[0] == {"clips": 8, "references": 2, "captions": 8}
    assert first[1] == second[1]
    assert first[2] == 2, "each process writes a file of its own"
    assert first[3] == second[3] == 8, "what one has hashed, the other need not read"
    alone = CachedWindows(windows(folder), pipeline, FeatureStore(tmp_path / "alone"), _EVERYTHING)
    sums = [float(tensor_of(alone[number], "latents_SFChw").sum()) for number in range(len(alone))]
    assert sums == pytest.approx(first[1], abs=1e-3)


def test_what_cannot_be_read_stops_the_run_or_is_left_out_and_counted(pipeline: Any, tmp_path: Path) -> None:
    class Broken(ToonWindows):
        def frames(self, clip: Any) -> Any:
            if clip.handle.seed == 1 and clip.handle.shot == 3:
                raise InputError("The clip of shot 3 cannot be read.")
            return super().frames(clip)

    source = Broken(range(3), settings=replace(_COMPACT, size=32, frames_per_shot=5), window=2)
    with pytest.raises(InputError, match=r"The clip of shot 3 cannot be read\."):
        CachedWindows(source, pipeline, FeatureStore(tmp_path), _QUIET)
    cached = CachedWindows(source, pipeline, FeatureStore(tmp_path), replace(_QUIET, on_problem="skip"))
    assert len(cached) == 8
    assert cached.skipped == {"something of them cannot be read": 1}
    assert list(cached.report.problems.values()) == ["The clip of shot 3 cannot be read."]
    assert "compact-1-train:2-3" not in {cached[number].key for number in range(8)}


def test_a_clip_that_cannot_be_read_is_never_drawn_again(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    data = shutil.copytree(folder, tmp_path / "data")
    (path,) = (data / "shots").iterdir()
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[2]["video"] = {"bytes": b"no video", "path": None}
    rows[5]["video"] = None
    pq.write_table(table.from_pylist(rows, schema=table.schema), path)
    source = windows(data, arrangement="drawn", window=3)
    settings = replace(_QUIET, on_problem="skip")
    cached = CachedWindows(source, pipeline, FeatureStore(tmp_path / "cache"), settings)
    assert len(cached) == 6
    assert cached.skipped == {"something of them cannot be read": 2}
    drawn = {shot.shot_id for epoch in range(4) for n in range(6) for shot in cached[SampleKey(epoch, n)].shots}
    assert len(drawn) == 6
    assert not drawn & {rows[2]["shot_id"], rows[5]["shot_id"]}
    few = windows(data, arrangement="drawn", window=3, max_clips=3)
    with pytest.raises(InputError, match="Windows of 3 clips cannot be drawn from the 2 of"):
        CachedWindows(few, pipeline, FeatureStore(tmp_path / "cache"), settings)


def test_a_source_that_cannot_plan_is_cached_by_its_pixels(pipeline: Any, tmp_path: Path) -> None:
    toon = ToonWindows(range(2), settings=replace(_COMPACT, size=32, frames_per_shot=5, num_shots=2))

    class Plain:
        def __len__(self) -> int:
            return len(toon)

        def __getitem__(self, key: Any) -> Window:
            return toon[key]

    planned = CachedWindows(toon, pipeline, FeatureStore(tmp_path / "planned"), _QUIET)
    plain = CachedWindows(Plain(), pipeline, FeatureStore(tmp_path / "plain"), _QUIET)
    for name in ("latents_SFChw", "reference_latents_RChw", "last_latents_SChw"):
        assert torch.equal(tensor_of(plain[1], name), tensor_of(planned[1], name))


def test_windows_of_several_sizes_keep_their_sizes(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    source = windows(folder, window=1, buckets=(Bucket(32, 64, 9), Bucket(64, 64, 9)))
    cached = CachedWindows(source, pipeline, FeatureStore(tmp_path), _QUIET)
    numbers = cached.bucket_numbers()
    assert numbers is not None
    assert numbers.tolist() == [1] * 8
    assert tensor_of(cached[0], "latents_SFChw").shape[-2:] == (8, 8)


# ----------------------------------------------------------------------------------------- what is refused, and marks


def test_frames_that_are_new_in_every_epoch_cannot_be_cached(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="A cache needs clips to become the same frames again"):
        CachedWindows(windows(folder, frame_variants=None), pipeline, FeatureStore(tmp_path), _QUIET)


def test_every_variant_of_a_clip_is_cached(folder: Path, pipeline: Any, tmp_path: Path) -> None:
    source = windows(folder, window=1, buckets=(Bucket(64, 64, 5),), frame_variants=2, seed=2)
    with FeatureStore(tmp_path) as store:
        cached = CachedWindows(source, pipeline, store, replace(_QUIET, stills=False))
    assert cached.report.made["clips"] == 16
    worker = pickle.loads(pickle.dumps(cached))
    assert worker[SampleKey(1, 0)].latents_SFChw is not None


def test_text_states_without_a_text_encoder_are_refused(folder: Path, tmp_path: Path) -> None:
    pipeline = tiny_training_pipeline(with_text_encoder=False)
    with pytest.raises(InputError, match="Text states come from T5: load the pipeline with its tokenizer"):
        CachedWindows(windows(folder), pipeline, FeatureStore(tmp_path), replace(_QUIET, text_states=True))


def test_a_model_that_is_not_in_memory_cannot_be_marked() -> None:
    with torch.device("meta"):
        module = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match="The weight weight of Linear is not in memory"):
        mark_module(module)


def test_marks_tell_values_types_and_shapes_apart(pipeline: Any) -> None:
    zeros = np.zeros((2, 3), np.uint8)
    marks = [mark_array(one) for one in (zeros, zeros.T, zeros.astype(np.int8), zeros + 1, zeros[:0])]
    assert len(set(marks)) == 5
    assert mark_array(zeros.T) == mark_array(np.ascontiguousarray(zeros.T))
    image = Image.new("RGB", (2, 2))
    assert mark_picture(image) != mark_picture(image.convert("RGBA"))
    assert mark_of("a", "bc") != mark_of("ab", "c")
    assert mark_of({"b": 1, "a": 2}) == mark_of({"a": 2, "b": 1})
    with pytest.raises(TypeError):
        mark_of(object())
    assert mark_saved(pipeline.tokenizer) == mark_saved(pipeline.tokenizer)


def test_code_is_marked_by_all_its_files(tmp_path: Path) -> None:
    assert mark_code("animeshooter_hf.toon") == mark_code("animeshooter_hf.toon")
    assert mark_code("animeshooter_hf.toon") != mark_code("animeshooter_hf.video")
    with pytest.raises(InputError, match=r"There is no package json\.decoder"):
        mark_code("json.decoder")


def test_a_lora_on_a_model_changes_its_mark() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    def marked(alpha: int | None) -> str:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module: Any = torch.nn.Sequential(torch.nn.Linear(4, 4))
            if alpha is not None:
                module = inject_adapter_in_model(LoraConfig(r=2, lora_alpha=alpha, target_modules=["0"]), module)
        return mark_module(module)

    assert len({marked(None), marked(2), marked(4)}) == 3
    assert marked(2) == marked(2)
