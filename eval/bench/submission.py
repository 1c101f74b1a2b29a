"""What a system hands in for a benchmark: the file that a submitter fills, and stories to score made of it.

    {"format": "animeshooter-submission", "version": 1,
     "benchmark": {"id", "revision"}, "tracks": ["main", ...],
     "system": {"name", "revision", "url", "license", "sampled_by", "notes"},
     "per_ip_training": true or false,
     "stories": [{"story_id", "shots": [path, ...], "sound": [path or null, ...]}]}

Paths count from the file's folder. The predictions files that `animeshooter generate` and `evaluate` know are read
too, several at once; of them only story_id, shots and sound are taken: references, captions and whom a shot should
show come from the benchmark.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.bench_records import BenchStory
from animeshooter_hf.eval.bench.tracks import TRACKS
from animeshooter_hf.eval.story_prediction import StoryPrediction

if TYPE_CHECKING:
    from animeshooter_hf.eval.bench.bench_folder import Benchmark

__all__ = [
    "Submission",
    "SubmittedStory",
    "read_submission",
    "story_prediction",
    "submission_template",
    "submitted_predictions",
]

_FORMAT = "animeshooter-submission"
_KEYS = ("format", "version", "benchmark", "tracks", "system", "per_ip_training", "stories")
_SYSTEM_KEYS = ("name", "revision", "url", "license", "sampled_by", "notes")
_PREDICTIONS_FILE = "predictions.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmittedStory:
    """One story as it was made."""

    story_id: str
    """Which."""

    shots: tuple[Path, ...]
    """A clip for each shot."""

    sound: tuple[Path | None, ...] = ()
    """Sound that is not inside the clips."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What a system made."""

    stories: tuple[SubmittedStory, ...]
    """In the order of the file; a story may stand there twice, which the check finds."""

    tracks: tuple[str, ...] = ()
    """Tracks that it is for; empty if it does not say."""

    benchmark: Mapping[str, str] = field(default_factory=dict)
    """`id` and `revision` of the benchmark; empty if it does not say."""

    system: Mapping[str, str] = field(default_factory=dict)
    """Who made it."""

    per_ip_training: bool | None = None
    """Whether it was trained on the tested characters; None if it does not say."""


