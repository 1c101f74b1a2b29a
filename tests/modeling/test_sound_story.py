"""The sound of a story: what is asked, how long it is, and what is not made twice."""

import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CosineDPMSolverMultistepScheduler, StableAudioPipeline
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.sound.diffusers_scorers import (
    AudioLDM2Scorer,
    DiffusersScorer,
    ScorerSettings,
    StableAudio3Scorer,
    StableAudioScorer,
)
from animeshooter_hf.modeling.sound.open_scorer import SOUND_MODELS, open_scorer
from animeshooter_hf.modeling.sound.scorer import AudioScorer, CallableScorer, SilenceScorer, sound_seed_for
from animeshooter_hf.modeling.sound.story_sound import SoundSettings, iter_sounds, score_story, sound_prompt
from animeshooter_hf.modeling.sound.testing import tiny_audioldm2, tiny_stable_audio, tiny_stable_audio_3
from animeshooter_hf.modeling.state import seed_for
from animeshooter_hf.records import AudioAnnotation, Scene, Shot, Story, make_shot_id

FEW = ScorerSettings(num_inference_steps=2)
AT_8K = SoundSettings(sample_rate=8_000)


def story(num_shots: int = 3, **changes: Any) -> Story:
    shots = tuple(
        Shot(
            shot_id=make_shot_id("s", index),
            index=index,
            narrative_caption=f"Mia drops plate {index}.",
            descriptive_caption="Close view.",
            scene="kitchen",
        )
        for index in range(num_shots)
    )
    return Story(
        video_id="s", story_id="s", shots=shots, scenes=(Scene(id="kitchen", environment="a tiled kitchen"),), **changes
    )


class Noise:
    """A scorer that counts its calls."""

    max_seconds: float | None = None

    def __init__(self, rate: int = 8_000, max_seconds: float | None = None) -> None:
        self.rate, self.max_seconds = rate, max_seconds
        self.asked: list[tuple[str, float]] = []

    @property
    def provenance(self) -> dict[str, Any]:
        return {"model": "noise", "rate": self.rate}

    def __call__(self, prompt: str, seconds: float, generator: torch.Generator) -> tuple[NDArray[np.float32], int]:
        self.asked.append((prompt, seconds))
        return torch.randn(1, round(seconds * self.rate), generator=generator).numpy() * 0.1, self.rate


FACTORIES: dict[str, tuple[Callable[[], Any], type[DiffusersScorer]]] = {
    "stable_audio": (tiny_stable_audio, StableAudioScorer),
    "stable_audio_3": (tiny_stable_audio_3, StableAudio3Scorer),
    "audioldm2": (tiny_audioldm2, AudioLDM2Scorer),
}


@pytest.fixture(scope="module", params=FACTORIES)
def scorer(request: pytest.FixtureRequest) -> DiffusersScorer:
    make, scorer_class = FACTORIES[request.param]
    return scorer_class(make(), FEW, {"model": "toy", "licence": "none", "source": "random weights"})


def made(scorer: Any, prompt: str, seconds: float, seed: int) -> NDArray[np.float32]:
    samples, _ = scorer(prompt, seconds, torch.Generator().manual_seed(seed))
    return np.asarray(samples)


def test_the_pipelines_of_diffusers_make_sound_from_text_and_seed(scorer: DiffusersScorer) -> None:
    first = made(scorer, "a dog barks", 0.7, 1)
    assert isinstance(scorer, AudioScorer)
    assert first.dtype == np.float32
    assert first.shape[0] in (1, 2)
    assert first.shape[1] == pytest.approx(0.7 * scorer.sample_rate, abs=32)
    assert not np.array_equal(made(scorer, "a dog barks", 0.7, 2), first)
    assert not np.array_equal(made(scorer, "soft rain on a roof", 0.7, 1), first)
    assert np.array_equal(made(scorer, "a dog barks", 0.7, 1), first)


def test_a_plain_call_of_the_pipeline_gives_the_same_samples() -> None:
    pipeline = tiny_stable_audio()
    scorer = StableAudioScorer(pipeline, FEW)
    plain = pipeline(
        "a dog barks", audio_end_in_s=0.7, num_inference_steps=2, generator=torch.Generator().manual_seed(1)
    )
    assert np.array_equal(made(scorer, "a dog barks", 0.7, 1), plain.audios[0].numpy())


