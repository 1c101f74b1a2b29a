"""The controls on toon stories: every attack trips the one made for it, and nothing real is flagged."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from animeshooter_hf.eval.adversarial import ATTACKS, attack_stories
from animeshooter_hf.eval.backbones.base import Backbone, Kind
from animeshooter_hf.eval.controls import CONTROLS
from animeshooter_hf.eval.encoding import EncodingSettings
from animeshooter_hf.eval.engine import encode_stories
from animeshooter_hf.eval.metrics import open_metrics
from animeshooter_hf.eval.metrics.shot_controls import ShotControls
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.eval.views import View
from animeshooter_hf.toon import FilmSettings, ToonFilm, character_reference

DEMOS = Path(__file__).resolve().parents[2].parent / "shared" / "release-sample" / "demos"
SETTINGS = FilmSettings(width=160, height=90, seconds=24, mean_shot_seconds=4, frame_rate=Fraction(16))
NUM_FRAMES = 36


def toon_story(seed: int) -> StoryPrediction:
    film = ToonFilm.from_seed(seed, SETTINGS)
    shots = [shot for shot in film.plan.shots if shot.scene_id is not None and shot.num_frames > NUM_FRAMES + 16][:2]
    cast = dict.fromkeys(placement.character_id for shot in shots for placement in shot.placements)
    return StoryPrediction(
        story_id=film.film_id,
        ip_id=film.film_id,
        shots=tuple(np.stack([film.frame(s.start_frame + 16 + f) for f in range(NUM_FRAMES)]) for s in shots),
        references=tuple(character_reference(film.plan.character[name], style=film.plan.style) for name in cast),
        reference_characters=tuple(cast),
        shot_characters=tuple(tuple(p.character_id for p in shot.placements) for shot in shots),
        scene_ids=tuple(shot.scene_id for shot in shots),
    )


def score(stories: list[StoryPrediction]) -> Results:
    return evaluate_stories(stories, "shot_controls", draws=0)


def values(results: Results, story: StoryPrediction) -> dict[str, float | None]:
    return dict(results.stories[story.story_id]["shot_controls"].values)


@pytest.fixture(scope="module")
def toons() -> list[StoryPrediction]:
    return [toon_story(seed) for seed in (701, 702)]


@pytest.fixture(scope="module")
def results(toons: list[StoryPrediction]) -> Results:
    return score(toons)


def test_no_real_story_is_flagged_and_every_control_was_tested(results: Results) -> None:
    assert not any(results.flags.values())
    assert {gate.control for gate in results.gates} == {control.name for control in CONTROLS}
    assert all(gate.num_tested == 2 and not gate.is_gated for gate in results.gates)


@pytest.mark.parametrize("kind", [kind for kind, attack in ATTACKS.items() if attack.expected])
def test_every_attacked_story_is_flagged_by_the_control_made_for_it(toons: list[StoryPrediction], kind: str) -> None:
    attacked = score(list(attack_stories(toons, kind, seed=2)))
    for story in toons:
        assert set(ATTACKS[kind].expected) <= set(attacked.flags[story.story_id])
    gated = {gate.control for gate in attacked.gates if gate.is_gated}
    assert set(ATTACKS[kind].expected) <= gated


def test_every_number_has_a_direction_and_lies_in_its_range(results: Results, toons: list[StoryPrediction]) -> None:
    for story in toons:
        found = values(results, story)
        assert set(found) == set(ShotControls.directions)
        for name, value in found.items():
            assert value is None or math.isfinite(value)
            if value is not None and not name.startswith(("identity", "residual", "dynamic", "order_ratio", "auto")):
                assert 0 <= value <= 1
        assert found["copy_paste_mirror"] is None  # the classical backend is blind to mirrors
        assert found["decode_ok"] == 1
        assert found["residual_top5"] <= found["dynamic_top5"] * 2
    assert ShotControls.headline in ShotControls.directions


def test_the_order_of_stories_changes_no_digit(toons: list[StoryPrediction], results: Results) -> None:
    back = score(toons[::-1])
    assert all(values(back, story) == values(results, story) for story in toons)


def test_a_story_of_one_shot_is_tested_for_what_it_can_be(toons: list[StoryPrediction]) -> None:
    one = replace(toons[0], shots=toons[0].shots[:1], shot_characters=(), scene_ids=())
    found = values(score([one]), one)
    for name in ("shot_duplication", "distinct_shots", "order_fit", "identity_contrast", "watermark"):
        assert found[name] is None
    assert found["residual_top5"] > 0.3


def test_a_shot_of_one_frame_says_why_nothing_moves(toons: list[StoryPrediction]) -> None:
    still = replace(toons[0], shots=tuple(shot[:1] for shot in toons[0].shots))
    scores = score([still, toons[1]])
    found = values(scores, still)
    assert found["residual_top5"] is None
    assert found["autocorrelation"] > 0.2
    assert "single frame" in scores.shots[0].problems["shot_controls"]
    assert scores.stories[still.story_id]["shot_controls"].n_skipped == 2
    static = next(gate for gate in scores.gates if gate.control == "static")
    assert static.num_tested == 1


def test_a_story_without_references_has_no_copy_and_no_identity(toons: list[StoryPrediction]) -> None:
    bare = replace(toons[0], references=(), reference_characters=())
    found = values(score([bare, toons[1]]), bare)
    for name in ("copy_match", "copy_match_max", "copy_paste_mirror", "identity_contrast"):
        assert found[name] is None
    assert found["residual_top5"] is not None


def test_unreadable_shots_are_counted_and_the_rest_is_judged(toons: list[StoryPrediction], tmp_path: Path) -> None:
    torn = replace(toons[0], shots=(toons[0].shots[0], tmp_path / "gone.mp4"))
    scores = score([torn, toons[1]])
    found = values(scores, torn)
    assert found["decode_ok"] == 0.5
    assert found["residual_top5"] is not None
    assert scores.stories[torn.story_id]["shot_controls"].n_failed == 1
    lost = replace(toons[0], shots=(tmp_path / "a.mp4", tmp_path / "b.mp4"))
    nothing = values(score([lost, toons[1]]), lost)
    assert nothing.pop("decode_ok") == 0
    assert set(nothing.values()) == {None}


@pytest.mark.parametrize(("height", "width", "level"), [(16, 16, None), (16, 16, 0), (40, 300, 128), (3, 90, None)])
def test_tiny_and_grey_frames_do_not_crash(
    toons: list[StoryPrediction], height: int, width: int, level: int | None
) -> None:
    rng = np.random.default_rng(0)
    shot = rng.integers(0, 256, (24, height, width, 3), dtype=np.uint8)
    if level is not None:
        shot[:] = level
    odd = replace(toons[0], shots=(shot, shot[::-1].copy()))
    scores = score([odd, toons[1]])
    if level is not None:
        assert values(scores, odd)["blank_share"] == 1
        assert values(scores, odd)["autocorrelation"] is None
        assert {"blank", "static"} <= set(scores.flags[odd.story_id])


class ThumbnailBackbone(Backbone):
    """A picture is its own thumbnail: enough to tell left from right."""

    name = "thumbnail"
    license = "none"
    runs_in_workers = True

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> "ThumbnailBackbone":
        return cls()

    @property
    def signature(self) -> str:
        return "thumbnail@1"

    def embed_prepared(self, items: Sequence[View], kind: Kind) -> np.ndarray:
        rows = [cv2.resize(item.image, (8, 8), interpolation=cv2.INTER_AREA).ravel().astype(float) for item in items]
        return np.stack([(row - row.mean()) / np.linalg.norm(row - row.mean()) for row in rows]).astype(np.float32)


def test_a_backend_that_tells_left_from_right_sees_that_the_reference_was_copied(toons: list[StoryPrediction]) -> None:
    copied = replace(
        toons[0],
        references=(toons[0].shots[0][9],),
        reference_characters=("x",),
        shot_characters=(("x",), ("x",)),
        shots=(toons[0].shots[0], toons[0].shots[0][:, :, ::-1].copy()),
    )
    settings = EncodingSettings()
    metrics = open_metrics("shot_controls", settings, backbone=ThumbnailBackbone())
    scores = metrics[0].score(encode_stories([copied], metrics, settings))
    plain, mirrored = (shot["copy_paste_mirror"] for shot in scores.shots[copied.story_id])
    assert plain > 0.95
    assert mirrored < 0.05
    gates = {gate.control: gate for gate in scores.gates}
    assert gates["wrong_character"].is_experimental
    assert not gates["static"].is_experimental
    assert gates["wrong_character"].flagged == {copied.story_id: None}


def test_the_demos_are_flagged_by_nothing() -> None:
    if not DEMOS.is_dir():
        pytest.skip("the sample of the public release is not beside the checkout")
    demos = list(read_predictions(DEMOS))
    scores = score(demos)
    assert not any(scores.flags.values())
    assert all(gate.num_tested == 4 for gate in scores.gates)
