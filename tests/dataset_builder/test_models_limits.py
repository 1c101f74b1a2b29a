"""Limits hold over threads and processes, exactly, and nobody is forgotten in the line."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from animeshooter_hf.dataset_builder.annotate.file_lock import locked, try_lock
from animeshooter_hf.dataset_builder.annotate.limits import LimitedModel, RateLimiter, RateLimits
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.annotate.question import Question, Text, Usage
from animeshooter_hf.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import Fault, start_stub

WINDOW = 0.75

CHILD = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from animeshooter_hf.dataset_builder.annotate.file_lock import locked
from animeshooter_hf.dataset_builder.annotate.limits import LimitedModel, RateLimiter, RateLimits
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.annotate.question import Question, Text, Usage

url, folder, requests, in_flight = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
limits = RateLimits(requests=requests, in_flight=in_flight, window_seconds=0.75, margin_seconds=0.0)
seen = []

class Noting(OpenAIModel):
    def ask(self, question):
        with locked(folder / "window.lock"):
            seen.extend(json.loads((folder / "window.json").read_text().splitlines()[0])["calls"])
        return super().ask(question)

client = Noting(url, "m", api_key_env=None)
model = LimitedModel(client, RateLimiter(folder, limits), lambda question: Usage(10, 0, 10))
questions = [Question(name="n", parts=(Text(f"{sys.argv[5]}-{n}"),)) for n in range(4)]
with ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(model.ask, questions))
print(json.dumps({"ok": sum(answer.outcome == "ok" for answer in answers), "seen": seen}))
"""


def most_in_window(times: Iterable[float], window_seconds: float) -> int:
    times = sorted(times)
    return max(sum(start <= moment < start + window_seconds for moment in times) for start in times)


def calls_of(folder: Path) -> list[list[float]]:
    """The calls in the window: number, time, tokens."""
    with locked(folder / "window.lock"):
        calls: list[list[float]] = json.loads((folder / "window.json").read_text().splitlines()[0])["calls"]
    return calls


def times_of(calls: Iterable[list[float]]) -> list[float]:
    """When calls passed by the limiter's own book, each once; a server hears of them later, and not evenly."""
    return list({number: seconds for number, seconds, _ in calls}.values())


def passes(limiter: RateLimiter, tokens: int) -> None:
    with limiter.call(tokens):
        pass


