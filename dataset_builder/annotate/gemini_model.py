"""Gemini through Google's own SDK (`google-genai`, extra `gemini`): structured output, sound and video first-hand.

The SDK's retries know no Retry-After and no broken connections, so they stay off and ours are used (`retry.py`); in its
place Google sends a `RetryInfo` in the error's body, which is honoured too.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from animeshooter_hf.dataset_builder.annotate.openai_model import read_api_key
from animeshooter_hf.dataset_builder.annotate.question import (
    Answer,
    Outcome,
    Part,
    Picture,
    Question,
    Sound,
    Text,
    Usage,
)
from animeshooter_hf.dataset_builder.annotate.retry import RETRIED_STATUSES, Failure, call_with_retries
from animeshooter_hf.optional import require

__all__ = ["GeminiModel"]

_BLOCKED = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"}
    | {"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"}
)
"""Finish reasons of a filter."""


class GeminiModel:
    """Asks Gemini.

    Args:
        model: Google's name of the model.
        api_key_env: Environment variable that holds the key; None if the server needs none.
        base_url: Address of another server that speaks the same interface.
        temperature: Sampling temperature. Our choice: 0.
        seed: Of sampling.
        extra_config: More fields of the SDK's `GenerateContentConfig`, such as `media_resolution`, `thinking_config`.
        timeout_seconds: Longest silence of the server.
        max_retries: Attempts after the first.
        before_retry: Called before each further attempt; a rate limiter waits here for its turn.

    Raises:
        InputError: If the key is missing.
        MissingExtraError: If `google-genai` is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key_env: str | None = "GEMINI_API_KEY",
        base_url: str | None = None,
        temperature: float | None = 0.0,
        seed: int | None = 0,
        extra_config: Mapping[str, Any] | None = None,
        timeout_seconds: float = 600.0,
        max_retries: int = 5,
        before_retry: Callable[[], None] | None = None,
    ) -> None:
        self.name = model
        genai = require("google.genai", extra="gemini", purpose="Asking Gemini")
        self._types: Any = import_module("google.genai.types")
        self._errors: Any = import_module("google.genai.errors")
        self._transport_errors = _transport_errors()
        self._key = read_api_key(api_key_env)
        self._settings = {"temperature": temperature, "seed": seed, **dict(extra_config or {})}
        self._max_retries = max_retries
        self._before_retry = before_retry
        options = self._types.HttpOptions(base_url=base_url, timeout=max(1, round(1000 * timeout_seconds)))
        self._client = genai.Client(api_key=self._key or "none", vertexai=False, http_options=options)

    def settings_key(self) -> Mapping[str, Any]:
        """Return what answers depend on beside the question."""
        return {"client": "gemini", "model": self.name, **self._settings}

    def ask(self, question: Question) -> Answer:
        """Return Gemini's answer; see `Model`."""
        parts = [self._part(part) for part in question.parts]
        config = self._config(question)
        lost: list[Exception] = []
        started = time.monotonic()
        try:
            response = call_with_retries(
                lambda: self._client.models.generate_content(model=self.name, contents=parts, config=config),
                lambda error: self._classify(error, lost),
                max_retries=self._max_retries,
                before_retry=self._before_retry,
            )
            answer = _read(response)
        except (self._errors.APIError, ValueError, *self._transport_errors) as error:
            answer = Answer(outcome="error", detail=self._line(error))
        return replace(
            answer,
            model=answer.model or self.name,
            seconds=time.monotonic() - started,
            lost_calls=len(lost),
        )

    def _config(self, question: Question) -> Any:
        fields = {name: value for name, value in self._settings.items() if value is not None}
        if question.schema is not None:
            fields |= {"response_mime_type": "application/json", "response_json_schema": dict(question.schema)}
        return self._types.GenerateContentConfig(max_output_tokens=question.max_output_tokens, **fields)

    def _part(self, part: Part) -> Any:
        if isinstance(part, Text):
            return self._types.Part.from_text(text=part.text)
        if isinstance(part, Picture):
            return self._types.Part.from_bytes(data=part.jpeg, mime_type="image/jpeg")
        if isinstance(part, Sound):
            return self._types.Part.from_bytes(data=part.wav, mime_type="audio/wav")
        return self._types.Part.from_bytes(data=part.mp4, mime_type="video/mp4")

    def _classify(self, error: Exception, lost: list[Exception]) -> Failure | None:
        """Tell whether a failure may pass; note it if Gemini may have answered, but the answer got lost."""
        if isinstance(error, self._errors.APIError):
            return Failure(error.code in RETRIED_STATUSES, _retry_after_seconds(error))
        if isinstance(error, self._transport_errors):
            lost.append(error)
            return Failure(True)
        if isinstance(error, ValueError):  # status 200, and a body that is no JSON
            lost.append(error)
            return Failure(False)
        return None

    def _line(self, error: Exception) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        return (text.replace(self._key, "[key]") if self._key else text)[:300]


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return what broken connections and timeouts raise; the SDK uses whichever of the two packages there is."""
    return tuple(import_module(name).TransportError for name in ("httpx", "httpx2") if find_spec(name) is not None)


def _retry_after_seconds(error: Any) -> float | None:
    """Return how long the server asks to wait, from the headers or from Google's RetryInfo."""
    headers = getattr(error.response, "headers", None) or {}
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
    found = re.search(r"""['"]retryDelay['"]: ['"]([0-9.]+)s['"]""", str(error.details))
    return float(found[1]) if found else None


def _read(response: Any) -> Answer:
    """Return the answer that a response holds. Thoughts are no part of the text, but their tokens are output."""
    candidates = response.candidates or []
    candidate = candidates[0] if candidates else None
    content = candidate.content if candidate is not None else None
    parts = (content.parts if content is not None else None) or []
    text = "".join(part.text for part in parts if part.text and not part.thought) or None
    outcome, detail = _judge(response.prompt_feedback, candidate, text)
    return Answer(outcome=outcome, text=text, detail=detail, model=response.model_version or "", usage=_usage(response))


def _judge(feedback: Any, candidate: Any, text: str | None) -> tuple[Outcome, str]:
    if feedback is not None and feedback.block_reason is not None:
        return "blocked", f"The question was blocked ({_word(feedback.block_reason)})."
    if candidate is None:
        return "invalid", "The answer has no candidates."
    reason = _word(candidate.finish_reason)
    if reason in _BLOCKED:
        return "blocked", f"The answer was blocked ({reason})."
    if reason == "MAX_TOKENS":
        return "truncated", "The answer was cut off at the token limit."
    if text is None or not text.strip():
        return "invalid", f"The answer is empty (finish reason {reason})."
    if reason not in ("", "STOP", "FINISH_REASON_UNSPECIFIED"):
        return "invalid", f"The answer ended for an unknown reason ({reason})."
    return "ok", ""


def _word(value: Any) -> str:
    return "" if value is None else str(getattr(value, "value", value))


def _usage(response: Any) -> Usage:
    usage = response.usage_metadata
    if usage is None:
        return Usage()
    written = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    return Usage(usage.prompt_token_count or 0, usage.cached_content_token_count or 0, written)
