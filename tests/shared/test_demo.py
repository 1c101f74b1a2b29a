"""The demo does everything once, from films to the page, and the README's snippets run on what it made."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.command_line import main
from animeshooter_hf.demo import DemoSettings, run_demo
from animeshooter_hf.errors import InputError
from animeshooter_hf.video import read_frames

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo: two films of 10 seconds, a character learned in two steps, a story of two shots."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    assert run_demo(DemoSettings(out=folder, films=2, seconds=10, shots=2, enhance_steps=2)) == 0
    return folder


class Sources(HTMLParser):
    """Collects the addresses that a page asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name == "src" and value]


def test_the_page_shows_only_files_that_are_there(out: Path) -> None:
    page = Sources()
    page.feed((out / "index.html").read_text())
    assert len(page.found) > 8
    assert all((out / source).is_file() for source in page.found)


def test_four_figures_are_told(out: Path) -> None:
    assert len(json.loads((out / "figures.json").read_text())["headline"]) == 4


@pytest.mark.parametrize("name", ["generated", "enhanced"])
def test_the_stories_are_of_the_librarys_trained_model_and_say_so(out: Path, name: str) -> None:
    contact = json.loads((out / name / "contact.json").read_text())
    assert contact["provenance"]["weights_origin"].startswith("trained: ")
    assert contact["notes"] == []
    assert contact["provenance"]["weights_origin"].removeprefix("trained: ") in html.unescape(
        (out / "index.html").read_text()
    )


def test_the_lora_belongs_to_the_packaged_model_and_changes_the_story(out: Path) -> None:
    lora = out / "enhancement" / "lora"
    assert json.loads((lora / "lora.json").read_text())["base_model"] == "toon"
    card = (lora / "README.md").read_text()
    assert 'from_pretrained("toon")' in card
    assert "base_model:" not in card  # the Hub would look for a repository of that name
    shots = [out / name / "shots" / "shot_00.mp4" for name in ("generated", "enhanced")]
    first, second = (np.stack(list(read_frames(shot, range(5)))) for shot in shots)
    assert (first != second).any()


def test_the_true_story_reads_as_itself_and_the_generated_ones_are_read_too(out: Path) -> None:
    reading = json.loads((out / "reading.json").read_text())
    assert reading["truth"]["identity"] == 1
    assert all(0 <= reading[name]["identity"] <= 1 for name in ("generated", "enhanced"))


def test_the_page_shows_reference_clips_truth_and_both_stories(out: Path) -> None:
    page = Sources()
    page.feed((out / "index.html").read_text())
    shown = [Path(source).stem for source in page.found if "report/character_" in source]
    assert shown == [f"character_{name}" for name in ("reference", "clips", "truth", "generated", "enhanced")]
    assert Image.open(out / "report" / "character_truth.png").height == 3 * 64


def test_a_demo_without_enhancement_or_of_a_single_shot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--enhance-steps must lie in 1 to"):
        DemoSettings(out=tmp_path, enhance_steps=0)
    with pytest.raises(InputError, match="--shots must lie in 2 to 64, got 1"):
        DemoSettings(out=tmp_path, shots=1)


def test_a_finished_demo_does_no_step_again(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    small = ["--films", "2", "--seconds", "10", "--shots", "2", "--enhance-steps", "2"]
    assert main(["demo", "--out", str(out), *small]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    output = capsys.readouterr()
    assert output.err.count("done before") == 18
    assert str(out / "index.html") in output.out


def test_the_snippets_of_the_readme_run(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(snippets) == 4
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "out").symlink_to(out)
    monkeypatch.chdir(tmp_path)
    assert np.asarray(Image.open(out / "character" / "reference.png")).shape[2] == 4
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})