def submission_template(benchmark_id: str, revision: str, tracks: Sequence[str], stories: Sequence[BenchStory]) -> str:
    """Return the file that a submitter fills; the paths in it are a proposal."""
    data = {
        "format": _FORMAT,
        "version": 1,
        "benchmark": {"id": benchmark_id, "revision": revision},
        "tracks": list(tracks),
        "system": dict.fromkeys(_SYSTEM_KEYS, ""),
        "per_ip_training": None,
        "stories": [
            {"story_id": story.story_id, "shots": [f"shots/{shot_id}.mp4" for shot_id in story.shot_ids]}
            for story in stories
        ],
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def read_submission(
    paths: Sequence[str | Path], *, tracks: Sequence[str] = (), per_ip_training: bool | None = None
) -> Submission:
    """Return what some files or folders hand in.

    Args:
        paths: Submissions or predictions files, or folders that hold a `predictions.json`.
        tracks: Tracks that it is for, in place of what the file says.
        per_ip_training: The statement, in place of what the file says.

    Raises:
        InputError: If a file cannot be read or is malformed.
    """
    stories: list[SubmittedStory] = []
    stated: Submission | None = None
    for path in map(Path, paths):
        file = path / _PREDICTIONS_FILE if path.is_dir() else path
        one = _read_file(file)
        stories += one.stories
        if stated is not None and one.system and stated.system and one.system != stated.system:
            raise InputError(f"{file} is of another system than the file before it; check them one by one.")
        stated = one if stated is None or one.system else stated
    stated = stated or Submission(stories=())
    return Submission(
        stories=tuple(stories),
        tracks=tuple(tracks) or stated.tracks,
        benchmark=stated.benchmark,
        system=stated.system,
        per_ip_training=stated.per_ip_training if per_ip_training is None else per_ip_training,
    )


def submitted_predictions(benchmark: "Benchmark", submission: Submission, track: str) -> list[StoryPrediction]:
    """Return the stories of a track to score, in the benchmark's order; what was not handed in is left out.

    Raises:
        InputError: If the benchmark has no such track, or a story has more or fewer shots than it should.
    """
    made = {story.story_id: story for story in submission.stories}
    found = []
    for story in benchmark.stories(track):
        if story.story_id not in made:
            continue
        one = made[story.story_id]
        if len(one.shots) != len(story.shots):
            raise InputError(
                f"Story {story.story_id} must have {len(story.shots)} shots, got {len(one.shots)}. "
                "`animeshooter bench check` tells all that is wrong."
            )
        found.append(story_prediction(benchmark, story, track, one.shots, sound=one.sound))
    return found


def story_prediction(
    benchmark: "Benchmark", story: BenchStory, track: str, shots: Sequence[Any], **more: Any
) -> StoryPrediction:
    """Return a story to score: the shots are given, all else comes from the benchmark.

    Args:
        benchmark: Where the story is from.
        story: Which.
        track: In which track it is scored.
        shots: Clips.
        more: Other fields of the prediction, such as sound or regions.
    """
    references = benchmark.references_of(story)
    is_heard = any(shot.sound_caption for shot in story.shots)
    return StoryPrediction(
        story_id=story.story_id,
        ip_id=story.ip_id,
        shots=tuple(shots),
        references=tuple(one.image for one in references),
        reference_characters=tuple(one.character_id for one in references),
        shot_characters=tuple(shot.characters for shot in story.shots),
        captions=tuple(shot.caption for shot in story.shots),
        scene_ids=tuple(shot.scene for shot in story.shots),
        sound_captions=tuple(shot.sound_caption for shot in story.shots) if is_heard else (),
        track=track,
        **more,
    )


def _read_file(path: Path) -> Submission:
    try:
        text = path.read_text(encoding="utf-8")
        is_lines = path.suffix == ".jsonl"
        data = [json.loads(line) for line in text.splitlines() if line] if is_lines else json.loads(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON.") from error
    if isinstance(data, Mapping) and data.get("format") == _FORMAT:
        return _read_stated(data, path)
    rows = [data] if isinstance(data, Mapping) and "shots" in data else data
    if not isinstance(rows, list):
        raise InputError(f"{path} is neither a submission nor a list of stories. Begin with predictions_template.json.")
    return Submission(stories=_read_stories(rows, path, strict=False))


def _read_stated(data: Mapping[str, Any], path: Path) -> Submission:
    unknown = sorted(set(data) - set(_KEYS))
    if unknown:
        raise InputError(f"Unknown key {unknown[0]!r} in {path}. Known keys: {', '.join(_KEYS)}.")
    if data.get("version") != 1:
        raise InputError(f"{path} is a submission of version {data.get('version')!r}; version 1 is known.")
    tracks = data.get("tracks") or []
    if not isinstance(tracks, list) or not all(name in TRACKS for name in tracks):
        raise InputError(f"tracks in {path} must be some of {', '.join(TRACKS)}, got {tracks!r}.")
    training = data.get("per_ip_training")
    if training is not None and not isinstance(training, bool):
        raise InputError(f"per_ip_training in {path} must be true or false, got {training!r}.")
    rows = data.get("stories")
    if not isinstance(rows, list):
        raise InputError(f"stories in {path} must be a list.")
    return Submission(
        stories=_read_stories(rows, path, strict=True),
        tracks=tuple(tracks),
        benchmark=_texts(data, "benchmark", ("id", "revision"), path),
        system=_texts(data, "system", _SYSTEM_KEYS, path),
        per_ip_training=training,
    )


def _texts(data: Mapping[str, Any], key: str, known: Sequence[str], path: Path) -> dict[str, str]:
    values = data.get(key) or {}
    if not isinstance(values, Mapping) or not all(isinstance(value, str) for value in values.values()):
        raise InputError(f"{key} in {path} must hold texts.")
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"Unknown key {unknown[0]!r} in {key} of {path}. Known keys: {', '.join(known)}.")
    return {name: value for name, value in values.items() if value}


def _read_stories(rows: Sequence[Any], path: Path, *, strict: bool) -> tuple[SubmittedStory, ...]:
    stories = []
    for number, row in enumerate(rows, start=1):
        what = f"story {number} of {path}"
        if not isinstance(row, Mapping) or not isinstance(row.get("story_id"), str):
            raise InputError(f"{what} must be an object with a story_id.")
        unknown = sorted(set(row) - {"story_id", "shots", "sound"})
        if unknown and strict:
            raise InputError(f"Unknown key {unknown[0]!r} in {what}. Known keys: story_id, shots, sound.")
        shots, sound = row.get("shots"), row.get("sound") or []
        if not isinstance(shots, list) or not all(isinstance(one, str) and one for one in shots):
            raise InputError(f"shots of {what} must be a list of paths.")
        if not isinstance(sound, list) or not all(one is None or isinstance(one, str) for one in sound):
            raise InputError(f"sound of {what} must be a list of paths or null.")
        stories.append(
            SubmittedStory(
                story_id=row["story_id"],
                shots=tuple(path.parent / one for one in shots),
                sound=tuple(None if one is None else path.parent / one for one in sound),
            )
        )
    return tuple(stories)
