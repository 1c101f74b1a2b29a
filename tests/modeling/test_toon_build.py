"""The recipe of the toon checkpoint at toy amounts: every step for real, one optimizer step each."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.toon.autoencoder_training import AutoencoderSettings, train_autoencoder
from animeshooter_hf.modeling.toon.build import make_start, make_vae, ship, train_step
from animeshooter_hf.modeling.toon.drawn_stories import draw_stories
from animeshooter_hf.modeling.toon.recipe import TRAINED_STEPS, ToonRecipe, settings_of, windows_of
from animeshooter_hf.modeling.toon.toon_card import write_toon_card
from animeshooter_hf.toon.compact import plan_compact_story

RECIPE = ToonRecipe(
    num_stories=8,
    autoencoder_stories=4,
    autoencoder=AutoencoderSettings(steps=3, batch_size=8),
    base_steps=1,
    align_steps=1,
    multi_steps=1,
    long_steps=1,
)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toon")
    torch.set_num_threads(1)
    make_start(RECIPE, make_vae(RECIPE, out / "vae")).save_pretrained(out / "start")
    for step in TRAINED_STEPS:
        train_step(RECIPE, step, out)
    ship(RECIPE, out, out / "toon", seeds=(920_000,), num_inference_steps=1)
    return out


def test_a_build_leaves_a_whole_checkpoint_in_small_files_without_its_text_encoder(build: Path) -> None:
    made = AnimeShooterGenPipeline.from_pretrained(build / "toon")
    assert made.text_encoder is None
    for weights in (build / "toon").rglob("*.safetensors"):
        with safe_open(weights, framework="pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - no mapping
    assert made.config.weights_origin.startswith("trained: stage multi, 1 steps")
    sizes = [path.stat().st_size for path in (build / "toon").rglob("*") if path.is_file()]
    assert max(sizes) <= 16 * 2**20
    assert sum(sizes) <= 32e6


def test_the_card_of_a_build_tells_command_seed_data_steps_and_scores(build: Path) -> None:
    text = (build / "toon" / "README.md").read_text(encoding="utf-8")
    assert "python -m animeshooter_hf.modeling.toon.build OUT" in text
    assert "Seed 0; 8 stories" in text
    assert "| multi | the paper's stages 2 and 3 | 1 | 8 stories | all but the autoencoder |" in text
    assert (build / "toon" / "samples" / "stories.png").exists()
    assert str(build) not in text
    row = {"system": "toon", "measure": "identity", "value": 0.5, "low": 0.25, "high": 0.75}
    write_toon_card(build / "toon", RECIPE, [row])
    write_toon_card(build / "toon", RECIPE, [row])
    again = (build / "toon" / "README.md").read_text(encoding="utf-8")
    assert again.count("| identity | 0.500 [0.250, 0.750] |") == 1
    assert again.count("## Training") == 1


def test_each_step_moves_what_it_says_and_nothing_else(build: Path) -> None:
    folders = [build / "start", *(build / step / "pipeline" for step in TRAINED_STEPS)]
    pipelines = [AnimeShooterGenPipeline.from_pretrained(folder) for folder in folders]
    moved = [
        {name for name in ("mllm", "adapter", "transformer", "vae", "reference_latents") if _differ(a, b, name)}
        for a, b in pairwise(pipelines)
    ]
    everything = {"mllm", "adapter", "transformer", "reference_latents"}
    assert moved == [{"transformer"}, {"mllm", "adapter"}, everything, everything]


def _differ(first: AnimeShooterGenPipeline, second: AnimeShooterGenPipeline, name: str) -> bool:
    one, other = (getattr(pipeline, name).state_dict() for pipeline in (first, second))
    return any(not torch.equal(one[key], other[key]) for key in one if key not in ("null_embeds", "output_mean",
                                                                                   "output_std"))  # fmt: skip


def test_steps_share_marks_so_that_a_clip_is_encoded_once_for_all_of_them() -> None:
    alone, whole = windows_of(RECIPE, "base"), windows_of(RECIPE, "multi")
    assert [clip.mark for number in range(4) for clip in alone.plan(number).clips] == [
        clip.mark for clip in whole.plan(0).clips
    ]


def test_the_base_never_sees_a_reference(tmp_path: Path) -> None:
    dropout = settings_of(RECIPE, "base", tmp_path, cache=tmp_path).dropout
    assert dropout.reference + dropout.both == 1


def test_a_step_whose_beginning_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no checkpoint"):
        train_step(RECIPE, "multi", tmp_path)


def test_stories_are_drawn_the_same_by_any_number_of_processes() -> None:
    one, two = (draw_stories(range(4), workers=workers) for workers in (1, 2))
    assert np.array_equal(one.frames_NSFHW3, two.frames_NSFHW3)
    story = plan_compact_story(3, pool="train")
    assert np.array_equal(one.frames_NSFHW3[3, 1], story.frames(1))
    assert one.captions[3] == tuple(story.captions)


def test_the_autoencoder_learns_and_scales_its_latents_to_one() -> None:
    torch.set_num_threads(1)
    stories = draw_stories(range(4), workers=1)
    short, longer = (
        train_autoencoder(stories, AutoencoderSettings(latent_channels=8, steps=steps, batch_size=8))
        for steps in (1, 30)
    )
    clips = torch.from_numpy(stories.frames_NSFHW3[:, 0]).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    with torch.no_grad():
        errors = [
            float((model.decode(model.encode(clips).latent_dist.mode()).sample - clips).abs().mean())
            for model in (short, longer)
        ]
        latents = longer.encode(clips).latent_dist.mode() * longer.config.scaling_factor
    assert errors[1] < errors[0]
    assert 0.7 < float(latents.std()) < 1.4
