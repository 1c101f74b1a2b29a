"""Read the stories to score from a path, whatever of four kinds it is.

    predictions file   JSON (a list) or JSONL, one object per story: story_id, ip_id, track, shots, references,
                       captions, scene_ids, shot_characters, reference_characters, regions, sound, sound_captions;
                       paths count from the file's folder
    generated folder   what `animeshooter generate` writes: it holds such a file, `predictions.json`
    dataset folder     what `animeshooter build` and `ingest` write: each story's own shots against the references of
                       its characters, which shows what a perfect model could reach
    demo folder        the layout of the paper's demos: NAME.json beside NAME_ref.png and
                       NAME/generated_video_STORY_SHOT_demo.mp4

Only text is read here. A shot or a reference that is missing is not refused: it is scored as failed, and counted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.regions import Region, parse_region
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.loading import StoryItem, load_stories
from animeshooter_hf.records import Shot

__all__ = ["PREDICTIONS_FILE", "STORY_KEYS", "parse_story", "read_predictions"]

PREDICTIONS_FILE = "predictions.json"
"""Name of the predictions file in a generated folder."""

STORY_KEYS = (
    "story_id",
    "ip_id",
    "shots",
    "references",
    "captions",
    "scene_ids",
    "shot_characters",
    "reference_characters",
    "regions",
    "sound",
    "sound_captions",
    "track",
)
"""Keys of a story in a predictions file."""

_LISTS = STORY_KEYS[2:-1]

_KINDS = (
    "a predictions file (JSON or JSONL), a folder that `animeshooter generate` or `build` wrote, "
    "or a folder in the layout of the paper's demos"
)


def read_predictions(path: str | Path) -> Iterator[StoryPrediction]:
    """Yield the stories of a path; its kind is found by looking.

    Raises:
        InputError: If there is nothing there, or it is none of the four kinds, or a record of it is malformed.
    """
    path = Path(path)
    if path.is_file():
        yield from _from_file(path)
        return
    if not path.is_dir():
        raise InputError(f"There is no file or folder {path}.")
    if (path / PREDICTIONS_FILE).is_file():
        yield from _from_file(path / PREDICTIONS_FILE)
    elif _is_dataset(path):
        yield from _from_dataset(path)
    elif demos := _demo_files(path):
        yield from _from_demos(demos)
    elif not any(path.iterdir()):
        raise InputError(f"The folder {path} is empty. Give {_KINDS}.")
    else:
        raise InputError(f"The folder {path} holds no stories to score. Give {_KINDS}.")


def _from_file(path: Path) -> Iterator[StoryPrediction]:
    rows = _read_rows(path)
    if not rows:
        raise InputError(f"{path} holds no story.")
    for number, row in enumerate(rows, start=1):
        yield parse_story(row, f"story {number} of {path}", path.parent)


def _read_rows(path: Path) -> Sequence[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text. Give {_KINDS}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if path.suffix == ".jsonl":
        return [_parse(line, f"line {number} of {path}") for number, line in enumerate(text.splitlines(), 1) if line]
    data = _parse(text, str(path))
    if isinstance(data, Mapping) and "shots" in data:
        return [data]
    if not isinstance(data, list):
        raise InputError(f"{path} is JSON of another kind: expected a list of stories, got {type(data).__name__}.")
    return data


def _parse(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not JSON.") from error


def parse_story(row: Any, what: str, folder: Path) -> StoryPrediction:
    """Return the story of one object of a predictions file.

    Args:
        row: As JSON gives it.
        what: What it is called in a refusal.
        folder: Where its paths count from.

    Raises:
        InputError: If it is malformed.
    """
    if not isinstance(row, Mapping):
        raise InputError(f"{what} must be a JSON object, got {type(row).__name__}.")
    unknown = sorted(set(row) - set(STORY_KEYS))
    if unknown:
        raise InputError(f"Unknown key {unknown[0]!r} in {what}. Known keys: {', '.join(STORY_KEYS)}.")
    missing = [key for key in ("story_id", "shots") if not row.get(key)]
    if missing:
        raise InputError(f"{what} lacks {missing[0]!r}.")
    lists: dict[str, Any] = {}
    for key in _LISTS:
        value = row.get(key)
        if value is not None and not isinstance(value, list):
            raise InputError(f"{key!r} in {what} must be a list, got {type(value).__name__}.")
        lists[key] = value or []
    _check_texts(lists, what)
    lists["regions"] = [_regions(regions, f"'regions' in {what}") for regions in lists["regions"]]
    for key in ("shots", "references"):
        lists[key] = [folder / value for value in lists[key]]
    lists["sound"] = [None if value is None else folder / value for value in lists["sound"]]
    track = row.get("track") or ""
    if not isinstance(track, str):
        raise InputError(f"'track' in {what} must be a text, got {type(track).__name__}.")
    try:
        ip_id = row.get("ip_id") or row["story_id"]
        return StoryPrediction(story_id=row["story_id"], ip_id=ip_id, track=track, **lists)
    except ValueError as error:
        raise InputError(f"{what}: {error}") from error


def _check_texts(lists: Mapping[str, Any], what: str) -> None:
    for key in ("shots", "references"):
        wrong = next((value for value in lists[key] if not isinstance(value, str)), None)
        if wrong is not None:
            raise InputError(f"{key!r} in {what} must hold paths, got {type(wrong).__name__}.")
    for key, allowed in (
        ("captions", str),
        ("reference_characters", str),
        ("sound_captions", str),
        ("scene_ids", (str, type(None))),
        ("sound", (str, type(None))),
    ):
        if not all(isinstance(value, allowed) for value in lists[key]):
            raise InputError(f"{key!r} in {what} must hold texts.")
    if not all(
        isinstance(names, list) and all(isinstance(n, str) for n in names) for names in lists["shot_characters"]
    ):
        raise InputError(f"'shot_characters' in {what} must hold lists of texts.")


def _regions(value: Any, what: str) -> dict[str, list[Region]]:
    """Return the regions of one shot; null stands for none."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(found, list) for found in value.values()):
        raise InputError(f"{what} must hold an object of lists per shot: character -> its regions.")
    try:
        return {character: [parse_region(region) for region in found] for character, found in value.items()}
    except ValueError as error:
        raise InputError(f"{what}: {error}") from error


