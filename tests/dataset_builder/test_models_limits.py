"""Limits hold over threads and processes, exactly, and nobody is forgotten in the line."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from animeshooter_hf.dataset_builder.annotate.file_lock import try_lock
from animeshooter_hf.dataset_builder.annotate.limits import LimitedModel, RateLimiter, RateLimits
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.annotate.question import Question, Text, Usage
from animeshooter_hf.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import Fault, start_stub

WINDOW = 0.75

CHILD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from animeshooter_hf.dataset_builder.annotate.file_lock import try_lock
from animeshooter_hf.dataset_builder.annotate.limits import LimitedModel, RateLimiter, RateLimits
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.annotate.question import Question, Text, Usage

url, folder, requests, in_flight = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
limits = RateLimits(requests=requests, in_flight=in_flight, window_seconds=0.5, margin_seconds=0.7)
client = OpenAIModel(url, "m", api_key_env=None)
model = LimitedModel(client, RateLimiter(folder, limits), lambda question: Usage(10, 0, 10))
questions = [Question(name="n", parts=(Text(f"{sys.argv[5]}-{n}"),)) for n in range(4)]
with ThreadPoolExecutor(4) as pool:
    print(sum(answer.outcome == "ok" for answer in pool.map(model.ask, questions)))
"""


def most_in_window(times: Sequence[float], window_seconds: float) -> int:
    times = sorted(times)
    return max(sum(start <= moment < start + window_seconds for moment in times) for start in times)


def calls_of(folder: Path) -> list[list[float]]:
    """The calls in the window: number, time, tokens."""
    calls: list[list[float]] = json.loads((folder / "window.json").read_text().splitlines()[0])["calls"]
    return calls


def passes(limiter: RateLimiter, tokens: int) -> None:
    with limiter.call(tokens):
        pass


class HandClock:
    """A clock that only moves when somebody sleeps, so that waiting is exact and takes no time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

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
        told = [child.communicate(timeout=60)[0] for child in children]
    assert [text.strip() for text in told] == ["4", "4"]
    assert sorted(stub.asked()) == sorted(f"{name}-{number}" for name in "ab" for number in range(4))
    assert stub.most_in_flight <= 2
    assert most_in_window([request.seconds for request in stub.log], 0.5) <= 4  # the margin allows for slow arrival


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
    limiter = RateLimiter(tmp_path, RateLimits(tokens=100, window_seconds=WINDOW, margin_seconds=0.0))
    passes(limiter, 60)
    with ThreadPoolExecutor(3) as pool:
        large = pool.submit(passes, limiter, 90)
        while _is_free(tmp_path / "turn.lock"):
            time.sleep(0.005)
        small = [pool.submit(passes, limiter, tokens) for tokens in (5, 4)]
    assert all(future.done() for future in (large, *small))
    order = [tokens for _, _, tokens in calls_of(tmp_path) if tokens != 60]
    assert order[0] == 90


def _is_free(lock: Path) -> bool:
    with try_lock(lock) as held:
        return held


def test_calls_in_flight_are_limited(tmp_path: Path) -> None:
    with start_stub(faults=[Fault("slow", seconds=0.05)] * 9) as stub, ThreadPoolExecutor(9) as pool:
        client = OpenAIModel(stub.url, "m", api_key_env=None)
        model = LimitedModel(client, RateLimiter(tmp_path, RateLimits(in_flight=3)), lambda question: Usage())
        questions = [Question(name="n", parts=(Text(str(number)),)) for number in range(9)]
        assert all(answer.outcome == "ok" for answer in pool.map(model.ask, questions))
    assert stub.most_in_flight == 3


def test_retries_count_as_requests_and_cannot_lock_up(tmp_path: Path) -> None:
    limits = RateLimits(requests=2, in_flight=1, window_seconds=WINDOW, margin_seconds=0.4)
    limiter = RateLimiter(tmp_path, limits)
    with start_stub(faults=[Fault(503, retry_after_seconds=0.01)] * 2) as stub, ThreadPoolExecutor(2) as pool:
        client = OpenAIModel(stub.url, "m", api_key_env=None, before_retry=limiter.wait_for_retry)
        model = LimitedModel(client, limiter, lambda question: Usage())
        questions = [Question(name="n", parts=(Text(str(number)),)) for number in range(2)]
        assert [answer.outcome for answer in pool.map(model.ask, questions)] == ["ok", "ok"]
    assert len(stub.log) == 4
    assert most_in_window([request.seconds for request in stub.log], WINDOW) <= 2


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


def test_waiting_takes_no_processor_time(tmp_path: Path) -> None:
    limiter = RateLimiter(tmp_path, RateLimits(requests=1, in_flight=1, window_seconds=WINDOW, margin_seconds=0.0))
    passes(limiter, 1)
    used = time.process_time()
    passes(limiter, 1)
    assert time.process_time() - used < WINDOW / 4


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
