"""The features that reference fidelity and cross-shot consistency are made of, and thumbnails.

    identity     frames in the view that is compared with references           rows (F, D)
    character    each character where regions say it is                        rows/NAME (F', D), F' frames that show it
    look         frames in the full, foreground and background views           full, foreground, background (D,)
    style        palette, contrast and strokes, or the rows of a style encoder row (D,)
    reference    a reference image                                             rows (1, D)
    thumbnails   the frames looked at, as one small picture                    jpeg (bytes,)

Shape letters used below
    F frames looked at    V views    D embedding width    H, W rows and columns
"""

import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import Backbone, Kind
from animeshooter_hf.eval.regions import nearest_region
from animeshooter_hf.eval.sampling import sample_frames
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, PixelFeature, ShotFacts, ShotMedia
from animeshooter_hf.eval.views import VIEWS, View, frame_views, lab_of, reference_view, region_view

__all__ = ["CharacterRows", "FrameRows", "LookRows", "PaletteStyle", "ReferenceRows", "StyleRows", "Thumbnails"]
__all__ += ["THUMBNAIL_HEIGHT", "mean_row", "media_views"]

THUMBNAIL_HEIGHT = 96
"""Pixels. Our choice: a row of five is about 850 wide and 25 kB."""


def media_views(media: ShotMedia, ordinal: int, names: Sequence[str], long_side: int | None) -> dict[str, View]:
    """Return `frame_views` of a frame, made once for all features of the shot."""
    with_weights = set(names) != {"full"}
    for kept in (True, with_weights):
        if ("views", ordinal, long_side, kept) in media.memo:
            return {name: media.memo["views", ordinal, long_side, kept][name] for name in names}
    made = frame_views(media.frames[ordinal], VIEWS if with_weights else ("full",), long_side=long_side)
    media.memo["views", ordinal, long_side, with_weights] = made
    return {name: made[name] for name in names}


def mean_row(rows_FD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of rows, at unit length.

    Raises:
        InputError: If the mean is zero.
    """
    mean_D = rows_FD.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean_D))
    if length == 0:
        raise InputError("The mean of the shot's embeddings is zero.")
    return (mean_D / length).astype(np.float32)


class _Sampled:
    """What features of the frames looked at share."""

    def __init__(self, frames_per_shot: int, sampling: str) -> None:
        self.frames_per_shot, self.sampling = frames_per_shot, sampling

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """The frames of the run's sampling."""
        return sample_frames(facts.num_frames, self.frames_per_shot, self.sampling)

    @property
    def _frames(self) -> str:
        return f"k:{self.frames_per_shot}{self.sampling}"


class FrameRows(_Sampled, EmbeddingFeature):
    """Each frame looked at, in one view, for comparison with references."""

    name = "identity"
    kind: Kind = "identity"
    uses_regions = False

    def __init__(self, backbone: Backbone, view: str, frames_per_shot: int, sampling: str) -> None:
        """Take one of `VIEWS`."""
        super().__init__(frames_per_shot, sampling)
        self.backbone, self.view = backbone, view

    @property
    def signature(self) -> str:
        """View and sampling; the backbone is part of every key."""
        return f"view:{self.view}|px:{self.backbone.long_side}|{self._frames}@1"

    def views(self, media: ShotMedia) -> Sequence[View]:
        """One view per frame."""
        side = self.backbone.long_side
        return [media_views(media, f, [self.view], side)[self.view] for f in self.frames_wanted(media.facts)]

    def arrays(self, rows_VD: NDArray[np.float32], media: ShotMedia) -> dict[str, NDArray[Any]]:
        """`rows`, one per frame."""
        return {"rows": rows_VD}


class CharacterRows(_Sampled, EmbeddingFeature):
    """Each character of the regions, in the frames looked at; none where the shot has no regions."""

    name = "character"
    kind: Kind = "identity"

    def __init__(self, backbone: Backbone, frames_per_shot: int, sampling: str) -> None:
        """Take the encoder and the sampling."""
        super().__init__(frames_per_shot, sampling)
        self.backbone = backbone

    @property
    def signature(self) -> str:
        """Sampling and margin; the backbone and the regions are part of every key."""
        return f"view:character|px:{self.backbone.long_side}|{self._frames}@1"

    def views(self, media: ShotMedia) -> Sequence[View]:
        """One view per character and frame that shows it, characters in order of their names."""
        return [view for _, view in self._found(media, with_pixels=True) if view is not None]

    def arrays(self, rows_VD: NDArray[np.float32], media: ShotMedia) -> dict[str, NDArray[Any]]:
        """`rows/NAME` of every character that was looked for; no row where it was not found."""
        names = [name for name, _ in self._found(media, with_pixels=False)]
        width = rows_VD.shape[1] if rows_VD.ndim == 2 else 0
        rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in media.regions}
        for name, row_D in zip(names, rows_VD, strict=True):
            rows[name].append(row_D)
        empty = np.zeros((0, width), np.float32)
        return {f"rows/{name}": np.stack(found) if found else empty for name, found in sorted(rows.items())}

    def _found(self, media: ShotMedia, *, with_pixels: bool) -> list[tuple[str, View | None]]:
        found: list[tuple[str, View | None]] = []
        for name in sorted(media.regions):
            for ordinal in self.frames_wanted(media.facts):
                region = nearest_region(media.regions[name], ordinal)
                if region is None or (region.mask is not None and region.mask.area == 0):
                    continue
                view = None
                if with_pixels:
                    view = region_view(media.frames[ordinal], region, long_side=self.backbone.long_side)
                    if view is None:
                        raise InputError(f"A mask of {name!r} vanishes at the size of the frame.")
                found.append((name, view))
        return found


