"""References of a film: found with exact masks they are the truth; two names for one figure, rejects and failures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf import Character, Shot, Story
from animeshooter_hf.dataset_builder.annotate.annotator import AdmitRequest, AudioRequest, ScriptRequest, VerifyRequest
from animeshooter_hf.dataset_builder.annotate.question import Answer
from animeshooter_hf.dataset_builder.annotate.sidecar import check_script
from animeshooter_hf.dataset_builder.references.find import find_references
from animeshooter_hf.dataset_builder.references.pictures import (
    FilmPictures,
    cut_out,
    encode_jpeg,
    measure_picture,
    outline,
)
from animeshooter_hf.dataset_builder.references.rules import MaskRules
from animeshooter_hf.dataset_builder.references.segmenter import FrameContext, SegmentationError, SegmentedMask
from animeshooter_hf.dataset_builder.references.truth import TruthSegmenter
from animeshooter_hf.dataset_builder.references.verdicts import (
    References,
    ReferenceSettings,
    ReferenceVerdict,
    reapply_rules,
)
from animeshooter_hf.dataset_builder.references.verify import CRITERIA
from animeshooter_hf.dataset_builder.scan.film_scan import SampledFrame
from animeshooter_hf.dataset_builder.script.film_script import FilmScript
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.errors import InputError
from animeshooter_hf.toon import FilmSettings, ToonFilm, render_film
from animeshooter_hf.video import probe, read_frames


class Filmed:
    """A toon film on disk, with what its script knows."""

    def __init__(self, folder: Path) -> None:
        self.film = ToonFilm.from_seed(11, FilmSettings(width=192, height=108, seconds=12))
        path = render_film(self.film, folder / f"{self.film.film_id}.mp4")
        self.source = FilmSource(video_id=path.stem, path=path, info=probe(path))
        self.script: FilmScript = check_script(self.source)
        self.story = self.script.stories[0]

    def pictures(self, samples: Sequence[SampledFrame] = ()) -> FilmPictures:
        return FilmPictures(self.source.path, 192, 108, samples)

    def truth(self) -> TruthSegmenter:
        assert self.script.masks is not None
        return TruthSegmenter(self.script.masks)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    return Filmed(tmp_path_factory.mktemp("references"))


@pytest.fixture(scope="module")
def found(filmed: Filmed) -> References:
    with filmed.pictures() as pictures:
        return find_references(filmed.story, {}, filmed.truth(), pictures)


def overlap(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((mask & other).sum() / (mask | other).sum())


def test_every_reference_found_with_exact_masks_is_the_renderers_mask_of_that_character(
    filmed: Filmed, found: References
) -> None:
    assert len(found.kept) >= 5
    for one in found.kept:
        assert one.mask is not None
        true = filmed.film.masks(one.frame_index)
        assert overlap(one.mask.to_array(), true[one.character_id]) >= 0.99
        shot = next(shot for shot in filmed.story.shots if shot.start_frame <= one.frame_index < shot.end_frame)  # type: ignore[operator]
        assert one.character_id in shot.characters
    assert found.counts["kept"] == len(found.kept)


def test_verdicts_carry_the_numbers_and_survive_json(found: References) -> None:
    for one in found.verdicts:
        assert ReferenceVerdict.from_json(json.loads(json.dumps(one.to_json()))) == one
        assert (one.mask is None) == (one.reason == "not_seen")
        assert one.mask is None or (one.sharpness is not None and one.sharpness > 0)
    with pytest.raises(InputError, match="Unknown key"):
        ReferenceVerdict.from_json({"colour": 1})
    with pytest.raises(InputError, match="is damaged"):
        ReferenceVerdict.from_json({"story_id": "s"})


def test_candidates_come_from_the_sampled_frames_and_those_are_not_decoded_again(filmed: Filmed) -> None:
    frames = list(range(5, 288, 24))
    images = read_frames(filmed.source.path, frames)
    samples = [
        SampledFrame(frame=frame, jpeg=encode_jpeg(image), phash=0) for frame, image in zip(frames, images, strict=True)
    ]
    with filmed.pictures(samples) as pictures:
        found = find_references(filmed.story, {}, filmed.truth(), pictures, sampled=frames)
    middles = [(shot.start_frame + shot.end_frame) // 2 for shot in filmed.story.shots]  # type: ignore[operator]
    assert {one.frame_index for one in found.verdicts} <= {*frames, *middles}
    assert pictures.num_decoded == len({one.frame_index for one in found.verdicts} - set(frames))
    small = [replace(sample, jpeg=encode_jpeg(image[::2, ::2])) for sample, image in zip(samples, images, strict=True)]
    with filmed.pictures(small) as pictures:
        np.testing.assert_array_equal(pictures.picture(frames[3]), images[3])
        assert pictures.num_decoded == 1
        with pytest.raises(InputError, match="do not lie in"):
            pictures.picture(100_000)


class Drawn:
    """A segmenter that gives prepared figures: phrase -> (mask, score)."""

    name = "drawn"
    is_exact = False

    def __init__(self, figures: Mapping[str, list[tuple[NDArray[np.bool_], float]]]) -> None:
        self.figures = figures
        self.asked: list[tuple[list[str], list[str]]] = []

    def settings_key(self) -> Mapping[str, Any]:
        return {"name": self.name}

    def segment(
        self,
        image: NDArray[np.uint8],
        phrases: Sequence[str],
        *,
        all_phrases: Sequence[str],
        context: FrameContext | None = None,
    ) -> list[list[SegmentedMask]]:
        self.asked.append((list(phrases), list(all_phrases)))
        return [[SegmentedMask(mask=mask, score=score) for mask, score in self.figures[phrase]] for phrase in phrases]


class Plain:
    """Grey pictures with a little noise."""

    def picture(self, frame: int) -> NDArray[np.uint8]:
        noise = np.random.default_rng(frame).integers(-20, 20, (100, 200, 1))
        return np.clip(np.full((100, 200, 3), 128) + noise, 0, 255).astype(np.uint8)


def box(left: int, right: int, top: int = 10, bottom: int = 90) -> NDArray[np.bool_]:
    mask = np.zeros((100, 200), bool)
    mask[top:bottom, left:right] = True
    return mask


def told(num_seconds: int = 1) -> Story:
    end = 24 * num_seconds
    shot = Shot(shot_id="s", index=0, start_frame=0, end_frame=end, characters=("Mia", "Bo"))
    cast = (Character(id="Mia", appearance="A tall girl."), Character(id="Bo", appearance="An old man."))
    return Story(
        video_id="v", story_id="v_000", frame_rate=Fraction(24), start_frame=0, end_frame=end, characters=cast,
        shots=(shot,),
    )  # fmt: skip


def reasons(found: References) -> list[tuple[str, int, str | None]]:
    return [(one.character_id, one.instance, one.reason) for one in found.verdicts]


def test_the_segmenter_hears_of_all_characters_of_the_shot_and_of_given_phrases() -> None:
    segmenter = Drawn({"tall girl": [], "man in brown": []})
    found = find_references(told(), {"Bo": "man in brown"}, segmenter, Plain())
    assert segmenter.asked == [(["tall girl", "man in brown"], ["tall girl", "man in brown"])]
    assert reasons(found) == [("Mia", 0, "not_seen"), ("Bo", 0, "not_seen")]


def test_of_several_figures_the_best_one_is_taken_and_kept_in_its_cleaned_form() -> None:
    speckled = box(20, 60)
    speckled[2, 2] = True
    segmenter = Drawn({"tall girl": [(speckled, 0.9), (box(120, 160), 0.4)], "old man": []})
    found = find_references(told(), {}, segmenter, Plain())
    assert reasons(found) == [("Mia", 0, None), ("Mia", 1, "lower_score"), ("Bo", 0, "not_seen")]
    assert found.kept[0].mask is not None
    np.testing.assert_array_equal(found.kept[0].mask.to_array(), box(20, 60))
    np.testing.assert_array_equal(found.verdicts[0].mask.to_array(), speckled)  # type: ignore[union-attr]


def test_without_a_verifier_a_bad_best_figure_is_not_replaced_by_a_worse_one() -> None:
    segmenter = Drawn({"tall girl": [(box(20, 25), 0.9), (box(120, 160), 0.4)], "old man": []})
    assert reasons(find_references(told(), {}, segmenter, Plain()))[:2] == [
        ("Mia", 0, "too_small"),
        ("Mia", 1, "lower_score"),
    ]


def test_one_figure_with_two_names_goes_to_the_surer_one_and_of_equals_to_none() -> None:
    sure = Drawn({"tall girl": [(box(20, 60), 0.9)], "old man": [(box(25, 60), 0.6)]})
    found = find_references(told(), {}, sure, Plain())
    assert reasons(found) == [("Mia", 0, None), ("Bo", 0, "same_figure")]
    assert (found.verdicts[1].shared_with, found.verdicts[1].shared) == ("Mia", 1.0)
    equal = Drawn({"tall girl": [(box(20, 60), 0.9)], "old man": [(box(20, 60), 0.9)]})
    assert find_references(told(), {}, equal, Plain()).counts == {"same_figure": 2}
    apart = Drawn({"tall girl": [(box(20, 60), 0.9)], "old man": [(box(45, 120), 0.6)]})
    found = find_references(told(), {}, apart, Plain())
    assert found.counts == {"kept": 2}
    assert found.verdicts[1].shared == pytest.approx(15 / 40)


def test_enough_references_are_spread_evenly_and_the_others_are_surplus() -> None:
    segmenter = Drawn({"tall girl": [(box(20, 60), 0.9)], "old man": []})
    found = find_references(told(10), {}, segmenter, Plain(), settings=ReferenceSettings(max_per_character=5))
    assert [one.frame_index for one in found.kept] == [12, 60, 108, 156, 204]
    assert found.counts == {"kept": 5, "not_seen": 10, "surplus": 5}


def test_our_own_limits_are_only_written_down_until_they_are_asked_for() -> None:
    segmenter = Drawn({"tall girl": [(box(0, 60, 0, 100), 0.9)], "old man": [(box(100, 160), 0.5)]})
    found = find_references(told(), {}, segmenter, Plain())
    assert found.counts == {"kept": 2}
    whole, cut = found.verdicts[1], found.verdicts[0]
    assert (whole.border_share, cut.border_share) == (0.0, pytest.approx(218 / 316))
    cut_off = reapply_rules(found.verdicts, MaskRules(), ReferenceSettings(max_border_share=0.3))
    assert reasons(cut_off) == [("Mia", 0, "cut_off"), ("Bo", 0, None)]
    blurred = reapply_rules(found.verdicts, MaskRules(), ReferenceSettings(min_sharpness=1e9))
    assert blurred.counts == {"blurred": 2}


class Failing(Drawn):
    """A segmenter that fails some frames."""

    def __init__(self, failing: set[int]) -> None:
        super().__init__({"tall girl": [(box(20, 60), 0.9)], "old man": []})
        self.failing = failing

    def segment(self, *args: Any, **kwargs: Any) -> list[list[SegmentedMask]]:
        found = super().segment(*args, **kwargs)
        if len(self.asked) in self.failing:
            raise SegmentationError("the server is ill")
        return found


def test_a_frame_that_a_segmenter_fails_is_reported_and_a_segmenter_that_only_fails_is_given_up() -> None:
    found = find_references(told(4), {}, Failing({1, 2}), Plain())
    assert found.counts == {"kept": 2, "not_seen": 2, "segmenter_failed": 4}
    assert found.verdicts[0].detail == "the server is ill"
    with pytest.raises(SegmentationError, match="ill"):
        find_references(told(4), {}, Failing({2, 3, 4}), Plain())


class Verifier:
    """Says no to cut-outs of some widths."""

    def __init__(self, bad_widths: set[int], *, answer: Answer | None = None) -> None:
        self.bad_widths = bad_widths
        self.answer = answer
        self.requests: list[VerifyRequest] = []

    def settings_key(self) -> Mapping[str, Any]:
        return {}

    def verify_reference(self, request: VerifyRequest) -> Answer:
        self.requests.append(request)
        if self.answer is not None:
            return self.answer
        cut = cv2.imdecode(np.frombuffer(request.cutout_jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        width = int((cut < 235).mean(0).round().sum())
        good = min((abs(width - bad) for bad in self.bad_widths), default=99) > 3
        return Answer(outcome="ok", text=json.dumps({**dict.fromkeys(CRITERIA, True), "complete": good}))

    def admit(self, request: AdmitRequest) -> Answer:
        raise NotImplementedError

    def write_script(self, request: ScriptRequest) -> Answer:
        raise NotImplementedError

    def describe_audio(self, request: AudioRequest) -> Answer:
        raise NotImplementedError


def test_a_verifier_picks_among_figures_and_is_asked_only_about_those_that_pass_the_rules(filmed: Filmed) -> None:
    figures = [(box(20, 25), 0.9), (box(60, 90), 0.8), (box(120, 160), 0.7), (box(165, 199), 0.6)]
    verifier = Verifier({30})
    found = find_references(
        told(), {}, Drawn({"tall girl": figures, "old man": []}), Plain(), verifier, film=filmed.source
    )
    assert reasons(found)[:4] == [
        ("Mia", 0, "too_small"),
        ("Mia", 1, "refused"),
        ("Mia", 2, None),
        ("Mia", 3, "lower_score"),
    ]
    assert found.verdicts[1].failed_criteria == ("complete",)
    assert len(verifier.requests) == 2
    frame = cv2.imdecode(np.frombuffer(verifier.requests[0].frame_jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert frame.shape == (100, 200, 3)
    with pytest.raises(InputError, match="needs to know the film"):
        find_references(told(), {}, Drawn({}), Plain(), verifier)


class Wide(Drawn):
    """A segmenter whose figure of Mia is the wider the later it is asked, from 40 columns on."""

    def segment(self, *args: Any, **kwargs: Any) -> list[list[SegmentedMask]]:
        super().segment(*args, **kwargs)
        return [[SegmentedMask(mask=box(20, 56 + 4 * len(self.asked)), score=0.9)], []]


def test_a_verifier_is_asked_about_spread_frames_until_enough_have_passed(filmed: Filmed) -> None:
    settings, figures = ReferenceSettings(max_per_character=5), {"tall girl": [], "old man": []}
    alone = find_references(told(10), {}, Wide(figures), Plain(), None, settings)
    kind = Verifier(set())
    found = find_references(told(10), {}, Wide(figures), Plain(), kind, settings, film=filmed.source)
    assert found.kept == alone.kept
    assert [request.frame for request in kind.requests] == [12, 60, 108, 156, 204]
    assert found.counts == {"kept": 5, "not_seen": 10, "surplus": 5}
    strict = Verifier({40, 48, 56, 64})  # the figures of frames 12, 60, 108 and 156
    found = find_references(told(10), {}, Wide(figures), Plain(), strict, settings, film=filmed.source)
    assert [request.frame for request in strict.requests[:5]] == [12, 60, 108, 156, 204]
    assert [one.frame_index for one in found.kept] == [36, 84, 132, 180, 204]
    assert found.counts == {"kept": 5, "not_seen": 10, "refused": 4, "surplus": 1}
    assert reapply_rules(found.verdicts, MaskRules(), settings) == found


def test_a_verifier_that_cannot_be_reached_is_not_a_no(filmed: Filmed) -> None:
    segmenter = Drawn({"tall girl": [(box(20, 60), 0.9)], "old man": []})
    down = Verifier(set(), answer=Answer(outcome="error", detail="503"))
    found = find_references(told(), {}, segmenter, Plain(), down, film=filmed.source)
    assert (found.verdicts[0].reason, found.verdicts[0].detail) == ("verifier_failed", "error: 503")
    assert found.verdicts[0].verified is None
    again = reapply_rules(found.verdicts, MaskRules())
    assert again.verdicts == found.verdicts


RULES = [
    MaskRules(),
    MaskRules(min_area=0.2),
    MaskRules(min_area=0.01, max_area=0.3),
    MaskRules(max_contours=2, max_components=1),
    MaskRules(max_contours=99, max_components=99),
    MaskRules(kernel=9),
    MaskRules(kernel=1),
]


def blobs(seed: int) -> NDArray[np.bool_]:
    """A figure with a random number of holes, scraps and salt."""
    random = np.random.default_rng(seed)
    mask = box(20, 20 + int(random.integers(5, 170)), 10, 10 + int(random.integers(5, 88)))
    for _ in range(int(random.integers(0, 24))):
        x, y, size = (int(one) for one in random.integers((0, 0, 3), (190, 90, 9)))
        mask[y : y + size, x : x + size] ^= True
    return mask ^ (random.random(mask.shape) < 0.002)


@pytest.mark.parametrize("rules", RULES)
def test_rules_that_are_applied_again_give_what_finding_again_gives(rules: MaskRules) -> None:
    class Random(Drawn):
        def segment(self, image: NDArray[np.uint8], *args: Any, **kwargs: Any) -> list[list[SegmentedMask]]:
            seed = int(image.sum())
            masks = [[(blobs(seed + n), 0.9 - n / 10) for n in range(2)], [(blobs(seed + 9), 0.5)]]
            return [[SegmentedMask(mask=mask, score=score) for mask, score in row] for row in masks]

    settings = ReferenceSettings(max_per_character=3, max_shared=0.9)
    first = find_references(told(8), {}, Random({}), Plain(), settings=settings)
    again = find_references(told(8), {}, Random({}), Plain(), None, settings, rules)
    renewed = reapply_rules(first.verdicts, rules, settings)
    assert renewed.verdicts == again.verdicts
    assert renewed.kept == again.kept
    assert len(first.counts) > 2


def test_masks_that_a_verifier_never_saw_are_not_kept_when_rules_are_relaxed(filmed: Filmed) -> None:
    segmenter = Drawn({"tall girl": [(box(20, 28), 0.9)], "old man": [(box(60, 120), 0.8)]})
    found = find_references(told(), {}, segmenter, Plain(), Verifier(set()), film=filmed.source)
    assert reasons(found) == [("Mia", 0, "too_small"), ("Bo", 0, None)]
    relaxed = reapply_rules(found.verdicts, MaskRules(min_area=0.01))
    assert reasons(relaxed) == [("Mia", 0, "not_verified"), ("Bo", 0, None)]


def test_another_kernel_cannot_be_tried_where_masks_are_not_kept(found: References) -> None:
    bare = [replace(one, mask=None) for one in found.verdicts]
    assert len(reapply_rules(bare, MaskRules()).kept) == len(found.kept)
    with pytest.raises(InputError, match="its mask is not kept"):
        reapply_rules(bare, MaskRules(kernel=7))


def test_a_blurred_picture_is_less_sharp_and_outline_and_cut_out_show_the_figure() -> None:
    image, mask = Plain().picture(1), box(20, 60)
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), 2), np.uint8)
    assert measure_picture(blurred, mask).sharpness < 0.2 * measure_picture(image, mask).sharpness
    assert measure_picture(image, np.zeros_like(mask)).sharpness == 0
    assert (outline(image, mask)[10, 20:60] == (255, 0, 255)).all()
    np.testing.assert_array_equal(outline(image, mask)[50, 30:50], image[50, 30:50])
    cut = cut_out(image, mask)
    assert cut.shape == (80 + 2 * 6, 40 + 2 * 6, 3)
    np.testing.assert_array_equal(cut[6:-6, 6:-6], image[10:90, 20:60])
    assert (cut[:6] == 255).all()
    assert cut_out(image, np.zeros_like(mask)).shape == image.shape


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="max_shared"):
        ReferenceSettings(max_shared=2)
    with pytest.raises(ValueError, match="must be positive"):
        ReferenceSettings(max_failures_in_row=0)
