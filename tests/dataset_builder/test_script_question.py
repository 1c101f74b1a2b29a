"""The question of a segment's script: what is shown, what may be answered, and what a re-ask adds."""

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from animeshooter_hf.dataset_builder.annotate.annotator import ScriptRequest
from animeshooter_hf.dataset_builder.annotate.prompts import load_prompt
from animeshooter_hf.dataset_builder.annotate.question import Picture, Text
from animeshooter_hf.dataset_builder.scan.film_scan import SampledFrame
from animeshooter_hf.dataset_builder.script.align import align_script
from animeshooter_hf.dataset_builder.script.question import MAX_PICTURES, THUMBNAIL_SIDE, clock_text, script_question

sys.path.insert(0, str(Path(__file__).parent))

import script_requests as requests


def sample(frame: int, width: int = 640, height: int = 360) -> SampledFrame:
    image = np.full((height, width, 3), 200, np.uint8)
    return SampledFrame(frame=frame, jpeg=cv2.imencode(".jpg", image)[1].tobytes(), phash=0)


def request() -> ScriptRequest:
    return replace(requests.request(), samples=tuple(sample(frame) for frame in range(240, 720, 24)))


def texts(question: object) -> str:
    return "\n".join(part.text for part in question.parts if isinstance(part, Text))  # type: ignore[attr-defined]


def test_by_cuts_each_stretch_between_candidates_has_a_frame_and_shots_name_only_candidates() -> None:
    question = script_question(request())
    assert sum(isinstance(part, Picture) for part in question.parts) == 5
    for line in ("cut 0: 00:00.0", "cut 1: 00:02.9", "cut 4: 00:15.4", "cut 5: 00:20.0"):
        assert line in texts(question)
    shot = question.schema["properties"]["shots"]["items"]  # type: ignore[index]
    assert shot["properties"]["first_cut"]["enum"] == [0, 1, 2, 3, 4]
    assert shot["properties"]["last_cut"]["enum"] == [1, 2, 3, 4, 5]
    assert shot["required"] == list(shot["properties"])


def test_by_the_clock_every_sample_is_shown_with_its_time() -> None:
    question = script_question(request(), mode="clock")
    assert sum(isinstance(part, Picture) for part in question.parts) == 20
    assert "00:19.0:" in texts(question)
    assert "from 00:00 to 00:20" in texts(question)
    shot = question.schema["properties"]["shots"]["items"]["properties"]  # type: ignore[index]
    assert "start time" in shot
    assert "first_cut" not in shot


@pytest.mark.parametrize(("mode", "answer"), [("cuts", requests.by_cuts()), ("clock", requests.by_clock())])
def test_an_answer_of_the_schemas_keys_has_no_unknown_key(mode: str, answer: dict) -> None:
    schema = script_question(request(), mode=mode).schema  # type: ignore[arg-type]
    assert schema is not None
    assert set(schema["required"]) == set(answer)
    for name in ("main characters", "main scenes", "shots"):
        assert set(schema["properties"][name]["items"]["required"]) == set(answer[name][0])
    assert align_script(request(), requests.text(answer)).issues == ()


def test_thumbnails_are_small_and_carry_their_time() -> None:
    question = script_question(request())
    pictures = [part for part in question.parts if isinstance(part, Picture)]
    images = [cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE) for picture in pictures]
    assert all(image is not None and max(image.shape) == THUMBNAIL_SIDE for image in images)
    assert all(image is not None and image[:8, :8].mean() < 100 < image[-8:, -8:].mean() for image in images)
    assert len({picture.jpeg for picture in pictures}) == 5


def test_a_stretch_without_a_sample_says_so_and_very_many_cuts_show_only_some_frames() -> None:
    few = replace(request(), samples=request().samples[:1])
    assert texts(script_question(few)).count("no frame.") == 4
    many = replace(
        requests.request(cuts=tuple(range(242, 720, 2))), samples=tuple(sample(f, 64, 36) for f in range(240, 720, 2))
    )
    question = script_question(many)
    assert sum(isinstance(part, Picture) for part in question.parts) == MAX_PICTURES


def test_a_reask_quotes_the_rules_and_the_last_answer_and_is_another_question() -> None:
    first = script_question(request())
    again = script_question(replace(request(), complaints=("V2: no gap",), last_answer='{"shots": []}'))
    assert "- V2: no gap" in texts(again)
    assert '{"shots": []}' in texts(again)
    assert (first.attempt, again.attempt) == (0, 1)
    assert first.fingerprint() != again.fingerprint()
    assert first.prompt_hash == load_prompt("script_cuts").sha256
    assert again.prompt_hash != first.prompt_hash


def test_the_same_request_is_the_same_question() -> None:
    assert script_question(request()).fingerprint() == script_question(request()).fingerprint()
    assert script_question(request()).fingerprint() != script_question(request(), mode="clock").fingerprint()


def test_another_mode_and_a_sample_that_is_no_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="mode must be"):
        script_question(request(), mode="minutes")  # type: ignore[arg-type]
    broken = SampledFrame(frame=300, jpeg=b"x", phash=0)
    with pytest.raises(ValueError, match="no JPEG"):
        script_question(replace(request(), samples=(broken,)))


def test_a_clock_is_cut_off_and_never_rounded_up() -> None:
    assert clock_text(59.999) == "00:59"
    assert clock_text(60) == "01:00"
    assert clock_text(0.96, 1) == "00:00.9"
