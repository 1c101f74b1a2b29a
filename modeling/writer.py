"""A premise becomes a story: characters, scenes, and a caption for each shot, checked as a whole.

    prompt -> a writer's answer -> JSON -> all problems -> at most one repair -> Story, or one sentence on why not

The prompts are text files in `prompts/`. With the same writer answers, the same story comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.script_schema import example_form, parse_script, script_problems, script_schema
from animeshooter_hf.modeling.writer_models import ScriptAnswer, ScriptQuestion, as_writer
from animeshooter_hf.records import Character, Story

__all__ = ["WriterSettings", "write_story"]

_MAX_PREMISE = 20_000
_MAX_QUOTED = 20_000
_MAX_PROBLEMS = 20

_IDENTITY_RULE = (
    "Captions never say what a character looks like: no colours, clothes, hair, fur or build. The reference pictures "
    "tell that; captions call characters by their ids."
)
_NAMING_RULE = "Captions call characters by their ids."
_SOUND_RULE = (
    "8. audio_annotation of every shot: audio_type (the effect in one or two words, such as footsteps, or silence), "
    "sound_description (pitch, loudness, rhythm), visual_context (what on the screen makes it). No speech, no music.\n"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class WriterSettings:
    """What a story should be like, and how it is asked for."""

    num_shots: int = 4
    """Exactly so many. The paper generates four."""

    style: str = "animation"
    """Of the film, in words."""

    language: str = "English"
    """Of the captions. The models that read them know English best."""

    max_characters: int = 3
    """Most characters that the writer invents; given ones are not counted. Paper: one to three."""

    captions_without_identity: bool = True
    """Refuse captions that say what characters look like, as in the paper's data: the reference tells that."""

    with_sound: bool = False
    """Ask for a sound annotation of every shot."""

    seed: int = 0
    """Of sampling."""

    temperature: float = 0.7
    """0 is greedy. Our choice."""

    max_output_tokens: int = 8_192
    """Most tokens of an answer."""

    num_repairs: int = 1
    """Times that a writer is told what was wrong and asked again."""

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("num_shots", 1, 64), ("max_characters", 1, 10), ("seed", 0, 2**31 - 1),
            ("max_output_tokens", 16, 1_000_000), ("num_repairs", 0, 5),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
                raise InputError(f"{name} must be a whole number from {lowest} to {highest}, got {value!r}.")
        heat = self.temperature
        if isinstance(heat, bool) or not isinstance(heat, int | float) or not 0 <= heat <= 2:
            raise InputError(f"temperature must lie in 0 to 2, got {heat!r}.")
        for name in ("style", "language"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise InputError(f"{name} must be a text that is not empty.")


def write_story(
    premise: str,
    writer: Any,
    *,
    characters: Sequence[Character] = (),
    settings: WriterSettings | None = None,
    story_id: str = "story",
) -> Story:
    """Return the story that a writer makes of a premise.

    Characters who are given keep their names and appearances, whatever the writer says, and nobody is added to them.

    Args:
        premise: What the story is about.
        writer: A `ScriptWriter`, `EndpointSettings`, or a function from prompt to text.
        characters: The cast; the writer invents one if it is empty.
        settings: Number of shots, style, language and so on.
        story_id: Of the story.

    Raises:
        InputError: If the premise or the cast cannot be used, the writer cannot be asked, or its last answer cannot be
            used; the message tells the first problem.

    Example:
        >>> script = ('{"storyline": "Mia finds a key.", "main_characters": [{"id": "Mia", "appearance": "a fox"}], '
        ...           '"main_scenes": [{"id": "attic", "environment": "dusty"}], "shots": [{"characters": ["Mia"], '
        ...           '"scene": "attic", "narrative_caption": "Mia finds it.", "descriptive_caption": "Mia kneels."}]}')
        >>> story = write_story("A lost key.", lambda prompt: script, settings=WriterSettings(num_shots=1))
        >>> story.shots[0].caption, story.characters[0].id
        ('Mia kneels.', 'Mia')
    """
    settings = settings or WriterSettings()
    _check_brief(premise, characters)
    asked = as_writer(writer)
    prompt = first_prompt = _first_prompt(premise, characters, settings)
    schema = script_schema(settings.num_shots, [one.id for one in characters], with_sound=settings.with_sound)
    problems: list[str] = []
    for turn in range(settings.num_repairs + 1):
        question = ScriptQuestion(
            prompt=prompt,
            schema=schema,
            seed=settings.seed + turn,
            temperature=settings.temperature,
            max_output_tokens=settings.max_output_tokens,
        )
        answer = asked.answer(question)
        script = parse_script(answer.text)
        problems = _problems(script, answer, characters, settings)
        if script is not None and not problems:
            return _to_story(script, characters, story_id, settings)
        prompt = _repair_prompt(first_prompt, answer, problems)
    more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
    raise InputError(f"{asked.name} wrote no story that can be used: {problems[0].rstrip('.')}{more}.")


def _problems(
    script: Mapping[str, Any] | None, answer: ScriptAnswer, characters: Sequence[Character], settings: WriterSettings
) -> list[str]:
    if not answer.text.strip():
        return ["The answer is empty."]
    if script is None and not answer.is_whole:
        return [f"The answer was cut off at {settings.max_output_tokens} tokens; write shorter texts."]
    problems = script_problems(
        script,
        num_shots=settings.num_shots,
        characters=characters,
        with_sound=settings.with_sound,
        captions_without_identity=settings.captions_without_identity,
    )
    invented = script.get("main_characters") if script and not characters else None
    if isinstance(invented, list) and len(invented) > settings.max_characters:
        problems.append(f"There are {len(invented)} main_characters; at most {settings.max_characters} are allowed.")
    return problems


def _to_story(
    script: Mapping[str, Any], characters: Sequence[Character], story_id: str, settings: WriterSettings
) -> Story:
    """Return the story of a script without problems; only the keys of the form are taken."""
    keys = ["characters", "scene", "narrative_caption", "descriptive_caption"]
    sound_keys = ("audio_type", "sound_description", "visual_context")
    shots = []
    for shot in script["shots"]:
        row = {key: shot[key] for key in keys} | {"characters": list(dict.fromkeys(shot["characters"]))}
        if settings.with_sound:
            row["audio_annotation"] = {key: shot["audio_annotation"][key] for key in sound_keys}
        shots.append(row)
    invented = [{"id": row["id"], "appearance": row["appearance"]} for row in script["main_characters"]]
    given = [{"id": one.id, "appearance": one.appearance} for one in characters]
    written = {row["id"]: row["appearance"] for row in invented}
    for row in given:
        row["appearance"] = row["appearance"] or written[row["id"]]
    try:
        return Story.from_json(
            {
                "video_id": story_id,
                "story_id": story_id,
                "storyline": script["storyline"],
                "main_characters": given or invented,
                "main_scenes": [{"id": row["id"], "environment": row["environment"]} for row in script["main_scenes"]],
                "shots": shots,
            }
        )
    except ValueError as error:
        raise InputError(str(error)) from error


def _first_prompt(premise: str, characters: Sequence[Character], settings: WriterSettings) -> str:
    cast = [f"- {one.id}: {one.appearance or 'no description was given'}" for one in characters]
    rule = "exactly those of the cast above, nobody else." if cast else (
        f"one to {settings.max_characters} characters that you invent."
    )  # fmt: skip
    return _fill(
        "write_story",
        premise=premise.strip(),
        language=settings.language,
        style=settings.style,
        cast="\n".join(cast) or "Nobody is given; invent who is needed.",
        cast_rule=rule,
        num_shots=str(settings.num_shots),
        identity_rule=_IDENTITY_RULE
        if settings.captions_without_identity
        else "Captions call characters by their ids.",
        sound_rule=_SOUND_RULE if settings.with_sound else "",
        form=example_form(with_sound=settings.with_sound),
    )


def _repair_prompt(question: str, answer: ScriptAnswer, problems: Sequence[str]) -> str:
    quoted = answer.text[:_MAX_QUOTED] or "(nothing)"
    listed = "\n".join(f"- {problem}" for problem in problems[:_MAX_PROBLEMS])
    return _fill("repair_story", question=question, answer=quoted, problems=listed)


def _fill(prompt: str, **values: str) -> str:
    text = (files("animeshooter_hf.modeling") / "prompts" / f"{prompt}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _check_brief(premise: str, characters: Sequence[Character]) -> None:
    if not isinstance(premise, str) or not premise.strip():
        raise InputError("The premise must be a text that is not empty.")
    if len(premise) > _MAX_PREMISE:
        raise InputError(f"The premise has {len(premise)} characters; at most {_MAX_PREMISE} are read.")
    for one in characters:
        if not isinstance(one, Character):
            raise InputError(f"characters must be Character records, got {type(one).__name__}.")
    names = [one.id for one in characters]
    if len(set(names)) != len(names):
        raise InputError(f"A character is given twice: {', '.join(sorted(names))}.")
