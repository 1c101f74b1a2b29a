"""A server that fails: what passes is waited out, what does not stops the run, keys stay where they belong."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.backends import EndpointJudge, EndpointSettings
from animeshooter_hf.eval.judge.judge_log import JudgeLog
from animeshooter_hf.eval.judge.judge_scores import story_marks
from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.retry import RequestLimit
from animeshooter_hf.eval.judge.run import judge_stories

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import Fault, Stub, start_stub
from judge_world import GOOD, Tell, Waits, judge_at, judge_one, teller

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


def test_failures_that_pass_are_waited_out_longer_and_longer(start: Start, told: Tell) -> None:
    faults = [408, 409, 429, 500, 503, "drop", "cut", "html", "not_json"]
    waits, stub = Waits(), start(faults=faults)
    run = judge_stories({"ours": [told()]}, judge_at(stub, waits, max_retries=len(faults)))
    assert story_marks(run)[0].marks["OQ"] == 7
    assert len(stub.log) == len(faults) + 1
    for attempt, seconds in enumerate(waits.slept):
        longest = min(0.5 * 2**attempt, 30.0)
        assert 0.75 * longest <= seconds <= longest


def test_a_server_that_hangs_is_given_up_and_asked_again(start: Start, told: Tell) -> None:
    stub = start(faults=["hang"])
    run = judge_stories({"ours": [told()]}, judge_at(stub, timeout_seconds=0.5))
    assert story_marks(run)[0].marks["OQ"] == 7
    assert len(stub.log) == 2


def test_the_server_says_how_long_to_wait(start: Start, told: Tell) -> None:
    waits = Waits()
    stub = start(faults=[Fault(429, retry_after_seconds=7, in_seconds=True), Fault(503, retry_after_seconds=0.25)])
    judge_stories({"ours": [told()]}, judge_at(stub, waits))
    assert waits.slept == [7.0, 0.25]


def test_waiting_too_long_is_a_failure_that_the_next_run_asks_again(start: Start, told: Tell, tmp_path: Path) -> None:
    stub = start(faults=[Fault(429, retry_after_seconds=500, in_seconds=True)])
    path = tmp_path / "judge.jsonl"
    with JudgeLog(path) as log:
        run = judge_one(stub, told(), log)
    assert run.failures() == {"error": 1}
    with JudgeLog(path) as log:
        assert story_marks(judge_one(stub, told(), log))[0].marks["OQ"] == 7


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_stops_the_run_at_once(start: Start, told: Tell, status: int) -> None:
    stub = start(faults=lambda request: status)
    stories = [told(name, number) for name in ("fox", "frog", "witch") for number in range(4)]
    with pytest.raises(InputError, match=f"seer cannot be asked. Status {status}"):
        judge_stories({"ours": stories}, judge_at(stub), num_workers=1)
    assert len(stub.log) < 6


def test_a_server_that_is_gone_stops_the_run_and_keeps_what_came(start: Start, told: Tell, tmp_path: Path) -> None:
    stub = start(faults=lambda request: None if request.number < 2 else 500)
    stories = [told(name, number) for name in ("fox", "frog", "witch") for number in range(3)]
    judge = judge_at(stub, max_retries=1, max_failures_in_a_row=3)
    with JudgeLog(tmp_path / "judge.jsonl") as log:
        with pytest.raises(InputError, match="has not answered 3 questions in a row"):
            judge_stories({"ours": stories}, judge, log=log, num_workers=1)
        assert len(log) == 2


def test_a_limit_of_requests_per_minute_is_kept() -> None:
    waits = Waits()
    limit = RequestLimit(2, waits.clock())
    for _ in range(5):
        limit.wait()
    assert waits.slept == [60.0, 60.0]


def test_a_key_goes_to_the_server_it_is_for_and_nowhere_else(
    start: Start, told: Tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-you")
    monkeypatch.setenv("JUDGE_KEY", "sk-for-you")
    stub = start(faults=[Fault(429, message="no quota for sk-for-you")])
    path = tmp_path / "judge.jsonl"
    judge_one(stub, told())
    with JudgeLog(path) as log:
        judge = judge_at(stub, api_key_env="JUDGE_KEY", max_retries=0)
        judge_stories({"ours": [told("frog")]}, judge, log=log)
    sent = [request.headers["authorization"] for request in stub.log]
    assert sent == ["Bearer none", "Bearer none", "Bearer sk-for-you"]
    assert "sk-for-you" not in path.read_text()


def test_a_key_that_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        EndpointJudge(EndpointSettings(model="m"))


def test_a_schema_is_sent_where_it_is_wanted(start: Start, told: Tell) -> None:
    stub = start()
    judge = judge_at(stub, structured="json_schema", token_limit_field="max_tokens", extra_body={"reasoning": "low"})
    judge_stories({"ours": [told()]}, judge, JudgeSettings(temperature=None))
    body = stub.log[0].body
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["scores", "feedback"]
    assert (body["max_tokens"], body["reasoning"], "temperature" in body) == (2048, "low", False)
