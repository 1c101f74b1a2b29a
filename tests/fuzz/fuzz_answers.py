"""Fuzz what reads the answers of models: the JSON in a text, the script in the JSON, the story in the script.

Targets
    answer_json   any text: a value or none, every note from the closed list, the same twice
    answer_story  any text: a story that keeps every rule and survives JSON, or a reason, and never both

    python tests/fuzz/fuzz_answers.py --seconds 150 --runs 10000000 --seed 1
"""

import json
import sys
from pathlib import Path

from harness import Target, main

from animeshooter_hf.dataset_builder.script.align import align_script
from animeshooter_hf.dataset_builder.script.answer import parse_answer
from animeshooter_hf.dataset_builder.script.film_script import validate_story
from animeshooter_hf.dataset_builder.script.issues import SCRIPT_ISSUES, IssueLog
from animeshooter_hf.dataset_builder.script.json_text import extract_json
from animeshooter_hf.records import Story

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset_builder"))

import script_requests as requests  # beside the tests that share it

REQUEST = requests.request()


def check_json(data: bytes) -> str:
    """Find the JSON in a text."""
    text = data.decode("utf-8", "surrogateescape")
    log = IssueLog()
    found = extract_json(text, log)
    assert all(issue.code in SCRIPT_ISSUES for issue in log.issues())
    if not found.is_found:
        assert found.value is None
        assert log.issues(), "nothing found and nothing said"
        return "none"
    assert isinstance(found.value, dict | list | str)
    return "mended" if log.issues() else "value"


def check_story(data: bytes) -> str:
    """Align an answer with a segment."""
    text = data.decode("utf-8", "surrogateescape")
    parse_answer(text)
    aligned = align_script(REQUEST, text)
    assert (aligned.story is None) == (aligned.reason is not None)
    assert aligned.raw_text == text
    story = aligned.story
    if story is None:
        assert any(issue.severity == "lost" for issue in aligned.issues), "no story and nothing lost"
        return "no story"
    assert not validate_story(story, len(REQUEST.index))
    assert (story.start_frame, story.end_frame) == (240, 720)
    assert set(aligned.phrases) == {character.id for character in story.characters}
    row = json.loads(json.dumps(story.to_json()).encode("utf-8"))
    assert Story.from_json(row) == story
    return "story with issues" if aligned.issues else "story"


_SMALL = requests.script(
    [requests.shot(n, first_cut=n, last_cut=n + 1) for n in range(2)] + [requests.shot(2, first_cut=2, last_cut=5)]
)
SEEDS = [
    requests.text(requests.by_cuts()).encode(),
    requests.text(requests.by_clock()).encode(),
    json.dumps(_SMALL).encode(),
    ("Sure:\n```json\n" + json.dumps(_SMALL) + "\n```\nBye").encode(),
    repr(requests.by_clock()).encode(),
    json.dumps([_SMALL["shots"]]).encode(),
    json.dumps(json.dumps(_SMALL)).encode(),
    b'{"storyline": "x", "shots": [{"start": 0, "end": "end", "caption": "y"}]}',
    b"",
    b"I'm sorry.",
]
TOKENS = [
    *(
        b'"',
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"//",
        b"/*",
        b"*/",
        b"#",
        b"```",
        b"\\u",
        b"\\ud83d",
        b"\\",
        b"\n",
    ),
    *(b"null", b"NaN", b"-Infinity", b"True", b"1e999", b"9" * 50, b"-1", b"0.5", b'""', b"[]", b"{}", b"\xef\xbb\xbf"),
    *(
        b'"shots":',
        b'"start time":',
        b'"end time":',
        b'"first_cut":',
        b'"last_cut":',
        b'"main characters":',
        b'"scene":',
    ),
    *(b'"00:10"', b'"00:04-00:08"', b'"end"', b'"1:02:03"', b'"99:99"', b'"N/A"', b'"Mia"', b'"storyline":', b'"ID":'),
    *(
        b'"extra 4-second timestamp": [1, 5]',
        b'"start frame": 250,',
        b'"end frame": 400,',
        "“”".encode(),
        b"\xed\xa0\x80",
    ),
]
TARGETS = [
    Target(name="answer_json", check=check_json, seeds=SEEDS, tokens=TOKENS, hang_seconds=10.0, memory_bytes=1 << 30),
    Target(name="answer_story", check=check_story, seeds=SEEDS, tokens=TOKENS, hang_seconds=10.0, memory_bytes=1 << 30),
]

if __name__ == "__main__":
    sys.exit(main(__doc__, TARGETS))
