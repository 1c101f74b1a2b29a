"""The command line: every verb helps, the options are pinned, and bad input ends in one sentence and status 2."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from animeshooter_hf.command_line import VERBS, build_parser, main

OPTIONS = {
    "demo": ("--out --films --seconds --shots --enhance-steps --seed --sample --fresh"),
    "toon": ("--films --out --seed --size --frame-rate --seconds --characters --workers --json"),
    "ingest": ("paths --out --videos --audio --video-ids --extend-tails --split-seed --overwrite --json"),
    "build": (
        "films --out --work --config --workers --timeout --memory --detector --annotator --model --model-kind "
        "--base-url --script-mode --budget --batch --segmenter --checkpoint --media --rights --takedown --videos "
        "--release-audio --download --duplicates --private-data --identities --split-seed --launcher --ranks "
        "--launcher-options --dry-run --overwrite --json"
    ),
    "stats": ("dataset --split --media --sample --shortest-shot --longest-shot --out --plots --json"),
    "view": ("dataset --out --split --limit --title --media --open --serve --space --private --json"),
    "publish": (
        "places --policy --rights --takedown --private --public --gated --tag --revision --message --license --title "
        "--overwrite --remove --remove-file --reason --erase-history --record-anyway --staging --dry-run --yes --json"
    ),
    "train": (
        "--stage --pipeline --data --out --config --set --steps --seed --trackers --dry-run --print-config --resume "
        "--fresh"
    ),
    "generate": (
        "--model --story --caption --write --regenerate --reference --allow-missing-references --out --seed --steps "
        "--num-frames --size --guidance --reference-scale --negative --shot-settings --lora --sound --transition "
        "--keep-following --new-caption --new-seed --writer-model --base-url --shots --device --dtype --offload "
        "--preview --resume --overwrite --json"
    ),
    "web": ("--model --device --dtype --offload --sound --host --port --share --title --space-files"),
    "evaluate": (
        "paths --metrics --list-backends --preset --backend --style-backend --audio-backend --device --dtype "
        "--frames-per-shot --sampling --fidelity-view --reference-background --workers --batch-size --cache --no-cache "
        "--clear-cache --system --revision --url --system-license --sampled-by --evaluated-by --notes --system-kind "
        "--attack --seed --benchmark --against --out --json"
    ),
    "bench": ("bench_verb"),
    "judge": (
        "paths --name --system --protocol --rounds --limit --frames-per-shot --anchors --out --results --exam "
        "--exam-stories --votes --dry-run --json --model --base-url --api-key-env --local --revision --device --dtype "
        "--replay --temperature --seed --max-output-tokens --structured --token-limit-field --timeout --max-retries "
        "--requests-per-minute --workers"
    ),
    "study": (
        "action paths --out --key --tasks --stories --raters --stories-per-rater --pairs-per-rater --checks --seed "
        "--height --sound --title --contact --results --draws --json"
    ),
    "leaderboard": (
        "results --out --title --subtitle --no-frames --no-paper --eval-results --space --results-dataset --json "
        "--markdown"
    ),
}
"""Every option of every verb. A change here is a change for users: name it in the CHANGELOG."""


def options_of(verb: str) -> list[str]:
    parser = build_parser(verb)
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return [word for action in verbs.choices[verb]._actions for word in (action.option_strings or [action.dest])]


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"animeshooter {verb} " in capsys.readouterr().out.split("Example", 1)[1]


@pytest.mark.parametrize("verb", list(VERBS))
def test_the_options_are_those_that_are_pinned(verb: str) -> None:
    assert [option for option in options_of(verb) if option not in ("-h", "--help")] == OPTIONS[verb].split()


def test_a_missing_extra_is_named_with_one_sentence_and_status_2(tmp_path: Path) -> None:
    # A module that is set to None in sys.modules is one that is not installed, to every import.
    code = (
        "import sys; sys.modules['diffusers'] = None\n"
        "from animeshooter_hf.command_line import main\n"
        f"sys.exit(main(['generate', '--model', 'tiny', '--caption', 'x', '--out', {str(tmp_path / 'out')!r}]))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert made.returncode == 2
    assert "animeshooter-hf[modeling]" in made.stderr
    assert made.stderr.count("\n") == 1


def test_help_of_the_program_lists_every_verb_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from animeshooter_hf.command_line import build_parser\n"
        "text = build_parser('').format_help()\n"
        f"assert all(verb in text for verb in {list(VERBS)})\n"
        "print(sorted({'torch', 'datasets', 'av', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_module_can_be_run_as_a_program() -> None:
    made = subprocess.run([sys.executable, "-m", "animeshooter_hf", "--version"], capture_output=True, text=True)
    assert made.stdout.startswith("animeshooter ")


def test_an_unknown_verb_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["paint"])
    assert stop.value.code == 2
    assert "invalid choice: 'paint'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "--films", "0"], "--films must lie in 1 to 1000, got 0"),
        (["demo", "--seconds", "1"], "--seconds must lie in"),
        (["demo", "--sample", "absent"], "there is no folder absent"),
        (["demo", "--out", "file"], "cannot be written"),
    ],
)
def test_the_demo_refuses_bad_input_with_one_sentence(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
