"""Who finds a character in a frame from words: one protocol, several models, chosen by name.

    sam3            SAM 3: a noun phrase gives all its instances; the frame is encoded once for all characters
    grounded_sam2   Grounding DINO finds boxes for all characters at once, SAM 2 turns boxes into masks
    clipseg         CLIPSeg: a heat map for each character; a pixel goes to the character that claims it most
    florence2       Florence-2: one polygon answer for each character
    remote          anything behind HTTP, such as a Sa2VA server in an environment of its own (`remote.py`)
    truth           the masks of the film's own script

The paper asks a segmenter with a prompt that lists all characters of the shot and then names the one to segment
(AnimeShooter, arXiv 2506.03126, section 3). What "all" means to each model stands in its file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.references.pretrained import weights_key
from animeshooter_hf.dataset_builder.script.film_script import TrueMasks
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Character

__all__ = [
    "SEGMENTERS",
    "FrameContext",
    "SegmentationError",
    "SegmentedMask",
    "Segmenter",
    "SegmenterConfig",
    "check_request",
    "open_segmenter",
    "short_phrase",
]

SEGMENTERS: dict[str, tuple[str, str]] = {
    "sam3": ("animeshooter_hf.dataset_builder.references.sam3", "Sam3Segmenter"),
    "grounded_sam2": ("animeshooter_hf.dataset_builder.references.grounded_sam2", "GroundedSam2Segmenter"),
    "clipseg": ("animeshooter_hf.dataset_builder.references.clipseg", "ClipsegSegmenter"),
    "florence2": ("animeshooter_hf.dataset_builder.references.florence2", "Florence2Segmenter"),
    "remote": ("animeshooter_hf.dataset_builder.references.remote", "RemoteSegmenter"),
    "truth": ("animeshooter_hf.dataset_builder.references.truth", "TruthSegmenter"),
}
"""Name -> (module, class). The module is imported when the segmenter is asked for."""


class SegmentationError(RuntimeError):
    """A segmenter could not answer for one frame; the frame is reported and the film goes on."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SegmentedMask:
    """One figure that a segmenter found."""

    mask: NDArray[np.bool_]
    """Shape (height, width) of the frame."""

    score: float
    """How sure the segmenter is, 0 to 1; comparable only within one segmenter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameContext:
    """Which frame is looked at, for a segmenter that looks it up instead of looking at it."""

    frame: int
    """Ordinal in the film."""

    character_ids: tuple[str, ...]
    """Who is meant by each phrase."""


class Segmenter(Protocol):
    """Finds figures by words."""

    name: str
    """What the user writes."""

    is_exact: bool
    """Whether masks are known to be exact, and so are kept as they are instead of in their cleaned form."""

    def settings_key(self) -> Mapping[str, Any]:
        """Return what the masks depend on beside the request (weights, thresholds ...), as JSON values."""

    def segment(
        self,
        image: NDArray[np.uint8],
        phrases: Sequence[str],
        *,
        all_phrases: Sequence[str],
        context: FrameContext | None = None,
    ) -> list[list[SegmentedMask]]:
        """Return the figures found for each phrase, best first; an empty list where nothing is found.

        Args:
            image: Shape (height, width, 3), RGB.
            phrases: Whom to segment, as short noun phrases.
            all_phrases: Everybody in the shot, `phrases` among them.
            context: The frame, for a segmenter that knows the film.

        Raises:
            SegmentationError: If this frame could not be answered.
            ValueError: If the request does not hold.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmenterConfig:
    """Which segmenter, and how it is run."""

    name: str = "sam3"
    """One of `SEGMENTERS`. Paper: Sa2VA, which can serve behind "remote"; our choice: SAM 3, part of transformers."""

    checkpoint: str = ""
    """Folder or Hub ID of the weights. Empty: the model's usual ID."""

    second_checkpoint: str = ""
    """Folder or Hub ID of SAM 2 for "grounded_sam2". Empty: its usual ID."""

    revision: str | None = None
    """Commit, branch or tag on the Hub."""

    second_revision: str | None = None
    """The same for SAM 2."""

    device: str = "auto"
    """"auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps"."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the weights."""

    score_threshold: float | None = None
    """Figures below are dropped. None: the model's usual value, which its file names."""

    mask_threshold: float = 0.5
    """Probability from which a pixel belongs to the figure."""

    max_instances: int = 5
    """Most figures for each phrase."""

    url: str = ""
    """Address of the server of "remote"."""

    timeout_seconds: float = 60.0
    """Of one request to the server."""

    max_tries: int = 3
    """Requests to the server before a frame is given up."""

    def __post_init__(self) -> None:
        if self.name not in SEGMENTERS:
            raise InputError(f"There is no segmenter {self.name!r}. Segmenters: {', '.join(SEGMENTERS)}.")
        if self.score_threshold is not None and not 0 <= self.score_threshold <= 1:
            raise InputError(f"score_threshold must lie in 0 to 1, got {self.score_threshold}.")
        if not 0 < self.mask_threshold < 1:
            raise InputError(f"mask_threshold must lie between 0 and 1, got {self.mask_threshold}.")
        if self.max_instances < 1 or self.max_tries < 1 or self.timeout_seconds <= 0:
            raise InputError("max_instances, max_tries and timeout_seconds of a segmenter must be positive.")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise InputError(f"dtype must be float32, bfloat16 or float16, got {self.dtype!r}.")

    def key(self) -> dict[str, Any]:
        """Return as JSON values what masks depend on: no device or patience, and weights by content, not by folder.

        It loads nothing, so it can be asked before a segmenter is opened.
        """
        ignored = ("device", "timeout_seconds", "max_tries", "checkpoint", "second_checkpoint")
        settings = {name: value for name, value in asdict(self).items() if name not in ignored}
        settings["checkpoint_key"] = weights_key(self.checkpoint, self.revision)
        settings["second_checkpoint_key"] = weights_key(self.second_checkpoint, self.second_revision)
        return settings


