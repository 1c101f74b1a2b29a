"""The dataset's card is filled from the data; it never shows a placeholder, and the Hub can read its head."""

import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard

from animeshooter_hf.cards.column_words import CONFIG_ROWS, column_meaning, leaves
from animeshooter_hf.cards.dataset_card import CardFacts, ConfigFacts, DatasetStatistics, render_dataset_card
from animeshooter_hf.cards.hub_vocabulary import TASKS, check_head
from animeshooter_hf.dataset_builder.build import FILM_FACTS, TOON_FACTS
from animeshooter_hf.dataset_builder.manifest import DatasetManifest, ShardFacts
from animeshooter_hf.dataset_builder.quality.rights import VideoRights
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset_builder"))
from packaging_stories import story

CONFIG = [
    ConfigFacts(name=name, features=features, num_rows={"train": 3}, num_bytes={"train": 99}, download_bytes=50)
    for name, features in CONFIGS.items()
]
STATISTICS = DatasetStatistics.from_stories([story("a"), story("a", 1), story("b")])
EVERYTHING = CardFacts(
    title="Everything | told", summary="All.", licence="other", licence_name="my-licence-1.0", licence_link="LICENSE",
    known_gaps=["No sound."], biases=("Only cats.",), intended_uses=("Cats.",), out_of_scope_uses=("Dogs.",),
    personal_data="None of the films shows a person.", maintenance="The studio keeps it.", tags=["cats"],
    languages=("en", "ja"), annotations_creators="expert-generated", language_creators="crowdsourced",
    source_datasets=["extended"], repo_id="studio/cats", version="1.2.0", date_published="2026-01-31",
    creators=("The studio",), homepage="https://example.org", repository="https://example.org/code",
    contact="rights@example.org", citation="@misc{cats}", is_gated=True, gated_button="I agree",
    gated_fields={"Name": "text", "I agree": "checkbox"}, thumbnail="https://example.org/cat.png", viewer=False,
)  # fmt: skip
PROVENANCE = {
    "stages": {
        "scan": {"version": 3, "settings": {}},
        "script": {"version": 2, "settings": {"annotator": {"prompts": ["ab" * 32]}}},
        "unheard-of": {"version": 1},
    },
    "models": ["truth", "qwen3-vl"],
    "detectors": ["own-3"],
}
RIGHTS = {
    "a": VideoRights(video_id="a", basis="cc", redistributable=True),
    "b": VideoRights(video_id="b", basis="research-exception"),
}


def render(facts: CardFacts | None = None, **more: Any) -> str:
    return render_dataset_card(facts or CardFacts(), CONFIG, STATISTICS, **more)


