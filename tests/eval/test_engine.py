"""The engine: one decode pass, batches, workers that die, sound, regions, captions."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scoring_features import Brightness, Deadly, Loudest, ToyNetwork

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.encoding import EncodedStory, EncodingSettings
from animeshooter_hf.eval.engine import EngineOptions, StoryEncoder
from animeshooter_hf.eval.metrics.cross_shot_consistency import CrossShotConsistency
from animeshooter_hf.eval.metrics.reference_fidelity import ReferenceFidelity
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.regions import Region
from animeshooter_hf.eval.runner import run_evaluation
from animeshooter_hf.eval.shot_feature import PixelFeature, ShotFacts, ShotMedia
from animeshooter_hf.eval.story_metric import MetricScores, StoryMetric
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.masks import RleMask
from animeshooter_hf.video import read_frames, write_video

SETTINGS = EncodingSettings()


class ReadsCaptions(StoryMetric):
    """A metric that wants the captions' rows and nothing else."""

    name = "reads_captions"
    directions = {}  # noqa: RUF012 - of a test
    headline = ""
    signature = "captions"
    shot_features = ()
    encodes_captions = True

    def score(self, stories: object) -> MetricScores:
        """Return nothing."""
        return MetricScores(stories={}, shots={}, problems={})


def toy_metrics(network: ToyNetwork) -> list[StoryMetric]:
    return [ReferenceFidelity(SETTINGS, network), CrossShotConsistency(SETTINGS, network)]


def all_arrays(stories: list[EncodedStory]) -> dict[str, np.ndarray]:
    found = {}
    for story in stories:
        for kind in ("shots", "references"):
            for index, medium in enumerate(getattr(story, kind)):
                found |= {f"{story.story_id}/{kind}/{index}/{name}": rows for name, rows in medium.arrays.items()}
    return found


