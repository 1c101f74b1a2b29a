"""Every token is in the ledger, prices are data, and a hard budget stops before the call that would exceed it."""

import io
import json
import subprocess
import sys
import time
import wave
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.dataset_builder.annotate.accounting import (
    CallLedger,
    CallRecord,
    RecordedModel,
    read_calls,
    summarise_calls,
)
from animeshooter_hf.dataset_builder.annotate.budget import Budget, BudgetedModel
from animeshooter_hf.dataset_builder.annotate.estimate import ModelKind, estimate_question
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.annotate.prices import Price, find_price
from animeshooter_hf.dataset_builder.annotate.question import (
    Answer,
    Clip,
    Part,
    Picture,
    Question,
    Sound,
    Text,
    Usage,
)
from animeshooter_hf.errors import InputError
from animeshooter_hf.video import write_video

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import AnyFault, Fault, Stub, start_stub

PRICE = Price(model="m", prompt=10.0, output=10.0)
RECORD = CallRecord(question="script", key="k", model="m", outcome="ok", prompt_tokens=5, money=0.5)


def question(number: int) -> Question:
    return Question(name="script", parts=(Text(f"Number {number}?"),), max_output_tokens=1000)


def client(stub: Stub) -> OpenAIModel:
    return OpenAIModel(stub.url, "m", api_key_env=None, max_retries=2)


def budgeted(stub: Stub, folder: Path, limit: float) -> BudgetedModel:
    """A model whose questions are estimated at 2000 tokens: 0.02 of money."""
    ledger = CallLedger(folder / "calls.jsonl")
    budget = Budget(folder, limit, PRICE, lambda asked: Usage(1000, 0, 1000))
    return BudgetedModel(RecordedModel(client(stub), ledger, PRICE), budget, ledger)


def test_the_ledger_holds_exactly_the_tokens_that_the_endpoint_counted(tmp_path: Path) -> None:
    faults: list[AnyFault] = [
        None, Fault(429, retry_after_seconds=0.01), "truncate", "filter", "cut", "empty", "not_json", "fence", 400,
    ]  # fmt: skip
    ledger = CallLedger(tmp_path / "calls.jsonl")
    with start_stub(lambda body: '{"a": 1}' * 30, faults) as stub:
        model = RecordedModel(client(stub), ledger, PRICE)
        answers = [model.ask(question(number)) for number in range(8)]
    summary = summarise_calls(ledger.path)
    total = summary.total
    assert Usage(total.prompt_tokens, total.cached_tokens, total.output_tokens) == stub.usage_total
    assert total.calls == 8
    assert total.lost_calls == 2  # "cut" and "not_json"
    assert total.money == pytest.approx(PRICE.money(stub.usage_total))
    counted = {outcome: sums.calls for (_, outcome), sums in summary.by_question_and_outcome.items()}
    assert counted == {"ok": 3, "truncated": 1, "blocked": 1, "invalid": 1, "error": 2}
    assert counted == Counter(answer.outcome for answer in answers)


def test_an_answer_from_the_cache_costs_nothing() -> None:
    answer = Answer(outcome="ok", usage=Usage(9, 8, 7), seconds=3.0, from_cache=True, lost_calls=2)
    record = CallRecord.of("script", "k", answer, money=0.0)
    assert (record.prompt_tokens, record.output_tokens, record.seconds, record.lost_calls) == (0, 0, 0.0, 0)
    assert record.from_cache


def test_a_ledger_comes_back_as_it_was_written(tmp_path: Path) -> None:
    ledger = CallLedger(tmp_path / "new" / "calls.jsonl")
    ledger.append(RECORD)
    ledger.append(replace(RECORD, outcome="error", money=None))
    assert read_calls(ledger.path) == ([RECORD, replace(RECORD, outcome="error", money=None)], 0)


def test_a_ledger_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert summarise_calls(tmp_path / "calls.jsonl").total.calls == 0


@pytest.mark.parametrize("torn", [b'{"question": "scr', b"\xff\xfe", b"[]", b'{"question": "x"}'])
def test_a_torn_line_is_counted_and_does_not_spoil_the_next(tmp_path: Path, torn: bytes) -> None:
    ledger = CallLedger(tmp_path / "calls.jsonl")
    ledger.append(RECORD)
    with ledger.path.open("ab") as file:
        file.write(torn)
    assert summarise_calls(ledger.path).damaged_lines == 1
    ledger.append(RECORD)
    assert read_calls(ledger.path) == ([RECORD, RECORD], 1)


