"""CCIP from real small ONNX files with the names and shapes of the published ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import load_backbone
from animeshooter_hf.eval.backbones.ccip import CcipBackbone
from animeshooter_hf.eval.views import View, reference_view

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

WIDTH = 16
SCALE = 0.548
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


def write_network(path: Path, nodes: list, constants: dict[str, np.ndarray], shape: list, out_shape: list) -> None:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("output", kind, out_shape)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def write_features(path: Path, seed: int = 0) -> np.ndarray:
    """Write a network that averages 48x48 pixels and projects: (N, 3, 384, 384) -> (N, 16). Return its matrix."""
    node = onnx.helper.make_node
    matrix = np.random.default_rng(seed).standard_normal((3 * 8 * 8, WIDTH)).astype(np.float32)
    nodes = [
        node("AveragePool", ["input"], ["pooled"], kernel_shape=[48, 48], strides=[48, 48]),
        node("Flatten", ["pooled"], ["flat"], axis=1),
        node("MatMul", ["flat", "matrix"], ["output"]),
    ]
    write_network(path, nodes, {"matrix": matrix}, ["batch", 3, 384, 384], ["batch", WIDTH])
    return matrix


def write_metric(path: Path, *, normalises: bool = True) -> None:
    """Write a metric: (N, 16) -> (N, N) of SCALE (1 - cosine), so that what is alike is near 0."""
    node = onnx.helper.make_node
    nodes = [
        node("ReduceL2", ["input"], ["length"], axes=[1], keepdims=1),
        node("Div", ["input", "length" if normalises else "one"], ["unit"]),
        node("Transpose", ["unit"], ["turned"], perm=[1, 0]),
        node("MatMul", ["unit", "turned"], ["cosine"]),
        node("Sub", ["one", "cosine"], ["apart"]),
        node("Mul", ["apart", "scale"], ["output"]),
    ]
    constants = {"one": np.array(1, np.float32), "scale": np.array(SCALE, np.float32)}
    write_network(path, nodes, constants, ["batch", WIDTH], ["batch", "batch"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the repository's layout."""
    inside = tmp_path / "ccip" / "ccip-caformer-24-randaug-pruned"
    write_features(inside / "model_feat.onnx")
    write_metric(inside / "model_metrics.onnx")
    return tmp_path / "ccip"


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    smooth = rng.integers(0, 256, (5, 6, 9, 3), dtype=np.uint8)
    sizes = [(99, 200), (300, 200), (200, 200), (50, 200), (640, 200)]
    return [np.asarray(Image.fromarray(one).resize(size)) for one, size in zip(smooth, sizes, strict=True)]


def imgutils_rows(matrix: np.ndarray, images: list[np.ndarray]) -> np.ndarray:
    """Return what dghs-imgutils 0.19 computes: squash to 384, bilinear, CLIP's mean and deviation, the network."""
    rows = []
    for image in images:
        squashed = np.asarray(Image.fromarray(image).resize((384, 384), resample=Image.Resampling.BILINEAR))
        data = (squashed.transpose(2, 0, 1).astype(np.float32) / 255.0 - MEAN[:, None, None]) / STD[:, None, None]
        rows.append(data.reshape(3, 8, 48, 8, 48).mean(axis=(2, 4)).ravel() @ matrix)
    return np.stack(rows)


def test_rows_and_differences_are_those_of_imgutils(folder: Path, tmp_path: Path) -> None:
    backbone = load_backbone(f"ccip:{folder}")
    theirs = imgutils_rows(write_features(tmp_path / "again.onnx"), pictures())
    unit = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    rows = backbone.embed([View(image) for image in pictures()], "identity")
    np.testing.assert_allclose(rows, unit, atol=1e-5)
    np.testing.assert_allclose(backbone.similarity(rows, rows[:2]), 1 - SCALE * (1 - unit @ unit[:2].T), atol=1e-5)


def test_a_picture_is_wholly_like_itself(folder: Path) -> None:
    backbone = load_backbone(f"ccip:{folder}")
    rows = backbone.embed([View(pictures()[0])], "identity")
    assert backbone.similarity(rows, rows)[0, 0] == pytest.approx(1, abs=1e-6)


def test_many_rows_are_compared_as_few_are(folder: Path) -> None:
    backbone = load_backbone(f"ccip:{folder}")
    rng = np.random.default_rng(4)
    left, right = (rng.standard_normal((count, WIDTH)).astype(np.float32) for count in (300, 270))
    together = backbone.similarity(left, right)
    assert together.shape == (300, 270)
    assert together.min() >= 1e-6
    for i, j in ((0, 0), (299, 269), (10, 260)):
        alone = backbone.similarity(left[i : i + 1], right[j : j + 1])[0, 0]
        assert alone == pytest.approx(together[i, j], abs=1e-6)
    assert backbone.similarity(left, right[:0]).shape == (300, 0)


def test_batched_rows_are_single_rows(folder: Path) -> None:
    backbone = load_backbone(f"ccip:{folder}")
    views = [View(image) for image in pictures()] * 4
    apart = np.concatenate([backbone.embed([view], "identity") for view in views])
    np.testing.assert_allclose(backbone.embed(views, "identity"), apart, atol=1e-6)


def test_a_cut_out_reference_stands_on_white() -> None:
    assert CcipBackbone.reference_background == "white"
    cutout = np.zeros((20, 20, 4), np.uint8)
    cutout[5:15, 5:15] = (200, 30, 40, 255)
    cutout[5, 5, 3] = 0
    assert reference_view(cutout, CcipBackbone.reference_background).image[0, 0].tolist() == [255, 255, 255]


def test_the_files_may_lie_in_the_folder_itself(folder: Path) -> None:
    nested = load_backbone(f"ccip:{folder}")
    flat = load_backbone(f"ccip:{folder / 'ccip-caformer-24-randaug-pruned'}")
    view = View(pictures()[0])
    np.testing.assert_array_equal(nested.embed([view], "look"), flat.embed([view], "look"))
    assert "ccip-caformer-24-randaug-pruned" in nested.signature
    assert "squash384x384-bilinear" in nested.signature


def inside(folder: Path, name: str) -> Path:
    return folder / "ccip-caformer-24-randaug-pruned" / name


def rename_output(folder: Path) -> None:
    model = onnx.load(str(inside(folder, "model_metrics.onnx")))
    model.graph.output[0].name = model.graph.node[-1].output[0] = "differences"
    onnx.save(model, str(inside(folder, "model_metrics.onnx")))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda folder: inside(folder, "model_feat.onnx").unlink(), "model_feat.onnx is missing"),
        (lambda folder: inside(folder, "model_metrics.onnx").unlink(), "model_metrics.onnx is missing"),
        (lambda folder: inside(folder, "model_feat.onnx").write_bytes(b"no network"), "cannot be loaded as a network"),
        (rename_output, "CCIP has 'input' and 'output'"),
        (lambda folder: write_metric(inside(folder, "model_metrics.onnx"), normalises=False), "depends on the length"),
    ],
)
def test_files_that_are_not_ccip_are_refused(damage: Callable, word: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(InputError, match=word):
        load_backbone(f"ccip:{folder}")


def test_another_precision_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="float32 weights only"):
        load_backbone(f"ccip:{folder}", dtype="bfloat16")
