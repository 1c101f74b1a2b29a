"""A judge's reply to marks: what leaves no doubt is read, all else is refused with its kind. Nothing is guessed."""

import json
import random

import pytest

from animeshooter_hf.eval.judge.parse import MAX_REPLY_CHARACTERS, PROBLEMS, JudgeAnswer, ReplyProblem, parse_reply

MARKS = {"OQ": 7, "CRC": 8, "MSC": 6, "MCC": 5}
GOOD = json.dumps({"scores": MARKS, "feedback": {"OQ": "clean, with { and } in it"}})
TWO = {"Model_A": {"scores": MARKS}, "Model_B": {"scores": {**MARKS, "OQ": 2}}, "comparative_analysis": "A is better"}
ONE_LABEL, TWO_LABELS = ("Model_A",), ("Model_A", "Model_B")


def marks_with(**changes: object) -> str:
    return json.dumps({"scores": {**MARKS, **changes}})


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here is my judgement, in {{curly}} prose:\n\n{GOOD}\n\nI hope this helps {{smile}}!",
        f"<think>Perhaps {marks_with(OQ=1)}? No.</think>{GOOD}",
        f"\ufeff{GOOD}",
        json.dumps({"Model_A": {"scores": MARKS}}),
        json.dumps({"model a": MARKS}),
        json.dumps(MARKS),
        json.dumps({"scores": {name.lower(): mark for name, mark in MARKS.items()}}),
        marks_with(OQ=7.0),
        marks_with(OQ="7"),
        marks_with(OQ=" 7/10 "),
        marks_with(OQ="7.0 / 10"),
        marks_with(OQ={"score": 7, "reason": "clean"}),
        '{"scores": {"OQ": 7, "CRC": 8, "MSC": 6, "MCC": 5,}, "feedback": {"OQ": "a, } b,"},}',
        "{'scores': {'OQ': 7, 'CRC': 8, 'MSC': 6, 'MCC': 5}, 'feedback': None}",
        f"{GOOD}\n{GOOD}",
        f'{{"note": "a draft"}} {GOOD}',
        '{"scores": {"OQ": <int>, "CRC": <int>}} was the form. ' + GOOD,
    ],
    ids=lambda text: text[:40],
)
def test_marks_that_leave_no_doubt_are_read(text: str) -> None:
    assert parse_reply(text, ONE_LABEL) == JudgeAnswer(scores=(MARKS,))


