"""What a film's own script tells, and the rules that every story must keep."""

from dataclasses import dataclass, field
from typing import Protocol

from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Story

__all__ = ["FilmScript", "ScriptProblem", "TrueMasks", "validate_story"]


@dataclass(frozen=True, slots=True)
class ScriptProblem:
    """Something in an annotation that does not hold."""

    story_id: str
    """Story."""

    code: str
    """Short name, by which problems are counted."""

    detail: str
    """What exactly."""


class TrueMasks(Protocol):
    """Where characters are, frame by frame, as a film's script knows it."""

    def mask_at(self, character_id: str, frame: int) -> RleMask | None:
        """Return the mask of a character in a frame, or None if it is not seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmScript:
    """What a film's script tells."""

    stories: tuple[Story, ...]
    """One per segment, in order."""

    masks: TrueMasks | None = None
    """Exact masks, if the script has them."""

    true_boundaries: tuple[tuple[int, int, str], ...] | None = None
    """(first, last, kind) of the true boundaries, if the script has them."""

    music: tuple[tuple[float, float], ...] = ()
    """Stretches of background music, in seconds of the film."""

    speech: tuple[tuple[float, float], ...] = ()
    """Stretches of speech, in seconds of the film."""

    problems: tuple[ScriptProblem, ...] = field(default_factory=tuple)
    """What did not hold; a story with problems is not among `stories`."""


def validate_story(story: Story, num_frames: int) -> list[ScriptProblem]:
    """Return what does not hold in a story: shots tile it, lie in the film, and name only who is declared."""
    problems: list[ScriptProblem] = []

    def report(code: str, detail: str) -> None:
        problems.append(ScriptProblem(story.story_id, code, detail))

    start, end = story.start_frame, story.end_frame
    if not story.shots:
        report("no_shots", "the story has no shot")
    if start is None or end is None or not 0 <= start < end <= num_frames:
        report("outside_film", f"frames {start} to {end} of {num_frames}")
        return problems
    expected = start
    characters = {character.id for character in story.characters}
    scenes = {scene.id for scene in story.scenes}
    for shot in story.shots:
        if shot.start_frame is None or shot.end_frame is None:
            report("no_time", shot.shot_id)
            continue
        if shot.start_frame != expected:
            report("gap" if shot.start_frame > expected else "overlap", f"{shot.shot_id} begins at {shot.start_frame}")
        if shot.end_frame <= shot.start_frame:
            report("empty_shot", shot.shot_id)
        expected = shot.end_frame
        for name in sorted(set(shot.characters) - characters):
            report("undeclared_character", f"{shot.shot_id}: {name}")
        if shot.scene is not None and shot.scene not in scenes:
            report("undeclared_scene", f"{shot.shot_id}: {shot.scene}")
        if not shot.caption:
            report("no_caption", shot.shot_id)
    if story.shots and expected != end:
        report("coverage", f"the shots end at {expected}, the story at {end}")
    return problems
