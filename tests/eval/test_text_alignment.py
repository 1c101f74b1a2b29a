"""Text alignment from files to numbers, with a backbone that truly knows colours, and with one that knows nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import Backbone, Kind, load_backbone
from animeshooter_hf.eval.backbones.neural import unit_rows
from animeshooter_hf.eval.encoding import EncodingSettings
from animeshooter_hf.eval.engine import encode_stories
from animeshooter_hf.eval.metrics import open_metrics
from animeshooter_hf.eval.metrics.text_alignment import TextAlignment
from animeshooter_hf.eval.story_metric import MetricScores
from animeshooter_hf.eval.story_prediction import StoryPrediction

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200), "yellow": (220, 200, 40)}


class ColourBackbone(Backbone):
    """Pictures are their mean colour, texts the mean of the colours they name: a small space that is right."""

    name = "colours"
    license = "none"
    has_text = True
    runs_in_workers = True

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> Self:
        """Return it; there is nothing to load."""
        return cls()

    @property
    def signature(self) -> str:
        """Its version."""
        return f"{self.name}@1"

    def embed_prepared(self, items: Sequence[Any], kind: Kind) -> NDArray[np.float32]:
        """Return the mean colour about grey, and a constant."""
        return unit_rows(np.array([[*(item.image.mean(axis=(0, 1)) - 110), 20.0] for item in items]))

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the mean of the colours that are named."""
        rows = []
        for text in texts:
            if not text.strip():
                raise InputError("An empty text reached the model.")
            named = [COLOURS[word] for word in text.lower().replace(".", " ").split() if word in COLOURS]
            rows.append([*(np.mean(named or [(110, 110, 110)], axis=0) - 110), 20.0])
        return unit_rows(np.array(rows))


class CountingBackbone(ColourBackbone):
    """The same, reading 12 tokens at most, and trained pair by pair."""

    name = "counting"
    max_tokens = 12
    pair_logit = (10.0, -5.0)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the letters and signs of each text."""
        return [len(text) for text in texts]


class RandomBackbone(ColourBackbone):
    """Knows nothing: rows come from the hash of what it is shown."""

    name = "random"

    def embed_prepared(self, items: Sequence[Any], kind: Kind) -> NDArray[np.float32]:
        """Return a random row per picture."""
        return unit_rows(np.stack([_random_row(item.image.tobytes()) for item in items]))

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a random row per text."""
        return unit_rows(np.stack([_random_row(text.encode()) for text in texts]))


def _random_row(content: bytes) -> NDArray[np.float64]:
    return np.random.default_rng(list(content[-64:])).normal(size=16)


def make_story(number: int, captions: Sequence[str], colours: Sequence[str] = tuple(COLOURS)) -> StoryPrediction:
    generator = np.random.default_rng(number)
    shots = [
        np.clip(np.array(COLOURS[colour]) + generator.integers(-30, 31, (6, 24, 32, 3)), 0, 255).astype(np.uint8)
        for colour in colours
    ]
    return StoryPrediction(
        story_id=f"story_{number}", ip_id=f"ip_{number}", shots=tuple(shots), captions=tuple(captions)
    )


TOLD = [f"The {colour} fox runs." for colour in COLOURS]


def score(stories: Sequence[StoryPrediction], backbone: Backbone | None = None) -> MetricScores:
    settings = EncodingSettings()
    (metric,) = open_metrics(["text_alignment"], settings, backbone=backbone or ColourBackbone())
    return metric.score(encode_stories(stories, [metric], settings))


def test_captions_that_are_true_stand_above_the_others() -> None:
    values = score([make_story(0, TOLD)]).stories["story_0"].values
    assert set(values) == set(TextAlignment.directions)
    assert values["caption_retrieval_at_1"] == 1.0
    assert values["caption_auc"] == 1.0
    assert values["caption_contrast"] > 0.8  # type: ignore[operator]
    assert values["caption_similarity"] > 0.9  # type: ignore[operator]
    assert values["caption_probability"] is None
    assert values["captions_truncated"] is None
    assert TextAlignment.headline in values


def test_captions_in_another_order_stand_below() -> None:
    wrong = score([make_story(0, [*TOLD[1:], TOLD[0]])]).stories["story_0"].values
    assert wrong["caption_retrieval_at_1"] == 0.0
    assert wrong["caption_contrast"] < 0  # type: ignore[operator]