class HandClock:
    """A clock that only moves when somebody sleeps, so that waiting is exact and takes no time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.num_naps = 0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.num_naps += 1

    def limiter(self, folder: Path, **limits: int) -> RateLimiter:
        allowed = RateLimits(**limits, window_seconds=WINDOW, margin_seconds=0.0)
        return RateLimiter(folder, allowed, clock=lambda: self.seconds, sleep=self.sleep)

    def passes(self, limiter: RateLimiter, tokens: int) -> float:
        """Pass once, and return when."""
        passes(limiter, tokens)
        return self.seconds


def test_two_processes_share_the_limits(tmp_path: Path) -> None:
    with start_stub(faults=[Fault("slow", seconds=0.05)] * 8) as stub:
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD, stub.url, str(tmp_path), "4", "2", name],
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in ("a", "b")
        ]
        told = [json.loads(child.communicate(timeout=120)[0]) for child in children]
    assert [one["ok"] for one in told] == [4, 4]
    assert sorted(stub.asked()) == sorted(f"{name}-{number}" for name in "ab" for number in range(4))
    assert stub.most_in_flight <= 2
    times = times_of(call for one in told for call in one["seen"])
    assert len(times) > 4
    assert most_in_window(times, WINDOW) <= 4


def test_requests_pass_at_once_up_to_the_limit_and_then_wait(tmp_path: Path) -> None:
    clock = HandClock()
    limiter = clock.limiter(tmp_path, requests=3)
    assert [clock.passes(limiter, 1) for _ in range(5)] == [0, 0, 0, WINDOW, WINDOW]


def test_the_window_slides(tmp_path: Path) -> None:
    clock = HandClock()
    limiter = clock.limiter(tmp_path, requests=2)
    first = clock.passes(limiter, 1)
    clock.sleep(WINDOW / 3)
    second = clock.passes(limiter, 1)
    assert [clock.passes(limiter, 1), clock.passes(limiter, 1)] == [first + WINDOW, second + WINDOW]


def test_tokens_are_limited_and_corrected_after_the_call(tmp_path: Path) -> None:
    clock = HandClock()
    limiter = clock.limiter(tmp_path, tokens=100)
    for _ in range(5):  # estimated at 50, but 10 in truth: no need to wait
        with limiter.call(50) as correct:
            correct(10)
    assert clock.passes(limiter, 50) == 0
    assert clock.passes(limiter, 50) == WINDOW


def test_a_question_larger_than_the_limit_passes_alone(tmp_path: Path) -> None:
    clock = HandClock()
    limiter = clock.limiter(tmp_path, tokens=100)
    assert [clock.passes(limiter, tokens) for tokens in (50, 5000, 50)] == [0, WINDOW, 2 * WINDOW]


def test_a_large_question_is_not_overtaken_by_small_ones(tmp_path: Path) -> None:
    clock, is_waiting, may_go_on = HandClock(), Event(), Event()

    def sleep(seconds: float) -> None:
        is_waiting.set()
        assert may_go_on.wait(60)
        clock.sleep(seconds)

    limits = RateLimits(tokens=100, window_seconds=WINDOW, margin_seconds=0.0)
    limiter = RateLimiter(tmp_path, limits, clock=lambda: clock.seconds, sleep=sleep)
    passes(limiter, 60)
    with ThreadPoolExecutor(3) as pool:
        large = pool.submit(passes, limiter, 90)
        assert is_waiting.wait(60)
        assert not _is_free(tmp_path / "turn.lock")
        small = [pool.submit(passes, limiter, tokens) for tokens in (5, 4)]
        time.sleep(0.1)  # long enough to overtake, if that were possible
        assert [tokens for _, _, tokens in calls_of(tmp_path)] == [60]
        may_go_on.set()
    assert all(future.exception() is None for future in (large, *small))
    order = [tokens for _, _, tokens in calls_of(tmp_path) if tokens != 60]
    assert order[0] == 90


def _is_free(lock: Path) -> bool:
    with try_lock(lock) as held:
        return held


def test_calls_in_flight_are_limited(tmp_path: Path) -> None:
    three = Barrier(3)

    def answer(body: dict[str, Any]) -> str:
        three.wait(60)  # no answer before three questions are there
        return "{}"

    with start_stub(answer) as stub, ThreadPoolExecutor(9) as pool:
        client = OpenAIModel(stub.url, "m", api_key_env=None)
        model = LimitedModel(client, RateLimiter(tmp_path, RateLimits(in_flight=3)), lambda question: Usage())
        questions = [Question(name="n", parts=(Text(str(number)),)) for number in range(9)]
        assert all(answer.outcome == "ok" for answer in pool.map(model.ask, questions))
    assert stub.most_in_flight == 3


def test_retries_count_as_requests_and_cannot_lock_up(tmp_path: Path) -> None:
    limits = RateLimits(requests=2, in_flight=1, window_seconds=WINDOW, margin_seconds=0.0)
    limiter = RateLimiter(tmp_path, limits)
    seen: list[list[float]] = []

    def wait_and_note() -> None:
        limiter.wait_for_retry()
        seen.extend(calls_of(tmp_path))

    with start_stub(faults=[Fault(503, retry_after_seconds=0.01)] * 2) as stub, ThreadPoolExecutor(2) as pool:
        client = OpenAIModel(stub.url, "m", api_key_env=None, before_retry=wait_and_note)
        model = LimitedModel(client, limiter, lambda question: Usage())
        questions = [Question(name="n", parts=(Text(str(number)),)) for number in range(2)]
        assert [answer.outcome for answer in pool.map(model.ask, questions)] == ["ok", "ok"]
    seen.extend(calls_of(tmp_path))
    assert len(stub.log) == 4
    assert len(times_of(seen)) > 2
    assert most_in_window(times_of(seen), WINDOW) <= 2


HOLDER = """
import sys, time
from pathlib import Path
from animeshooter_hf.dataset_builder.annotate.file_lock import try_lock
from animeshooter_hf.dataset_builder.annotate.limits import RateLimiter, RateLimits
with RateLimiter(Path(sys.argv[1]), RateLimits(in_flight=1)).call(1):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "held"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    passes(RateLimiter(tmp_path, RateLimits(in_flight=1)), 1)  # waits for ever otherwise


def test_whoever_waits_sleeps_and_looks_seldom(tmp_path: Path) -> None:
    clock = HandClock()
    limiter = clock.limiter(tmp_path, requests=1, in_flight=1)
    assert [clock.passes(limiter, 1), clock.passes(limiter, 1)] == [0, WINDOW]
    assert clock.num_naps == 2  # no nap is longer than half a second


@pytest.mark.parametrize("state", ["", "{", "[]", '{"calls": [[1]], "next": 0}'])
def test_a_damaged_window_counts_no_calls(tmp_path: Path, state: str) -> None:
    (tmp_path / "window.json").write_text(state)
    passes(RateLimiter(tmp_path, RateLimits(requests=1)), 1)
    assert len(calls_of(tmp_path)) == 1


def test_without_limits_everything_passes(tmp_path: Path) -> None:
    clock = HandClock()
    limiter = RateLimiter(tmp_path, RateLimits(), clock=lambda: clock.seconds, sleep=clock.sleep)
    assert {clock.passes(limiter, 10**9) for _ in range(20)} == {0.0}


@pytest.mark.parametrize("limit", ["requests", "tokens", "in_flight"])
def test_a_limit_of_nothing_is_refused(limit: str) -> None:
    with pytest.raises(InputError, match=limit):
        RateLimits(**{limit: 0})
