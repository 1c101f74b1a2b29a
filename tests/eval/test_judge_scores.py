"""From answers to numbers: means, intervals, coverage, spread of rounds, bias, wins, agreement with people."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.asking import AskedQuestion
from animeshooter_hf.eval.judge.exam import wilson_interval
from animeshooter_hf.eval.judge.human_agreement import human_agreement, read_human_marks
from animeshooter_hf.eval.judge.judge_report import JudgeReport
from animeshooter_hf.eval.judge.judge_scores import (
    corpus_marks,
    pair_scores,
    position_bias,
    round_spread,
    story_marks,
    win_rates,
)
from animeshooter_hf.eval.judge.parse import JudgeAnswer
from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.verdicts import JudgeRun, Verdict

DIMENSIONS = ("OQ", "CRC", "MSC", "MCC")


def asked(answer: JudgeAnswer | None, reason: str = "") -> AskedQuestion:
    return AskedQuestion(
        answer=answer, reason=reason, detail="why", problems=(reason,) if reason else (), keys=("k",), num_sent=1,
        model="m", prompt_tokens=10, output_tokens=5,
    )  # fmt: skip


def marked(story: str, round_index: int, given: Mapping[str, int | None], ip: str = "") -> Verdict:
    """Return a verdict in which every dimension of a system has the same mark; None is a reply that was no use."""
    scores = [None if mark is None else dict.fromkeys(DIMENSIONS, mark) for mark in given.values()]
    usable = [one for one in scores if one is not None]
    answer = JudgeAnswer(scores=tuple(usable)) if len(usable) == len(scores) else None
    return Verdict(
        story_id=story, ip_id=ip or story, round_index=round_index, systems=tuple(given),
        asked=asked(answer, "" if answer else "no_json"),
    )  # fmt: skip


def chosen(story: str, systems: Sequence[str], winner: int | None) -> Verdict:
    answer = JudgeAnswer(choices=dict.fromkeys(DIMENSIONS, winner))
    return Verdict(story_id=story, ip_id=story, round_index=0, systems=tuple(systems), asked=asked(answer))


def run_of(verdicts: Sequence[Verdict], systems: Sequence[str] = ("a",), protocol: str = "pointwise") -> JudgeRun:
    settings = JudgeSettings(protocol=protocol)
    return JudgeRun(
        settings=settings, model="m", judge_settings={}, systems=tuple(systems), verdicts=tuple(verdicts), skipped={}
    )


def test_a_story_is_the_mean_of_its_rounds_and_the_corpus_the_mean_of_stories() -> None:
    run = run_of(
        [marked("s", 0, {"a": 4}), marked("s", 1, {"a": 6}), marked("t", 0, {"a": 9}), marked("t", 1, {"a": 9})]
    )
    assert [one.marks["CRC"] for one in story_marks(run)] == [5, 9]
    corpus = corpus_marks(run, "a")["CRC"]
    assert (corpus.value, corpus.n_evaluated, corpus.n_failed) == (7, 2, 0)
    assert corpus.low is not None
    assert corpus.low <= 7 <= (corpus.high or 0)


def test_a_story_without_an_answer_is_null_and_counted_and_changes_no_mean() -> None:
    run = run_of([marked("s", 0, {"a": 4}), marked("t", 0, {"a": None}), Verdict(
        story_id="u", ip_id="u", round_index=0, systems=("a",), problem="Shot 1 of story u: gone.")])  # fmt: skip
    corpus = corpus_marks(run, "a")["OQ"]
    assert (corpus.value, corpus.low, corpus.n_evaluated, corpus.n_failed) == (4, None, 1, 2)
    marks = story_marks(run)
    assert [one.marks["OQ"] for one in marks] == [4, None, None]
    assert marks[2].problem == "Shot 1 of story u: gone."
    assert run.failures() == {"no_json": 1, "unreadable": 1}
    assert "1 x unreadable (Shot 1 of story u: gone.)" in JudgeReport(run=run).table()
    assert json.loads(json.dumps(JudgeReport(run=run).to_json(), allow_nan=False))["corpus"]["a"]["oq"]["n_failed"] == 2


def test_the_spread_of_rounds_is_a_pooled_standard_deviation_and_an_icc() -> None:
    tables = [[4, 6], [8, 8], [2, 4]]
    run = run_of([marked(f"s{n}", r, {"a": mark}) for n, row in enumerate(tables) for r, mark in enumerate(row)])
    found = round_spread(story_marks(run))["MSC"]
    assert found["round_sd"] == pytest.approx(((2 + 0 + 2) / 3) ** 0.5)
    # two-way ANOVA by hand: MS of stories 13, of rounds 8/3, of the rest 2/3 (k = 2, n = 3)
    mean_square, between_rounds, rest = 38 / 3, 8 / 3, 2 / 3
    expected = (mean_square - rest) / (mean_square + rest + 2 * (between_rounds - rest) / 3)
    assert found["icc"] == pytest.approx(expected)


def test_one_round_has_no_spread() -> None:
    found = round_spread(story_marks(run_of([marked("s", 0, {"a": 4}), marked("t", 0, {"a": 5})])))
    assert found["OQ"]["round_sd"] is None
    assert found["OQ"]["icc"] is None


def test_a_judge_that_favours_the_first_place_shows_it() -> None:
    verdicts = [marked(story, 0, {"a": 8, "b": 4}) for story in "st"]
    verdicts += [marked(story, 1, {"b": 8, "a": 4}) for story in "st"]
    run = run_of(verdicts, ("a", "b"), "paper")
    assert position_bias(run)["CRC"] == [2, -2]
    assert [corpus_marks(run, name)["CRC"].value for name in "ab"] == [6, 6]


def test_a_story_with_a_failed_round_says_nothing_of_bias() -> None:
    run = run_of([marked("s", 0, {"a": 8, "b": 4}), marked("s", 1, {"b": None, "a": None})], ("a", "b"), "paper")
    assert position_bias(run)["CRC"] == [None, None]


def test_orders_that_disagree_are_a_tie_and_show_the_bias() -> None:
    verdicts = [chosen("s", "ab", 0), chosen("s", "ba", 0), chosen("t", "ab", 0), chosen("t", "ba", 1)]
    pair = pair_scores(run_of(verdicts, "ab", "pairwise"))[0]
    assert (pair.first, pair.wins, pair.ties, pair.losses) == ("a", 1, 1, 0)
    assert (pair.agreement, pair.first_position, pair.win_rate.value) == (0.5, 0.75, 0.75)


def test_a_pair_with_an_unanswered_order_is_failed_not_tied() -> None:
    missing = Verdict(story_id="s", ip_id="s", round_index=0, systems=("b", "a"), asked=asked(None, "error"))
    pair = pair_scores(run_of([chosen("s", "ab", 0), missing], "ab", "pairwise"))[0]
    assert (pair.wins, pair.ties, pair.win_rate.value, pair.win_rate.n_failed) == (0, 0, None, 1)


def test_win_rates_are_means_over_opponents() -> None:
    verdicts = []
    for first, second, winner in (("a", "b", 0), ("a", "c", 0), ("b", "c", None)):
        flipped = None if winner is None else 1 - winner
        verdicts += [chosen("s", first + second, winner), chosen("s", second + first, flipped)]
    run = run_of(verdicts, "abc", "pairwise")
    rates = win_rates(pair_scores(run), "abc")
    assert [rates[name]["OQ"] for name in "abc"] == [1.0, 0.25, 0.25]
    assert JudgeReport(run=run).to_json()["win_rates"]["a"]["oq"] == 1.0
    assert "win rate" in JudgeReport(run=run).table()


@pytest.mark.parametrize(
    ("passed", "tested", "low", "high"), [(4, 4, 0.5101, 1.0), (0, 6, 0.0, 0.3903), (10, 12, 0.552, 0.953)]
)
def test_the_interval_of_a_rate_is_wilsons(passed: int, tested: int, low: float, high: float) -> None:
    found = wilson_interval(passed, tested)
    assert found is not None
    assert found == pytest.approx((low, high), abs=5e-4)


def test_a_rate_of_nothing_has_no_interval() -> None:
    assert wilson_interval(0, 0) is None


def write_votes(path: Path, marks: Mapping[tuple[str, str], Sequence[float]]) -> Path:
    rows = [
        {"system": system, "story_id": story, "dimension": name, "value": value, "rater": number}
        for (system, story), values in marks.items() for number, value in enumerate(values) for name in DIMENSIONS
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_agreement_with_people_counts_orders_within_stories(tmp_path: Path) -> None:
    verdicts = [marked(story, 0, {system: mark}) for story, marks in
                {"s": {"a": 8, "b": 5}, "t": {"a": 7, "b": 7}, "u": {"a": 3, "b": 6}}.items()
                for system, mark in marks.items()]  # fmt: skip
    marks = story_marks(run_of(verdicts, "ab"))
    people = {
        ("a", "s"): [5, 4],
        ("b", "s"): [2, 3],
        ("a", "t"): [4, 4],
        ("b", "t"): [3, 3],
        ("a", "u"): [5],
        ("b", "u"): [1],
    }
    found = human_agreement(marks, read_human_marks(write_votes(tmp_path / "votes.jsonl", people)))
    crc = next(one for one in found if one.dimension == "CRC")
    assert (crc.num_pairs, crc.num_marked) == (3, 6)
    assert crc.pair_order == pytest.approx((1 + 0.5 + 0) / 3)
    assert crc.low is not None
    assert crc.kendall_tau is not None


def test_a_judge_that_says_the_same_as_people_agrees_fully(tmp_path: Path) -> None:
    verdicts = [marked(story, 0, {system: mark}) for story in "stu" for system, mark in (("a", 9), ("b", 3))]
    people = {(system, story): [value] for story in "stu" for system, value in (("a", 5), ("b", 1))}
    found = human_agreement(story_marks(run_of(verdicts, "ab")), read_human_marks(write_votes(tmp_path / "v", people)))
    assert [(one.pair_order, one.low, one.kendall_tau) for one in found] == [(1.0, 1.0, pytest.approx(1.0))] * 4


def test_votes_on_other_systems_are_refused(tmp_path: Path) -> None:
    people = read_human_marks(write_votes(tmp_path / "votes.jsonl", {("other", "s"): [3]}))
    with pytest.raises(InputError, match="names the same"):
        human_agreement(story_marks(run_of([marked("s", 0, {"a": 4})])), people)


@pytest.mark.parametrize(
    "line",
    ["no json", "[]", '{"system": "a"}', '{"system": "a", "story_id": "s", "dimension": "XX", "value": 3}',
     '{"system": "a", "story_id": "s", "dimension": "OQ", "value": "3"}',
     '{"system": "a", "story_id": "s", "dimension": "OQ", "value": NaN}'],
)  # fmt: skip
def test_a_vote_that_is_none_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(InputError, match="Line 2"):
        read_human_marks(path)


def test_the_report_of_a_human_study_is_read_without_its_pairs(tmp_path: Path) -> None:
    answers = {"OQ": 4, "CRC": 5, "MSC": 3, "MCC": 2}
    vote = {"part": "rating", "story_id": "s", "systems": ["a"], "answers": answers}
    pair = {"part": "pair", "story_id": "s", "systems": ["a", "b"], "answers": dict.fromkeys(DIMENSIONS, "left")}
    report = {
        "format": "animeshooter-human-study",
        "version": 1,
        "votes": [vote, pair, {**vote, "answers": {**answers, "OQ": 1}}],
    }
    path = tmp_path / "study.json"
    path.write_text(json.dumps(report, indent=1))
    assert read_human_marks(path) == {("a", "s"): {"OQ": 2.5, "CRC": 5, "MSC": 3, "MCC": 2}}
    path.write_text(json.dumps({**report, "votes": [pair]}))
    with pytest.raises(InputError, match="no ratings"):
        read_human_marks(path)
    path.write_text(json.dumps({**report, "votes": [{"part": "rating"}]}))
    with pytest.raises(InputError, match="damaged"):
        read_human_marks(path)


def test_votes_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_human_marks(tmp_path / "none.jsonl")
