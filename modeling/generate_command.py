"""Generate a story shot by shot, as films.

The story is a JSON file (a row of the `stories` config, or one with shots and captions only), a story of a dataset
folder, captions from the command line, or a premise that a model writes out. OUT then holds a film per shot, one for
the story with chapters, predictions.json for `animeshooter evaluate`, contact.json, and the state from which a stopped
run goes on, or one shot is made anew.

Example:
    animeshooter generate --model tiny --caption "A fox wakes up." --caption "It runs." --reference fox=f.png --out out/
    animeshooter generate --model path/or/repository --story story.json --reference Mia=mia.png --out out/ --resume
    animeshooter generate --model path/or/repository --story dataset/:film_000 --out out/ --sound stable-audio
    animeshooter generate --model path/or/repository --out out/ --regenerate 1 --new-seed 7 --keep-following
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.generate_options import (
    LoraWord,
    add_arguments,
    check_combination,
    parse_lora,
    parse_references,
    parse_size,
    read_shot_settings_file,
)
from animeshooter_hf.modeling.open_pipeline import open_pipeline, place_pipeline
from animeshooter_hf.records import Character, Story

if TYPE_CHECKING:
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
    from animeshooter_hf.modeling.state import StoryState

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Generate the story, or a shot of it; return 0."""
    out: Path = arguments.out
    # 1. All that can be refused before a model is loaded.
    if any(part.exists() and not part.is_dir() for part in (out, *out.parents)):
        raise InputError(f"{out} cannot be written: it is, or lies in, a file.")
    check_combination(arguments)
    size, loras = parse_size(arguments.size), [parse_lora(word) for word in arguments.lora]
    own = read_shot_settings_file(arguments.shot_settings)
    _need_modeling()
    _check_loras(loras)
    film = _film_settings(arguments.transition)
    earlier = None if arguments.regenerate is None else _state_with(out, arguments.regenerate)
    story, references = _checked_story(arguments, own) if earlier is None else (earlier.story, {})
    scorer = _open_sound(arguments)
    # 2. The model.
    pipeline = open_pipeline(arguments.model, arguments.dtype)
    own = _with_loras(pipeline, loras, story, own)
    place_pipeline(pipeline, arguments.device, arguments.offload)
    # 3. The shots.
    if earlier is None:
        fresh = pipeline.begin(
            story,
            references,
            seed=arguments.seed,
            num_frames=arguments.num_frames,
            height=size[1] if size else None,
            width=size[0] if size else None,
            num_inference_steps=arguments.steps,
            guidance_scale=arguments.guidance,
            reference_scale=arguments.reference_scale,
            negative_prompt=arguments.negative,
            shot_settings=own or None,
            require_references=not arguments.allow_missing_references,
        )
        state = _starting_state(out, fresh, resume=arguments.resume, overwrite=arguments.overwrite)
        if arguments.write is not None:
            _write_story(out, state.story)
        state = _generate(pipeline, state, out, preview=arguments.preview)
    else:
        state = _regenerate(pipeline, earlier, arguments)
    # 4. The films.
    _write_films(arguments, pipeline, state, scorer, film)
    return 0


def _generate(pipeline: "AnimeShooterGenPipeline", state: "StoryState", out: Path, *, preview: bool) -> "StoryState":
    """Make what the state lacks, or the first shot of it; the state is written as soon as a shot is ready."""
    if preview and state.shots:
        return state
    for shot in pipeline.stream_resume(state):
        state = shot.state
        state.save(out / "state")
        if preview:
            break
    return state


def _regenerate(
    pipeline: "AnimeShooterGenPipeline", state: "StoryState", arguments: argparse.Namespace
) -> "StoryState":
    made = pipeline.regenerate_shot(
        state,
        arguments.regenerate,
        caption=arguments.new_caption,
        seed=arguments.new_seed,
        keep_following=arguments.keep_following,
    ).state
    made.save(arguments.out / "state")
    return made


