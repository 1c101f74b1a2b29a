"""The truth about a film, as it stands beside it: `NAME.mp4` and `NAME.script.json`.

The script's sizes and masks are those of the frames in the mp4. H.264 wants even sizes, so a film of odd size is
padded at the right and the bottom by repeating the last pixels, and so are its masks; `picture_width` and
`picture_height` are the size before that. What a mask means is said at `ToonFilm.masks`.

    stories      rows of the `stories` config; frames are those of the film, seconds count from the story's start
    boundaries   first frame of each new shot, and the half-open range of frames that the transition touches, which is
                 empty for a cut
    shot_truth   shot -> action, camera, trap (frames of the film) and what can be seen of each character
    masks        character -> spans [first frame, frame after the last, number] and the masks they point to
"""

import json
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.clock import seconds_at
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import AudioAnnotation, Character, Scene, Shot, Story, make_shot_id, make_story_id
from animeshooter_hf.toon.captions import describe, narrate, storyline
from animeshooter_hf.toon.film import ToonFilm
from animeshooter_hf.toon.plan import FilmPlan, StoryPlan, ToonShot
from animeshooter_hf.toon.soundtrack import ToonSound, list_music, list_sounds, list_speech

__all__ = [
    "SCRIPT_FORMAT",
    "MaskRecorder",
    "make_stories",
    "read_fingerprint",
    "render_film",
    "script_path",
    "write_script",
]

SCRIPT_FORMAT = "animeshooter-film-script"
"""Value of "format" in a script."""

_CLIP_SECONDS = 4
_AUDIO_TEXTS: dict[str, tuple[str, str, str]] = {
    "footstep": ("footsteps", "Soft, low-pitched thumps in a steady rhythm.", "The steps of {a} on the ground."),
    "boing": (
        "boing",
        "A springy tone that rises and wobbles, followed by a dull landing.",
        "{a} leaping up and landing.",
    ),
    "thud": ("thud", "A deep, dull blow that dies away at once.", "{a} hitting the ground."),
    "swish": (
        "swish",
        "Brief, airy, high-pitched strokes that come again and again.",
        "The arm of {a} moving through the air.",
    ),
    "tap": ("taps", "Bright, dry clicks on an even beat.", "{a} tapping the ground while dancing."),
    "snore": ("snoring", "A low, rattling breath that swells and fades slowly.", "{a} asleep."),
    "pop": ("pop", "A quick, rising blip of medium intensity.", "{a} turning to another side."),
    "splash": ("splash", "A loud burst of bright noise with drops after it.", "{a} landing in a puddle."),
    "bell": ("bell", "A clear, high-pitched ringing that fades over a second.", "A hand bell swung by {a}."),
    "bounce": ("ball bounces", "Dull, low knocks at even distances.", "A ball that {a} plays with."),
    "slide_whistle": (
        "slide whistle",
        "A whistle that slides from high to low, then a dull blow.",
        "{a} falling over.",
    ),
    "whoosh": ("whoosh", "A rush of air that rises in pitch.", "{a} whirling around."),
    "rumble": ("rumble", "A very deep, trembling noise.", "The shaking ground."),
    "zap": ("zap", "A sharp, crackling burst that falls in pitch.", "A flash of light."),
}
_HIDDEN_CLOSE = ("height", "tail", "feet")
_COLOUR_OF = {"hat_colour": ("hat",), "accessory_colour": ("accessory",)}


class MaskRecorder:
    """Collects the masks of a film frame by frame, each distinct mask once."""

    def __init__(self, film: ToonFilm) -> None:
        self._film = film
        self._key: tuple[object, ...] | None = None
        self._numbers: dict[str, int] = {}
        self._spans: dict[str, list[list[int]]] = {name: [] for name in film.plan.character}
        self._masks: dict[str, list[dict[str, Any]]] = {name: [] for name in film.plan.character}
        self._known: dict[tuple[str, str], int] = {}

    def add(self, index: int) -> None:
        """Note the masks of a frame; frames come in order."""
        key = self._film.mask_key(index)
        if key != self._key:
            self._key = key
            self._numbers = {name: self._number(name, mask) for name, mask in self._film.masks(index).items()}
        for name, number in self._numbers.items():
            spans = self._spans[name]
            if spans and spans[-1][1] == index and spans[-1][2] == number:
                spans[-1][1] = index + 1
            else:
                spans.append([index, index + 1, number])

    def to_json(self) -> dict[str, Any]:
        """Return the masks as they stand in a script."""
        return {name: {"spans": self._spans[name], "rle": self._masks[name]} for name in self._spans}

    def _number(self, name: str, mask: NDArray[np.bool_]) -> int:
        rle = RleMask.from_array(_padded(mask))
        known = self._known.setdefault((name, rle.counts), len(self._masks[name]))
        if known == len(self._masks[name]):
            self._masks[name].append({"size": [rle.height, rle.width], "counts": rle.counts})
        return known


