"""The verb `leaderboard`: the site, the table, evaluation results, the Space, the dataset of results."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

sys.path.insert(0, str(Path(__file__).parent))
from results_maker import SIGNATURES, Maker

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval import leaderboard_command
from animeshooter_hf.eval.leaderboard.eval_results import entries_of, model_folder
from animeshooter_hf.eval.leaderboard.ranking import make_boards
from animeshooter_hf.eval.leaderboard.read_results import parse_results
from animeshooter_hf.site.site_folder import SITE_FILE


def run(*words: object) -> int:
    """Run the verb."""
    parser = argparse.ArgumentParser()
    leaderboard_command.add_arguments(parser)
    return leaderboard_command.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, one that fails a control, an attack."""
    root = tmp_path_factory.mktemp("runs")
    Maker(name="lab/good", level=0.7, seed=1).write_folder(root / "good")
    Maker(name="lab/fair", level=0.6, seed=2, system={"revision": "abcdef0123456789"}).write_folder(root / "fair")
    Maker(name="x|y/still", level=0.8, seed=3, gated_by="static").write_folder(root / "still", frames=False)
    Maker(name="frozen", level=0.9, kind="adversarial", gated_by="static").write_folder(root / "frozen", frames=False)
    return root


def test_it_writes_a_site_and_prints_the_ranking(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(runs, "--out", tmp_path / "site", "--title", "Our board") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lab/AnimeShooter-Bench · 0123456789abcdef · main"
    assert [line.split()[0] for line in lines[2:4]] == ["1", "2"]
    assert "lab/good" in lines[2]
    assert "lab/fair@abcdef012345" in lines[3]
    assert [line.rsplit("  ", 1)[1] for line in lines[4:6]] == ["fails static", "adversarial, fails static"]
    assert "Our board" in (tmp_path / "site" / "index.html").read_text()


def test_a_second_run_gives_the_same_bytes_and_removes_what_is_gone(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"

    def files() -> dict[str, bytes]:
        return {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}

    run(runs, "--out", site)
    first = files()
    run(*reversed(sorted(runs.iterdir())), "--out", site)
    assert files() == first
    run(runs / "good", "--out", site, "--no-frames", "--no-paper")
    assert len(files()) < len(first)
    assert not any(name.startswith("media/") for name in files())


def test_json_and_markdown_hold_the_same_rows(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(runs, "--out", tmp_path / "site", "--json")
    board, paper = json.loads(capsys.readouterr().out)["boards"]
    assert [row["system"] for row in board["rows"]] == ["lab/good", "lab/fair@abcdef012345", "x|y/still", "frozen"]
    assert board["rows"][0]["numbers"]["reference_fidelity.harmean_p"]["rank"] == 1
    assert board["rows"][2] | {"numbers": None} == {
        "system": "x|y/still", "status": "gated", "fails": ["static"], "numbers": None,
    }  # fmt: skip
    assert [row["status"] for row in paper["rows"]] == ["reported"] * 3
    run(runs, "--out", tmp_path / "site", "--markdown")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "| --- | --- | --- | --- | --- | --- |"
    assert "x\\|y/still" in lines[4]


def test_evaluation_results_are_what_the_hub_reads(runs: Path, tmp_path: Path) -> None:
    run(runs, "--out", tmp_path / "site", "--eval-results", tmp_path / "repos")
    files = sorted((tmp_path / "repos").rglob("*.yaml"))
    assert [path.relative_to(tmp_path / "repos").parts[:2] for path in files] == [
        ("lab__fair", ".eval_results"),
        ("lab__good", ".eval_results"),
    ]
    entries = {one.task_id: one for one in parse_eval_result_entries(yaml.safe_load(files[1].read_text()))}
    assert set(entries) == {"ref_fidelity_clip_harmeanp", "ref_retrieval_at1", "scene_contrast"}
    one = entries["ref_fidelity_clip_harmeanp"]
    expected = Maker(name="lab/good", level=0.7, seed=1).document()["corpus"]["reference_fidelity"]["harmean_p"][
        "value"
    ]
    assert one.value == pytest.approx(expected, abs=1e-6)
    assert (one.dataset_id, one.dataset_revision) == ("lab/AnimeShooter-Bench", "0123456789abcdef")
    assert SIGNATURES["reference_fidelity"] in one.notes


def test_a_distance_is_turned_so_that_higher_is_better() -> None:
    document = Maker().document()
    document["signatures"]["reference_fidelity"] = "reffid|dreamsim-ensemble@1|v2"
    document["headlines"] = {}
    entry = document["corpus"]["reference_fidelity"]["harmean_p"]
    entry.update(value=0.64, low=0.6, high=0.7, direction="lower")
    (board,) = make_boards([parse_results(document, Path("x.json"))])
    found = {one.task_id: one for one in entries_of(board, board.entries[0])}
    assert found["ref_fidelity_dreamsim_harmeanp"].value == pytest.approx(0.36)
    assert "interval 0.3000 to 0.4000" in found["ref_fidelity_dreamsim_harmeanp"].notes


@pytest.mark.parametrize(
    "maker",
    [
        Maker(benchmark=None),
        Maker(benchmark={"id": "no dataset", "revision": "", "track": "main"}),
        Maker(signatures={"reference_fidelity": "reffid|classical@2|v2"}),
        Maker(kind="truth"),
    ],
    ids=["no benchmark", "no dataset of the Hub", "colour only", "no model"],
)
def test_no_evaluation_results_are_made_of_what_the_hub_must_not_rank(maker: Maker) -> None:
    (board,) = make_boards([parse_results(maker.document(), Path("x.json"))])
    assert entries_of(board, board.entries[0]) == []


def test_another_track_has_tasks_of_its_own() -> None:
    maker = Maker(benchmark={"id": "lab/bench", "revision": "1", "track": "long"})
    (board,) = make_boards([parse_results(maker.document(), Path("x.json"))])
    assert {one.task_id.split("_")[0] for one in entries_of(board, board.entries[0])} == {"long"}


def test_two_systems_that_share_a_file_are_refused(runs: Path, tmp_path: Path) -> None:
    for name in ("a/b", "a__b"):
        Maker(name=name).write(tmp_path / f"{name.replace('/', '-')}.json")
    with pytest.raises(InputError, match="Two systems"):
        run(*tmp_path.glob("*.json"), "--out", tmp_path / "site", "--eval-results", tmp_path / "repos")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../b", "..", "C:\\x", "a\0b"])
def test_a_model_never_gives_a_path_out_of_its_folder(name: str) -> None:
    folder = model_folder(name)
    assert folder not in ("", ".", "..")
    assert not set(folder) & set("/\\\0:")


def test_the_space_is_the_site_with_a_card(runs: Path, tmp_path: Path) -> None:
    site, space = tmp_path / "site", tmp_path / "space"
    run(runs, "--out", site, "--space", space, "--title", 'Board: "the" one')
    card = yaml.safe_load((space / "README.md").read_text().split("---")[1])
    assert (card["sdk"], card["app_file"], card["title"]) == ("static", "index.html", 'Board: "the" one')
    assert card["datasets"] == ["lab/AnimeShooter-Bench"]
    for path in site.rglob("*"):
        assert path.is_dir() or (space / path.relative_to(site)).read_bytes() == path.read_bytes()


def test_runs_become_a_dataset_and_a_second_time_changes_nothing(runs: Path, tmp_path: Path) -> None:
    (runs / "good" / "judge.jsonl").write_text("{}\n")
    for _ in range(2):
        run(runs, "--out", tmp_path / "site", "--results-dataset", tmp_path / "ds")
    (folder,) = (tmp_path / "ds" / "results" / "lab__good").iterdir()
    assert folder.name.startswith("2026-11-01-")
    assert sorted(path.name for path in folder.iterdir()) == ["frames", "judge.jsonl", "results.json"]
    assert (folder / "results.json").read_bytes() == (runs / "good" / "results.json").read_bytes()
    assert len(list((folder / "frames").iterdir())) == 12
    assert run(tmp_path / "ds", "--out", tmp_path / "again") == 0


def test_a_picture_that_is_none_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Maker().write_folder(tmp_path / "run")
    (folder / "frames" / "ip00-story00.jpg").write_bytes(b"<html>")
    assert run(folder, "--out", tmp_path / "site") == 1
    assert "ip00-story00.jpg is no JPEG" in capsys.readouterr().err
    assert len(list((tmp_path / "site" / "media").rglob("*.jpg"))) == 11


def test_a_folder_with_other_things_is_left_alone(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        run(runs, "--out", tmp_path)
    (tmp_path / "mine.txt").unlink()
    (tmp_path / SITE_FILE).write_text('{"format": "animeshooter-site"}')
    with pytest.raises(InputError, match="holds other files"):
        run(runs, "--out", tmp_path)


def test_a_space_in_the_sites_own_folder_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="different folders"):
        run(runs, "--out", tmp_path / "site", "--space", tmp_path / "site")


def test_an_empty_title_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--title"):
        run(runs, "--out", tmp_path / "site", "--title", " ")
    assert not (tmp_path / "site").exists()
