"""Generate a story shot by shot, as films.

The story is a JSON file (a row of the `stories` config, or one with shots and captions only), a story of a dataset
folder, or captions from the command line. OUT then holds a film per shot, one for the story with chapters,
predictions.json for `animeshooter evaluate`, contact.json, and the state from which a stopped run goes on.

Example:
    animeshooter generate --model tiny --caption "A fox wakes up." --caption "It runs." --reference fox=f.png --out out/
    animeshooter generate --model path/or/repository --story story.json --reference Mia=mia.png --out out/ --resume
    animeshooter generate --model path/or/repository --story dataset/:film_000 --out out/
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

if TYPE_CHECKING:
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
    from animeshooter_hf.modeling.state import StoryState

__all__ = ["add_arguments", "run"]

_SIZE = re.compile(r"(\d{1,5})[xX](\d{1,5})")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter generate`."""
    parser.add_argument(
        "--model", required=True, metavar="M", help="checkpoint folder, repository on the Hub, or `tiny` (toy, random)"
    )
    story = parser.add_mutually_exclusive_group(required=True)
    story.add_argument("--story", metavar="S", help="story JSON, or a dataset folder, or FOLDER:STORY_ID")
    story.add_argument("--caption", action="append", metavar="TEXT", help="a shot's caption; once per shot")
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="NAME=IMG",
        help="reference image of a character; may be given again for more images",
    )
    parser.add_argument(
        "--allow-missing-references", action="store_true", help="draw a character without reference from words alone"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for everything")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same frames (default %(default)s)")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: the model's)")
    parser.add_argument("--num-frames", type=int, metavar="N", help="frames per shot, 8k+1 (default: the model's)")
    parser.add_argument("--size", metavar="WxH", help="pixels (default: the model's)")
    parser.add_argument("--guidance", type=float, metavar="X", help="guidance scale (default: the model's)")
    parser.add_argument("--device", default="cpu", help="where to compute, such as cuda (default %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run into OUT was stopped")
    parser.add_argument("--overwrite", action="store_true", help="replace what another run wrote into OUT")
    parser.add_argument("--json", action="store_true", help="write contact.json to stdout as well")


def run(arguments: argparse.Namespace) -> int:
    """Generate the story; return 0."""
    out: Path = arguments.out
    if any(part.exists() and not part.is_dir() for part in (out, *out.parents)):
        raise InputError(f"{out} cannot be written: it is, or lies in, a file.")
    story, references = _read_story(arguments)
    references |= _named_files(arguments.reference)
    pipeline = _load_pipeline(arguments.model, arguments.device)
    size = _parse_size(arguments.size)
    fresh = pipeline.begin(
        story,
        references,
        seed=arguments.seed,
        num_frames=arguments.num_frames,
        height=size[1] if size else None,
        width=size[0] if size else None,
        num_inference_steps=arguments.steps,
        guidance_scale=arguments.guidance,
        require_references=not arguments.allow_missing_references,
    )
    state = _starting_state(out, fresh, resume=arguments.resume, overwrite=arguments.overwrite)
    contact = _generate(pipeline, state, out)
    if arguments.json:
        sys.stdout.write(json.dumps(contact, indent=1, ensure_ascii=False) + "\n")
    else:
        for file in (contact["film"], *(shot["file"] for shot in contact["shots"]), "contact.json"):
            sys.stdout.write(f"{out / file}\n")
    return 0


def _generate(pipeline: "AnimeShooterGenPipeline", state: "StoryState", out: Path) -> dict[str, Any]:
    """Make what the state lacks; each shot's film and the state are written as soon as it is ready."""
    from animeshooter_hf.modeling.generated_folder import write_shot_film, write_story_files

    provenance = pipeline.provenance(state)
    try:
        for shot in pipeline.stream_resume(state):
            state = shot.state
            state.save(out / "state")
        for done in state.shots:
            write_shot_film(out, done, pipeline.fps, provenance)
        return write_story_files(out, state, pipeline.fps, provenance, pipeline.notes)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from error


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


def _load_pipeline(model: str, device: str) -> "AnimeShooterGenPipeline":
    """Return the pipeline, on its device."""
    from animeshooter_hf.optional import require

    require("diffusers", extra="modeling", purpose="Generating a story")
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    # Their bars for loading drown the one bar per story.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    if model == "tiny":
        from animeshooter_hf.modeling.testing import tiny_pipeline

        pipeline = tiny_pipeline()
    else:
        from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

        pipeline = AnimeShooterGenPipeline.from_pretrained(model)
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device: {device!r} cannot be used here.") from error
    return pipeline


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


def _named_files(words: list[str]) -> dict[str, list[Path]]:
    """Return name -> image files of NAME=IMG words."""
    named: dict[str, list[Path]] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (name.strip() and equals and path):
            raise InputError(f"--reference must be NAME=IMG, got {word!r}.")
        if not Path(path).is_file():
            raise InputError(f"--reference: there is no file {path}.")
        named.setdefault(name.strip(), []).append(Path(path))
    return named


def _parse_size(text: str | None) -> tuple[int, int] | None:
    """Return (width, height) of "WxH"."""
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(f"--size must be WIDTHxHEIGHT such as 720x480, got {text!r}.")
    return int(match[1]), int(match[2])
