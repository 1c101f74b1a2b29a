"""Who finds the boundaries: our own detector, or one that is plugged in; all are fed in the same decoding pass.

    own            cuts, fades and dissolves from small planes (`cuts.py`, `transitions.py`); the default
    pyscenedetect  PySceneDetect's detectors (extra `shots`); `rule` names one: adaptive, content, hash, histogram,
                   threshold
    transnetv2     TransNetV2 with weights of your own as ONNX (extra `shots`); `weights` names the file
    MODULE:CLASS   a class of yours with the same methods, made without arguments

PySceneDetect counts frames by the time of a constant rate; it is given our ordinals as such a time, so what it answers
is exact on a variable rate too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.scan.cuts import CutFinder, CutSettings
from animeshooter_hf.dataset_builder.scan.film_scan import Boundary
from animeshooter_hf.dataset_builder.scan.planes import fill_row
from animeshooter_hf.dataset_builder.scan.transitions import TransitionFinder, TransitionSettings
from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require

__all__ = ["DetectorSettings", "FrameDetector", "OwnDetector", "open_detector"]

_OWN_VERSION = 3
_SCENE_SIZE = (256, 144)
_RULES = {
    "adaptive": "AdaptiveDetector",
    "content": "ContentDetector",
    "hash": "HashDetector",
    "histogram": "HistogramDetector",
    "threshold": "ThresholdDetector",
}
_NET_SIZE, _NET_WINDOW, _NET_OVERLAP = (48, 27), 100, 25


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorSettings:
    """Which detector, and its settings."""

    name: str = "own"
    """`own`, `pyscenedetect`, `transnetv2`, or `MODULE:CLASS`."""

    cuts: CutSettings = field(default_factory=CutSettings)
    """Of `own`: hard cuts."""

    transitions: TransitionSettings = field(default_factory=TransitionSettings)
    """Of `own`: fades and dissolves."""

    rule: Literal["adaptive", "content", "hash", "histogram", "threshold"] = "adaptive"
    """Of `pyscenedetect`: which of its detectors, with its own defaults."""

    weights: Path | None = None
    """Of `transnetv2`: the ONNX file."""

    threshold: float = 0.5
    """Of `transnetv2`: probability from which a frame ends a shot. Its authors': 0.5."""


class FrameDetector(Protocol):
    """Takes every frame of a film in order."""

    name: str
    """Of the detector, with its version and what it depends on."""

    def add(self, frame: av.VideoFrame, seconds: float) -> None:
        """Take a decoded frame and when it is shown, counted from the first one."""

    def finish(self) -> tuple[list[Boundary], NDArray[np.float32]]:
        """Return the boundaries in order, and a score for every frame (N,); frames count as they came."""


def open_detector(settings: DetectorSettings) -> FrameDetector:
    """Return a detector, ready for one film.

    Raises:
        InputError: If there is no such detector, or its weights are missing or unusable.
        MissingExtraError: If it needs an extra that is not installed.
    """
    if settings.name == "own":
        return OwnDetector(settings.cuts, settings.transitions)
    if settings.name == "pyscenedetect":
        return SceneDetectDetector(settings.rule)
    if settings.name == "transnetv2":
        if settings.weights is None:
            raise InputError("The detector transnetv2 needs its weights: name an ONNX file.")
        return TransNetDetector(settings.weights, settings.threshold)
    module, mark, kind = settings.name.partition(":")
    if not mark:
        raise InputError(f"There is no detector {settings.name!r}; there are own, pyscenedetect and transnetv2.")
    try:
        detector: FrameDetector = getattr(import_module(module), kind)()
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(f"The detector {settings.name} cannot be made: {error}.") from error
    return detector


class OwnDetector:
    """Cuts, fades and dissolves, from small planes of luma and colour."""

    name = f"animeshooter-{_OWN_VERSION}"

    def __init__(self, cuts: CutSettings | None = None, transitions: TransitionSettings | None = None) -> None:
        self._cuts = CutFinder(cuts or CutSettings())
        self._transitions = TransitionFinder(transitions or TransitionSettings())
        self._reformatter = VideoReformatter()

    def add(self, frame: av.VideoFrame, seconds: float) -> None:
        """See `FrameDetector`."""
        row = self._cuts.next_row()
        fill_row(frame, row, self._reformatter)
        self._transitions.add(seconds, row)
        self._cuts.add(seconds)

    def finish(self) -> tuple[list[Boundary], NDArray[np.float32]]:
        """See `FrameDetector`."""
        cuts, curve, _ = self._cuts.finish()
        transitions = self._transitions.finish([frame for frame, _ in cuts])
        found = [
            Boundary(frame=frame, score=round(score, 3), start_frame=frame, end_frame=frame)
            for frame, score in cuts
            if not any(one.start_frame - 1 <= frame <= one.end_frame for one in transitions)
        ]
        return sorted([*found, *transitions], key=lambda one: one.frame), curve