def open_segmenter(config: SegmenterConfig, *, masks: TrueMasks | None = None) -> Segmenter:
    """Return the segmenter of a config, with its weights loaded.

    Args:
        config: Which one, and how it is run.
        masks: The film's own, for "truth"; the others do not look at them.

    Raises:
        InputError: If the weights are not there or not whole, or the truth is asked for and there is none.
        MissingExtraError: If the libraries that it needs are not installed.
    """
    module, class_name = SEGMENTERS[config.name]
    if config.name == "truth" and masks is None:
        raise InputError("The segmenter 'truth' needs a film whose script holds masks.")
    segmenter: Segmenter = getattr(import_module(module), class_name)(masks if config.name == "truth" else config)
    return segmenter


def check_request(image: NDArray[np.uint8], phrases: Sequence[str], all_phrases: Sequence[str]) -> None:
    """Raise a ValueError unless a request to a segmenter holds."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"A frame must be uint8 of shape (height, width, 3), got {image.dtype} {image.shape}.")
    if isinstance(phrases, str) or not all(phrase.strip() for phrase in [*phrases, *all_phrases]):
        raise ValueError("phrases must be a list of texts, none of them empty.")
    absent = [phrase for phrase in phrases if phrase not in all_phrases]
    if absent:
        raise ValueError(f"all_phrases must hold every phrase; {absent[0]!r} is not among them.")


def short_phrase(character: Character, *, max_words: int = 12) -> str:
    """Return a short noun phrase for a character: how its description begins, or its name where there is none.

    Appearances average 18 words in the release, and SAM 3 takes 32 tokens. The script stage may write better phrases;
    this one is used where it did not.

    Example:
        >>> short_phrase(Character(id="Mia", appearance="A girl with red hair, in a long blue coat. She is tall."))
        'girl with red hair, in a long blue coat'
    """
    sentence = character.appearance.replace(";", ".").split(".")[0].split()[:max_words]
    if sentence and sentence[0].lower() in ("a", "an", "the"):
        sentence = sentence[1:]
    return " ".join(sentence).strip(" ,") or character.id
