"""The log of replies: nothing is asked twice, not even after a kill; recorded replies judge without a server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.backends import ReplayJudge
from animeshooter_hf.eval.judge.grid import PictureSettings
from animeshooter_hf.eval.judge.judge_log import JudgeLog, read_entries
from animeshooter_hf.eval.judge.judge_scores import corpus_marks
from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.run import judge_stories
from animeshooter_hf.eval.story_prediction import StoryPrediction

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import Stub, start_stub
from judge_world import GOOD, Tell, eight_stories, judge_at, judge_one, seen, teller
from seeing_stub import constant, look

HERE = Path(__file__).parent
Start = Callable[..., Stub]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start stubs that are closed after the test."""
    stubs: list[Stub] = []

    def begin(answer: Callable[[dict[str, Any]], str] = lambda body: GOOD, faults: Any = ()) -> Stub:
        stubs.append(start_stub(answer, faults))
        return stubs[-1]

    yield begin
    for stub in stubs:
        stub.close()


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest) -> Tell:
    """Return a story of two shots with captions that fit."""
    return teller(request.getfixturevalue("drawn"))


# -------------------------------------------------------------------------------------------------------------- the log


def test_nothing_is_asked_twice_and_whatever_changes_is_asked_anew(start: Start, told: Tell, tmp_path: Path) -> None:
    stub = start(look)
    path = tmp_path / "judge.jsonl"

    def sent(story: StoryPrediction, **options: Any) -> int:
        before = len(stub.log)
        model = options.pop("model", "seer")
        with JudgeLog(path) as log:
            judge_stories({"ours": [story]}, judge_at(stub, model=model), JudgeSettings(**options), log=log)
        return len(stub.log) - before

    story = told()
    assert [sent(story), sent(story)] == [1, 0]
    assert sent(replace(story, captions=("It walks through the sea.", "It walks through the night."))) == 1
    assert sent(replace(story, shots=story.shots[::-1])) == 1
    assert sent(story, pictures=PictureSettings(cell_long_side=80)) == 1
    assert sent(story, model="another") == 1
    assert sent(story, seed=5) == 1
    assert sent(story, num_rounds=2) == 1
    assert sent(story) == 0


def test_renaming_a_system_or_adding_one_asks_only_what_is_new(start: Start, told: Tell) -> None:
    stub, log = start(look), JudgeLog()
    judge_stories({"a": [told()]}, judge_at(stub), log=log)
    other = replace(told(), shots=told("frog").shots)
    run = judge_stories({"x": [other], "y": [told()]}, judge_at(stub), log=log)
    assert len(stub.log) == 2
    assert [corpus_marks(run, name)["CRC"].value for name in "xy"] == [1, 10]


def test_unusable_replies_are_finished_questions_too(start: Start, told: Tell, tmp_path: Path) -> None:
    stub = start(lambda body: "no")
    for _ in range(2):
        with JudgeLog(tmp_path / "judge.jsonl") as log:
            run = judge_one(stub, told(), log)
    assert len(stub.log) == 5
    assert run.failures() == {"no_json": 1}
    assert run.calls()["sent_now"] == 0


