"""The annotator that asks a model: each stage's question reaches the endpoint whole, and the raw answer comes back."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.dataset_builder.annotate.annotator import (
    AdmitRequest,
    Annotator,
    AudioRequest,
    ScriptRequest,
    VerifyRequest,
)
from animeshooter_hf.dataset_builder.annotate.model_annotator import ModelAnnotator
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.audio.describe import encode_wav
from animeshooter_hf.dataset_builder.scan.film_scan import SampledFrame
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.video import index_frames, probe, read_frames

sys.path.insert(0, str(Path(__file__).parent))
from endpoint_stub import Stub, start_stub
from packaging_stories import film, story

RAW = 'Sure: {"half of an ans'


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A request of each kind, about a real film."""
    path = film(tmp_path_factory.mktemp("film"), "clip")
    source = FilmSource(video_id="clip", path=path, info=probe(path))
    index = index_frames(path)
    samples = []
    for number in (0, 20, 40):
        file = io.BytesIO()
        Image.fromarray(read_frames(path, [number])[0]).save(file, "JPEG")
        samples.append(SampledFrame(frame=number, jpeg=file.getvalue(), phash=0))
    told = story("clip")
    seen = tuple(samples)
    jpeg = samples[0].jpeg
    return {
        "admit": AdmitRequest(film=source, samples=seen, index=index),
        "write_script": ScriptRequest(
            film=source, segment_index=0, segment=Segment(0, 48), cuts=(24,), samples=seen, index=index
        ),
        "verify_reference": VerifyRequest(
            film=source, story=told, character=told.characters[0], frame=0, frame_jpeg=jpeg, cutout_jpeg=jpeg
        ),
        "describe_audio": AudioRequest(
            film=source, story=told, shot=told.shots[0], samples=seen,
            wav=encode_wav(np.zeros(4000, np.float32), 16_000),
        ),
    }  # fmt: skip


def annotator(stub: Stub, **options: Any) -> Annotator:
    return ModelAnnotator(OpenAIModel(stub.url, "m", api_key_env=None, max_retries=0), **options)


@pytest.mark.parametrize("name", ["admit", "write_script", "verify_reference", "describe_audio"])
def test_each_request_becomes_one_question_and_the_raw_answer_comes_back(name: str, requests: dict[str, Any]) -> None:
    with start_stub(lambda body: RAW) as stub:
        answer = getattr(annotator(stub), name)(requests[name])
    assert (answer.outcome, answer.text) == ("ok", RAW)
    (request,) = stub.log
    kinds = [part["type"] for part in request.body["messages"][0]["content"]]
    assert "text" in kinds
    assert "image_url" in kinds
    assert ("input_audio" in kinds) == (name == "describe_audio")
    assert request.body["response_format"]["json_schema"]["schema"]["type"] == "object"


@pytest.mark.parametrize("name", ["admit", "write_script", "verify_reference", "describe_audio"])
def test_a_failed_call_is_an_outcome_and_no_exception(name: str, requests: dict[str, Any]) -> None:
    with start_stub(faults=[500]) as stub:
        assert getattr(annotator(stub), name)(requests[name]).outcome == "error"


def test_the_mode_of_the_script_changes_the_question_and_the_settings(requests: dict[str, Any]) -> None:
    with start_stub(lambda body: RAW) as stub:
        by_cuts, by_clock = annotator(stub), annotator(stub, mode="clock")
        by_cuts.write_script(requests["write_script"])
        by_clock.write_script(requests["write_script"])
    assert stub.asked()[0] != stub.asked()[1]
    assert dict(by_cuts.settings_key()) | {"mode": "clock"} == by_clock.settings_key()
