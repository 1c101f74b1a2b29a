"""The question to a verifier says what is needed; its answer is read whatever it looks like, and never by guessing."""

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf import Character, Story
from animeshooter_hf.dataset_builder.annotate.question import Picture, Text
from animeshooter_hf.dataset_builder.references.verify import CRITERIA, make_request, parse_verdict, verify_question
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.video import VideoInfo

INFO = VideoInfo(
    width=64, height=48, frame_rate=Fraction(24), num_frames=9, duration_seconds=0.4, is_variable_rate=False,
    codec="h264", has_audio=False, audio_sample_rate=None,
)  # fmt: skip
CAST = (Character(id="Mia", appearance="A girl in red."), Character(id="Bo", appearance="An old man."))
STORY = Story(video_id="v", story_id="v_000", characters=CAST)
GOOD = dict.fromkeys(CRITERIA, True)


def test_the_question_names_the_character_the_others_and_shows_frame_and_cut_out() -> None:
    image = np.full((48, 64, 3), 90, np.uint8)
    mask = np.zeros((48, 64), bool)
    mask[10:40, 20:50] = True
    film = FilmSource(video_id="v", path=Path("v.mp4"), info=INFO)
    question = verify_question(make_request(film, STORY, CAST[0], 3, image, mask))
    text, frame, cutout = question.parts
    assert isinstance(text, Text)
    assert '"Mia"' in text.text
    assert "A girl in red." in text.text
    assert "Bo (An old man.)" in text.text
    assert "$" not in text.text
    assert all(f"- {name}:" in text.text for name in CRITERIA)
    assert isinstance(frame, Picture)
    assert isinstance(cutout, Picture)
    outlined = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert outlined.shape == (48, 64, 3)
    assert outlined[10, 35, 0] > outlined[10, 35, 1] + 60
    alone = cv2.imdecode(np.frombuffer(cutout.jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert alone.shape == (30 + 6, 30 + 6, 3)
    assert alone[0, 0].min() > 240
    assert abs(int(alone[18, 18, 0]) - 90) < 6
    assert question.schema is not None
    assert set(question.schema["required"]) == {*CRITERIA, "reason"}
    assert question.prompt_hash
    assert question.fingerprint() == verify_question(make_request(film, STORY, CAST[0], 3, image, mask)).fingerprint()


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"```json\n{json.dumps({**GOOD, 'reason': 'a {brace}'})}\n```",
        f"Let me think {{not json}}. The verdict: {json.dumps(GOOD)} Hope this helps!",
        json.dumps(dict.fromkeys(CRITERIA, "Yes")),
        json.dumps(dict.fromkeys(CRITERIA, 1)),
        json.dumps(GOOD)[:-1] + ",}",
    ],
)
def test_a_yes_to_everything_passes_in_any_wrapping(text: str) -> None:
    verdict = parse_verdict(text)
    assert verdict.passed
    assert verdict.failed_criteria == ()
    assert verdict.problem == ""


@pytest.mark.parametrize(
    ("answers", "failed"),
    [
        ({**GOOD, "sharp": False}, ("sharp",)),
        ({**GOOD, "complete": "no", "neutral_pose": 0}, ("complete", "neutral_pose")),
        ({**GOOD, "single_figure": None}, ("single_figure",)),
        ({**GOOD, "single_figure": "perhaps"}, ("single_figure",)),
        ({"complete": True}, CRITERIA[1:]),
    ],
)
def test_what_is_denied_missing_or_odd_does_not_hold(answers: dict[str, object], failed: tuple[str, ...]) -> None:
    verdict = parse_verdict(json.dumps(answers))
    assert not verdict.passed
    assert verdict.failed_criteria == failed
    assert verdict.problem == ""


@pytest.mark.parametrize(
    "text", ["", "Yes, it is fine.", "[]", "{}", '{"verdict": true}', '{"complete": "maybe"}', "{" * 5000]
)
def test_an_answer_without_a_verdict_is_a_problem_and_not_a_no(text: str) -> None:
    verdict = parse_verdict(text)
    assert not verdict.passed
    assert verdict.failed_criteria == ()
    assert verdict.problem


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(alphabet='{}[]":,truefalscomplete \n', max_size=300))
def test_any_text_gives_a_verdict(text: str) -> None:
    verdict = parse_verdict(text)
    assert verdict.passed is (not verdict.failed_criteria and not verdict.problem)
