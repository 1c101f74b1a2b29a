"""How a view becomes the picture that a network wants, held against transformers' own processors."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.preparation import IMAGENET_MEAN, Preparation, cut_out, read_preparation
from animeshooter_hf.eval.views import View, frame_views

WHITE = (255, 255, 255)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def settings(folder: Path, **changes: object) -> Path:
    """Write CLIP's settings as openai/clip-vit-large-patch14 has them, with changes; None leaves one out."""
    values = {
        "feature_extractor_type": "CLIPFeatureExtractor",
        "do_resize": True,
        "do_center_crop": True,
        "do_normalize": True,
        "size": 32,
        "crop_size": 32,
        "resample": 3,
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
    } | changes
    kept = {name: value for name, value in values.items() if value is not None}
    (folder / "preprocessor_config.json").write_text(json.dumps(kept))
    return folder


@pytest.mark.parametrize(
    ("processor", "options"),
    [
        ("CLIPImageProcessorPil", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
        ("BitImageProcessorPil", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}),
        ("SiglipImageProcessorPil", {"size": {"height": 32, "width": 32}, "resample": 2}),
        ("ViTImageProcessorPil", {"size": {"height": 32, "width": 32}}),
        ("DINOv3ViTImageProcessor", {"size": {"height": 32, "width": 32}}),
    ],
)
def test_a_whole_frame_is_prepared_as_by_transformers(processor: str, options: dict, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    original = getattr(transformers, processor)(**options)
    original.save_pretrained(tmp_path)
    ours = read_preparation(tmp_path)
    for size in ((48, 80), (81, 47), (32, 32), (20, 33)):
        frame = picture(*size)
        theirs = np.asarray(original(images=Image.fromarray(frame), return_tensors="np")["pixel_values"])
        prepared = ours.prepare(
            View(frame),
        )
        assert prepared.shape == (*ours.output_size, 3)
        np.testing.assert_allclose(ours.normalise([prepared]), theirs, atol=1e-5)


def test_what_crosses_the_process_border_is_small() -> None:
    prepared = Preparation(size=32, crop=(32, 32)).prepare(View(picture(480, 720)))
    assert prepared.dtype == np.uint8
    assert prepared.nbytes == 32 * 32 * 3


def test_preparing_loads_no_torch() -> None:
    code = (
        "import sys; from animeshooter_hf.eval.backbones import base, clip, dino, dreamsim, ccip, csd, siglip2, table;"
        "table.format_backbone_table(); sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_cut_out_stands_whole_in_the_middle_of_a_white_square() -> None:
    frame = picture(60, 100)
    weights = np.zeros((60, 100), np.float32)
    weights[10:50, 30:40] = 1
    square, coverage = cut_out(View(frame, weights), WHITE, 0.05)
    inside = coverage == 1
    assert square.shape == (44, 44, 3)
    assert (square[inside].reshape(40, 10, 3) == frame[10:50, 30:40]).all()
    assert (square[~inside] == 255).all()
    assert inside.sum() == 400
    prepared = Preparation(size=40, crop=(32, 32)).prepare(View(frame, weights))
    assert prepared.shape == (32, 32, 3)
    assert (prepared[[0, -1]] > 250).all(), "the crop would have cut into the figure"


def test_only_pixels_above_half_of_the_greatest_weight_are_kept() -> None:
    weights = np.full((20, 20), 1e-6, np.float32)
    weights[5:10, 5:10] = 0.2
    weights[5:8, 5:10] = 0.5
    _, coverage = cut_out(View(picture(20, 20), weights), WHITE, 0.0)
    assert coverage.sum() == 15


def test_a_guessed_foreground_is_cropped_and_not_cut_out(drawn: SimpleNamespace) -> None:
    frame = drawn.shot("fox", "field", 1)[0]
    guess = frame_views(frame, ["foreground", "background"])
    crop, strength = cut_out(guess["foreground"], WHITE, 0.05)
    assert crop.shape[0] == crop.shape[1] < frame.shape[1]
    assert not (crop == 255).all(axis=2).any(), "nothing was painted over"
    assert strength.shape == crop.shape[:2]
    assert strength.max() == 1
    hole, coverage = cut_out(guess["background"], WHITE, 0.05)
    assert hole.shape[0] == hole.shape[1] >= frame.shape[1]
    assert (hole[coverage == 0] == 255).all()


@pytest.mark.parametrize("centre", [(2, 2), (20, 50), (38, 98)])
def test_a_crop_around_a_guess_stays_inside_the_frame(centre: tuple[int, int]) -> None:
    rows, columns = np.mgrid[:40, :100]
    weights = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / 400).astype(np.float32)
    crop, strength = cut_out(View(picture(40, 100), weights), WHITE, 0.1)
    assert crop.shape[0] == crop.shape[1] <= 40
    assert strength.max() == 1


def test_pixels_that_a_view_leaves_out_change_nothing() -> None:
    first, second = picture(40, 40, 1), picture(40, 40, 2)
    weights = np.zeros((40, 40), np.float32)
    weights[8:30, 12:20] = 1
    second[weights > 0] = first[weights > 0]
    preparation = Preparation(size=24, crop=(24, 24))
    assert (preparation.prepare(View(first, weights)) == preparation.prepare(View(second, weights))).all()


def test_coverage_is_the_part_of_a_pixel_that_is_kept() -> None:
    weights = np.zeros((64, 64), np.float32)
    weights[16:48, 16:32] = 1
    preparation = Preparation(size=(32, 32), resampling="bilinear", margin=0.0)
    prepared = preparation.prepare_with_coverage(View(picture(64, 64), weights))
    assert prepared.shape == (32, 32, 4)
    assert prepared[..., 3].mean() / 255 == pytest.approx(0.5, abs=0.02)
    whole = preparation.prepare_with_coverage(View(picture(64, 64)))
    assert (whole[..., 3] == 255).all()


def test_old_settings_with_plain_numbers_are_read(tmp_path: Path) -> None:
    preparation = read_preparation(settings(tmp_path))
    assert (preparation.size, preparation.crop, preparation.resampling) == (32, (32, 32), "bicubic")
    assert preparation.mean == (0.48, 0.46, 0.41)


def test_settings_inside_those_of_a_whole_processor_are_read(tmp_path: Path) -> None:
    inner = {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 16, "width": 16}}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    preparation = read_preparation(tmp_path)
    assert preparation.resizes_floats
    assert preparation.mean == IMAGENET_MEAN
    assert preparation.output_size == (16, 16)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"feature_extractor_type": "SamImageProcessor"}, "Sam"),
        ({"do_resize": False}, "do_resize"),
        ({"do_normalize": False}, "do_normalize"),
        ({"rescale_factor": 0.5}, "rescale_factor"),
        ({"resample": 77}, "77"),
        ({"size": {"longest_edge": 32}}, "height"),
        ({"size": {"shortest_edge": 32, "longest_edge": 64}}, "longest_edge"),
        ({"image_mean": [0.5]}, "not known"),
        ({"do_center_crop": False}, "differ in size"),
    ],
)
def test_settings_that_ask_for_something_else_are_refused(changes: dict, word: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=word):
        read_preparation(settings(tmp_path, **changes))


def test_a_checkpoint_without_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no preprocessor_config"):
        read_preparation(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_preparation(tmp_path)


def test_a_crop_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(InputError, match="black borders"):
        Preparation(size=16, crop=(32, 32)).prepare(View(picture(40, 40)))


def test_every_setting_of_a_preparation_changes_its_signature() -> None:
    base = {"size": 32, "crop": (32, 32)}
    changes: list[dict] = [
        {},
        {"size": 33},
        {"size": (32, 32)},
        {"crop": (31, 32)},
        {"resampling": "bilinear"},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"resizes_floats": True},
        {"background": (0, 0, 0)},
        {"margin": 0.1},
    ]
    assert len({Preparation(**(base | change)).signature for change in changes}) == len(changes)
