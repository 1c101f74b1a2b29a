"""A run over a real HTTP connection: protocols, what is refused, repairs and new tries of unusable replies."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.anchors import make_anchor, read_anchors
from animeshooter_hf.eval.judge.backends import EndpointJudge, EndpointSettings
from animeshooter_hf.eval.judge.judge_scores import corpus_marks, story_marks
from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.run import judge_stories

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import AnyFault, Fault, Stub, start_stub
from judge_world import GOOD, Tell, judge_at, judge_one, teller
from seeing_stub import look

Start = Callable[..., Stub]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start stubs that are closed after the test."""
    stubs: list[Stub] = []

    def begin(answer: Callable[[dict[str, Any]], str] = lambda body: GOOD, faults: Any = ()) -> Stub:
        stubs.append(start_stub(answer, faults))
        return stubs[-1]

    yield begin
    for stub in stubs:
        stub.close()


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest) -> Tell:
    """Return a story of two shots with captions that fit."""
    return teller(request.getfixturevalue("drawn"))


# ------------------------------------------------------------------------------------------------------------ protocols


def test_pointwise_shows_reference_captions_and_one_sheet_and_no_name(start: Start, told: Tell) -> None:
    stub = start(look)
    run = judge_stories({"secret-name": [told()]}, judge_at(stub), JudgeSettings())
    assert story_marks(run)[0].marks == {"OQ": 10, "CRC": 10, "MSC": 10, "MCC": 10}
    body = stub.log[0].body
    kinds = [part["type"] for part in body["messages"][0]["content"]]
    assert kinds == ["text", "text", "image_url", "text", "text", "image_url", "text"]
    texts = stub.asked()[0]
    assert texts.index("Reference picture") < texts.index("Captions:") < texts.index("Model_A:")
    assert "secret-name" not in json.dumps(body)
    assert (body["temperature"], body["seed"], body["max_completion_tokens"]) == (0.0, 0, 2048)


def test_pairs_are_asked_in_both_orders_and_the_worse_system_loses(start: Start, told: Tell) -> None:
    stub = start(look)
    worse = replace(told(), shots=told().shots[::-1])
    run = judge_stories({"ours": [told()], "other": [worse]}, judge_at(stub), JudgeSettings(protocol="pairwise"))
    assert [verdict.systems for verdict in run.verdicts] == [("ours", "other"), ("other", "ours")]
    choices = [verdict.answer.choices if verdict.answer else None for verdict in run.verdicts]
    assert [one["MCC"] if one else None for one in choices] == [0, 1]
    assert [one["CRC"] if one else 0 for one in choices] == [None, None]


def test_the_papers_protocol_turns_a_latin_square(start: Start, told: Tell) -> None:
    stub = start(look)
    wrong = replace(told(), shots=told("frog").shots)
    systems = {"a": [told()], "b": [wrong], "c": [told()]}
    run = judge_stories(systems, judge_at(stub), JudgeSettings(protocol="paper"))
    assert [verdict.systems for verdict in run.verdicts] == [("a", "b", "c"), ("b", "c", "a"), ("c", "a", "b")]
    assert [corpus_marks(run, name)["CRC"].value for name in "abc"] == [10, 1, 10]
    assert "Model_C" in stub.asked()[0]


def test_an_order_that_is_not_balanced_is_noted(start: Start, told: Tell) -> None:
    systems = {"a": [told()], "b": [told()]}
    run = judge_stories(systems, judge_at(start(look)), JudgeSettings(protocol="paper", num_rounds=3))
    assert len(run.verdicts) == 3
    assert "equally often" in run.notes[0]


def test_anchors_stand_before_the_story_with_their_marks(start: Start, told: Tell) -> None:
    stub = start()
    marks = {"OQ": 9, "CRC": 2, "MSC": 9, "MCC": 9}
    anchor = make_anchor(told("frog"), marks, "somebody else")
    judge_one(stub, told(), anchors=(anchor,))
    words = stub.asked()[0]
    assert words.index("Example 1") < words.index("Marks of this example") < words.index("Model_A:")
    assert '"CRC": 2' in words
    assert JudgeSettings(anchors=(anchor,)).signature("m", {}) != JudgeSettings().signature("m", {})


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("[]", "list of anchors"), ('[{"path": "p.json"}]', "Anchor 1"),
     ('[{"path": "none", "scores": {}}]', "no file or folder"),
     ('[{"path": "p.json", "scores": {"OQ": 1}, "x": 1}]', "Unknown key 'x'")],
)  # fmt: skip
def test_a_malformed_file_of_anchors_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "anchors.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_anchors(tmp_path / "anchors.json")


@pytest.mark.parametrize(
    "scores", [{}, {"OQ": 0, "CRC": 1, "MSC": 1, "MCC": 1}, {"OQ": 7.5, "CRC": 1, "MSC": 1, "MCC": 1}]
)
def test_an_anchor_with_wrong_marks_is_refused(told: Tell, scores: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="anchor"):
        make_anchor(told(), scores)


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "options",
    [{"protocol": "best"}, {"num_rounds": 0}, {"num_retries": -1}, {"max_output_tokens": 0}, {"temperature": 3.0}],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        JudgeSettings(**options)


