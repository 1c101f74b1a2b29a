"""CLAP and PE-AV against transformers' own models at random weights; weights whole or not at all."""

import importlib.util
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_toys import make_clap, make_pe_av, make_tokenizer

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.audio_features import ClipFeature
from animeshooter_hf.eval.backbones.audio_base import AudioModel, FramesView, SoundView, load_audio_model
from animeshooter_hf.eval.backbones.pe_av import NUM_FRAMES
from animeshooter_hf.eval.shot_feature import ShotFacts, ShotMedia

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="the video branch of PE-AV needs timm")

TEXTS = ["a dog barks", "rain"]
RATE = 48_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def unit(tensor: Any) -> np.ndarray:
    return (tensor / tensor.norm(dim=-1, keepdim=True)).numpy()


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, AudioModel, Path]:
    folder = tmp_path_factory.mktemp("clap")
    model = make_clap(folder)
    return model, load_audio_model(f"clap:{folder}"), folder


@pytest.fixture(scope="module")
def pe_av(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, AudioModel, Path]:
    folder = tmp_path_factory.mktemp("pe_av")
    model = make_pe_av(folder)
    return model, load_audio_model(f"pe-av:{folder}"), folder


@pytest.mark.parametrize("fusion", [False, True])
def test_clap_gives_the_rows_of_transformers(tmp_path: Path, fusion: bool) -> None:
    import torch
    from transformers import ClapFeatureExtractor

    theirs = make_clap(tmp_path, fusion=fusion)
    ours, folder = load_audio_model(f"clap:{tmp_path}"), tmp_path
    sound = noise(3)
    features = ClapFeatureExtractor.from_pretrained(folder)([sound], sampling_rate=RATE, return_tensors="pt")
    tokens = make_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        told = theirs(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            input_features=features["input_features"],
            is_longer=torch.zeros(1, 1, dtype=torch.bool),
        )
    np.testing.assert_allclose(ours.embed([SoundView(sound, RATE)], "look"), told.audio_embeds.numpy(), atol=1e-5)  # type: ignore[list-item]
    np.testing.assert_allclose(ours.embed_text(TEXTS), told.text_embeds.numpy(), atol=1e-5)


@needs_timm
def test_pe_av_gives_the_rows_of_transformers(pe_av: tuple[Any, AudioModel, Path]) -> None:
    import torch
    from transformers import PeAudioFeatureExtractor, PeVideoVideoProcessor

    theirs, ours, folder = pe_av
    sound = noise(0.3)
    frames = tuple(np.random.default_rng(1).integers(0, 256, (NUM_FRAMES, 48, 64, 3)).astype(np.uint8))
    heard = PeAudioFeatureExtractor.from_pretrained(folder)([sound], sampling_rate=RATE, return_tensors="pt")
    seen = PeVideoVideoProcessor.from_pretrained(folder)(
        [np.stack(frames)], return_tensors="pt", do_sample_frames=False
    )
    rows = ours.embed([SoundView(sound, RATE), FramesView(frames)], "look")  # type: ignore[list-item]
    texts = ours.embed_text(TEXTS)
    for text, row in zip(TEXTS, texts, strict=True):
        with torch.inference_mode():
            told = theirs(
                input_ids=make_tokenizer()(text, return_tensors="pt")["input_ids"],
                input_values=heard["input_values"],
                pixel_values_videos=seen["pixel_values_videos"],
            )
        np.testing.assert_allclose(rows[0], unit(told.audio_embeds)[0], atol=1e-5)
        np.testing.assert_allclose(rows[1], unit(told.video_embeds)[0], atol=1e-5)
        np.testing.assert_allclose(row, unit(told.text_audio_embeds)[0], atol=1e-5)
    assert np.abs(texts[0] - texts[1]).max() > 1e-3


@needs_timm
def test_a_row_depends_on_its_own_piece_only(pe_av: tuple[Any, AudioModel, Path]) -> None:
    _, ours, _ = pe_av
    views = [SoundView(noise(seconds, seed), RATE) for seed, seconds in enumerate((0.3, 0.2, 0.3))]
    together = ours.embed(views, "look")  # type: ignore[arg-type]
    apart = np.concatenate([ours.embed([view], "look") for view in views])  # type: ignore[list-item]
    np.testing.assert_allclose(together, apart, atol=1e-6)
    assert np.abs(together[0] - together[2]).max() > 1e-3


def test_a_copy_from_a_pickle_prepares_and_does_not_embed(clap: tuple[Any, AudioModel, Path]) -> None:
    _, ours, _ = clap
    copied = pickle.loads(pickle.dumps(ClipFeature(ours))).backbone
    view: Any = SoundView(noise(0.5), RATE)
    np.testing.assert_array_equal(copied.prepare(view, "look"), ours.prepare(view, "look"))
    assert copied.signature == ours.signature
    with pytest.raises(RuntimeError, match="without its model"):
        copied.embed([view], "look")


