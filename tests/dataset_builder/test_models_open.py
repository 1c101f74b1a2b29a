"""A model as the settings say: the whole stack, its refusals, and what a killed run leaves behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from animeshooter_hf.dataset_builder.annotate.accounting import summarise_calls
from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig, ledger_path, open_model
from animeshooter_hf.dataset_builder.annotate.question import Question, Text, Usage
from animeshooter_hf.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import AnyFault, Fault, Stub, StubRequest, start_stub

QUESTIONS = [Question(name="script", parts=(Text(f"Number {number}?"),), max_output_tokens=500) for number in range(12)]

RUN = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig, open_model
from animeshooter_hf.dataset_builder.annotate.question import Question, Text

model = open_model(ModelConfig(**json.loads(sys.argv[1])), Path(sys.argv[2]))
texts = [f"{sys.argv[3]} {number}?" for number in range(12)]
questions = [Question(name="script", parts=(Text(text),), max_output_tokens=500) for text in texts]
with ThreadPoolExecutor(2) as pool:
    print(json.dumps([answer.outcome for answer in pool.map(model.ask, questions)]))
"""


def settings(stub: Stub, **changes: Any) -> dict[str, Any]:
    return {"kind": "openai", "model": "gpt-4.1", "base_url": stub.url, "needs_key": False} | changes


def start(config: dict[str, Any], folder: Path, name: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", RUN, json.dumps(config), str(folder), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_rerun_makes_no_calls_and_the_ledger_tells_both(tmp_path: Path) -> None:
    faults: list[AnyFault] = [Fault(429, retry_after_seconds=0.01), "truncate", "empty", "filter"]
    with start_stub(lambda body: '{"a": 1}', faults) as stub:
        config = ModelConfig(**settings(stub))
        first = list(map(open_model(config, tmp_path).ask, QUESTIONS))
        num_calls = len(stub.log)
        second = list(map(open_model(config, tmp_path).ask, QUESTIONS))
    assert len(stub.log) == num_calls == len(QUESTIONS) + 1
    assert [(answer.text, answer.outcome) for answer in first] == [(answer.text, answer.outcome) for answer in second]
    total = summarise_calls(ledger_path(tmp_path)).total
    assert (total.calls, total.from_cache) == (24, 12)
    assert Usage(total.prompt_tokens, total.cached_tokens, total.output_tokens) == stub.usage_total


def test_after_kill_9_no_answered_question_is_asked_again(tmp_path: Path) -> None:
    is_killed = threading.Event()

    def slow(request: StubRequest) -> Fault:
        """Let the first run never come to its end, however late its end is looked for."""
        return Fault("hang") if request.number >= 8 and not is_killed.is_set() else Fault("slow", seconds=0.05)

    with start_stub(lambda body: "{}", slow) as stub:
        child = start(settings(stub), tmp_path, "Number")
        while len(list((tmp_path / "cache").rglob("*.json"))) < 5:
            time.sleep(0.01)
            assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        is_killed.set()
        answered = [json.loads(path.read_text()) for path in (tmp_path / "cache").rglob("*.json")]
        before = stub.asked()
        answers = list(map(open_model(ModelConfig(**settings(stub)), tmp_path).ask, QUESTIONS))
        after = stub.asked()[len(before) :]
    assert 5 <= len(answered) < 12
    assert {answer.outcome for answer in answers} == {"ok"}
    assert len(after) == len(set(after)) == len(QUESTIONS) - len(answered)
    assert sum(answer.from_cache for answer in answers) == len(answered)
    assert len(set(before) & set(after)) <= 2  # what was in flight when it was killed


def test_two_processes_share_budget_and_limits_and_exceed_neither(tmp_path: Path) -> None:
    def slow(request: StubRequest) -> Fault:
        return Fault("slow", seconds=0.03)

    price_file = tmp_path / "prices.json"
    price_file.write_text('{"prices": [{"model": "gpt-4.1", "prompt": 1000, "output": 1000}]}')
    with start_stub(lambda body: "x" * 400, slow) as stub:
        config = settings(stub, budget_money=8.0, in_flight=1, price_file=str(price_file))
        children = [start(config, tmp_path / "work", name) for name in ("a", "b")]
        outcomes = [outcome for child in children for outcome in json.loads(child.communicate(timeout=60)[0])]
    tokens = stub.usage_total.prompt_tokens + stub.usage_total.output_tokens
    assert set(outcomes) == {"ok", "skipped"}
    assert outcomes.count("ok") == len(stub.log)
    assert stub.most_in_flight == 1
    assert 4.0 < tokens / 1000 <= 8.0
    total = summarise_calls(ledger_path(tmp_path / "work")).total
    assert total.prompt_tokens + total.output_tokens == tokens
    assert total.money == pytest.approx(tokens / 1000)


def test_no_key_is_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILM_KEY", "sk-very-secret")
    with start_stub(lambda body: "{}", [Fault(401, message="sk-very-secret is wrong")]) as stub:
        config = ModelConfig(**settings(stub, needs_key=True, api_key_env="FILM_KEY", budget_money=1.0, rpm=100))
        model = open_model(config, tmp_path)
        model.ask(QUESTIONS[0])
        model.ask(QUESTIONS[0])
    assert stub.log[1].headers["authorization"] == "Bearer sk-very-secret"
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 3
    assert not any(b"sk-very-secret" in data for data in written)
    assert "sk-very-secret" not in json.dumps(model.settings_key())


@pytest.mark.parametrize(("kind", "variable"), [("openai", "OPENAI_API_KEY"), ("gemini", "GEMINI_API_KEY")])
def test_a_missing_key_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, variable: str
) -> None:
    pytest.importorskip("google.genai" if kind == "gemini" else "openai", reason=f"the client of {kind} is missing")
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=variable):
        open_model(ModelConfig(kind=kind, model="m"), tmp_path)


