"""The options of `animeshooter generate`, and what each word on the command line means."""

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError

__all__ = ["LoraWord", "add_arguments", "check_combination", "parse_lora", "parse_references", "parse_size",
           "read_shot_settings_file"]  # fmt: skip

_SIZE = re.compile(r"(\d{1,5})[xX](\d{1,5})")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraWord:
    """One `--lora`."""

    name: str
    """Under which it is loaded."""

    place: str
    """Folder, or repository on the Hub."""

    weight: float
    """1 is as trained."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter generate`."""
    parser.add_argument(
        "--model", required=True, metavar="M",
        help="checkpoint folder, repository on the Hub, `toon` (small, trained, comes along), or `tiny` (toy, random)",
    )  # fmt: skip
    story = parser.add_mutually_exclusive_group()
    story.add_argument("--story", metavar="S", help="story JSON, or a dataset folder, or FOLDER:STORY_ID")
    story.add_argument("--caption", action="append", metavar="TEXT", help="a shot's caption; once per shot")
    story.add_argument(
        "--write", metavar="PREMISE", help="let --writer-model write the story; it goes to OUT/story.json"
    )
    story.add_argument(
        "--regenerate", type=int, metavar="INDEX", help="make one shot of the story in OUT anew; shots count from 0"
    )
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
    parser.add_argument("--reference-scale", type=float, metavar="X", help="weight of what the references add")
    parser.add_argument("--negative", metavar="TEXT", help="what is not wanted; the checkpoint must hold T5")
    parser.add_argument(
        "--shot-settings", type=Path, metavar="FILE", help="JSON: index of a shot -> its own seed, num_frames, ..."
    )
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="NAME=PATH[:WEIGHT]",
        help="LoRA folder or repository; one of a character acts in that character's shots",
    )
    _add_film_arguments(parser)
    _add_edit_arguments(parser)
    parser.add_argument("--device", default="cpu", help="where to compute, such as cuda (default %(default)s)")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="type of the weights (default: the checkpoint's)"
    )
    parser.add_argument(
        "--offload",
        choices=("none", "model", "sequential", "group"),
        default="none",
        help="keep what waits off the device, to save memory (default %(default)s)",
    )
    parser.add_argument("--preview", action="store_true", help="make the first shot only; --resume makes the others")
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run into OUT was stopped")
    parser.add_argument("--overwrite", action="store_true", help="replace what another run wrote into OUT")
    parser.add_argument("--json", action="store_true", help="write contact.json to stdout as well")


def _add_film_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sound",
        default="none",
        metavar="MODEL",
        help="none, silence, stable-audio, stable-audio-3, audioldm2, a folder or a repository (default %(default)s)",
    )
    parser.add_argument(
        "--transition", metavar="T", help="between all shots: cut, dissolve:FRAMES, fade:FRAMES or fade:FRAMES:#RRGGBB"
    )


def _add_edit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep-following", action="store_true", help="with --regenerate: keep the shots after it")
    parser.add_argument("--new-caption", metavar="TEXT", help="with --regenerate: the shot's new caption")
    parser.add_argument("--new-seed", type=int, metavar="N", help="with --regenerate: the shot's new seed")
    parser.add_argument(
        "--writer-model", metavar="MODEL", help="with --write: folder, repository, or name at --base-url"
    )
    parser.add_argument("--base-url", metavar="URL", help="with --write: an OpenAI-compatible endpoint")
    parser.add_argument("--shots", type=int, metavar="N", help="with --write: number of shots (default 4)")


def check_combination(arguments: argparse.Namespace) -> None:
    """Raise an InputError for options that do not go together."""
    is_edit, is_written = arguments.regenerate is not None, arguments.write is not None
    if not (arguments.story or arguments.caption or is_edit or is_written):
        raise InputError("Say what to make: one of --story, --caption, --write or --regenerate is needed.")
    for option, needed in (("new_caption", is_edit), ("new_seed", is_edit), ("keep_following", is_edit),
                           ("writer_model", is_written), ("base_url", is_written), ("shots", is_written)):  # fmt: skip
        if getattr(arguments, option) not in (None, False) and not needed:
            partner = "--write" if option in ("writer_model", "base_url", "shots") else "--regenerate"
            raise InputError(f"--{option.replace('_', '-')} goes with {partner}.")
    if is_written and not arguments.writer_model:
        raise InputError("--write needs --writer-model; there is no default, since each model has terms of its own.")
    if is_written and arguments.resume:
        raise InputError(f"A written story stands in {arguments.out / 'story.json'}; to go on, give it as --story.")
    if is_written and (arguments.out / "story.json").exists() and not arguments.overwrite:
        raise InputError(f"{arguments.out / 'story.json'} is there already; give another folder, or --overwrite.")
    if is_edit and (arguments.resume or arguments.preview or arguments.overwrite):
        raise InputError("--regenerate edits what is in OUT; --resume, --preview and --overwrite do not go with it.")
    settings = ("reference", "shot_settings", "steps", "num_frames", "size", "guidance", "reference_scale", "negative")
    if is_edit and any(getattr(arguments, option) not in (None, []) for option in settings):
        raise InputError("--regenerate takes references and settings from what is in OUT.")


def parse_references(words: list[str]) -> dict[str, list[Path]]:
    """Return name -> image files of NAME=IMG words.

    Raises:
        InputError: If a word is another, or there is no such file.
    """
    named: dict[str, list[Path]] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (name.strip() and equals and path):
            raise InputError(f"--reference must be NAME=IMG, got {word!r}.")
        if not Path(path).is_file():
            raise InputError(f"--reference: there is no file {path}.")
        named.setdefault(name.strip(), []).append(Path(path))
    return named


def parse_lora(word: str) -> LoraWord:
    """Return what NAME=PATH[:WEIGHT] says.

    Raises:
        InputError: If it is another word.

    Example:
        >>> parse_lora("mia=loras/mia:0.8")
        LoraWord(name='mia', place='loras/mia', weight=0.8)
    """
    name, _, rest = word.partition("=")
    place, colon, weight = rest.rpartition(":")
    if not colon:
        place, weight = rest, "1"
    if not name.strip() or not place or not _NUMBER.fullmatch(weight):
        raise InputError(f"--lora must be NAME=PATH or NAME=PATH:WEIGHT, got {word!r}.")
    return LoraWord(name=name.strip(), place=place, weight=float(weight))


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return (width, height) of "WxH".

    Raises:
        InputError: If it is another text.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(f"--size must be WIDTHxHEIGHT such as 720x480, got {text!r}.")
    return int(match[1]), int(match[2])


def read_shot_settings_file(path: Path | None) -> dict[int, dict[str, Any]]:
    """Return index of a shot -> its own settings, as a JSON object says; the values are checked later.

    Raises:
        InputError: If it cannot be read as that.
    """
    if path is None:
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {int(index): dict(own) for index, own in data.items()}
    except FileNotFoundError as error:
        raise InputError(f"--shot-settings: there is no file {path}.") from error
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"--shot-settings: {path} is no JSON object from shot to settings.") from error
