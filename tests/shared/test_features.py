"""The typed features survive the README and the arrow metadata, argument for argument."""

import pytest
from datasets import Features

from animeshooter_hf.features import CONFIG_NAMES, CONFIGS


def test_the_default_config_comes_first() -> None:
    assert CONFIG_NAMES == ("stories", "shots", "references", "audio")


@pytest.mark.parametrize("config", CONFIG_NAMES)
def test_features_survive_yaml_and_arrow(config: str) -> None:
    features = CONFIGS[config]
    assert Features._from_yaml_list(features._to_yaml_list()) == features
    assert Features.from_arrow_schema(features.arrow_schema) == features


def test_stories_hold_no_media() -> None:
    assert not any(word in str(CONFIGS["stories"]) for word in ("Video", "Audio(", "Image"))
