"""Who judges: an endpoint that speaks OpenAI's chat completions, or replies that were recorded before.

There is no default endpoint and no default model: nothing is sent anywhere unless you name it. A key is read from the
environment, kept in memory and written nowhere. A model on this machine is `local_judge.LocalJudge`.
"""

import base64
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.grid import SentPicture
from animeshooter_hf.eval.judge.judge_log import read_entries
from animeshooter_hf.eval.judge.question import JudgeQuestion, JudgeReply, Turn
from animeshooter_hf.eval.judge.retry import RETRIED_STATUSES, Clock, Failure, RequestLimit, call_with_retries
from animeshooter_hf.optional import require

__all__ = ["EndpointJudge", "EndpointSettings", "JudgeBackend", "ReplayJudge"]

_FILTER_CODES = ("content_filter", "content_policy_violation", "invalid_prompt")
"""Codes of a 400 that mean a filter refused the question."""

_FATAL_STATUSES = (401, 403, 404, 405)
"""Statuses that every further question would get too: no key, no right, no such model or address."""


class JudgeBackend(Protocol):
    """Anything that answers questions. Safe to call from threads."""

    @property
    def name(self) -> str:
        """Of the model, for signatures and tables."""

    def settings_key(self) -> Mapping[str, Any]:
        """Return what replies depend on beside the question, as JSON values."""

    def ask(self, question: JudgeQuestion) -> JudgeReply:
        """Return the reply; a call that failed is an outcome.

        Raises:
            InputError: If no question can be answered: a wrong key, no such model.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """Where an OpenAI-compatible endpoint is, and how it is asked."""

    model: str
    """Its name there. Its licence and terms are between you and whoever serves it."""

    base_url: str | None = None
    """Address up to and with `/v1`; None is OpenAI's own."""

    api_key_env: str | None = None
    """Environment variable that holds the key; None takes OPENAI_API_KEY for OpenAI's own address and no key for any
    other, so that a key never goes to a server it was not meant for."""

    timeout_seconds: float = 300.0
    """Longest silence of the server."""

    max_retries: int = 6
    """Attempts after the first, on 408, 409, 429, 5xx, timeouts and broken connections."""

    requests_per_minute: int | None = None
    """Most requests per minute, retries included; None is no limit."""

    token_limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What the endpoint calls the limit of a reply; old servers know `max_tokens` only."""

    structured: Literal["none", "json_object", "json_schema"] = "none"
    """How the endpoint is held to the form. Our choice: not at all, which every server understands; the form stands in
    the prompt and every reply is checked."""

    max_failures_in_a_row: int = 8
    """After so many questions in a row that got no reply, the run stops: the server is gone. Our choice."""

    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the request, such as `reasoning_effort`."""

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise InputError("An endpoint needs the name of a model: --model NAME.")
        if self.base_url is not None and not self.base_url.startswith(("http://", "https://")):
            raise InputError(f"base_url must begin with http:// or https://, got {self.base_url!r}.")
        if self.structured not in ("none", "json_object", "json_schema"):
            raise InputError(f"structured must be none, json_object or json_schema, got {self.structured!r}.")
        if not self.timeout_seconds > 0 or self.max_retries < 0 or self.max_failures_in_a_row < 1:
            raise InputError("timeout_seconds and max_failures_in_a_row must be above 0 and max_retries at least 0.")