def _write_films(
    arguments: argparse.Namespace, pipeline: "AnimeShooterGenPipeline", state: "StoryState", scorer: Any, film: Any
) -> None:
    """Write the films and lists of what is done, and say where they are."""
    from animeshooter_hf.modeling.generated_folder import write_shot_film, write_story_files
    from animeshooter_hf.modeling.pipeline_sound import StorySound

    out: Path = arguments.out
    provenance = pipeline.provenance(state)
    try:
        sound = StorySound(scorer, folder=out / "sound").make(state, pipeline.fps)
        files = [write_shot_film(out, done, pipeline.fps, provenance, sound) for done in state.shots]
        contact = None
        if state.is_complete:
            contact = write_story_files(out, state, pipeline.fps, provenance, pipeline.notes, film=film, sound=sound)
            files = [out / contact["film"], *files, out / "contact.json"]
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from error
    if arguments.json:
        told = contact or {"notes": list(pipeline.notes), "shots": [str(file.relative_to(out)) for file in files]}
        sys.stdout.write(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.writelines(f"{file}\n" for file in files)


def _starting_state(out: Path, fresh: "StoryState", *, resume: bool, overwrite: bool) -> "StoryState":
    """Return the state to go on from; the folder is ready to be written into then."""
    from animeshooter_hf.modeling.generated_folder import GENERATED_FILES, clear_folder, open_folder
    from animeshooter_hf.modeling.state import StoryState

    open_folder(out)
    if resume and (out / "state" / "state.json").is_file():
        try:
            earlier = StoryState.load(out / "state")
        except InputError:
            if not overwrite:
                raise
        else:
            if earlier.asks_the_same(fresh):
                return earlier
    if any((out / name).exists() for name in (*GENERATED_FILES, "state")):
        if not overwrite:
            why = "of another story, model, seed or setting" if resume else "which --resume would go on with"
            raise InputError(f"{out} holds an earlier run, {why}; give another folder, or --overwrite to replace it.")
        clear_folder(out)
    return fresh


def _state_with(out: Path, index: int) -> "StoryState":
    """Return the state that an earlier run left; the shot must be done in it."""
    from animeshooter_hf.modeling.state import StoryState

    if not (out / "state" / "state.json").is_file():
        raise InputError(f"--regenerate: {out} holds no story that was generated.")
    state = StoryState.load(out / "state")
    if not 0 <= index < len(state.shots):
        raise InputError(f"--regenerate must be one of the {len(state.shots)} finished shots, from 0, got {index}.")
    return state


def _need_modeling() -> None:
    """Refuse at once if the extra is not installed, and hide bars that drown the one bar per story."""
    from animeshooter_hf.optional import require

    require("diffusers", extra="modeling", purpose="Generating a story")
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def _film_settings(transition: str | None) -> Any:
    from animeshooter_hf.modeling.film import FilmSettings
    from animeshooter_hf.modeling.transitions import parse_transition

    if transition is None:
        return FilmSettings()
    try:
        return FilmSettings(transitions=parse_transition(transition))
    except InputError as error:
        raise InputError(f"--transition: {error}") from error


def _open_sound(arguments: argparse.Namespace) -> Any:
    """Return what makes the sound, or None. It is opened first: a story without the wanted sound is lost time."""
    if arguments.sound == "none":
        return None
    from animeshooter_hf.modeling.sound import open_scorer

    return open_scorer(arguments.sound, device=arguments.device, dtype=arguments.dtype or "float32")


def _check_loras(words: list[LoraWord]) -> None:
    """Refuse a LoRA that cannot be read; whether it fits, the model tells."""
    from animeshooter_hf.modeling.lora import read_lora

    for word in words:
        read_lora(word.place, word.name)


def _with_loras(
    pipeline: "AnimeShooterGenPipeline", words: list[LoraWord], story: Story, own: dict[int, dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Load the LoRAs, and return the settings of shots with the weights that each gets.

    Those of nobody act everywhere; those of a character where the character is seen. What a shot says itself counts.
    """
    from animeshooter_hf.modeling.lora_registry import LoraRegistry

    loras = LoraRegistry(pipeline)
    for word in words:
        loras.add(word.place, word.name, word.weight)
    if all(info.character is None for info in loras.infos):
        return own
    weights = {shot.index: loras.weights_for(shot.characters) for shot in story.shots}
    return {index: {"lora_weights": weights[index], **own.get(index, {})} for index in weights}


def _checked_story(arguments: argparse.Namespace, own: dict[int, dict[str, Any]]) -> tuple[Story, dict[str, Any]]:
    """Return story and references, checked against each other before a model is loaded."""
    from animeshooter_hf.modeling.story_request import make_request

    references: dict[str, Any] = dict(parse_references(arguments.reference))
    if arguments.write is not None:
        story: Any = _written_story(arguments, list(references))
    else:
        story, given = _read_story(arguments)
        references = given | references
    request = make_request(
        story,
        references,
        max_shots=_MOST_SHOTS,
        require_references=not arguments.allow_missing_references,
        shot_settings=own or None,
    )
    return request.story, dict(request.references)


_MOST_SHOTS = 10_000
"""More shots than any checkpoint makes; its own limit is checked when it is there."""


def _written_story(arguments: argparse.Namespace, names: list[str]) -> Story:
    """Return the story that a model writes of the premise, with the characters who have references."""
    from animeshooter_hf.modeling.writer import WriterSettings, write_story
    from animeshooter_hf.modeling.writer_models import EndpointSettings, LocalWriter

    settings = WriterSettings(
        seed=arguments.seed, **({} if arguments.shots is None else {"num_shots": arguments.shots})
    )
    writer: Any
    if arguments.base_url is not None:
        key = "OPENAI_API_KEY" if os.environ.get("OPENAI_API_KEY") else None
        writer = EndpointSettings(model=arguments.writer_model, base_url=arguments.base_url, api_key_env=key)
    else:
        writer = LocalWriter(arguments.writer_model, device=arguments.device)
    cast = [Character(id=name) for name in names]
    return write_story(arguments.write, writer, characters=cast, settings=settings)


def _write_story(out: Path, story: Story) -> None:
    text = json.dumps(story.to_json(), indent=1, ensure_ascii=False) + "\n"
    (out / "story.json").write_text(text, encoding="utf-8")


def _read_story(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return the story and the references that come with it."""
    if arguments.caption:
        if any(not caption.strip() for caption in arguments.caption):
            raise InputError("--caption must not be empty.")
        return arguments.caption, {}
    path = Path(arguments.story)
    if path.is_file():
        return _story_of_file(path), {}
    folder, _, story_id = arguments.story.rpartition(":")
    if path.is_dir():
        return _story_of_dataset(path, None)
    if folder and Path(folder).is_dir():
        return _story_of_dataset(Path(folder), story_id)
    raise InputError(f"--story: there is no file or dataset folder {arguments.story}.")


def _story_of_file(path: Path) -> Story:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--story: {path} cannot be read as JSON.") from error
    if not isinstance(data, dict) or "shots" not in data:
        raise InputError(f"--story: {path} is JSON of another kind; a story is an object with a list of shots.")
    try:
        return Story.from_json(data)
    except (ValueError, TypeError) as error:
        raise InputError(f"--story: {path}: {error}") from error


def _story_of_dataset(folder: Path, story_id: str | None) -> tuple[Story, dict[str, Any]]:
    from animeshooter_hf.loading import load_stories

    items = list(load_stories(folder))
    if not items:
        raise InputError(f"--story: {folder} holds no stories.")
    if story_id is None:
        if len(items) > 1:
            first = items[0].story.story_id
            raise InputError(f"--story: {folder} holds {len(items)} stories; name one, such as {folder}:{first}.")
        (item,) = items
    else:
        found = [item for item in items if item.story.story_id == story_id]
        if not found:
            raise InputError(f"--story: {folder} holds no story {story_id!r}.")
        item = found[0]
    references = {
        character.id: [reference.cutout for reference in item.references(character.id)]
        for character in item.story.characters
    }
    return item.story, {name: images for name, images in references.items() if images}
