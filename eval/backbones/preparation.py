"""Turn a view into the small picture that a model wants, exactly as the checkpoint's image processor would.

The processor's own settings are read from the checkpoint and done with Pillow, so that a decode worker needs neither
torch nor transformers; what leaves it is a small array, and scaling to the model's range waits for the batch. It equals
transformers' Pillow processors (DINOv3 has none: its torchvision one, which resizes after scaling).

A view whose pixels all count goes through that alone, so a checkpoint that crops the centre sees the middle of a wide
frame, as in published numbers. A view with weights becomes a square that is resized as a whole, so that no crop loses
a head:

    an outline (a mask, a box)        the pixels inside it, in the middle of a square of one stated colour
    a guess of less than half of it   a square crop around the likely pixels, with all that is in it: cut out, a guess
                                      is scraps (looked at on the paper's demos), which no network was trained on
    a guess of more than half of it   as an outline: the background, with a hole where the figure may be

Shape letters used below
    H, W rows and columns of the view    h, w rows and columns that the model wants    N views of a batch
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.views import View

__all__ = ["CLIP_MEAN", "CLIP_STD", "IMAGENET_MEAN", "IMAGENET_STD", "Preparation", "cut_out", "read_preparation"]

Triple = tuple[float, float, float]

CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
_HALF: Triple = (0.5, 0.5, 0.5)

_INSIDE = 0.5
"""Part of the greatest weight above which a pixel is kept. Our choice: a mask's edge after shrinking."""

_BETWEEN = (0.1, 0.9)
_GUESS_SHARE = 0.05
"""Weights are a guess and no outline if more than this part of the pixels weighs neither about nothing nor about all.
Our choice: masks have such pixels at their edge only, the guessed foreground everywhere."""

