"""Batch files: what the cache lacks is written once, results pour in in any order, and the next run is whole."""

import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from animeshooter_hf.dataset_builder.annotate.accounting import summarise_calls
from animeshooter_hf.dataset_builder.annotate.batch import BatchWriter
from animeshooter_hf.dataset_builder.annotate.chat_request import ChatSettings
from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig, ledger_path, open_model, pour_batch
from animeshooter_hf.dataset_builder.annotate.question import Picture, Question, Text
from animeshooter_hf.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import start_stub

CONFIG = ModelConfig(kind="openai", model="gpt-4.1", needs_key=False, batch=True)
QUESTIONS = [
    Question(name="script", parts=(Text(f"Number {number}?"), Picture(b"jpeg")), schema={"type": "object"})
    for number in range(6)
]


def requests(folder: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted(folder.glob("requests-*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def completion(text: str, reason: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
    return {"model": "gpt-4.1", "choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}


def result(key: str, body: dict[str, Any] | None, status: int = 200, error: Any = None) -> str:
    response = None if body is None else {"status_code": status, "request_id": "r", "body": body}
    return json.dumps({"id": "x", "custom_id": key, "response": response, "error": error})


@pytest.fixture
def written(tmp_path: Path) -> list[str]:
    """The keys of `QUESTIONS`, after a run with batch files."""
    model = open_model(CONFIG, tmp_path)
    answers = [model.ask(question) for question in QUESTIONS]
    assert {answer.outcome for answer in answers} == {"skipped"}
    assert {answer.detail for answer in answers} == {"The question waits for the batch."}
    return [request["custom_id"] for request in requests(tmp_path / "batch")]


def pour(folder: Path, lines: list[str]) -> Any:
    file = folder / "results.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return pour_batch(CONFIG, folder, file)


def test_a_line_is_what_the_client_would_send(tmp_path: Path) -> None:
    model = open_model(CONFIG, tmp_path)
    model.ask(QUESTIONS[0])
    (line,) = requests(tmp_path / "batch")
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert len(line["custom_id"]) == 64
    with start_stub(lambda body: "{}") as stub:
        live = ModelConfig(kind="openai", model="gpt-4.1", needs_key=False, base_url=stub.url)
        open_model(live, tmp_path / "live").ask(QUESTIONS[0])
    assert line["body"] == stub.log[0].body
    assert open_model(live, tmp_path / "live").settings_key() == model.settings_key()


def test_a_question_is_written_once(tmp_path: Path, written: list[str]) -> None:
    model = open_model(CONFIG, tmp_path)
    for question in QUESTIONS:
        model.ask(question)
    assert [request["custom_id"] for request in requests(tmp_path / "batch")] == written
    assert len(set(written)) == len(QUESTIONS)


def test_results_fill_the_cache_and_the_next_run_finds_everything(tmp_path: Path, written: list[str]) -> None:
    lines = [result(key, completion(f'{{"answer": "{key}"}}')) for key in written]
    random.Random(3).shuffle(lines)
    report = pour(tmp_path, lines)
    assert (report.stored, report.failed, report.missing) == ({"ok": 6}, {}, ())
    with start_stub() as stub:
        live = ModelConfig(kind="openai", model="gpt-4.1", needs_key=False, base_url=stub.url)
        answers = [open_model(live, tmp_path).ask(question) for question in QUESTIONS]
    assert not stub.log
    assert [json.loads(answer.text or "")["answer"] for answer in answers] == written
    assert all(answer.from_cache for answer in answers)


def test_results_are_booked_once_at_the_price_of_a_batch(tmp_path: Path, written: list[str]) -> None:
    lines = [result(key, completion("{}")) for key in written]
    pour(tmp_path, lines)
    again = pour(tmp_path, lines)
    total = summarise_calls(ledger_path(tmp_path)).total
    assert again.stored == {}
    assert (total.calls, total.prompt_tokens, total.output_tokens) == (6, 6000, 600)
    assert total.money == pytest.approx(0.5 * (6000 * 2.0 + 600 * 8.0) / 1e6)


def test_errors_truncations_strangers_and_damage_are_told_apart(tmp_path: Path, written: list[str]) -> None:
    lines = [
        "{damaged",
        result(written[0], completion('{"half', "length")),
        result("f" * 64, completion("{}")),
        result(written[1], {"error": {"message": "too long"}}, status=400),
        result(written[2], None, error={"code": "batch_expired", "message": "late"}),
        result(written[3], completion("", "content_filter")),
        result(written[4], {"no": "completion"}),
        '{"no_id": 1}',
        "3",
        result(written[1], completion("{}")),
    ]
    report = pour(tmp_path, lines)
    assert report.stored == {"truncated": 1, "blocked": 1, "ok": 1}
    assert set(report.failed) == {written[2], written[4]}
    assert "batch_expired" in report.failed[written[2]]
    assert (report.num_unknown, report.num_damaged) == (1, 3)
    assert set(report.missing) == {written[2], written[4], written[5]}
    assert open_model(CONFIG, tmp_path).ask(QUESTIONS[0]).text == '{"half'


def test_what_failed_is_written_anew_once_its_file_is_gone(tmp_path: Path, written: list[str]) -> None:
    pour(tmp_path, [result(key, completion("{}")) for key in written[1:]])
    (tmp_path / "batch" / "requests-0001.jsonl").unlink()
    model = open_model(CONFIG, tmp_path)
    assert [model.ask(question).outcome for question in QUESTIONS] == ["skipped"] + ["ok"] * 5
    assert [request["custom_id"] for request in requests(tmp_path / "batch")] == written[:1]
    report = pour(tmp_path, [result(written[0], completion("{}"))])
    assert (report.stored, report.missing) == ({"ok": 1}, ())


@pytest.mark.parametrize("limits", [{"most_lines": 2}, {"most_bytes": 1100}])
def test_files_stay_below_the_providers_limits(tmp_path: Path, limits: dict[str, int]) -> None:
    writer = BatchWriter(ChatSettings(model="m"), tmp_path, **limits)
    for question in QUESTIONS:
        writer.ask(question)
    files = sorted(tmp_path.glob("requests-*.jsonl"))
    assert len(files) == 3
    assert [len(path.read_text().splitlines()) for path in files] == [2, 2, 2]
    assert all(path.stat().st_size <= limits.get("most_bytes", 10**9) for path in files)


def test_a_torn_line_of_a_killed_process_is_cut_off(tmp_path: Path, written: list[str]) -> None:
    for name in ("requests-0001.jsonl", "keys.jsonl"):
        path = tmp_path / "batch" / name
        whole = path.read_bytes()
        path.write_bytes(whole + whole.splitlines(keepends=True)[0][:40])
    extra = Question(name="script", parts=(Text("One more?"),))
    open_model(CONFIG, tmp_path).ask(extra)
    found = [request["custom_id"] for request in requests(tmp_path / "batch")]
    assert found[:-1] == written
    assert len(found) == 7
    assert pour(tmp_path, [result(found[-1], completion("{}"))]).stored == {"ok": 1}


def test_writers_of_several_threads_write_each_question_once(tmp_path: Path) -> None:
    writers = [BatchWriter(ChatSettings(model="m"), tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda writer: [writer.ask(question) for question in QUESTIONS], writers))
        list(pool.map(writers[0].ask, QUESTIONS * 4))
    keys = [request["custom_id"] for request in requests(tmp_path)]
    assert len(keys) == len(set(keys)) == len(QUESTIONS)


def test_results_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file of batch results"):
        pour_batch(CONFIG, tmp_path, tmp_path / "none.jsonl")
