"""`animeshooter web`: bad options end in one sentence before a model is loaded, and a Space's files are whole."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from animeshooter_hf import __version__
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling import web_command
from animeshooter_hf.modeling.open_pipeline import open_pipeline, place_pipeline


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    web_command.add_arguments(parser)
    return web_command.run(parser.parse_args(words))


def test_a_space_gets_its_three_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--model", "some-lab/fox.v1", "--title", 'The "fox": a studio', "--space-files", str(tmp_path)) == 0
    names = ["README.md", "app.py", "requirements.txt"]
    assert sorted(capsys.readouterr().out.split()) == [str(tmp_path / name) for name in names]
    _, front, body = (tmp_path / "README.md").read_text().split("---\n", 2)
    settings = yaml.safe_load(front)
    assert settings["title"] == 'The "fox": a studio'
    assert (settings["sdk"], settings["app_file"], settings["models"]) == ("gradio", "app.py", ["some-lab/fox.v1"])
    assert "AI-generated" in body
    assert "random weights" not in body
    assert (tmp_path / "requirements.txt").read_text() == f"animeshooter-hf[modeling,web]=={__version__}\n"
    code = (tmp_path / "app.py").read_text()
    compile(code, "app.py", "exec")
    assert re.search(r'serve_space\("some-lab/fox\.v1", title=".+"\)', code)


def test_a_space_of_the_toy_model_says_that_its_weights_are_random(tmp_path: Path) -> None:
    run("--model", "tiny", "--space-files", str(tmp_path))
    readme = (tmp_path / "README.md").read_text()
    assert "**random weights**" in readme
    assert "models:" not in readme


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--model", "/a/folder", "--space-files", "DIR"), "needs a model on the Hub"),
        (("--model", 'a/b"; import os', "--space-files", "DIR"), "needs a model on the Hub"),
        (("--model", "a/b", "--title", "two\nlines", "--space-files", "DIR"), "must be one line"),
        (("--model", "a/b", "--title", " ", "--space-files", "DIR"), "must be one line"),
        (("--model", "tiny", "--port", "0"), "--port must lie in 1 to 65535, got 0"),
        (("--model", "tiny", "--port", "70000"), "--port must lie in 1 to 65535, got 70000"),
    ],
)
def test_bad_options_end_in_one_sentence(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        run(*(word.replace("DIR", str(tmp_path / "space")) for word in words))
    assert not (tmp_path / "space").exists()


def test_files_of_a_space_that_are_there_already_are_kept(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine")
    with pytest.raises(InputError, match=r"holds app\.py already"):
        run("--model", "tiny", "--space-files", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]


def test_a_model_or_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no checkpoint"):
        open_pipeline(str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"'cuda:99' cannot be used here"):
        place_pipeline(open_pipeline("tiny"), "cuda:99")


def test_a_missing_gradio_is_named_before_anything_is_loaded() -> None:
    code = (
        "import argparse, sys; sys.modules['gradio'] = None\n"
        "from animeshooter_hf.modeling import web_command\n"
        "parser = argparse.ArgumentParser(); web_command.add_arguments(parser)\n"
        "try:\n    web_command.run(parser.parse_args(['--model', 'nowhere']))\n"
        "except ImportError as error:\n    print(error, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "The web app needs gradio. Install it with: pip install 'animeshooter-hf[web]' False\n"