class EndpointJudge:
    """Asks an endpoint through the `openai` package (extra `mllm`).

    Raises:
        InputError: If the key is not set.
        MissingExtraError: If `openai` is not installed.
    """

    def __init__(self, settings: EndpointSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        """As given."""
        self._clock = clock or Clock()
        self._limit = RequestLimit(settings.requests_per_minute, self._clock)
        self._openai: Any = require("openai", extra="mllm", purpose="Asking an OpenAI-compatible endpoint")
        self._key = _read_key(settings)
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._client = self._openai.OpenAI(
            base_url=settings.base_url or "https://api.openai.com/v1",
            api_key=self._key or "none",
            timeout=settings.timeout_seconds,
            max_retries=0,
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.model

    def settings_key(self) -> Mapping[str, Any]:
        """Return what replies depend on; the address is not in it: a model that moves keeps its replies."""
        settings = self.settings
        return {
            "client": "openai",
            "model": settings.model,
            "structured": settings.structured,
            "extra_body": dict(settings.extra_body),
        }

    def ask(self, question: JudgeQuestion) -> JudgeReply:
        """Return the endpoint's reply; see `JudgeBackend`."""
        body = self._body(question)
        started = time.monotonic()
        found = call_with_retries(
            lambda: self._call(body),
            max_retries=self.settings.max_retries,
            clock=self._clock,
            before_call=self._limit.wait,
        )
        self._count_failure(found)
        reply = JudgeReply(outcome="error", detail=found.detail) if isinstance(found, Failure) else found
        return replace(reply, model=reply.model or self.name, seconds=time.monotonic() - started)

    def _count_failure(self, found: JudgeReply | Failure) -> None:
        with self._lock:
            self._failures_in_a_row = self._failures_in_a_row + 1 if isinstance(found, Failure) else 0
            count = self._failures_in_a_row
        if isinstance(found, Failure) and count >= self.settings.max_failures_in_a_row:
            raise InputError(
                f"{self.name} has not answered {count} questions in a row, the last time because: {found.detail} "
                "Every reply so far is kept; the same command goes on from there."
            )

    def _call(self, body: Mapping[str, Any]) -> JudgeReply | Failure:
        try:
            completion = self._client.chat.completions.create(**body, extra_body=dict(self.settings.extra_body) or None)
            return _read_completion(completion.model_dump() if hasattr(completion, "model_dump") else completion)
        except self._openai.APIStatusError as error:
            return self._refused(error)
        except (self._openai.APIConnectionError, self._openai.APIResponseValidationError) as error:
            return Failure(self._line(error), may_pass=True)
        except ValueError as error:  # status 200, and a body that is no JSON or no text
            return Failure(f"The server's answer cannot be read: {self._line(error)}", may_pass=True)

    def _refused(self, error: Any) -> JudgeReply | Failure:
        line = f"Status {error.status_code}: {self._line(error)}"
        if error.code in _FILTER_CODES:
            return JudgeReply(outcome="blocked", detail=line)
        if error.status_code in _FATAL_STATUSES:
            raise InputError(f"{self.name} cannot be asked. {line}")
        return Failure(line, error.status_code in RETRIED_STATUSES, _retry_after(error.response.headers))

    def _body(self, question: JudgeQuestion) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [_message(turn) for turn in question.turns],
            "seed": question.seed,
            self.settings.token_limit_field: question.max_output_tokens,
        }
        if question.temperature is not None:
            body["temperature"] = question.temperature
        if self.settings.structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        elif self.settings.structured == "json_schema":
            schema = {"name": question.protocol, "schema": dict(question.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _line(self, error: Exception) -> str:
        """Return an error's text as one line, without the key that some servers repeat in it."""
        text = " ".join(str(error).split()) or type(error).__name__
        return (text.replace(self._key, "[key]") if self._key else text)[:300]


class ReplayJudge:
    """Gives replies that were recorded in a log; a question that is not in it fails.

    Args:
        path: A `judge.jsonl`.

    Raises:
        InputError: If there is no such file, it holds no reply, or replies of several judges.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise InputError(f"There is no file {path} to replay.")
        entries = [entry for entry in read_entries(self._path).entries if entry.reply.outcome != "error"]
        if not entries:
            raise InputError(f"{path} holds no replies.")
        settings = {repr(sorted(entry.settings.items())): entry.settings for entry in entries}
        if len(settings) > 1:
            raise InputError(f"{path} holds replies of {len(settings)} judges; keep those of one.")
        self._settings = next(iter(settings.values()))
        self._replies = {entry.key: entry.reply for entry in entries}

    @property
    def name(self) -> str:
        """The recorded model's name."""
        return str(self._settings.get("model", "replay"))

    def settings_key(self) -> Mapping[str, Any]:
        """Return the recorded judge's."""
        return self._settings

    def ask(self, question: JudgeQuestion) -> JudgeReply:
        """Return the recorded reply; see `JudgeBackend`."""
        missing = JudgeReply(outcome="error", detail=f"{self._path.name} has no reply to this question.")
        return self._replies.get(question.key(self._settings), missing)


def _read_key(settings: EndpointSettings) -> str | None:
    name = settings.api_key_env or (None if settings.base_url else "OPENAI_API_KEY")
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise InputError(f"The endpoint's key is read from the environment variable {name}, which is not set.")
    return key


def _message(turn: Turn) -> dict[str, Any]:
    if turn.role == "assistant":
        return {"role": "assistant", "content": "".join(part for part in turn.parts if isinstance(part, str))}
    return {"role": "user", "content": [_content(part) for part in turn.parts]}


def _content(part: str | SentPicture) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    encoded = base64.b64encode(part.png()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}", "detail": "high"}}


def _read_completion(body: Any) -> JudgeReply | Failure:
    """Return the reply that a chat completion holds; a total function of any JSON value."""
    if not isinstance(body, Mapping) or not isinstance(body.get("choices"), list):
        return Failure("The server answered with something else than a chat completion.", may_pass=True)
    choice = _mapping(body["choices"][0] if body["choices"] else None)
    message, usage = _mapping(choice.get("message")), _mapping(body.get("usage"))
    text, refusal = _text(message.get("content")), _text(message.get("refusal"))
    reason = str(choice.get("finish_reason") or "")
    reply = JudgeReply(
        outcome="ok",
        text=text or refusal,
        model=str(body.get("model") or ""),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )
    if refusal or reason.startswith("content_filter"):
        return replace(reply, outcome="blocked", detail="The model refused." if refusal else "A filter stopped it.")
    if reason == "length":
        return replace(reply, outcome="truncated", detail="The reply was cut off at the token limit.")
    return reply


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(content: Any) -> str:
    if isinstance(content, list):  # some servers answer in parts
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks for, if it says them as a number."""
    for name, seconds_per_unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * seconds_per_unit)
        except (KeyError, ValueError):
            continue
    return None
