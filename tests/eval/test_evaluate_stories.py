"""The invariants that any score must keep, on drawn stories."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import load_backbone
from animeshooter_hf.eval.encoding import EncodedStory, EncodingSettings
from animeshooter_hf.eval.engine import StoryEncoder, encode_stories
from animeshooter_hf.eval.metrics import open_metrics
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.scoring import score_stories
from animeshooter_hf.eval.shot_feature import PixelFeature, ShotFacts, ShotMedia
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.eval.views import frame_views

METRICS = ("reference_fidelity", "cross_shot_consistency")


def numbers(results: Results) -> dict[str, float | None]:
    """Return every number of a run under one flat name."""
    flat: dict[str, float | None] = {}
    for metric, entries in results.corpus.items():
        flat |= {f"{metric}/{name}": entry.value for name, entry in entries.items()}
    for story_id, scores in results.stories.items():
        for metric, score in scores.items():
            flat |= {f"{story_id}/{metric}/{name}": value for name, value in score.values.items()}
    for shot in results.shots:
        flat |= {f"{shot.story_id}/{shot.shot_index}/{name}": value for name, value in shot.values.items()}
    return flat


@pytest.fixture(scope="module")
def results(stories: list[StoryPrediction]) -> Results:
    return evaluate_stories(stories)


def test_every_figure_is_told_from_the_others(results: Results) -> None:
    assert results.value("reference_fidelity", "auc") > 0.95
    assert results.value("reference_fidelity", "retrieval_at_1") > 0.9


def test_the_order_of_stories_changes_no_digit(stories: list[StoryPrediction], results: Results) -> None:
    assert numbers(evaluate_stories(stories[::-1])) == numbers(results)


def test_the_number_of_workers_changes_no_digit(story_folder: Callable[..., Path]) -> None:
    folder = story_folder("fox", "frog", "witch")
    alone = evaluate_stories(read_predictions(folder))
    together = evaluate_stories(read_predictions(folder), num_workers=2)
    assert numbers(alone) == numbers(together)
    assert alone.to_json() == together.to_json()


def test_scoring_a_story_alone_gives_the_same_story_numbers(stories: list[StoryPrediction], results: Results) -> None:
    for story in stories:
        alone = evaluate_stories([story])
        for metric in METRICS:
            together = results.stories[story.story_id][metric].values
            for name, value in alone.stories[story.story_id][metric].values.items():
                if name not in ("retrieval_at_1", "margin"):
                    assert value == together[name]


def test_the_backend_gives_the_same_rows_for_any_batch_size(stories: list[StoryPrediction]) -> None:
    backbone = load_backbone("classical")
    views = [frame_views(frame, ["foreground"])["foreground"] for frame in stories[0].shots[0]]
    for kind in ("identity", "look"):
        together = backbone.embed(views, kind)
        apart = np.concatenate([backbone.embed([view], kind) for view in views])
        assert np.array_equal(together, apart)
        assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_each_metric_alone_gives_the_numbers_of_both(stories: list[StoryPrediction], results: Results) -> None:
    for metric in METRICS:
        alone = evaluate_stories(stories, metric)
        assert alone.corpus[metric] == results.corpus[metric]
        assert list(alone.corpus) == [metric]


def test_a_shot_that_is_its_reference_scores_one(drawn: SimpleNamespace) -> None:
    frame = drawn.shot("fox", "field", 1)[0]
    story = StoryPrediction(story_id="s", ip_id="fox", shots=(np.repeat(frame[None], 6, 0),) * 3, references=(frame,))
    scores = evaluate_stories([story])
    assert scores.value("reference_fidelity", "mean") == pytest.approx(1, abs=1e-6)
    assert scores.value("reference_fidelity", "harmean_p") == pytest.approx(1, abs=1e-6)
    assert scores.value("reference_fidelity", "distance_mean") == pytest.approx(0, abs=1e-6)
    assert scores.value("cross_shot_consistency", "pairwise") == pytest.approx(1, abs=1e-6)


def test_the_order_of_frames_does_not_matter(drawn: SimpleNamespace) -> None:
    frames = drawn.shot("fox", "sea", 5)
    stories = [
        StoryPrediction(story_id=name, ip_id="fox", shots=(shot,), references=(drawn.reference("fox"),))
        for name, shot in (("forth", frames), ("back", frames[::-1]))
    ]
    scores = evaluate_stories(stories, "reference_fidelity").stories
    forth, back = (scores[name]["reference_fidelity"].values["mean"] for name in ("forth", "back"))
    assert forth == pytest.approx(back, abs=1e-12)


def test_another_reference_lowers_the_fidelity(
    stories: list[StoryPrediction], results: Results, drawn: SimpleNamespace
) -> None:
    for story in stories:
        other = next(name for name in drawn.figures if name != story.ip_id)
        swapped = evaluate_stories([replace(story, references=(drawn.reference(other),))], "reference_fidelity")
        own = results.stories[story.story_id]["reference_fidelity"].values["mean"]
        assert swapped.value("reference_fidelity", "mean") < own - 0.1


def test_one_shot_of_another_figure_lowers_harmean_p_by_more_than_a_third(stories: list[StoryPrediction]) -> None:
    story, stranger = stories[0], stories[2]
    mixed = replace(story, shots=(*story.shots[:3], stranger.shots[3]))
    before, after = (
        evaluate_stories([s], "reference_fidelity").value("reference_fidelity", "harmean_p") for s in (story, mixed)
    )
    assert after < before * 2 / 3


def test_bytes_paths_and_arrays_of_a_reference_give_the_same_score(
    stories: list[StoryPrediction], tmp_path: Path
) -> None:
    path = tmp_path / "reference.png"
    Image.fromarray(stories[0].references[0]).save(path)
    values = [
        evaluate_stories([replace(stories[0], references=(picture,))], "reference_fidelity").corpus
        for picture in (stories[0].references[0], path, str(path), path.read_bytes())
    ]
    assert values[0] == values[1] == values[2] == values[3]


def test_a_missing_or_broken_video_is_none_and_counted(stories: list[StoryPrediction], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film at all" * 50)
    story = replace(stories[0], shots=(stories[0].shots[0], tmp_path / "missing.mp4", broken, stories[0].shots[3]))
    scores = evaluate_stories([story, stories[2]])
    fidelity = scores.stories[story.story_id]["reference_fidelity"]
    assert (fidelity.n_evaluated, fidelity.n_failed, fidelity.n_skipped) == (2, 2, 0)
    assert fidelity.values["mean"] > 0.3
    assert fidelity.values["harmean_p"] is None
    rows = [shot for shot in scores.shots if shot.story_id == story.story_id]
    assert [row.values["reference_fidelity/fidelity"] is None for row in rows] == [False, True, True, False]
    assert "missing.mp4" in rows[1].problems["reference_fidelity"]
    entry = scores.corpus["reference_fidelity"]["harmean_p"]
    assert (entry.n_evaluated, entry.n_failed, entry.n_skipped) == (1, 1, 0)
    assert entry.value == scores.stories[stories[2].story_id]["reference_fidelity"].values["harmean_p"]
    assert scores.stories[story.story_id]["cross_shot_consistency"].n_failed == 2


def test_a_story_whose_shots_all_fail_has_no_score_and_is_no_zero(
    stories: list[StoryPrediction], tmp_path: Path
) -> None:
    lost = replace(stories[0], story_id="lost", scene_ids=(), shots=(tmp_path / "1.mp4", tmp_path / "2.mp4"))
    scores = evaluate_stories([lost, stories[2]])
    for metric in METRICS:
        assert set(scores.stories["lost"][metric].values.values()) == {None}
    mean = scores.corpus["reference_fidelity"]["mean"]
    assert (mean.n_evaluated, mean.n_failed) == (1, 1)
    assert mean.value == scores.stories[stories[2].story_id]["reference_fidelity"].values["mean"]


def test_a_broken_reference_fails_the_fidelity_and_spares_the_consistency(
    stories: list[StoryPrediction], tmp_path: Path
) -> None:
    scores = evaluate_stories([replace(stories[0], references=(tmp_path / "gone.png",))])
    assert scores.stories[stories[0].story_id]["reference_fidelity"].n_failed == 4
    assert scores.value("reference_fidelity", "mean") is None
    assert scores.value("cross_shot_consistency", "pairwise") is not None


def test_a_story_without_references_is_skipped_by_the_fidelity(stories: list[StoryPrediction]) -> None:
    scores = evaluate_stories([replace(stories[0], references=())])
    entry = scores.corpus["reference_fidelity"]["mean"]
    assert (entry.value, entry.n_failed, entry.n_skipped) == (None, 0, 1)


def test_a_story_of_one_shot_has_a_fidelity_and_no_consistency(stories: list[StoryPrediction]) -> None:
    scores = evaluate_stories([replace(stories[0], shots=stories[0].shots[:1], scene_ids=())])
    assert scores.value("reference_fidelity", "mean") is not None
    entry = scores.corpus["cross_shot_consistency"]["pairwise"]
    assert (entry.value, entry.n_failed, entry.n_skipped) == (None, 0, 1)


def test_an_empty_array_is_a_failed_shot(stories: list[StoryPrediction]) -> None:
    empty = np.zeros((0, 10, 10, 3), np.uint8)
    scores = evaluate_stories([replace(stories[0], shots=(empty, *stories[0].shots[1:]))])
    assert scores.stories[stories[0].story_id]["reference_fidelity"].n_failed == 1


def test_a_shot_shorter_than_the_sample_says_how_many_frames_it_gave(stories: list[StoryPrediction]) -> None:
    scores = evaluate_stories([replace(stories[0], shots=(stories[0].shots[0][:2], *stories[0].shots[1:]))])
    assert [shot.num_frames for shot in scores.shots] == [2, 5, 5, 5]


def test_only_scheduled_characters_count(stories: list[StoryPrediction], drawn: SimpleNamespace) -> None:
    story = replace(
        stories[0],
        references=(drawn.reference("fox"), drawn.reference("frog")),
        reference_characters=("fox", "frog"),
        shot_characters=(("fox",), ("fox",), ("stranger",), ()),
    )
    scores = evaluate_stories([story])
    fidelity = scores.stories[story.story_id]["reference_fidelity"]
    assert (fidelity.n_evaluated, fidelity.n_failed, fidelity.n_skipped) == (2, 0, 2)
    assert fidelity.values["characters_without_reference"] == 1
    assert "No reference shows stranger." in scores.table()
    assert "without a reference of everybody who should be seen: 1 stories" in scores.table()
    both = evaluate_stories([replace(story, shot_characters=(("fox", "frog"),) * 4)])
    assert both.value("reference_fidelity", "mean") < scores.value("reference_fidelity", "mean")


DEGRADE = {
    "blur": lambda frame, level: cv2.GaussianBlur(frame, (0, 0), 4 * level) if level else frame,
    "noise": lambda frame, level: np.clip(
        frame + np.random.default_rng(0).normal(0, 30 * level + 1e-9, frame.shape), 0, 255
    ).astype(np.uint8),
    "hue": lambda frame, level: cv2.cvtColor(
        cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) + np.array([8 * level, 0, 0], np.uint8), cv2.COLOR_HSV2RGB
    ),
}


@pytest.mark.parametrize("kind", DEGRADE)
def test_the_mean_over_stories_falls_as_pictures_are_spoiled_more(stories: list[StoryPrediction], kind: str) -> None:
    values = []
    for level in range(4):
        spoiled = [
            replace(s, shots=tuple(np.stack([DEGRADE[kind](frame, level) for frame in shot]) for shot in s.shots))
            for s in stories[::2]
        ]
        values.append(evaluate_stories(spoiled, "reference_fidelity").value("reference_fidelity", "mean"))
    assert all(later < earlier for earlier, later in itertools.pairwise(values)), values


def test_scene_contrast_is_positive_where_places_differ(drawn: SimpleNamespace) -> None:
    story = drawn.story("fox", shots=("field", "night", "field", "night"))
    assert evaluate_stories([story]).value("cross_shot_consistency", "scene_contrast") > 0.3


def test_a_repeated_file_is_read_once_and_stories_may_come_from_a_generator(stories: list[StoryPrediction]) -> None:
    class Counting(PixelFeature):
        """Counts how often it is asked."""

        name = "counting"
        signature = "counting@1"
        num_asked = 0

        def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
            return (0,)

        def extract(self, media: ShotMedia) -> dict[str, np.ndarray]:
            self.num_asked += 1
            return {"number": np.asarray([self.num_asked])}

    counting = Counting()
    repeated = (replace(story, story_id=f"{story.story_id}_again") for story in stories[:2])
    encoder = StoryEncoder([], EncodingSettings(), extras=[counting])
    encoder.encode(story for part in (stories[:2], repeated) for story in part)
    assert counting.num_asked == 8 + 1  # both stories are of one figure, so they share their reference


def test_an_encoded_story_survives_its_bytes(stories: list[StoryPrediction], tmp_path: Path) -> None:
    settings = EncodingSettings()
    metrics = open_metrics(METRICS, settings)
    encoded = encode_stories(
        [replace(stories[0], shots=(tmp_path / "gone.mp4", *stories[0].shots[1:])), stories[2]], metrics, settings
    )
    back = [EncodedStory.from_bytes(story.to_bytes()) for story in encoded]
    once, again = (score_stories(some, metrics, settings) for some in (encoded, back))
    assert numbers(once) == numbers(again)
    assert once.to_json() == again.to_json()


def test_the_results_are_json_without_nan_and_say_what_was_computed(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.json"
    results.write(path)
    data = json.loads(path.read_text())
    assert data["format"] == "animeshooter-scores"
    assert data["signatures"]["reference_fidelity"].startswith("reffid|classical-")
    assert "k:5bin_centre" in data["signatures"]["cross_shot_consistency"]
    assert data["note"] == "smoke/sanity: colour only, not for ranking"
    assert [child.name for child in path.parent.iterdir()] == ["results.json"]
    assert len(data["shots"]) == 24


def test_the_signature_changes_with_every_setting(stories: list[StoryPrediction]) -> None:
    variants = ({}, {"frames_per_shot": 3}, {"sampling": "linspace"}, {"reference_background": "white"})
    assert len({evaluate_stories(stories[:1], **v).signatures["reference_fidelity"] for v in variants}) == len(variants)


def test_the_table_shows_every_story_the_corpus_and_the_signature(results: Results) -> None:
    table = results.table()
    assert all(story_id in table for story_id in results.stories)
    for text in ("HarMeanP", "pairwise", "corpus", "auc", "signature: reffid|", "not for ranking"):
        assert text in table


def test_settings_that_are_not_allowed_are_refused(stories: list[StoryPrediction]) -> None:
    for options, message in (
        ({"metrics": ("beauty",)}, "no metric 'beauty'"),
        ({"metrics": ()}, "no metric"),
        ({"backend": "oracle"}, "no backend 'oracle'"),
        ({"frames_per_shot": 0}, "frames_per_shot"),
        ({"sampling": "random"}, "sampling"),
        ({"reference_background": "green"}, "reference_background"),
        ({"num_workers": 0}, "num_workers"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate_stories(stories, **options)
    with pytest.raises(InputError, match="no story"):
        evaluate_stories([])
    with pytest.raises(InputError, match="given twice"):
        evaluate_stories([stories[0], stories[0]])


def test_records_that_do_not_fit_together_are_refused(stories: list[StoryPrediction]) -> None:
    for changes, message in (
        ({"shots": ()}, "no shots"),
        ({"shots": "shot.mp4"}, "must be a list"),
        ({"captions": ("one",)}, "captions"),
        ({"scene_ids": ("a", "b")}, "scene_ids"),
        ({"reference_characters": ("a", "b")}, "reference_characters"),
        ({"shots": (np.zeros((2, 4, 4, 3), np.float32),)}, "uint8"),
        ({"references": (np.zeros((4, 4), np.uint8),)}, "uint8"),
        ({"shots": (7,)}, "path, bytes or an array"),
        ({"ip_id": " "}, "ip_id"),
    ):
        plain = {"scene_ids": (), **changes}
        with pytest.raises(ValueError, match=message):
            replace(stories[0], **plain)
