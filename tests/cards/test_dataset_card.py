"""The dataset's card is filled from the data; it never shows a placeholder, and the Hub can read its head."""

import sys
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from animeshooter_hf.cards.dataset_card import CardFacts, ConfigFacts, DatasetStatistics, render_dataset_card
from animeshooter_hf.features import CONFIGS

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset_builder"))
from packaging_stories import story

CONFIG = [
    ConfigFacts(name=name, features=features, num_rows={"train": 3}, num_bytes={"train": 99}, download_bytes=50)
    for name, features in CONFIGS.items()
]


def render(facts: CardFacts | None = None) -> str:
    statistics = DatasetStatistics.from_stories([story("a"), story("a", 1), story("b")])
    return render_dataset_card(facts or CardFacts(), CONFIG, statistics)


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


def test_no_placeholder_is_ever_printed() -> None:
    card = render(CardFacts(known_gaps=["No sound."], licence="apache-2.0"))
    for word in ("More Information", "TODO", "None", "{{", "}}"):
        assert word not in card
    assert "- No sound." in card


def test_a_card_needs_a_config() -> None:
    with pytest.raises(ValueError, match="at least one config"):
        render_dataset_card(CardFacts(), [], DatasetStatistics())
