"""A dataset folder as it is written, for the tests of what stands beside the data."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from animeshooter_hf.cards.dataset_facts import CardFacts
from animeshooter_hf.dataset_builder.package import SplitSettings, write_dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset_builder"))
from packaging_stories import Films, film, story


@pytest.fixture(scope="session")
def facts() -> CardFacts:
    return CardFacts(
        licence="apache-2.0", version="1.0.0", date_published="2026-01-31", creators=("A studio",),
        repo_id="studio/cats", homepage="https://example.org",
    )  # fmt: skip


@pytest.fixture(scope="session")
def folder(facts: CardFacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of twelve videos in two splits, two of them with media."""
    root = tmp_path_factory.mktemp("croissant")
    (root / "films").mkdir()
    film(root / "films", "v01")
    film(root / "films", "v11")
    stories = [story(f"v{number:02d}") for number in range(12)]
    stories[3] = replace(stories[3], characters=(), scenes=(), shots=(), references=(), frame_rate=None)
    splits = SplitSettings(test=0.25, validation=0)
    write_dataset(root / "ds", stories, media=Films(root / "films"), splits=splits, facts=facts, progress=False)
    return root / "ds"
