"""The clients of OpenAI's and Gemini's interfaces, against a stub on loopback: every failure has an outcome."""

import base64
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from animeshooter_hf.dataset_builder.annotate.chat_request import ChatSettings, read_completion
from animeshooter_hf.dataset_builder.annotate.constrained import probe_constrained
from animeshooter_hf.dataset_builder.annotate.gemini_model import GeminiModel
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.annotate.question import (
    Answer,
    Clip,
    Model,
    Picture,
    Question,
    Sound,
    Text,
    Usage,
)
from animeshooter_hf.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import AnyFault, Fault, Stub, start_stub

TEXT = '{"shots": [{"scene": "Park"}]}'
SCHEMA = {"type": "object", "properties": {"shots": {"type": "array", "maxItems": 3}}, "required": ["shots"]}
QUESTION = Question(name="script", parts=(Text("What happens?"),), schema=SCHEMA, max_output_tokens=321)
MEDIA = Question(
    name="script", parts=(Text("Look:"), Picture(b"\xff\xd8jpeg"), Sound(b"RIFFwav"), Clip(b"mp4"), Text("Listen."))
)
Ask = Callable[..., tuple[Answer, Stub]]


def openai_model(stub: Stub, **options: Any) -> OpenAIModel:
    return OpenAIModel(stub.url, "film-model", api_key_env=None, **{"timeout_seconds": 5, "max_retries": 2} | options)


def gemini_model(stub: Stub, **options: Any) -> GeminiModel:
    pytest.importorskip("google.genai", reason="google-genai is not installed (extra gemini)")
    address = stub.gemini_url
    settings = {"timeout_seconds": 5, "max_retries": 2} | options
    return GeminiModel("film-model", api_key_env=None, base_url=address, **settings)


MAKERS = {"openai": openai_model, "gemini": gemini_model}


