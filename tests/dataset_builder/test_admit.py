"""Films are admitted by rules first, then by what an annotator says; odd answers are understood or left open."""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.annotate.annotator import AdmitRequest, AudioRequest, ScriptRequest, VerifyRequest
from animeshooter_hf.dataset_builder.annotate.question import Answer, Outcome, Picture, Text
from animeshooter_hf.dataset_builder.quality.admit import (
    ADMIT_SCHEMA,
    AdmitSettings,
    admit_film,
    admit_question,
    judge_frames,
    parse_admission,
)
from animeshooter_hf.dataset_builder.quality.picture_scores import decode_picture, score_pictures
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan, SampledFrame
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.errors import InputError
from animeshooter_hf.toon import FilmSettings, ToonFilm
from animeshooter_hf.video import FrameIndex, VideoInfo

SIZE = FilmSettings(width=480, height=270, seconds=40)
SEEDS = (500, 501, 502)
LINES = ("Where did the fox go", "It went over the hill", "Come on then", "We have no time left", "Look up there")
YES = json.dumps({"is_animation": True, "has_burnt_in_subtitles": False, "rating": "teen", "reason": "Drawn."})


@pytest.fixture(scope="module")
def pictures() -> dict[int, list[NDArray[np.uint8]]]:
    films = {seed: ToonFilm.from_seed(seed, SIZE) for seed in SEEDS}
    places = [round((number + 0.5) * SIZE.num_frames / 16) for number in range(16)]
    return {seed: [film.frame(place) for place in places] for seed, film in films.items()}


def burn(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)
    where, picture = ((picture.shape[1] - width) // 2, 248), picture.copy()
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, thickness, cv2.LINE_AA)
    return picture


