"""A study is made, sent out and read: blind, whole, and robust against what comes back."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from study_maker import (
    IPS,
    QUALITY,
    always,
    attentive,
    careless,
    make_predictions,
    votes_of,
    write_predictions,
    write_votes,
)

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.human.design import StudySettings
from animeshooter_hf.eval.human.metric_agreement import metric_agreement, read_metric_values
from animeshooter_hf.eval.human.study_key import read_key
from animeshooter_hf.eval.human.study_report import human_means, study_report, study_tables
from animeshooter_hf.eval.human.votes import read_votes
from animeshooter_hf.eval.human.write_study import PageSettings, write_study
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.video import encode_flac, iter_frames, probe, read_audio, write_video

SETTINGS = StudySettings(raters=4, parts=("rating", "pair"), seed=3)
PAGE = PageSettings(height=64)


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[StoryPrediction]]:
    return make_predictions(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def study(predictions: dict[str, list[StoryPrediction]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study; its key is beside it."""
    root = tmp_path_factory.mktemp("study")
    write_study(predictions, root / "out", root / "key.json", SETTINGS, PAGE)
    return root / "out"


@pytest.fixture(scope="module")
def key(study: Path) -> dict[str, Any]:
    return json.loads((study.parent / "key.json").read_text())


def good(key: dict[str, Any], rater: int, **changes: Any) -> dict[str, Any]:
    return votes_of(key, rater, attentive(np.random.default_rng(rater)), **changes)


def test_no_file_of_the_folder_names_a_system_a_story_or_an_ip(study: Path) -> None:
    files = [path for path in study.rglob("*") if path.is_file()]
    assert len(files) == 4 + 12 + 6
    for path in files:
        text = (str(path.relative_to(study)).encode() + path.read_bytes()).lower()
        for word in (*QUALITY, "wrong_ip", "identical", "repeat_of"):
            assert word.encode() not in text, path
    data = (study / "study-data.js").read_text()
    for word in ("story_id", "system", "check", *(f'"{story}"' for story in IPS), *(f'"{ip}"' for ip in IPS.values())):
        assert word not in data


def test_every_film_has_one_size_one_rate_and_no_tag_and_no_time_tells_the_order(study: Path) -> None:
    films = sorted((study / "films").iterdir())
    assert len(films) == 12
    shapes = set()
    for film in films:
        info = probe(film)
        shapes.add((info.width, info.height, info.frame_rate, info.has_audio))
        with av.open(str(film)) as container:
            tags = {**container.metadata, **container.streams.video[0].metadata}
        assert set(tags) <= {
            "major_brand", "minor_version", "compatible_brands", "language", "handler_name", "vendor_id"
        }  # fmt: skip
    assert len(shapes) == 1
    assert len({path.stat().st_mtime for path in study.rglob("*")}) == 1


