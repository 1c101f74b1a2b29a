"""The judge's exam over a real connection: one that looks passes, one that says the same of everything fails."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.attacks import ATTACKS, shown_frames
from animeshooter_hf.eval.judge.backends import EndpointJudge, EndpointSettings
from animeshooter_hf.eval.judge.exam import ExamResult, hold_exam, num_exam_questions
from animeshooter_hf.eval.judge.grid import PictureSettings
from animeshooter_hf.eval.judge.judge_log import JudgeLog
from animeshooter_hf.eval.judge.judge_report import JudgeReport
from animeshooter_hf.eval.judge.merge import merge_into_results
from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.run import judge_stories
from animeshooter_hf.eval.judge.verdicts import JudgeRun
from animeshooter_hf.eval.leaderboard.read_results import read_results
from animeshooter_hf.eval.story_prediction import StoryPrediction

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import start_stub
from seeing_stub import constant, look

PLACES = ("field", "sea")


@pytest.fixture(scope="module")
def stories(request: pytest.FixtureRequest) -> list[StoryPrediction]:
    """Return four stories of two IPs, two clean shots each."""
    drawn: SimpleNamespace = request.getfixturevalue("drawn")
    return [
        StoryPrediction(
            story_id=f"{name}_{number}",
            ip_id=name,
            shots=tuple(drawn.shot(name, place, 3, start=66 + 3 * number, noise=0) for place in PLACES),
            references=(drawn.reference(name),),
            captions=tuple(f"It walks through the {place}." for place in PLACES),
        )
        for name in ("fox", "witch")
        for number in range(2)
    ]


def examine(
    answer: Callable[[dict[str, Any]], str], stories: list[StoryPrediction], protocol: str, log: JudgeLog | None = None
) -> tuple[ExamResult, int]:
    """Return the exam and how many requests it took."""
    with start_stub(answer) as stub:
        judge = EndpointJudge(EndpointSettings(model="seer", base_url=stub.url))
        exam = hold_exam(stories, judge, JudgeSettings(protocol=protocol, num_retries=0), log=log)
        return exam, len(stub.log)


EXPECTED = [
    ("wrong_character", "CRC"), ("shuffled", "MCC"), ("hue_shift", "MSC"), ("noise", "OQ"), ("identical", "all"),
]  # fmt: skip


def test_a_judge_that_looks_passes_every_check_and_is_not_paid_twice(
    stories: list[StoryPrediction], tmp_path: Path
) -> None:
    counts = []
    for _ in range(2):
        with JudgeLog(tmp_path / "judge.jsonl") as log:
            exam, num_sent = examine(look, stories, "pointwise", log)
        counts.append(num_sent)
        assert [(check.name, check.dimension) for check in exam.checks] == EXPECTED
        assert [(check.num_passed, check.num_tested, check.status) for check in exam.checks] == [(4, 4, "passed")] * 5
        assert exam.is_trusted is True
        assert exam.checks[0].low == pytest.approx(0.5101, abs=1e-4)
    # each story once as it is, once more with another seed, and four times worse
    assert counts == [4 * (2 + 4), 0]
    assert num_exam_questions(JudgeSettings(), 4) == counts[0]


def test_a_judge_that_looks_passes_when_it_compares(stories: list[StoryPrediction]) -> None:
    exam, num_sent = examine(look, stories, "pairwise")
    assert [check.status for check in exam.checks] == ["passed"] * 5
    assert num_sent == num_exam_questions(JudgeSettings(protocol="pairwise"), 4) == 4 * 2 * 5


def test_the_joint_protocol_is_examined_in_its_own_way(stories: list[StoryPrediction]) -> None:
    exam, num_sent = examine(look, stories[1:3], "paper")
    assert [check.num_passed for check in exam.checks] == [2] * 5
    assert num_sent == num_exam_questions(JudgeSettings(protocol="paper"), 2) == 2 * 2 * 5


@pytest.mark.parametrize(("protocol", "identical"), [("pointwise", "passed"), ("pairwise", "failed")])
def test_a_judge_that_does_not_look_is_not_trusted(
    stories: list[StoryPrediction], protocol: str, identical: str
) -> None:
    exam, _ = examine(constant, stories, protocol)
    assert exam.is_trusted is False
    assert [check.status for check in exam.checks] == ["failed"] * 4 + [identical]
    assert [check.pass_rate for check in exam.checks][:4] == [0.0] * 4


def test_a_judge_that_is_blind_to_one_thing_fails_that_check_only(stories: list[StoryPrediction]) -> None:
    def colour_blind(body: dict[str, Any]) -> str:
        answer = json.loads(look(body))
        answer["scores"]["MSC"] = 8
        return json.dumps(answer)

    exam, _ = examine(colour_blind, stories, "pointwise")
    assert exam.failed_checks() == ("hue_shift",)
    assert exam.is_trusted is False


def test_a_judge_whose_replies_are_no_use_is_not_tested(stories: list[StoryPrediction]) -> None:
    exam, _ = examine(lambda body: "I would rather not.", stories[:1], "pointwise")
    assert {check.status for check in exam.checks} == {"not tested"}
    assert exam.is_trusted is None
    assert [check.pass_rate for check in exam.checks] == [None] * 5


def test_too_few_stories_and_one_ip_are_no_exam(stories: list[StoryPrediction]) -> None:
    exam, _ = examine(look, stories[:2], "pointwise")
    assert exam.is_trusted is None
    assert exam.checks[0].stories == {"fox_0": None, "fox_1": None}
    assert exam.checks[1].num_passed == 2


def test_stories_that_cannot_be_used_are_named_and_none_is_refused(stories: list[StoryPrediction]) -> None:
    gone = replace(stories[2], shots=("gone.mp4",), captions=())
    bare = replace(stories[3], references=())
    exam, _ = examine(look, [*stories[:2], gone, bare], "pointwise")
    assert "gone.mp4" in exam.left_out["witch_0"]
    assert exam.left_out["witch_1"] == "It has no reference."
    with pytest.raises(InputError, match="No story can be used"):
        examine(look, [gone, bare], "pointwise")
    with pytest.raises(InputError, match="at least one"):
        hold_exam(stories, EndpointJudge(EndpointSettings(model="m", base_url="http://127.0.0.1:1")), JudgeSettings(),
                  num_stories=0)  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_changes_what_it_says_and_always_in_the_same_way(stories: list[StoryPrediction], name: str) -> None:
    shown = [shown_frames(story, PictureSettings()) for story in stories]
    first, second = (ATTACKS[name].attack(shown[0], shown) for _ in range(2))
    changed = [not np.array_equal(one, two) for one, two in zip(first.shots, shown[0].shots, strict=True)]
    assert sum(changed) == (1 if name == "hue_shift" else 2)
    assert all(np.array_equal(one, two) for one, two in zip(first.shots, second.shots, strict=True))
    assert (first.captions, first.references) == (shown[0].captions, shown[0].references)


def test_an_attack_that_cannot_hurt_is_refused(stories: list[StoryPrediction]) -> None:
    grey = np.full((3, 96, 160, 3), 90, np.uint8)
    dull = replace(stories[0], shots=(grey, grey), captions=())
    for name, story in (("hue_shift", dull), ("shuffled", dull), ("wrong_character", stories[0])):
        with pytest.raises(InputError):
            ATTACKS[name].attack(story, [stories[0], stories[1]])
    short = replace(stories[0], shots=(grey,), captions=("One.",))
    for name in ("shuffled", "hue_shift"):
        with pytest.raises(InputError, match="one shot"):
            ATTACKS[name].attack(short, stories)


# ----------------------------------------------------------------------------------------------------------- merging


def results_file(path: Path, story_ids: list[str], **changes: Any) -> Path:
    document = {
        "format": "animeshooter-scores", "version": 2,
        "system": {"name": "ours", "revision": "", "kind": "model", "url": "", "license": "", "sampled_by": "",
                   "evaluated_by": "", "date": "", "notes": ""},
        "benchmark": None, "signatures": {}, "note": "", "settings": {}, "coverage": {}, "corpus": {}, "gates": [],
        "stories": [{"story_id": one, "ip_id": one.split("_")[0], "track": "", "flags": [], "captions": []}
                    for one in story_ids],
        "shots": [], "manifest": {"library_versions": {}}, **changes,
    }  # fmt: skip
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def judged(stories: list[StoryPrediction]) -> JudgeRun:
    broken = replace(stories[1], shots=("gone.mp4",), captions=())
    with start_stub(look) as stub:
        judge = EndpointJudge(EndpointSettings(model="seer", base_url=stub.url))
        return judge_stories({"ours": [stories[0], broken, stories[2]]}, judge)


def test_marks_go_into_a_results_file_that_a_leaderboard_reads(
    judged: JudgeRun, stories: list[StoryPrediction], tmp_path: Path
) -> None:
    path = results_file(tmp_path / "results.json", [*(story.story_id for story in stories[:3]), "other_0"])
    exam, _ = examine(constant, stories, "pointwise")
    merge_into_results(tmp_path, judged, "ours", exam)
    merge_into_results(tmp_path, judged, "ours", exam)  # again changes nothing
    run = read_results(path)
    crc = run.corpus["judge_pointwise", "crc"]
    assert (crc.value, crc.n_evaluated, crc.n_failed, crc.n_skipped, crc.direction) == (10, 2, 1, 1, "higher")
    assert {name for _, name in run.corpus} == {"oq", "crc", "msc", "mcc"}
    assert run.signatures["judge_pointwise"] == judged.signature
    assert [story.values["judge_pointwise", "mcc"] for story in run.stories] == [10, None, 10, None]
    facts = run.manifest["judge"]
    assert facts["is_trusted"] is False
    assert facts["exam"].startswith("not trusted: wrong_character 0/4 failed")
    assert facts["answered_by"] == "seer-stub"


def test_a_judge_without_an_exam_is_said_to_be_unexamined(judged: JudgeRun, tmp_path: Path) -> None:
    document = merge_into_results(results_file(tmp_path / "scores.json", ["fox_0"]), judged, "ours")
    assert document["manifest"]["judge"]["exam"] == "not examined"
    assert document["manifest"]["judge"]["is_trusted"] is None
    assert "not examined" in JudgeReport(run=judged).table()


def test_what_must_not_be_merged_is_refused(judged: JudgeRun, tmp_path: Path) -> None:
    path = results_file(tmp_path / "results.json", ["fox_0"])
    with pytest.raises(InputError, match="depend on the other systems"):
        merge_into_results(path, replace(judged, settings=JudgeSettings(protocol="paper")), "ours")
    with pytest.raises(InputError, match="judged no system 'theirs'"):
        merge_into_results(path, judged, "theirs")
    with pytest.raises(InputError, match="No story of"):
        merge_into_results(results_file(tmp_path / "else.json", ["cat_0"]), judged, "ours")
    with pytest.raises(InputError, match="version 2"):
        merge_into_results(results_file(tmp_path / "old.json", ["fox_0"], version=1), judged, "ours")
    with pytest.raises(InputError, match="no corpus"):
        merge_into_results(results_file(tmp_path / "bad.json", ["fox_0"], corpus=[]), judged, "ours")
    with pytest.raises(InputError, match="lists no stories"):
        merge_into_results(results_file(tmp_path / "none.json", [], stories=3), judged, "ours")
    with pytest.raises(InputError, match="cannot be read"):
        merge_into_results(tmp_path / "missing.json", judged, "ours")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        merge_into_results(tmp_path / "text.json", judged, "ours")
