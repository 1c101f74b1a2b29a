"""Answers are kept by what was asked: a re-run asks nothing, damage is repaired, failures are asked again."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from animeshooter_hf.dataset_builder.annotate.answer_store import AnswerStore, CachedModel
from animeshooter_hf.dataset_builder.annotate.chat_request import ChatSettings
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.annotate.question import (
    Answer,
    Clip,
    Picture,
    Question,
    Sound,
    Text,
    Usage,
    cache_key,
)

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import Stub, start_stub

QUESTION = Question(name="script", parts=(Text("What?"), Picture(b"jpeg")), schema={"type": "object"})
KEY = "ab" * 32
KEPT = Answer(outcome="truncated", text="{", detail="cut", model="m", usage=Usage(3, 2, 1), seconds=0.5, lost_calls=1)


def cached(stub: Stub, folder: Path | str, **settings: Any) -> CachedModel:
    chat = ChatSettings(model="m", **settings)
    return CachedModel(OpenAIModel(stub.url, chat, api_key_env=None, max_retries=0), folder)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_question_is_asked_once(tmp_path: Path) -> None:
    with start_stub(lambda body: '{"a": 1}') as stub:
        first = cached(stub, tmp_path).ask(QUESTION)
        second = cached(stub, tmp_path).ask(QUESTION)
    assert len(stub.log) == 1
    assert second == replace(first, from_cache=True)
    assert not first.from_cache


def test_an_answer_lies_where_its_key_says(tmp_path: Path) -> None:
    with start_stub() as stub:
        model = cached(stub, tmp_path)
        model.ask(QUESTION)
    key = cache_key(QUESTION, model.settings_key())
    assert files(tmp_path) == [tmp_path / key[:2] / key[2:4] / f"{key}.json"]
    kept = json.loads(files(tmp_path)[0].read_text())
    assert (kept["key"], kept["question"]) == (key, "script")


@pytest.mark.parametrize(
    "other",
    [
        replace(QUESTION, name="verify"),
        replace(QUESTION, attempt=1),
        replace(QUESTION, schema=None),
        replace(QUESTION, max_output_tokens=1),
        replace(QUESTION, prompt_hash="x"),
        replace(QUESTION, parts=(Text("What?"), Picture(b"jpeG"))),
        replace(QUESTION, parts=(Text("What?"), Sound(b"jpeg"))),
        replace(QUESTION, parts=(Text("What?"), Clip(b"jpeg"))),
        replace(QUESTION, parts=(Picture(b"jpeg"), Text("What?"))),
    ],
)
def test_whatever_is_asked_otherwise_is_another_question(other: Question) -> None:
    assert cache_key(other, {}) != cache_key(QUESTION, {})


def test_other_settings_are_asked_again(tmp_path: Path) -> None:
    with start_stub() as stub:
        cached(stub, tmp_path).ask(QUESTION)
        cached(stub, tmp_path, seed=1).ask(QUESTION)
        cached(stub, tmp_path, seed=1).ask(QUESTION)
    assert len(stub.log) == 2


@pytest.mark.parametrize("fault", ["truncate", "filter", "empty", "fence"])
def test_what_the_model_said_is_kept(tmp_path: Path, fault: str) -> None:
    with start_stub(lambda body: '{"a": 1}', [fault]) as stub:
        first = cached(stub, tmp_path).ask(QUESTION)
        assert cached(stub, tmp_path).ask(QUESTION) == replace(first, from_cache=True)
    assert len(stub.log) == 1


@pytest.mark.parametrize("fault", [500, "cut", "not_json"])
def test_what_failed_is_asked_again(tmp_path: Path, fault: str | int) -> None:
    with start_stub(lambda body: '{"a": 1}', [fault]) as stub:
        assert cached(stub, tmp_path).ask(QUESTION).outcome == "error"
        assert not files(tmp_path)
        assert cached(stub, tmp_path).ask(QUESTION).outcome == "ok"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"version": 1}', None])
def test_a_damaged_answer_is_asked_again_and_replaced(tmp_path: Path, damage: bytes | None) -> None:
    with start_stub(lambda body: '{"a": 1}') as stub:
        cached(stub, tmp_path).ask(QUESTION)
        (path,) = files(tmp_path)
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"a\\", b"b\\") if damage is None else damage)
        assert path.read_bytes() != whole
        assert cached(stub, tmp_path).ask(QUESTION).text == '{"a": 1}'
        assert len(stub.log) == 2
        cached(stub, tmp_path).ask(QUESTION)
    assert len(stub.log) == 2


def test_an_answer_comes_back_as_it_was() -> None:
    store = AnswerStore("memory://answers-of-a-test")
    store.save(KEY, "script", KEPT)
    assert store.load(KEY) == replace(KEPT, from_cache=True)
    assert store.load("cd" * 32) is None


def test_answers_may_lie_at_any_address(tmp_path: Path) -> None:
    with start_stub() as stub:
        cached(stub, "memory://cache-of-a-test").ask(QUESTION)
        cached(stub, "memory://cache-of-a-test").ask(QUESTION)
        cached(stub, f"file://{tmp_path}").ask(QUESTION)
    assert len(stub.log) == 2
    assert len(fsspec.filesystem("memory").find("/cache-of-a-test")) == len(files(tmp_path)) == 1


WRITE_MANY = """
import sys
from animeshooter_hf.dataset_builder.annotate.answer_store import AnswerStore
from animeshooter_hf.dataset_builder.annotate.question import Answer
store = AnswerStore(sys.argv[1])
for _ in range(100):
    store.save(sys.argv[2], "script", Answer(outcome="ok", text=sys.argv[3]))
"""


def test_readers_never_see_half_an_answer_while_processes_write(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.save(KEY, "script", KEPT)
    texts = ["a" * 50_000, "b" * 70_000]
    workers = [subprocess.Popen([sys.executable, "-c", WRITE_MANY, str(tmp_path), KEY, text]) for text in texts]
    seen = set()
    while any(worker.poll() is None for worker in workers):
        answer = store.load(KEY)
        assert answer is not None
        seen.add((answer.text or "")[:1])
    assert [worker.wait() for worker in workers] == [0, 0]
    assert seen <= {"{", "a", "b"}
    assert len(files(tmp_path)) == 1


def test_threads_share_a_cache(tmp_path: Path) -> None:
    questions = [replace(QUESTION, parts=(Text(f"Number {number}?"),)) for number in range(8)]
    with start_stub(lambda body: "{}") as stub, ThreadPoolExecutor(4) as pool:
        model = cached(stub, tmp_path)
        first = list(pool.map(model.ask, questions))
        second = list(pool.map(model.ask, questions))
    assert len(stub.log) == 8
    assert second == [replace(answer, from_cache=True) for answer in first]
