"""A multimodal model on this machine, through transformers: the slow way that needs no server and no key.

Any checkpoint that `AutoModelForMultimodalLM` and `AutoProcessor` know, and whose processor has a chat template. The
schema is not enforced here, it can only be asked for in the prompt; what the model says is checked like anybody's word.
"""

import hashlib
import io
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.dataset_builder.annotate.question import (
    Answer,
    Part,
    Picture,
    Question,
    Sound,
    Text,
    Usage,
)
from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require

__all__ = ["TransformersModel"]

_CHUNK_BYTES = 1 << 16
_CHUNKS_PER_FILE = 64


class TransformersModel:
    """Asks a local model, one question at a time.

    Args:
        checkpoint: A folder, or the name of a repository on the Hub.
        revision: Of the repository.
        device: Such as "cuda" or "cpu"; None takes the first GPU if there is one.
        dtype: Such as "bfloat16"; "auto" is the checkpoint's.
        temperature: 0 or None decodes greedily. Our choice: 0.
        seed: Of sampling; the same question gets the same answer.
        max_pixels: Larger pictures are scaled down to so many pixels before the processor sees them. Our choice.

    Raises:
        InputError: If there is no such checkpoint, or one of its weights is missing or has another shape.
        MissingExtraError: If transformers is not installed.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        temperature: float | None = 0.0,
        seed: int | None = 0,
        max_pixels: int = 1280 * 28 * 28,
    ) -> None:
        transformers: Any = require("transformers", extra="modeling", purpose="Asking a local model")
        self._torch: Any = require("torch", extra="modeling", purpose="Asking a local model")
        self._model, self._processor = _load(transformers, str(checkpoint), revision, dtype)
        self._device = device or ("cuda" if self._torch.cuda.is_available() else "cpu")
        self._model.to(self._device).eval()
        self.name = _name(checkpoint, self._model.config)
        self._settings = {"temperature": temperature, "seed": seed, "dtype": dtype, "max_pixels": max_pixels}
        self._temperature = temperature or 0.0
        self._seed = seed
        self._max_pixels = max_pixels
        self._lock = threading.Lock()

    def settings_key(self) -> Mapping[str, Any]:
        """Return what answers depend on beside the question; the device is not in it."""
        return {"client": "transformers", "model": self.name, **self._settings}

    def ask(self, question: Question) -> Answer:
        """Return the model's answer; see `Model`."""
        started = time.monotonic()
        try:
            content = [self._content(part) for part in question.parts]
            with self._lock:
                text, usage, is_whole = self._generate(content, question.max_output_tokens)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            # a picture that cannot be read, a processor without sound or video, a prompt too long, no memory
            detail = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            return Answer(outcome="error", detail=detail, model=self.name, seconds=time.monotonic() - started)
        seconds = time.monotonic() - started
        if not is_whole:
            detail = "The answer was cut off at the token limit."
            return Answer(outcome="truncated", text=text, detail=detail, model=self.name, usage=usage, seconds=seconds)
        if not text.strip():
            detail = "The answer is empty."
            return Answer(outcome="invalid", text=text, detail=detail, model=self.name, usage=usage, seconds=seconds)
        return Answer(outcome="ok", text=text, model=self.name, usage=usage, seconds=seconds)

    def _content(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        if isinstance(part, Picture):
            return {"type": "image", "image": _picture(part.jpeg, self._max_pixels)}
        if isinstance(part, Sound):
            return {"type": "audio", "audio": _mono(part.wav, self._sampling_rate())}
        raise ValueError("A clip cannot be shown to a local model; ask with pictures.")

    def _sampling_rate(self) -> int:
        listener = getattr(self._processor, "feature_extractor", None)
        if listener is None or not hasattr(listener, "sampling_rate"):
            raise ValueError("This model has no ear: its processor takes no sound.")
        return int(listener.sampling_rate)

    def _generate(self, content: list[dict[str, Any]], max_new_tokens: int) -> tuple[str, Usage, bool]:
        """Return the text, the tokens, and whether the model ended by itself."""
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device)
        num_read = int(inputs["input_ids"].shape[1])
        sampling = {"do_sample": True, "temperature": self._temperature} if self._temperature else {"do_sample": False}
        with self._torch.inference_mode(), self._torch.random.fork_rng():
            if self._seed is not None:
                self._torch.manual_seed(self._seed)
            ids = self._model.generate(**inputs, max_new_tokens=max_new_tokens, **sampling)
        written = ids[0, num_read:]
        text = self._processor.batch_decode(written[None], skip_special_tokens=True)[0]
        is_whole = len(written) < max_new_tokens or int(written[-1]) in _end_tokens(self._model)
        return text, Usage(num_read, 0, len(written)), is_whole


def _load(transformers: Any, checkpoint: str, revision: str | None, dtype: str) -> tuple[Any, Any]:
    """Return model and processor; what a checkpoint lacks would be random, so it is refused."""
    try:
        processor = transformers.AutoProcessor.from_pretrained(checkpoint, revision=revision)
        model, report = transformers.AutoModelForMultimodalLM.from_pretrained(
            checkpoint, revision=revision, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
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
    """Return a name that changes with the weights: the Hub's commit, or a mark of a folder's files."""
    if not Path(checkpoint).is_dir():
        return f"{checkpoint}@{getattr(config, '_commit_hash', None) or 'unknown'}"
    folder = Path(checkpoint)
    mark = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".bin", ".json", ".jinja"):
            mark.update(f"{path.name} {path.stat().st_size} ".encode())
            mark.update(_sample(path))
    return f"{folder.resolve().name}@{mark.hexdigest()[:16]}"


def _sample(path: Path) -> bytes:
    """Return the bytes of a file, or of a large one evenly spaced pieces: quick for any size of weights."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _CHUNK_BYTES * _CHUNKS_PER_FILE:
            return file.read()
        pieces = []
        for number in range(_CHUNKS_PER_FILE):
            file.seek((size - _CHUNK_BYTES) * number // (_CHUNKS_PER_FILE - 1))
            pieces.append(file.read(_CHUNK_BYTES))
    return b"".join(pieces)


def _picture(jpeg: bytes, max_pixels: int) -> Image.Image:
    with Image.open(io.BytesIO(jpeg)) as opened:
        image = opened.convert("RGB")
    scale = (max_pixels / (image.width * image.height)) ** 0.5
    if scale < 1:
        image = image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))))
    return image


def _mono(wav: bytes, sampling_rate: int) -> NDArray[np.float32]:
    """Return the sound as one channel in [-1, 1], at the rate that the model hears."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=sampling_rate)
    with av.open(io.BytesIO(wav), "r") as container:
        frames = [new for frame in container.decode(audio=0) for new in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def _end_tokens(model: Any) -> set[int]:
    found = model.generation_config.eos_token_id
    return set(found) if isinstance(found, list) else {found} - {None}