def head_of(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_head_names_the_configs_and_the_first_is_the_default() -> None:
    data = DatasetCard(render()).data.to_dict()
    assert [config["config_name"] for config in data["configs"]] == list(CONFIGS)
    assert data["configs"][0]["default"] is True
    assert data["license"] == "other"
    assert data["license_name"] == "see-the-source"


def test_statistics_are_counted_and_stand_beside_the_paper() -> None:
    card = render()
    assert "| shots | 12 | 2,200,000 |" in card
    assert "| stories per video | 1.50 | 5.07 |" in card
    assert "| seconds per shot | 0.50 | 3.85 |" in card
    assert "seconds per video" not in card  # nobody has measured the videos


@cache
def combinations() -> tuple[str, ...]:
    """Cards of many kinds: few and many configs, nothing and everything known."""
    configs = [CONFIG[:1], CONFIG[:2], CONFIG, CONFIG[2:3]]
    facts = [CardFacts(), EVERYTHING, TOON_FACTS, FILM_FACTS, replace(EVERYTHING, homepage=None, version=None)]
    known: list[dict[str, Any]] = [
        {},
        {"splits": {"train": ["a", "b", "c"]}, "split_seed": 7, "rights": RIGHTS, "rights_policy": "annotations-only",
         "provenance": PROVENANCE, "skipped": [("a_000_01", "it is short")]},
        {"splits": {"train": ["a"], "test": ["b"]}, "rights": {}, "rights_policy": "full", "provenance": {"stages": {}},
         "skipped": [("a", "b"), ("c", "d")]},
    ]  # fmt: skip
    counted = [STATISTICS, DatasetStatistics(), replace(STATISTICS, shots_of_splits={"train": 12})]
    kinds = list(itertools.product(facts, configs[:1], counted, known))
    kinds += [(one, some, counted[0], known[1]) for one, some in itertools.product(facts[:2], configs[1:])]
    optional = [one.name for one in fields(CardFacts) if not getattr(CardFacts(), one.name)]
    less = [replace(EVERYTHING, **{name: getattr(CardFacts(), name)}) for name in optional]
    kinds += [(one, configs[0], counted[0], known[0]) for one in less]
    return tuple(render_dataset_card(one, some, numbers, **more) for one, some, numbers, more in kinds)


def test_no_card_holds_a_placeholder_an_empty_section_or_a_hole() -> None:
    cards = combinations()
    assert len(cards) > 60
    for card in cards:
        body = card.split("---\n", 2)[2]
        assert not re.search(r"\b(None(?! of the films)|TODO|nan|NaN|undefined|PATH_OR_REPO)\b|More Information", body)
        assert "{{" not in card
        assert "{%" not in card
        assert "\n\n\n" not in card
        assert not re.search(r"[ \t]\n", card)
        blocks = [block for block in re.split(r"\n\n", body.strip()) if block]
        for block, after in itertools.pairwise([*blocks, "# end"]):
            is_empty = block.startswith("#") and after.startswith("#")
            assert not is_empty or level(after) > level(block), f"{block!r} is empty"
            rows = [line for line in block.split("\n") if line.startswith("|")]
            assert len({line.count("|") for line in rows}) <= 1
            assert not rows or len(rows) > 2, "a table without a row"


def level(heading: str) -> int:
    return len(heading) - len(heading.lstrip("#"))


def test_the_code_of_every_card_is_python_that_names_splits_that_are_there() -> None:
    for card in combinations():
        blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        assert blocks
        for block in blocks:
            compile(block, "card", "exec")
            assert set(re.findall(r'split="(\w+)"', block)) == {"train"}


def test_the_code_of_a_card_runs_where_its_data_lie(folder: Path, tmp_path: Path) -> None:
    manifest = DatasetManifest.read(folder)
    card = render_dataset_card(CardFacts(), manifest.configs(), DatasetStatistics())
    code = "\n".join(re.findall(r"```python\n(.*?)```", card, re.DOTALL))
    told = code + "\nprint(len(stories), shots.num_rows, frames.shape, len(references))"
    command = [sys.executable, "-c", told]
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert made.returncode == 0, made.stderr[-2000:]
    rows = {config.name: config.num_rows["train"] for config in manifest.configs()}
    last = made.stdout.splitlines()[-1]
    assert last == f"{rows['stories']} {rows['shots']} (12, 48, 64, 3) 2"


def test_every_head_holds_only_what_the_hub_knows_and_comes_back_the_same() -> None:
    for card in combinations()[::3]:
        head = head_of(card)
        check_head(head)
        data = DatasetCard(card).data.to_dict()
        assert {name: value for name, value in data.items() if value is not None} == head
        assert all(head[name] for name in ("license", "language", "pretty_name", "size_categories", "configs"))
        assert set(head["task_categories"]) <= set(TASKS)


def test_everything_that_was_stated_stands_in_the_card() -> None:
    card = render(EVERYTHING, rights=RIGHTS, splits={"train": ["a", "b", "c"]}, split_seed=7, provenance=PROVENANCE)
    body = card.split("---\n", 2)[2]
    for words in (
        "Only cats.", "Cats.", "Dogs.", "No sound.", "The studio keeps it.", "rights@example.org", "@misc{cats}",
        "https://example.org/code", 'here = "studio/cats"', "Version: 1.2.0, published on 2026-01-31",
        "scan (version 3) decodes", "script (version 2) asks", "unheard-of (version 1).", "asked: qwen3-vl.",
        "own-3", "`abababababababab`", "The seed is 7.", "published under my-licence-1.0 (LICENSE).",
        "| under a Creative Commons licence | 1 | 1 |", "| unknown, which is no permission | 1 | 0 |",
    ):  # fmt: skip
        assert words in body, words
    head = head_of(card)
    assert head["extra_gated_fields"] == {"Name": "text", "I agree": "checkbox"}
    assert head["multilinguality"] == ["multilingual"]
    assert head["viewer"] is False
    assert "settings" not in body.replace("the settings of", "")


def test_prompts_are_not_told_where_no_model_was_asked() -> None:
    card = render(provenance={**PROVENANCE, "models": ["truth"]})
    assert "ab" * 8 not in card
    assert "Models" not in card


def test_only_a_gated_dataset_asks_for_agreement() -> None:
    assert "extra_gated" not in render()
    assert head_of(render(CardFacts(is_gated=True)))["extra_gated_prompt"].startswith("The videos behind")


def test_every_column_of_every_config_has_a_line_of_meaning() -> None:
    card = render()
    for config in CONFIG:
        assert config.name in CONFIG_ROWS
        for path, _ in leaves(config.features):
            assert column_meaning(config.name, path), f"{config.name}.{path}"
            assert f"| `{path}` |" in card


def test_the_facts_go_into_the_manifest_and_come_back_the_same(tmp_path: Path) -> None:
    assert CardFacts(**json.loads(json.dumps(asdict(EVERYTHING)))) == EVERYTHING
    shard = ShardFacts(path="stories/train-00000-of-00001.parquet", num_rows=1, num_bytes=1, sha256="0" * 64)
    DatasetManifest(shards=(shard,), splits={"train": ["a"]}, card=EVERYTHING).write(tmp_path)
    assert DatasetManifest.read(tmp_path).card == EVERYTHING


def test_a_card_needs_a_config() -> None:
    with pytest.raises(ValueError, match="at least one config"):
        render_dataset_card(CardFacts(), [], DatasetStatistics())


def test_a_text_where_a_list_is_due_is_refused() -> None:
    with pytest.raises(ValueError, match="tags must be a list of texts"):
        CardFacts(tags="cats")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (CardFacts(licence="my-own"), "'license' of the dataset card must be one of apache-2.0"),
        (CardFacts(licence="other", licence_name=None), "needs a name"),
        (CardFacts(licence="other", licence_name="My Licence"), "small letters"),
        (CardFacts(languages=("english",)), "ISO 639"),
        (CardFacts(annotations_creators="me"), "must be one of found"),
        (CardFacts(source_datasets=("somewhere",)), "'original', 'extended' or repositories"),
        (CardFacts(is_gated=True, gated_fields={"Name": "essay"}), "must ask for text"),
        (CardFacts(title=""), "'pretty_name' of the dataset card is empty"),
    ],
)
def test_a_value_that_the_hub_does_not_know_is_refused(facts: CardFacts, words: str) -> None:
    with pytest.raises(InputError, match=words):
        render(facts)


def test_a_field_or_a_subtask_that_the_hub_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match="no field 'licence'"):
        check_head({"licence": "mit"})
    with pytest.raises(InputError, match="'instance-segmentation' belongs to none"):
        check_head({"task_categories": ["text-to-video"], "task_ids": ["instance-segmentation"]})
