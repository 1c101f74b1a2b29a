"""The checkpoint "toon" comes with the library, is whole and small, and a bare name means it."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from animeshooter_hf import AnimeShooterGenPipeline
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.open_pipeline import open_pipeline
from animeshooter_hf.modeling.packaged import PACKAGED, packaged_folder
from animeshooter_hf.modeling.sources import repository_of
from animeshooter_hf.modeling.training.meta_pipeline import meta_pipeline
from animeshooter_hf.modeling.web.space import write_space
from animeshooter_hf.toon.compact import plan_compact_story

FOLDER = PACKAGED["toon"]


@pytest.fixture(scope="module")
def toon() -> AnimeShooterGenPipeline:
    pipeline = AnimeShooterGenPipeline.from_pretrained("toon")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_toon_computes_in_float32_and_has_all_it_needs_but_a_text_encoder(toon: AnimeShooterGenPipeline) -> None:
    parts = {name: part for name, part in toon.components.items() if isinstance(part, nn.Module)}
    assert {"mllm", "adapter", "transformer", "vae", "reference_latents"} == set(parts)
    weights = [weight for part in parts.values() for weight in part.parameters()]
    assert {weight.dtype for weight in weights} == {torch.float32}
    assert all(weight.isfinite().all() for weight in weights)


def test_another_type_is_given_as_for_any_checkpoint() -> None:
    assert open_pipeline("toon", "bfloat16").transformer.dtype == torch.bfloat16


def test_toon_says_that_it_was_trained_and_names_itself_without_a_path(toon: AnimeShooterGenPipeline) -> None:
    assert toon.config.weights_origin.startswith("trained: ")
    assert repository_of(toon.config) == "toon"


def test_toons_files_are_small_enough_for_any_git_host() -> None:
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert max(sizes) <= 16 * 2**20
    assert sum(sizes) <= 32 * 2**20


def test_toons_files_tell_nothing_of_the_machine_that_made_them() -> None:
    for path in FOLDER.rglob("*"):
        if path.suffix in (".json", ".md", ".py") and path.name != "tokenizer.json":
            assert not re.search(r"[\"'`( ]/(tmp|home|root|work|Users)/", path.read_text(encoding="utf-8")), path


def test_toon_draws_a_story_of_a_reference(toon: AnimeShooterGenPipeline) -> None:
    story = plan_compact_story(7, pool="held_out")
    reference = Image.fromarray(story.reference())
    output = toon(list(story.captions[:2]), reference, num_inference_steps=2, seed=0)
    assert [frames.shape for frames in output.frames] == [(5, 64, 64, 3)] * 2
    assert output.notes == ()


def test_toon_is_counted_without_its_weights() -> None:
    assert meta_pipeline("toon").transformer.device.type == "meta"


def test_toon_can_be_the_model_of_a_space(tmp_path: Path) -> None:
    write_space(tmp_path, model="toon", title="Toon")
    assert '"toon"' in (tmp_path / "app.py").read_text()
    assert "models:" not in (tmp_path / "README.md").read_text()


def test_a_folder_called_toon_is_named_by_its_path_and_never_wins_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "toon").mkdir()
    monkeypatch.chdir(tmp_path)
    assert packaged_folder("toon") == FOLDER
    assert "./toon would name what lies here" in caplog.text
    for place in ("./toon", Path("toon")):
        with pytest.raises(InputError, match=r"toon is no checkpoint: it has no model_index\.json"):
            AnimeShooterGenPipeline.from_pretrained(place)


def test_another_bare_name_is_refused() -> None:
    for opened in (AnimeShooterGenPipeline.from_pretrained, open_pipeline, meta_pipeline):
        with pytest.raises(InputError, match="There is no checkpoint at toons"):
            opened("toons")


def test_an_installation_without_the_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="came without the checkpoint 'toon'"):
        packaged_folder("toon", {"toon": tmp_path})


def test_a_checkpoint_that_is_saved_again_does_not_tell_where_it_was_loaded_from(tmp_path: Path) -> None:
    AnimeShooterGenPipeline.from_pretrained(FOLDER).save_pretrained(tmp_path)
    for path in (tmp_path / "model_index.json", *tmp_path.glob("*/config.json")):
        assert str(FOLDER) not in path.read_text(encoding="utf-8")
        assert "/" not in json.loads(path.read_text(encoding="utf-8")).get("_name_or_path", "")
