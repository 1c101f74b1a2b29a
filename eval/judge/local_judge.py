"""A multimodal model on this machine as judge, through transformers: no server, no key, nothing leaves the machine.

Any checkpoint that `AutoModelForMultimodalLM` and `AutoProcessor` know and whose processor has a chat template. A
checkpoint that lacks weights is refused: transformers would make them random.
"""

import hashlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.grid import SentPicture
from animeshooter_hf.eval.judge.question import JudgeQuestion, JudgeReply, Turn
from animeshooter_hf.optional import require

__all__ = ["LocalJudge"]

_PURPOSE = "Judging with a local model"
_CHUNK_BYTES = 1 << 20


class LocalJudge:
    """Asks a local model, one question at a time.

    Args:
        checkpoint: A folder, or the name of a repository on the Hub. Its licence is its own; there is no default.
        revision: Of the repository.
        device: Such as "cuda" or "cpu".
        dtype: Such as "bfloat16"; "auto" is the checkpoint's.

    Raises:
        InputError: If there is no such checkpoint or device, a weight is missing or has another shape, or it has no
            chat template.
        MissingExtraError: If transformers is not installed.
    """

    def __init__(
        self, checkpoint: str | Path, *, revision: str | None = None, device: str = "cpu", dtype: str = "auto"
    ) -> None:
        transformers: Any = require("transformers", extra="models", purpose=_PURPOSE)
        self._torch: Any = require("torch", extra="models", purpose=_PURPOSE)
        self._model, self._processor = _load(transformers, str(checkpoint), revision, dtype)
        try:
            self._model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"The model cannot run on {device!r} here. Use --device cpu.") from error
        self._device = device
        self._dtype = dtype
        self._name = _name(checkpoint, self._model.config)
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The checkpoint with its commit, or with a hash of its files."""
        return self._name

    def settings_key(self) -> Mapping[str, Any]:
        """Return what replies depend on; the device is not in it."""
        return {"client": "transformers", "model": self._name, "dtype": self._dtype}

    def ask(self, question: JudgeQuestion) -> JudgeReply:
        """Return the model's reply; see `JudgeBackend`."""
        started = time.monotonic()
        try:
            with self._lock:
                text, num_read, num_written, is_whole = self._generate(question)
        except (OSError, ValueError, TypeError, RuntimeError, IndexError) as error:
            # a prompt too long, a chat template that fails, no memory
            detail = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            seconds = time.monotonic() - started
            return JudgeReply(outcome="error", detail=detail, model=self._name, seconds=seconds)
        return JudgeReply(
            outcome="ok" if is_whole else "truncated",
            text=text,
            detail="" if is_whole else "The reply was cut off at the token limit.",
            model=self._name,
            prompt_tokens=num_read,
            output_tokens=num_written,
            seconds=time.monotonic() - started,
        )

    def _generate(self, question: JudgeQuestion) -> tuple[str, int, int, bool]:
        """Return the text, the tokens read and written, and whether the model ended by itself."""
        inputs = self._processor.apply_chat_template(
            [{"role": turn.role, "content": _content(turn)} for turn in question.turns],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device)
        num_read = int(inputs["input_ids"].shape[1])
        sampling: dict[str, Any] = {"do_sample": False}
        if question.temperature:
            sampling = {"do_sample": True, "temperature": question.temperature}
        with self._torch.inference_mode(), self._torch.random.fork_rng():
            self._torch.manual_seed(question.seed)
            ids = self._model.generate(**inputs, max_new_tokens=question.max_output_tokens, **sampling)
        written = ids[0, num_read:]
        text = self._processor.batch_decode(written[None], skip_special_tokens=True)[0]
        is_whole = len(written) < question.max_output_tokens or int(written[-1]) in _end_tokens(self._model)
        return text, num_read, len(written), is_whole


def _content(turn: Turn) -> list[dict[str, Any]]:
    return [_part(part) for part in turn.parts]


def _part(part: str | SentPicture) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image", "image": Image.fromarray(part.pixels)}


def _load(transformers: Any, checkpoint: str, revision: str | None, dtype: str) -> tuple[Any, Any]:
    try:
        processor = transformers.AutoProcessor.from_pretrained(checkpoint, revision=revision)
        model, report = transformers.AutoModelForMultimodalLM.from_pretrained(
            checkpoint, revision=revision, dtype=dtype, output_loading_info=True
        )
    except Exception as error:
        # A dozen kinds are raised here, SafetensorError and bare Exception of the tokenizers among them.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"The model {checkpoint} cannot be loaded: {reason}") from error
    lacking = sorted(str(name) for name in [*report["missing_keys"], *report["mismatched_keys"]])
    if lacking:
        raise InputError(
            f"The checkpoint {checkpoint} is not whole: {len(lacking)} weights are missing or have another shape, "
            f"such as {lacking[0]}."
        )
    if getattr(processor, "chat_template", None) is None:
        raise InputError(f"The checkpoint {checkpoint} has no chat template, so it cannot be asked.")
    return model, processor


def _name(checkpoint: str | Path, config: Any) -> str:
    """Return a name that changes with the weights: the Hub's commit, or a hash over a folder's files."""
    folder = Path(checkpoint)
    if not folder.is_dir():
        return f"{checkpoint}@{getattr(config, '_commit_hash', None) or 'unknown'}"
    digest = hashlib.sha256()
    for path in sorted(one for one in folder.iterdir() if one.is_file()):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return f"{folder.resolve().name}@{digest.hexdigest()[:16]}"


def _end_tokens(model: Any) -> set[int]:
    found = model.generation_config.eos_token_id
    return set(found) if isinstance(found, list) else {found} - {None}
