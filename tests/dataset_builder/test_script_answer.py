"""What a model answers is read whatever it looks like: a script or a reported issue, never an exception."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf.dataset_builder.script.align import align_script
from animeshooter_hf.dataset_builder.script.answer import parse_answer
from animeshooter_hf.dataset_builder.script.film_script import validate_story
from animeshooter_hf.dataset_builder.script.issues import SCRIPT_ISSUES, IssueLog, ScriptIssue, severity_of_issue
from animeshooter_hf.dataset_builder.script.json_text import MAX_CHARS, extract_json
from animeshooter_hf.dataset_builder.script.stated_times import read_time

sys.path.insert(0, str(Path(__file__).parent))

import script_requests as requests


def found(text: object) -> tuple[Any, set[str]]:
    log = IssueLog()
    value = extract_json(text, log).value
    return value, {issue.code for issue in log.issues()}


@pytest.mark.parametrize(
    ("text", "value", "codes"),
    [
        ('{"a": 1}', {"a": 1}, set()),
        ('\ufeff {"a": 1}\n', {"a": 1}, set()),
        ('```json\n{"a": 1}\n```', {"a": 1}, {"json_fenced"}),
        ('Sure:\n```\n{"a": 1}\n```\nBye.', {"a": 1}, {"json_fenced", "json_in_prose"}),
        ('I saw {it} at [00:04]: {"a": [1]} and that is {all}.', {"a": [1]}, {"json_in_prose"}),
        ('{"a": [1, 2,], "b": 3,}', {"a": [1, 2], "b": 3}, {"json_mended"}),
        ('{"a": 1 // one\n, /* two */ "b": 2}', {"a": 1, "b": 2}, {"json_mended"}),
        ("{'a': 'Mia's ball', b: True, 'c': None}", {"a": "Mia's ball", "b": True, "c": None}, {"json_mended"}),
        ("{“a”: “b”}", {"a": "b"}, {"json_mended"}),
        ('{"a": "x"\n "b": "y" "c": 3}', {"a": "x", "b": "y", "c": 3}, {"json_mended"}),
        (
            '{"a": "He said "stop", then left", "b": 2}',
            {"a": 'He said "stop", then left', "b": 2},
            {"json_mended"},
        ),
        ('{"a": NaN, "b": -Infinity}', {"a": None, "b": None}, {"number_not_finite"}),
        ('{"a": 1e999, }', {"a": None}, {"number_not_finite", "json_mended"}),
        ('{"a": 1, "a": 2}', {"a": 2}, {"duplicate_key"}),
        ('{"a": 1, "a": 2,}', {"a": 2}, {"duplicate_key", "json_mended"}),
        ('{"a": [{"b": "cut o', {"a": [{"b": "cut o"}]}, {"json_unclosed"}),
        ('{"a": [1, 2], "b": {"c": 3', {"a": [1, 2], "b": {"c": 3}}, {"json_unclosed"}),
        ('{"t": 00:04, "u": soon}', {"t": "00:04", "u": "soon"}, {"json_mended"}),
        ('{"a": "line\nbreak \\ud83d\\ude00"}', {"a": "line\nbreak 😀"}, set()),
        ("no", None, {"answer_not_json"}),
        ("", None, {"answer_empty"}),
        (None, None, {"answer_empty"}),
        (b"{}", None, {"answer_empty"}),
    ],
)
def test_json_is_found_however_it_is_wrapped_or_broken(text: object, value: Any, codes: set[str]) -> None:
    assert found(text) == (value, codes)


def test_of_several_scripts_the_fullest_counts_and_of_equal_ones_the_last() -> None:
    draft = requests.text(requests.script([]))
    old, new = requests.by_cuts(), requests.by_cuts()
    new["storyline"] = "Another."
    parsed = parse_answer(f"A draft: {draft}\n{requests.text(old)}\nBetter:\n{requests.text(new)}\n{draft}")
    assert (parsed.storyline, len(parsed.shots)) == ("Another.", 5)
    assert "several_answers" in {issue.code for issue in parsed.issues}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 300_000,
        '{"a":' * 20_000,
        "[" * 150_000 + "}" * 150_000,
        '{"a": "' + '" ' * 50_000,
        '{"a": "' + '"' + " " * 300_000,
        "{" + "/*" * 150_000,
        ("{a" + " " * 60) * 5000,
        '{"a": "' + "\\" * 300_001,
        "{a:" + "b " * 150_000,
        "{'a': '" + "' , " * 80_000,
        '{"' + "k" * 300_000 + '": 1}',
        '{"shots": [' + '{"scene": "x"},' * 25_000 + "]}",
        '{"storyline": "x", "main characters": [' + '{"ID": "Mia"},' * 25_000 + "]}",
        "{" + ",".join(f'"k{n}": {n}' for n in range(25_000)) + ', "shots": []}',
        "x" * (MAX_CHARS + 5),
    ],
)
def test_hostile_answers_take_no_longer_than_their_length(text: str) -> None:
    started = time.process_time()
    aligned = align_script(requests.request(), text)
    assert time.process_time() - started < 10  # over ten times what it takes; by the square it would be minutes
    assert aligned.story is None
    assert aligned.reason
    assert any(issue.severity == "lost" for issue in aligned.issues)


def test_nesting_deeper_than_a_script_is_left_out_and_said() -> None:
    deep = '{"storyline": "x", "shots": [' + "[" * 100 + "]" * 100 + "],}"
    assert "json_too_deep" in {issue.code for issue in parse_answer(deep).issues}


def test_an_answer_longer_than_a_script_is_read_to_its_limit_and_said() -> None:
    answer = requests.text(requests.by_cuts()) + " " * MAX_CHARS + "x"
    parsed = parse_answer(answer)
    assert len(parsed.shots) == 5
    assert "answer_too_long" in {issue.code for issue in parsed.issues}


def test_keys_of_the_paper_the_release_and_the_prompts_are_all_known() -> None:
    plain = parse_answer(requests.text(requests.by_clock()))
    spellings = [
        ("main scenes", "main settings"),
        ('"scene"', '"setting"'),
        ("narrative caption", "narrative_caption"),
        ("narrative caption", "plot"),
        ("descriptive caption", "caption"),
        ("extra 4-second timestamp", "extra 4-second segment"),
        ("start time", "start_time"),
        ("is_prologue_or_epilogue", "Is Prologue Or Epilogue"),
    ]
    for old, new in spellings:
        text = requests.text(requests.by_clock())
        assert old in text
        assert parse_answer(text.replace(old, new)) == plain
    assert plain.issues == ()


def test_captions_may_stand_in_a_visual_annotation() -> None:
    answer = requests.by_cuts()
    for row in answer["shots"]:
        row["visual annotation"] = {key: row.pop(key) for key in ("narrative caption", "descriptive caption")}
    assert parse_answer(requests.text(answer)) == parse_answer(requests.text(requests.by_cuts()))


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ("00:07", 7),
        ("0:07", 7),
        ("00:00:07", 7),
        ("00:07.50", 7.5),
        ("00:07,5", 7.5),
        ("[00:07]", 7),
        ("~ 00:07", 7),
        (7, 7),
        (7.25, 7.25),
        ("7", 7),
        ("7s", 7),
        ("7 seconds", 7),
        ("1m 5s", 65),
        ("end", float("inf")),
        ("End of segment.", float("inf")),
        ("start", 0),
    ],
)
def test_a_time_is_read_in_every_usual_form(stated: object, seconds: float) -> None:
    assert read_time(stated) == seconds


@pytest.mark.parametrize(
    "stated", ["soon", "", "-3", -3, None, True, [], {}, float("nan"), 10**400, "1" * 99, "1:2:3:4"]
)
def test_what_is_no_time_is_none(stated: object) -> None:
    assert read_time(stated) is None


def test_a_name_one_slip_away_is_the_declared_one_but_another_number_is_not() -> None:
    answer = requests.by_cuts()
    answer["main characters"] = [{"ID": name, "appearance": "x", "phrase": "x"} for name in ("Grandmother", "woman1")]
    for row, names in zip(
        answer["shots"], (["GRANDMOTHER"], ["Grandmothr"], ["woman2"], [" woman1. "], ["Zoe"]), strict=True
    ):
        row["main characters"] = names
    parsed = parse_answer(requests.text(answer))
    assert [shot.characters for shot in parsed.shots] == [("Grandmother",), ("Grandmother",), (), ("woman1",), ()]
    counts = {issue.code: issue.count for issue in parsed.issues}
    assert (counts["character_spelling"], counts["undeclared_character"]) == (3, 2)


def test_the_list_of_issues_is_closed() -> None:
    assert all(severity_of_issue(code) in ("info", "repaired", "lost") for code in SCRIPT_ISSUES)
    with pytest.raises(ValueError, match="Unknown issue code"):
        ScriptIssue("bad_mood")
    with pytest.raises(ValueError, match="Unknown issue code"):
        IssueLog().add("bad_mood")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["00:04", "Mia"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["shots", "storyline", "ID", "scene", "start time", "first_cut", "x"]), inner)
    ),
    max_leaves=12,
)


@given(value=JSON_VALUES, cut=st.integers(0, 400), noise=st.text(max_size=5))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_answer_makes_the_parser_raise(value: Any, cut: int, noise: str) -> None:
    text = json.dumps(value)
    for answer in (value, text, text[:cut] + noise + text[cut:], text[:cut]):
        aligned = align_script(requests.request(), answer)
        assert (aligned.story is None) == (aligned.reason is not None)


@given(
    key=st.sampled_from(
        ["start time", "end time", "main characters", "scene", "narrative caption", "is_prologue_or_epilogue"]
    ),
    number=st.integers(0, 4),
    value=JSON_VALUES,
)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_one_odd_value_in_a_good_answer_gives_a_story_that_holds_or_a_reason(key: str, number: int, value: Any) -> None:
    answer = requests.by_clock()
    answer["shots"][number][key] = value
    request = requests.request()
    aligned = align_script(request, json.dumps(answer))
    if aligned.story is None:
        assert aligned.reason
    else:
        assert validate_story(aligned.story, len(request.index)) == []


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_valid_json_behind_words_is_read_as_it_stands(value: Any) -> None:
    text = json.dumps({"value": value})
    assert found(f"Look: {text}")[0] == {"value": value} or "[" * 32 in text or text.count("{") > 31
