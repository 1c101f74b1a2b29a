"""The metrics as modules of `evaluate`, loaded from their folders in a process that has never seen the network."""

import json
import os
import subprocess
import sys
import wave
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.eval.preference import Comparison, rank_systems
from animeshooter_hf.video import write_video

if find_spec("evaluate") is None:
    pytest.skip("`evaluate` is not installed (extra `evaluate`)", allow_module_level=True)
SESSION = Path(__file__).with_name("hf_session.py")
SOUNDS = ("bell", "rain", "steps")


def write_sound(path: Path, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(0, 3000, 16000) * (np.arange(16000) % 4000 < 1500)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.astype("<i2").tobytes())


def write_stories(folder: Path, drawn: SimpleNamespace) -> None:
    """Write three stories of one character with sound, and one of two characters with regions."""
    rows = []
    for number, cast in enumerate((["fox"], ["frog"], ["witch"], ["fox", "witch"])):
        story = folder / "_".join(cast)
        story.mkdir()
        for name in cast:
            Image.fromarray(drawn.reference(name)).save(story / f"{name}.png")
        row: dict[str, Any] = {"story_id": story.name, "ip_id": cast[0] if len(cast) == 1 else "pair"}
        places = ["field", "night", "field"]
        for shot, place in enumerate(places):
            picture = drawn.shot(cast[0], place, start=36 if len(cast) == 2 else 70)
            if len(cast) == 2:
                picture[:, :, 80:] = drawn.shot(cast[1], place, start=110)[:, :, 80:]
            write_video(story / f"{shot}.mp4", picture, Fraction(12))
            write_sound(story / f"{shot}.wav", 10 * number + shot)
        boxes = {cast[0]: [0.05, 0.1, 0.5, 0.95], cast[-1]: [0.5, 0.1, 0.95, 0.95]} if len(cast) == 2 else {}
        row |= {
            "shots": [f"{story.name}/{shot}.mp4" for shot in range(3)],
            "references": [f"{story.name}/{name}.png" for name in cast],
            "reference_characters": cast,
            "shot_characters": [cast] * 3,
            "captions": [f"the {cast[0]} in the {place}." for place in places],
            "scene_ids": places,
            "regions": [{name: [{"frame": 0, "box": box}] for name, box in boxes.items()}] * 3,
            "sound": [f"{story.name}/{shot}.wav" for shot in range(3)],
            "sound_captions": list(SOUNDS),
        }
        rows.append(row)
    (folder / "predictions.json").write_text(json.dumps(rows))