def test_threads_append_whole_lines(tmp_path: Path) -> None:
    ledger = CallLedger(tmp_path / "calls.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ledger.append, [replace(RECORD, detail="x" * 5000)] * 100))
    summary = summarise_calls(ledger.path)
    assert (summary.total.calls, summary.damaged_lines) == (100, 0)
    assert summary.total.money == pytest.approx(50.0)


def test_calls_without_a_price_are_counted(tmp_path: Path) -> None:
    ledger = CallLedger(tmp_path / "calls.jsonl")
    with start_stub() as stub:
        RecordedModel(client(stub), ledger, None).ask(question(0))
    assert summarise_calls(ledger.path).total.without_price == 1


def test_a_budget_stops_before_the_call_that_would_exceed_it(tmp_path: Path) -> None:
    with start_stub(lambda body: "x" * 1000) as stub:
        model = budgeted(stub, tmp_path, 0.05)
        answers = [model.ask(question(number)) for number in range(20)]
    outcomes = [answer.outcome for answer in answers]
    num_asked = outcomes.count("ok")
    assert num_asked == len(stub.log) > 2
    assert outcomes == ["ok"] * num_asked + ["skipped"] * (20 - num_asked)
    assert "0.05" in answers[-1].detail
    spent = PRICE.money(stub.usage_total)
    assert 0.05 - 0.02 < spent <= 0.05
    summary = summarise_calls(tmp_path / "calls.jsonl")
    assert summary.by_question_and_outcome["script", "skipped"].calls == 20 - num_asked
    assert summary.total.money == pytest.approx(spent)


def test_a_budget_of_nothing_asks_nothing(tmp_path: Path) -> None:
    with start_stub() as stub:
        assert budgeted(stub, tmp_path, 0.0).ask(question(0)).outcome == "skipped"
    assert not stub.log


def test_a_budget_outlives_the_run_and_can_be_raised(tmp_path: Path) -> None:
    with start_stub(lambda body: "x" * 1000) as stub:
        while budgeted(stub, tmp_path, 0.03).ask(question(len(stub.log))).outcome == "ok":
            pass
        num_asked = len(stub.log)
        assert budgeted(stub, tmp_path, 0.03).ask(question(99)).outcome == "skipped"
        assert budgeted(stub, tmp_path, 0.06).ask(question(99)).outcome == "ok"
    assert len(stub.log) == num_asked + 1


def test_threads_never_exceed_a_budget_together(tmp_path: Path) -> None:
    with start_stub(lambda body: "x" * 1000, [Fault("slow", seconds=0.03)] * 30) as stub, ThreadPoolExecutor(6) as pool:
        model = budgeted(stub, tmp_path, 0.06)
        outcomes = [answer.outcome for answer in pool.map(model.ask, map(question, range(30)))]
    assert outcomes.count("ok") == stub.num_answers > 3
    assert 0.06 - 0.02 < PRICE.money(stub.usage_total) <= 0.06


def test_a_lost_answer_counts_as_spent(tmp_path: Path) -> None:
    budget = Budget(tmp_path, 1.0, PRICE, lambda asked: Usage(1000, 0, 1000))
    with start_stub(faults=["drop"]) as stub:
        BudgetedModel(client(stub), budget).ask(question(0))
    assert budget.spent() == pytest.approx(0.02 + PRICE.money(stub.usage_total))


def test_a_call_that_raises_counts_as_spent(tmp_path: Path) -> None:
    budget = Budget(tmp_path, 1.0, PRICE, lambda asked: Usage(1000, 0, 1000))

    class Defect:
        name = "m"

        def settings_key(self) -> dict[str, str]:
            return {}

        def ask(self, asked: Question) -> Answer:
            raise KeyError(asked.name)

    with pytest.raises(KeyError):
        BudgetedModel(Defect(), budget).ask(question(0))
    assert budget.spent() == pytest.approx(0.02)


def test_estimates_that_were_too_low_are_raised(tmp_path: Path) -> None:
    budget = Budget(tmp_path, 1.0, PRICE, lambda asked: Usage(10, 0, 0))
    with start_stub() as stub:
        BudgetedModel(client(stub), budget).ask(question(0))
    reservation = budget.reserve(question(1))
    assert reservation is not None
    assert reservation.money == pytest.approx(PRICE.money(Usage(stub.usage_total.prompt_tokens)))


RESERVER = """
import sys, time
from pathlib import Path
from animeshooter_hf.dataset_builder.annotate.budget import Budget
from animeshooter_hf.dataset_builder.annotate.prices import Price
from animeshooter_hf.dataset_builder.annotate.question import Question, Usage
budget = Budget(Path(sys.argv[1]), 1.0, Price(model="m", prompt=10.0, output=10.0), lambda asked: Usage(1000, 0, 1000))
budget.reserve(Question(name="n", parts=())).money
kept = budget.reserve(Question(name="n", parts=()))
print("reserved", flush=True)
time.sleep(60)
"""


def test_a_reservation_is_waited_for_while_its_process_lives_and_spent_when_it_was_killed(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", RESERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "reserved"
    tight = Budget(tmp_path, 0.05, PRICE, lambda asked: Usage(1000, 0, 1000))
    assert tight.spent() == pytest.approx(0.02)  # the first reservation was dropped without an answer
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(tight.reserve, question(0))
        time.sleep(0.2)
        assert not waiting.done()
        child.kill()
        child.wait()
        assert waiting.result(timeout=120) is None
    child.stdout.close()
    assert tight.spent() == pytest.approx(0.04)
    assert not list(tmp_path.glob("reserved-*"))


def test_a_damaged_budget_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spent.json").write_text("{")
    with pytest.raises(InputError, match="spent"):
        Budget(tmp_path, 1.0, PRICE, lambda asked: Usage())


@pytest.mark.parametrize("limit", [-1.0, float("nan")])
def test_a_budget_below_nothing_is_refused(tmp_path: Path, limit: float) -> None:
    with pytest.raises(InputError, match="budget"):
        Budget(tmp_path, limit, PRICE, lambda asked: Usage())


def test_cached_tokens_cost_their_own_price() -> None:
    price = Price(model="m", prompt=1.0, cached=0.1, output=10.0, batch_factor=0.5)
    usage = Usage(1_000_000, 400_000, 200_000)
    assert price.money(usage) == pytest.approx(0.6 + 0.04 + 2.0)
    assert price.money(usage, in_batch=True) == pytest.approx(1.32)


def test_every_price_of_ours_has_a_source_and_a_date() -> None:
    table = json.loads((Path(__file__).parents[2] / "dataset_builder/annotate/prices.json").read_text())
    assert table["prices"]
    for entry in table["prices"]:
        price = find_price(entry["model"])
        assert price is not None
        assert price.source.startswith("https://")
        assert price.date


@pytest.mark.parametrize("name", ["gemini-2.5-flash", "gemini-2.5-flash-001", "gemini-2.5-flash-2025-06-17"])
def test_a_snapshot_has_its_models_price(name: str) -> None:
    price = find_price(name)
    assert price is not None
    assert price.model == "gemini-2.5-flash"


def test_a_model_that_is_not_in_the_table_has_no_price() -> None:
    assert find_price("gemini-2.5-flash-extra") is None


def test_a_file_of_the_users_overrides_the_table(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"prices": [{"model": "gemini-2.5-pro", "prompt": 7, "output": 8}]}')
    assert find_price("gemini-2.5-pro", file) == Price(model="gemini-2.5-pro", prompt=7, output=8)
    assert find_price("gemini-2.5-flash", file) == find_price("gemini-2.5-flash")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"prices": [{"model": "m"}]}',
        '{"prices": [{"model": "m", "prompt": 1, "output": -1}]}',
        '{"prices": [{"model": "m", "prompt": "1", "output": 1}]}',
        '{"prices": [{"model": "m", "prompt": 1, "output": 1, "colour": 1}]}',
    ],
)
def test_a_price_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"price"):
        find_price("m", file)


