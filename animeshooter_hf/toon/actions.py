"""Actions: what a character's body does at each moment, and when that makes a sound.

An action is a pure function from seconds and a key of chance to a `Pose`, so that any frame can be drawn on its own.
The times of its sounds come from the same figures as its movement: a footstep sounds when the foot is down.
"""

import math
from dataclasses import replace

from animeshooter_hf.toon.poses import Action, Pose, Prop, syllables

__all__ = ["ACTIONS"]

_STEP = 0.5
_RUN_STEP = 0.26


def _gait(seconds: float, step: float, reach: float, lift: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return both feet's offsets; a foot touches the ground at step/2, 3*step/2, ... in turn."""
    phase = math.pi * (seconds / step - 0.5)
    left = (reach * math.cos(phase), lift * max(0.0, math.sin(phase)))
    right = (-reach * math.cos(phase), lift * max(0.0, -math.sin(phase)))
    return left, right


def _idle(seconds: float, key: str) -> Pose:
    breath = math.sin(2 * math.pi * seconds / 2.2)
    return Pose(stretch=1 + 0.012 * breath, facing=0.5, left_arm=0.3 + 0.04 * breath, right_arm=0.3 + 0.04 * breath)


def _walk(seconds: float, key: str) -> Pose:
    left, right = _gait(seconds, _STEP, 0.12, 0.09)
    swing = math.cos(math.pi * (seconds / _STEP - 0.5))
    bob = abs(math.sin(math.pi * (seconds / _STEP - 0.5)))
    return Pose(
        y=-0.035 * bob,
        lean=0.04 + 0.03 * swing,
        stretch=0.985 + 0.03 * bob,
        left_foot=left,
        right_foot=right,
        left_arm=0.35 - 0.4 * swing,
        right_arm=0.35 + 0.4 * swing,
    )


def _run(seconds: float, key: str) -> Pose:
    left, right = _gait(seconds, _RUN_STEP, 0.2, 0.16)
    swing = math.cos(math.pi * (seconds / _RUN_STEP - 0.5))
    bob = abs(math.sin(math.pi * (seconds / _RUN_STEP - 0.5)))
    return Pose(
        y=-0.07 * bob,
        lean=0.17,
        stretch=0.96 + 0.08 * bob,
        left_foot=left,
        right_foot=right,
        left_arm=0.9 - 0.8 * swing,
        right_arm=0.9 + 0.8 * swing,
        mouth=0.45,
        smile=1.0,
    )


_JUMP_PERIOD, _TAKE_OFF, _LANDING = 1.4, 0.3, 0.9


def _jump(seconds: float, key: str) -> Pose:
    now = seconds % _JUMP_PERIOD
    if now < _TAKE_OFF:
        crouch = math.sin(math.pi / 2 * now / _TAKE_OFF)
        return Pose(stretch=1 - 0.22 * crouch, left_arm=0.2, right_arm=0.2, gaze=(0, -0.6), facing=0.4)
    if now < _LANDING:
        share = (now - _TAKE_OFF) / (_LANDING - _TAKE_OFF)
        height = 4 * share * (1 - share)
        return Pose(
            y=-0.55 * height,
            stretch=1.06 + 0.1 * abs(1 - 2 * share),
            left_arm=1.2 + 1.3 * height,
            right_arm=1.2 + 1.3 * height,
            left_foot=(0.02, 0.03),
            right_foot=(-0.02, 0.03),
            mouth=0.8,
            smile=1.0,
            facing=0.4,
            eyes="happy" if share > 0.3 else "open",
        )
    share = (now - _LANDING) / (_JUMP_PERIOD - _LANDING)
    return Pose(stretch=1 - 0.2 * math.exp(-4 * share) * math.cos(7 * share), smile=1.0, facing=0.4)


def _wave(seconds: float, key: str) -> Pose:
    swing = math.sin(2 * math.pi * seconds / 0.6)
    return replace(
        _idle(seconds, key),
        right_arm=2.45 + 0.45 * swing,
        lean=0.03 * swing,
        mouth=0.5 if seconds % 1.8 < 0.9 else 0.0,
        smile=1.0,
        facing=0.2,
    )


def _dance(seconds: float, key: str) -> Pose:
    beat = 0.5
    sway = math.sin(math.pi * (seconds / beat - 0.5))
    bounce = abs(math.cos(math.pi * (seconds / beat - 0.5)))
    return Pose(
        x=0.07 * sway,
        y=-0.05 * bounce,
        lean=0.16 * sway,
        stretch=0.94 + 0.1 * bounce,
        left_foot=(0, 0.08 * max(0.0, sway)),
        right_foot=(0, 0.08 * max(0.0, -sway)),
        left_arm=1.7 + 0.9 * sway,
        right_arm=1.7 - 0.9 * sway,
        facing=0.8 * sway,
        mouth=0.35,
        smile=1.0,
        eyes="happy" if math.floor(seconds / (4 * beat)) % 2 else "open",
    )


def _talk(seconds: float, key: str) -> Pose:
    mouth = 0.0
    for syllable in syllables(key, math.floor(seconds) + 3.0):
        share = (seconds - syllable.start_seconds) / syllable.length_seconds
        if 0 <= share < 1:
            mouth = 0.35 + 0.5 * math.sin(math.pi * share)
    gesture = math.sin(2 * math.pi * seconds / 1.3)
    return Pose(
        lean=0.025 * gesture,
        stretch=1 + 0.01 * math.sin(2 * math.pi * seconds / 0.7),
        left_arm=0.5 + 0.2 * gesture,
        right_arm=1.25 + 0.45 * gesture,
        mouth=mouth,
        facing=0.6,
    )


_SNORE_PERIOD = 2.4


def _sleep(seconds: float, key: str) -> Pose:
    now = seconds % _SNORE_PERIOD / _SNORE_PERIOD
    breath = math.sin(2 * math.pi * (now - 0.15))
    letters = Prop("letters", 0.35, -0.95, seconds / _SNORE_PERIOD)
    return Pose(
        y=0.1,
        lean=0.09,
        stretch=0.93 + 0.03 * breath,
        left_foot=(-0.06, 0.02),
        right_foot=(0.06, 0.02),
        left_arm=0.15,
        right_arm=0.15,
        eyes="closed",
        mouth=0.15 + 0.15 * max(0.0, breath),
        smile=0.1,
        facing=0.3,
        props=(letters,),
    )


def _look_around(seconds: float, key: str) -> Pose:
    turn = math.floor((seconds + 0.6) / 1.2) % 4
    facing = (1.0, -1.0, 0.0, -1.0)[turn]
    settle = math.exp(-6 * ((seconds + 0.6) % 1.2))
    hand = 2.2 if facing > 0.5 else 0.3
    return Pose(
        facing=facing,
        gaze=(0.8 * facing, -0.2),
        stretch=1 + 0.05 * settle,
        right_arm=hand,
        left_arm=2.2 if facing < -0.5 else 0.3,
        mouth=0.12,
        smile=0.1,
    )


_SPLASH_PERIOD, _SPLASH_AT = 1.5, 0.8


def _splash(seconds: float, key: str) -> Pose:
    now = seconds % _SPLASH_PERIOD
    drops: tuple[Prop, ...] = ()
    if now < _SPLASH_AT:
        share = max(0.0, (now - 0.25) / (_SPLASH_AT - 0.25))
        height = 4 * share * (1 - share)
        crouch = 0.18 * math.sin(math.pi * min(now / 0.25, 1))
        pose = Pose(y=-0.35 * height, stretch=1 + 0.08 * height - crouch, left_arm=0.4 + height, right_arm=0.4 + height)
    else:
        share = (now - _SPLASH_AT) / (_SPLASH_PERIOD - _SPLASH_AT)
        pose = Pose(stretch=1 - 0.18 * math.exp(-4 * share), left_arm=1.4 - share, right_arm=1.4 - share, eyes="happy")
        drops = (Prop("drops", 0, 0, share),)
    props = (Prop("puddle", 0, 0.02, 0.0 if not drops else 1 - drops[0].phase), *drops)
    return replace(pose, mouth=0.6, smile=1.0, facing=0.2, props=props)


_BELL_PERIOD = 0.9


def _ring_bell(seconds: float, key: str) -> Pose:
    swing = math.sin(2 * math.pi * (seconds - 0.25) / _BELL_PERIOD)
    arm = 1.9 + 0.35 * swing
    bell = Prop("bell", 0.0, 0.0, 0.6 * swing)
    return Pose(right_arm=arm, lean=0.04 * swing, mouth=0.2, smile=1.0, facing=0.3, gaze=(0.5, -0.5), props=(bell,))


_BOUNCE_PERIOD = 0.75


def _bounce_ball(seconds: float, key: str) -> Pose:
    share = (seconds / _BOUNCE_PERIOD) % 1
    height = 0.62 * (1 - 4 * (share - 0.5) ** 2) if share != 0 else 0.0
    ball = Prop("ball", 0.62, -0.11 - height, seconds * 4)
    return Pose(
        right_arm=1.0 + 0.5 * height,
        left_arm=0.3,
        stretch=1 + 0.03 * math.sin(2 * math.pi * share),
        facing=0.9,
        gaze=(0.7, 0.4 - 1.2 * height),
        props=(ball,),
    )


_FALL_PERIOD, _FALL_AT = 3.6, 1.3


def _slip(seconds: float, key: str) -> Pose:
    now = seconds % _FALL_PERIOD
    if now < 0.7:
        wobble = math.sin(2 * math.pi * now / 0.35)
        return Pose(
            lean=0.12 * wobble, left_arm=1.6 + 0.6 * wobble, right_arm=1.6 - 0.6 * wobble, mouth=0.5, smile=-0.4
        )
    if now < _FALL_AT:
        share = (now - 0.7) / (_FALL_AT - 0.7)
        legs = (0.2 * share, 0.22 * math.sin(math.pi * share))
        return Pose(
            y=-0.3 * math.sin(math.pi * share),
            lean=-0.75 * share,
            left_foot=legs,
            right_foot=legs,
            left_arm=2.4,
            right_arm=2.4,
            mouth=1.0,
            smile=-0.5,
        )
    share = min((now - _FALL_AT) / 1.6, 1.0)
    rest = max(0.0, 1 - max(0.0, share - 0.7) / 0.3)
    stars = (Prop("stars", 0.0, -1.05, now),) if rest == 1.0 else ()
    return Pose(
        y=0.08 * rest,
        lean=-0.3 * rest,
        stretch=1 - 0.15 * rest * math.exp(-3 * share),
        left_foot=(0.12 * rest, 0.03 * rest),
        right_foot=(0.16 * rest, 0.05 * rest),
        eyes="closed" if rest == 1.0 else "open",
        mouth=0.2,
        smile=-0.6,
        props=stars,
    )


_SPIN_PERIOD = 0.9


def _spin(seconds: float, key: str) -> Pose:
    angle = 2 * math.pi * seconds / _SPIN_PERIOD
    return Pose(
        facing=math.cos(angle),
        y=-0.04 * abs(math.sin(angle)),
        lean=0.08 * math.sin(angle),
        stretch=1.03,
        left_arm=1.5 + 0.2 * math.sin(angle),
        right_arm=1.5 - 0.2 * math.sin(angle),
        left_foot=(0, 0.05 * max(0.0, math.sin(angle))),
        right_foot=(0, 0.05 * max(0.0, -math.sin(angle))),
        eyes="happy",
        mouth=0.5,
        smile=1.0,
    )


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("idle", _idle),
        Action("walk", _walk, (_STEP / 2, _STEP, "footstep"), speed=0.42),
        Action("run", _run, (_RUN_STEP / 2, _RUN_STEP, "footstep"), speed=1.0),
        Action("jump", _jump, (_TAKE_OFF, _JUMP_PERIOD, "boing"), (_LANDING, _JUMP_PERIOD, "thud")),
        Action("wave", _wave, (0.15, 0.6, "swish")),
        Action("dance", _dance, (0.25, 0.5, "tap")),
        Action("talk", _talk, speaks=True),
        Action("sleep", _sleep, (0.36, _SNORE_PERIOD, "snore")),
        Action("look_around", _look_around, (0.6, 1.2, "pop")),
        Action("splash", _splash, (_SPLASH_AT, _SPLASH_PERIOD, "splash")),
        Action("ring_bell", _ring_bell, (0.475, _BELL_PERIOD, "bell")),
        Action("bounce_ball", _bounce_ball, (_BOUNCE_PERIOD, _BOUNCE_PERIOD, "bounce")),
        Action("slip", _slip, (0.7, _FALL_PERIOD, "slide_whistle"), (_FALL_AT, _FALL_PERIOD, "thud")),
        Action("spin", _spin, (0.2, _SPIN_PERIOD, "whoosh")),
    )
}
"""Name -> action. "idle" is for those who watch."""
