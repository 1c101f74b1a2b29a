"""A build that asks a model: real HTTP on loopback, faults, budgets, batches; and nothing that was paid for twice."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from datasets import load_dataset
from endpoint_stub import start_stub
from toon_model import toon_answers

from animeshooter_hf import Story, load_stories
from animeshooter_hf.command_line import main
from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig
from animeshooter_hf.dataset_builder.build import build_dataset
from animeshooter_hf.dataset_builder.build_settings import BuildSettings
from animeshooter_hf.dataset_builder.stages.answering import AnnotatorConfig
from animeshooter_hf.dataset_builder.stages.clips import MediaPolicy
from animeshooter_hf.toon import FilmSettings, ToonFilm, render_film

RATE = 12
SETTINGS = FilmSettings(
    width=160,
    height=90,
    seconds=14,
    frame_rate=Fraction(RATE),
    mean_shot_seconds=2.5,
    trap_share=0,
    cut_share=1,
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_film(ToonFilm.from_seed(21, SETTINGS), tmp_path_factory.mktemp("film") / "toon-0021.mp4")


def settings(url: str, *, media: MediaPolicy = "none", **model: object) -> BuildSettings:
    config = ModelConfig(kind="openai", model="toon", base_url=url, needs_key=False, **model)  # type: ignore[arg-type]
    return BuildSettings(annotator=AnnotatorConfig(kind="model", model=config), media=media)


def told(film: Path) -> Story:
    return Story.from_json(json.loads(film.with_name("toon-0021.script.json").read_text())["stories"][0])


def test_a_model_that_sees_the_cuts_gives_exact_shots_and_a_second_build_asks_nothing(
    film: Path, tmp_path: Path
) -> None:
    with start_stub(toon_answers(film), faults=[429, "fence", 503]) as stub:
        told_to = settings(stub.url, media="full")
        report = build_dataset([film], tmp_path / "data", settings=told_to, progress=False)
        asked = len(stub.log)
        tokens = stub.usage_total
    truth = told(film)
    (item,) = load_stories(tmp_path / "data")
    assert [(s.start_frame, s.end_frame, s.caption) for s in item.shots] == [
        (s.start_frame, s.end_frame, s.caption) for s in truth.shots
    ]
    assert item.story.rating == "general"
    assert report.counts("references")["kept"] > 0
    assert report.calls["total"]["prompt_tokens"] + report.calls["total"]["output_tokens"] == (
        tokens.prompt_tokens + tokens.output_tokens
    )
    assert report.calls["total"]["calls"] == asked - 2  # the 429 and the 503 were no answers
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["provenance"]["models"] == ["toon-stub"]
    # The server is gone now: whatever was asked would fail.
    again = build_dataset([film], tmp_path / "data", settings=told_to, overwrite=True, progress=False)
    assert (sum(again.run.done.values()), again.run.reused) == (0, 8)
    assert again.calls["total"]["calls"] == report.calls["total"]["calls"]


def test_a_changed_prompt_setting_asks_only_for_what_depends_on_it(film: Path, tmp_path: Path) -> None:
    with start_stub(toon_answers(film)) as stub:
        first = settings(stub.url)
        build_dataset([film], tmp_path / "data", settings=first, progress=False)
        references = replace(first.references, max_per_character=2)
        report = build_dataset(
            [film], tmp_path / "data", settings=replace(first, references=references), overwrite=True, progress=False
        )
    assert dict(report.run.done) == {"references": 1, "clips": 1}


def test_a_budget_stops_the_calls_and_a_larger_one_goes_on_where_it_was(film: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    price = {"model": "toon", "prompt": 1000.0, "output": 1000.0, "source": "made up", "date": "2026-01-01"}
    prices.write_text(json.dumps({"currency": "USD", "note": "", "prices": [price]}))
    with start_stub(toon_answers(film)) as stub:
        poor = settings(stub.url, budget_money=0.01, price_file=str(prices), in_flight=1)
        report = build_dataset([film], tmp_path / "data", settings=poor, progress=False)
        assert report.dataset is None
        assert not (tmp_path / "data").exists()
        assert "budget" in report.waiting["toon-0021"]
        rich = settings(stub.url, budget_money=1e6, price_file=str(prices))
        done = build_dataset([film], tmp_path / "data", settings=rich, progress=False)
        assert done.dataset is not None
        assert done.calls["total"]["money"] > 0


def test_questions_can_go_through_batch_files(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = toon_answers(film)
    words = ["build", str(film), "--out", str(tmp_path / "data"), "--annotator", "model", "--model", "toon", "--batch"]
    words += ["--base-url", "http://127.0.0.1:9/v1", "--json", "--workers", "1", "--media", "none"]
    asked = 0
    for round_number in range(8):
        status = main(words)
        summary = json.loads(capsys.readouterr().out)
        if status == 0:
            break
        assert "batch" in summary["waiting"]["toon-0021"]
        (requests,) = sorted((tmp_path / ".data.work" / "batch").glob("requests-*.jsonl"))
        asked += len(requests.read_text().splitlines())
        results = tmp_path / f"results-{round_number}.jsonl"
        with results.open("w") as file:
            for line in requests.read_text().splitlines():
                row = json.loads(line)
                body = {
                    "model": "toon",
                    "choices": [{"finish_reason": "stop", "message": {"content": answer(row["body"])}}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 5},
                }
                file.write(
                    json.dumps({"custom_id": row["custom_id"], "response": {"status_code": 200, "body": body}}) + "\n"
                )
        model = ["--model", "toon", "--batch"]
        assert main(["build", "pour", str(tmp_path / ".data.work"), str(results), *model]) == 0
        capsys.readouterr()
    assert status == 0
    assert asked == summary["calls"]["total"]["calls"] - summary["calls"]["total"]["from_cache"]
    assert len(load_dataset(str(tmp_path / "data"), split="train", cache_dir=str(tmp_path / "cache"))) == 1


def test_a_film_without_a_script_needs_a_model_and_says_so(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone.mp4"
    shutil.copy(film, alone)
    assert main(["build", str(alone), "--out", str(tmp_path / "data")]) == 2
    assert "no model is named" in capsys.readouterr().err


def test_a_dry_run_counts_hours_questions_and_tokens_and_asks_nobody(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", str(film), "--out", str(tmp_path / "data"), "--annotator", "model", "--model", "gpt-5-mini"]
    words += ["--base-url", "http://127.0.0.1:9/v1", "--dry-run"]
    assert main([*words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["films"] == 1
    assert plan["film_hours"] == pytest.approx(14 / 3600, rel=1e-3)
    assert plan["todo"]["scan"] == 1
    assert plan["decode_hours"] > 0
    script = next(one for one in plan["questions"] if one["name"] == "script")
    assert script["calls"] == 1
    assert script["prompt_tokens"] > 1000
    assert script["money"] > 0
    assert main(words) == 0
    assert "core hours" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()
    assert not list((tmp_path / ".data.work").glob("scan/*"))


@pytest.mark.parametrize("mode", ["cuts", "clock"])
def test_a_careless_annotator_costs_no_film_and_every_shot_still_lies_where_it_is(
    film: Path, tmp_path: Path, mode: str
) -> None:
    noisy = BuildSettings(annotator=AnnotatorConfig(kind="noisy", noise=0.15, noise_seed=3, mode=mode), media="none")  # type: ignore[arg-type]
    report = build_dataset([film], tmp_path / "data", settings=noisy, progress=False)
    (item,) = load_stories(tmp_path / "data")
    assert sum(report.counts("script", "issue_counts").values()) > 0
    cuts = {s.start_frame for s in told(film).shots}
    assert item.shots[0].start_frame == 0
    assert item.shots[-1].end_frame == told(film).end_frame
    assert {s.start_frame for s in item.shots} <= cuts


def test_settings_of_a_file_and_options_over_them_are_one(film: Path, tmp_path: Path) -> None:
    config = tmp_path / "build.yaml"
    config.write_text("media: none\nannotator:\n  kind: truth\nquality:\n  duplicates: report\nrun:\n  slots: 1\n")
    words = ["build", str(film), "--out", str(tmp_path / "data"), "--config", str(config), "--duplicates", "off"]
    assert main(words) == 0
    report = json.loads((tmp_path / "data" / "build_report.json").read_text())
    assert report["rows"] == {"stories": {"train": 1}}
    config.write_text("annotator:\n  kindd: truth\n")
    assert main(words) == 2