MALFORMED = {
    "nothing": ("", "empty"),
    "blanks": (" \n\t ", "empty"),
    "only a thought": ("<think>hm</think>", "empty"),
    "a refusal": ("I'm sorry, but I can't help with judging these pictures.", "no_json"),
    "cut off": (GOOD[:40], "truncated"),
    "cut off in a fence": (f"```json\n{GOOD[:-1]}", "truncated"),
    "no JSON between braces": ("{OQ: seven}", "not_json"),
    "a list": (json.dumps([{"scores": MARKS}]), "not_an_object"),
    "a list in a fence": ("```\n" + json.dumps([MARKS]) + "\n```", "not_an_object"),
    "marks in a list": (json.dumps({"scores": [7, 8, 6, 5]}), "missing_mark"),
    "a mark is missing": (json.dumps({"scores": {"OQ": 7, "CRC": 8, "MSC": 6}}), "missing_mark"),
    "a mark is null": (marks_with(MCC=None), "missing_mark"),
    "other names": (json.dumps({"scores": {"Overall Quality": 7, "Style": 6}}), "missing_mark"),
    "below the scale": (marks_with(OQ=0), "out_of_range"),
    "above the scale": (marks_with(OQ=11), "out_of_range"),
    "of a hundred": (marks_with(OQ="70/100"), "not_a_number"),
    "far above": (marks_with(OQ=1e300), "out_of_range"),
    "a half": (marks_with(OQ=7.5), "not_whole"),
    "NaN": ('{"scores": {"OQ": NaN, "CRC": 8, "MSC": 6, "MCC": 5}}', "not_a_number"),
    "infinity": ('{"scores": {"OQ": Infinity, "CRC": 8, "MSC": 6, "MCC": 5}}', "not_a_number"),
    "a word": (marks_with(OQ="good"), "not_a_number"),
    "a range": (marks_with(OQ="7-8"), "not_a_number"),
    "true": (marks_with(OQ=True), "not_a_number"),
    "a key twice": ('{"scores": {"OQ": 7, "OQ": 9, "CRC": 8, "MSC": 6, "MCC": 5}}', "duplicate_key"),
    "a key twice in another case": ('{"scores": {"OQ": 7, "oq": 9, "CRC": 8, "MSC": 6, "MCC": 5}}', "duplicate_key"),
    "a key twice in Python's quotes": ("{'scores': {'OQ': 7, 'OQ': 9, 'CRC': 8, 'MSC': 6, 'MCC': 5}}", "duplicate_key"),
    "two answers": (f"{GOOD} or rather {marks_with(OQ=3)}", "two_answers"),
    "a system too many": (json.dumps(TWO), "extra_system"),
    "huge": ("{" + "a" * MAX_REPLY_CHARACTERS, "too_long"),
    "UTF-16 read as text": (GOOD.encode("utf-16-le").decode("latin-1"), "not_json"),
    "bytes that were no text": ("\ufffd\ufffd\x00\ufffd", "no_json"),
    "deep": ('{"scores": ' * 3000 + "1" + "}" * 3000, "not_json"),
    "a long number": ('{"scores": {"OQ": ' + "9" * 6000 + "}}", "not_json"),
    "code": ("{'scores': __import__('os').getcwd()}", "not_json"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_reply_is_refused_with_its_kind(name: str) -> None:
    text, kind = MALFORMED[name]
    found = parse_reply(text, ONE_LABEL)
    assert isinstance(found, ReplyProblem)
    assert found.kind == kind
    assert PROBLEMS[kind] in str(found)
    assert len(str(found)) < 200


def test_every_system_of_a_joint_prompt_gets_its_own_marks() -> None:
    assert parse_reply(json.dumps(TWO), TWO_LABELS) == JudgeAnswer(scores=(MARKS, {**MARKS, "OQ": 2}))


def test_a_joint_reply_that_leaves_a_system_out_is_refused() -> None:
    found = parse_reply(json.dumps({"Model_A": {"scores": MARKS}}), TWO_LABELS)
    assert found == ReplyProblem("missing_system", "Model_B")


def test_a_system_that_was_not_shown_makes_a_joint_reply_unusable() -> None:
    found = parse_reply(json.dumps({**TWO, "Model_C": {"scores": MARKS}}), TWO_LABELS)
    assert isinstance(found, ReplyProblem)
    assert found.kind == "extra_system"


def test_choices_name_a_position_or_a_tie() -> None:
    text = json.dumps({"choices": {"OQ": "Model_A", "CRC": "model b", "MSC": "TIE", "MCC": "B"}})
    found = parse_reply(text, TWO_LABELS, wants_choice=True)
    assert found == JudgeAnswer(choices={"OQ": 0, "CRC": 1, "MSC": None, "MCC": 1})


@pytest.mark.parametrize(
    ("choices", "kind"),
    [
        ({"OQ": "Model_C", "CRC": "tie", "MSC": "tie", "MCC": "tie"}, "unknown_choice"),
        ({"OQ": "both are good", "CRC": "tie", "MSC": "tie", "MCC": "tie"}, "unknown_choice"),
        ({"OQ": 1, "CRC": "tie", "MSC": "tie", "MCC": "tie"}, "unknown_choice"),
        ({"OQ": "tie"}, "missing_mark"),
        (["tie"], "missing_mark"),
    ],
)
def test_a_choice_that_is_none_of_those_allowed_is_refused(choices: object, kind: str) -> None:
    found = parse_reply(json.dumps({"choices": choices}), TWO_LABELS, wants_choice=True)
    assert isinstance(found, ReplyProblem)
    assert found.kind == kind


def test_a_damaged_reply_gives_marks_of_the_scale_or_none() -> None:
    chance = random.Random(5)
    pieces = ["{", "}", '"', "'", ",", ":", "[", "\\", "7", "NaN", " ", "\ufffd", "-", "null"]
    num_refused = 0
    for _ in range(3000):
        text = list(GOOD)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(text))
            text[place : place + chance.randint(0, 3)] = [chance.choice(pieces)]
        found = parse_reply("".join(text), ONE_LABEL)
        num_refused += isinstance(found, ReplyProblem)
        assert isinstance(found, ReplyProblem | JudgeAnswer)
        if isinstance(found, JudgeAnswer):
            assert all(1 <= mark <= 10 for mark in found.scores[0].values())
    assert 500 < num_refused < 3000


@pytest.mark.parametrize(
    "text",
    ["{" * 100_000, '{"' * 60_000, "{}" * 60_000, '{"a": "' + '\\"' * 90_000, "{'a': " + "-" * 90_000 + "1}"],
    ids=["open braces", "open quotes", "empty objects", "escaped quotes", "minus signs"],
)
def test_a_hostile_reply_of_full_length_is_refused(text: str) -> None:
    assert isinstance(parse_reply(text, ONE_LABEL), ReplyProblem)
