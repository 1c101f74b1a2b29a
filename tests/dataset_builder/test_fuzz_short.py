"""The fuzzers of tests/fuzz, as scripts, for a moment: the same inputs every time."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FUZZ / script), "--seed", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("script", "runs", "targets"),
    [
        ("fuzz_release.py", "300", 4),
        ("fuzz_masks.py", "800", 3),
        ("fuzz_probe.py", "60", 2),
        ("fuzz_answers.py", "300", 2),
    ],
)
def test_a_short_run_of_each_fuzzer_finds_nothing(script: str, runs: str, targets: int, tmp_path: Path) -> None:
    done = run(script, "--runs", runs, "--findings", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"{int(runs):,} inputs") == done.stdout.count("0 findings") == targets


CULPRITS = """
import os, sys, time
from harness import Target, main

def crash(data): raise KeyError("a")
def hang(data): time.sleep(30)
def eat(data): return str(len(bytearray(3 << 30)))

limits = {"seeds": [b"x"], "memory_bytes": 1 << 28}
checks = {crash: 30, hang: 0.2, eat: 30}
targets = [Target(name=check.__name__, check=check, hang_seconds=most, **limits) for check, most in checks.items()]
sys.exit(main(__doc__, targets))
"""


@pytest.mark.parametrize(("target", "kind"), [("crash", "crash"), ("hang", "hang"), ("eat", "memory")])
def test_a_crash_a_hang_and_hunger_end_a_run_with_status_1_and_the_input_in_a_file(
    target: str, kind: str, tmp_path: Path
) -> None:
    script = tmp_path / "culprits.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(FUZZ)!r})\n{CULPRITS}")
    words = [sys.executable, str(script), "--target", target, "--findings", str(tmp_path / "found")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert f"{kind}: b'x'" in done.stdout
    (found,) = (tmp_path / "found").iterdir()
    assert found.read_bytes() == b"x"
