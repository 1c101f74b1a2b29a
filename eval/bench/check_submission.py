"""Say what is missing or wrong in a submission, before hours are spent on scoring it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.bench_folder import Benchmark
from animeshooter_hf.eval.bench.bench_records import BenchStory
from animeshooter_hf.eval.bench.completed_file import write_predictions_file
from animeshooter_hf.eval.bench.submission import Submission, SubmittedStory, submitted_predictions
from animeshooter_hf.eval.bench.tracks import TRACKS
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.video import index_frames, probe, read_frames

__all__ = ["PROBLEM_KINDS", "Problem", "check_submission", "write_completed"]

PROBLEM_KINDS = {
    "benchmark": "it is for another benchmark or revision",
    "track": "it says not or wrongly for which track it is",
    "rule": "it breaks a rule of its track",
    "missing_story": "a story was not handed in",
    "extra_story": "a story is of no track of the submission",
    "double_story": "a story was handed in twice",
    "num_shots": "a story has more or fewer shots than it should",
    "missing_file": "a clip is not there",
    "unreadable": "a clip cannot be decoded",
    "same_file": "one clip stands for several shots",
    "no_sound": "a shot of a track with sound is silent",
}
"""Kind of problem -> what it means."""

_FEWEST_FRAMES = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is missing or wrong."""

    kind: str
    """One of `PROBLEM_KINDS`."""

    where: str
    """Story, shot or file; "" for the submission as a whole."""

    words: str
    """A sentence."""


def check_submission(
    benchmark: Benchmark, submission: Submission, *, decode: bool = True, num_threads: int = 2
) -> list[Problem]:
    """Return all problems, those of the whole first; none means that it can be scored.

    Args:
        benchmark: What was asked for.
        submission: What was made.
        decode: Decode every clip to its end; else only that it says it is a video.
        num_threads: Clips that are read at once.
    """
    problems = list(_statement_problems(benchmark, submission))
    tracks = [name for name in submission.tracks or ("main",) if name in benchmark.tracks]
    wanted = {story.story_id: story for track in tracks for story in benchmark.stories(track)}
    heard = {one.story_id for name in tracks if TRACKS[name].needs_sound for one in benchmark.stories(name)}
    problems += _story_problems(wanted, submission.stories)
    files = Counter(path.resolve() for story in submission.stories for path in story.shots)
    problems += [
        Problem("same_file", str(path), f"{path.name} stands for {count} shots.")
        for path, count in files.items()
        if count > 1
    ]
    chosen = [story for story in submission.stories if story.story_id in wanted]
    jobs = [(story, index, decode, story.story_id in heard) for story in chosen for index in range(len(story.shots))]
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        for found in pool.map(lambda job: _clip_problems(*job), jobs):
            problems += found
    return problems


def write_completed(benchmark: Benchmark, submission: Submission, path: Path) -> Path:
    """Write a predictions file that `animeshooter evaluate` scores; tracks that share stories are scored once.

    Raises:
        InputError: If it cannot be written, or a story has more or fewer shots than it should.
    """
    tracks = [name for name in submission.tracks or ("main",) if name in benchmark.tracks]
    stories: dict[str, StoryPrediction] = {}
    for track in tracks:
        for story in submitted_predictions(benchmark, submission, track):
            stories.setdefault(story.story_id, story)
    return write_predictions_file(stories.values(), path)


def _statement_problems(benchmark: Benchmark, submission: Submission) -> Iterator[Problem]:
    for key, own in (("id", benchmark.id), ("revision", benchmark.revision)):
        said = submission.benchmark.get(key)
        if said is not None and said != own:
            yield Problem("benchmark", "", f"The submission is for the {key} {said}, this benchmark has {own}.")
    if not submission.tracks:
        yield Problem("track", "", "The submission does not say for which track it is; main is checked.")
    for name in submission.tracks:
        if name not in benchmark.tracks:
            yield Problem("track", name, f"This benchmark has no track {name}; it has {', '.join(benchmark.tracks)}.")
        elif TRACKS[name].forbids_ip_training and submission.per_ip_training is not False:
            said = "does not state" if submission.per_ip_training is None else "was made with training on"
            what = "whether it was trained on the tested characters" if "not" in said else "the tested characters"
            yield Problem("rule", name, f"The submission {said} {what}; {name} needs per_ip_training: false.")


def _story_problems(wanted: dict[str, BenchStory], stories: Sequence[SubmittedStory]) -> Iterator[Problem]:
    times = Counter(story.story_id for story in stories)
    for name in wanted:
        if name not in times:
            yield Problem("missing_story", name, f"Story {name} is missing.")
    for name, count in times.items():
        if name not in wanted:
            yield Problem("extra_story", name, f"Story {name} is in none of the submission's tracks.")
        if count > 1:
            yield Problem("double_story", name, f"Story {name} was handed in {count} times.")
    for story in stories:
        expected = len(wanted[story.story_id].shots) if story.story_id in wanted else len(story.shots)
        if len(story.shots) != expected:
            words = f"Story {story.story_id} must have {expected} shots, got {len(story.shots)}."
            yield Problem("num_shots", story.story_id, words)
        if len(story.sound) not in (0, len(story.shots)):
            words = f"sound of story {story.story_id} must hold {len(story.shots)} entries or none."
            yield Problem("num_shots", story.story_id, words)


def _clip_problems(story: SubmittedStory, index: int, decode: bool, is_heard: bool) -> list[Problem]:
    path, where = story.shots[index], f"{story.story_id} shot {index}"
    if not path.is_file():
        return [Problem("missing_file", where, f"{path} is not there.")]
    try:
        num_frames = len(index_frames(path))
        has_sound = probe(path).has_audio
        if num_frames < _FEWEST_FRAMES:
            return [Problem("unreadable", where, f"{path} has {num_frames} frames, so it is no clip.")]
        if decode:
            read_frames(path, [0, num_frames - 1])
    except InputError as error:
        return [Problem("unreadable", where, str(error))]
    other = story.sound[index] if index < len(story.sound) else None
    if is_heard and not has_sound and (other is None or not other.is_file()):
        return [Problem("no_sound", where, f"{path} has no sound, and no file of sound was given that is there.")]
    return []
