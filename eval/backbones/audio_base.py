"""What a sound encoder must offer, and the list of those there are.

A sound encoder is a backbone whose views are pieces of sound and, where it sees, the frames of a shot; its rows and
those of its texts are comparable. Like every neural backbone it leaves its model behind when it is pickled: a decode
worker resamples, cuts and prepares, the model runs on batches in the main process. Weights come whole or not at all.

Shape letters used below
    N samples, or rows of a batch    D embedding width
"""

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import DTYPES, Backbone, Kind
from animeshooter_hf.eval.backbones.neural import unit_rows
from animeshooter_hf.video.sound import resample_audio

__all__ = ["AUDIO_MODELS", "AudioModel", "FramesView", "SoundView", "load_audio_model", "reading_settings"]

AUDIO_MODELS: dict[str, tuple[str, str]] = {
    "clap": ("animeshooter_hf.eval.backbones.clap", "ClapModel"),
    "pe-av": ("animeshooter_hf.eval.backbones.pe_av", "PeAvModel"),
}
"""Name -> (module, class). The module is imported when the model is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class SoundView:
    """A piece of sound."""

    samples: NDArray[np.float32]
    """Mono, shape (N,), full scale 1."""

    sample_rate: int
    """Samples per second."""


@dataclass(frozen=True, slots=True, eq=False)
class FramesView:
    """Frames of a shot that are seen together."""

    frames: tuple[NDArray[np.uint8], ...]
    """RGB, each of shape (rows, columns, 3), in order of time."""


class AudioModel(Backbone):
    """A sound encoder."""

    has_text = True

    has_video: ClassVar[bool] = False
    """Whether it sees frames too."""

    default_revision: ClassVar[str | None] = None
    """Commit of `source` that is taken unless the user says otherwise; None takes the newest."""

    max_seconds: float
    """Longest piece that is heard at once."""

    batch_size: ClassVar[int] = 8
    """Pieces of one length that go through the network at once. It does not change a number."""

    sample_rate: int
    """Samples per second that it wants."""

    def __init__(self, model: Any, tokenizer: Any, *, label: str, device: str = "cpu", dtype: str = "float32") -> None:
        """Put a loaded model behind the interface; users call `load_audio_model`.

        Args:
            model: In evaluation mode, on the device.
            tokenizer: Of its texts.
            label: What the weights are, such as "laion/larger_clap_general@16c8cc3159a3".
            device: Where it runs.
            dtype: Of its weights.
        """
        self._model = model
        self._tokenizer = tokenizer
        self._label = label
        self._device = device
        self._dtype = dtype

    @classmethod
    @abstractmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> "AudioModel":
        """Return the model with its weights loaded whole. See `load_audio_model`."""

    def __getstate__(self) -> Mapping[str, Any]:
        """Return everything but the model and its tokenizer: a copy in a worker prepares only."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_model", "_tokenizer")}

    def pieces(self, mono_N: NDArray[np.float32], sample_rate: int) -> list[NDArray[np.float32]]:
        """Return sound at the model's rate in equally long pieces, as few as its longest piece allows.

        Equal pieces, so that the mean of their rows is fair. transformers' own way is to cut long sound at random.
        """
        resampled_N = resample_audio(mono_N[None], sample_rate, self.sample_rate)[0]
        count = max(1, int(np.ceil(len(resampled_N) / (self.max_seconds * self.sample_rate))))
        return [np.ascontiguousarray(piece_N) for piece_N in np.array_split(resampled_N, count) if len(piece_N)]

    def frames_seen(self, num_frames: int) -> tuple[int, ...]:
        """Return the ordinals of the frames that it sees, ascending; a short shot repeats some."""
        del num_frames
        return ()

    def prepare(self, view: Any, kind: Kind) -> NDArray[Any]:
        """Return a `SoundView` or `FramesView` as the model wants it."""
        del kind
        return self._prepare_frames(view) if isinstance(view, FramesView) else self._prepare_sound(view)

    def embed_prepared(self, items: Sequence[Any], kind: Kind) -> NDArray[np.float32]:
        """Return one row of unit length per prepared view, of shape (N, D); only equal shapes share a batch."""
        del kind
        of_shape: dict[tuple[int, ...], list[int]] = {}
        for place, item in enumerate(items):
            of_shape.setdefault(item.shape, []).append(place)
        rows: dict[int, NDArray[Any]] = {}
        for places in of_shape.values():
            for start in range(0, len(places), self.batch_size):
                chosen = places[start : start + self.batch_size]
                batch_ND = self._run(self._embed_batch, np.stack([items[place] for place in chosen]))
                rows.update(zip(chosen, batch_ND, strict=True))
        return (
            unit_rows(np.stack([rows[place] for place in range(len(items))])) if items else np.zeros((0, 0), np.float32)
        )

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of unit length per text, of shape (N, D).

        Raises:
            InputError: If a text is empty.
        """
        blank = next((index for index, text in enumerate(texts) if not text.strip()), None)
        if blank is not None:
            raise InputError(f"Text {blank} is empty.")
        starts = range(0, len(texts), 32)
        batches = [self._run(self._embed_texts, list(texts[start : start + 32])) for start in starts]
        return unit_rows(np.concatenate(batches)) if batches else np.zeros((0, 0), np.float32)

    def _run(self, embed: Callable[[Any], Any], batch: Any) -> NDArray[Any]:
        if "_model" not in self.__dict__:
            raise RuntimeError(f"This copy of {self.name} went through pickle without its model: it can only prepare.")
        import torch

        with torch.inference_mode():
            rows: NDArray[Any] = embed(batch).float().cpu().numpy()
        return rows

    def _tensor(self, batch: NDArray[Any]) -> Any:
        """Return an array as a tensor of the model's type, where the model is."""
        import torch

        return torch.from_numpy(batch).to(self._device, getattr(torch, self._dtype))

    @abstractmethod
    def _prepare_sound(self, view: SoundView) -> NDArray[Any]:
        """Return what the model wants of a piece of sound."""

    def _prepare_frames(self, view: FramesView) -> NDArray[Any]:
        """Return what the model wants of frames."""
        raise RuntimeError(f"{self.name} sees no frames.")

    @abstractmethod
    def _embed_batch(self, batch: NDArray[Any]) -> Any:
        """Return a tensor of rows, of any length, for prepared views of one shape."""

    @abstractmethod
    def _embed_texts(self, texts: list[str]) -> Any:
        """Return a tensor of rows, of any length."""


