"""A model as the settings say, with everything around it: cache, ledger, budget, limits, client.

    CachedModel(BudgetedModel(RecordedModel(KeptModel(LimitedModel(client)))))

An answer is kept first and booked then: a kill in between leaves a call out of the ledger, but pays for none twice.

In the work folder: `cache/` answers, `calls.jsonl` the ledger, `budget/` what was spent, `limits/` the last minute's
calls, `batch/` questions that wait. A key is read from the environment when a model is opened, and written nowhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from animeshooter_hf.dataset_builder.annotate.accounting import CallLedger, RecordedModel
from animeshooter_hf.dataset_builder.annotate.answer_store import AnswerStore, CachedModel, KeptModel
from animeshooter_hf.dataset_builder.annotate.batch import BatchReport, BatchWriter, read_batch
from animeshooter_hf.dataset_builder.annotate.budget import Budget, BudgetedModel
from animeshooter_hf.dataset_builder.annotate.chat_request import ChatSettings
from animeshooter_hf.dataset_builder.annotate.estimate import ModelKind, estimate_question
from animeshooter_hf.dataset_builder.annotate.gemini_model import GeminiModel
from animeshooter_hf.dataset_builder.annotate.limits import LimitedModel, RateLimiter, RateLimits
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.annotate.prices import Price, find_price
from animeshooter_hf.dataset_builder.annotate.question import Model
from animeshooter_hf.dataset_builder.annotate.transformers_model import TransformersModel
from animeshooter_hf.errors import InputError

__all__ = ["ModelConfig", "ledger_path", "open_model", "pour_batch"]

_KEY_VARIABLES = {"openai": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Which model to ask, and how."""

    kind: ModelKind
    """`openai` any OpenAI-compatible endpoint, `gemini` Google's SDK, `transformers` a checkpoint on this machine."""

    model: str
    """The server's name of the model; for `transformers` a folder or a repository on the Hub."""

    base_url: str | None = None
    """Address of the endpoint, for OpenAI's interface with `/v1`; None is the provider's own."""

    api_key_env: str | None = None
    """Environment variable that holds the key; None is OPENAI_API_KEY or GEMINI_API_KEY, after the kind."""

    needs_key: bool = True
    """Whether the endpoint asks for a key. A vLLM server usually does not."""

    temperature: float | None = 0.0
    """Sampling temperature; None leaves it to the server. Our choice: 0."""

    seed: int | None = 0
    """Of sampling; None sends none."""

    rpm: int | None = None
    """Requests a minute, over all processes of this machine; None is no limit."""

    tpm: int | None = None
    """Tokens a minute."""

    in_flight: int | None = 8
    """Calls at once. Our choice: 8."""

    timeout_seconds: float = 600.0
    """Longest silence of the endpoint."""

    max_retries: int = 5
    """Attempts after the first, for failures that may pass."""

    budget_money: float | None = None
    """The most that may be spent in this work folder, over all runs, in the price table's currency."""

    price_file: str | None = None
    """A price table of your own, in the form of `prices.json`."""

    batch: bool = False
    """Write questions to batch files instead of asking them (kind `openai`)."""

    token_limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What the endpoint calls the limit of an answer (kind `openai`)."""

    strict_schema: bool = True
    """Ask for strict adherence to the schema (kind `openai`)."""

    revision: str | None = None
    """Of the repository (kind `transformers`)."""

    device: str | None = None
    """Such as `cuda` or `cpu`; None takes the first GPU if there is one (kind `transformers`)."""

    extra: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the request: of the body (`openai`), of `GenerateContentConfig` (`gemini`)."""

    def __post_init__(self) -> None:
        if self.kind not in ("openai", "gemini", "transformers"):
            raise InputError(f"The kind of a model is openai, gemini or transformers, not {self.kind!r}.")
        if not self.model:
            raise InputError("The settings name no model.")
        for name in ("rpm", "tpm", "in_flight"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1 or none, got {value}.")
        if not self.timeout_seconds > 0 or self.max_retries < 0:
            raise InputError("timeout_seconds must be above 0 and max_retries at least 0.")
        if self.batch and self.kind != "openai":
            raise InputError(f"Batch files are written for the kind openai only, not for {self.kind}.")
        if self.batch and self.budget_money is not None:
            raise InputError("A budget stops calls, and a batch file makes none; set the limit at the provider.")
        if self.extra and self.kind == "transformers":
            raise InputError("The kind transformers takes no extra fields.")


def ledger_path(work_dir: Path) -> Path:
    """Return where the ledger of a work folder is."""
    return work_dir / "calls.jsonl"


def open_model(config: ModelConfig, work_dir: Path, *, cache_dir: str | Path | None = None) -> CachedModel:
    """Return a model, ready to be asked from any number of threads; processes open their own, of the same folder.

    Args:
        config: Which and how.
        work_dir: Where its state is, on a local disk.
        cache_dir: Where answers are kept, if not in the work folder; any address that fsspec knows.

    Raises:
        InputError: If a key, a price or a checkpoint is missing.
        MissingExtraError: If the client's package is not installed.
    """
    ledger = CallLedger(ledger_path(work_dir))
    store_dir = cache_dir or work_dir / "cache"
    if config.batch:
        return CachedModel(BatchWriter(_chat(config), work_dir / "batch"), store_dir, ledger)
    price = _price(config)
    estimate = partial(estimate_question, model_kind=config.kind)
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{config.kind}-{config.model}")[-100:]
    limits = RateLimits(requests=config.rpm, tokens=config.tpm, in_flight=config.in_flight)
    limiter = RateLimiter(work_dir / "limits" / name, limits)
    model: Model = LimitedModel(_client(config, limiter), limiter, estimate)
    model = RecordedModel(KeptModel(model, AnswerStore(store_dir)), ledger, price)
    if config.budget_money is not None and config.kind != "transformers":
        if price is None:
            raise InputError(
                f"A budget needs the price of {config.model}, and no table has it. Name a price file that does."
            )
        model = BudgetedModel(model, Budget(work_dir / "budget", config.budget_money, price, estimate), ledger)
    return CachedModel(model, store_dir, ledger, is_kept_inside=True)


def pour_batch(
    config: ModelConfig, work_dir: Path, results: Path, *, cache_dir: str | Path | None = None
) -> BatchReport:
    """Pour the results of a batch that `open_model` wrote into the cache, and book them in the ledger.

    Raises:
        InputError: If there is no such file.
    """
    store = AnswerStore(cache_dir or work_dir / "cache")
    ledger = CallLedger(ledger_path(work_dir))
    return read_batch(results, store, work_dir / "batch", ledger=ledger, price=_price(config))


def _client(config: ModelConfig, limiter: RateLimiter) -> Model:
    if config.kind == "transformers":
        return TransformersModel(
            config.model,
            revision=config.revision,
            device=config.device,
            temperature=config.temperature,
            seed=config.seed,
        )
    key_variable = (config.api_key_env or _KEY_VARIABLES[config.kind]) if config.needs_key else None
    if config.kind == "gemini":
        return GeminiModel(
            config.model,
            api_key_env=key_variable,
            base_url=config.base_url,
            temperature=config.temperature,
            seed=config.seed,
            extra_config=config.extra,
            timeout_seconds=config.timeout_seconds,
            max_retries=config.max_retries,
            before_retry=limiter.wait_for_retry,
        )
    return OpenAIModel(
        config.base_url,
        _chat(config),
        api_key_env=key_variable,
        timeout_seconds=config.timeout_seconds,
        max_retries=config.max_retries,
        before_retry=limiter.wait_for_retry,
    )


def _chat(config: ModelConfig) -> ChatSettings:
    return ChatSettings(
        model=config.model,
        temperature=config.temperature,
        seed=config.seed,
        token_limit_field=config.token_limit_field,
        strict_schema=config.strict_schema,
        extra_body=dict(config.extra),
    )


def _price(config: ModelConfig) -> Price | None:
    """Return the model's price; what runs on this machine costs no money."""
    if config.kind == "transformers":
        return Price(model=config.model, prompt=0.0, output=0.0)
    return find_price(config.model, Path(config.price_file) if config.price_file else None)
