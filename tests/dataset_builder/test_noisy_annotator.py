"""The truth answers every request as a perfect model would; no noise put into its answers is taken in silence."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf.dataset_builder.annotate.annotator import AdmitRequest, AudioRequest, ScriptRequest
from animeshooter_hf.dataset_builder.annotate.noise_kinds import NOISE
from animeshooter_hf.dataset_builder.annotate.noisy import NoisyAnnotator, request_fingerprint
from animeshooter_hf.dataset_builder.annotate.question import Answer
from animeshooter_hf.dataset_builder.annotate.sidecar import SidecarMasks, script_path
from animeshooter_hf.dataset_builder.annotate.truth import TruthAnnotator, script_segments, truth_sidecar
from animeshooter_hf.dataset_builder.audio.describe import parse_audio
from animeshooter_hf.dataset_builder.references.verify import make_request, parse_verdict
from animeshooter_hf.dataset_builder.script.align import Aligned, align_script, write_segment_script
from animeshooter_hf.dataset_builder.script.issues import SCRIPT_ISSUES
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.dataset_builder.sources.folder import FilmSource, find_films
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story
from animeshooter_hf.toon import FilmSettings, ToonFilm, render_film
from animeshooter_hf.video import index_frames, read_frames

SEED = 21
SETTINGS = FilmSettings(width=96, height=54, seconds=32, mean_shot_seconds=3.5)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> FilmSource:
    path = tmp_path_factory.mktemp("films") / f"toon-{SEED:04d}.mp4"
    render_film(ToonFilm.from_seed(SEED, SETTINGS), path)
    return find_films([path])[0][0]


@pytest.fixture(scope="module")
def truth(film: FilmSource) -> dict:
    return json.loads(script_path(film.path).read_text())


def make_script_request(film: FilmSource, truth: dict, segment: Segment, number: int) -> ScriptRequest:
    cuts = [row["frame"] for row in truth["boundaries"]]
    inside = tuple(cut for cut in cuts if segment.start_frame < cut < segment.end_frame)
    return ScriptRequest(
        film=film, segment_index=number, segment=segment, cuts=inside, samples=(), index=index_frames(film.path)
    )


@pytest.fixture(scope="module")
def requests(film: FilmSource, truth: dict) -> list[ScriptRequest]:
    """Two segments: the film's own story, and one that begins inside the film."""
    own = script_segments(film)
    cuts = [row["frame"] for row in truth["boundaries"]]
    later = Segment(cuts[len(cuts) // 2], truth["num_frames"])
    return [make_script_request(film, truth, segment, number) for number, segment in enumerate([*own, later])]


def true_stories(truth: dict) -> list[Story]:
    stories = [Story.from_json(row) for row in truth["stories"]]
    return [story.with_shots([replace(shot, audio=None) for shot in story.shots]) for story in stories]


@pytest.mark.parametrize("mode", ["cuts", "frames"])
def test_the_perfect_answer_about_a_films_own_segment_gives_the_true_story(
    mode: str, requests: list[ScriptRequest], truth: dict
) -> None:
    for request, story in zip(requests, true_stories(truth), strict=False):
        aligned = write_segment_script(TruthAnnotator(mode), request)
        assert aligned.story == story
        assert [issue for issue in aligned.issues if issue.severity != "info"] == []
        assert all(0 < len(phrase.split()) <= 12 for phrase in aligned.phrases.values())
        assert set(aligned.phrases) == {character.id for character in story.characters}


def test_a_sidecar_is_right_whatever_was_detected(requests: list[ScriptRequest], truth: dict) -> None:
    (story, *_) = true_stories(truth)
    blind = replace(requests[0], cuts=())
    assert align_script(blind, truth_sidecar(blind).text).story == story


def test_by_the_clock_only_the_four_second_spans_lose_precision(requests: list[ScriptRequest], truth: dict) -> None:
    (story, *_) = true_stories(truth)
    aligned = write_segment_script(TruthAnnotator("clock"), requests[0])
    assert aligned.story is not None
    bare = [replace(shot, clip_start_seconds=None, clip_end_seconds=None) for shot in aligned.story.shots]
    assert bare == [replace(shot, clip_start_seconds=None, clip_end_seconds=None) for shot in story.shots]


def test_with_cuts_missing_and_segments_of_their_own_the_answer_still_tiles_the_segment(
    film: FilmSource, truth: dict
) -> None:
    segment = Segment(50, truth["num_frames"] - 40)
    request = make_script_request(film, truth, segment, 0)
    for mode in ("cuts", "clock", "frames"):
        for cuts in (request.cuts, request.cuts[::2], ()):
            aligned = align_script(
                replace(request, cuts=cuts), TruthAnnotator(mode).write_script(replace(request, cuts=cuts)).text
            )
            assert aligned.story is not None, aligned.reason
            assert (aligned.story.start_frame, aligned.story.end_frame) == (50, truth["num_frames"] - 40)
            most = len(cuts) + 1 if mode == "cuts" else len(request.cuts) + 1
            if mode == "clock" and not cuts:  # two cuts in one second cannot be told apart
                assert most - 2 <= len(aligned.story.shots) <= most
            else:
                assert len(aligned.story.shots) == most


def test_a_film_without_a_script_is_refused(film: FilmSource, requests: list[ScriptRequest], tmp_path: Path) -> None:
    lonely = replace(film, path=tmp_path / "lonely.mp4")
    with pytest.raises(InputError, match="no script"):
        TruthAnnotator().write_script(replace(requests[0], film=lonely))
    with pytest.raises(ValueError, match="mode must be"):
        TruthAnnotator("minutes")


def test_the_truth_admits_toon_films(film: FilmSource) -> None:
    answer = TruthAnnotator().admit(AdmitRequest(film=film, samples=(), index=index_frames(film.path)))
    assert answer.outcome == "ok"
    told = json.loads(answer.text or "")
    assert (told["is_animation"], told["has_burnt_in_subtitles"]) == (True, False)


def test_the_truth_calls_a_reference_good_if_its_mask_is_true(film: FilmSource, truth: dict) -> None:
    masks, (story, *_) = SidecarMasks(truth["masks"]), true_stories(truth)
    verdicts: list[tuple[bool, bool]] = []
    for shot in story.shots:
        frame = (shot.start_frame or 0) + 12
        for character in story.characters:
            mask = masks.mask_at(character.id, frame)
            if character.id not in shot.characters or mask is None or mask.area < 300:
                continue
            image, true_mask = read_frames(film.path, [frame])[0], mask.to_array()
            pair = []
            for candidate in (true_mask, np.roll(true_mask, 30, axis=1)):
                request = make_request(film, story, character, frame, image, candidate)
                pair.append(parse_verdict(TruthAnnotator().verify_reference(request).text or "").passed)
            verdicts.append((pair[0], pair[1]))
            break
    assert len(verdicts) > 3
    assert all(verdict == (True, False) for verdict in verdicts)


def test_the_truth_hears_the_annotated_sound_of_a_shot(film: FilmSource, truth: dict) -> None:
    story = Story.from_json(truth["stories"][0])
    heard = []
    for shot in story.shots:
        request = AudioRequest(film=film, story=story, shot=shot, samples=(), wav=b"")
        answer = parse_audio(TruthAnnotator().describe_audio(request).text)
        assert answer.missing == ()
        heard.append(answer.kind == "effect" and answer.annotation() == shot.audio)
    assert any(heard)


def outcome(clean: Aligned, noisy: Aligned, kind: str) -> str:
    """Return "repaired", "reported" or "silent"."""
    before = {issue.code: issue.count for issue in clean.issues}
    new = {issue.code for issue in noisy.issues if issue.count > before.get(issue.code, 0)}
    if noisy.story == clean.story:
        return "repaired"
    return "reported" if NOISE[kind].codes & new else "silent"


@pytest.mark.parametrize("mode", ["cuts", "clock"])
def test_every_kind_of_noise_is_repaired_or_reported(mode: str, requests: list[ScriptRequest]) -> None:
    truth = TruthAnnotator(mode)
    clean = [align_script(request, truth.write_script(request).text) for request in requests]
    silent: list[str] = []
    seen: set[str] = set()
    for kind in NOISE:
        for seed in range(1000, 1002):
            noisy = NoisyAnnotator(truth, 1.0, seed, [kind])
            for request, good in zip(requests, clean, strict=True):
                result = align_script(request, noisy.write_script(request).text)
                if noisy.injected_for(request):
                    seen.add(kind)
                    silent += [f"{kind} {seed}"] if outcome(good, result, kind) == "silent" else []
    assert silent == []
    only = {"cuts": {"intervals", "cut_too_high", "cuts_as_text"}}
    only["clock"] = {"inclusive_ends", "other_clock", "end_as_word", "range_as_start", "absolute_times", "past_end"}
    only["clock"] |= {"span_of_short_shot"}
    assert set(NOISE) - seen == only["clock" if mode == "cuts" else "cuts"]


def test_noise_that_changes_nothing_needs_no_issue_and_all_other_noise_has_a_known_one() -> None:
    assert all(kind.codes <= set(SCRIPT_ISSUES) for kind in NOISE.values())
    harmless = {"other_keys", "other_clock", "end_as_word", "byte_order_mark"}
    assert {kind.name for kind in NOISE.values() if not kind.codes} == harmless


def test_with_many_kinds_at_once_asking_again_saves_what_it_can_and_nothing_is_silent(
    requests: list[ScriptRequest],
) -> None:
    truth = TruthAnnotator("clock")
    clean = [write_segment_script(truth, request) for request in requests]
    num_stories = 0
    for seed in range(2000, 2012):
        noisy = NoisyAnnotator(truth, 0.04, seed)
        for request, good in zip(requests, clean, strict=True):
            aligned = write_segment_script(noisy, request)
            num_stories += aligned.story is not None
            if aligned.story != good.story:
                assert any(issue.severity != "info" for issue in aligned.issues) or aligned.issues != good.issues
            assert len(aligned.attempts) <= 2
    assert num_stories > 10


def test_noise_depends_on_what_is_asked_and_never_on_the_order(requests: list[ScriptRequest]) -> None:
    one, other = (NoisyAnnotator(TruthAnnotator(), 0.1, 5) for _ in range(2))
    texts = [one.write_script(request).text for request in requests]
    assert [other.write_script(request).text for request in reversed(requests)] == texts[::-1]
    assert one.injected == other.injected
    assert set(one.injected) == {request_fingerprint(request) for request in requests}
    again = replace(requests[0], complaints=("V1",), last_answer="{}")
    assert request_fingerprint(again) != request_fingerprint(requests[0])
    assert NoisyAnnotator(TruthAnnotator(), 0.0, 5).write_script(requests[0]) == Answer(
        outcome="ok", text=json.dumps(json.loads(TruthAnnotator().write_script(requests[0]).text or "")), model="truth"
    )


def test_other_answers_get_only_broken_text(film: FilmSource) -> None:
    noisy = NoisyAnnotator(TruthAnnotator(), 1.0, 3, ["fenced", "scene_not_available"])
    request = AdmitRequest(film=film, samples=(), index=index_frames(film.path))
    answer = noisy.admit(request)
    assert noisy.injected_for(request) == ("fenced",)
    assert "```" in (answer.text or "")


def test_unknown_noise_and_a_rate_that_is_no_chance_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown kind of noise 'mumble'"):
        NoisyAnnotator(TruthAnnotator(), 0.5, 1, ["mumble"])
    with pytest.raises(ValueError, match="rate must lie"):
        NoisyAnnotator(TruthAnnotator(), 1.5, 1)
