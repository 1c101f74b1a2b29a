"""An answer becomes a story with exact frames: snapped to cuts, tiled, mended with an issue, or refused."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf.dataset_builder.annotate.annotator import ScriptRequest
from animeshooter_hf.dataset_builder.annotate.question import Answer, Usage
from animeshooter_hf.dataset_builder.script.align import Aligned, AlignSettings, align_script, write_segment_script
from animeshooter_hf.dataset_builder.script.film_script import validate_story
from animeshooter_hf.dataset_builder.script.snap import snap_cost, snap_times
from animeshooter_hf.dataset_builder.script.timeline import SnapSettings

sys.path.insert(0, str(Path(__file__).parent))

import script_requests as requests

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "release-sample" / "LvJRvwIDh0E.json"
FRAMES = [(240, 310), (310, 400), (400, 431), (431, 610), (610, 720)]


def frames(aligned: Aligned) -> list[tuple[int | None, int | None]]:
    assert aligned.story is not None, aligned.reason
    return [(shot.start_frame, shot.end_frame) for shot in aligned.story.shots]


def codes(aligned: Aligned) -> set[str]:
    return {issue.code for issue in aligned.issues}


def align(answer: Any, request: ScriptRequest | None = None) -> Aligned:
    return align_script(request or requests.request(), requests.text(answer))


@pytest.mark.parametrize("answer", [requests.by_cuts(), requests.by_clock()])
def test_a_good_answer_gives_a_whole_story_without_an_issue(answer: dict[str, Any]) -> None:
    aligned = align(answer)
    assert frames(aligned) == FRAMES
    assert aligned.story is not None
    assert (aligned.issues, aligned.violated, aligned.reason) == ((), (), None)
    assert aligned.phrases == {"Mia": "red fox with scarf", "Old Tom": "grey cat"}
    assert aligned.story.story_id == "film_002"
    assert aligned.story.shots[3].shot_id == "film_002_03"
    assert aligned.story.shots[0].characters == ("Mia", "Old Tom")
    assert [shot.start_seconds for shot in aligned.story.shots] == [(start - 240) / 24 for start, _ in FRAMES]
    assert validate_story(aligned.story, 1000) == []


def test_on_a_variable_rate_times_are_those_of_the_index() -> None:
    steps = np.where(np.arange(1000) % 3 == 0, 400, 1300)
    pts = np.concatenate([[7000], 7000 + np.cumsum(steps)[:-1]]).astype(np.int64)
    request = requests.request(pts=pts)
    edges = [240, *requests.CUTS, 720]
    times = [request.index.seconds_between(240, frame) for frame in edges]
    rows = [
        requests.shot(n, **{"start time": f"00:{int(times[n]):02d}", "end time": f"00:{int(times[n + 1]):02d}"})
        for n in range(5)
    ]
    aligned = align(requests.script(rows), request)
    assert frames(aligned) == FRAMES
    assert aligned.story is not None
    for shot, first, last in zip(aligned.story.shots, times, times[1:], strict=False):
        assert (shot.start_seconds, shot.end_seconds) == (first, last)


def test_a_stated_time_without_a_cut_becomes_the_nearest_frame_and_an_unstated_cut_lies_inside_a_shot() -> None:
    aligned = align(requests.by_clock(), requests.request(cuts=(310, 400, 431, 500)))
    assert frames(aligned)[3] == (431, 612)  # 15 s after frame 240, and the half second that this clock cuts off
    assert {"time_unsnapped", "cut_inside_shot"} <= codes(aligned)


def edit_shot(number: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def edit(answer: dict[str, Any]) -> None:
        answer["shots"][number].update({key.replace("_time", " time"): value for key, value in changes.items()})

    return edit


REPAIRS: list[tuple[str, str, Callable[[dict[str, Any]], Any]]] = [
    ("clock", "shot_gap", edit_shot(0, end_time="00:01")),
    ("clock", "shot_overlap", edit_shot(0, end_time="00:05")),
    ("clock", "head_gap", edit_shot(0, start_time="00:01")),
    ("clock", "tail_gap", edit_shot(4, end_time="00:19")),
    ("clock", "time_past_end", edit_shot(4, end_time="00:33")),
    ("clock", "shot_reversed", edit_shot(3, start_time="00:15", end_time="00:07")),
    ("clock", "time_missing", edit_shot(2, start_time="")),
    ("clock", "time_missing", edit_shot(4, end_time=None)),
    ("clock", "time_unreadable", edit_shot(1, end_time="later")),
    ("clock", "shots_merged_times", edit_shot(1, start_time="00:02-00:06", end_time=None)),
    ("clock", "shots_unordered", lambda answer: answer["shots"].reverse()),
    ("clock", "duplicate_shot", lambda answer: answer["shots"].append(dict(answer["shots"][2]))),
    ("clock", "shot_unreadable", lambda answer: answer["shots"].append("...")),
    ("cuts", "shot_overlap", edit_shot(1, last_cut=3)),
    ("cuts", "shot_reversed", edit_shot(1, first_cut=2, last_cut=1)),
    ("cuts", "cut_out_of_range", edit_shot(4, last_cut=9)),
    ("cuts", "time_missing", edit_shot(2, first_cut=None)),
    ("cuts", "type_coerced", edit_shot(2, first_cut="cut 2", last_cut=3.0)),
    ("cuts", "shots_unordered", lambda answer: answer["shots"].reverse()),
    ("cuts", "duplicate_shot", lambda answer: answer["shots"].insert(0, dict(answer["shots"][2]))),
]


@pytest.mark.parametrize(("mode", "code", "edit"), REPAIRS)
def test_what_can_be_mended_is_mended_and_named(mode: str, code: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    answer = requests.by_clock() if mode == "clock" else requests.by_cuts()
    clean = align(answer).story
    edit(answer)
    aligned = align(answer)
    assert code in codes(aligned)
    assert aligned.story == clean


def test_intervals_in_place_of_cuts_are_understood() -> None:
    answer = requests.by_cuts()
    for row in answer["shots"]:
        row["last_cut"] -= 1
    aligned = align(answer)
    assert frames(aligned) == FRAMES
    assert codes(aligned) == {"cuts_as_intervals"}


def test_times_that_count_from_the_films_start_are_moved() -> None:
    answer = requests.by_clock()
    for row in answer["shots"]:
        for key in ("start time", "end time"):
            row[key] = f"00:{int(row[key][3:]) + 10:02d}"
    aligned = align(answer)
    assert frames(aligned) == FRAMES
    assert codes(aligned) == {"times_absolute"}


def test_frames_of_an_annotator_that_knows_them_are_taken_whatever_was_detected() -> None:
    rows = [requests.shot(n, **{"start frame": 240 + 160 * n, "end frame": 400 + 160 * n}) for n in range(3)]
    aligned = align(requests.script(rows))
    assert frames(aligned) == [(240, 400), (400, 560), (560, 720)]


@pytest.mark.parametrize(
    ("edit", "reason", "rule"),
    [
        (lambda answer: answer["shots"].pop(3), "hole", "V2"),
        (lambda answer: answer["shots"].pop(), "hole", "V2"),
        (lambda answer: answer["shots"].clear(), "no_shots", "V0"),
        (lambda answer: answer.pop("shots"), "no_shots", "V0"),
        (edit_shot(1, **{"narrative caption": "...", "descriptive caption": None}), "no_caption", "V7"),
    ],
)
def test_what_cannot_be_mended_is_no_story_with_a_reason_and_a_rule(
    edit: Callable[[dict[str, Any]], Any], reason: str, rule: str
) -> None:
    answer = requests.by_clock()
    edit(answer)
    aligned = align(answer)
    assert aligned.story is None
    assert aligned.reason is not None
    assert aligned.reason.startswith(reason)
    assert any(line.startswith(rule) for line in aligned.violated)
    assert aligned.raw_text == requests.text(answer)


def test_an_answer_cut_off_in_a_shot_tells_nothing_of_that_shot() -> None:
    text = requests.text(requests.by_cuts())
    aligned = align_script(requests.request(), text[: text.rindex("Thing 4") + 3])
    assert (aligned.story, {"answer_cut_off", "hole"} <= codes(aligned)) == (None, True)
    whole = align_script(requests.request(), text.rstrip("} ]\n") + "}")
    assert frames(whole) == FRAMES
    assert codes(whole) == {"json_unclosed"}


def test_undeclared_names_are_left_out_and_spellings_are_mended() -> None:
    answer = requests.by_cuts()
    answer["shots"][0].update({"main characters": ["mia", "OLD TOM", "Zed"], "scene": "park"})
    answer["shots"][1].update({"scene": "N/A"})
    answer["shots"][2].update({"scene": "Cellar"})
    aligned = align(answer)
    assert aligned.story is not None
    assert aligned.story.shots[0].characters == ("Mia", "Old Tom")
    assert [shot.scene for shot in aligned.story.shots[:3]] == ["Park", None, None]
    assert {"character_spelling", "scene_spelling", "undeclared_character"} <= codes(aligned)
    assert {"scene_not_available", "undeclared_scene", "scene_missing"} <= codes(aligned)


def test_of_too_many_characters_those_with_the_most_shots_stay() -> None:
    answer = requests.by_cuts()
    answer["main characters"] += [{"ID": name, "appearance": name, "phrase": name} for name in ("Ann", "Bea")]
    answer["shots"][1]["main characters"].append("Bea")
    aligned = align(answer)
    assert aligned.story is not None
    assert [character.id for character in aligned.story.characters] == ["Mia", "Old Tom", "Bea"]
    assert "too_many_characters" in codes(aligned)
    assert any(line.startswith("V5") for line in aligned.violated)


@pytest.mark.parametrize(
    ("span", "code", "fitted"),
    [
        ("00:08-00:12", None, (8, 12)),
        ([8.5, 12.5], None, (8.5, 12.5)),
        ("00:07-00:11", "clip_span_shifted", (191 / 24, 191 / 24 + 4)),
        ("00:08-00:14", "clip_span_length", (9, 13)),
        ("01:00-01:04", "clip_span_outside_shot", (370 / 24 - 4, 370 / 24)),
        ("the jump", "clip_span_unreadable", None),
        (None, None, None),
    ],
)
def test_a_four_second_span_lies_inside_its_shot(
    span: Any, code: str | None, fitted: tuple[float, float] | None
) -> None:
    answer = requests.by_clock()
    answer["shots"][3]["extra 4-second timestamp"] = span
    aligned = align(answer)
    assert aligned.story is not None
    shot = aligned.story.shots[3]
    found = (shot.clip_start_seconds, shot.clip_end_seconds)
    assert found == pytest.approx(fitted) if fitted else found == (None, None)
    assert codes(aligned) == ({code} if code else set())


def test_a_span_of_a_shot_that_is_not_longer_than_four_seconds_is_left_out() -> None:
    answer = requests.by_clock()
    answer["shots"][0]["extra 4-second timestamp"] = "00:00-00:04"
    assert codes(align(answer)) == {"clip_span_dropped"}


def test_phrases_are_short_and_there_is_one_for_each_character() -> None:
    answer = requests.by_cuts()
    answer["main characters"][0]["phrase"] = "very " * 30 + "small fox"
    answer["main characters"][1]["phrase"] = None
    aligned = align(answer)
    assert aligned.phrases == {"Mia": " ".join(["very"] * 12), "Old Tom": "A grey cat"}
    assert {"phrase_long", "phrase_missing"} <= codes(aligned)


class Scripted:
    """An annotator that gives prepared answers and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[ScriptRequest] = []

    def settings_key(self) -> dict[str, Any]:
        return {}

    def write_script(self, request: ScriptRequest) -> Answer:
        self.asked.append(request)
        return self.answers[len(self.asked) - 1]

    def admit(self, request: Any) -> Answer:
        raise NotImplementedError

    verify_reference = describe_audio = admit


