"""The cards and demos of the metrics: complete, up to date, true to the code. Their examples run in hf_session.py."""

import json
import subprocess
import sys
from collections.abc import Callable
from configparser import RawConfigParser
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from PIL import Image

from animeshooter_hf.cards.metric_card import METRIC_FOLDERS, fill_card, fill_cards, main
from animeshooter_hf.cards.metric_words import METRIC_NUMBERS
from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.metric_app import build_app, rank_votes, score_files
from animeshooter_hf.eval.metrics import METRICS
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.optional import MissingExtraError
from animeshooter_hf.video import write_video

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = (
    "## Description",
    "## How to use",
    "### Inputs",
    "### Output values",
    "## Formula and source",
    "## Controls",
    "### Measured by us",
    "### From popular papers",
    "## Limitations and bias",
    "## Citation",
)


def card(name: str) -> str:
    return (ROOT / "eval" / name / "README.md").read_text(encoding="utf-8")


def test_every_metric_has_a_folder_with_all_that_a_space_needs() -> None:
    assert set(METRIC_FOLDERS) == {*METRICS, "story_preference"}
    for name in METRIC_FOLDERS:
        files = {path.name for path in (ROOT / "eval" / name).iterdir() if path.is_file()}
        assert files >= {f"{name}.py", "README.md", "requirements.txt", "app.py", "__init__.py"}
        imports = [line for line in (ROOT / "eval" / name / f"{name}.py").read_text().splitlines() if "import" in line]
        assert len(imports) == 1
        assert imports[0].startswith("from animeshooter_hf.eval.hf_modules import ")
        assert f'build_app("{name}")' in (ROOT / "eval" / name / "app.py").read_text()


@pytest.mark.parametrize("name", METRIC_FOLDERS)
def test_a_card_is_up_to_date_and_has_every_section(name: str) -> None:
    text = card(name)
    assert fill_card(text, name) == text, "run python -m animeshooter_hf.cards.metric_card eval"
    parts = ["numbers", "citation", *(("inputs", "outputs", "backbones") if name in METRICS else ())]
    assert [part for part in parts if f"<!-- {part} -->\n" not in text] == []
    assert [section for section in SECTIONS if section not in text] == []


@pytest.mark.parametrize("name", METRIC_FOLDERS)
def test_the_head_of_a_card_is_that_of_a_space(name: str) -> None:
    head = yaml.safe_load(card(name).split("---\n")[1])
    assert (head["sdk"], head["app_file"]) == ("gradio", "app.py")
    assert head["tags"] == ["evaluate", "comparison" if name == "story_preference" else "metric"]
    config = RawConfigParser()
    config.read(ROOT / "setup.cfg")
    low, high = config["options.extras_require"]["web"].strip().removeprefix("gradio>=").split(",<")
    version = [int(part) for part in head["sdk_version"].split(".")]
    assert [int(part) for part in low.split(".")] <= version < [int(high)]
    assert head["python_version"] >= config["options"]["python_requires"].removeprefix(">=")


def test_every_number_of_every_metric_has_its_words() -> None:
    for name, (module, class_name) in METRICS.items():
        directions = getattr(import_module(module), class_name).directions
        assert set(METRIC_NUMBERS[name]) == set(directions), name
        text = card(name)
        for number in directions:
            assert f"| `{number}` |" in text, (name, number)


def test_a_card_of_no_metric_and_an_unknown_part_are_refused() -> None:
    with pytest.raises(InputError, match="no metric 'colours'"):
        fill_card("", "colours")
    with pytest.raises(InputError, match="no generated part 'jokes'"):
        fill_card("<!-- jokes -->\n<!-- /jokes -->", "shot_controls")


def test_cards_that_are_out_of_date_are_filled_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in METRIC_FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(card(name), encoding="utf-8")
    old = card("shot_controls").replace("| `static` | `residual", "| `still` | `residual")
    (tmp_path / "shot_controls" / "README.md").write_text(old, encoding="utf-8")
    assert main([str(tmp_path)]) == 0
    assert "Changed: shot_controls." in capsys.readouterr().err
    assert fill_cards(tmp_path) == []
    assert (tmp_path / "shot_controls" / "README.md").read_text(encoding="utf-8") == card("shot_controls")