def test_the_released_scheduler_of_stable_audio_starts_each_sound_anew() -> None:
    pytest.importorskip("torchsde")
    scheduler = CosineDPMSolverMultistepScheduler(
        solver_order=2, prediction_type="v_prediction", sigma_data=1.0, sigma_schedule="exponential"
    )
    scorer = StableAudioScorer(tiny_stable_audio(scheduler=scheduler), FEW)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchsde warns of rounding in its times
        alone = made(scorer, "rain", 0.5, 1)
        made(scorer, "wind", 0.5, 2)
        assert np.array_equal(made(scorer, "rain", 0.5, 1), alone)


def test_a_checkpoint_comes_back_with_the_same_sound(scorer: DiffusersScorer, tmp_path: Path) -> None:
    scorer.pipeline.save_pretrained(tmp_path)
    loaded = open_scorer(tmp_path, settings=FEW)
    assert type(loaded) is type(scorer)
    # Weights that are kept as direction and length are put together again when loaded: equal to a few ulp.
    np.testing.assert_allclose(made(loaded, "rain", 0.5, 1), made(scorer, "rain", 0.5, 1), atol=2e-6)
    assert loaded.provenance["model"] == tmp_path.name


def test_a_length_beyond_the_model_is_refused_by_the_scorer(scorer: DiffusersScorer) -> None:
    with pytest.raises(InputError, match="at once, got"):
        made(scorer, "rain", scorer.max_seconds + 1, 1)
    with pytest.raises(InputError, match="at once, got"):
        made(scorer, "rain", 0.0, 1)


def test_checkpoints_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    pipeline = tiny_stable_audio()
    pipeline.save_pretrained(tmp_path)
    weights = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    kept = dict(list(load_file(weights).items())[:-1])
    save_file(kept, weights, {"format": "pt"})
    with pytest.raises(InputError, match="not whole: 1 weights of transformer are missing"):
        open_scorer(tmp_path)
    weights.unlink()
    with pytest.raises(InputError, match=r"cannot be loaded|not whole"):
        open_scorer(tmp_path)
    for file in (tmp_path / "vae").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="folder vae is missing or empty"):
        open_scorer(tmp_path)
    (tmp_path / "model_index.json").unlink()
    with pytest.raises(InputError, match=r"no model_index\.json"):
        open_scorer(tmp_path)


