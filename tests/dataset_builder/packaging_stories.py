"""Stories and a small film for the tests of packaging and loading."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf import AudioAnnotation, Character, ReferenceMask, Scene, Shot, Story
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import make_shot_id, make_story_id
from animeshooter_hf.video import write_video

RATE = Fraction(24)
SHOT_FRAMES = 12
MASK = np.zeros((48, 64), bool)
MASK[10:30, 20:40] = True


def frame(number: int) -> NDArray[np.uint8]:
    """A frame whose brightness tells its number, up to 60."""
    image = np.full((48, 64, 3), 10 + 4 * number, np.uint8)
    image[:4, :, 0] = 250
    return image


def film(folder: Path, video_id: str, num_frames: int = 48) -> Path:
    """Write a film of `num_frames` frames with a click every half second."""
    audio = np.zeros((1, num_frames * 44_100 // 24), np.float32)
    audio[:, :: 44_100 // 2] = 0.9
    return write_video(folder / f"{video_id}.mp4", [frame(n) for n in range(num_frames)], RATE, audio=audio, crf=10)


def story(video_id: str, segment: int = 0, num_shots: int = 4) -> Story:
    """A story whose shots last `SHOT_FRAMES` frames each; the even ones have sound."""
    story_id = make_story_id(video_id, segment)
    shots = [
        Shot(
            shot_id=make_shot_id(story_id, index), index=index,
            start_frame=index * SHOT_FRAMES, end_frame=(index + 1) * SHOT_FRAMES,
            start_seconds=index * 0.5, end_seconds=(index + 1) * 0.5,
            characters=("Mia",), scene="Park", narrative_caption=f"Mia does {index}.",
            descriptive_caption=f"Somebody is seen doing thing number {index}.",
            audio=AudioAnnotation(audio_type="click") if index % 2 == 0 else None,
        )
        for index in range(num_shots)
    ]  # fmt: skip
    return Story(
        video_id=video_id, story_id=story_id, frame_rate=RATE, start_frame=0, end_frame=num_shots * SHOT_FRAMES,
        storyline="A day of Mia.", characters=(Character(id="Mia", appearance="grey"),),
        scenes=(Scene(id="Park", environment="grass"),), shots=shots,
        references=[
            ReferenceMask(character_id="Mia", frame_index=index, mask=RleMask.from_array(MASK)) for index in (5, 20)
        ],
    )  # fmt: skip


class Films:
    """A folder of films, as a media source."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def video_path(self, video_id: str) -> Path | None:
        path = self.folder / f"{video_id}.mp4"
        return path if path.exists() else None