def test_a_log_line_tells_what_was_asked_of_whom_and_what_came(start: Start, told: Tell, tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with JudgeLog(path) as log:
        judge_one(start(), told(), log)
    (line,) = [json.loads(text) for text in path.read_text().splitlines()]
    assert line["story_id"] == "fox_0"
    assert line["reply"]["text"] == GOOD
    assert line["reply"]["model"] == "seer-stub"
    assert line["reply"]["prompt_tokens"] > 0
    assert line["parsed"] == {"Model_A": json.loads(GOOD)["scores"]}
    assert (line["seed"], line["settings"]["model"], len(line["picture_hashes"])) == (0, "seer", 2)


def test_the_number_of_workers_changes_nothing(start: Start, told: Tell) -> None:
    stub = start(look)
    stories = [told(name, number) for name in ("fox", "frog") for number in range(2)]
    systems = {"a": stories, "b": [replace(story, shots=story.shots[::-1]) for story in stories]}
    runs = [
        judge_stories(systems, judge_at(stub), JudgeSettings(protocol="paper"), num_workers=workers)
        for workers in (1, 5)
    ]
    assert seen(runs[0]) == seen(runs[1])
    assert stub.most_in_flight > 1


def test_a_line_that_a_kill_cut_off_is_asked_again_and_nothing_else(start: Start, told: Tell, tmp_path: Path) -> None:
    stub, path = start(look), tmp_path / "judge.jsonl"
    stories = [told(name) for name in ("fox", "frog", "witch")]
    with JudgeLog(path) as log:
        whole = judge_stories({"ours": stories}, judge_at(stub), log=log, num_workers=1)
    path.write_bytes(path.read_bytes()[:-200])
    with JudgeLog(path) as log:
        assert (len(log), log.num_damaged) == (2, 1)
        again = judge_stories({"ours": stories}, judge_at(stub), log=log)
    assert len(stub.log) == 4
    assert seen(again) == seen(whole)
    assert len(read_entries(path).entries) == 3


def test_damage_in_the_middle_of_a_log_is_counted(start: Start, told: Tell, tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with JudgeLog(path) as log:
        judge_one(start(), told(), log)
    path.write_bytes(b'{"version": 1}\n\xff\xfe\n[]\n{"version": 99, "key": "k"}\n' + path.read_bytes())
    content = read_entries(path)
    assert (len(content.entries), content.num_damaged) == (1, 4)


def test_two_runs_do_not_write_to_one_log(tmp_path: Path) -> None:
    with JudgeLog(tmp_path / "judge.jsonl"), pytest.raises(InputError, match="Another run is writing"):
        JudgeLog(tmp_path / "judge.jsonl")


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from judge_world import killed_run
killed_run(sys.argv[1], Path(sys.argv[2]))
"""


def test_a_run_that_is_killed_goes_on_and_sends_no_finished_question_again(start: Start, tmp_path: Path) -> None:
    path, child = tmp_path / "judge.jsonl", []

    def answer(body: dict[str, Any]) -> str:
        if len(stub.log) >= 6:
            os.kill(child[0].pid, signal.SIGKILL)
        return GOOD

    stub = start(answer)
    words = [sys.executable, "-c", KILLED, stub.url, str(path), str(HERE), str(HERE.parent / "dataset_builder")]
    child.append(subprocess.Popen(words))
    assert child[0].wait(120) == -signal.SIGKILL
    finished = len(read_entries(path).entries)
    assert 1 <= finished < 8
    second = start()
    with JudgeLog(path) as log:
        run = judge_stories({"ours": eight_stories()}, judge_at(second), log=log)
    assert len(second.log) == 8 - finished
    assert all(verdict.answer is not None for verdict in run.verdicts)


# --------------------------------------------------------------------------------------------------------------- replay


def test_recorded_replies_give_the_same_marks_and_send_nothing(start: Start, told: Tell, tmp_path: Path) -> None:
    stub, path = start(look), tmp_path / "judge.jsonl"
    with JudgeLog(path) as log:
        run = judge_one(stub, told(), log)
    replayed = judge_stories({"ours": [told()]}, ReplayJudge(path))
    assert seen(replayed) == seen(run)
    assert replayed.signature == run.signature
    assert len(stub.log) == 1


def test_a_question_that_was_not_recorded_fails_and_is_counted(start: Start, told: Tell, tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with JudgeLog(path) as log:
        judge_one(start(), told(), log)
    run = judge_stories({"ours": [told(), told("frog")]}, ReplayJudge(path))
    assert run.failures() == {"error": 1}
    assert corpus_marks(run, "ours")["OQ"].n_evaluated == 1


def test_what_cannot_be_replayed_is_refused(start: Start, told: Tell, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        ReplayJudge(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match="holds no replies"):
        ReplayJudge(tmp_path / "empty.jsonl")
    path, stub = tmp_path / "two.jsonl", start(constant)
    with JudgeLog(path) as log:
        for model in ("seer", "another"):
            judge_stories({"ours": [told()]}, judge_at(stub, model=model), log=log)
    with pytest.raises(InputError, match="2 judges"):
        ReplayJudge(path)