@pytest.fixture(scope="module")
def files(drawn: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("files")
    for number, place in enumerate(("field", "night")):
        write_video(folder / f"{number}.mp4", drawn.shot("fox", place), Fraction(12))
    Image.fromarray(drawn.reference("fox")).save(folder / "fox.png")
    return SimpleNamespace(shots=[str(folder / "0.mp4"), str(folder / "1.mp4")], references=[str(folder / "fox.png")])


def test_the_demo_shows_the_numbers_of_evaluate_stories(files: SimpleNamespace, tmp_path: Path) -> None:
    rows, table = score_files("reference_fidelity", files.shots, files.references)
    row = {"story_id": "story", "shots": files.shots, "references": files.references}
    (tmp_path / "story.json").write_text(json.dumps([row]))
    results = evaluate_stories(read_predictions(tmp_path / "story.json"), "reference_fidelity", draws=0)
    values = results.stories["story"]["reference_fidelity"].values
    assert {name: value for name, value, _ in rows} == {
        name: value for name, value in values.items() if value is not None
    }
    assert ["mean", values["mean"], "higher"] in rows
    assert "story" in table


def test_the_demo_takes_the_rest_of_the_story_as_json(files: SimpleNamespace) -> None:
    more = json.dumps({"scene_ids": ["a", "b"], "story_id": "mine", "captions": ["one", "two"]})
    rows, table = score_files("cross_shot_consistency", files.shots, [], more=more, backend=" classical ")
    assert "pairwise" in {name for name, _, _ in rows}
    assert "mine" in table


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda files: score_files("shot_controls", [], []), "at least one shot"),
        (lambda files: score_files("shot_controls", files.shots, [], more="{"), "is not JSON"),
        (lambda files: score_files("shot_controls", files.shots, [], more='{"shots": []}'), "without shots"),
        (lambda files: score_files("shot_controls", files.shots, [], more='{"colour": 1}'), "Unknown key 'colour'"),
        (lambda files: score_files("shot_controls", files.shots, [], backend="oracle"), "no backend 'oracle'"),
        (lambda files: score_files("text_alignment", files.shots, [], backend="classical"), "reads text"),
        (lambda files: rank_votes("gone.csv"), "cannot be read"),
        (lambda files: build_app("colours"), "no metric 'colours'"),
    ],
)
def test_the_demo_refuses_in_a_sentence(
    call: Callable[[SimpleNamespace], Any], words: str, files: SimpleNamespace
) -> None:
    with pytest.raises(InputError, match=words):
        call(files)


def test_votes_from_a_csv_file_are_ranked(tmp_path: Path) -> None:
    votes = tmp_path / "votes.csv"
    votes.write_text("left,right,answer,rater\na,b,left,x\nb,a,right,y\na,b,tie,y\nb,a,left,x\na,b,left,z\n")
    rows, words = rank_votes(str(votes))
    assert [row[0] for row in rows] == ["a", "b"]
    assert "5 votes of 3 raters, 20% ties" in words
    for text, reason in (
        ("left,right\na,b\n", "columns must be"),
        ("left,right,answer,colour\na,b,tie,red\n", "columns must be"),
        ("left,right,answer\na,b,maybe\n", "Line 2"),
        ("left,right,answer\n", "no vote"),
        ("left,right,answer\na,b,tie,more\n", "columns must be"),
    ):
        votes.write_text(text)
        with pytest.raises(InputError, match=reason):
            rank_votes(str(votes))


@pytest.mark.parametrize("name", METRIC_FOLDERS)
def test_the_page_of_each_metric_can_be_built(name: str) -> None:
    if find_spec("gradio") is None:
        with pytest.raises(MissingExtraError, match="web"):
            build_app(name)
        pytest.skip("gradio is not installed (extra `web`)")
    page = build_app(name)
    labels = [block.label for block in page.blocks.values() if getattr(block, "label", None)]
    assert labels[-1] == ("Votes" if name == "story_preference" else "Table")


def test_neither_cards_nor_the_demo_load_torch_or_evaluate() -> None:
    script = (
        "import sys; import animeshooter_hf.cards.metric_card as c; import animeshooter_hf.eval.metric_app; "
        "c.fill_card('<!-- backbones -->\\n<!-- /backbones -->', 'shot_controls'); "
        "sys.exit(int(bool({'torch', 'evaluate', 'transformers', 'gradio'} & set(sys.modules))))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