class LookRows(_Sampled, EmbeddingFeature):
    """What the shot looks like: per view, the mean over its frames."""

    name = "look"
    kind: Kind = "look"
    uses_regions = False

    def __init__(self, backbone: Backbone, frames_per_shot: int, sampling: str) -> None:
        """Take the encoder and the sampling."""
        super().__init__(frames_per_shot, sampling)
        self.backbone = backbone

    @property
    def signature(self) -> str:
        """Views and sampling."""
        return f"views:{'+'.join(VIEWS)}|px:{self.backbone.long_side}|{self._frames}@1"

    def views(self, media: ShotMedia) -> Sequence[View]:
        """All views of the first frame, then of the second, and so on."""
        side = self.backbone.long_side
        made = [media_views(media, ordinal, VIEWS, side) for ordinal in self.frames_wanted(media.facts)]
        return [views[name] for views in made for name in VIEWS]

    def arrays(self, rows_VD: NDArray[np.float32], media: ShotMedia) -> dict[str, NDArray[Any]]:
        """One row per view."""
        return {name: mean_row(rows_VD[start :: len(VIEWS)]) for start, name in enumerate(VIEWS)}


class StyleRows(_Sampled, EmbeddingFeature):
    """Style by an encoder that was made for it: the mean row of the full frames."""

    name = "style"
    kind: Kind = "look"
    uses_regions = False

    def __init__(self, backbone: Backbone, frames_per_shot: int, sampling: str) -> None:
        """Take the style encoder and the sampling."""
        super().__init__(frames_per_shot, sampling)
        self.backbone = backbone

    @property
    def signature(self) -> str:
        """Sampling; the encoder is part of every key."""
        return f"style|px:{self.backbone.long_side}|{self._frames}@1"

    def views(self, media: ShotMedia) -> Sequence[View]:
        """The full frames."""
        side = self.backbone.long_side
        return [media_views(media, f, ["full"], side)["full"] for f in self.frames_wanted(media.facts)]

    def arrays(self, rows_VD: NDArray[np.float32], media: ShotMedia) -> dict[str, NDArray[Any]]:
        """`row`."""
        return {"row": mean_row(rows_VD)}


