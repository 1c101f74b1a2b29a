"""What the tests of the judge share: a stub's address, a clock that does not wait, stories, a run to be killed."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from animeshooter_hf.eval.judge.backends import EndpointJudge, EndpointSettings
from animeshooter_hf.eval.judge.judge_log import JudgeLog
from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.retry import Clock
from animeshooter_hf.eval.judge.run import judge_stories
from animeshooter_hf.eval.judge.verdicts import JudgeRun
from animeshooter_hf.eval.story_prediction import StoryPrediction

GOOD = json.dumps({"scores": {"OQ": 7, "CRC": 8, "MSC": 6, "MCC": 5}})

Tell = Callable[..., StoryPrediction]


class Waits:
    """A clock that does not wait: it goes forward by what it was asked to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def clock(self) -> Clock:
        return Clock(now=lambda: sum(self.slept), sleep=self.slept.append)


def judge_at(stub: Any, waits: Waits | None = None, **options: Any) -> EndpointJudge:
    settings = EndpointSettings(**{"model": "seer", "base_url": stub.url, "timeout_seconds": 20.0, **options})
    return EndpointJudge(settings, (waits or Waits()).clock())


def judge_one(stub: Any, story: StoryPrediction, log: JudgeLog | None = None, **options: Any) -> JudgeRun:
    return judge_stories({"ours": [story]}, judge_at(stub), JudgeSettings(**options), log=log)


def seen(run: JudgeRun) -> list[Any]:
    return [(verdict.systems, verdict.answer) for verdict in run.verdicts]


def teller(drawn: SimpleNamespace) -> Tell:
    """Return a function that makes stories of two clean shots with captions that fit."""

    @cache
    def tell(name: str = "fox", number: int = 0) -> StoryPrediction:
        places = ("field", "night")
        return StoryPrediction(
            story_id=f"{name}_{number}",
            ip_id=name,
            shots=tuple(drawn.shot(name, place, 3, start=66 + 3 * number, noise=0) for place in places),
            references=(drawn.reference(name),),
            captions=tuple(f"It walks through the {place}." for place in places),
        )

    return tell


def killed_run(url: str, path: Path) -> None:
    """Judge eight stories; the stub kills this process in the middle."""
    with JudgeLog(path) as log:
        judge = EndpointJudge(EndpointSettings(model="seer", base_url=url))
        judge_stories({"ours": eight_stories()}, judge, log=log, num_workers=3)


def eight_stories() -> list[StoryPrediction]:
    shots = [np.full((3, 96, 160, 3), 10 * number, np.uint8) for number in range(9)]
    return [
        StoryPrediction(story_id=f"s{n}", ip_id="x", shots=(shots[n], shots[n + 1]), references=(shots[n][0],))
        for n in range(8)
    ]
