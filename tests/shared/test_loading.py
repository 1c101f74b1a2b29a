"""The joined view decodes what is touched, and finds every frame, reference and sound."""

import sys
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf import load_stories
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset_builder"))
from packaging_stories import MASK, SHOT_FRAMES, Films, film, story


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loading")
    film(root, "v")
    write_dataset(root / "data", [story("v"), story("v", 1)], media=Films(root))
    return root / "data"


def test_stories_come_back_as_records_in_order(folder: Path) -> None:
    view = load_stories(folder)
    assert [item.story for item in view] == [story("v"), story("v", 1)]
    assert len(view) == 2
    assert view[1:][0].story == view.find("v_001").story


def test_any_frames_of_any_shot_can_be_read(folder: Path) -> None:
    item = load_stories(folder)[1]
    frames = item.frames(2, 3, 6)
    assert [round((float(image[20:].mean()) - 10) / 4) for image in frames] == [27, 28, 29]
    assert item.num_frames(2) == SHOT_FRAMES
    np.testing.assert_array_equal(item.sample_frames(2, [5, 3])[0], frames[2])


def test_references_come_with_their_masks(folder: Path) -> None:
    references = load_stories(folder)[0].references("Mia")
    assert [reference.frame_index for reference in references] == [5, 20]
    for reference in references:
        np.testing.assert_array_equal(reference.mask, MASK)
        np.testing.assert_array_equal(reference.cutout[..., 3] > 0, MASK)
    assert load_stories(folder)[0].references("Nobody") == []


def test_sound_is_there_where_it_is_annotated(folder: Path) -> None:
    item = load_stories(folder)[0]
    assert [item.has_audio(index) for index in range(4)] == [True, False, True, False]
    sound, rate = item.audio(2)
    assert sound.shape[1] == rate // 2
    with pytest.raises(InputError, match="no audio of shot v_000_01"):
        item.audio(1)


def test_media_that_is_not_asked_for_is_not_joined(folder: Path) -> None:
    item = load_stories(folder, media=())[0]
    assert item.references() == []
    with pytest.raises(InputError, match="no video of shot"):
        item.frames(0)


def test_what_cannot_be_opened_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no dataset folder"):
        load_stories(tmp_path / "absent")
    with pytest.raises(InputError, match="no dataset of ours"):
        load_stories(tmp_path)
    with pytest.raises(InputError, match=r"no split 'dev'\. Its splits: train"):
        load_stories(folder, split="dev")
    with pytest.raises(ValueError, match="media must be some of"):
        load_stories(folder, media=("smell",))
    with pytest.raises(InputError, match="There is no story nobody"):
        load_stories(folder).find("nobody")