def test_a_price_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        find_price("m", tmp_path / "none.json")


def picture(width: int, height: int) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "JPEG")
    return Picture(file.getvalue())


def sound(seconds: float) -> Sound:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\0\0" * int(8000 * seconds))
    return Sound(file.getvalue())


@pytest.mark.parametrize(
    ("part", "kind", "tokens"),
    [
        (Text("x" * 41), "openai", 11),
        (picture(512, 512), "openai", 85 + 170),
        (picture(1920, 1080), "openai", 85 + 6 * 170),
        (picture(384, 384), "gemini", 258),
        (picture(1280, 720), "gemini", 2 * 258),
        (picture(280, 140), "transformers", 10 * 5 + 2),
        (sound(2.0), "gemini", 64),
        (Picture(b"no picture"), "gemini", 0),
        (Sound(b"no sound"), "gemini", 0),
        (Clip(b"no clip"), "gemini", 0),
    ],
)
def test_an_estimate_follows_the_providers_rules(part: Part, kind: ModelKind, tokens: int) -> None:
    asked = Question(name="n", parts=(part,), max_output_tokens=77)
    assert estimate_question(asked, kind) == Usage(tokens, 0, 77)


def test_a_clip_is_estimated_by_its_seconds(tmp_path: Path) -> None:
    frames = [np.zeros((32, 32, 3), np.uint8)] * 20
    path = write_video(tmp_path / "clip.mp4", frames, Fraction(10))
    estimated = estimate_question(Question(name="n", parts=(Clip(path.read_bytes()),)), "gemini")
    assert estimated.prompt_tokens == 2 * 258