def test_what_cannot_be_compared_is_refused(start: Start, told: Tell) -> None:
    judge = judge_at(start())
    with pytest.raises(InputError, match="at least two"):
        judge_stories({"a": [told()]}, judge, JudgeSettings(protocol="pairwise"))
    others = replace(told(), captions=("Give 10.", "Give 10."))
    with pytest.raises(InputError, match="other captions in b than in a"):
        judge_stories({"a": [told()], "b": [others]}, judge, JudgeSettings(protocol="paper"))
    with pytest.raises(InputError, match="ID fox_0"):
        judge_stories({"a": [told(), told()]}, judge)
    with pytest.raises(InputError, match="no story"):
        judge_stories({"a": []}, judge)
    with pytest.raises(InputError, match="no system"):
        judge_stories({}, judge)
    with pytest.raises(InputError, match="num_workers"):
        judge_stories({"a": [told()]}, judge, num_workers=0)


def test_anchors_are_refused_where_systems_are_compared(told: Tell) -> None:
    anchor = make_anchor(told(), {"OQ": 9, "CRC": 2, "MSC": 9, "MCC": 9})
    with pytest.raises(InputError, match="pointwise"):
        JudgeSettings(protocol="paper", anchors=(anchor,))


@pytest.mark.parametrize(
    "options",
    [{"model": " "}, {"base_url": "ftp://x"}, {"structured": "xml"}, {"timeout_seconds": 0}, {"max_retries": -1},
     {"requests_per_minute": 0}],
)  # fmt: skip
def test_an_endpoint_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        EndpointJudge(EndpointSettings(**{"model": "m", "base_url": "http://127.0.0.1:1/v1", **options}))


def test_a_story_with_a_missing_shot_is_counted_and_the_others_are_judged(start: Start, told: Tell) -> None:
    stub = start()
    broken = replace(told("frog"), shots=(*told().shots[:1], "gone.mp4"))
    bare = replace(told("witch"), references=())
    run = judge_stories({"ours": [told(), broken, bare]}, judge_at(stub))
    corpus = corpus_marks(run, "ours")["OQ"]
    assert (corpus.value, corpus.n_evaluated, corpus.n_failed, corpus.n_skipped) == (7, 1, 1, 1)
    assert run.failures() == {"unreadable": 1}
    assert len(stub.log) == 1


def test_a_system_without_a_reference_does_not_keep_another_from_being_marked(start: Start, told: Tell) -> None:
    systems = {"a": [told()], "b": [replace(told(), references=())]}
    run = judge_stories(systems, judge_at(start()))
    assert [verdict.systems for verdict in run.verdicts] == [("a",)]
    assert run.skipped == {("b", "fox_0"): "It has no reference."}


def test_a_system_with_another_reference_is_not_compared(start: Start, told: Tell) -> None:
    other = replace(told(), references=told("frog").references)
    run = judge_stories({"a": [told()], "b": [other]}, judge_at(start()), JudgeSettings(protocol="paper"))
    assert {verdict.problem for verdict in run.verdicts} == {"The systems show different references for this story."}


def test_a_story_that_one_system_lacks_is_skipped_in_joint_protocols(start: Start, told: Tell) -> None:
    systems = {"a": [told(), told("frog")], "b": [told()]}
    run = judge_stories(systems, judge_at(start(look)), JudgeSettings(protocol="paper"))
    assert run.skipped == {("a", "frog_0"): "Not every system tells this story with a reference."}
    assert {verdict.story_id for verdict in run.verdicts} == {"fox_0"}


# ----------------------------------------------------------------------------------------------------- unusable replies


def test_a_reply_is_repaired_once_by_telling_what_is_wrong(start: Start, told: Tell) -> None:
    replies = iter(["My marks: OQ 7.", GOOD])
    stub = start(lambda body: next(replies))
    run = judge_one(stub, told())
    assert story_marks(run)[0].marks["CRC"] == 8
    assert run.reply_problems() == {"no_json": 1}
    first, second = (request.body["messages"] for request in stub.log)
    assert second[0] == first[0]
    assert second[1] == {"role": "assistant", "content": "My marks: OQ 7."}
    assert "there is no JSON object in it" in second[2]["content"][0]["text"]


def test_after_the_repair_new_seeds_are_tried_and_then_it_is_null(start: Start, told: Tell) -> None:
    stub = start(lambda body: '{"scores": {"OQ": 70}}')
    run = judge_one(stub, told())
    bodies = [request.body for request in stub.log]
    assert [len(body["messages"]) for body in bodies] == [1, 3, 1, 1, 1]
    assert len({body["seed"] for body in bodies}) == 4
    assert [body["temperature"] for body in bodies] == [0, 0, 0.7, 0.7, 0.7]
    marks = story_marks(run)[0]
    assert marks.marks == dict.fromkeys(("OQ", "CRC", "MSC", "MCC"))
    assert (marks.n_failed, run.failures(), run.reply_problems()) == (1, {"out_of_range": 1}, {"out_of_range": 5})


REPLY_FAULTS: dict[str, tuple[AnyFault, str]] = {
    "refused": ("refuse", "blocked"),
    "filtered": ("filter", "blocked"),
    "filtered with a status": (Fault(400, code="content_filter"), "blocked"),
    "no choices": ("empty", "empty"),
    "an empty text": ("blank", "empty"),
    "cut off at the limit": ("truncate", "truncated"),
}


@pytest.mark.parametrize("name", REPLY_FAULTS)
def test_a_reply_without_marks_is_tried_again_and_counted(start: Start, told: Tell, name: str) -> None:
    fault, kind = REPLY_FAULTS[name]
    run = judge_one(start(faults=[fault]), told())
    assert story_marks(run)[0].marks["OQ"] == 7
    assert run.reply_problems() == {kind: 1}


def test_marks_in_a_fence_need_no_second_call(start: Start, told: Tell) -> None:
    stub = start(faults=["fence"])
    assert story_marks(judge_one(stub, told()))[0].marks["OQ"] == 7
    assert len(stub.log) == 1