def ok(answer: Any, tokens: int = 5) -> Answer:
    return Answer(outcome="ok", text=requests.text(answer), usage=Usage(output_tokens=tokens))


def test_a_broken_rule_is_asked_about_once_and_both_answers_are_kept() -> None:
    bad = requests.by_cuts()
    del bad["shots"][2]
    annotator = Scripted(ok(bad, 7), ok(requests.by_cuts(), 11))
    aligned = write_segment_script(annotator, requests.request())
    assert frames(aligned) == FRAMES
    assert [attempt.answer.usage.output_tokens for attempt in aligned.attempts] == [7, 11]
    assert annotator.asked[1].last_answer == requests.text(bad)
    assert any("shot starts exactly where" in complaint for complaint in annotator.asked[1].complaints)
    assert aligned.attempts[0].violated == annotator.asked[1].complaints


def test_a_good_answer_is_not_asked_about_again() -> None:
    aligned = write_segment_script(Scripted(ok(requests.by_cuts())), requests.request())
    assert len(aligned.attempts) == 1


def test_after_a_worse_second_answer_the_first_one_counts() -> None:
    first = requests.by_cuts()
    first["shots"][1]["main characters"] = ["Zed"]
    aligned = write_segment_script(Scripted(ok(first), Answer(outcome="ok", text="no")), requests.request())
    assert frames(aligned) == FRAMES
    assert len(aligned.attempts) == 2
    assert aligned.raw_text == requests.text(first)


