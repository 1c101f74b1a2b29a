"""What the controls take from a shot and from a reference, all in the one decode pass.

    motion              five triples of frames         pairs (P, 3) top5, residual, change; neighbours (P,); steps (2,)
    pictures            the centres of five bins       hashes, mirrored (F, 63); faults (F, 2) autocorrelation, blank;
                                                       bars (1,); edges (2, 72, 128); frame (96, W, 3), the middle one
    cutout              a reference                    rgba (96, W, 4)
    mirrored_reference  a reference, left is right     rows (1, D)

A shot of 49 frames gives 15 converted frames, five of which other metrics use too.

Shape letters used below
    P pairs    F frames    V views    D embedding width    W columns
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval import copying, motion, picture_faults
from animeshooter_hf.eval.backbones.base import Backbone, Kind
from animeshooter_hf.eval.sampling import sample_frames
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, PixelFeature, ShotFacts, ShotMedia
from animeshooter_hf.eval.views import View, reference_view

__all__ = ["CONTROL_FRAMES", "CutoutPicture", "MirroredReferenceRows", "MotionMeasures", "PictureMeasures"]

CONTROL_FRAMES = 5
"""Places of a shot that are looked at, whatever the sampling of the run, so that the limits keep their meaning."""


class MotionMeasures(PixelFeature):
    """How the shot moves, beyond what the camera explains, and how far neighbours are apart."""

    name = "motion"
    uses_regions = False

    @property
    def signature(self) -> str:
        """Flow, sizes and steps."""
        return (
            f"dis-w{motion.FLOW_WIDTH}-{motion.PAIR_SECONDS:g}s-t{motion.UNEXPLAINED_DIFFERENCE:g}|k:{CONTROL_FRAMES}@1"
        )

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """Triples: a frame, the next one, and the one a quarter of a second later."""
        pairs = (*self._pairs(facts), *motion.neighbour_pairs(facts.num_frames, CONTROL_FRAMES))
        return sorted({ordinal for pair in pairs for ordinal in pair} or {0})

    def extract(self, media: ShotMedia) -> dict[str, NDArray[Any]]:
        """Measure all pairs; a shot of one frame has none, and its arrays are empty."""
        grey = {ordinal: _grey(media, ordinal) for ordinal in self.frames_wanted(media.facts)}
        rows = []
        for first, second in self._pairs(media.facts):
            seconds = (second - first) / media.facts.frame_rate
            rows.append(list(motion.measure_pair(grey[first], grey[second], seconds).values()))
        neighbours = motion.neighbour_pairs(media.facts.num_frames, CONTROL_FRAMES)
        changes = [float(cv2.absdiff(grey[first], grey[second]).mean()) for first, second in neighbours]
        is_long = media.facts.num_frames >= motion.SHORTEST_IN_ORDER
        steps = motion.step_changes([(grey[first], grey[second]) for first, second in neighbours]) if is_long else ()
        return {
            "pairs": np.array(rows, dtype=np.float64).reshape(-1, 3),
            "neighbours": np.array(changes, dtype=np.float64),
            "steps": np.array(steps, dtype=np.float64),
        }

    @staticmethod
    def _pairs(facts: ShotFacts) -> tuple[tuple[int, int], ...]:
        return motion.frame_pairs(facts.num_frames, facts.frame_rate, CONTROL_FRAMES)


class PictureMeasures(PixelFeature):
    """What the controls want of the frames one by one: hashes, faults, edges that last, and one picture."""

    name = "pictures"
    uses_regions = False

    @property
    def signature(self) -> str:
        """Sizes."""
        height, width = picture_faults.EDGE_SIZE
        return f"phash{copying.HASH_BITS}-h{copying.MATCH_HEIGHT}-e{height}x{width}|k:{CONTROL_FRAMES}@1"

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """The centres of five bins."""
        return sample_frames(facts.num_frames, CONTROL_FRAMES)

    def extract(self, media: ShotMedia) -> dict[str, NDArray[Any]]:
        """Measure every frame."""
        chosen = self.frames_wanted(media.facts)
        greys = [_grey(media, ordinal) for ordinal in chosen]
        faults = [(picture_faults.spatial_autocorrelation(g), float(picture_faults.is_blank(g))) for g in greys]
        return {
            "hashes": np.stack([copying.picture_hash(grey) for grey in greys]),
            "mirrored": np.stack([copying.picture_hash(np.ascontiguousarray(grey[:, ::-1])) for grey in greys]),
            "faults": np.array(faults, dtype=np.float64),
            "bars": np.array([picture_faults.bars_share(greys)]),
            "edges": picture_faults.lasting_edges(greys).view(np.uint8),
            "frame": copying.shrink_to_height(media.frames[chosen[len(chosen) // 2]]),
        }


class CutoutPicture(PixelFeature):
    """A reference as it would be pasted: cut to its opaque part, small."""

    name = "cutout"
    uses_regions = False

    @property
    def signature(self) -> str:
        """Its height."""
        return f"cutout-h{copying.MATCH_HEIGHT}@1"

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """The only one."""
        return (0,)

    def extract(self, media: ShotMedia) -> dict[str, NDArray[Any]]:
        """Return `rgba`."""
        return {"rgba": copying.cut_to_box(media.frames[0])}


class MirroredReferenceRows(EmbeddingFeature):
    """A reference with left and right exchanged: whoever copies it is nearer to the original than to this."""

    name = "mirrored_reference"
    kind: Kind = "identity"
    uses_regions = False

    def __init__(self, backbone: Backbone, background: str, opaque_view: str) -> None:
        """Take the encoder, what stands behind a cut-out, and the view of a picture that is none."""
        self.backbone, self.background, self.opaque_view = backbone, background, opaque_view

    @property
    def signature(self) -> str:
        """Compositing."""
        return f"mirrored:{self.background}|opaque:{self.opaque_view}|px:{self.backbone.long_side}@1"

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """The only one."""
        return (0,)

    def views(self, media: ShotMedia) -> Sequence[View]:
        """The reference, mirrored."""
        mirrored = np.ascontiguousarray(media.frames[0][:, ::-1])
        side = self.backbone.long_side
        try:
            return [reference_view(mirrored, self.background, opaque_view=self.opaque_view, long_side=side)]
        except ValueError as error:
            raise InputError(str(error)) from error

    def arrays(self, rows_VD: NDArray[np.float32], media: ShotMedia) -> dict[str, NDArray[Any]]:
        """Return `rows`, one."""
        return {"rows": rows_VD}


def _grey(media: ShotMedia, ordinal: int) -> NDArray[np.uint8]:
    """Return a frame as grey at the width of the flow, made once for both features."""
    key = ("grey", ordinal)
    if key not in media.memo:
        media.memo[key] = motion.shrink_to_grey(media.frames[ordinal])
    grey: NDArray[np.uint8] = media.memo[key]
    return grey
