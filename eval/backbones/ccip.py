"""CCIP: whether two drawings show the same anime character, by a network that was trained for that and nothing else.

Two ONNX files: "model_feat.onnx" turns a picture into a vector, "model_metrics.onnx" a set of vectors into their matrix
of differences; the similarity is 1 - difference. One character per picture, drawn in the manner of anime: for cartoon
animals or 3D nobody has measured it. The authors call two pictures the same character below a difference of .178.

The picture is squashed to 384x384 (bilinear) after transparent parts became white.
Source: dghs-imgutils 0.19 (MIT), weights deepghs/ccip_onnx, licence OpenRAIL.

Shape letters used below
    N, M rows    D embedding width
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.aggregate import clip_similarity
from animeshooter_hf.eval.backbones.neural import NeuralBackbone, unit_rows
from animeshooter_hf.eval.backbones.preparation import Preparation
from animeshooter_hf.eval.backbones.pretrained import Checkpoint, find_checkpoint
from animeshooter_hf.optional import require

__all__ = ["CcipBackbone"]

_MODEL = "ccip-caformer-24-randaug-pruned"
"""Folder in the repository. Default of dghs-imgutils; its authors give it F1 .917."""

_FEATURES, _METRICS = "model_feat.onnx", "model_metrics.onnx"

_SIDE = 384
"""Rows and columns of the picture."""

_BLOCK = 256
"""Rows of one side that are compared at once, since the metric makes a square of both sides."""

_TOLERANCE = 1e-3
"""By how much a difference may change with the length of the vectors."""


class CcipBackbone(NeuralBackbone):
    """CCIP by DeepGHS, on onnxruntime."""

    name = "ccip"
    purpose = "identity of anime characters"
    license = "OpenRAIL"
    license_is_read = True
    source = "deepghs/ccip_onnx"
    reference_background = "white"
    pooling = "metric"
    batch_size = 16

    _metric: Any

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> Self:
        """Return the backend with both networks."""
        runtime = require("onnxruntime", extra="ccip", purpose="Scoring with the backend 'ccip'")
        if dtype != "float32":
            raise InputError(f"The backend 'ccip' has float32 weights only, got dtype {dtype!r}.")
        names = [f"{_MODEL}/{_FEATURES}", f"{_MODEL}/{_METRICS}"]
        checkpoint = find_checkpoint(weights or cls.source, revision, files=[*names, _FEATURES, _METRICS])
        folder = checkpoint.folder / _MODEL if (checkpoint.folder / _MODEL).is_dir() else checkpoint.folder
        features, metric = (_open_session(runtime, folder / name, device) for name in (_FEATURES, _METRICS))
        label = f"{checkpoint.label}/{_MODEL}" if folder != checkpoint.folder else checkpoint.label
        preparation = Preparation(size=(_SIDE, _SIDE), resampling="bilinear")
        backbone = cls(features, preparation, label=label, device=device, dtype=dtype)
        backbone._metric = metric
        backbone._check_metric(checkpoint)
        return backbone

    def similarity(self, left_ND: NDArray[np.float32], right_MD: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return 1 - difference by the learned metric, of shape (N, M), clipped to [1e-6, 1]."""
        similarity_NM = np.zeros((len(left_ND), len(right_MD)))
        for top in range(0, len(left_ND), _BLOCK):
            for left in range(0, len(right_MD), _BLOCK):
                rows, columns = left_ND[top : top + _BLOCK], right_MD[left : left + _BLOCK]
                differences = self._differences(np.concatenate([rows, columns]))
                similarity_NM[top : top + _BLOCK, left : left + _BLOCK] = 1 - differences[: len(rows), len(rows) :]
        return np.asarray(clip_similarity(similarity_NM))

    def _differences(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        (differences,) = self._metric.run(["output"], {"input": rows.astype(np.float32)})
        return np.asarray(differences)

    def _embed_batch(self, items: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        (rows_ND,) = self._model.run(["output"], {"input": self.preparation.normalise(items)})
        return np.asarray(rows_ND, dtype=np.float32)

    def _check_metric(self, checkpoint: Checkpoint) -> None:
        """Raise an InputError unless the metric looks at directions only, since rows are kept at unit length."""
        grey = np.full((_SIDE, _SIDE, 3), 128, np.uint8)
        width = self.embed_prepared([grey], "identity").shape[1]
        unit = unit_rows(np.random.default_rng(0).standard_normal((4, width)))
        if np.abs(self._differences(3 * unit) - self._differences(unit)).max() > _TOLERANCE:
            raise InputError(
                f"The metric in {checkpoint.folder} depends on the length of rows, which are kept at 1 here."
            )


def _open_session(runtime: Any, path: Path, device: str) -> Any:
    """Return one network of onnxruntime with an "input" and an "output"."""
    if not path.is_file():
        raise InputError(f"The checkpoint is not whole: {path} is missing.")
    providers = ["CPUExecutionProvider"] if device == "cpu" else [*runtime.get_available_providers()]
    try:
        session = runtime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no base of its own
        if "onnxruntime" not in type(error).__module__:
            raise
        raise InputError(f"{path} cannot be loaded as a network: {str(error).splitlines()[0][:200]}") from error
    names = ([one.name for one in session.get_inputs()], [one.name for one in session.get_outputs()])
    if names != (["input"], ["output"]):
        raise InputError(f"{path} has inputs {names[0]} and outputs {names[1]}; CCIP has 'input' and 'output'.")
    return session