def test_two_bad_answers_are_a_reason_and_a_failed_call_is_not_repeated() -> None:
    bad = Answer(outcome="ok", text="I cannot.")
    aligned = write_segment_script(Scripted(bad, bad), requests.request())
    assert (aligned.story, len(aligned.attempts)) == (None, 2)
    assert aligned.reason is not None
    assert aligned.reason.startswith("answer_not_json")
    blocked = write_segment_script(Scripted(Answer(outcome="blocked", detail="filter")), requests.request())
    assert blocked.reason == "answer_empty: blocked: filter"
    assert len(blocked.attempts) == 1


def test_the_scripts_of_the_real_release_align_and_what_is_odd_in_them_is_named() -> None:
    if not SAMPLE.is_file():
        pytest.skip("the release sample is not there")
    video = json.loads(SAMPLE.read_text(encoding="utf-8"))
    pts = np.arange(video["segments"][-1]["end frame index"], dtype=np.int64) * 800
    seen: set[str] = set()
    for segment in video["segments"]:
        request = requests.request(start=segment["start frame index"], end=segment["end frame index"], cuts=(), pts=pts)
        aligned = align_script(request, json.dumps(segment))
        assert aligned.story is not None, aligned.reason
        assert len(aligned.story.shots) == len(segment["story script"]["shots"])
        seen |= codes(aligned)
    assert {"json_wrapped", "scene_not_available", "clip_span_length", "tail_gap", "scenes_many"} <= seen


