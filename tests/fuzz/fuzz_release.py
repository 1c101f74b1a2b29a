"""Fuzz the reader of the public release: any bytes give stories or reported problems, and nothing read is lost.

Targets
    release_json    bytes as a file: parsed, read, written as rows; the file restored from rows and extras
    release_tree    a good file with parts of its tree replaced, moved or doubled, so that the damage lies deep
    release_zip     bytes as a zip
    clock           times and ranges of times as texts

    python tests/fuzz/fuzz_release.py --runs 100000 --seed 1 --target release_tree
"""

import io
import json
import random
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from harness import Target, main

from animeshooter_hf.clock import parse_clock, parse_clock_range
from animeshooter_hf.dataset_builder.release.extras import FileExtras, find_extras, restore_file
from animeshooter_hf.dataset_builder.release.files import ReleaseFile, iter_release_files, parse_json
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import read_release_documents
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

CODES = [
    "00:00",
    "0:04",
    "00:00:10",
    "00:01.5",
    "end",
    "N/A",
    "",
    None,
    True,
    "True",
    0,
    4,
    4.0,
    -1,
    1e308,
    2**31,
    10**40,
]
CODES += [
    "00:04-00:08",
    "Ann",
    "ann ",
    "Eve",
    [],
    {},
    ["Ann"],
    {"ID": "Ann"},
    "placeholder",
    [0, 16],
    "0`0",
    "\ud800",
    29.97,
]
KEYS = [
    "ID",
    "id",
    "main scenes",
    "main settings",
    "scene",
    "setting",
    "plot",
    "narrative_caption",
    "frame index",
    "fps",
]
KEYS += [
    "mood",
    "start time",
    "start",
    "timestamp",
    "counts",
    "size",
    "segments",
    "video ID",
    "type",
    "audio annotation",
]


def make_video() -> dict[str, Any]:
    """A good file of two segments."""
    mask = {"size": [4, 4], "counts": "0`0"}
    shots = [
        {
            "start time": f"00:0{4 * n}",
            "end time": f"00:0{4 * n + 4}",
            "extra 4-second timestamp": f"00:0{4 * n}-00:0{4 * n + 4}",
            "is_prologue_or_epilogue": False,
            "main characters": ["Ann", "Bob"][: n + 1],
            "setting": "Park",
            "visual annotation": {"narrative caption": f"plot {n}", "descriptive caption": f"picture {n}"},
            "audio annotation": {"type": "rain", "sound description": "soft", "visual context": "clouds", "pitch": 3},
        }
        for n in range(2)
    ]
    script = {
        "storyline": "Ann waits for Bob.",
        "main characters": [{"ID": "Ann", "appearance": "a girl"}, {"ID": "Bob", "appearance": "a dog"}],
        "main settings": [{"ID": "Park", "environment": "trees"}],
        "shots": shots,
    }
    segments = [
        {
            "start frame index": 250 * n,
            "end frame index": 250 * n + 250,
            "story script": script,
            "reference images": [
                {"ID": "Ann", "masks": [{"frame index": 250 * n + k, "rle mask": mask} for k in (9, 3)]}
            ],
        }
        for n in range(2)
    ]
    return json.loads(json.dumps({"video ID": "vid", "url": "https://x.org/v", "fps": 25.0, "segments": segments}))


def check_json(data: bytes) -> str:
    """Read bytes as a file of the release, and restore it."""
    log = ProblemLog()
    documents = list(read_release_documents([ReleaseFile("a.json", data)], log))
    stories = {story.story_id: story for document in documents for story in document.stories}
    if not stories:
        assert log.counts, "neither a story nor a problem"
        return "reported"
    rows = {name: Story.from_json(json.loads(json.dumps(story.to_json()))) for name, story in stories.items()}
    for document in documents:
        extras = find_extras(document)
        if extras is not None:
            back = restore_file(FileExtras.from_line(extras.to_line()), rows.__getitem__)
            assert json.dumps(back) == json.dumps(document.data), "the file cannot be restored"
    return "told, with problems" if log.counts else "told"


def check_tree(data: bytes) -> str:
    """Damage a good file as the bytes say, and read it."""
    random_ = random.Random(data)
    video = make_video()
    for _ in range(random_.randint(1, 6)):
        places = [place for place in walk(video) if place[0]]
        container, key = random_.choice(places)
        choice = random_.randrange(6)
        if choice == 0:
            container[key] = random_.choice(CODES)
        elif choice == 1:
            del container[key]
        elif choice == 2:
            other, other_key = random_.choice(places)
            if other_key in other if isinstance(other, dict) else other_key < len(other):
                container[key] = json.loads(json.dumps(other[other_key]))
        elif choice == 3 and isinstance(container, dict):
            container[random_.choice(KEYS)] = container.pop(key)
        elif choice == 4 and isinstance(container, list):
            container.insert(random_.randrange(len(container) + 1), json.loads(json.dumps(container[key])))
        elif isinstance(container, list):
            random_.shuffle(container)
        else:
            container[random_.choice(KEYS)] = random_.choice(CODES)
    whole: Any = [video, {"vid": video}, [video, make_video()]][random_.choice([0, 0, 0, 1, 2])]
    return check_json(json.dumps(whole).encode())


def walk(value: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) for every place in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in walk(value[key])]


@cache
def zip_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when this process ends."""
    return tempfile.TemporaryDirectory(prefix="fuzz-")


def zip_path() -> Path:
    """A file to write zips to."""
    return Path(zip_folder().name) / "release.zip"


def check_zip(data: bytes) -> str:
    """Read bytes as a zip of the release."""
    zip_path().write_bytes(data)
    log = ProblemLog()
    try:
        files = list(iter_release_files(zip_path(), log))
    except InputError as error:
        return "refused" if "\n" not in str(error) else "refused, in several lines"
    for file in files:
        parse_json(file, log)
    return "read" if files else "reported" if log.counts else "empty"


def check_clock(data: bytes) -> str:
    """Read a time."""
    text = data.decode("utf-8", "surrogateescape")
    seconds, span = parse_clock(text), parse_clock_range(text)
    assert seconds is None or 0 <= seconds < 4_000_000, seconds
    assert span is None or all(0 <= end < 4_000_000 for end in span), span
    return "none" if seconds is None and span is None else "time" if span is None else "range"


def zip_seeds() -> list[bytes]:
    """A few zips: plain, packed, nested, with the litter of other systems."""
    import zipfile

    seeds = []
    text = json.dumps(make_video())
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name in ("a/b.json", "__MACOSX/a/._b.json", "../c.json", "d.txt"):
                archive.writestr(name, text)
        seeds.append(buffer.getvalue())
    return seeds


TOKENS = [json.dumps(word).encode() for word in KEYS] + [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"\\u",
    b"NaN",
    b"1e999",
]
TOKENS += [json.dumps(word).encode() for word in CODES]
TARGETS = [
    Target(name="release_json", check=check_json, seeds=[json.dumps(make_video()).encode(), b"[]"], tokens=TOKENS),
    Target(name="release_tree", check=check_tree, seeds=[b"tree"], max_input_bytes=64),
    Target(name="release_zip", check=check_zip, seeds=zip_seeds(), tokens=[b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6"]),
    Target(
        name="clock",
        check=check_clock,
        seeds=[b"00:12", b"1:02:03.5", b"00:04-00:08", b"7 s", b"end"],
        tokens=[b":", b"-", b".", b"to", b" ", "–".encode(), "٣".encode(), b"1e9"],
        max_input_bytes=80,
    ),
]

if __name__ == "__main__":
    sys.exit(main(__doc__, TARGETS))
