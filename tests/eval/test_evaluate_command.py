import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from animeshooter_hf.command_line import main


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ANIMESHOOTER_CACHE", str(folder))
    return folder


def test_the_command_prints_a_table_and_writes_the_numbers(
    story_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores" / "results.json"
    assert main(["evaluate", str(story_folder("fox", "frog")), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "fox_1" in printed.out
    assert "HarMeanP" in printed.out
    assert "smoke/sanity: colour only, not for ranking" in printed.out
    assert "scoring" in printed.err
    data = json.loads(out.read_text())
    assert data["coverage"] == {"stories": 2, "ips": 2, "shots": 4, "shots_with_problems": 0}
    assert [path.name for path in out.parent.iterdir()] == ["results.json"]


def test_json_on_stdout_is_what_the_file_holds(
    story_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.json"
    assert main(["evaluate", str(story_folder("fox")), "--json", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())


def test_several_paths_are_scored_together(
    story_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = story_folder("fox", "frog")
    row = {
        "story_id": "mine",
        "ip_id": "frog",
        "shots": [str(folder / "frog" / "generated_video_1_1_demo.mp4")],
        "references": [str(folder / "frog_ref.png")],
    }
    (tmp_path / "mine.json").write_text(json.dumps([row]))
    words = ["evaluate", str(folder), str(tmp_path / "mine.json"), "--metrics", "reference_fidelity", "--json"]
    assert main(words) == 0
    data = json.loads(capsys.readouterr().out)
    assert [story["story_id"] for story in data["stories"]] == ["fox_1", "frog_1", "mine"]
    assert list(data["corpus"]) == ["reference_fidelity"]


def test_a_missing_and_a_truncated_video_are_null_and_counted(
    story_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = story_folder("fox", num_shots=3)
    (folder / "fox" / "generated_video_1_1_demo.mp4").unlink()
    film = folder / "fox" / "generated_video_1_2_demo.mp4"
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 3])
    assert main(["evaluate", str(folder), "--json"]) == 0
    printed = capsys.readouterr()
    data = json.loads(printed.out)
    assert [shot["values"]["reference_fidelity/fidelity"] is None for shot in data["shots"]] == [True, True, False]
    fidelity = data["stories"][0]["reference_fidelity"]
    assert (fidelity["n_evaluated"], fidelity["n_failed"]) == (1, 2)
    assert data["stories"][0]["cross_shot_consistency"]["pairwise"] is None
    assert "2 shots have no score" in printed.err


def test_the_status_is_one_if_nothing_at_all_could_be_scored(
    story_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = story_folder("fox")
    for path in (folder / "fox").iterdir():
        path.write_bytes(b"broken")
    assert main(["evaluate", str(folder)]) == 1
    assert "cannot be read as a video" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{tmp}/nothing"], "no file or folder"),
        (["{tmp}/empty"], "is empty"),
        (["{tmp}/other.json"], "another kind"),
        (["{demos}", "{tmp}/nothing"], "no file or folder"),
        (["{demos}", "{demos}"], "given twice"),
        (["{demos}", "--metrics", "beauty"], "no metric 'beauty'"),
        (["{demos}", "--backend", "oracle"], "no backend 'oracle'"),
        (["{demos}", "--frames-per-shot", "0"], "frames_per_shot"),
        (["{demos}", "--workers", "0"], "num_workers"),
        (["{demos}", "--sampling", "random"], "sampling"),
        (["{demos}", "--reference-background", "green"], "reference_background"),
        (["{demos}", "--fidelity-view", "face"], "fidelity_view"),
        (["{demos}", "--preset", "paper"], "no preset 'paper'"),
        (["{demos}", "--batch-size", "0"], "batch_size"),
        (["{demos}", "--system-kind", "human"], "kind of a system"),
        (["{demos}", "--benchmark", "@v1"], "--benchmark"),
        (["{demos}", "--no-cache", "--clear-cache"], "--no-cache"),
        (["{demos}", "--cache", "{tmp}/other.json/cache"], "cannot be made"),
        (["{demos}", "--against", "{tmp}/other.json"], "no results file"),
        (["{demos}", "--against", "{tmp}/nothing.json"], "no results file"),
        (["{demos}", "--out", "{tmp}"], "is a folder"),
        (["{demos}", "--out", "{tmp}/"], "is a folder"),
        (["{demos}", "--out", "{tmp}/other.json/results.json"], "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence_and_status_two_and_leaves_nothing(
    story_folder: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    demos = story_folder("fox")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text('{"kind": "another"}')
    before = sorted(tmp_path.rglob("*"))
    filled = [word.format(tmp=tmp_path, demos=demos) for word in words]
    if "--out" not in filled:
        filled += ["--out", str(tmp_path / "results.json")]
    assert main(["evaluate", *filled]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("animeshooter evaluate: ")
    assert message in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(story_folder: Callable[..., Path], tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert main(["evaluate", str(story_folder("fox")), "--out", str(locked / "results.json")]) == 2


def test_an_attack_is_scored_as_an_adversarial_system_and_flagged(
    story_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = story_folder("fox", "frog"), tmp_path / "frozen.json"
    assert main(["evaluate", str(folder), "--attack", "frozen", "--out", str(out)]) == 0
    data = json.loads(out.read_text())
    assert (data["system"]["kind"], data["system"]["name"]) == ("adversarial", "attack: frozen")
    (static,) = (gate for gate in data["gates"] if gate["control"] == "static")
    assert (static["num_flagged"], static["is_gated"]) == (2, True)
    assert all("static" in story["flags"] for story in data["stories"])
    assert "static" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--attack", "bribe"], "There is no attack 'bribe'"),
        (["--attack", "frozen", "--system-kind", "model"], "With --attack the system is adversarial, not model"),
    ],
)
def test_an_attack_that_cannot_be_is_refused(
    words: list[str], message: str, story_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(story_folder("fox")), *words]) == 2
    assert message in capsys.readouterr().err


def test_backends_are_listed_with_their_licences(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--list-backends"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("classical ") and "Apache-2.0" in line for line in lines)
    assert any(line.startswith("dinov3 ") and "gated" in line for line in lines)
