"""Write stories to score as a predictions file that `animeshooter evaluate` reads, with what it needs beside it.

NAME.json               the stories; clips that are files already stay where they are
NAME_references/*.png   the references of the benchmark
NAME_shots/*.mp4        clips that were bytes, such as the true ones
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.bench_records import make_slug
from animeshooter_hf.eval.regions import Region, ShotRegions
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.records import rle_to_json

__all__ = ["write_predictions_file"]


def write_predictions_file(stories: Iterable[StoryPrediction], path: Path) -> Path:
    """Write stories whose shots are files or bytes, and whose references are bytes; return the file's path.

    Raises:
        InputError: If it cannot be written.
    """
    references, shots = (path.with_name(f"{path.stem}_{kind}") for kind in ("references", "shots"))
    try:
        references.mkdir(parents=True, exist_ok=True)
        rows = [_row(story, references, shots) for story in stories]
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def _row(story: StoryPrediction, references: Path, shots: Path) -> dict[str, Any]:
    pictures = []
    for number, (owner, image) in enumerate(zip(story.characters, story.references, strict=True)):
        name = f"{make_slug(owner)}_{number}.png"
        if isinstance(image, bytes):
            (references / name).write_bytes(image)
        pictures.append(f"{references.name}/{name}")
    clips = []
    for index, shot in enumerate(story.shots):
        if isinstance(shot, bytes):
            shots.mkdir(exist_ok=True)
            name = f"{story.story_id}_{index:02d}.mp4"
            (shots / name).write_bytes(shot)
            clips.append(f"{shots.name}/{name}")
        else:
            clips.append(str(Path(str(shot)).absolute()))
    optional: dict[str, list[Any]] = {
        "sound_captions": list(story.sound_captions),
        "sound": [None if one is None else str(Path(str(one)).absolute()) for one in story.sound],
        "regions": [_regions_to_json(regions) for regions in story.regions],
    }
    return {
        "story_id": story.story_id,
        "ip_id": story.ip_id,
        "track": story.track,
        "shots": clips,
        "references": pictures,
        "reference_characters": list(story.characters),
        "shot_characters": [list(names) for names in story.shot_characters],
        "captions": list(story.captions),
        "scene_ids": list(story.scene_ids),
        **{key: value for key, value in optional.items() if any(value)},
    }


def _regions_to_json(regions: ShotRegions) -> Mapping[str, list[dict[str, Any]]]:
    return {name: [_region_to_json(region) for region in rows] for name, rows in regions.items()}


def _region_to_json(region: Region) -> dict[str, Any]:
    if region.box is not None:
        return {"frame": region.frame, "box": list(region.box)}
    return {"frame": region.frame, "mask": rle_to_json(region.mask)}
