"""`animeshooter judge`: options, dry run, a run over HTTP, replay, results, and one sentence for each bad input."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval import judge_command

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import start_stub
from seeing_stub import constant, look

OPTIONS = [
    "--anchors", "--api-key-env", "--base-url", "--device", "--dry-run", "--dtype", "--exam", "--exam-stories",
    "--frames-per-shot", "--help", "--json", "--limit", "--local", "--max-output-tokens", "--max-retries", "--model",
    "--name", "--out", "--protocol", "--replay", "--requests-per-minute", "--results", "--revision", "--rounds",
    "--seed", "--structured", "--system", "--temperature", "--timeout", "--token-limit-field", "--votes", "--workers",
]  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="animeshooter judge")
    judge_command.add_arguments(made)
    return made


def judge(*words: str | Path) -> int:
    return judge_command.run(parser().parse_args([str(word) for word in words]))


@pytest.fixture
def folder(story_folder: Callable[..., Path]) -> Path:
    return story_folder("fox", "witch")


def test_the_options_are_these_and_each_is_explained() -> None:
    actions = parser()._actions
    assert sorted(word for action in actions for word in action.option_strings if word.startswith("--")) == OPTIONS
    assert all(action.help for action in actions)
    assert "Example:" in (judge_command.__doc__ or "")


def test_a_run_writes_log_and_numbers_and_a_replay_gives_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judged"
    with start_stub(look) as stub:
        assert judge(folder, "--model", "seer", "--base-url", stub.url, "--out", out, "--workers", 2) == 0
        assert judge(folder, "--model", "seer", "--base-url", stub.url, "--out", out) == 0
        assert len(stub.log) == 2
    table = capsys.readouterr().out
    assert "2 questions, 2 replies, 2 of them asked now" in table
    assert "2 questions, 2 replies, 0 of them asked now" in table
    document = json.loads((out / "judge.json").read_text())
    assert document["corpus"]["system"]["crc"]["value"] == 10
    assert document["is_trusted"] is None
    assert len((out / "judge.jsonl").read_text().splitlines()) == 2
    assert judge(folder, "--replay", out / "judge.jsonl", "--json") == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["corpus"] == document["corpus"]
    assert replayed["signature"] == document["signature"]


def test_a_dry_run_counts_and_sends_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with start_stub() as stub:
        words = ["--system", f"a={folder}", "--system", f"b={folder}", "--protocol", "paper", "--dry-run", "--exam"]
        assert judge(*words, "--model", "seer", "--base-url", stub.url) == 0
        assert not stub.log
    found = json.loads(capsys.readouterr().out)
    # two stories, two rounds, a reference and two sheets each
    assert (found["num_stories"], found["num_questions"], found["num_pictures"]) == (2, 4, 12)
    assert found["prompt_tokens"] > 4 * 2 * 496 * 196 / 784
    assert (found["num_unreadable"], found["num_exam_questions"]) == (0, 2 * 2 * 5)


def test_an_exam_that_is_failed_gives_status_one_and_says_so_in_the_results(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stories = [{"story_id": name, "ip_id": name.split("_")[0]} for name in ("fox_1", "witch_1")]
    scores = {"format": "animeshooter-scores", "version": 2, "corpus": {}, "signatures": {}, "stories": stories}
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "results.json").write_text(json.dumps(scores))
    with start_stub(constant) as stub:
        words = ["--system", f"ours={twice(folder, tmp_path)}", "--exam", "--results", tmp_path / "scores"]
        assert judge(*words, "--out", tmp_path / "judged", "--model", "m", "--base-url", stub.url) == 1
    assert "NOT TRUSTED" in capsys.readouterr().out
    merged = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert merged["corpus"]["judge_pointwise"]["oq"]["value"] == 7
    assert merged["manifest"]["judge"]["is_trusted"] is False
    lines = (tmp_path / "scores" / "judge.jsonl").read_text().splitlines()
    assert {json.loads(line)["story_id"] for line in lines} == {"fox_1", "witch_1", "fox_2", "witch_2"}


def twice(folder: Path, tmp_path: Path) -> Path:
    """Return a predictions file in which each story of a demo folder stands under two IDs."""
    rows = []
    for name in ("fox", "witch"):
        captions = json.loads((folder / f"{name}.json").read_text())["1"]["captions"]
        shots = [str(folder / name / f"generated_video_1_{number}_demo.mp4") for number in (1, 2)]
        row = {"ip_id": name, "shots": shots, "references": [str(folder / f"{name}_ref.png")], "captions": captions}
        rows += [{"story_id": f"{name}_{number}", **row} for number in (1, 2)]
    (tmp_path / "twice.json").write_text(json.dumps(rows))
    return tmp_path / "twice.json"


def test_votes_of_people_are_compared(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    votes = tmp_path / "votes.jsonl"
    rows = [{"system": system, "story_id": "fox_1", "dimension": "CRC", "value": value} for system, value in
            (("a", 5), ("b", 2))]  # fmt: skip
    votes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with start_stub(look) as stub:
        words = ["--system", f"a={folder}", "--system", f"b={folder}", "--votes", votes, "--json"]
        assert judge(*words, "--model", "m", "--base-url", stub.url) == 0
    found = {row["dimension"]: row for row in json.loads(capsys.readouterr().out)["human_agreement"]}
    assert (found["CRC"]["pair_order"], found["CRC"]["num_pairs"], found["OQ"]["num_pairs"]) == (0.5, 1, 0)


def test_a_run_without_any_answer_gives_status_one(folder: Path) -> None:
    with start_stub(lambda body: "no") as stub:
        assert judge(folder, "--limit", 1, "--model", "m", "--base-url", stub.url, "--temperature", "none") == 1


BAD: dict[str, tuple[list[Any], str]] = {
    "no stories": (["--model", "m"], "nothing to judge"),
    "no judge": (["FOLDER"], "Name one judge"),
    "two judges": (["FOLDER", "--model", "m", "--local", "x"], "Name one judge"),
    "no such path": (["nowhere", "--model", "m"], "no file or folder"),
    "a system without a path": (["--system", "ours", "--model", "m"], "NAME=PATH"),
    "a name twice": (["FOLDER", "--system", "system=FOLDER", "--model", "m"], "Two systems"),
    "no story wanted": (["FOLDER", "--limit", "0", "--model", "m"], "--limit"),
    "no frames": (["FOLDER", "--frames-per-shot", "0", "--model", "m"], "--frames-per-shot"),
    "pairs of one": (["FOLDER", "--protocol", "pairwise", "--model", "m", "--base-url", "http://x"], "at least two"),
    "no results": (["FOLDER", "--results", "nothing.json", "--model", "m"], "cannot be read"),
    "relative marks": (["FOLDER", "--protocol", "paper", "--results", "r.json", "--model", "m"], "merge pointwise"),
    "no recording": (["FOLDER", "--replay", "none.jsonl"], "no file"),
    "an address of another kind": (["FOLDER", "--model", "m", "--base-url", "localhost:8000"], "http"),
    "no anchors": (["FOLDER", "--anchors", "none.json", "--model", "m"], "none.json cannot be read"),
    "no votes": (["FOLDER", "--votes", "none.jsonl", "--model", "m"], "none.jsonl cannot be read"),
    "too many workers": (["FOLDER", "--workers", "999", "--model", "m", "--base-url", "http://x"], "num_workers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_one_sentence(name: str, folder: Path) -> None:
    words, message = BAD[name]
    with pytest.raises(InputError, match=message):
        judge(*(str(word).replace("FOLDER", str(folder)) for word in words))
