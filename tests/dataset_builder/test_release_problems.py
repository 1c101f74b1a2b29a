import io
import json
from pathlib import Path

import pytest

from animeshooter_hf.dataset_builder.release.problems import PROBLEMS, SEVERITIES, Problem, ProblemLog, severity_of


def test_every_code_stands_in_a_test_of_the_release() -> None:
    files = [path for path in Path(__file__).parent.glob("test_*.py") if path.stem.startswith(("test_rel", "test_ing"))]
    text = "".join(path.read_text() for path in files if path != Path(__file__))
    assert [code for code in PROBLEMS if f'"{code}"' not in text] == []


def test_every_code_has_one_severity_and_a_meaning_in_one_line() -> None:
    assert {severity_of(code) for code in PROBLEMS} == set(SEVERITIES)
    assert all(meaning and "\n" not in meaning for meaning in PROBLEMS.values())


def test_the_log_counts_by_file_story_and_code_and_keeps_the_first_example() -> None:
    log = ProblemLog()
    for detail in ("first", "second"):
        log.add("shot_gap", "a.json", "a_000", detail)
    log.add("shot_gap", "a.json", "a_001", "third")
    log.add("broken_json", "b.json")
    assert list(log.entries()) == [
        Problem("shot_gap", "a.json", "a_000", "first", 2),
        Problem("shot_gap", "a.json", "a_001", "third", 1),
        Problem("broken_json", "b.json"),
    ]
    assert dict(log.counts) == {"shot_gap": 3, "broken_json": 1}
    assert (log.num_lost, log.num_of("info"), log.num_of("repaired")) == (1, 3, 0)


def test_the_log_writes_a_summary_and_one_line_per_entry(tmp_path: Path) -> None:
    log = ProblemLog()
    log.add("mask_placeholder", "a.json", "a_000", "Ann", count=5)
    log.add("broken_json", "é.json", None, "\ud800")
    log.write(tmp_path)
    summary = json.loads((tmp_path / "problems.json").read_text())
    assert (summary["info"], summary["lost"]) == (5, 1)
    assert list(summary["codes"]) == ["broken_json", "mask_placeholder"]
    assert summary["codes"]["mask_placeholder"]["examples"] == [
        {"where": "a.json", "story_id": "a_000", "detail": "Ann"}
    ]
    rows = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text().splitlines()]
    assert [(row["code"], row["severity"], row["count"]) for row in rows] == [
        ("mask_placeholder", "info", 5),
        ("broken_json", "lost", 1),
    ]


def test_the_table_shows_the_worst_first_and_nothing_if_all_is_well() -> None:
    log, stream = ProblemLog(), io.StringIO()
    log.print_table(stream)
    assert stream.getvalue() == ""
    log.add("shot_gap", "a.json")
    log.add("broken_json", "b.json")
    log.print_table(stream)
    assert [line.split()[2] for line in stream.getvalue().splitlines()[1:]] == ["broken_json", "shot_gap"]


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown problem code 'typo'"):
        ProblemLog().add("typo", "a.json")
    with pytest.raises(ValueError, match="Unknown problem code 'typo'"):
        Problem("typo", "a.json")