class SceneDetectDetector:
    """One of PySceneDetect's detectors, on frames of 256x144, with its own defaults."""

    def __init__(self, rule: str) -> None:
        detectors: Any = require("scenedetect.detectors", extra="shots", purpose="The detector pyscenedetect")
        common: Any = import_module("scenedetect.common")
        self._detector = getattr(detectors, _RULES[rule])()
        self._timecode = common.FrameTimecode
        self._reformatter = VideoReformatter()
        version = import_module("scenedetect").__version__
        self.name = f"pyscenedetect-{version}-{rule}"
        self._cuts: list[int] = []
        self._num_frames = 0

    def add(self, frame: av.VideoFrame, seconds: float) -> None:
        """See `FrameDetector`."""
        width, height = _SCENE_SIZE
        small = self._reformatter.reformat(frame, width=width, height=height, format="bgr24").to_ndarray()
        self._take(self._detector.process_frame(self._at(self._num_frames), small))
        self._num_frames += 1

    def finish(self) -> tuple[list[Boundary], NDArray[np.float32]]:
        """See `FrameDetector`."""
        if self._num_frames:
            self._take(self._detector.post_process(self._at(self._num_frames)))
        return _as_cuts(self._cuts, self._num_frames), np.zeros(self._num_frames, np.float32)

    def _at(self, number: int) -> Any:
        return self._timecode(number, fps=24.0)

    def _take(self, cuts: Sequence[Any]) -> None:
        self._cuts += [round(cut.seconds * 24.0) for cut in cuts]


class TransNetDetector:
    """TransNetV2 with weights of the user's: 100 frames of 48x27 at a time, of which the middle 50 count.

    Source: Souček and Lokoč, TransNet V2, arXiv 2008.04838, and its published inference code. The ONNX file takes
    `input` (batch, 100, 27, 48, 3), RGB, and gives `output` (batch, 100, 1): whether a frame is the last of its shot,
    as a probability or before the sigmoid.
    """

    def __init__(self, weights: Path, threshold: float) -> None:
        if not weights.is_file():
            raise InputError(f"There are no weights {weights} for the detector transnetv2.")
        runtime: Any = require("onnxruntime", extra="shots", purpose="The detector transnetv2")
        options = runtime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        try:
            self._session = runtime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
            self._input, self._output = self._session.get_inputs()[0], self._session.get_outputs()[0].name
        except Exception as error:  # onnxruntime has a class of its own for each thing that can be wrong with a file
            raise InputError(f"{weights} cannot be read as an ONNX model.") from error
        self.name = f"transnetv2-{threshold:g}"
        self._threshold = threshold
        self._reformatter = VideoReformatter()
        self._frames: list[NDArray[np.uint8]] = []

    def add(self, frame: av.VideoFrame, seconds: float) -> None:
        """See `FrameDetector`."""
        width, height = _NET_SIZE
        small = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", interpolation="AREA")
        self._frames.append(np.asarray(small.to_ndarray(), np.uint8))

    def finish(self) -> tuple[list[Boundary], NDArray[np.float32]]:
        """See `FrameDetector`."""
        count = len(self._frames)
        if not count:
            return [], np.zeros(0, np.float32)
        step = _NET_WINDOW - 2 * _NET_OVERLAP
        padding = _NET_OVERLAP + (-count) % step
        frames = np.stack([self._frames[0]] * _NET_OVERLAP + self._frames + [self._frames[-1]] * padding)
        scores = np.concatenate([self._score(frames[at : at + _NET_WINDOW]) for at in range(0, count, step)])[:count]
        if scores.min() < 0 or scores.max() > 1:  # some exports leave the last step, the sigmoid, to the caller
            scores = (1 / (1 + np.exp(-scores.clip(-60, 60)))).astype(np.float32)
        over = np.flatnonzero(scores > self._threshold)
        runs = np.split(over, np.flatnonzero(np.diff(over) > 1) + 1) if len(over) else []
        cuts = [int(run[np.argmax(scores[run])]) + 1 for run in runs]
        return _as_cuts([cut for cut in cuts if cut < count], count, scores), scores

    def _score(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        kind = np.uint8 if "uint8" in self._input.type else np.float32
        try:
            found = self._session.run([self._output], {self._input.name: window[None].astype(kind)})[0]
        except Exception as error:  # see above
            raise InputError("The weights for transnetv2 take or give other shapes than TransNetV2 does.") from error
        return np.asarray(found, np.float32).reshape(-1)[_NET_OVERLAP : _NET_WINDOW - _NET_OVERLAP]


def _as_cuts(cuts: Sequence[int], num_frames: int, scores: NDArray[np.float32] | None = None) -> list[Boundary]:
    inside = sorted({cut for cut in cuts if 0 < cut < num_frames})
    return [
        Boundary(
            frame=cut,
            score=1.0 if scores is None else round(float(scores[cut - 1]), 4),
            start_frame=cut,
            end_frame=cut,
        )
        for cut in inside
    ]