def subtitled(pictures: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Burn in a line that changes every two seconds, or with every picture where those are further apart."""
    return [burn(one, LINES[number % 5]) if number % 4 else one for number, one in enumerate(pictures)]


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def scan_of(pictures: list[NDArray[np.uint8]], num_seconds: float = 40) -> FilmScan:
    num_frames = round(num_seconds * 24)
    frames = np.linspace(0, max(num_frames - 1, 0), len(pictures)).astype(int)
    return FilmScan(
        width=480,
        height=270,
        index=FrameIndex(np.arange(num_frames), Fraction(1, 24), np.array([0])),
        boundaries=(),
        curve=np.zeros(num_frames, np.float32),
        samples=tuple(
            SampledFrame(frame=int(frame), jpeg=jpeg(one), phash=0) for frame, one in zip(frames, pictures, strict=True)
        ),
        detector="none",
    )


def film() -> FilmSource:
    info = VideoInfo(
        width=480, height=270, frame_rate=Fraction(24), num_frames=960, duration_seconds=40.0,
        is_variable_rate=False, codec="h264", has_audio=False, audio_sample_rate=None,
    )  # fmt: skip
    return FilmSource(video_id="v", path=Path("v.mp4"), info=info)


class Scripted:
    """An annotator that gives one answer and remembers what it was asked."""

    def __init__(self, text: str | None, outcome: Outcome = "ok") -> None:
        self.answer = Answer(outcome=outcome, text=text)
        self.asked: list[AdmitRequest] = []

    def settings_key(self) -> Mapping[str, Any]:
        return {}

    def admit(self, request: AdmitRequest) -> Answer:
        self.asked.append(request)
        return self.answer

    def write_script(self, request: ScriptRequest) -> Answer:
        raise NotImplementedError

    def verify_reference(self, request: VerifyRequest) -> Answer:
        raise NotImplementedError

    def describe_audio(self, request: AudioRequest) -> Answer:
        raise NotImplementedError


def test_a_film_that_breaks_no_rule_is_admitted_with_its_rating(pictures: dict[int, list[NDArray[np.uint8]]]) -> None:
    annotator = Scripted(YES)
    admission = admit_film(film(), scan_of(pictures[500]), annotator)
    assert admission.admitted
    assert admission.is_decided
    assert admission.rating == "teen"
    assert len(annotator.asked[0].samples) == 16
    assert admission.numbers["seconds"] == pytest.approx(40)
    assert json.loads(json.dumps(admission.to_json()))["raw_answer"] == YES


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"is_animation": False}, "not_animation"),
        ({"has_burnt_in_subtitles": True}, "burnt_in_subtitles"),
        ({"is_animation": None}, "undecided"),
    ],
)
def test_what_the_annotator_says_decides(
    pictures: dict[int, list[NDArray[np.uint8]]], change: dict[str, Any], code: str
) -> None:
    admission = admit_film(film(), scan_of(pictures[500]), Scripted(json.dumps({**json.loads(YES), **change})))
    assert not admission.admitted
    assert [reason.split(":")[0] for reason in admission.reasons] == [code]
    assert admission.is_decided == (code != "undecided")
    lenient = AdmitSettings(require_animation=False, refuse_subtitles=False)
    again = admit_film(film(), scan_of(pictures[500]), Scripted(json.dumps({**json.loads(YES), **change})), lenient)
    assert again.admitted == (code != "undecided")


@pytest.mark.parametrize("outcome", ["error", "skipped", "blocked", "invalid"])
def test_a_call_that_failed_decides_nothing(pictures: dict[int, list[NDArray[np.uint8]]], outcome: Outcome) -> None:
    admission = admit_film(film(), scan_of(pictures[500]), Scripted(None, outcome))
    assert not admission.admitted
    assert not admission.is_decided
    assert admission.reasons[0].startswith(f"undecided: {outcome}")


def test_rules_speak_before_anybody_is_asked(pictures: dict[int, list[NDArray[np.uint8]]]) -> None:
    broken = scan_of(pictures[500])
    broken = FilmScan(
        width=1, height=1, index=broken.index, boundaries=(), curve=broken.curve, detector="none",
        samples=(SampledFrame(frame=0, jpeg=b"no picture", phash=0),),
    )  # fmt: skip
    still = [pictures[500][0]] * 16
    for scan, code in [
        (scan_of(pictures[500], 1), "too_short"),
        (scan_of(pictures[500], 1201), "too_long"),
        (scan_of(still), "still"),
        (scan_of([]), "undecodable"),
        (scan_of([], 0), "undecodable"),
        (broken, "undecodable"),
    ]:
        annotator = Scripted(YES)
        admission = admit_film(film(), scan, annotator)
        assert [reason.split(":")[0] for reason in admission.reasons] == [code]
        assert annotator.asked == []


def test_the_subtitle_score_tells_subtitled_films_from_clean_ones(
    pictures: dict[int, list[NDArray[np.uint8]]],
) -> None:
    limit = AdmitSettings(subtitle_score=0.2)
    for frames in pictures.values():
        assert admit_film(film(), scan_of(frames), None, limit).admitted
        admission = admit_film(film(), scan_of(subtitled(frames)), None, limit)
        assert [reason.split(":")[0] for reason in admission.reasons] == ["burnt_in_subtitles"]
        assert admit_film(film(), scan_of(subtitled(frames)), None).admitted  # a score alone decides nothing
        mark = [burn(one, "a channel of toons") for one in frames]
        assert admit_film(film(), scan_of(mark), None, limit).admitted


def test_where_there_is_an_annotator_the_score_decides_nothing(pictures: dict[int, list[NDArray[np.uint8]]]) -> None:
    scan = scan_of(subtitled(pictures[500]))
    admission = admit_film(film(), scan, Scripted(YES), AdmitSettings(subtitle_score=0.2))
    assert admission.admitted
    assert admission.numbers["subtitle_score"] >= 0.2


def test_flat_drawings_score_flatter_than_grain(pictures: dict[int, list[NDArray[np.uint8]]]) -> None:
    noise = np.random.default_rng(0)
    grain = [noise.integers(0, 255, (90, 160, 3), dtype=np.uint8) for _ in range(4)]
    drawn, filmed = score_pictures(pictures[500]), score_pictures(grain)
    assert drawn.flat_share > 0.1 > filmed.flat_share
    assert score_pictures([]).num_pictures == 0
    assert decode_picture(b"") is None


def test_judge_frames_are_spread_evenly(pictures: dict[int, list[NDArray[np.uint8]]]) -> None:
    scan = scan_of([pictures[500][0]] * 64)
    places = [scan.samples.index(one) for one in judge_frames(scan)]
    assert len(places) == 16
    assert set(np.diff(places)) <= {4}
    assert len(judge_frames(scan_of(pictures[500][:5]))) == 5


def test_the_question_holds_the_prompt_and_small_pictures(pictures: dict[int, list[NDArray[np.uint8]]]) -> None:
    large = cv2.resize(pictures[500][0], (1280, 720))
    scan = scan_of([large, pictures[500][1]])
    request = AdmitRequest(film=film(), samples=judge_frames(scan), index=scan.index)
    question = admit_question(request)
    text, first, second = question.parts
    assert isinstance(text, Text)
    assert "2 still pictures" in text.text
    assert "40 seconds" in text.text
    assert "$" not in text.text
    assert isinstance(first, Picture)
    shown = decode_picture(first.jpeg)
    assert shown is not None
    assert shown.shape == (288, 512, 3)
    assert isinstance(second, Picture)
    assert second.jpeg == scan.samples[1].jpeg
    assert question.schema == ADMIT_SCHEMA
    assert question.fingerprint() == admit_question(request).fingerprint()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (YES, (True, False, "teen")),
        (f"Sure!\n```json\n{YES}\n```", (True, False, "teen")),
        (
            '{"note": {}} {"is animation": "Yes", "Has-Burnt-In-Subtitles": "no", "rating": "PG-13"}',
            (True, False, "teen"),
        ),
        ('{"is_animation": 1, "has_burnt_in_subtitles": 0.0, "rating": "NSFW"}', (True, False, "mature")),
        ('{"is_animation": "perhaps", "has_burnt_in_subtitles": [], "rating": 3}', (None, None, "unknown")),
        ('{"is_animation": true, "has_burnt_in', (None, None, "unknown")),
        ("[true, false]", (None, None, "unknown")),
        ("", (None, None, "unknown")),
        ("{" * 100_000, (None, None, "unknown")),
        ('{"is_animation":' + "[" * 99_000, (None, None, "unknown")),
    ],
)
def test_answers_of_many_shapes_are_understood_or_leave_it_open(
    text: str, expected: tuple[bool | None, bool | None, str]
) -> None:
    said = parse_admission(text)
    assert (said.is_animation, said.has_burnt_in_subtitles, said.rating) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=4))
def test_no_answer_makes_the_parser_fail(noise: str, value: object) -> None:
    said = parse_admission(f"{noise}{json.dumps({'is_animation': value, 'rating': value, 'reason': value})}{noise}")
    assert said.is_animation in (None, True, False)
    parse_admission(noise)


@pytest.mark.parametrize(
    "change", [{"min_seconds": -1}, {"min_seconds": 9, "max_seconds": 3}, {"num_pictures": 0}, {"subtitle_score": 0}]
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError):
        AdmitSettings(**change)  # type: ignore[arg-type]