@pytest.fixture(scope="module")
def answers(drawn: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("session")
    write_stories(folder, drawn)
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("HF_MODULES_CACHE", None)
    made = subprocess.run(
        [sys.executable, str(SESSION), str(folder)], capture_output=True, text=True, env=environment, cwd=folder
    )
    assert made.returncode == 0, made.stderr[-3000:]
    spoken: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    spoken["leftovers"] = [str(path) for path in home.rglob("*.arrow")]
    return spoken


def assert_same(given: dict[str, Any], expected: dict[str, Any], *, prefix: str = "") -> None:
    """Compare flat numbers with those of a results file; `combine` puts a module's name before what two share."""
    assert expected
    for name, entry in expected.items():
        found = given[name] if name in given else given[prefix + name]
        if entry["value"] is None:
            assert found is None, name
        else:
            assert found == pytest.approx(entry["value"], abs=1e-6), name


def test_each_module_loads_offline_and_gives_the_numbers_of_evaluate_stories(answers: dict[str, Any]) -> None:
    assert answers["names"] == list(answers["expected"])
    for name, expected in answers["expected"].items():
        assert_same(answers["compute"][name], expected)
    assert answers["compute"]["character_assignment"]["binding_accuracy"] == 1.0
    assert answers["compute"]["audio_alignment"]["sync_auc"] is not None
    assert answers["compute"]["cross_shot_consistency"]["scene_contrast"] is not None


def test_a_backend_from_a_folder_is_a_configuration(answers: dict[str, Any]) -> None:
    assert_same(answers["text"], answers["expected_text"]["text_alignment"])
    assert answers["text"]["caption_similarity"] is not None
    assert answers["text"]["signature"].startswith("text|clip")


def test_adding_story_by_story_or_in_batches_gives_the_same_numbers(answers: dict[str, Any]) -> None:
    assert_same(answers["add_batch"], answers["expected"]["character_assignment"])
    assert_same(answers["add"], answers["expected"]["audio_alignment"])


def test_combined_modules_give_flat_numbers_and_take_whole_stories_in_batches(answers: dict[str, Any]) -> None:
    for way in ("combine", "combine_add_batch"):
        assert all(not isinstance(value, dict | list) for value in answers[way].values())
        for name, expected in answers["expected"].items():
            assert_same(answers[way], expected, prefix=f"{name}_")
        assert answers[way]["reference_fidelity_n_stories"] == 4


def test_two_processes_give_the_numbers_of_one(answers: dict[str, Any]) -> None:
    first, second = answers["pair"]
    assert second is None
    assert_same(first, answers["expected"]["shot_controls"])


def test_a_process_without_a_story_holds_up_nobody(answers: dict[str, Any]) -> None:
    first, *others = answers["empty_rank"]
    assert others == [None] * 4
    assert_same(first, answers["expected"]["reference_fidelity"])
    assert first["n_stories"] == 4


def test_a_process_that_never_comes_is_named_in_one_sentence(answers: dict[str, Any]) -> None:
    (said,) = answers["alone"]
    assert "Process 0 of 2 did not meet all others within 0.3 s" in said
    assert "even if it has nothing to add" in said
    assert answers["alone_after"] is True


def test_a_cache_of_embeddings_changes_no_number_and_intervals_are_asked_for(answers: dict[str, Any]) -> None:
    first, second = answers["cached"]
    assert first == second
    assert_same(first, answers["expected"]["reference_fidelity"])
    assert first["mean_low"] <= first["mean"] <= first["mean_high"]
    assert "mean_low" not in answers["compute"]["reference_fidelity"]


def test_numbers_stand_beside_coverage_flags_and_signature(answers: dict[str, Any]) -> None:
    made = answers["compute"]["shot_controls"]
    stories = made.pop("per_story")
    assert [story["story_id"] for story in stories] == ["fox", "frog", "witch", "fox_witch"]
    assert all(not isinstance(value, dict | list) for value in made.values())
    assert made["flagged_duplicate"] == sum("duplicate" in story["flags"] for story in stories)
    assert made["coverage"] == 1.0
    assert made["signature"].startswith("controls|")
    missing = answers["missing_file"]
    assert missing["n_shots_failed"] == 1
    assert missing["mean"] > 0.3
    assert missing["coverage"] == pytest.approx(11 / 12)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("text", "must be a list of paths"),
        ("length", "one entry for each of 4 stories"),
        ("unknown", "Unknown input 'colours'"),
        ("key", "Unknown key 'colour' in predictions[0]"),
        ("double", "'track' of predictions[0] is given twice"),
        ("reference", '{"character": name, "image": path}'),
        ("references", "references[0] must be a list of paths"),
        ("region", "'regions' in predictions[0]"),
        ("shots", "must hold 1 entries or none, got 2"),
        ("none", "predictions are missing"),
        ("backend", "no backend 'oracle'"),
        ("no text", "needs a backend that reads text"),
        ("missing", "needs predictions"),
        ("nothing", "There is nothing to compute"),
        ("empty", "There is nothing to compute"),
        ("twice", "'same' is given twice"),
        ("after", ""),
    ],
)
def test_bad_inputs_are_refused_in_a_sentence(answers: dict[str, Any], what: str, words: str) -> None:
    assert words in answers["refused"][what]
    assert bool(words) == bool(answers["refused"][what])


def test_votes_give_the_ranking_of_the_library_on_one_process_and_on_three(answers: dict[str, Any]) -> None:
    spoken = answers["votes"]
    columns = [spoken["given"][name] for name in ("left", "right", "answers", "raters", "story_ids", "ip_ids")]
    votes = [
        Comparison(left=left, right=right, answer=answer, rater=rater, story_id=story, ip_id=ip)
        for left, right, answer, rater, story, ip in sorted(zip(*columns, strict=True))
    ]
    ranking = rank_systems(votes, draws=100)
    made = spoken["compute"]
    assert made["best"] == ranking.systems[0].system == "a"
    for one in ranking.systems:
        for name, value in (("strength", one.strength), ("low", one.low), ("win_rate", one.win_rate)):
            assert made[f"{name}/{one.system}"] == pytest.approx(value, abs=1e-9)
    assert made["n_votes"] == 12
    assert spoken["add"] == made
    assert spoken["ranks"] == [made, None, None]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("answer", "left, right or tie"),
        ("missing", "answers is missing"),
        ("length", "right must hold a text for each of 1 votes"),
        ("unknown", "Unknown input 'colour'"),
        ("same", "two systems"),
        ("name", "empty name"),
        ("nothing", "There is nothing to compute"),
    ],
)
def test_malformed_votes_are_refused_in_a_sentence(answers: dict[str, Any], what: str, words: str) -> None:
    assert words in answers["votes"]["refused"][what]


def test_the_example_of_every_card_runs_and_gives_numbers(answers: dict[str, Any]) -> None:
    made = answers["examples"]
    assert set(made) == {*answers["names"], "text_alignment", "story_preference"}
    for name, headline in (
        ("reference_fidelity", "harmean_p"),
        ("cross_shot_consistency", "scene_contrast"),
        ("shot_controls", "residual_top5"),
        ("text_alignment", "caption_contrast"),
        ("audio_alignment", "sync_auc"),
        ("character_assignment", "cast_fidelity"),
        ("story_preference", "strength/ours"),
    ):
        assert headline in made[name], name


def test_nothing_is_left_in_the_cache_of_evaluate(answers: dict[str, Any]) -> None:
    assert answers["leftovers"] == []