@pytest.fixture(params=sorted(MAKERS))
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Ask one question of either client; returns the answer and the stub."""
    stubs = []

    def run(faults: Sequence[AnyFault] = (), question: Question = QUESTION, **options: Any) -> tuple[Answer, Stub]:
        stub = start_stub(lambda body: TEXT, faults)
        stubs.append(stub)
        return MAKERS[request.param](stub, **options).ask(question), stub

    yield run
    for stub in stubs:
        stub.close()


def test_a_whole_answer_is_ok_and_tells_its_tokens_and_its_model(ask: Ask) -> None:
    answer, stub = ask()
    assert (answer.outcome, answer.text, answer.model) == ("ok", TEXT, "film-model-stub")
    assert answer.usage == stub.usage_total
    assert answer.usage.cached_tokens > 0
    assert (answer.from_cache, answer.lost_calls) == (False, 0)
    assert answer.seconds > 0


def test_a_failure_that_passes_is_retried(ask: Ask) -> None:
    faults = [Fault(status, retry_after_seconds=0.02) for status in (408, 409, 429, 500, 502, 503)]
    answer, stub = ask(faults, max_retries=6)
    assert (answer.outcome, len(stub.log), answer.lost_calls) == ("ok", 7, 0)
    assert answer.usage == stub.usage_total


def test_a_retry_waits_as_long_as_the_server_asks(ask: Ask) -> None:
    answer, stub = ask([Fault(429, retry_after_seconds=0.7, in_seconds=True)])
    assert answer.outcome == "ok"
    assert stub.log[1].seconds - stub.log[0].seconds >= 0.7


def test_a_retry_without_a_hint_backs_off(ask: Ask) -> None:
    answer, stub = ask([503])
    assert answer.outcome == "ok"
    assert stub.log[1].seconds - stub.log[0].seconds > 0.3


def test_a_failure_that_stays_is_an_error_after_the_retries(ask: Ask) -> None:
    answer, stub = ask([Fault(503, retry_after_seconds=0.01)] * 3)
    assert (answer.outcome, answer.text, len(stub.log)) == ("error", None, 3)
    assert "503" in answer.detail
    assert "\n" not in answer.detail


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_failure_that_does_not_pass_is_not_retried(kind: str) -> None:
    statuses = [400, 401, 403, 404, 422]
    with start_stub(lambda body: TEXT, statuses) as stub:
        model = MAKERS[kind](stub)
        answers = [model.ask(QUESTION) for _ in statuses]
    assert len(stub.log) == len(statuses)
    for status, answer in zip(statuses, answers, strict=True):
        assert (answer.outcome, answer.text, answer.usage, answer.lost_calls) == ("error", None, Usage(), 0)
        assert str(status) in answer.detail


def test_a_broken_connection_is_retried_and_counted_as_lost(ask: Ask) -> None:
    answer, stub = ask(["cut", "drop"])
    assert (answer.outcome, len(stub.log), answer.lost_calls) == ("ok", 3, 2)
    assert answer.usage == stub.usage_total


def test_an_endpoint_that_hangs_is_an_error(ask: Ask) -> None:
    answer, stub = ask(["hang"], timeout_seconds=0.1, max_retries=0)
    assert (answer.outcome, answer.lost_calls, len(stub.log)) == ("error", 1, 1)


def test_an_endpoint_that_hung_once_is_asked_again(ask: Ask) -> None:
    answer, stub = ask(["hang"], timeout_seconds=1)
    assert (answer.outcome, answer.lost_calls, len(stub.log)) == ("ok", 1, 2)


def test_a_slow_answer_is_waited_for(ask: Ask) -> None:
    answer, _ = ask([Fault("slow", seconds=0.2)])
    assert answer.outcome == "ok"
    assert answer.seconds >= 0.2


def test_an_endpoint_that_is_not_there_is_an_error() -> None:
    with start_stub() as stub:
        address = stub.url
    model = OpenAIModel(address, "film-model", api_key_env=None, max_retries=0)
    assert model.ask(QUESTION).outcome == "error"


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_an_answer_that_is_not_whole_has_its_outcome_and_keeps_its_text(kind: str) -> None:
    expected = {
        "truncate": ("truncated", TEXT[: len(TEXT) // 2]),
        "fence": ("ok", f"Here is the JSON:\n```json\n{TEXT}\n```\n"),
        "filter": ("blocked", None),
        "empty": ("invalid", None),
        "refuse": ("blocked", "I cannot help with that." if kind == "openai" else None),
        "blank": ("invalid", "" if kind == "openai" else None),
    }
    with start_stub(lambda body: TEXT, list(expected)) as stub:
        model = MAKERS[kind](stub)
        answers = {fault: model.ask(QUESTION) for fault in expected}
    assert {fault: (answer.outcome, answer.text) for fault, answer in answers.items()} == expected
    assert all(bool(answer.detail) == (answer.outcome != "ok") for answer in answers.values())
    assert sum(answer.usage.prompt_tokens for answer in answers.values()) == stub.usage_total.prompt_tokens
    assert len(stub.log) == len(expected)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_body_that_is_no_answer_is_an_error(kind: str) -> None:
    with start_stub(lambda body: TEXT, ["not_json", "html"]) as stub:
        model = MAKERS[kind](stub)
        for _ in range(2):
            answer = model.ask(QUESTION)
            assert (answer.outcome, answer.usage, answer.lost_calls) == ("error", Usage(), 1)
    assert len(stub.log) == 2


def test_a_policy_error_of_openai_is_blocked() -> None:
    with start_stub(lambda body: TEXT, [Fault(400, code="content_filter")]) as stub:
        assert openai_model(stub).ask(QUESTION).outcome == "blocked"


def test_openai_gets_all_parts_in_order_and_untouched() -> None:
    with start_stub(lambda body: TEXT) as stub:
        openai_model(stub).ask(MEDIA)
    sent = stub.log[0].body["messages"][0]["content"]
    assert [part["type"] for part in sent] == ["text", "image_url", "input_audio", "video_url", "text"]
    assert base64.b64decode(sent[1]["image_url"]["url"].removeprefix("data:image/jpeg;base64,")) == b"\xff\xd8jpeg"
    assert sent[2]["input_audio"] == {"data": base64.b64encode(b"RIFFwav").decode(), "format": "wav"}
    assert base64.b64decode(sent[3]["video_url"]["url"].removeprefix("data:video/mp4;base64,")) == b"mp4"
    assert "response_format" not in stub.log[0].body


def test_openai_gets_schema_limit_and_settings() -> None:
    chat = ChatSettings(model="m", temperature=0.5, seed=7, extra_body={"reasoning_effort": "low", "top_k": 3})
    with start_stub(lambda body: TEXT) as stub:
        OpenAIModel(stub.url, chat, api_key_env=None).ask(QUESTION)
    body = stub.log[0].body
    assert body == json.loads(json.dumps(chat.body(QUESTION)))
    assert body["response_format"]["json_schema"] == {"name": "script", "schema": SCHEMA, "strict": True}
    assert (body["max_completion_tokens"], body["temperature"], body["seed"], body["top_k"]) == (321, 0.5, 7, 3)


def test_settings_that_are_none_are_not_sent() -> None:
    chat = ChatSettings(model="m", temperature=None, seed=None, token_limit_field="max_tokens")
    assert set(chat.body(QUESTION)) == {"model", "messages", "max_tokens", "response_format"}


def test_gemini_gets_all_parts_in_order_with_schema_and_settings() -> None:
    with start_stub(lambda body: TEXT) as stub:
        gemini_model(stub, temperature=0.5, seed=7).ask(MEDIA)
        gemini_model(stub).ask(QUESTION)
    with_media, with_schema = (request.body for request in stub.log)
    parts = with_media["contents"][0]["parts"]
    kinds = [part["inlineData"]["mime_type"] if "inlineData" in part else part["text"] for part in parts]
    assert kinds == ["Look:", "image/jpeg", "audio/wav", "video/mp4", "Listen."]
    assert base64.urlsafe_b64decode(parts[1]["inlineData"]["data"]) == b"\xff\xd8jpeg"
    assert (with_media["generationConfig"]["temperature"], with_media["generationConfig"]["seed"]) == (0.5, 7)
    assert with_schema["generationConfig"]["responseJsonSchema"] == SCHEMA
    assert with_schema["generationConfig"]["maxOutputTokens"] == 321


def test_gemini_waits_as_long_as_google_says_in_the_body() -> None:
    with start_stub(lambda body: TEXT, [Fault(429, retry_info_seconds=0.7)]) as stub:
        assert gemini_model(stub).ask(QUESTION).outcome == "ok"
    assert stub.log[1].seconds - stub.log[0].seconds >= 0.7


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_server_that_waits_too_long_is_not_waited_for(kind: str) -> None:
    with start_stub(lambda body: TEXT, [Fault(429, retry_after_seconds=500, in_seconds=True)]) as stub:
        answer = MAKERS[kind](stub).ask(QUESTION)
    assert (answer.outcome, len(stub.log)) == ("error", 1)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_limiter_is_asked_before_each_retry(kind: str) -> None:
    waits: list[int] = []
    with start_stub(lambda body: TEXT, [Fault(503, retry_after_seconds=0.01)] * 2) as stub:
        model = MAKERS[kind](stub, before_retry=lambda: waits.append(len(stub.log)))
        model.ask(QUESTION)
        model.ask(QUESTION)
    assert waits == [1, 2]


def test_a_missing_key_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(InputError, match="NO_SUCH_KEY"):
        OpenAIModel(None, "m", api_key_env="NO_SUCH_KEY")
    pytest.importorskip("google.genai", reason="google-genai is not installed (extra gemini)")
    with pytest.raises(InputError, match="NO_SUCH_KEY"):
        GeminiModel("m", api_key_env="NO_SUCH_KEY")


def test_a_key_is_sent_and_stands_in_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILM_KEY", "sk-secret")
    faults = [Fault(401, message="the key sk-secret is wrong")]
    with start_stub(lambda body: TEXT, faults) as stub:
        answer = OpenAIModel(stub.url, "m", api_key_env="FILM_KEY").ask(QUESTION)
    assert stub.log[0].headers["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in answer.detail
    assert "[key]" in answer.detail


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_probe_tells_whether_a_server_holds_to_the_schema(kind: str) -> None:
    def obedient(body: dict[str, Any]) -> str:
        schema = body["response_format"]["json_schema"]["schema"] if "messages" in body else (
            body["generationConfig"]["responseJsonSchema"]
        )  # fmt: skip
        return json.dumps({"colour": schema["properties"]["colour"]["enum"][0]})

    def probe(answer: Callable[[dict[str, Any]], str], faults: Sequence[AnyFault] = ()) -> bool | None:
        with start_stub(answer, faults) as stub:
            return probe_constrained(MAKERS[kind](stub, max_retries=0))

    assert probe(obedient) is True
    assert probe(lambda body: '{"colour": "blue"}') is False
    assert probe(lambda body: "Blue, of course.") is False
    assert probe(obedient, [500]) is None


@pytest.mark.parametrize(
    "body",
    [None, [], "text", 3, {}, {"choices": None}, {"choices": "x"}, {"error": {"message": "x"}}],
)
def test_what_is_no_completion_is_an_error(body: Any) -> None:
    assert read_completion(body).outcome == "error"


@pytest.mark.parametrize(
    "choice",
    [None, {}, {"message": None}, {"message": {"content": 3}}, {"message": {"content": ""}, "finish_reason": "stop"}],
)
def test_a_choice_without_text_is_invalid(choice: Any) -> None:
    assert read_completion({"choices": [choice], "usage": {"prompt_tokens": "x"}}).outcome == "invalid"


def test_silent_thoughts_count_as_output() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40}
    message = {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    answer = read_completion({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})
    assert (answer.text, answer.usage) == ("ab", Usage(10, 0, 30))


def test_clients_name_their_settings_but_not_their_address() -> None:
    models: list[Model] = []
    with start_stub() as first, start_stub() as second:
        models += [openai_model(first), openai_model(second)]
    assert models[0].settings_key() == models[1].settings_key()
    assert "127.0.0.1" not in json.dumps(models[0].settings_key())