def test_a_film_is_its_shots_in_a_row_at_their_own_speed(study: Path, key: dict[str, Any]) -> None:
    for name, film in key["films"].items():
        frames = [frame.image for frame in iter_frames(study / name)]
        assert len(frames) / 24 == pytest.approx({"secretfox": 1.0, "hiddenowl": 1.5}[film["system"]])
        floor = [image[-4, 50:60].mean() for image in frames]
        assert floor[2] == pytest.approx(40, abs=12)
        assert floor[len(frames) // 2 - 1] == pytest.approx(40, abs=12)
        assert floor[len(frames) // 2] == pytest.approx(130, abs=12)
        assert floor[-1] == pytest.approx(130, abs=12)


def test_references_are_flat_pictures_on_white_without_tags(study: Path) -> None:
    for path in (study / "references").iterdir():
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert image.info == {}
            assert image.getpixel((0, 0)) == (255, 255, 255)
            assert image.getpixel((8, 12)) == (200, 40, 40)


def test_the_page_asks_for_nothing_from_outside_and_escapes_texts(study: Path) -> None:
    for name in ("index.html", "study.js", "study.css", "study-data.js"):
        assert not re.search(r"https?://", (study / name).read_text())
    assert "1 \\u003c 2" in (study / "study-data.js").read_text()


def test_the_same_inputs_and_seed_make_the_same_study(
    predictions: dict[str, list[StoryPrediction]], study: Path, tmp_path: Path
) -> None:
    turned = dict(reversed([(system, made[::-1]) for system, made in predictions.items()]))
    write_study(turned, tmp_path / "again", tmp_path / "key.json", SETTINGS, PAGE)
    for path in study.rglob("*.*"):
        assert (tmp_path / "again" / path.relative_to(study)).read_bytes() == path.read_bytes()
    assert (tmp_path / "key.json").read_text() == (study.parent / "key.json").read_text()


def test_a_story_that_one_system_lacks_or_whose_shot_is_broken_is_left_out_with_its_reason(
    predictions: dict[str, list[StoryPrediction]], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    first, second = (list(predictions[system]) for system in QUALITY)
    first[0] = replace(first[0], shots=(first[0].shots[0], broken))
    report = write_study(
        {"a": first, "b": second[:-1]}, tmp_path / "out", tmp_path / "k.json", StudySettings(raters=1), PAGE
    )
    assert set(report.left_out) == {"s1", "s6"}
    assert "not made by b" in report.left_out["s6"]
    assert "broken.mp4" in report.left_out["s1"]
    assert (report.num_stories, report.num_films) == (4, 8)
    assert len(list((tmp_path / "out" / "films").iterdir())) == 8
    assert json.loads((tmp_path / "k.json").read_text())["left_out"] == dict(report.left_out)


def test_sound_is_kept_only_if_asked_for_and_then_every_film_has_a_track(tmp_path: Path) -> None:
    frames = [np.full((32, 32, 3), 90, np.uint8)] * 12
    tone = (0.3 * np.sin(np.arange(22_050) * 0.05)).astype(np.float32)[None]
    inside = write_video(tmp_path / "a.mp4", frames, 12, audio=tone, sample_rate=22_050)
    silent = write_video(tmp_path / "b.mp4", frames, 12)
    beside = tmp_path / "c.flac"
    beside.write_bytes(encode_flac(tone, 22_050))
    made = {
        "inside": [StoryPrediction(story_id="s", ip_id="i", shots=(inside,))],
        "silent": [StoryPrediction(story_id="s", ip_id="i", shots=(silent,))],
        "beside": [StoryPrediction(story_id="s", ip_id="i", shots=(silent,), sound=(beside,))],
    }
    for with_sound in (True, False):
        out = tmp_path / f"out-{with_sound}"
        page = PageSettings(height=64, with_sound=with_sound)
        write_study(made, out, tmp_path / f"{with_sound}.json", StudySettings(raters=1), page)
        assert {probe(film).has_audio for film in (out / "films").iterdir()} == {with_sound}
    films = json.loads((tmp_path / "True.json").read_text())["films"]
    loud = {film["system"]: np.abs(read_audio(tmp_path / "out-True" / name)[0]).max() for name, film in films.items()}
    assert loud["silent"] < 0.01
    assert min(loud["inside"], loud["beside"]) > 0.2


def test_a_study_never_overwrites_and_leaves_nothing_behind_when_refused(
    predictions: dict[str, list[StoryPrediction]], study: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is there already"):
        write_study(predictions, study, tmp_path / "k.json")
    with pytest.raises(InputError, match="could not be read without it"):
        write_study(predictions, tmp_path / "out", study.parent / "key.json")
    with pytest.raises(InputError, match="Put it elsewhere"):
        write_study(predictions, tmp_path / "out", tmp_path / "out" / "key.json")
    nowhere = {"a": [StoryPrediction(story_id="s", ip_id="i", shots=(tmp_path / "none.mp4",))]}
    with pytest.raises(InputError, match=r"no story .*none\.mp4"):
        write_study(nowhere, tmp_path / "out", tmp_path / "k.json")
    twice = {"a": [*predictions["secretfox"], predictions["secretfox"][0]]}
    with pytest.raises(InputError, match="twice"):
        write_study(twice, tmp_path / "out", tmp_path / "k.json")
    other_ip = {"a": predictions["secretfox"], "b": [replace(predictions["hiddenowl"][0], ip_id="other")]}
    with pytest.raises(InputError, match="different IPs"):
        write_study(other_ip, tmp_path / "out", tmp_path / "k.json")
    in_memory = {"a": [StoryPrediction(story_id="s", ip_id="i", shots=(np.zeros((2, 8, 8, 3), np.uint8),))]}
    with pytest.raises(InputError, match="video files"):
        write_study(in_memory, tmp_path / "out", tmp_path / "k.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("page", "words"), [({"height": 63}, "even"), ({"height": 5000}, "2160"), ({"title": " "}, "title")]
)
def test_pages_that_cannot_be_made_are_refused(page: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PageSettings(**page)


def test_attentive_raters_count_and_those_who_click_at_random_or_always_the_same_do_not(
    study: Path, key: dict[str, Any], tmp_path: Path
) -> None:
    files = write_votes(
        tmp_path,
        *(good(key, rater) for rater in range(1, 6)),
        votes_of(key, 6, careless(np.random.default_rng(1))),
        votes_of(key, 7, always(3)),
        votes_of(key, 8, always(1, "left")),
    )
    book = read_votes(files, read_key(study.parent / "key.json"))
    assert [record.label for record in book.raters if record.excluded] == ["006", "007", "008"]
    assert {vote.rater for vote in book.votes} == {f"00{rater}" for rater in range(1, 6)}
    assert not any(vote.task.check for vote in book.votes)
    assert all(record.is_finished and record.checks_seen == 8 for record in book.raters)
    assert book.problems == {}


def test_nearly_everybody_who_clicks_at_random_is_left_out(study: Path, key: dict[str, Any], tmp_path: Path) -> None:
    clickers = (votes_of(key, rater, careless(np.random.default_rng([7, rater]))) for rater in range(1, 101))
    book = read_votes(write_votes(tmp_path, *clickers), read_key(study.parent / "key.json"))
    assert sum(bool(record.excluded) for record in book.raters) >= 90


def test_one_answer_to_everything_is_no_opinion_even_without_checks(
    predictions: dict[str, list[StoryPrediction]], tmp_path: Path
) -> None:
    write_study(predictions, tmp_path / "o", tmp_path / "k.json", StudySettings(raters=1, checks=0), PAGE)
    key = json.loads((tmp_path / "k.json").read_text())
    book = read_votes(write_votes(tmp_path / "v", votes_of(key, 1, always(4))), read_key(tmp_path / "k.json"))
    assert "one answer" in book.raters[0].excluded


def test_each_kind_of_wrong_vote_is_left_out_and_counted(study: Path, key: dict[str, Any], tmp_path: Path) -> None:
    data = good(key, 1)
    votes = data["votes"]
    rating = next(at for at, vote in enumerate(votes) if len(vote["watched"]) == 1)
    pair = next(at for at, vote in enumerate(votes) if len(vote["watched"]) == 2)
    other = next(name for name in key["tasks"] if name not in key["orders"][0])
    wrong: list[tuple[int, Any]] = [
        (rating, {"OQ": 6, "CRC": 1, "MSC": 1, "MCC": 1}),
        (rating + 1, {"OQ": True, "CRC": 1, "MSC": 1, "MCC": 1}),
        (rating + 2, {"OQ": 3}),
        (rating + 3, "very good"),
        (pair, {"OQ": "both", "CRC": "left", "MSC": "left", "MCC": "left"}),
        (pair + 1, {"OQ": 3, "CRC": 3, "MSC": 3, "MCC": 3}),
        (pair + 2, {"OQ": 2.5, "CRC": [], "MSC": {}, "MCC": None}),
    ]
    for at, answers in wrong:
        votes[at] = {**votes[at], "answers": answers}
    votes[pair + 3] = {**votes[pair + 3], "answers": None}
    votes += [{"task": "t9999", "answers": {}}, {**votes[0], "task": other}, votes[-1], "nonsense", {"task": ["t0001"]}]
    book = read_votes(write_votes(tmp_path, data), read_key(study.parent / "key.json"))
    assert book.problems == {
        "a second vote on one task": 1,
        "a vote on a task that this number was not shown": 1,
        "a vote on an unknown task": 3,
        "an answer that is missing or out of range": 7,
    }
    assert book.raters[0].num_unplayable == 1
    assert book.raters[0].num_votes == len(key["orders"][0]) - 8
    assert not book.raters[0].is_finished


def test_measures_of_the_page_that_are_no_numbers_are_unknown_and_cost_no_vote(
    study: Path, key: dict[str, Any], tmp_path: Path
) -> None:
    data = good(key, 1)
    data["votes"][0] |= {"seconds": "long", "watched": 3}
    data["votes"][1] |= {"seconds": -4, "watched": [True]}
    book = read_votes(write_votes(tmp_path, data), read_key(study.parent / "key.json"))
    assert book.raters[0].num_votes == len(data["votes"])
    assert book.problems == {}


def test_the_latest_file_of_a_session_counts_and_two_sessions_of_one_number_are_two_raters(
    study: Path, key: dict[str, Any], tmp_path: Path
) -> None:
    whole = good(key, 2)
    early = {**whole, "revision": 3, "votes": whole["votes"][:3]}
    files = write_votes(tmp_path, early, whole, early, good(key, 2, session="another"))
    book = read_votes(files, read_key(study.parent / "key.json"))
    assert [record.label for record in book.raters] == ["002-1", "002-2"]
    assert all(record.num_votes == len(whole["votes"]) for record in book.raters)
    assert book.problems == {"an older file of the same session": 2}


def test_numbers_beyond_the_prepared_orders_begin_again(study: Path, key: dict[str, Any], tmp_path: Path) -> None:
    book = read_votes(write_votes(tmp_path, good(key, 5)), read_key(study.parent / "key.json"))
    assert book.problems == {}
    assert book.raters[0].is_finished


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "no votes file"),
        ({"version": 2}, "version 2"),
        ({"study": "0" * 16}, "belongs to study"),
        ({"rater": "3"}, "damaged"),
        ({"rater": 0}, "damaged"),
        ({"revision": True}, "damaged"),
        ({"session": None}, "damaged"),
        ({"votes": {}}, "damaged"),
    ],
)
def test_a_file_that_is_no_votes_of_this_study_is_refused(
    study: Path, key: dict[str, Any], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_votes(write_votes(tmp_path, good(key, 1) | change), read_key(study.parent / "key.json"))


def test_what_is_no_key_or_no_json_is_refused(study: Path, key: dict[str, Any], tmp_path: Path) -> None:
    def refused(content: str, words: str) -> None:
        path = tmp_path / "k.json"
        path.write_text(content)
        with pytest.raises(InputError, match=words):
            read_key(path)

    refused("{", "not JSON")
    refused("[]", "no key")
    refused(json.dumps({**key, "version": 9}), "version 9")
    refused(json.dumps({**key, "tasks": {}}), "damaged")
    refused(json.dumps({**key, "stories": {}}), "damaged")
    refused(json.dumps({**key, "orders": []}), "damaged")
    first = next(iter(key["tasks"]))
    refused(json.dumps({**key, "tasks": {**key["tasks"], first: {**key["tasks"][first], "films": []}}}), "damaged")
    with pytest.raises(InputError, match="cannot be read"):
        read_key(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not JSON"):
        read_votes([tmp_path / "binary.json"], read_key(study.parent / "key.json"))


@pytest.fixture(scope="module")
def report(study: Path, key: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    files = write_votes(tmp_path_factory.mktemp("votes"), *(good(key, rater) for rater in range(1, 7)))
    known = read_key(study.parent / "key.json")
    return study_report(read_votes(files, known), known, draws=300)


def test_the_report_finds_the_quality_that_the_raters_saw(report: dict[str, Any]) -> None:
    for dimension in ("OQ", "MSC", "MCC"):
        for system, quality in QUALITY.items():
            found = report["ratings"]["systems"][dimension][system]
            assert found["value"] == pytest.approx(quality, abs=0.3)
            assert found["low"] < found["value"] < found["high"]
            assert (found["num_stories"], found["num_ips"]) == (6, 3)
            assert "Only 3 IPs" in found["warning"]
        assert report["ratings"]["alpha"][dimension]["value"] > 0.5
        first = report["preference"][dimension]["systems"][0]
        assert first["system"] == "secretfox"
        assert first["low"] > 0
        assert first["best_share"] == 1.0
    assert report["coverage"] == {
        "raters": 6, "raters_excluded": 0, "ratings": 72, "pairs": 36, "stories": 6, "ips": 3
    }  # fmt: skip


def test_comparisons_are_over_ips_and_corrected_together(report: dict[str, Any]) -> None:
    rows = report["ratings"]["comparisons"]
    assert len(rows) == 4
    for row in rows:
        assert row["first"] == "hiddenowl"
        assert row["p_value"] == 0.25  # three IPs allow no less
        assert row["p_value_holm"] == 1.0
        assert row["least_detectable"] is None


def test_the_report_is_json_without_nan_and_reads_as_a_table(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    table = study_tables(report)
    assert all(word in table for word in (*QUALITY, "Ratings", "Preference", "alpha", "6 raters"))
    assert len(report["votes"]) == 108
    assert set(report["votes"][0]["systems"]) <= set(QUALITY)


def test_no_votes_make_an_empty_report(study: Path, key: dict[str, Any], tmp_path: Path) -> None:
    known = read_key(study.parent / "key.json")
    book = read_votes(write_votes(tmp_path, votes_of(key, 1, careless(np.random.default_rng(2)))), known)
    found = study_report(book, known, draws=50)
    assert (found["ratings"], found["preference"], found["votes"]) == (None, None, [])
    assert "1 excluded" in study_tables(found)


def scores(system: str, *, direction: str = "higher", sign: float = 1.0) -> dict[str, Any]:
    """A results file whose one metric follows the quality of the system and of the story."""
    stories = [
        {
            "story_id": story,
            "ip_id": ip,
            "track": "",
            "flags": [],
            "captions": [],
            "reference_fidelity": {"mean": sign * (QUALITY[system] + 0.01 * at), "min": None, "n_evaluated": 2},
        }
        for at, (story, ip) in enumerate(IPS.items())
    ]
    corpus = {"reference_fidelity": {"mean": {"direction": direction}}}
    return {
        "format": "animeshooter-scores",
        "version": 2,
        "system": {"name": system},
        "corpus": corpus,
        "stories": stories,
    }


@pytest.mark.parametrize(("direction", "sign"), [("higher", 1.0), ("lower", -1.0)])
def test_a_metric_that_orders_films_as_people_do_agrees_whichever_way_is_better(
    study: Path, key: dict[str, Any], tmp_path: Path, direction: str, sign: float
) -> None:
    known = read_key(study.parent / "key.json")
    book = read_votes(write_votes(tmp_path / "v", *(good(key, rater) for rater in range(1, 5))), known)
    metrics = {}
    for system in QUALITY:
        (tmp_path / "results.json").write_text(json.dumps(scores(system, direction=direction, sign=sign)))
        name, values = read_metric_values(tmp_path)
        assert name == system
        assert list(values) == ["reference_fidelity/mean"]
        metrics[name] = values
    rows = metric_agreement(human_means(book.votes), metrics, known, draws=200)
    assert [row["dimension"] for row in rows] == ["OQ", "CRC", "MSC", "MCC"]
    for row in rows:
        assert row["tau"]["value"] > 0.4
        assert row["tau"]["low"] <= row["tau"]["value"] <= row["tau"]["high"]
        assert (row["num_films"], row["num_systems"]) == (12, 2)


def test_what_holds_no_scores_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"format": "other"}))
    with pytest.raises(InputError, match="no results file"):
        read_metric_values(path)
    path.write_text(json.dumps({"format": "animeshooter-scores", "version": 2}))
    with pytest.raises(InputError, match="damaged"):
        read_metric_values(path)


def command(*words: object) -> int:
    """Run the verb as the command line does."""
    import argparse

    from animeshooter_hf.eval import study_command

    parser = argparse.ArgumentParser()
    study_command.add_arguments(parser)
    return study_command.run(parser.parse_args(list(map(str, words))))


def test_the_verb_makes_a_study_and_reads_its_votes(
    predictions: dict[str, list[StoryPrediction]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {system: write_predictions(tmp_path / f"{system}.json", made) for system, made in predictions.items()}
    words = [f"fox={paths['secretfox']}", paths["hiddenowl"]]
    assert command("make", *words, "--out", tmp_path / "study", "--height", 64, "--stories", 4, "--raters", 2) == 0
    assert "8 films of 4 stories" in capsys.readouterr().out
    key = json.loads((tmp_path / "study.key.json").read_text())
    assert key["systems"] == ["fox", "hiddenowl"]

    def answers(task: dict[str, Any]) -> dict[str, Any]:
        shown = task["films"][0]
        own = {"fox": 5, "hiddenowl": 2}[shown["system"]]
        return dict.fromkeys(("OQ", "CRC", "MSC", "MCC"), own) | ({"CRC": 1} if task["check"] == "wrong_ip" else {})

    votes = write_votes(tmp_path / "v", *(votes_of(key, rater, answers) for rater in (1, 2)))
    results = tmp_path / "scores.json"
    results.write_text(json.dumps(scores("hiddenowl")))
    read = ["read", *votes, "--key", tmp_path / "study.key.json", "--draws", 100]
    assert command(*read, "--out", tmp_path / "votes.json", "--results", results) == 0
    assert "5.00" in capsys.readouterr().out
    found = json.loads((tmp_path / "votes.json").read_text())
    assert found["ratings"]["systems"]["OQ"]["fox"]["value"] == 5.0
    assert {row["num_films"] for row in found["agreement"]} == {4}
    assert command(*read, "--json") == 0
    assert json.loads(capsys.readouterr().out)["study"] == key["study"]
    nobody = write_votes(tmp_path / "n", votes_of(key, 1, always(3)))
    assert command("read", *nobody, "--key", tmp_path / "study.key.json") == 1
    assert "no vote counts" in capsys.readouterr().err


def test_the_verb_refuses_what_it_cannot_use(
    predictions: dict[str, list[StoryPrediction]], study: Path, key: dict[str, Any], tmp_path: Path
) -> None:
    given = write_predictions(tmp_path / "a.json", predictions["secretfox"])
    results = tmp_path / "scores.json"
    results.write_text(json.dumps(scores("secretfox")))
    votes = write_votes(tmp_path / "v", good(key, 1))
    known = ["--key", study.parent / "key.json"]
    cases: list[tuple[list[object], str]] = [
        (["make", given], "needs --out"),
        (["make", given, given, "--out", tmp_path / "o"], "two systems of the name a"),
        (["make", f"={given}", "--out", tmp_path / "o"], "no name"),
        (["make", results, "--out", tmp_path / "o"], "no films"),
        (["make", tmp_path / "none.json", "--out", tmp_path / "o"], "no file or folder"),
        (["make", given, "--out", tmp_path / "o", "--raters", 0], "raters"),
        (["make", given, "--out", tmp_path / "o", "--tasks", "pair"], "two systems"),
        (["read", *votes], "needs --key"),
        (["read", *votes, *known, "--draws", 0], "--draws"),
        (["read", *votes, *known, "--results", f"unknown={results}"], "the study has"),
        (["read", *votes, *known, "--results", results, results], "two results"),
        (["read", tmp_path / "none.json", *known], "cannot be read"),
    ]
    for words, expected in cases:
        with pytest.raises(InputError, match=expected):
            command(*words)
    assert not (tmp_path / "o").exists()