_RESAMPLINGS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as they stand in the settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """How a picture is brought to the model's size and range."""

    size: int | tuple[int, int]
    """The shorter side in pixels, the shape kept; or rows and columns to which the picture is squashed."""

    crop: tuple[int, int] | None = None
    """Rows and columns cut from the centre afterwards."""

    resampling: str = "bicubic"
    """Name of Pillow's filter."""

    mean: Triple = CLIP_MEAN
    """Taken from each channel after scaling to [0, 1]."""

    std: Triple = CLIP_STD
    """By which each channel is divided then."""

    resizes_floats: bool = False
    """Whether pixels are scaled before they are resized, so that they are not rounded to 8 bits in between."""

    background: tuple[int, int, int] = (255, 255, 255)
    """Colour of what a view's weights leave out. Our choice: white, on which references are drawn."""

    margin: float = 0.05
    """Space around what is kept, as a part of its longer side. Our choice."""

    @property
    def signature(self) -> str:
        """All of the above in a word, such as "short224-bicubic-crop224x224-cut.5+.05-ffffff"."""
        size = f"short{self.size}" if isinstance(self.size, int) else "squash{}x{}".format(*self.size)
        crop = "-crop{}x{}".format(*self.crop) if self.crop else ""
        scale = "-".join(",".join(f"{value:.6g}" for value in triple) for triple in (self.mean, self.std))
        colour = "".join(f"{value:02x}" for value in self.background)
        floats = "-floats" if self.resizes_floats else ""
        return f"{size}-{self.resampling}{floats}{crop}-{scale}-cut{_INSIDE:g}+{self.margin:g}-{colour}"

    @property
    def output_size(self) -> tuple[int, int]:
        """Rows and columns of every prepared picture.

        Raises:
            InputError: If they depend on the picture, since there is no crop.
        """
        if self.crop is not None:
            return self.crop
        if isinstance(self.size, int):
            raise InputError(
                "The image processor keeps a picture's shape, so that pictures differ in size: no batches."
            )
        return self.size

    def prepare(self, view: View) -> NDArray[Any]:
        """Return a view at the model's size, (h, w, 3): uint8, or float32 in [0, 1] where floats are resized."""
        return self._fit(cut_out(view, self.background, self.margin)[0], is_cut_out=view.weights is not None)

    def prepare_with_coverage(self, view: View) -> NDArray[Any]:
        """Return `prepare`'s picture with a fourth channel: how much each pixel counts, up to 255, or 1."""
        image, coverage = cut_out(view, self.background, self.margin)
        layers = np.dstack([image, np.round(coverage * 255).astype(np.uint8)])
        return self._fit(layers, is_cut_out=view.weights is not None)

    def normalise(self, items: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Return prepared pictures in the model's range, of shape (N, 3, h, w)."""
        scale = np.float32(1 if self.resizes_floats else 1 / 255)
        batch: NDArray[Any] = np.stack(items)[..., :3].astype(np.float32) * scale
        batch = (batch - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)

    def _fit(self, image: NDArray[np.uint8], *, is_cut_out: bool) -> NDArray[Any]:
        height, width = self.output_size if is_cut_out else self._target(*image.shape[:2])
        filter_ = Image.Resampling[self.resampling.upper()]
        if image.shape[2] == 3 and not self.resizes_floats:
            fitted = np.asarray(Image.fromarray(image).resize((width, height), filter_))
        else:  # plane by plane: Pillow knows no RGB of floats, and would take a fourth plane for transparency
            planes: NDArray[Any] = image.transpose(2, 0, 1)
            if self.resizes_floats:
                planes = planes.astype(np.float32) * np.float32(1 / 255)
            resized = [Image.fromarray(plane).resize((width, height), filter_) for plane in planes]
            fitted = np.stack([np.asarray(plane) for plane in resized], axis=-1)
        if self.crop is None or is_cut_out:
            return fitted
        return _crop_centre(fitted, *self.crop)

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size
        if height <= width:
            return self.size, int(self.size * width / height)
        return int(self.size * height / width), self.size


def cut_out(
    view: View, background: tuple[int, int, int], margin: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the part of a view that counts, as a square, and how much each of its pixels counts, in [0, 1].

    Args:
        view: Without weights it comes back as it is, whatever its shape.
        background: Colour of what is painted over.
        margin: Space around it, as a part of its longer side.
    """
    if view.weights is None:
        return view.image, np.ones(view.image.shape[:2], dtype=np.float32)
    strength = view.weights / view.weights.max()
    inside = strength > _INSIDE
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    longer = max(bottom - top, right - left)
    side = longer + 2 * round(margin * longer)
    between = (strength > _BETWEEN[0]) & (strength < _BETWEEN[1])
    if between.mean() > _GUESS_SHARE and inside.mean() < 0.5:
        side = min(side, *inside.shape)
        first = [
            min(max(0, (low + high - side) // 2), length - side)
            for low, high, length in ((top, bottom, inside.shape[0]), (left, right, inside.shape[1]))
        ]
        window = np.s_[first[0] : first[0] + side, first[1] : first[1] + side]
        return np.ascontiguousarray(view.image[window]), np.ascontiguousarray(strength[window], dtype=np.float32)
    kept = inside[top:bottom, left:right]
    square = np.full((side, side, 3), background, dtype=np.uint8)
    coverage = np.zeros((side, side), dtype=np.float32)
    row, column = (side - kept.shape[0]) // 2, (side - kept.shape[1]) // 2
    place = np.s_[row : row + kept.shape[0], column : column + kept.shape[1]]
    coverage[place] = kept
    square[coverage > 0] = view.image[top:bottom, left:right][kept]
    return square, coverage


def _crop_centre(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return the centre; what lies beyond the picture is 0, as transformers has it."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if top >= 0 and left >= 0:
        return np.ascontiguousarray(image[top : top + height, left : left + width])
    raise InputError(f"The image processor crops {height}x{width} of a smaller picture, which would add black borders.")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Defaults:
    """What a kind of processor does where its settings are silent."""

    crops: bool
    squashes: bool
    resampling: int
    mean: Triple
    std: Triple
    floats: bool = False


_KINDS = {
    "CLIP": _Defaults(crops=True, squashes=False, resampling=3, mean=CLIP_MEAN, std=CLIP_STD),
    "Bit": _Defaults(crops=True, squashes=False, resampling=3, mean=CLIP_MEAN, std=CLIP_STD),
    "Siglip": _Defaults(crops=False, squashes=True, resampling=3, mean=_HALF, std=_HALF),
    "ViT": _Defaults(crops=False, squashes=True, resampling=2, mean=_HALF, std=_HALF),
    "DINOv3ViT": _Defaults(crops=False, squashes=True, resampling=2, mean=IMAGENET_MEAN, std=IMAGENET_STD, floats=True),
}
"""Family of processors of transformers -> its defaults there."""


def read_preparation(folder: Path) -> Preparation:
    """Return what a checkpoint's image processor does, from its settings.

    Raises:
        InputError: If there are none, or they ask for something else than resizing, cropping and scaling.
    """
    path, settings = _read_settings(folder)
    kind = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "CLIPImageProcessor")
    family = kind
    for ending in ("Pil", "Fast", "ImageProcessor", "FeatureExtractor"):
        family = family.removesuffix(ending)
    if family not in _KINDS:
        raise InputError(f"{path} is for {kind}; known are the processors of {', '.join(_KINDS)}.")
    defaults = _KINDS[family]
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if settings.get(step, True) is not True:
            raise InputError(f"{path} has {step} = {settings[step]!r}; only true is known here.")
    if abs(float(settings.get("rescale_factor", 1 / 255)) - 1 / 255) > 1e-9:
        raise InputError(f"{path} has rescale_factor = {settings['rescale_factor']!r}; only 1/255 is known here.")
    try:
        crops = settings.get("do_center_crop")
        preparation = Preparation(
            size=_size(settings.get("size", 224), squashes=defaults.squashes),
            crop=_rectangle(settings.get("crop_size", 224)) if (defaults.crops if crops is None else crops) else None,
            resampling=_RESAMPLINGS[settings.get("resample", defaults.resampling)],
            mean=_triple(settings.get("image_mean") or defaults.mean),
            std=_triple(settings.get("image_std") or defaults.std),
            resizes_floats=defaults.floats,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} asks for something that is not known here: {error}.") from error
    _ = preparation.output_size
    return preparation


def _read_settings(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """Return the settings of the image processor: a file of its own, or a part of the whole processor's."""
    for name, part in (("preprocessor_config.json", None), ("processor_config.json", "image_processor")):
        path = folder / name
        if not path.is_file():
            continue
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} cannot be read as JSON.") from error
        settings = settings.get(part) if part and isinstance(settings, dict) else settings
        if isinstance(settings, dict):
            return path, settings
    raise InputError(f"The checkpoint {folder} is not whole: it has no preprocessor_config.json.")


def _size(value: Any, *, squashes: bool) -> int | tuple[int, int]:
    if isinstance(value, Mapping) and "shortest_edge" in value:
        if len([entry for entry in value.values() if entry is not None]) != 1:
            raise ValueError(f"size = {dict(value)}")
        return int(value["shortest_edge"])
    return int(value) if isinstance(value, int) and not squashes else _rectangle(value)


def _rectangle(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value["height"]), int(value["width"]))


def _triple(values: Any) -> Triple:
    first, second, third = (float(value) for value in values)
    return first, second, third