def load_audio_model(spec: str, *, device: str = "cpu", dtype: str = "float32") -> AudioModel:
    """Return a sound encoder by `NAME` or `NAME:REPO_OR_FOLDER[@REVISION]`, its weights loaded whole.

    Args:
        spec: Name in `AUDIO_MODELS`; without a repository or folder, the model's usual weights.
        device: "cpu", "cuda" ...; "auto" takes a GPU if there is one.
        dtype: "float32" or "bfloat16".

    Raises:
        InputError: If there is no such model, or its weights are not there, not whole or of another kind.
        MissingExtraError: If the libraries that it needs are not installed.
    """
    name, colon, weights = spec.partition(":")
    if name not in AUDIO_MODELS:
        raise InputError(f"There is no sound model {name!r}. Sound models: {', '.join(AUDIO_MODELS)}.")
    place, at, revision = weights.rpartition("@")
    if not at or "/" in revision or "\\" in revision:
        place, at, revision = weights, "", ""
    if (colon and not place) or (at and not revision):
        raise InputError(f"A sound model is written NAME or NAME:REPO_OR_FOLDER[@REVISION], got {spec!r}.")
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    module, class_name = AUDIO_MODELS[name]
    found: type[AudioModel] = getattr(import_module(module), class_name)
    return found.open(
        place or found.source, revision or (None if place else found.default_revision), device=device, dtype=dtype
    )


@contextlib.contextmanager
def reading_settings(what: str) -> Iterator[None]:
    """Turn what transformers raises for missing or broken settings of a checkpoint into one sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{what} cannot be read: {first[:200]}") from error
