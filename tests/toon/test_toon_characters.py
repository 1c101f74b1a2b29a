import itertools
from random import Random

import numpy as np
import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.toon import ATTRIBUTES, ToonCharacter, ToonStyle, character_reference, is_held_out
from animeshooter_hf.toon.attributes import HELD_OUT_ATTRIBUTES, draw_character


def test_a_character_has_at_least_twelve_attributes() -> None:
    assert len(ATTRIBUTES) >= 12
    assert all(len(values) >= 3 for values in ATTRIBUTES.values())


def test_a_character_survives_its_json_form() -> None:
    character = draw_character(Random(3), "Momo")
    assert ToonCharacter.from_json("Momo", character.to_json()) == character


def test_the_appearance_names_body_and_clothes() -> None:
    text = ToonCharacter(id="Momo", body_colour="teal", hat="crown", accessory="glasses").appearance
    assert "teal" in text
    assert "crown" in text
    assert "glasses" in text


@pytest.mark.parametrize("values", [{"hat": "helmet"}, {"id": ""}])
def test_an_unknown_attribute_value_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        ToonCharacter(**{"id": "Momo", **values})


def test_an_unknown_attribute_is_refused() -> None:
    with pytest.raises(ValueError, match="wings"):
        ToonCharacter.from_json("Momo", {"wings": "two"})


def test_about_fifteen_percent_of_the_combinations_are_held_out() -> None:
    combinations = list(itertools.product(*(ATTRIBUTES[name] for name in HELD_OUT_ATTRIBUTES)))
    held_out = [
        values
        for values in combinations
        if is_held_out(ToonCharacter(id="Momo", **dict(zip(HELD_OUT_ATTRIBUTES, values, strict=True))))
    ]
    assert 0.12 < len(held_out) / len(combinations) < 0.18
    for position, name in enumerate(HELD_OUT_ATTRIBUTES):
        assert {values[position] for values in held_out} == set(ATTRIBUTES[name])


def test_holding_out_ignores_name_and_colours() -> None:
    first = draw_character(Random(1), "Momo", "held_out")
    second = ToonCharacter.from_json("Tiku", {**first.to_json(), "body_colour": "teal", "eyes": "dot"})
    assert is_held_out(first)
    assert is_held_out(second)


@pytest.mark.parametrize("pool", ["train", "held_out"])
def test_a_pool_gives_only_its_own_characters(pool: str) -> None:
    random = Random(7)
    drawn = [draw_character(random, "Momo", pool) for _ in range(30)]
    assert {is_held_out(character) for character in drawn} == {pool == "held_out"}


def test_an_unknown_pool_is_refused() -> None:
    with pytest.raises(InputError, match="characters"):
        draw_character(Random(0), "Momo", "everybody")


def test_a_reference_is_a_cut_out_on_nothing() -> None:
    picture = character_reference(ToonCharacter(id="Momo", body_colour="teal"), 96)
    assert picture.shape == (96, 96, 4)
    assert picture.dtype == np.uint8
    assert picture[0, 0, 3] == 0
    assert 0.1 < (picture[..., 3] > 127).mean() < 0.8
    assert not picture[..., :3][picture[..., 3] == 0].any()


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_every_value_of_an_attribute_looks_different(name: str) -> None:
    base = {"pattern": "belly", "hat": "cap", "accessory": "scarf", "hair": "tuft", "tail": "stub"}
    seen = set()
    for value in ATTRIBUTES[name]:
        character = ToonCharacter(id="Momo", **{**base, name: value})
        seen.add(character_reference(character, 96).tobytes())
    assert len(seen) == len(ATTRIBUTES[name])


def test_a_whole_character_fits_its_reference() -> None:
    tallest = ToonCharacter(id="Momo", height="tall", body="peanut", feet="long legs", ears="rabbit", hat="wizard")
    for character in (tallest, *(draw_character(Random(seed), "Momo") for seed in range(40))):
        coverage = character_reference(character, 64)[..., 3]
        assert not coverage[0].any()
        assert not coverage[-1].any()
        assert not coverage[:, 0].any()
        assert not coverage[:, -1].any()


def test_the_style_changes_the_reference() -> None:
    character = ToonCharacter(id="Momo")
    thick = ToonStyle(line_width=0.02)
    assert character_reference(character, 96).tobytes() != character_reference(character, 96, thick).tobytes()


def test_a_reference_of_fewer_than_sixteen_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        character_reference(ToonCharacter(id="Momo"), 8)
