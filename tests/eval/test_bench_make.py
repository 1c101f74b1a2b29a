"""A benchmark is made of any references; a submission is checked before it is scored; the verb does both."""

import argparse
import json
import re
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import load_dataset
from PIL import Image

from animeshooter_hf.bench_command import add_arguments, run
from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.bench_folder import Benchmark, open_benchmark
from animeshooter_hf.eval.bench.check_submission import PROBLEM_KINDS, check_submission, write_completed
from animeshooter_hf.eval.bench.given_prompts import read_prompts
from animeshooter_hf.eval.bench.make_bench import (
    MakeSettings,
    StoryRequest,
    make_bench_of_prompts,
    make_bench_of_writer,
)
from animeshooter_hf.eval.bench.reference_folder import read_characters
from animeshooter_hf.eval.bench.submission import read_submission, submitted_predictions
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.records import Story
from animeshooter_hf.video import write_video

OPTIONS = {
    "make": (
        "references --out --id --overwrite --license --prompts --writer-model --base-url --device --tracks --stories "
        "--shots --long-shots --seed"
    ),
    "toon": (
        "--out --id --overwrite --characters --stories --shots --long-shots --clips --tracks --size --frame-rate "
        "--frames --with-truth --seed"
    ),
    "check": ("benchmark predictions --revision --tracks --per-ip-training --no-decode --completed --json"),
    "truth": "benchmark --revision --track --out",
    "read": "benchmark predictions --revision --track --frames-per-shot --search --workers --out --into --json",
}
"""Every option of every part of the verb. A change here is a change for users: name it in the CHANGELOG."""

PROMPTS = [
    {"ip": "mia", "captions": ["Mia wakes up.", "Mia runs along the beach."], "scenes": ["home", "beach"]},
    {"ip": "leo", "captions": ["Leo cooks.", "Leo sleeps."], "storyline": "A day of Leo."},
    {"ip": "mia+leo", "track": "multi_character", "captions": ["Mia waits.", "Mia and Leo dance."],
     "characters": [["Mia"], ["Mia", "Leo"]]},
    {"ip": "leo", "track": "audio", "captions": ["Leo drums.", "Leo claps."], "sounds": ["drums", "clapping"]},
]  # fmt: skip


