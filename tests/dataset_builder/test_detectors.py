"""Detectors that are plugged in: fed in the same pass, they answer in our ordinals; what is missing is said."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.scan.detectors import DetectorSettings, open_detector
from animeshooter_hf.dataset_builder.scan.film_scan import Boundary, FilmScan
from animeshooter_hf.dataset_builder.scan.one_pass import ScanSettings, scan_film
from animeshooter_hf.errors import InputError
from animeshooter_hf.video import VideoWriter, write_video

CUTS = [30, 75, 130]
LENGTH = 173


def pictures() -> Iterator[NDArray[np.uint8]]:
    """Three bright shots and a dark one between, 96x54."""
    for number in range(LENGTH):
        shot = sum(number >= cut for cut in CUTS)
        blocks = np.random.default_rng(shot).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        blocks = blocks // 4 if shot % 2 else 100 + blocks // 2
        yield np.kron(blocks, np.ones((9, 12, 1), np.uint8))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("detectors") / "film.mp4", pictures(), 24)


@pytest.fixture(scope="module")
def variable_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same frames, each shown for one to three ticks."""
    path = tmp_path_factory.mktemp("detectors") / "variable.mp4"
    steps = np.random.default_rng(3).choice([1, 1, 2, 3], LENGTH)
    with VideoWriter(path, 96, 54, 30, time_base=None) as writer:
        for picture, pts in zip(pictures(), np.cumsum(steps).tolist(), strict=True):
            writer.write_frame(picture, pts=pts)
    return path


def scan(path: Path, **settings: object) -> FilmScan:
    return scan_film(path, ScanSettings(detector=DetectorSettings(**settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["adaptive", "content", "hash", "histogram"])
def test_pyscenedetect_answers_in_our_ordinals(film: Path, variable_film: Path, rule: str) -> None:
    pytest.importorskip("scenedetect")
    for path in (film, variable_film):
        found = scan(path, name="pyscenedetect", rule=rule)
        assert [one.frame for one in found.boundaries] == CUTS
        assert found.detector.startswith("pyscenedetect-")
        assert found.detector.endswith(rule)
        assert len(found.curve) == LENGTH


def test_pyscenedetect_s_threshold_rule_finds_a_fade_through_black(tmp_path: Path) -> None:
    pytest.importorskip("scenedetect")
    levels = [1.0] * 40 + np.linspace(1, 0, 12).tolist() + np.linspace(0, 1, 12).tolist() + [1.0] * 40
    picture = next(pictures())
    path = write_video(tmp_path / "fade.mp4", [(picture * level).astype(np.uint8) for level in levels], 24)
    (found,) = scan(path, name="pyscenedetect", rule="threshold").boundaries
    assert 40 <= found.frame <= 64


def write_net(path: Path, *, is_logit: bool, frames: int = 100) -> Path:
    """Write a model of TransNetV2's shape whose answer is known: how much darker or brighter the next frame is."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto
    shape = ["batch", frames, 27, 48, 3]
    constants = [
        helper.make_tensor("axes", kind.INT64, [3], [2, 3, 4]),
        helper.make_tensor("one", kind.INT64, [1], [1]),
        helper.make_tensor("most", kind.INT64, [1], [1 << 30]),
        helper.make_tensor("zero", kind.INT64, [1], [0]),
        helper.make_tensor("last", kind.INT64, [1], [-1]),
        helper.make_tensor("axis", kind.INT64, [1], [1]),
        helper.make_tensor("limit", kind.FLOAT, [1], [-20.0]),
        helper.make_tensor("none", kind.FLOAT, [1, 1], [-20.0]),
        helper.make_tensor("two", kind.INT64, [1], [2]),
    ]
    nodes = [
        helper.make_node("Cast", ["input"], ["pixels"], to=kind.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["level"], keepdims=0),
        helper.make_node("Slice", ["level", "one", "most", "axis"], ["after"]),
        helper.make_node("Slice", ["level", "zero", "last", "axis"], ["before"]),
        helper.make_node("Sub", ["after", "before"], ["step"]),
        helper.make_node("Abs", ["step"], ["change"]),
        helper.make_node("Add", ["change", "limit"], ["answer"]),
        helper.make_node("Concat", ["answer", "none"], ["padded"], axis=1),
        helper.make_node("Unsqueeze", ["padded", "two"], ["output" if is_logit else "logit"]),
        *([] if is_logit else [helper.make_node("Sigmoid", ["logit"], ["output"])]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", kind.UINT8, shape)],
        [helper.make_tensor_value_info("output", kind.FLOAT, ["batch", frames, 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("is_logit", [False, True])
def test_transnetv2_gets_every_frame_once_in_overlapping_windows(film: Path, tmp_path: Path, is_logit: bool) -> None:
    pytest.importorskip("onnxruntime")
    found = scan(film, name="transnetv2", weights=write_net(tmp_path / "net.onnx", is_logit=is_logit))
    assert [one.frame for one in found.boundaries] == CUTS
    assert len(found.curve) == LENGTH
    assert 0 <= found.curve.min() <= found.curve.max() <= 1


def test_transnetv2_without_usable_weights_is_refused(film: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match="name an ONNX file"):
        scan(film, name="transnetv2")
    with pytest.raises(InputError, match="no weights"):
        scan(film, name="transnetv2", weights=tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InputError, match="cannot be read as an ONNX model"):
        scan(film, name="transnetv2", weights=tmp_path / "text.onnx")
    with pytest.raises(InputError, match="other shapes"):
        scan(film, name="transnetv2", weights=write_net(tmp_path / "short.onnx", is_logit=True, frames=50))


class EverySecond:
    """A detector as a user may write it: a boundary every 24 frames."""

    name = "every-second"

    def __init__(self) -> None:
        self.times: list[float] = []

    def add(self, frame: object, seconds: float) -> None:
        self.times.append(seconds)

    def finish(self) -> tuple[list[Boundary], NDArray[np.float32]]:
        frames = range(0, len(self.times), 24)
        found = [Boundary(frame=one, score=1.0, start_frame=one, end_frame=one) for one in frames]
        return found, np.asarray(self.times, np.float32)


def test_a_detector_of_the_user_s_own_is_fed_in_the_same_pass(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "my_detectors", sys.modules[__name__])
    found = scan(film, name="my_detectors:EverySecond")
    assert [one.frame for one in found.boundaries] == list(range(24, LENGTH, 24))
    np.testing.assert_allclose(found.curve, np.arange(LENGTH) / 24, atol=1e-6)


def test_an_unknown_detector_is_refused() -> None:
    with pytest.raises(InputError, match="no detector 'transnet'"):
        open_detector(DetectorSettings(name="transnet"))
    with pytest.raises(InputError, match="cannot be made"):
        open_detector(DetectorSettings(name="animeshooter_hf.nothing:Detector"))
