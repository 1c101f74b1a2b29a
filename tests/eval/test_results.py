"""What is written of a run, read again, shown, and compared."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from PIL import Image

from animeshooter_hf.command_line import main
from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.compare import compare_results, comparison_table
from animeshooter_hf.eval.encoding import EncodingSettings
from animeshooter_hf.eval.metrics import METRICS, check_metrics, open_metrics
from animeshooter_hf.eval.presets import preset_settings
from animeshooter_hf.eval.results import Results, SystemInfo
from animeshooter_hf.eval.results_file import read_results, results_from_json
from animeshooter_hf.eval.results_folder import frames_name, is_folder_path
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.story_prediction import StoryPrediction

METRIC_NAMES = ("reference_fidelity", "cross_shot_consistency")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMESHOOTER_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def results(stories: list[StoryPrediction]) -> Results:
    system = SystemInfo(name="ORG/MODEL", revision="abc", date="2026-01-02")
    return evaluate_stories(stories, METRIC_NAMES, system=system)


def test_a_results_file_is_read_back_whole(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "results.json")
    back = read_results(tmp_path / "results.json")
    assert back.to_json() == results.to_json()
    assert back.system.name == "ORG/MODEL"
    assert read_results(tmp_path).to_json() == results.to_json()


def test_every_corpus_number_has_direction_coverage_and_an_interval_that_holds_it(results: Results) -> None:
    data = results.to_json()
    for entries in data["corpus"].values():
        for name, entry in entries.items():
            assert entry["direction"] in ("higher", "lower", "none")
            assert entry["n_evaluated"] + entry["n_failed"] + entry["n_skipped"] == 6
            if entry["low"] is not None:
                assert entry["low"] <= entry["value"] <= entry["high"], name
    mean = data["corpus"]["reference_fidelity"]["mean"]
    assert mean["low"] < mean["value"] < mean["high"]
    assert data["corpus"]["reference_fidelity"]["auc"]["low"] is None
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_the_manifest_names_libraries_and_the_hash_of_every_input(results: Results) -> None:
    manifest = results.manifest
    assert {"animeshooter-hf", "python", "numpy"} <= set(manifest["library_versions"])
    assert len(manifest["inputs"]) == 6 * 5
    assert all(len(value) == 64 for value in manifest["inputs"].values())
    assert manifest["inputs"]["fox_0/references/0"] == manifest["inputs"]["fox_1/references/0"]


def test_curves_are_means_over_stories_along_the_shots(results: Results) -> None:
    points = results.curves["reference_fidelity/fidelity"]
    assert [point.position for point in points] == [1, 2, 3, 4]
    second = [shot.values["reference_fidelity/fidelity"] for shot in results.shots if shot.shot_index == 1]
    assert points[1].value == pytest.approx(sum(second) / 6, abs=1e-12)
    assert points[1].low is not None
    assert [point.position for point in results.curves["cross_shot_consistency/gap"]] == [1, 2, 3]


def test_the_table_shows_intervals_and_flags(results: Results) -> None:
    table = results.table()
    assert "95 %" in table
    assert "[0." in table
    flagged = replace(results, flags={"fox_0": ("static",)})
    assert "static" in flagged.table()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no results file"),
        ({"format": "animeshooter-scores", "version": 1}, "version 1"),
        ({"format": "animeshooter-scores", "version": 2}, "damaged"),
        ({"format": "animeshooter-scores", "version": 2, "signatures": 3}, "damaged"),
    ],
)
def test_what_is_no_results_file_of_version_two_is_refused(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        results_from_json(data, "scores.json")


def test_a_results_file_that_is_missing_or_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text('{"format"')
    for name, message in (("gone.json", "no results file"), ("half.json", "not JSON")):
        with pytest.raises(InputError, match=message):
            read_results(tmp_path / name)


def test_a_results_folder_holds_tables_and_a_strip_of_every_story(
    story_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = story_folder("fox", "frog", num_shots=3), tmp_path / "results"
    (folder / "fox" / "generated_video_1_2_demo.mp4").unlink()
    words = ["evaluate", str(folder), "--system", "ORG/MODEL", "--benchmark", "ORG/BENCH@v1", "--out", f"{out}/"]
    assert main(words) == 0
    assert main(words) == 0  # a folder of results may be written again
    capsys.readouterr()
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == ["frames/fox_1.jpg", "frames/frog_1.jpg", "results.json", "shots.parquet", "stories.parquet"]
    shots, stories = (pq.read_table(out / name).to_pylist() for name in ("shots.parquet", "stories.parquet"))
    assert [row["reference_fidelity/fidelity"] is None for row in shots] == [False, True, False, False, False, False]
    assert "generated_video_1_2" in shots[1]["problems"]
    assert [row["frames"] for row in stories] == ["frames/fox_1.jpg", "frames/frog_1.jpg"]
    with Image.open(io.BytesIO((out / "frames" / "fox_1.jpg").read_bytes())) as strip:
        assert strip.height == 3 * 96 + 2 * 4
        assert strip.width > 5 * 160
    read = read_results(out)
    assert read.benchmark == {"id": "ORG/BENCH", "revision": "v1", "track": ""}
    assert read.system.name == "ORG/MODEL"
    assert len(read.system.date) == 10


def test_names_of_strips_are_safe_on_disk(tmp_path: Path) -> None:
    assert frames_name("fox_1") == "fox_1.jpg"
    assert "/" not in frames_name("../a/b")
    assert frames_name("a/b") != frames_name("a_b")
    assert is_folder_path(f"{tmp_path}/new/")
    assert is_folder_path(str(tmp_path))
    assert is_folder_path("results")
    assert not is_folder_path("results.json")


def test_a_system_is_compared_with_another_on_the_same_stories(
    stories: list[StoryPrediction], results: Results, drawn: SimpleNamespace
) -> None:
    worse = [replace(story, references=(drawn.reference("fox"),)) for story in stories]
    other = evaluate_stories(worse, METRIC_NAMES)
    compared = {one.metric: one for one in compare_results(results, other)}
    fidelity, consistency = (compared[name] for name in METRIC_NAMES)
    assert fidelity.paired.difference > 0.1
    assert consistency.paired.difference == 0
    assert consistency.verdict == "no difference shown"
    assert fidelity.adjusted_p_value >= fidelity.paired.p_value
    text = comparison_table(list(compared.values()), "ours", "theirs")
    assert "ours minus theirs" in text
    assert "reference_fidelity/harmean_p: +0." in text


def test_runs_that_cannot_be_compared_are_refused(stories: list[StoryPrediction], results: Results) -> None:
    few = evaluate_stories(stories[:1], METRIC_NAMES)
    with pytest.raises(InputError, match="share 1 stories"):
        compare_results(results, few)
    with pytest.raises(InputError, match="same signature"):
        compare_results(results, evaluate_stories(stories, METRIC_NAMES, frames_per_shot=3, draws=0))
    moved = evaluate_stories([replace(stories[0], ip_id="else"), *stories[1:]], METRIC_NAMES, draws=0)
    with pytest.raises(InputError, match="another IP"):
        compare_results(results, moved)


def test_the_command_compares_with_a_results_file(
    story_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = story_folder("fox", "frog"), tmp_path / "first.json"
    assert main(["evaluate", str(folder), "--system", "first", "--out", str(out)]) == 0
    assert main(["evaluate", str(folder), "--system", "second", "--against", str(out)]) == 0
    assert "second minus first" in capsys.readouterr().out


def test_the_paper_presets_set_what_the_paper_says_and_what_is_given_wins() -> None:
    paper = preset_settings("paper-clip", backend=None)
    assert (paper["frames_per_shot"], paper["sampling"], paper["fidelity_view"]) == (5, "linspace", "full")
    assert paper["backend"] == "clip"
    assert preset_settings("paper-dreamsim", backend="dreamsim:folder")["backend"] == "dreamsim:folder"
    assert preset_settings(None, frames_per_shot=3, sampling=None) == {"frames_per_shot": 3}
    with pytest.raises(InputError, match="no preset"):
        preset_settings("paper")


def test_every_metric_of_the_registry_opens_and_says_what_it_is() -> None:
    for name in METRICS:
        try:
            (metric,) = open_metrics([name], EncodingSettings())
        except (ModuleNotFoundError, InputError):
            continue  # one that needs a backend that reads text, or is not written yet
        assert metric.name == name
        assert metric.headline in metric.directions
        assert metric.signature
        assert set(metric.directions.values()) <= {"higher", "lower", "none"}
    assert check_metrics(["shot_controls", "shot_controls"]) == ("shot_controls",)


def test_every_setting_of_the_fidelity_is_in_its_signature() -> None:
    settings = [
        EncodingSettings(),
        EncodingSettings(fidelity_view="full"),
        EncodingSettings(fidelity_view="character"),
        EncodingSettings(reference_background="black"),
        EncodingSettings(sampling="linspace"),
        EncodingSettings(frames_per_shot=4),
    ]
    signatures = {open_metrics(["reference_fidelity"], one)[0].signature for one in settings}
    assert len(signatures) == len(settings)