def make_stories(plan: FilmPlan) -> list[Story]:
    """Return the stories of a film as records."""
    sounds = list_sounds(plan)
    return [_make_story(plan, story, sounds) for story in plan.stories]


def write_script(film: ToonFilm, masks: MaskRecorder | None = None) -> dict[str, Any]:
    """Return the truth about a film in its JSON form.

    Args:
        film: The film.
        masks: The masks of all frames, if they have been collected already; else they are drawn now.
    """
    plan, settings = film.plan, film.settings
    if masks is None:
        masks = MaskRecorder(film)
        for index in range(film.num_frames):
            masks.add(index)
    shot_ids = _shot_ids(plan)
    rate = settings.frame_rate
    return {
        "format": SCRIPT_FORMAT,
        "version": 1,
        "film_id": plan.film_id,
        "seed": plan.seed,
        "width": settings.width + settings.width % 2,
        "height": settings.height + settings.height % 2,
        "picture_width": settings.width,
        "picture_height": settings.height,
        "frame_rate": f"{rate.numerator}/{rate.denominator}",
        "num_frames": film.num_frames,
        "settings": settings.to_json(),
        "fingerprint": settings.fingerprint(plan.seed),
        "stories": [story.to_json() for story in make_stories(plan)],
        "boundaries": [
            {
                "frame": shot.start_frame,
                "kind": shot.transition,
                "start_frame": shot.start_frame - shot.transition_half,
                "end_frame": shot.start_frame + shot.transition_half,
            }
            for shot in plan.shots[1:]
        ],
        "shot_truth": {shot_ids[shot.index]: _shot_truth(plan, shot) for shot in plan.shots},
        "characters": {character.id: character.to_json() for character in plan.characters},
        "scenes": {scene.id: scene.to_json() for scene in plan.scenes},
        "style": plan.style.to_json(),
        "masks": masks.to_json(),
        "sounds": [_sound_to_json(sound, shot_ids) for sound in list_sounds(plan)],
        "music": [list(stretch) for stretch in list_music(plan)],
        "speech": [list(stretch) for stretch in list_speech(plan)],
        "audio_sample_rate": settings.audio_sample_rate,
    }


def render_film(film: ToonFilm, path: str | Path) -> Path:
    """Write a film as mp4 (H.264 and AAC) and its script beside it, and return the mp4's path.

    The mp4 appears when it is complete, and the script after it; so where there is a script, there is a whole film.

    Raises:
        InputError: If the folder cannot be written.
    """
    from animeshooter_hf.video import write_video

    path = Path(path)
    script = script_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        script.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    masks = MaskRecorder(film)

    def frames() -> Iterator[NDArray[np.uint8]]:
        for index in range(film.num_frames):
            masks.add(index)
            yield film.frame(index)

    settings = film.settings
    metadata = {"title": film.film_id, "comment": f"toon film of seed {film.plan.seed}"}
    write_video(
        path,
        frames(),
        settings.frame_rate,
        audio=film.audio(),
        sample_rate=settings.audio_sample_rate,
        metadata=metadata,
    )
    partial = script.with_name(f".{script.name}.partial-{os.getpid()}")
    try:
        partial.write_text(json.dumps(write_script(film, masks), ensure_ascii=False), encoding="utf-8")
        partial.replace(script)
    finally:
        partial.unlink(missing_ok=True)
    return path


def script_path(film_path: Path) -> Path:
    """Return where the script of a film stands."""
    return film_path.with_name(f"{film_path.stem}.script.json")