def assert_same(first: list[EncodedStory], second: list[EncodedStory], *, tolerance: float = 0.0) -> None:
    one, other = all_arrays(first), all_arrays(second)
    assert one.keys() == other.keys()
    assert one
    for name, rows in one.items():
        np.testing.assert_allclose(rows, other[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
def test_the_size_of_batches_changes_no_number(stories: list[StoryPrediction], batch_size: int) -> None:
    network, other = ToyNetwork(), ToyNetwork()
    usual = StoryEncoder(toy_metrics(network), SETTINGS).encode(stories[:3])
    some = StoryEncoder(toy_metrics(other), SETTINGS, options=EngineOptions(batch_size=batch_size)).encode(stories[:3])
    assert_same(usual, some, tolerance=1e-6)
    assert max(other.batches) <= batch_size
    assert network.batches.count(64) == sum(network.batches) // 64 - 1  # two groups: identity with references, look


def test_a_model_stays_in_the_main_process_and_gets_batches_across_stories(
    story_folder: Callable[..., Path],
) -> None:
    predictions = list(read_predictions(story_folder("fox", "frog", "witch")))
    network, alone = ToyNetwork(), ToyNetwork()
    options = EngineOptions(num_workers=2, batch_size=25)
    together = StoryEncoder(toy_metrics(network), SETTINGS, options=options).encode(predictions)
    assert_same(StoryEncoder(toy_metrics(alone), SETTINGS).encode(predictions), together, tolerance=1e-6)
    assert network.batches.count(25) >= 3  # a shot has 5 frames and 15 views


def test_views_that_give_nan_are_a_problem_of_their_features_and_of_nothing_else(drawn: SimpleNamespace) -> None:
    shots = (np.zeros((6, 32, 48, 3), np.uint8), drawn.shot("fox", "sea"))
    story = StoryPrediction(story_id="s", ip_id="fox", shots=shots, references=(drawn.reference("fox"),))
    (encoded,) = StoryEncoder(toy_metrics(ToyNetwork()), SETTINGS).encode([story])
    assert set(encoded.shots[0].problems) == {"identity", "look"}
    assert "not finite" in encoded.shots[0].problems["identity"]
    assert encoded.shots[1].problems == {}
    results, _ = run_evaluation([story], toy_metrics(ToyNetwork()), SETTINGS)
    assert results.stories["s"]["reference_fidelity"].n_failed == 1
    assert results.value("reference_fidelity", "mean") is not None


def test_every_feature_sees_the_frames_of_one_pass(drawn: SimpleNamespace, tmp_path: Path) -> None:
    path = write_video(tmp_path / "shot.mp4", drawn.shot("fox", "sea", 9), Fraction(12)) or tmp_path / "shot.mp4"
    story = StoryPrediction(story_id="s", ip_id="fox", shots=(tmp_path / "shot.mp4",))
    (encoded,) = StoryEncoder([], SETTINGS, extras=[Brightness()]).encode([story])
    expected = [frame.mean() for frame in read_frames(tmp_path / "shot.mp4", range(9))]
    np.testing.assert_array_equal(encoded.shots[0].arrays["brightness.mean"], expected)
    assert encoded.shots[0].facts is not None
    assert encoded.shots[0].facts.num_frames == 9
    assert encoded.shots[0].facts.frame_rate == pytest.approx(12)
    assert path


def test_a_worker_that_dies_once_is_replaced_and_one_that_dies_twice_fails_its_shot(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    shades = (100, 30, 230, 120)
    shots = tuple(np.full((2, 8, 8, 3), shade, np.uint8) for shade in shades)
    story = StoryPrediction(story_id="s", ip_id="ip", shots=shots)
    encoder = StoryEncoder([], SETTINGS, options=EngineOptions(num_workers=2), extras=[Deadly(marks)])
    (encoded,) = encoder.encode([story])
    assert [shot.problem != "" for shot in encoded.shots] == [False, False, True, False]
    assert "died twice" in encoded.shots[2].problem
    assert sorted(float(mark.name) for mark in marks.iterdir()) == [30, 230]


def test_sound_beside_a_shot_is_read_and_a_shot_without_any_says_so(drawn: SimpleNamespace, tmp_path: Path) -> None:
    silent, loud = tmp_path / "silent.mp4", tmp_path / "loud.mp4"
    frames = drawn.shot("fox", "sea", 12)
    tone = (0.5 * np.sin(np.arange(16_000) * 0.1)).astype(np.float32)[None]
    write_video(silent, frames, Fraction(12))
    write_video(loud, frames, Fraction(12), audio=tone, sample_rate=16_000)
    story = StoryPrediction(
        story_id="s", ip_id="ip", shots=(silent, loud, silent, frames), sound=(None, None, loud, loud)
    )
    (encoded,) = StoryEncoder([], SETTINGS, extras=[Loudest()]).encode([story])
    assert encoded.shots[0].problems == {"loudest": "The shot has no sound."}
    peaks = [float(shot.arrays["loudest.peak"]) for shot in encoded.shots[1:]]
    assert peaks[0] == pytest.approx(0.5, abs=0.1)
    assert peaks[1] == peaks[2] == peaks[0]


def test_captions_are_encoded_once_per_text() -> None:
    network = ToyNetwork()
    shots = (np.zeros((2, 8, 8, 3), np.uint8),) * 2
    stories = [
        StoryPrediction(story_id=name, ip_id="ip", shots=shots, captions=("It walks.", words))
        for name, words in (("a", "It runs."), ("b", "It walks."))
    ]
    encoder = StoryEncoder([ReadsCaptions(SETTINGS, network)], SETTINGS)
    first, second = encoder.encode(stories)
    assert sorted(network.texts) == ["It runs.", "It walks."]
    assert first.caption_rows is not None
    assert second.caption_rows is not None
    np.testing.assert_array_equal(second.caption_rows, first.caption_rows[[0, 0]])


def test_two_features_of_one_name_must_be_the_same() -> None:
    other = Brightness()
    other.signature = "brightness@2"  # type: ignore[misc]
    with pytest.raises(ValueError, match="Two features are called 'brightness'"):
        StoryEncoder([], SETTINGS, extras=[Brightness(), other])


def test_a_defect_in_a_feature_stops_the_run_and_is_not_counted_as_a_bad_file() -> None:
    class Broken(PixelFeature):
        name = "broken"
        signature = "broken@1"

        def frames_wanted(self, facts: ShotFacts) -> tuple[int, ...]:
            return (0,)

        def extract(self, media: ShotMedia) -> dict[str, np.ndarray]:
            raise KeyError("a defect of ours")

    story = StoryPrediction(story_id="s", ip_id="ip", shots=(np.zeros((2, 8, 8, 3), np.uint8),))
    with pytest.raises(KeyError, match="a defect of ours"):
        StoryEncoder([], SETTINGS, extras=[Broken()]).encode([story])


def test_the_frames_after_a_damaged_stretch_are_read_from_the_next_key_frame(
    drawn: SimpleNamespace, tmp_path: Path
) -> None:
    class At(PixelFeature):
        uses_regions = False
        signature = "at"

        def __init__(self, *ordinals: int) -> None:
            self.ordinals = ordinals
            self.name = f"at{ordinals}"

        def frames_wanted(self, facts: ShotFacts) -> tuple[int, ...]:
            return self.ordinals

        def extract(self, media: ShotMedia) -> dict[str, np.ndarray]:
            return {"mean": np.asarray([media.frames[ordinal].mean() for ordinal in self.ordinals])}

    path = tmp_path / "shot.mp4"
    write_video(path, drawn.shot("fox", "sea", 60, start=40), Fraction(12))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(bytes(data))
    story = StoryPrediction(story_id="s", ip_id="fox", shots=(path,))
    features = [At(0), At(30), At(0, 30), At(59)]
    (together,) = StoryEncoder([], SETTINGS, extras=features).encode([story])
    for feature in features:
        (alone,) = StoryEncoder([], SETTINGS, extras=[feature]).encode([story])
        assert (feature.name in alone.shots[0].problems) == (feature.name in together.shots[0].problems)


def box(frame: int = 0) -> Region:
    return Region(frame=frame, box=(0.2, 0.1, 0.7, 0.9))


def test_characters_are_taken_from_their_regions_and_those_not_found_have_no_row(
    stories: list[StoryPrediction],
) -> None:
    nothing = Region(frame=0, mask=RleMask.from_array(np.zeros((96, 160), bool)))
    regions = ({"fox": [box()]}, {"fox": []}, {"fox": [nothing]}, {})
    story = replace(stories[0], regions=regions)
    results, (encoded,) = run_evaluation([story], toy_metrics(ToyNetwork()), SETTINGS)
    rows = [shot.arrays.get("character.rows/fox") for shot in encoded.shots]
    assert [None if found is None else len(found) for found in rows] == [5, 0, 0, None]
    fidelity = results.stories[story.story_id]["reference_fidelity"]
    assert (fidelity.n_evaluated, fidelity.n_failed, fidelity.n_skipped) == (1, 2, 1)
    assert fidelity.values["found_rate"] == pytest.approx(1 / 3)
    assert fidelity.values["harmean_p"] is None
    problems = [shot.problems.get("reference_fidelity", "") for shot in results.shots]
    assert ["not found" in problem for problem in problems] == [False, True, True, False]
    assert "no region of fox" in problems[3]
    consistency = results.stories[story.story_id]["cross_shot_consistency"].values
    assert consistency["character_pairwise"] is None  # found once: no pair, and never 1
    assert consistency["pairwise"] is not None
    (gate,) = results.gates
    assert (gate.control, gate.num_flagged, gate.num_tested, gate.is_gated) == ("low_found_rate", 1, 1, True)
    assert results.flags == {story.story_id: ("low_found_rate",)}


def test_a_region_of_somebody_undeclared_is_refused_by_name(stories: list[StoryPrediction]) -> None:
    with pytest.raises(InputError, match="'dragon'"):
        replace(stories[0], regions=({"dragon": [box()]}, {}, {}, {}))


def test_workers_and_batches_must_be_whole_numbers_above_zero() -> None:
    for options in ({"num_workers": 0}, {"batch_size": 0}, {"num_workers": 1.5}, {"num_workers": 1000}):
        with pytest.raises(InputError, match=next(iter(options))):
            EngineOptions(**options)
