"""Draw the frames of one shot, and say exactly where each character is in them."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.toon.actions import ACTIONS
from animeshooter_hf.toon.camera import View
from animeshooter_hf.toon.captions import card_words
from animeshooter_hf.toon.character import HEIGHTS, draw_character_cutouts
from animeshooter_hf.toon.drawing import Brush, Cutout, composite, ellipse
from animeshooter_hf.toon.plan import FilmPlan, Placement, ToonShot
from animeshooter_hf.toon.poses import Pose, blink_at
from animeshooter_hf.toon.scenery import paint_scene
from animeshooter_hf.toon.titles import draw_title_card
from animeshooter_hf.toon.weather import draw_weather

__all__ = ["ShotRenderer"]

_WHIP_REACH = 1.1
"""Frame widths that a whip pan crosses."""

_MARGIN = 4
"""Pixels painted around what the camera sees, so that interpolation never looks past the edge."""


@dataclass(frozen=True, slots=True)
class _Background:
    """The painted part of a scene that one shot needs."""

    picture: NDArray[np.uint8]
    left: float
    top: float
    pixels_per_unit: float


class ShotRenderer:
    """Draws one shot of a plan. Frames are counted from the start of the shot.

    Every result depends on the plan and the frame alone. The background is painted once, and the latest drawing is
    kept, because a drawing that stands for several frames is asked for several times.
    """

    def __init__(self, plan: FilmPlan, shot: ToonShot) -> None:
        cv2.setNumThreads(1)
        self.plan = plan
        self.shot = shot
        settings = plan.settings
        self._width, self._height = settings.width, settings.height
        self._rate = float(settings.frame_rate)
        self._background: _Background | None = None
        self._latest: tuple[tuple[object, ...], NDArray[np.uint8]] | None = None
        self._latest_cutouts: tuple[tuple[object, ...], list[tuple[str, Cutout]]] | None = None
        self._latest_scenery: tuple[View, NDArray[np.uint8]] | None = None

    def with_plan(self, plan: FilmPlan) -> "ShotRenderer":
        """Return what draws the same shot with other characters or lines of theirs, over the scenery painted here."""
        other = ShotRenderer(plan, self.shot)
        if self.shot.scene_id is not None and self._background is None:
            self._background = self._paint_background()
        other._background = self._background
        return other

    def drawing_key(self, frame: int) -> tuple[object, ...]:
        """Return what a frame's drawing depends on; frames with equal keys are equal."""
        frame = self._clamped(frame)
        trap, inside = self.shot.trap, self._in_trap(frame)
        fleeting = frame if inside and trap.kind in ("flash", "sweep", "whip_pan", "shake") else None
        return (self.shot.animation_frame(frame), self._view(frame), fleeting)

    def picture(self, frame: int) -> NDArray[np.uint8]:
        """Return a frame of shape (H, W, 3), RGB; it must not be changed."""
        frame = self._clamped(frame)
        key = self.drawing_key(frame)
        if self._latest is None or self._latest[0] != key:
            self._latest = (key, self._draw(frame))
        return self._latest[1]

    def masks(self, frame: int) -> dict[str, NDArray[np.bool_]]:
        """Return where each character is seen: coverage, less what lies before it, of at least one half."""
        frame = self._clamped(frame)
        cutouts = self._cutouts(frame)
        found = {}
        for number, (name, cutout) in enumerate(cutouts):
            if not name:
                continue
            height, width = cutout.pixels.shape[:2]
            visible = np.divide(cutout.pixels[..., 3], 255, dtype=np.float32)
            for _, front in cutouts[number + 1 :]:
                _hide(visible, cutout, front)
            inside = visible >= 0.5
            if inside.any():
                mask = np.zeros((self._height, self._width), bool)
                mask[cutout.y : cutout.y + height, cutout.x : cutout.x + width] = inside
                found[name] = mask
        return found

    def pose(self, placement: Placement, frame: int) -> Pose:
        """Return how a character stands in a frame."""
        seconds = self.shot.animation_frame(frame) / self._rate
        pose = ACTIONS[placement.action].pose(seconds, placement.key)
        if pose.eyes == "open" and blink_at(seconds, placement.key):
            pose = replace(pose, eyes="closed")
        if placement.facing < 0:
            pose = replace(pose, facing=-pose.facing, lean=-pose.lean, gaze=(-pose.gaze[0], pose.gaze[1]))
            pose = replace(pose, x=-pose.x, props=tuple(replace(p, x=-p.x) for p in pose.props))
        return pose

    def horizontal_position(self, placement: Placement, frame: int) -> float:
        """Return where a character is in the frame's width; 0 is the left edge and 1 the right one."""
        view = self._view(self._clamped(frame))
        seconds = self.shot.animation_frame(frame) / self._rate
        x = placement.x + placement.facing * placement.speed * seconds
        return 0.5 + (x - view.x) * view.zoom / self.plan.settings.aspect

    def _clamped(self, frame: int) -> int:
        return min(max(frame, 0), self.shot.num_frames - 1)

    def _in_trap(self, frame: int) -> bool:
        return self.shot.trap.start_frame <= frame < self.shot.trap.end_frame

    def _view(self, frame: int) -> View:
        shot, trap = self.shot, self.shot.trap
        view = shot.camera.view(shot.moving_frame(frame) / max(shot.num_frames - 1, 1))
        if trap.kind == "whip_pan":
            share = (frame - trap.start_frame + 1) / (trap.end_frame - trap.start_frame + 1)
            left = 1 - min(max(share, 0.0), 1.0)
            return replace(view, x=view.x + trap.way * _WHIP_REACH * self.plan.settings.aspect * left)
        if trap.kind == "shake" and self._in_trap(frame):
            fading = 1 - 0.6 * (frame - trap.start_frame) / (trap.end_frame - trap.start_frame)
            x, y = 0.045 * (-1) ** frame, 0.03 * (-1) ** (frame // 2)
            return replace(view, x=view.x + x * fading / view.zoom, y=view.y + y * fading / view.zoom)
        return view

    def _draw(self, frame: int) -> NDArray[np.uint8]:
        shot, settings = self.shot, self.plan.settings
        if shot.scene_id is None:
            canvas = np.empty((self._height, self._width, 3), np.uint8)
            words = card_words(self.plan, shot)
            seconds = shot.animation_frame(frame) / self._rate
            draw_title_card(canvas, self.plan.style, words, seconds, f"{self.plan.seed}/{shot.index}")
            return canvas
        view = self._view(frame)
        canvas = self._scenery(view).copy()
        brush = self._world_brush(canvas, view)
        seconds = (shot.start_frame + shot.animation_frame(frame)) / self._rate
        draw_weather(brush, self.plan.scene[shot.scene_id], self.plan.style, settings.aspect, seconds)
        for placement in shot.placements:
            self._draw_shadow(brush, placement, frame)
        for _, cutout in self._cutouts(frame):
            composite(canvas, cutout)
        return self._with_trap(canvas, frame)

    def _with_trap(self, canvas: NDArray[np.uint8], frame: int) -> NDArray[np.uint8]:
        trap = self.shot.trap
        if trap.kind == "flash" and self._in_trap(frame):
            return np.asarray(cv2.addWeighted(canvas, 0.1, np.full_like(canvas, (255, 252, 236)), 0.9, 0), np.uint8)
        if trap.kind == "whip_pan" and self._in_trap(frame):
            frames = trap.end_frame - trap.start_frame + 1
            blur = max(1, round(0.6 * _WHIP_REACH * self._width / frames))
            return np.asarray(cv2.blur(canvas, (blur, 1)), np.uint8)
        return canvas

    def _world_brush(self, canvas: NDArray[np.uint8], view: View) -> Brush:
        scale = self._height * view.zoom
        matrix = np.array(
            [[scale, 0, self._width / 2 - view.x * scale], [0, scale, self._height / 2 - view.y * scale]],
            dtype=np.float64,
        )
        style = self.plan.style
        width = style.line_width * style.scenery_lines * scale * 0.8
        return Brush(canvas, matrix, style.grade(style.line_colour), width)

    def _scenery(self, view: View) -> NDArray[np.uint8]:
        """Return what the camera sees of the painted background; it must not be changed."""
        if self._latest_scenery is not None and self._latest_scenery[0] == view:
            return self._latest_scenery[1]
        if self._background is None:
            self._background = self._paint_background()
        ground = self._background
        ratio = self._height * view.zoom / ground.pixels_per_unit
        left = (view.x - ground.left) * ground.pixels_per_unit - self._width / 2 / ratio
        top = (view.y - ground.top) * ground.pixels_per_unit - self._height / 2 / ratio
        if abs(ratio - 1) < 1e-9:
            # The same scale: whole pixels, so that a still background is as sharp as it was painted.
            row, column = round(top), round(left)
            seen = ground.picture[row : row + self._height, column : column + self._width]
        else:
            back = np.array([[1 / ratio, 0, left], [0, 1 / ratio, top]], dtype=np.float64)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            size = (self._width, self._height)
            moved = cv2.warpAffine(ground.picture, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            seen = np.asarray(moved, np.uint8)
        self._latest_scenery = (view, seen)
        return seen

    def _paint_background(self) -> _Background:
        """Paint all that the camera will see, as sharp as the closest view needs."""
        views = [self._view(frame) for frame in range(self.shot.num_frames)]
        aspect = self.plan.settings.aspect
        scale = self._height * max(view.zoom for view in views)
        margin = _MARGIN / scale
        left = min(view.x - aspect / 2 / view.zoom for view in views) - margin
        right = max(view.x + aspect / 2 / view.zoom for view in views) + margin
        top = min(view.y - 0.5 / view.zoom for view in views) - margin
        bottom = max(view.y + 0.5 / view.zoom for view in views) + margin
        picture = paint_scene(
            self.plan.scene[self.shot.scene_id or ""],
            self.plan.style,
            aspect=aspect,
            left=left,
            top=top,
            pixels_per_unit=scale,
            width=math.ceil((right - left) * scale),
            height=math.ceil((bottom - top) * scale),
        )
        return _Background(picture, left, top, scale)

    def _draw_shadow(self, brush: Brush, placement: Placement, frame: int) -> None:
        pose = self.pose(placement, frame)
        seconds = self.shot.animation_frame(frame) / self._rate
        unit = placement.unit
        x = placement.x + placement.facing * placement.speed * seconds + pose.x * unit
        size = unit * HEIGHTS[self.plan.character[placement.character_id].height] * (1 - 0.5 * min(-pose.y, 1))
        brush.shade(ellipse(x, placement.y + 0.01, 0.42 * size, 0.055 * size), (30, 24, 50), 0.28)

    def _cutouts(self, frame: int) -> list[tuple[str, Cutout]]:
        """Return what is drawn over the background, from back to front; things that are no character have no name."""
        key = self.drawing_key(frame)
        if self._latest_cutouts is None or self._latest_cutouts[0] != key:
            drawn: list[tuple[str, Cutout]] = []
            for placement in sorted(self.shot.placements, key=lambda one: one.y):
                behind, figure, front = self._character_cutouts(placement, frame)
                drawn += [("", thing) for thing in behind]
                drawn.append((placement.character_id, figure))
                drawn += [("", thing) for thing in front]
            if self.shot.trap.kind == "sweep" and self._in_trap(frame):
                drawn.append(("", self._sweep_cutout(frame)))
            self._latest_cutouts = (key, drawn)
        return self._latest_cutouts[1]

    def _character_cutouts(self, placement: Placement, frame: int) -> tuple[list[Cutout], Cutout, list[Cutout]]:
        view = self._view(frame)
        scale = self._height * view.zoom
        seconds = self.shot.animation_frame(frame) / self._rate
        x = placement.x + placement.facing * placement.speed * seconds
        style = self.plan.style
        return draw_character_cutouts(
            self.plan.character[placement.character_id],
            self.pose(placement, frame),
            style,
            feet_x=self._width / 2 + (x - view.x) * scale,
            feet_y=self._height / 2 + (placement.y - view.y) * scale,
            pixels_per_unit=placement.unit * scale,
            line_width=style.line_width * self._height * math.sqrt(view.zoom / 1.4),
            frame_width=self._width,
            frame_height=self._height,
        )

    def _sweep_cutout(self, frame: int) -> Cutout:
        """Return the bush that rushes past right before the camera."""
        trap, aspect = self.shot.trap, self.plan.settings.aspect
        share = (frame - trap.start_frame + 0.5) / (trap.end_frame - trap.start_frame)
        reach = 1.1 * aspect + 0.6
        x = aspect / 2 + (share - 0.5) * trap.way * (aspect + reach)
        canvas = np.zeros((self._height, self._width, 4), np.uint8)
        matrix = np.array([[self._height, 0, x * self._height], [0, self._height, 0]], dtype=np.float64)
        style = self.plan.style
        brush = Brush(canvas, matrix, style.grade(style.line_colour), max(1.0, style.line_width * self._height))
        dark, light = style.grade((44, 96, 74)), style.grade((66, 128, 88))
        lumps = ((-0.42, 0.75, 0.5), (0.42, 0.75, 0.5), (-0.25, 0.32, 0.42), (0.28, 0.28, 0.44), (0.0, 0.1, 0.4))
        for dx, y, radius in lumps:
            brush.shape(ellipse(dx * aspect / 1.8, y, radius * max(aspect / 1.8, 0.6), count=36), dark)
        for dx, y, radius in (*lumps, (0.0, 0.6, 0.6)):
            wide = radius * max(aspect / 1.8, 0.6) * 0.97
            brush.shape(ellipse(dx * aspect / 1.8, y, wide, count=36), dark, line=False)
        for dx, y, radius in lumps:
            brush.shape(ellipse(dx * aspect / 1.8 - 0.1, y - 0.12, radius * 0.5), light, line=False)
        return Cutout(0, 0, canvas)


def _hide(visible: NDArray[np.float32], cutout: Cutout, front: Cutout) -> None:
    """Take away from a cut-out's coverage what another one covers before it, in place."""
    height, width = visible.shape
    front_height, front_width = front.pixels.shape[:2]
    top, left = max(cutout.y, front.y), max(cutout.x, front.x)
    bottom = min(cutout.y + height, front.y + front_height)
    right = min(cutout.x + width, front.x + front_width)
    if bottom > top and right > left:
        cover = front.pixels[top - front.y : bottom - front.y, left - front.x : right - front.x, 3]
        visible[top - cutout.y : bottom - cutout.y, left - cutout.x : right - cutout.x] *= 1 - cover / np.float32(255)