def test_times_are_matched_in_order_and_each_cut_once() -> None:
    assert snap_times([3, 3], [3.2, 3.6], 1, 2).tolist() == [0, 1]
    assert snap_times([3, 4, 9], [3.9, 9.1], 1.5, 2).tolist() == [-1, 0, 1]
    assert snap_times([3], [9], 2, 3).tolist() == [-1]
    assert snap_times([], [1, 2], 1, 1).tolist() == []
    assert snap_times([1, 2], [], 1, 1).tolist() == [-1, -1]
    assert snap_cost([1, 2], [], 1, 0.5) == 1.0


@pytest.mark.parametrize(
    ("times", "cuts", "limits"),
    [([2, 1], [1], (1, 1)), ([1], [2, 1], (1, 1)), ([float("nan")], [1], (1, 1)), ([1], [1], (-1, 1))],
)
def test_times_and_cuts_that_do_not_ascend_and_negative_limits_are_refused(
    times: list[float], cuts: list[float], limits: tuple[float, float]
) -> None:
    with pytest.raises(ValueError, match=r"ascending|negative"):
        snap_times(times, cuts, *limits)
    with pytest.raises(ValueError, match="must not be negative"):
        SnapSettings(tolerance_seconds=-1)


def cheapest(times: list[float], cuts: list[float], tolerance: float, skip: float, cut_skip: float) -> float:
    """Return the least cost by trying everything."""
    if not times or not cuts:
        return skip * len(times) + cut_skip * len(cuts)
    best = min(
        skip + cheapest(times[1:], cuts, tolerance, skip, cut_skip),
        cut_skip + cheapest(times, cuts[1:], tolerance, skip, cut_skip),
    )
    distance = abs(times[0] - cuts[0])
    if distance <= tolerance:
        best = min(best, distance + cheapest(times[1:], cuts[1:], tolerance, skip, cut_skip))
    return best


@given(
    times=st.lists(st.integers(0, 8), max_size=5).map(sorted),
    cuts=st.lists(st.integers(0, 32), max_size=5, unique=True).map(lambda cuts: [cut / 4 for cut in sorted(cuts)]),
    skip=st.sampled_from([0.5, 1.0, 2.5]),
    cut_skip=st.sampled_from([0.0, 0.25, 1.0]),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_match_costs_the_least_possible(
    times: list[float], cuts: list[float], skip: float, cut_skip: float
) -> None:
    snapped = snap_times(times, cuts, 2.0, skip, cut_skip).tolist()
    taken = [number for number in snapped if number >= 0]
    assert taken == sorted(set(taken))
    cost = skip * snapped.count(-1) + cut_skip * (len(cuts) - len(taken))
    cost += sum(abs(time - cuts[number]) for time, number in zip(times, snapped, strict=True) if number >= 0)
    assert cost == pytest.approx(cheapest(times, cuts, 2.0, skip, cut_skip))
    assert cost == pytest.approx(snap_cost(times, cuts, 2.0, skip, cut_skip))


def test_matching_is_quick_for_a_long_film() -> None:
    cuts = np.sort(np.random.default_rng(0).uniform(0, 1200, 2000))
    assert (snap_times(np.floor(cuts[::4]), cuts, 1.6, 2.5) >= 0).all()


def test_limits_are_settings() -> None:
    answer = requests.by_clock()
    del answer["shots"][2]  # a second and a bit
    strict = AlignSettings(snap=SnapSettings(max_gap_seconds=0.5))
    assert align_script(requests.request(), requests.text(answer)).story is not None
    assert align_script(requests.request(), requests.text(answer), settings=strict).story is None
    long = replace(AlignSettings(), max_caption_words=2)
    assert "caption_long" in codes(align_script(requests.request(), requests.text(requests.by_cuts()), settings=long))