def test_names_and_pipelines_that_make_no_sound_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no sound model"):
        open_scorer(tmp_path / "none")
    (tmp_path / "model_index.json").write_text('{"_class_name": "CogVideoXPipeline"}')
    with pytest.raises(InputError, match="is a CogVideoXPipeline; sound is made by"):
        open_scorer(tmp_path)
    with pytest.raises(InputError, match="takes a StableAudioPipeline"):
        StableAudioScorer(CogVideoXDDIMScheduler())
    with pytest.raises(InputError, match="dtype"):
        open_scorer("nobody/nothing", dtype="int8")
    for wrong in ({"num_inference_steps": 0}, {"guidance_scale": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ScorerSettings(**wrong)


def test_every_named_model_tells_its_licence_and_what_was_not_checked() -> None:
    for model in SOUND_MODELS.values():
        assert model.licence
        assert model.unsure
        assert model.source.endswith(model.model)
    assert isinstance(open_scorer("silence"), SilenceScorer)
    assert StableAudioPipeline.__name__ == StableAudioScorer.pipeline_class


def test_a_story_is_scored_with_a_pipeline_shot_by_shot(scorer: DiffusersScorer) -> None:
    sounds = score_story(story(2), [0.5, Fraction(9, 24)], scorer, seed=3, settings=AT_8K)
    assert [one.shape for one in sounds] == [(2, 4_000), (2, 3_000)]
    assert all(one.dtype == np.float32 and one.any() for one in sounds)


def test_an_annotation_is_taken_as_the_prompt() -> None:
    sound = AudioAnnotation(audio_type="crash", sound_description="sharp, high", visual_context="A plate breaks.")
    told = story(1)
    told = told.with_shots([Shot(shot_id="s_00", index=0, narrative_caption="x", audio=sound)])
    assert sound_prompt(told, 0) == "crash. sharp, high. A plate breaks."


def test_without_annotation_the_prompt_is_written_from_captions_and_place() -> None:
    prompt = sound_prompt(story(), 1)
    assert "Mia drops plate 1." in prompt
    assert "a tiled kitchen" in prompt


def test_a_shot_that_is_silent_by_annotation_asks_nobody() -> None:
    quiet = Shot(shot_id="s_00", index=0, audio=AudioAnnotation(audio_type="Silence"))
    scorer = Noise()
    (sound,) = score_story(story(1).with_shots([quiet]), [1.0], scorer, settings=AT_8K)
    assert not sound.any()
    assert not scorer.asked


def test_a_shots_sound_depends_on_no_other_shot() -> None:
    three = score_story(story(3), [0.5] * 3, Noise(), seed=7, settings=AT_8K)
    two = score_story(story(2), [0.5] * 2, Noise(), seed=7, settings=AT_8K)
    assert all(np.array_equal(a, b) for a, b in zip(three, two, strict=False))
    assert not np.array_equal(three[0], three[1])
    assert not np.array_equal(score_story(story(1), [0.5], Noise(), seed=8, settings=AT_8K)[0], three[0])
    assert sound_seed_for(7, 0) != seed_for(7, 0)


def test_sounds_are_exactly_as_long_as_their_shots_whatever_the_models_rate() -> None:
    lengths = [Fraction(49 * 1001, 24_000), Fraction(1, 3), 0.1]
    sounds = score_story(story(3), lengths, Noise(rate=16_000), settings=SoundSettings(sample_rate=44_100))
    assert [one.shape for one in sounds] == [(2, round(Fraction(seconds) * 44_100)) for seconds in lengths]


def test_resampling_keeps_the_pitch_and_the_place() -> None:
    def tone(prompt: str, seconds: float, generator: torch.Generator) -> tuple[NDArray[np.float32], int]:
        time = np.arange(round(seconds * 16_000)) / 16_000
        return np.sin(2 * np.pi * 440 * time).astype(np.float32) * (time >= 0.5), 16_000

    (sound,) = score_story(story(1), [1.0], tone, settings=SoundSettings(sample_rate=48_000))
    expected = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    assert np.abs(sound[0, :23_900]).max() < 0.05
    np.testing.assert_allclose(sound[0, 24_500:47_500], expected[24_500:47_500], atol=0.01)


def test_what_is_kept_is_not_made_again(tmp_path: Path) -> None:
    first, again = Noise(), Noise()
    sounds = score_story(story(3), [0.5] * 3, first, settings=AT_8K, folder=tmp_path)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(score_story(story(3), [0.5] * 3, again, settings=AT_8K, folder=tmp_path), sounds, strict=True)
    )
    assert (len(first.asked), len(again.asked)) == (3, 0)
    assert not list(tmp_path.glob("*.partial*"))


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    stopped = Noise()
    running = iter_sounds(story(3), [0.5] * 3, stopped, settings=AT_8K, folder=tmp_path)
    next(running)
    running.close()
    rest = Noise()
    sounds = score_story(story(3), [0.5] * 3, rest, settings=AT_8K, folder=tmp_path)
    assert (len(stopped.asked), len(rest.asked)) == (1, 2)
    whole = score_story(story(3), [0.5] * 3, Noise(), settings=AT_8K)
    assert all(np.array_equal(a, b) for a, b in zip(sounds, whole, strict=True))


def test_editing_one_shot_makes_one_sound_and_a_broken_file_is_made_again(tmp_path: Path) -> None:
    score_story(story(3), [0.5] * 3, Noise(), settings=AT_8K, folder=tmp_path)
    next(tmp_path.glob("sound_00-*.npy")).write_bytes(b"broken")
    shots = list(story(3).shots)
    shots[1] = Shot(shot_id="s_01", index=1, narrative_caption="Rex barks.")
    again = Noise()
    score_story(story(3).with_shots(shots), [0.5] * 3, again, settings=AT_8K, folder=tmp_path)
    assert len(again.asked) == 2
    assert "Rex barks." in again.asked[1][0]
    assert len(list(tmp_path.glob("sound_*.npy"))) == 3


def test_a_shot_longer_than_the_model_can_is_looped_without_a_gap() -> None:
    scorer = Noise(max_seconds=1.0)
    (sound,) = score_story(story(1), [4.3], scorer, settings=SoundSettings(sample_rate=8_000, crossfade_seconds=0.25))
    assert scorer.asked[0][1] == 1.0
    assert sound.shape == (2, 34_400)
    power_of_join, power_elsewhere = (
        np.square(sound[0, part]).mean() for part in (slice(6_000, 8_000), slice(2_000, 6_000))
    )
    assert power_of_join == pytest.approx(power_elsewhere, rel=0.15)
    assert np.array_equal(sound[0, 2_000:6_000], sound[0, 8_000:12_000])


@pytest.mark.parametrize("overlap", [0.0, 60.0])
def test_a_loop_fills_the_shot_with_any_crossfade(overlap: float) -> None:
    settings = SoundSettings(sample_rate=8_000, crossfade_seconds=overlap)
    (sound,) = score_story(story(1), [2.7], Noise(max_seconds=0.5), settings=settings)
    assert sound.shape == (2, 21_600)
    assert np.abs(sound[:, -400:]).max() > 0.01


def test_a_shot_that_is_too_long_is_refused_before_anything_is_made_where_asked() -> None:
    scorer = Noise(max_seconds=1.0)
    with pytest.raises(InputError, match=r"Shot 1 lasts 1\.50 s, but the sound model makes up to 1\.00 s"):
        score_story(story(2), [0.5, 1.5], scorer, settings=SoundSettings(too_long="refuse"))
    assert not scorer.asked


def test_a_function_and_none_are_scorers_too() -> None:
    (sound,) = score_story(story(1), [0.5], lambda text, seconds, generator: (torch.ones(4_000), 8_000), settings=AT_8K)
    assert (sound == 1).all()
    (silence,) = score_story(story(1), [0.5], None, settings=AT_8K)
    assert silence.shape == (2, 4_000)
    assert not silence.any()
    assert CallableScorer(len, name="mine").provenance["model"] == "function mine"


def test_the_sounds_of_a_function_are_kept_under_a_name_only(tmp_path: Path) -> None:
    def hum(prompt: str, seconds: float, generator: torch.Generator) -> tuple[NDArray[np.float32], int]:
        return np.ones(round(seconds * 8_000), np.float32), 8_000

    with pytest.raises(InputError, match=r"give CallableScorer\(function, name="):
        score_story(story(1), [0.5], hum, folder=tmp_path)
    score_story(story(1), [0.5], CallableScorer(hum, name="hum"), settings=AT_8K, folder=tmp_path)
    assert len(list(tmp_path.glob("sound_00-*.npy"))) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.zeros(5, np.float32), "must return"),
        ((np.zeros(5, np.int16), 8_000), "float samples"),
        (([0.0], 8_000), "float samples"),
        ((np.zeros((3, 5), np.float32), 8_000), "shape"),
        ((np.zeros((1, 0), np.float32), 8_000), "no samples"),
        ((np.full(5, np.inf, np.float32), 8_000), "not finite"),
        ((np.zeros(5, np.float32), 0), "sample rate 0"),
        ((np.zeros(5, np.float32), 8_000.5), "whole number"),
    ],
)
def test_a_scorer_that_returns_no_sound_is_refused(answer: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        score_story(story(1), [0.5], lambda *_: answer)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"durations": [1.0]}, "2 shots, but 1 lengths"),
        ({"durations": [1.0, 0.0]}, "length of shot 1"),
        ({"durations": [1.0, float("nan")]}, "length of shot 1"),
        ({"durations": [1.0, "2"]}, "length of shot 1"),
        ({"seed": -1}, "seed"),
        ({"scorer": 5}, "callable"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(arguments: dict[str, Any], words: str) -> None:
    given = {"durations": [1.0, 1.0], "scorer": None} | arguments
    with pytest.raises(InputError, match=words):
        iter_sounds(story(2), given.pop("durations"), given.pop("scorer"), **given)


def test_a_folder_that_cannot_be_written_and_settings_out_of_range_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        score_story(story(1), [1.0], None, folder=tmp_path / "file")
    for wrong in ({"sample_rate": 10}, {"too_long": "cut"}, {"crossfade_seconds": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            SoundSettings(**wrong)