class PaletteStyle(_Sampled, PixelFeature):
    """Style without an encoder: how light, how colourful and how busy the picture is, not which colours it has where.

    Three histograms of equal weight: L of CIE Lab, chroma, and the strength of edges of L. The row holds square roots,
    so the dot product of two rows is the mean Hellinger affinity of the three. A sanity check, like all classical.
    """

    name = "style"
    uses_regions = False
    _SIDE = 180
    _BINS = 16
    _RANGES = (("lightness", 0.0, 100.0), ("chroma", 0.0, 96.0), ("edge", 0.0, 48.0))

    @property
    def signature(self) -> str:
        """Histograms and sampling."""
        return f"palette{self._BINS}x3-px{self._SIDE}|{self._frames}@1"

    def extract(self, media: ShotMedia) -> dict[str, NDArray[Any]]:
        """`row`, of unit length."""
        rows = [self._row(media, ordinal) for ordinal in self.frames_wanted(media.facts)]
        return {"row": mean_row(np.stack(rows))}

    def _row(self, media: ShotMedia, ordinal: int) -> NDArray[np.float32]:
        image_HW3 = media_views(media, ordinal, ["full"], self._SIDE)["full"].image
        lab_HW3 = lab_of(image_HW3)
        lightness_HW = np.ascontiguousarray(lab_HW3[..., 0])
        chroma_HW = cv2.magnitude(*(np.ascontiguousarray(lab_HW3[..., channel]) for channel in (1, 2)))
        edge_HW = cv2.magnitude(
            cv2.Sobel(lightness_HW, -1, 1, 0, scale=0.25), cv2.Sobel(lightness_HW, -1, 0, 1, scale=0.25)
        )
        parts = []
        for values_HW, (_, low, high) in zip((lightness_HW, chroma_HW, edge_HW), self._RANGES, strict=True):
            bins = np.clip((values_HW.ravel() - low) * (self._BINS / (high - low)), 0, self._BINS - 1).astype(np.int64)
            parts.append(np.bincount(bins, minlength=self._BINS) / bins.size)
        return np.sqrt(np.concatenate(parts) / len(parts)).astype(np.float32)


class ReferenceRows(EmbeddingFeature):
    """A reference image, composited as asked."""

    name = "reference"
    kind: Kind = "identity"
    uses_regions = False

    def __init__(self, backbone: Backbone, background: str, opaque_view: str) -> None:
        """Take the encoder, what stands behind a cut-out, and the view of a picture that is none."""
        self.backbone, self.background, self.opaque_view = backbone, background, opaque_view

    @property
    def signature(self) -> str:
        """Compositing."""
        return f"ref:{self.background}|opaque:{self.opaque_view}|px:{self.backbone.long_side}@1"

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """The only one."""
        return (0,)

    def views(self, media: ShotMedia) -> Sequence[View]:
        """The reference."""
        try:
            return [
                reference_view(
                    media.frames[0], self.background, opaque_view=self.opaque_view, long_side=self.backbone.long_side
                )
            ]
        except ValueError as error:
            raise InputError(str(error)) from error

    def arrays(self, rows_VD: NDArray[np.float32], media: ShotMedia) -> dict[str, NDArray[Any]]:
        """`rows`, one."""
        return {"rows": rows_VD}


class Thumbnails(_Sampled, PixelFeature):
    """The frames looked at side by side, or a reference on white, as one JPEG."""

    name = "thumbnails"
    uses_regions = False

    @property
    def signature(self) -> str:
        """Height and sampling."""
        return f"h{THUMBNAIL_HEIGHT}-q92|{self._frames}@1"

    def extract(self, media: ShotMedia) -> dict[str, NDArray[Any]]:
        """`jpeg`, the bytes of the picture."""
        tiles = [_tile(media.frames[ordinal]) for ordinal in self.frames_wanted(media.facts)]
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(tiles, axis=1)).save(buffer, "JPEG", quality=92)
        return {"jpeg": np.frombuffer(buffer.getvalue(), np.uint8)}


def _tile(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame of the height of a thumbnail; what is transparent is white."""
    if frame.shape[2] == 4:
        alpha = frame[..., 3:].astype(np.float32) / 255.0
        frame = np.round(frame[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    height, width = frame.shape[:2]
    size = (max(1, round(width * THUMBNAIL_HEIGHT / height)), THUMBNAIL_HEIGHT)
    way = cv2.INTER_AREA if height > THUMBNAIL_HEIGHT else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(frame), size, interpolation=way), dtype=np.uint8)