def parse(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def draw_picture(path: Path, colour: tuple[int, int, int, int] = (200, 90, 40, 255)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((24, 20, 4), np.uint8)
    picture[4:20, 4:16] = colour
    Image.fromarray(picture).save(path)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two characters: one as a folder with all that may stand in it, one as a single picture."""
    folder = tmp_path_factory.mktemp("references")
    draw_picture(folder / "mia" / "front.png")
    draw_picture(folder / "mia" / "side.png", (210, 100, 40, 255))
    about = {"name": "Mia", "appearance": "a fox", "license": "cc-by-4.0", "attribution": "Drawn by A. Nyone"}
    (folder / "mia" / "about.yaml").write_text(yaml.safe_dump(about))
    (folder / "mia" / "clips").mkdir()
    write_video(folder / "mia" / "clips" / "one.mp4", np.zeros((3, 32, 32, 3), np.uint8), 8)
    (folder / "mia" / "clips" / "one.txt").write_text("Mia looks up.\n")
    draw_picture(folder / "Leo_ref.png", (40, 90, 200, 255))
    return folder


@pytest.fixture(scope="module")
def bench(references: Path, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    place = tmp_path_factory.mktemp("made")
    (place / "prompts.json").write_text(json.dumps([{**row, "ip": row["ip"].replace("leo", "Leo")} for row in PROMPTS]))
    arguments = parse(
        "make", references, "--license", "cc-by-4.0", "--prompts", place / "prompts.json", "--out", place / "bench"
    )
    assert run(arguments) == 0
    return open_benchmark(place / "bench")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_video(path, np.full((4, 32, 32, 3), 90, np.uint8), 8).read_bytes()


@pytest.fixture
def hand_in(bench: Benchmark, tmp_path: Path, clip: bytes) -> Callable[..., Path]:
    """Return a function that writes a submission of the given tracks as the template proposes it, with its clips."""

    def write(*tracks: str, **change: object) -> Path:
        data = json.loads((bench.folder / "predictions_template.json").read_text())
        wanted = {story.story_id for track in tracks for story in bench.stories(track)}
        data["stories"] = [row for row in data["stories"] if row["story_id"] in wanted]
        data["system"] |= {"name": "org/model"}
        data |= {"tracks": list(tracks), "per_ip_training": False, **change}
        for row in data["stories"]:
            for name in row["shots"]:
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_bytes(clip)
        path = tmp_path / "predictions.json"
        path.write_text(json.dumps(data))
        return path

    return write


def kinds_of(bench: Benchmark, path: Path, **stated: object) -> list[str]:
    problems = check_submission(bench, read_submission([path], **stated))  # type: ignore[arg-type]
    assert {one.kind for one in problems} <= set(PROBLEM_KINDS)
    return [one.kind for one in problems]


def test_the_options_of_every_part_are_those_that_are_pinned() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, options in OPTIONS.items():
        words = [word for one in verbs.choices[name]._actions for word in (one.option_strings or [one.dest])]
        assert [word for word in words if word not in ("-h", "--help")] == options.split()
    assert set(verbs.choices) == set(OPTIONS)


def test_given_stories_become_a_benchmark_that_load_dataset_opens(bench: Benchmark, tmp_path: Path) -> None:
    assert bench.tracks == ("main", "zero_shot", "multi_character", "audio")
    assert [story.story_id for story in bench.stories("main")] == ["mia_main_00", "leo_main_00"]
    stories = load_dataset(str(bench.folder), "stories", split="main", cache_dir=str(tmp_path))
    assert stories[0]["shots"][1]["caption"] == "Mia runs along the beach."
    assert stories[0]["shots"][1]["scene"] == "beach"
    both = bench.stories("multi_character")[0]
    assert (both.ip_id, both.shots[0].characters) == ("leo+mia", ("Mia",))
    assert bench.stories("audio")[0].shots[0].sound_caption == "drums"


def test_licences_and_whom_they_name_stand_in_table_card_and_manifest(bench: Benchmark) -> None:
    assert {one.license for one in bench.references} == {"cc-by-4.0"}
    assert [one.character_id for one in bench.references] == ["Leo", "Mia", "Mia"]
    card = (bench.folder / "README.md").read_text()
    assert "Drawn by A. Nyone" in card
    assert "creativecommons.org/licenses/by/4.0" in card
    assert bench.manifest["reference_licences"] == {"cc-by-4.0": 3}
    assert "a fox" not in card
    assert "a fox" not in (bench.folder / "predictions_template.json").read_text()


def test_csv_and_yaml_say_the_same_as_json(tmp_path: Path) -> None:
    rows = [{"ip": "mia", "captions": ["One.", "Two."], "scenes": ["a", "b"], "characters": [["Mia"], ["Mia", "Leo"]]}]
    (tmp_path / "one.json").write_text(json.dumps(rows))
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"stories": rows}))
    lines = ["ip,story,caption,scene,characters", "mia,1,One.,a,Mia", "mia,1,Two.,b,Mia; Leo"]
    (tmp_path / "one.csv").write_text("\n".join(lines))
    expected = read_prompts(tmp_path / "one.json")
    assert read_prompts(tmp_path / "one.yaml") == expected
    assert read_prompts(tmp_path / "one.csv") == expected


def test_stories_that_share_a_character_in_a_track_are_of_one_ip(references: Path, tmp_path: Path) -> None:
    draw_picture(tmp_path / "more" / "max.png")
    characters = [
        *read_characters(references, licence="cc-by-4.0"), *read_characters(tmp_path / "more", licence="cc-by-4.0")
    ]  # fmt: skip
    rows = [{"ip": ip, "track": "multi_character", "captions": ["They wait."]} for ip in ("mia+leo", "Leo+max")]
    (tmp_path / "prompts.json").write_text(json.dumps(rows))
    place = make_bench_of_prompts(tmp_path / "b", characters, read_prompts(tmp_path / "prompts.json"))
    assert {story.ip_id for story in open_benchmark(place).stories("multi_character")} == {"leo+max+mia"}


def script_for(names: Sequence[str], num_shots: int, *, with_sound: bool) -> dict[str, object]:
    """Return what a writer of few words would answer."""
    audio = {"audio_type": "steps", "sound_description": "soft", "visual_context": "feet"}
    return {
        "storyline": "They walk.",
        "main_characters": [{"id": name, "appearance": "somebody"} for name in names],
        "main_scenes": [{"id": "hill", "environment": "green"}],
        "shots": [
            {
                "characters": list(names),
                "scene": "hill",
                "narrative_caption": f"{names[0]} goes on.",
                "descriptive_caption": f"{' and '.join(names)} walk up the hill, step {number}.",
                **({"audio_annotation": audio} if with_sound else {}),
            }
            for number in range(num_shots)
        ],
    }


def write_with_a_function(request: StoryRequest) -> Story:
    names = [one.id for one in request.characters]
    script = script_for(names, request.num_shots, with_sound=request.with_sound)
    return Story.from_json({**script, "story_id": request.story_id})


class FewWords(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint that writes every story with two shots."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        names = re.findall(r"^- (\w+):", body["messages"][0]["content"], re.MULTILINE)[:1]
        text = json.dumps(script_for(names, 2, with_sound=False))
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_the_verb_lets_an_endpoint_write_the_stories(references: Path, tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="the extra mllm is not installed")
    pytest.importorskip("diffusers", reason="the extra modeling is not installed")
    server = ThreadingHTTPServer(("127.0.0.1", 0), FewWords)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        made = parse(
            "make", references, "--license", "cc-by-4.0", "--out", tmp_path / "b", "--writer-model", "few-words",
            "--base-url", f"http://127.0.0.1:{server.server_port}/v1", "--stories", 1, "--shots", 2,
        )  # fmt: skip
        assert run(made) == 0
    finally:
        server.shutdown()
        server.server_close()
    bench = open_benchmark(tmp_path / "b")
    captions = [shot.caption for story in bench.stories("main") for shot in story.shots]
    assert captions == [f"{name} walk up the hill, step {number}." for name in ("Leo", "Mia") for number in (0, 1)]
    assert bench.manifest["writer"] == "few-words"


def test_a_writer_fills_every_track_with_the_shots_that_it_asks_for(references: Path, tmp_path: Path) -> None:
    characters = read_characters(references, licence="cc-by-4.0")
    settings = MakeSettings(
        tracks=("zero_shot", "long", "multi_character", "audio"), stories_per_ip=2, num_shots=2, num_long_shots=5
    )
    place = make_bench_of_writer(tmp_path / "b", characters, write_with_a_function, settings, writer_name="a function")
    bench = open_benchmark(place)
    shots = {track: [len(story.shots) for story in bench.stories(track)] for track in bench.tracks}
    assert shots == {
        "main": [2] * 4,
        "zero_shot": [2] * 4,
        "long": [5] * 2,
        "multi_character": [2] * 2,
        "audio": [2] * 4,
    }
    assert bench.stories("audio")[0].shots[0].sound_caption == "steps. soft"
    assert bench.manifest["writer"] == "a function"
    assert "`a function`" in (place / "README.md").read_text()
    assert not (tmp_path / ".b.stories").exists()


def test_a_run_that_was_stopped_asks_for_no_story_again(references: Path, tmp_path: Path) -> None:
    characters = read_characters(references, licence="cc-by-4.0")
    settings = MakeSettings(tracks=("main",), stories_per_ip=2, num_shots=1)
    asked: list[str] = []

    def write(request: StoryRequest) -> Story:
        if len(asked) == 3:
            raise InputError("The endpoint is gone.")
        asked.append(request.story_id)
        return write_with_a_function(request)

    with pytest.raises(InputError, match="is gone"):
        make_bench_of_writer(tmp_path / "b", characters, write, settings, writer_name="w")
    assert not (tmp_path / "b").exists()
    again: list[str] = []

    def go_on(request: StoryRequest) -> Story:
        again.append(request.story_id)
        return write_with_a_function(request)

    make_bench_of_writer(tmp_path / "b", characters, go_on, settings, writer_name="w")
    assert len(asked) == 3
    assert again == ["mia_main_01"]


def test_a_filled_template_has_no_problem_and_is_completed_for_scoring(
    bench: Benchmark, hand_in: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hand_in("main", "zero_shot", "multi_character")
    assert run(parse("check", bench.folder, path, "--completed", tmp_path / "scored.json")) == 0
    assert "Nothing is wrong." in capsys.readouterr().out
    rows = json.loads((tmp_path / "scored.json").read_text())
    assert [row["story_id"] for row in rows] == ["mia_main_00", "leo_main_00", "mia-leo_multi_character_00"]
    assert rows[0]["captions"] == ["Mia wakes up.", "Mia runs along the beach."]
    assert rows[2]["reference_characters"] == ["Leo", "Mia", "Mia"]
    for row in rows:
        assert all((tmp_path / name).is_file() for name in row["references"])
        assert all(Path(name).is_file() for name in row["shots"])


def test_only_clips_are_taken_from_a_predictions_file_of_another_kind(
    bench: Benchmark, hand_in: Callable[..., Path], tmp_path: Path
) -> None:
    rows = json.loads(hand_in("main").read_text())["stories"]
    better = [{**row, "references": row["shots"][:1], "captions": ["Anything."] * len(row["shots"])} for row in rows]
    (tmp_path / "list.json").write_text(json.dumps(better))
    story = submitted_predictions(bench, read_submission([tmp_path / "list.json"]), "main")[0]
    assert story.captions == ("Mia wakes up.", "Mia runs along the beach.")
    assert len(story.references) == 2
    assert kinds_of(bench, tmp_path / "list.json") == ["track"]


def test_everything_that_is_missing_or_wrong_is_said_at_once(
    bench: Benchmark, hand_in: Callable[..., Path], tmp_path: Path, clip: bytes
) -> None:
    path = hand_in("main", "multi_character", "audio", benchmark={"id": "me/other", "revision": bench.revision})
    data = json.loads(path.read_text())
    rows = {row["story_id"]: row for row in data["stories"]}
    rows["mia_main_00"]["shots"].append("shots/extra.mp4")
    (tmp_path / "shots" / "mia_main_00_00.mp4").unlink()
    (tmp_path / "shots" / "mia_main_00_01.mp4").write_bytes(clip[: len(clip) // 2])
    write_video(tmp_path / "shots" / "extra.mp4", np.zeros((1, 32, 32, 3), np.uint8), 8)
    rows["mia-leo_multi_character_00"]["shots"][1] = rows["mia-leo_multi_character_00"]["shots"][0]
    del rows["leo_main_00"]
    stories = [*rows.values(), {"story_id": "somebody_00", "shots": ["shots/leo_main_00_00.mp4"]}]
    stories.append({"story_id": "somebody_00", "shots": ["shots/leo_main_00_01.mp4"]})
    path.write_text(json.dumps({**data, "stories": stories}))
    found = kinds_of(bench, path)
    assert sorted(found) == sorted(
        ["benchmark", "missing_story", "extra_story", "double_story", "num_shots", "missing_file", "unreadable",
         "unreadable", "same_file", "no_sound", "no_sound"]
    )  # fmt: skip


def test_the_rule_of_zero_shot_must_be_stated_and_kept(bench: Benchmark, hand_in: Callable[..., Path]) -> None:
    assert kinds_of(bench, hand_in("zero_shot", per_ip_training=True)) == ["rule"]
    assert kinds_of(bench, hand_in("zero_shot", per_ip_training=None)) == ["rule"]
    assert kinds_of(bench, hand_in("zero_shot")) == []
    assert kinds_of(bench, hand_in("main", per_ip_training=True)) == []
    assert kinds_of(bench, hand_in("main", per_ip_training=True), tracks=("zero_shot",), per_ip_training=False) == []
    assert kinds_of(bench, hand_in("main", tracks=["long"])) == ["track", "extra_story", "extra_story"]


def test_the_verb_names_each_problem_and_ends_with_1(
    bench: Benchmark, hand_in: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hand_in("main")
    (tmp_path / "shots" / "leo_main_00_01.mp4").unlink()
    assert run(parse("check", bench.folder, path, "--json")) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["kind"], problem["where"]) == ("missing_file", "leo_main_00 shot 1")


def test_a_benchmark_without_truth_cannot_be_read(bench: Benchmark, hand_in: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="holds no truth"):
        run(parse("read", bench.folder, hand_in("main")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stories": 3}, "stories in .* must be a list"),
        ({"tracks": ["short"]}, "tracks in"),
        ({"per_ip_training": "no"}, "must be true or false"),
        ({"version": 2}, "version 1 is known"),
        ({"scores": 1.0}, "Unknown key 'scores'"),
        ({"system": {"parameters": "7B"}}, "Unknown key 'parameters'"),
        ({"stories": [{"story_id": "a", "shots": [1]}]}, "list of paths"),
        ({"stories": [{"story_id": "a", "shots": ["a.mp4"], "captions": ["x"]}]}, "Unknown key 'captions'"),
    ],
)
def test_a_malformed_submission_is_refused(hand_in: Callable[..., Path], change: dict[str, object], words: str) -> None:
    path = hand_in("main")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=words):
        read_submission([path])


def test_a_submission_that_is_no_json_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"a": 1}')
    for name, words in (("a.json", "not JSON"), ("b.json", "neither a submission"), ("c.json", "cannot be read")):
        with pytest.raises(InputError, match=words):
            read_submission([tmp_path / name])


def test_a_story_with_a_wrong_number_of_shots_is_not_completed(
    bench: Benchmark, hand_in: Callable[..., Path], tmp_path: Path
) -> None:
    path = hand_in("main")
    data = json.loads(path.read_text())
    data["stories"][0]["shots"].pop()
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="must have 2 shots, got 1"):
        write_completed(bench, read_submission([path]), tmp_path / "scored.json")


def test_references_without_a_licence_or_a_picture_are_refused(references: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Leo have no licence"):
        read_characters(references)
    with pytest.raises(InputError, match="knows no licence 'mine'"):
        read_characters(references, licence="mine")
    with pytest.raises(InputError, match="'other' of Leo needs words"):
        read_characters(references, licence="other")
    with pytest.raises(InputError, match="There is no folder"):
        read_characters(tmp_path / "no")
    with pytest.raises(InputError, match="holds no references"):
        read_characters(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no picture that can be read"):
        read_characters(tmp_path, licence="mit")
    (tmp_path / "broken.png").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        read_characters(tmp_path, licence="mit")


def test_several_licences_need_one_for_the_whole(references: Path, tmp_path: Path) -> None:
    characters = read_characters(references, licence="cc0-1.0")
    with pytest.raises(InputError, match=r"several licences \(cc-by-4.0, cc0-1.0\)"):
        make_bench_of_writer(tmp_path / "b", characters, write_with_a_function, writer_name="w")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"ip": "mia"}, "has no captions"),
        ({"ip": "", "captions": ["A."]}, "ip of story 1"),
        ({"ip": "mia", "captions": ["A."], "track": "zero_shot"}, "track of story 1"),
        ({"ip": "mia", "captions": ["A.", " "]}, "is empty"),
        ({"ip": "mia", "captions": ["A."], "scenes": ["a", "b"]}, "must hold 1 texts"),
        ({"ip": "mia", "captions": ["A."], "characters": [[], []]}, "must hold 1 lists"),
        ({"ip": "mia", "captions": ["A."], "track": "audio"}, "needs sounds"),
        ({"ip": "mia", "captions": ["A."], "caption": "A."}, "Unknown key 'caption'"),
    ],
)
def test_malformed_prompts_are_refused(tmp_path: Path, row: dict[str, object], words: str) -> None:
    (tmp_path / "prompts.yaml").write_text(yaml.safe_dump([row]))
    with pytest.raises(InputError, match=words):
        read_prompts(tmp_path / "prompts.yaml")


def test_tables_and_files_of_prompts_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ip,caption\nmia,Hello.\n")
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.json").write_text("[]")
    for name, words in (("a.csv", "lacks the column 'story'"), ("b.json", "neither JSON"), ("c.json", "no list")):
        with pytest.raises(InputError, match=words):
            read_prompts(tmp_path / name)


def test_prompts_about_strangers_are_refused(references: Path, tmp_path: Path) -> None:
    characters = read_characters(references, licence="cc-by-4.0")
    (tmp_path / "p.json").write_text(json.dumps([{"ip": "zoe", "captions": ["Zoe waits."]}]))
    with pytest.raises(InputError, match="no references of 'zoe'"):
        make_bench_of_prompts(tmp_path / "b", characters, read_prompts(tmp_path / "p.json"))
    rows = [{"ip": "mia", "captions": ["Mia waits."], "characters": [["Leo"]]}]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    with pytest.raises(InputError, match="shows 'Leo', who is not in it"):
        make_bench_of_prompts(tmp_path / "b", characters, read_prompts(tmp_path / "p.json"))


def test_make_needs_stories_from_one_place_and_refuses_options_without_effect(references: Path, tmp_path: Path) -> None:
    words = ("make", references, "--license", "cc-by-4.0", "--out", tmp_path / "b")
    with pytest.raises(InputError, match="either --prompts or --writer-model"):
        run(parse(*words))
    with pytest.raises(InputError, match="--long-shots has no effect with --prompts"):
        run(parse(*words, "--prompts", tmp_path / "p.json", "--long-shots", 9))
    (only,) = (one for one in read_characters(references, licence="cc-by-4.0") if one.ip_id == "leo")
    settings = MakeSettings(tracks=("multi_character",))
    with pytest.raises(InputError, match="at least two characters"):
        make_bench_of_writer(tmp_path / "b", [only], write_with_a_function, settings, writer_name="w")


def test_the_toon_verb_reads_its_own_truth_at_the_upper_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "toon"
    made = parse(
        "toon", "--out", place, "--characters", 1, "--stories", 1, "--shots", 1, "--clips", 0, "--tracks", "main",
        "--size", "240x136", "--frame-rate", 8, "--frames", 8, "--with-truth",
    )  # fmt: skip
    assert run(made) == 0
    assert run(parse("truth", place, "--out", tmp_path / "truth.json")) == 0
    (story,) = read_predictions(tmp_path / "truth.json")
    assert story.track == "main"
    assert story.regions
    results = {"format": "animeshooter-scores", "version": 2, "corpus": {}, "stories": [{"story_id": story.story_id}]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    capsys.readouterr()
    read = parse(
        "read", place, tmp_path / "truth.json", "--frames-per-shot", 1, "--out", tmp_path / "a.json",
        "--into", tmp_path / "results.json",
    )  # fmt: skip
    assert run(read) == 0
    assert "identity" in capsys.readouterr().out
    corpus = json.loads((tmp_path / "a.json").read_text())["corpus"]
    assert corpus["identity"]["value"] > 0.85
    assert json.loads((tmp_path / "results.json").read_text())["corpus"]["attribute_identity"] == corpus


def test_sizes_and_rates_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--size must look like"):
        run(parse("toon", "--out", tmp_path / "b", "--size", "large"))
    with pytest.raises(InputError, match="--frame-rate cannot be used"):
        run(parse("toon", "--out", tmp_path / "b", "--frame-rate", "fast"))
