"""Who writes: an endpoint that speaks OpenAI's chat completions, a model on this machine, or any function.

Each gets a question and returns text; what the text is worth is decided elsewhere (`script_schema.py`). Nothing is
asked of anybody unless a writer was named: there is no default endpoint and no default model.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.checkpoint import missing_weights
from animeshooter_hf.optional import require

__all__ = ["CallableWriter", "EndpointSettings", "EndpointWriter", "LocalWriter", "ScriptAnswer", "ScriptQuestion",
           "ScriptWriter", "as_writer"]  # fmt: skip

logger = logging.getLogger(__name__)

_SCHEMA_WORDS = ("response_format", "json_schema", "json_object", "schema", "guided", "structured")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptQuestion:
    """What a writer is asked."""

    prompt: str
    """The whole text; a repair repeats it with the faults."""

    schema: Mapping[str, Any]
    """JSON schema of the answer, for those who can be held to it."""

    seed: int
    """Of sampling, for those who sample."""

    temperature: float
    """0 is greedy."""

    max_output_tokens: int
    """Most tokens of the answer."""


@dataclass(frozen=True, slots=True)
class ScriptAnswer:
    """What a writer said."""

    text: str
    """As it came."""

    is_whole: bool = True
    """False if it was cut off at the limit of tokens."""


@runtime_checkable
class ScriptWriter(Protocol):
    """Answers a question with text."""

    @property
    def name(self) -> str:
        """Who it is, for messages."""

    def answer(self, question: ScriptQuestion) -> ScriptAnswer:
        """Return the answer.

        Raises:
            InputError: If there is none: no connection, a refusal, a model that cannot run.
        """


class CallableWriter:
    """Any function from a prompt to a text."""

    def __init__(self, function: Callable[[str], str], name: str = "the function") -> None:
        if not callable(function):
            raise InputError(f"A writer must be callable, got {type(function).__name__}.")
        self._function = function
        self.name = name
        """For messages."""

    def answer(self, question: ScriptQuestion) -> ScriptAnswer:
        """Return what the function returns."""
        text = self._function(question.prompt)
        if not isinstance(text, str):
            raise InputError(f"A writer must return a text, got {type(text).__name__}.")
        return ScriptAnswer(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """Where an OpenAI-compatible endpoint is, and how it is asked."""

    model: str
    """Its name there. Its licence and terms are between you and whoever serves it."""

    base_url: str | None = None
    """Address up to and with `/v1`; None is OpenAI's own."""

    api_key_env: str | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; None if the server needs none."""

    timeout_seconds: float = 600.0
    """Longest silence of the server."""

    max_retries: int = 5
    """Attempts after the first, on 408, 409, 429, 5xx and broken connections."""

    token_limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the limit of tokens; OpenAI's reasoning models know only the longer name."""

    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How the endpoint is held to the form. If it says that it cannot, it is asked without, with a warning."""

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise InputError("An endpoint needs the name of a model.")
        if self.structured not in ("json_schema", "json_object", "none"):
            raise InputError(f"structured must be json_schema, json_object or none, got {self.structured!r}.")
        if self.base_url is not None and not self.base_url.startswith(("http://", "https://")):
            raise InputError(f"base_url must begin with http:// or https://, got {self.base_url!r}.")
        if self.timeout_seconds <= 0 or self.max_retries < 0:
            raise InputError("timeout_seconds must be positive and max_retries not negative.")


class EndpointWriter:
    """Asks an endpoint through the `openai` package (extra `mllm`), which retries what may pass.

    Raises:
        InputError: If the key is not set.
        MissingExtraError: If `openai` is not installed.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        """As given."""
        self._openai: Any = require("openai", extra="mllm", purpose="Asking an OpenAI-compatible endpoint")
        self._key = _read_key(settings.api_key_env)
        self._client = self._openai.OpenAI(
            base_url=settings.base_url,
            api_key=self._key or "none",
            timeout=settings.timeout_seconds,
            max_retries=settings.max_retries,
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.model

    def answer(self, question: ScriptQuestion) -> ScriptAnswer:
        """Return the endpoint's answer."""
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [{"role": "user", "content": question.prompt}],
            "temperature": question.temperature,
            "seed": question.seed,
            self.settings.token_limit_name: question.max_output_tokens,
        }
        held = self._response_format(question)
        try:
            completion = self._create(body | held)
        except self._openai.BadRequestError as error:
            if not held or not any(word in str(error).lower() for word in _SCHEMA_WORDS):
                raise InputError(self._failed(error)) from error
            logger.warning("%s takes no %s; it is asked without.", self.name, self.settings.structured)
            completion = self._create(body)
        return self._read(completion)

    def _create(self, body: Mapping[str, Any]) -> Any:
        try:
            return self._client.chat.completions.create(**body)
        except self._openai.BadRequestError:
            raise
        except (self._openai.APIError, ValueError) as error:  # ValueError: status 200, and a body that is no JSON
            raise InputError(self._failed(error)) from error

    def _read(self, completion: Any) -> ScriptAnswer:
        choices: Any = getattr(completion, "choices", None) or [None]
        message = getattr(choices[0], "message", None)
        if message is None:
            raise InputError(f"{self.name} gave an answer without choices.")
        reason = getattr(choices[0], "finish_reason", None)
        if getattr(message, "refusal", None):
            raise InputError(f"{self.name} refuses to write this: {_line(message.refusal)}")
        if reason == "content_filter":
            raise InputError(f"A filter of {self.name} stopped the answer.")
        return ScriptAnswer(message.content or "", is_whole=reason != "length")

    def _response_format(self, question: ScriptQuestion) -> dict[str, Any]:
        if self.settings.structured == "none":
            return {}
        if self.settings.structured == "json_object":
            return {"response_format": {"type": "json_object"}}
        schema = {"name": "story", "schema": dict(question.schema), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def _failed(self, error: Exception) -> str:
        text = str(error) or type(error).__name__
        return f"{self.name} cannot be asked: {_line(text.replace(self._key, '[key]') if self._key else text)}"


class LocalWriter:
    """A model on this machine, through a transformers pipeline: "text-generation" or "image-text-to-text".

    Args:
        model: A folder, a repository on the Hub, or a pipeline that is loaded already.
        revision: Of the repository.
        device: Such as "cuda"; "cpu" without.
        dtype: Such as "bfloat16"; "auto" is the checkpoint's.

    Raises:
        InputError: If it cannot be loaded, weights are missing, or the pipeline is for another task.
    """

    def __init__(
        self, model: Any, *, revision: str | None = None, device: str | None = None, dtype: str = "auto"
    ) -> None:
        self._torch: Any = require("torch", extra="modeling", purpose="Writing with a local model")
        self._pipeline = model
        self.name = str(model)
        """For messages."""
        if isinstance(model, str | os.PathLike):
            self._pipeline = _load(str(model), revision, device, dtype)
        else:
            self.name = type(getattr(model, "model", model)).__name__
        self._task = getattr(self._pipeline, "task", None)
        if self._task not in ("text-generation", "image-text-to-text"):
            raise InputError(f"A local writer is a text-generation or image-text-to-text pipeline, got {self._task!r}.")

    @classmethod
    def from_model(cls, model: Any, processor: Any) -> "LocalWriter":
        """Return a writer of a multimodal model and its processor, such as those of a story pipeline."""
        transformers: Any = require("transformers", extra="modeling", purpose="Writing with a local model")
        return cls(transformers.pipeline("image-text-to-text", model=model, processor=processor))

    def answer(self, question: ScriptQuestion) -> ScriptAnswer:
        """Return what the model writes; the same question and seed give the same text."""
        sampling: dict[str, Any] = {"do_sample": False}
        if question.temperature > 0:
            sampling = {"do_sample": True, "temperature": question.temperature}
        with self._torch.random.fork_rng(), self._torch.inference_mode():
            self._torch.manual_seed(question.seed)
            try:
                text = self._generate(question, sampling)
            except (ValueError, RuntimeError, IndexError, TypeError) as error:
                # a prompt too long, no memory, a chat template that fails
                raise InputError(f"{self.name} cannot write: {_line(str(error) or type(error).__name__)}") from error
        return ScriptAnswer(text)

    def _generate(self, question: ScriptQuestion, sampling: Mapping[str, Any]) -> str:
        limits = {"max_new_tokens": question.max_output_tokens, "return_full_text": False, **sampling}
        has_text_only = self._task == "text-generation"
        templated = self._pipeline.tokenizer if has_text_only else self._pipeline.processor
        asked: Any = question.prompt
        if getattr(templated, "chat_template", None):
            content: Any = question.prompt if has_text_only else [{"type": "text", "text": question.prompt}]
            asked = [{"role": "user", "content": content}]
        made = self._pipeline(asked, **limits) if has_text_only else self._pipeline(text=asked, **limits)
        written = made[0]["generated_text"]
        return written if isinstance(written, str) else str(written[-1]["content"])


def as_writer(value: Any) -> ScriptWriter:
    """Return the writer that a value is: a writer, settings of an endpoint, or a function from prompt to text.

    Raises:
        InputError: If it is none of these.
    """
    if isinstance(value, EndpointSettings):
        return EndpointWriter(value)
    return value if isinstance(value, ScriptWriter) else CallableWriter(value)


def _load(checkpoint: str, revision: str | None, device: str | None, dtype: str) -> Any:
    transformers: Any = require("transformers", extra="modeling", purpose="Writing with a local model")
    try:
        config = transformers.AutoConfig.from_pretrained(checkpoint, revision=revision)
        is_multimodal = hasattr(config, "vision_config")
        task = "image-text-to-text" if is_multimodal else "text-generation"
        made = transformers.pipeline(task, model=checkpoint, revision=revision, device=device or "cpu", dtype=dtype)
    except Exception as error:
        # A dozen kinds are raised here, SafetensorError and bare Exception of the tokenizers among them.
        raise InputError(
            f"The model {checkpoint} cannot be loaded: {_line(str(error) or type(error).__name__)}"
        ) from error
    missing = missing_weights(made.model)
    if missing:
        raise InputError(
            f"The model {checkpoint} is not whole: {len(missing)} weights are missing, such as {missing[0]}."
        )
    return made


def _read_key(name: str | None) -> str | None:
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise InputError(f"The endpoint's key is read from the environment variable {name}, which is not set. Set it, "
                         "or say that the endpoint needs no key.")  # fmt: skip
    return key


def _line(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(".") + "."