def test_gemini_stands_in_the_same_stack(tmp_path: Path) -> None:
    pytest.importorskip("google.genai", reason="google-genai is not installed (extra gemini)")
    with start_stub(lambda body: "{}", [Fault(503, retry_after_seconds=0.01)]) as stub:
        config = ModelConfig(
            kind="gemini",
            model="gemini-2.5-flash",
            base_url=stub.gemini_url,
            needs_key=False,
            rpm=100,
            budget_money=1.0,
        )
        answers = [open_model(config, tmp_path).ask(QUESTIONS[0]) for _ in range(2)]
    assert [answer.from_cache for answer in answers] == [False, True]
    assert len(stub.log) == 2
    assert summarise_calls(ledger_path(tmp_path)).total.money == pytest.approx(
        (0.3 * (stub.usage_total.prompt_tokens - stub.usage_total.cached_tokens)
        + 0.075 * stub.usage_total.cached_tokens + 2.5 * stub.usage_total.output_tokens) / 1e6
    )  # fmt: skip


def test_answers_may_be_kept_elsewhere(tmp_path: Path) -> None:
    with start_stub() as stub:
        config = ModelConfig(**settings(stub))
        open_model(config, tmp_path / "one", cache_dir=tmp_path / "shared").ask(QUESTIONS[0])
        answer = open_model(config, tmp_path / "two", cache_dir=tmp_path / "shared").ask(QUESTIONS[0])
    assert answer.from_cache


def test_a_budget_without_a_price_is_refused(tmp_path: Path) -> None:
    config = ModelConfig(kind="openai", model="unknown-model", needs_key=False, budget_money=1.0)
    with pytest.raises(InputError, match="price of unknown-model"):
        open_model(config, tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "oracle"}, "openai, gemini or transformers"),
        ({"model": ""}, "no model"),
        ({"rpm": 0}, "rpm"),
        ({"tpm": 0}, "tpm"),
        ({"in_flight": 0}, "in_flight"),
        ({"timeout_seconds": 0.0}, "timeout_seconds"),
        ({"max_retries": -1}, "max_retries"),
        ({"kind": "gemini", "batch": True}, "openai only"),
        ({"batch": True, "budget_money": 1.0}, "budget"),
        ({"kind": "transformers", "extra": {"a": 1}}, "extra"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ModelConfig(**({"kind": "openai", "model": "m"} | changes))


def test_importing_the_models_loads_no_client() -> None:
    code = (
        "import sys, animeshooter_hf.dataset_builder.annotate.open_model\n"
        "print([name for name in ('openai', 'google.genai', 'torch', 'transformers') if name in sys.modules])"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "[]"