def test_long_sound_is_heard_in_equal_pieces_and_gives_the_same_row_every_time(
    clap: tuple[Any, AudioModel, Path],
) -> None:
    _, ours, _ = clap
    pieces = ours.pieces(noise(12), RATE)
    assert [len(piece) for piece in pieces] == [4 * RATE] * 3
    feature = ClipFeature(ours)
    facts = ShotFacts(num_frames=12, frame_rate=1.0, has_sound=True)
    media = ShotMedia(facts=facts, frames={}, sound=noise(12)[None], sample_rate=RATE)
    first, second = (
        feature.arrays(ours.embed(feature.views(media), "look"), media)["sound"]  # type: ignore[arg-type]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-6)


def test_sound_at_another_rate_is_resampled(clap: tuple[Any, AudioModel, Path]) -> None:
    _, ours, _ = clap
    (piece,) = ours.pieces(np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050).astype(np.float32), 22_050)
    expected = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert abs(len(piece) - RATE) <= 64
    np.testing.assert_allclose(piece[2000:40_000], expected[2000:40_000], atol=0.01)


@needs_timm
def test_pe_av_sees_sixteen_frames_of_any_shot(pe_av: tuple[Any, AudioModel, Path]) -> None:
    _, ours, _ = pe_av
    assert ours.frames_seen(49)[0] == 0
    assert ours.frames_seen(49)[-1] == 48
    assert len(ours.frames_seen(5)) == NUM_FRAMES
    feature = ClipFeature(ours)
    facts = ShotFacts(num_frames=5, frame_rate=16.0, has_sound=True)
    assert list(feature.frames_wanted(facts)) == [0, 1, 2, 3, 4]
    frames = {index: np.full((36, 64, 3), 40 * index, np.uint8) for index in range(5)}
    media = ShotMedia(facts=facts, frames=frames, sound=noise(5 / 16)[None], sample_rate=RATE)
    arrays = feature.arrays(ours.embed(feature.views(media), "look"), media)  # type: ignore[arg-type]
    assert set(arrays) == {"sound", "frames"}


def test_nothing_is_embedded_of_a_shot_without_sound_or_with_silence(clap: tuple[Any, AudioModel, Path]) -> None:
    feature = ClipFeature(clap[1])
    facts = ShotFacts(num_frames=16, frame_rate=16.0, has_sound=True)
    for sound in (None, np.zeros((1, RATE), np.float32)):
        media = ShotMedia(facts=facts, frames={}, sound=sound, sample_rate=RATE)
        assert len(feature.views(media)) == 0
        assert feature.arrays(np.zeros((0, 0), np.float32), media) == {}


def _damaged(folder: Path, into: Path, change: str) -> Path:
    """Copy a checkpoint with one weight gone, too many, of another shape or not finite, or with a file gone."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, into)
    if change.endswith(".json") or change.endswith(".safetensors"):
        (into / change).unlink()
        return into
    state = load_file(into / "model.safetensors")
    name = next(key for key in sorted(state) if key.endswith("weight") and state[key].ndim == 2)
    if change == "missing":
        del state[name]
    elif change == "unknown":
        state["extra.weight"] = state[name].clone()
    elif change == "shape":
        state[name] = state[name][:, :-1].clone()
    elif change == "nan":
        state[name] = state[name] * float("nan")
    save_file(state, into / "model.safetensors", metadata={"format": "pt"})
    return into


DAMAGES = {
    "missing": "lacks weights",
    "unknown": "not known",
    "shape": "another shape|does not fit|cannot be loaded",
    "nan": "not finite",
    "model.safetensors": "has no model.safetensors",
    "config.json": "has no config.json",
    "tokenizer.json": "tokenizer",
    "preprocessor_config.json": "cannot be read",
}


@pytest.mark.parametrize(("change", "sentence"), DAMAGES.items())
def test_a_clap_that_is_not_whole_is_refused(
    clap: tuple[Any, AudioModel, Path], tmp_path: Path, change: str, sentence: str
) -> None:
    folder = _damaged(clap[2], tmp_path / "broken", change)
    with pytest.raises(InputError, match=sentence):
        load_audio_model(f"clap:{folder}")


@needs_timm
@pytest.mark.parametrize(
    "change", ["missing", "unknown", "shape", "nan", "model.safetensors", "video_preprocessor_config.json"]
)
def test_a_pe_av_that_is_not_whole_is_refused(pe_av: tuple[Any, AudioModel, Path], tmp_path: Path, change: str) -> None:
    folder = _damaged(pe_av[2], tmp_path / "broken", change)
    with pytest.raises(InputError, match=DAMAGES.get(change, "cannot be read")):
        load_audio_model(f"pe-av:{folder}")


@needs_timm
def test_frames_that_are_to_be_prepared_in_another_way_are_refused(
    pe_av: tuple[Any, AudioModel, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(pe_av[2], folder)
    settings = json.loads((folder / "video_preprocessor_config.json").read_text())
    (folder / "video_preprocessor_config.json").write_text(json.dumps({**settings, "do_rescale": False}))
    with pytest.raises(InputError, match="rescaled"):
        load_audio_model(f"pe-av:{folder}")


def test_a_model_of_another_kind_and_a_place_that_is_not_there_are_refused(
    clap: tuple[Any, AudioModel, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(clap[2], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(InputError, match="'bert', not 'clap'"):
        load_audio_model(f"clap:{folder}")
    with pytest.raises(InputError, match="no checkpoint"):
        load_audio_model(f"clap:{tmp_path / 'nowhere'}")
    with pytest.raises(InputError, match="Text 1 is empty"):
        clap[1].embed_text(["a dog", " "])
