"""What a judge is shown: orders, names, contact sheets, references and words."""

import io
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.grid import PictureSettings, draw_sheet, fit_long_side, sent_picture
from animeshooter_hf.eval.judge.order import is_balanced, latin_orders, position_label
from animeshooter_hf.eval.judge.prompts import prompt_text, prompts_hash
from animeshooter_hf.eval.judge.story_pictures import story_pictures
from animeshooter_hf.eval.story_prediction import StoryPrediction


def frame(colour: int, height: int = 96, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_in_k_rounds_every_system_stands_once_at_every_position(count: int) -> None:
    orders = latin_orders(count, count)
    assert all(sorted(order) == list(range(count)) for order in orders)
    places = Counter((system, position) for order in orders for position, system in enumerate(order))
    assert set(places.values()) == {1}
    assert len(places) == count * count


def test_only_whole_turns_of_the_square_are_balanced() -> None:
    assert [is_balanced(3, rounds) for rounds in (1, 2, 3, 6)] == [False, False, True, True]


def test_a_square_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        latin_orders(0, 3)


def test_names_are_neutral_and_never_run_out() -> None:
    assert [position_label(number) for number in (0, 1, 25, 26, 701, 702)] == [
        "Model_A", "Model_B", "Model_Z", "Model_AA", "Model_ZZ", "Model_AAA",
    ]  # fmt: skip


def test_a_sheet_has_a_row_per_shot_and_gutters_between() -> None:
    sheet = draw_sheet([[frame(10), frame(20), frame(30)], [frame(40), frame(50), frame(60)]])
    assert sheet.shape == (96 * 2 + 4, 160 * 3 + 8, 3)
    assert [int(sheet[row, column, 0]) for row in (0, 100) for column in (0, 164, 328)] == [10, 20, 30, 40, 50, 60]
    assert (sheet[96:100] == 128).all()
    assert (sheet[:, 160:164] == 128).all()


def test_large_frames_are_shrunk_to_the_cell_and_small_ones_are_not_enlarged() -> None:
    assert fit_long_side(frame(9, 480, 720), 512).shape == (341, 512, 3)
    assert fit_long_side(frame(9, 2000, 20), 512).shape == (512, 5, 3)
    assert fit_long_side(frame(9, 1, 1), 512).shape == (1, 1, 3)


def test_frames_of_different_sizes_are_centred_in_equal_cells() -> None:
    sheet = draw_sheet([[frame(10)], [frame(20, 40, 50)]], PictureSettings(frames_per_shot=1))
    assert sheet.shape == (96 * 2 + 4, 160, 3)
    assert (sheet[100 + 28 : 100 + 68, 55:105] == 20).all()
    assert int((sheet[100:] == 20).all(axis=2).sum()) == 40 * 50


def test_a_shot_with_fewer_frames_leaves_grey_cells() -> None:
    sheet = draw_sheet([[frame(10)], [frame(20), frame(30), frame(40)]])
    assert (sheet[:96, 164:] == 128).all()


@pytest.mark.parametrize(
    "shots",
    [[], [[]], [[frame(1)] * 4], [[np.zeros((4, 4), np.uint8)]], [[np.zeros((4, 4, 3), np.float32)]],
     [[np.zeros((0, 4, 3), np.uint8)]]],
)  # fmt: skip
def test_what_makes_no_sheet_is_refused(shots: list[list[np.ndarray]]) -> None:
    with pytest.raises(ValueError, match=r"frame|shot"):
        draw_sheet(shots)


def test_the_same_pixels_give_the_same_bytes_and_other_pixels_another_hash() -> None:
    first, second = sent_picture(frame(10)), sent_picture(np.asfortranarray(frame(10)))
    assert first == second
    assert first.png() == second.png()
    other = frame(10)
    other[0, 0, 0] = 11
    assert sent_picture(other).digest != first.digest
    with Image.open(io.BytesIO(first.png())) as opened:
        assert (opened.size, opened.mode, opened.info) == ((160, 96), "RGB", {})


def test_a_long_story_gets_several_sheets(drawn: SimpleNamespace) -> None:
    story = drawn.story("fox", shots=("field", "night", "sea") * 5)
    pictures = story_pictures(story, PictureSettings())
    assert pictures.first_shots == (0, 6, 12)
    assert [sheet.height for sheet in pictures.sheets] == [596, 596, 296]


def test_a_shot_of_one_frame_and_a_story_of_one_shot_can_be_shown(drawn: SimpleNamespace) -> None:
    story = StoryPrediction(
        story_id="s", ip_id="fox", shots=(drawn.shot("fox", "sea", 1),), references=(drawn.reference("fox"),)
    )
    assert story_pictures(story, PictureSettings()).sheets[0].height == 96


def test_a_cutout_stands_on_white_and_each_character_is_shown_once(drawn: SimpleNamespace) -> None:
    story = StoryPrediction(
        story_id="s",
        ip_id="two",
        shots=(drawn.shot("fox", "sea", 3),),
        references=(drawn.reference("fox"), drawn.reference("frog"), drawn.reference("witch")),
        reference_characters=("Fox", "Frog", "Fox"),
    )
    references = story_pictures(story, PictureSettings()).references
    assert [name for name, _ in references] == ["Fox", "Frog"]
    assert references[0][1].pixels[0, 0].tolist() == [255, 255, 255]


def test_a_shot_that_cannot_be_read_is_named(drawn: SimpleNamespace) -> None:
    story = replace(drawn.story("fox"), shots=(drawn.shot("fox", "sea"), "not_there.mp4"), scene_ids=())
    with pytest.raises(InputError, match=r"Shot 2 of story fox_0: .*not_there\.mp4"):
        story_pictures(story, PictureSettings())


def test_settings_without_a_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="frames_per_shot"):
        PictureSettings(frames_per_shot=0)


@pytest.mark.parametrize("protocol", ["pointwise", "pairwise", "paper"])
def test_every_prompt_is_filled_and_hashed(protocol: str) -> None:
    values = {"frames_per_shot": 3} | (
        {"num_systems": 2, "labels": "Model_A and Model_B"} if protocol == "paper" else {}
    )
    text = prompt_text(protocol, **values)
    assert "{" not in text
    assert all(name in text for name in ("OQ", "CRC", "MSC", "MCC"))
    assert len(prompts_hash(protocol)) == 12


def test_a_value_without_a_place_in_the_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for colour"):
        prompt_text("pointwise", colour="red")