def test_a_backbone_that_knows_nothing_has_no_contrast() -> None:
    stories = [make_story(number, [f"{text} {number}" for text in TOLD]) for number in range(40)]
    found = score(stories, RandomBackbone()).stories
    contrasts = [one.values["caption_contrast"] for one in found.values()]
    assert np.mean(contrasts) == pytest.approx(0.0, abs=0.06)  # type: ignore[arg-type]
    assert np.mean([one.values["caption_auc"] for one in found.values()]) == pytest.approx(0.5, abs=0.12)  # type: ignore[arg-type]


def test_one_shot_repeated_has_no_contrast() -> None:
    story = make_story(0, TOLD)
    repeated = score([replace(story, shots=story.shots[:1] * 4)]).stories["story_0"].values
    assert repeated["caption_contrast"] == pytest.approx(0.0, abs=1e-9)
    assert repeated["caption_retrieval_at_1"] == 0.25


def test_stories_and_shots_without_captions_are_skipped_and_counted() -> None:
    found = score([make_story(0, TOLD), make_story(1, ()), make_story(2, ["", TOLD[1], "  ", TOLD[3]])])
    none, some = found.stories["story_1"], found.stories["story_2"]
    assert (none.n_evaluated, none.n_failed, none.n_skipped) == (0, 0, 4)
    assert set(none.values.values()) == {None}
    assert (some.n_evaluated, some.n_failed, some.n_skipped) == (2, 0, 2)
    assert some.values["caption_retrieval_at_1"] == 1.0
    assert found.problems["story_2"] == ["The shot has no caption.", "", "The shot has no caption.", ""]


def test_only_empty_captions_are_no_captions() -> None:
    found = score([make_story(0, ["", " ", "", ""])])
    assert found.stories["story_0"].n_skipped == 4


def test_a_shot_that_cannot_be_read_has_failed() -> None:
    story = make_story(0, TOLD)
    found = score([replace(story, shots=(b"no film", *story.shots[1:]))])
    counts = found.stories["story_0"]
    assert (counts.n_evaluated, counts.n_failed, counts.n_skipped) == (3, 1, 0)
    assert found.problems["story_0"][0]
    assert found.shots["story_0"][0]["caption_similarity"] is None
    assert counts.values["caption_retrieval_at_1"] == 1.0


def test_captions_that_all_say_the_same_have_no_contrast_but_a_similarity() -> None:
    values = score([make_story(0, ["A red fox."] * 4)]).stories["story_0"].values
    assert values["caption_contrast"] is None
    assert values["caption_similarity"] is not None


def test_the_end_of_a_long_caption_counts() -> None:
    filler = "It walks on and on through the tall grass of the wide meadow. " * 4
    captions = [f"{filler}At last it is {colour}." for colour in COLOURS]
    values = score([make_story(0, captions)]).stories["story_0"].values
    assert values["caption_retrieval_at_1"] == 1.0


def test_what_a_backend_cannot_read_is_counted_and_pairs_get_a_probability() -> None:
    captions = ["red", "green", "blue", "a very yellow fox"]
    values = score([make_story(0, captions)], CountingBackbone()).stories["story_0"].values
    assert values["captions_truncated"] == 0.25
    assert 0.9 < values["caption_probability"] < 1.0  # type: ignore[operator]


def test_a_backend_without_text_is_refused_before_anything_is_decoded() -> None:
    with pytest.raises(InputError, match="reads text, and 'classical' reads none"):
        open_metrics(["text_alignment"], EncodingSettings())
    with pytest.raises(InputError, match="Use clip or siglip2"):
        TextAlignment(EncodingSettings(), load_backbone("classical"))


def test_frames_are_embedded_once_for_references_and_captions() -> None:
    settings = EncodingSettings()
    metrics = open_metrics(["reference_fidelity", "text_alignment"], settings, backbone=ColourBackbone())
    names = {feature.name for metric in metrics for feature in metric.shot_features}
    assert "caption_frames" not in names
    apart = open_metrics(
        ["reference_fidelity", "text_alignment"],
        replace(settings, fidelity_view="foreground"),
        backbone=ColourBackbone(),
    )
    assert "caption_frames" in {feature.name for metric in apart for feature in metric.shot_features}
    both = [metric.score(encode_stories([make_story(0, TOLD)], apart, metric.settings)) for metric in apart]
    assert both[1].stories["story_0"].values["caption_retrieval_at_1"] == 1.0


def test_the_order_of_stories_changes_no_number() -> None:
    stories = [make_story(number, TOLD) for number in range(3)]
    forwards, backwards = score(stories), score(stories[::-1])
    assert {name: dict(one.values) for name, one in forwards.stories.items()} == {
        name: dict(one.values) for name, one in backwards.stories.items()
    }