def _is_dataset(folder: Path) -> bool:
    return any((folder / "stories").glob("*.parquet"))


def _from_dataset(folder: Path) -> Iterator[StoryPrediction]:
    """Yield every story's own shots; an opening or closing that is not part of the plot is left out."""
    if not any((folder / "shots").glob("*.parquet")):
        raise InputError(f"{folder} holds no clips: its config `shots` is empty. Make it with the videos.")
    splits = {file.name.split("-")[0] for file in (folder / "stories").glob("*.parquet")}
    for split in sorted(splits):
        for item in load_stories(folder, split, media=("video", "references")):
            shots = [shot for shot in item.shots if not shot.is_prologue_or_epilogue]
            if not shots:
                continue
            references = item.references()
            yield StoryPrediction(
                story_id=item.story.story_id,
                ip_id=item.story.video_id,
                shots=tuple(_clip_or_name(item, shot, folder) for shot in shots),
                references=tuple(reference.cutout for reference in references),
                reference_characters=tuple(reference.character_id for reference in references),
                shot_characters=tuple(shot.characters for shot in shots),
                captions=tuple(shot.caption for shot in shots),
                scene_ids=tuple(shot.scene for shot in shots),
            )


def _clip_or_name(item: StoryItem, shot: Shot, folder: Path) -> bytes | Path:
    """Return a shot's clip, or the name of a file that is not there, which will count as failed."""
    try:
        return item.clip(shot.index)
    except InputError:
        return folder / "shots" / f"{shot.shot_id}.mp4"


def _demo_files(folder: Path) -> list[Path]:
    """Return the caption files of a demo folder: each has a reference or a folder of clips beside it."""
    files = sorted(folder.glob("*.json"))
    return [file for file in files if file.with_suffix("").is_dir() or (folder / f"{file.stem}_ref.png").exists()]


def _from_demos(files: Sequence[Path]) -> Iterator[StoryPrediction]:
    for file in files:
        try:
            data = _parse(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read.") from error
        if not isinstance(data, Mapping):
            raise InputError(f"{file} is JSON of another kind: expected an object of stories.")
        for number, story in data.items():
            captions = story.get("captions") if isinstance(story, Mapping) else None
            if not isinstance(captions, list) or not captions or not all(isinstance(text, str) for text in captions):
                raise InputError(f"Story {number} of {file} must have a list of captions.")
            clips = file.with_suffix("")
            yield StoryPrediction(
                story_id=f"{file.stem}_{number}",
                ip_id=file.stem,
                shots=tuple(clips / f"generated_video_{number}_{n}_demo.mp4" for n in range(1, len(captions) + 1)),
                references=(file.with_name(f"{file.stem}_ref.png"),),
                captions=tuple(captions),
            )
