"""A question as a request of OpenAI's chat completions, and the answer read from the response's JSON.

The live client and the batch files share both, so that an answer from a batch is the answer that the client would have
got, under the same cache key.
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

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

__all__ = ["ChatSettings", "read_completion"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatSettings:
    """How questions are put to a chat model."""

    model: str
    """The server's name of the model."""

    temperature: float | None = 0.0
    """Sampling temperature; None leaves it to the server (some models take no other). Our choice: 0."""

    seed: int | None = 0
    """Seed of sampling, where the server honours it; None sends none."""

    token_limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What the server calls the limit of an answer; old servers know `max_tokens` only."""

    strict_schema: bool = True
    """Ask for strict adherence to the schema. OpenAI refuses schemas with optional fields then."""

    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the request, such as `reasoning_effort` or vLLM's `mm_processor_kwargs`."""

    def settings_key(self) -> dict[str, Any]:
        """Return what answers depend on. The server's address is not in it: a model that moves keeps its answers."""
        return {"client": "openai", **asdict(self), "extra_body": dict(self.extra_body)}

    def body(self, question: Question) -> dict[str, Any]:
        """Return the request, as JSON values."""
        content = [_content(part) for part in question.parts]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            self.token_limit_field: question.max_output_tokens,
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.seed is not None:
            body["seed"] = self.seed
        if question.schema is not None:
            schema = {"name": question.name, "schema": dict(question.schema), "strict": self.strict_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body | dict(self.extra_body)


def _content(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Picture):
        return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{_base64(part.jpeg)}"}}
    if isinstance(part, Sound):
        return {"type": "input_audio", "input_audio": {"data": _base64(part.wav), "format": "wav"}}
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{_base64(part.mp4)}"}}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def read_completion(body: Any) -> Answer:
    """Return the answer that a chat completion holds; a total function of any JSON value.

    Whatever text there is, is kept. `finish_reason` length makes it `truncated`; content_filter or a refusal makes it
    `blocked`; no choice or no text is `invalid`; what is no chat completion at all is an `error`.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("choices"), list):
        return Answer(outcome="error", detail="The server answered with something else than a chat completion.")
    choice = body["choices"][0] if body["choices"] and isinstance(body["choices"][0], Mapping) else {}
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    text, refusal = _text(message.get("content")), _text(message.get("refusal"))
    outcome, detail = _judge(bool(choice), choice.get("finish_reason"), text, refusal)
    return Answer(
        outcome=outcome,
        text=text if text else refusal or text,
        detail=detail,
        model=str(body.get("model") or ""),
        usage=_usage(body.get("usage")),
    )


def _judge(has_choice: bool, reason: Any, text: str | None, refusal: str | None) -> tuple[Outcome, str]:
    if not has_choice:
        return "invalid", "The answer has no choices."
    if str(reason).startswith("content_filter"):
        return "blocked", f"The answer was filtered ({reason})."
    if refusal:
        return "blocked", "The model refused."
    if reason == "length":
        return "truncated", "The answer was cut off at the token limit."
    if not text or not text.strip():
        return "invalid", f"The answer is empty (finish reason {reason})."
    if reason not in (None, "stop", "eos"):
        return "invalid", f"The answer ended for an unknown reason ({reason})."
    return "ok", ""


def _text(content: Any) -> str | None:
    if isinstance(content, list):  # some servers answer in parts
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else None


def _usage(usage: Any) -> Usage:
    """Return the tokens; what a server thinks in silence is in its total only, and is output."""
    if not isinstance(usage, Mapping):
        return Usage()
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else 0
    prompt = _count(usage.get("prompt_tokens"))
    written = max(_count(usage.get("completion_tokens")), _count(usage.get("total_tokens")) - prompt)
    return Usage(prompt, cached, written)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
