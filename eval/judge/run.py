"""Judge stories: `judge_stories` shows each to the judge, as often as the protocol says, and keeps what comes back.

Pictures are made on the main thread, a story at a time, while worker threads wait for replies; what is asked and how it
is counted do not depend on the number of workers or on the order in which replies come.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from tqdm import tqdm

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.asking import AskedQuestion, ask_until_usable
from animeshooter_hf.eval.judge.backends import JudgeBackend
from animeshooter_hf.eval.judge.judge_log import JudgeLog
from animeshooter_hf.eval.judge.order import is_balanced
from animeshooter_hf.eval.judge.protocols import JudgeSettings, make_question, plan_orders
from animeshooter_hf.eval.judge.question import JudgeQuestion
from animeshooter_hf.eval.judge.story_pictures import StoryPictures, story_pictures
from animeshooter_hf.eval.judge.verdicts import JudgeRun, Verdict
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["PlannedStory", "judge_stories", "plan_stories", "planned_questions"]

MAX_WORKERS = 256
"""More are refused as a slip of the pen."""

_OTHERS_LACK_IT = "Not every system tells this story with a reference."


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedStory:
    """One story, as the systems tell it."""

    story_id: str
    """Its ID."""

    told: tuple[StoryPrediction | None, ...]
    """Per system of the run; None where it has no such story."""

    orders: tuple[tuple[int, tuple[int, ...]], ...]
    """The questions: round, and which system stands at each position."""

    @property
    def first(self) -> StoryPrediction:
        """The story as the first system tells it that has it."""
        return next(story for story in self.told if story is not None)


def judge_stories(
    systems: Mapping[str, Iterable[StoryPrediction]],
    backend: JudgeBackend,
    settings: JudgeSettings | None = None,
    *,
    log: JudgeLog | None = None,
    num_workers: int = 4,
    progress: bool = False,
) -> JudgeRun:
    """Return what a judge says of stories.

    Args:
        systems: Name -> its stories. Names are never sent.
        backend: Who judges.
        settings: What is asked; the default is the pointwise protocol.
        log: Replies so far, and where new ones are kept; in memory only if None.
        num_workers: Calls at once. It changes no number.
        progress: Whether to show a bar on stderr.

    Raises:
        InputError: If there is no story, two stories of a system share an ID, the protocol needs more systems, two
            systems have other captions for one story, or the judge cannot be asked at all. A story whose files cannot
            be read, or a reply that cannot be used, is no error: it has no marks and is counted.
    """
    settings = settings or JudgeSettings()
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or not 1 <= num_workers <= MAX_WORKERS:
        raise InputError(f"num_workers must lie in 1 to {MAX_WORKERS}, got {num_workers!r}.")
    names = tuple(systems)
    planned, skipped = plan_stories(systems, settings)
    log = JudgeLog() if log is None else log  # an empty log is false
    verdicts: list[Verdict | Future[Verdict]] = []
    total = sum(len(story.orders) for story in planned)
    room = threading.BoundedSemaphore(2 * num_workers)
    pool = ThreadPoolExecutor(num_workers)
    try:
        with tqdm(desc="judging", unit=" questions", total=total, disable=not progress) as bar:
            for story in planned:
                for question in planned_questions(story, names, settings):
                    if isinstance(question, Verdict):
                        verdicts.append(question)
                        bar.update()
                        continue
                    room.acquire()
                    future = pool.submit(_ask, question, backend, log, settings)
                    future.add_done_callback(lambda _: room.release())
                    future.add_done_callback(lambda _: bar.update())
                    verdicts.append(future)
                    _raise_early(verdicts, num_workers)
            done = tuple(entry if isinstance(entry, Verdict) else entry.result() for entry in verdicts)
    finally:
        pool.shutdown(cancel_futures=True)
    return JudgeRun(
        settings=settings,
        model=backend.name,
        judge_settings=backend.settings_key(),
        systems=names,
        verdicts=done,
        skipped=skipped,
        notes=_notes(settings, len(names)),
    )


def plan_stories(
    systems: Mapping[str, Iterable[StoryPrediction]], settings: JudgeSettings
) -> tuple[list[PlannedStory], dict[tuple[str, str], str]]:
    """Return the stories to judge in order, and (system, story) -> why it is not asked about.

    Raises:
        InputError: As `judge_stories`.
    """
    if not systems:
        raise InputError("There is no system to judge.")
    orders = plan_orders(settings, len(systems))
    told = {name: _by_id(name, stories) for name, stories in systems.items()}
    if not any(told.values()):
        raise InputError("There is no story to judge.")
    planned: list[PlannedStory] = []
    skipped: dict[tuple[str, str], str] = {}
    for story_id in dict.fromkeys(story_id for stories in told.values() for story_id in stories):
        versions = tuple(stories.get(story_id) for stories in told.values())
        usable = {number for number, version in enumerate(versions) if version is not None and version.references}
        asked = tuple((number, order) for number, order in orders if usable.issuperset(order))
        story = PlannedStory(story_id=story_id, told=versions, orders=asked)
        if settings.protocol != "pointwise":
            _check_captions(story, tuple(told))
        if asked:
            planned.append(story)
        shown = {system for _, order in asked for system in order}
        for number, (name, version) in enumerate(zip(told, versions, strict=True)):
            if version is not None and number not in shown:
                skipped[name, story_id] = _OTHERS_LACK_IT if number in usable else "It has no reference."
    return planned, skipped


def planned_questions(
    story: PlannedStory, names: Sequence[str], settings: JudgeSettings
) -> Iterator[JudgeQuestion | Verdict]:
    """Yield the questions about a story; a verdict without marks where one cannot be asked."""
    drawn: list[StoryPictures | str | None] = [
        None if version is None else _pictures(version, settings) for version in story.told
    ]
    for round_index, order in story.orders:
        shown = [drawn[system] for system in order]
        problem = next((one for one in shown if isinstance(one, str)), "")
        pictures = [one for one in drawn if isinstance(one, StoryPictures)]
        if not problem and len({tuple(one.digest for _, one in p.references) for p in _shown(shown)}) > 1:
            problem = "The systems show different references for this story."
        if problem:
            yield Verdict(
                story_id=story.story_id,
                ip_id=story.first.ip_id,
                round_index=round_index,
                systems=tuple(names[system] for system in order),
                problem=problem,
            )
            continue
        version = story.told[order[0]] or story.first
        yield make_question(
            settings,
            story_id=story.story_id,
            ip_id=version.ip_id,
            captions=version.captions,
            round_index=round_index,
            order=order,
            names=names,
            pictures=[one if isinstance(one, StoryPictures) else pictures[0] for one in drawn],
        )


def _shown(entries: Sequence[StoryPictures | str | None]) -> list[StoryPictures]:
    return [entry for entry in entries if isinstance(entry, StoryPictures)]


def _pictures(prediction: StoryPrediction, settings: JudgeSettings) -> StoryPictures | str:
    try:
        return story_pictures(prediction, settings.pictures)
    except InputError as error:
        return str(error)


def _ask(question: JudgeQuestion, backend: JudgeBackend, log: JudgeLog, settings: JudgeSettings) -> Verdict:
    asked: AskedQuestion = ask_until_usable(question, backend, log, settings)
    return Verdict(
        story_id=question.story_id,
        ip_id=question.ip_id,
        round_index=question.round_index,
        systems=question.systems,
        asked=asked,
    )


def _raise_early(verdicts: Sequence["Verdict | Future[Verdict]"], num_workers: int) -> None:
    """Raise what a finished question raised, so that a run with a wrong key does not draw every story first."""
    for entry in verdicts[-4 * num_workers :]:
        if isinstance(entry, Future) and entry.done() and entry.exception() is not None:
            entry.result()


def _by_id(name: str, stories: Iterable[StoryPrediction]) -> dict[str, StoryPrediction]:
    found: dict[str, StoryPrediction] = {}
    for story in stories:
        if story.story_id in found:
            raise InputError(f"Two stories of {name} have the ID {story.story_id}.")
        found[story.story_id] = story
    return found


def _check_captions(story: PlannedStory, names: Sequence[str]) -> None:
    told = [(name, version) for name, version in zip(names, story.told, strict=True) if version is not None]
    for name, version in told[1:]:
        if version.captions != told[0][1].captions:
            raise InputError(
                f"Story {story.story_id} has other captions in {name} than in {told[0][0]}: systems can be compared "
                "only where they were given the same words."
            )


def _notes(settings: JudgeSettings, num_systems: int) -> tuple[str, ...]:
    rounds = settings.num_rounds
    if settings.protocol == "paper" and rounds is not None and not is_balanced(num_systems, rounds):
        return (f"{rounds} rounds for {num_systems} systems: not every system stood at every position equally often.",)
    return ()
