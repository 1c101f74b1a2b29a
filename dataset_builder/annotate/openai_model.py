"""Any endpoint that speaks OpenAI's chat completions: vLLM, SGLang, Gemini's compatible route, OpenAI itself.

The `openai` package (extra `mllm`) does what it does well: it retries 408, 409, 429, 5xx, timeouts and broken
connections, waits as long as `Retry-After-Ms` or `Retry-After` asks (up to two minutes) and else backs off from half a
second to eight with jitter. We do the rest: its `parse` raises on truncated, filtered and fenced answers and loses
their text, so `create` is used and the outcome is read from the response (`chat_request.py`).
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from animeshooter_hf.dataset_builder.annotate.chat_request import ChatSettings, read_completion
from animeshooter_hf.dataset_builder.annotate.question import Answer, Question
from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require

__all__ = ["OpenAIModel", "read_api_key"]

_FILTER_CODES = ("content_filter", "content_policy_violation", "invalid_prompt")
"""Codes of a 400 that mean a filter refused the question."""


def read_api_key(name: str | None) -> str | None:
    """Return the key that an environment variable holds; None if no name is given.

    Raises:
        InputError: If the variable is not set.
    """
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise InputError(
            f"The endpoint's key is read from the environment variable {name}, which is not set. "
            "Set it, or say that the endpoint needs no key."
        )
    return key


class OpenAIModel:
    """Asks an OpenAI-compatible endpoint.

    Args:
        base_url: Address of the endpoint, up to and with `/v1`; None is OpenAI's own.
        chat: The model and how questions are put to it; a name alone takes the defaults.
        api_key_env: Environment variable that holds the key; None if the server needs none. The key is kept in memory
            only.
        timeout_seconds: Longest silence of the server.
        max_retries: Attempts after the first.
        before_retry: Called before each further attempt; a rate limiter waits here for its turn.

    Raises:
        InputError: If the key is missing.
        MissingExtraError: If `openai` is not installed.
    """

    def __init__(
        self,
        base_url: str | None,
        chat: ChatSettings | str,
        *,
        api_key_env: str | None = "OPENAI_API_KEY",
        timeout_seconds: float = 600.0,
        max_retries: int = 5,
        before_retry: Callable[[], None] | None = None,
    ) -> None:
        self.chat = ChatSettings(model=chat) if isinstance(chat, str) else chat
        self.name = self.chat.model
        self._openai: Any = require("openai", extra="mllm", purpose="Asking an OpenAI-compatible endpoint")
        self._key = read_api_key(api_key_env)
        self._attempts = _Attempts(before_retry)
        hooks = {"request": [self._attempts.on_request], "response": [self._attempts.on_response]}
        timeout = self._openai.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds))
        self._client = self._openai.OpenAI(
            base_url=base_url,
            api_key=self._key or "none",
            timeout=timeout,
            max_retries=max_retries,
            http_client=self._openai.DefaultHttpxClient(event_hooks=hooks, timeout=timeout),
        )

    def settings_key(self) -> Mapping[str, Any]:
        """Return what answers depend on beside the question."""
        return self.chat.settings_key()

    def ask(self, question: Question) -> Answer:
        """Return the endpoint's answer; see `Model`."""
        body = self.chat.body(question)
        extra = {name: body.pop(name) for name in self.chat.extra_body}
        self._attempts.begin()
        started = time.monotonic()
        try:
            completion = self._client.chat.completions.create(**body, extra_body=extra or None)
            answer = read_completion(completion.model_dump() if hasattr(completion, "model_dump") else completion)
            got_answer = answer.outcome != "error"
        except self._openai.APIStatusError as error:
            answer, got_answer = self._refused(error), False
        except (self._openai.APIConnectionError, self._openai.APIResponseValidationError) as error:
            answer, got_answer = Answer(outcome="error", detail=self._line(error)), False
        except ValueError as error:  # status 200, and a body that is no JSON
            detail = f"The server's answer cannot be read: {self._line(error)}"
            answer, got_answer = Answer(outcome="error", detail=detail), False
        return replace(
            answer,
            model=answer.model or self.name,
            seconds=time.monotonic() - started,
            lost_calls=self._attempts.lost(got_answer),
        )

    def _refused(self, error: Any) -> Answer:
        """Return the answer that a status of 4xx or 5xx stands for."""
        outcome: Literal["blocked", "error"] = "blocked" if error.code in _FILTER_CODES else "error"
        return Answer(outcome=outcome, detail=f"Status {error.status_code}: {self._line(error)}")

    def _line(self, error: Exception) -> str:
        """Return an error's text as one line, without the key that some servers repeat in it."""
        text = " ".join(str(error).split()) or type(error).__name__
        return (text.replace(self._key, "[key]") if self._key else text)[:300]


class _Attempts:
    """Counts the attempts of the question that a thread is asking, to know what answers got lost on the way."""

    def __init__(self, before_retry: Callable[[], None] | None) -> None:
        self._before_retry = before_retry
        self._counts = threading.local()

    def begin(self) -> None:
        self._counts.sent = self._counts.refused = 0

    def on_request(self, request: Any) -> None:
        del request
        if self._counts.sent and self._before_retry is not None:
            self._before_retry()
        self._counts.sent += 1

    def on_response(self, response: Any) -> None:
        self._counts.refused += response.status_code >= 400

    def lost(self, got_answer: bool) -> int:
        return int(self._counts.sent - self._counts.refused - got_answer)
