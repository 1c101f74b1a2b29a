import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf.command_line import main
from animeshooter_hf.video import read_frames

QUICK = ["--size", "48x32", "--seconds", "2", "--frame-rate", "12", "--workers", "1"]


def test_the_verb_writes_films_with_their_scripts_and_prints_their_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["toon", "--films", "2", "--out", str(tmp_path / "films"), *QUICK]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in paths] == ["toon-0000.mp4", "toon-0001.mp4"]
    names = sorted(path.name for path in (tmp_path / "films").iterdir())
    assert names == ["toon-0000.mp4", "toon-0000.script.json", "toon-0001.mp4", "toon-0001.script.json"]


def test_finished_films_are_kept_and_others_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["toon", "--films", "2", "--out", str(tmp_path), "--json", *QUICK]
    assert main(command) == 0
    capsys.readouterr()
    kept, lost = tmp_path / "toon-0000.mp4", tmp_path / "toon-0001.script.json"
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)["films"]
    assert [row["was_finished"] for row in rows] == [True, False]
    assert kept.stat().st_mtime_ns == stamp
    assert lost.exists()


def test_other_settings_render_a_finished_film_anew(tmp_path: Path) -> None:
    assert main(["toon", "--out", str(tmp_path), *QUICK]) == 0
    before = (tmp_path / "toon-0000.mp4").read_bytes()
    assert main(["toon", "--out", str(tmp_path), *QUICK, "--size", "64x32"]) == 0
    assert (tmp_path / "toon-0000.mp4").read_bytes() != before


def test_two_processes_give_the_same_films_as_one(tmp_path: Path) -> None:
    options = ["toon", "--films", "2", *QUICK]
    assert main([*options, "--out", str(tmp_path / "one")]) == 0
    assert main([*options, "--out", str(tmp_path / "two"), "--workers", "2"]) == 0
    for name in ("toon-0000", "toon-0001"):
        first, second = tmp_path / "one" / f"{name}.mp4", tmp_path / "two" / f"{name}.mp4"
        script = f"{name}.script.json"
        assert first.with_name(script).read_bytes() == second.with_name(script).read_bytes()
        # Close and not equal: x264's macroblock tree is not repeatable for tiny pictures on some processors.
        frames = [read_frames(path, range(0, 24, 6)).astype(int) for path in (first, second)]
        assert np.abs(frames[0] - frames[1]).mean() < 3


@pytest.mark.skipif(os.name == "nt", reason="sends an interrupt as terminals do")
def test_an_interrupted_film_leaves_nothing_half_written(tmp_path: Path) -> None:
    # Where tests run in the background, interrupts are ignored, and children inherit that.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from animeshooter_hf.command_line import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "toon", "--out", str(tmp_path), "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not any(tmp_path.glob(".*partial*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--films", "0"], "--films"),
        (["--films", "-3"], "--films"),
        (["--size", "10x10"], "width"),
        (["--size", "large"], "--size"),
        (["--frame-rate", "often"], "--frame-rate"),
        (["--frame-rate", "0"], "--frame-rate"),
        (["--seconds", "0"], "seconds"),
        (["--seconds", "nan"], "seconds"),
        (["--seed", "-1"], "--seed"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_bad_values_end_in_one_sentence_and_status_two(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["toon", "--out", str(tmp_path / "films"), *options]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "films").exists()


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "films"
    target.write_text("a file")
    assert main(["toon", "--out", str(target), *QUICK]) == 2
    assert "is a file" in capsys.readouterr().err
    assert target.read_text() == "a file"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("a file")
    assert main(["toon", "--out", str(tmp_path / "file" / "films"), *QUICK]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_options_of_the_verb_are_these(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["toon", "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    for option in ("--films", "--out", "--seed", "--size", "--frame-rate", "--seconds", "--workers", "--json"):
        assert option in text
    assert "Example:" in text