def read_fingerprint(film_path: Path) -> str | None:
    """Return the fingerprint in a finished film's script, or None if film or script is missing or broken."""
    if not film_path.is_file():
        return None
    try:
        script = json.loads(script_path(film_path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return script.get("fingerprint") if isinstance(script, dict) else None


def _padded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask as large as the mp4's frames; see the top of this file."""
    height, width = mask.shape
    if not height % 2 and not width % 2:
        return mask
    return np.pad(mask, ((0, height % 2), (0, width % 2)), mode="edge")


def _shot_ids(plan: FilmPlan) -> list[str]:
    first: dict[int, int] = {}
    for shot in plan.shots:
        first.setdefault(shot.story_index, shot.index)
    return [
        make_shot_id(make_story_id(plan.film_id, shot.story_index), shot.index - first[shot.story_index])
        for shot in plan.shots
    ]


def _make_story(plan: FilmPlan, story: StoryPlan, sounds: list[ToonSound]) -> Story:
    shots = [shot for shot in plan.shots if shot.story_index == story.index]
    shot_ids = _shot_ids(plan)
    scenes = [plan.scene[name] for name in story.scene_ids]
    return Story(
        video_id=plan.film_id,
        story_id=make_story_id(plan.film_id, story.index),
        frame_rate=plan.settings.frame_rate,
        start_frame=story.start_frame,
        end_frame=story.end_frame,
        storyline=storyline(plan, story),
        characters=tuple(
            Character(id=name, appearance=plan.character[name].appearance) for name in story.character_ids
        ),
        scenes=tuple(Scene(id=scene.id, environment=scene.environment) for scene in scenes),
        shots=tuple(
            _make_shot(plan, story, shot, number, shot_ids[shot.index], sounds) for number, shot in enumerate(shots)
        ),
    )


def _make_shot(
    plan: FilmPlan, story: StoryPlan, shot: ToonShot, number: int, shot_id: str, sounds: list[ToonSound]
) -> Shot:
    rate = plan.settings.frame_rate
    start = seconds_at(shot.start_frame - story.start_frame, rate)
    end = seconds_at(shot.end_frame - story.start_frame, rate)
    clip: tuple[float | None, float | None] = (None, None)
    if shot.num_frames > _CLIP_SECONDS * rate:
        middle = Fraction(shot.start_frame + shot.end_frame - 2 * story.start_frame, 2) / rate
        clip_start = float(middle) - _CLIP_SECONDS / 2
        clip = (clip_start, clip_start + _CLIP_SECONDS)
    return Shot(
        shot_id=shot_id,
        index=number,
        start_frame=shot.start_frame,
        end_frame=shot.end_frame,
        start_seconds=start,
        end_seconds=end,
        clip_start_seconds=clip[0],
        clip_end_seconds=clip[1],
        is_prologue_or_epilogue=shot.scene_id is None,
        characters=tuple(placement.character_id for placement in shot.placements),
        scene=shot.scene_id,
        narrative_caption=narrate(plan, shot),
        descriptive_caption=describe(plan, shot),
        audio=_annotate_sound([sound for sound in sounds if sound.shot_index == shot.index]),
    )


def _annotate_sound(sounds: list[ToonSound]) -> AudioAnnotation | None:
    """Return the annotation of the sound that its actor makes, or of the one the camera meets."""
    if not sounds:
        return None
    sound = min(sounds, key=lambda one: (one.character_id is None, one.start_frame))
    kind, description, source = _AUDIO_TEXTS[sound.kind]
    if sound.character_id is None and "{a}" in source:
        source = "Something rushing past the camera."
    return AudioAnnotation(
        audio_type=kind, sound_description=description, visual_context=source.format(a=sound.character_id)
    )


def _shot_truth(plan: FilmPlan, shot: ToonShot) -> dict[str, Any]:
    return {
        "action": shot.placements[0].action if shot.placements else None,
        "actions": {placement.character_id: placement.action for placement in shot.placements},
        "camera": shot.camera.kind,
        "trap": shot.trap.kind,
        "trap_start_frame": shot.start_frame + shot.trap.start_frame if shot.trap.kind != "none" else None,
        "trap_end_frame": shot.start_frame + shot.trap.end_frame if shot.trap.kind != "none" else None,
        "drawn_on": shot.drawn_on,
        "attributes_seen": {
            placement.character_id: _attributes_seen(plan, shot, placement.character_id, placement.action)
            for placement in shot.placements
        },
    }


def _attributes_seen(plan: FilmPlan, shot: ToonShot, character_id: str, action: str) -> list[str]:
    """Return the attributes that a shot can show: not those below a close-up, nor colours of what is not there."""
    values = plan.character[character_id].attributes
    hidden = set(_HIDDEN_CLOSE) if shot.camera.kind == "close" else set()
    if action == "sleep":
        hidden |= {"eye_colour", *(["eyes"] if values["eyes"] != "single" else [])}
    hidden |= {colour for colour, (owner,) in _COLOUR_OF.items() if values[owner] == "none"}
    patterned = values["pattern"] != "plain" or values["hair"] != "none" or values["tail"] in ("fluffy", "thin", "leaf")
    if not patterned and values["ears"] in ("none", "horns"):
        hidden.add("pattern_colour")
    return [name for name in values if name not in hidden]


def _sound_to_json(sound: ToonSound, shot_ids: list[str]) -> dict[str, Any]:
    return {
        "kind": sound.kind,
        "start_seconds": sound.start_seconds,
        "end_seconds": sound.end_seconds,
        "start_frame": sound.start_frame,
        "shot_id": shot_ids[sound.shot_index],
        "character_id": sound.character_id,
    }
