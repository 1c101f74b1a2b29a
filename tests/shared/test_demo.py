"""The demo does everything once, from films to the page, and the README's snippets run on what it made."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.command_line import main
from animeshooter_hf.demo import DemoSettings, run_demo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo: two films of 10 seconds, a story of two shots."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    assert run_demo(DemoSettings(out=folder, films=2, seconds=10, shots=2)) == 0
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


def test_three_figures_are_told(out: Path) -> None:
    assert len(json.loads((out / "figures.json").read_text())["headline"]) == 3


def test_random_weights_are_said_on_the_page_and_in_the_films(out: Path) -> None:
    assert "random" in (out / "index.html").read_text()
    contact = json.loads((out / "generated" / "contact.json").read_text())
    assert contact["provenance"]["weights_origin"] == "random"


def test_a_finished_demo_does_no_step_again(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert main(["demo", "--out", str(out), "--films", "2", "--seconds", "10", "--shots", "2"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    output = capsys.readouterr()
    assert output.err.count("done before") == 14
    assert str(out / "index.html") in output.out


def test_the_snippets_of_the_readme_run(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(snippets) == 4
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "out").symlink_to(out)
    monkeypatch.chdir(tmp_path)
    assert np.asarray(Image.open(next((out / "references").glob("*.png")))).shape[2] == 4
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})
