"""Endpoints on loopback and tiny local models as writers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from endpoint_stub import Fault, start_stub
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM, pipeline

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.testing import tiny_mllm, tiny_processor
from animeshooter_hf.modeling.writer import WriterSettings, write_story
from animeshooter_hf.modeling.writer_models import EndpointSettings, LocalWriter, ScriptQuestion

SETTINGS = WriterSettings(num_shots=1, seed=5, temperature=0.25, max_output_tokens=64)
SCRIPT = json.dumps(
    {
        "storyline": "Mia finds a key.",
        "main_characters": [{"id": "Mia", "appearance": "a fox"}],
        "main_scenes": [{"id": "attic", "environment": "dusty"}],
        "shots": [
            {
                "characters": ["Mia"],
                "scene": "attic",
                "narrative_caption": "Mia finds the key.",
                "descriptive_caption": "Mia kneels.",
            }
        ],
    }
)
QUESTION = ScriptQuestion(prompt="Write.", schema={}, seed=1, temperature=0.0, max_output_tokens=8)


def endpoint(url: str, **options: Any) -> EndpointSettings:
    return EndpointSettings(
        **({"model": "writer", "base_url": url, "api_key_env": None, "max_retries": 0, "timeout_seconds": 20} | options)
    )


def test_an_endpoint_is_held_to_the_schema_and_its_answer_becomes_a_story() -> None:
    with start_stub(lambda body: SCRIPT) as stub:
        story = write_story("A key.", endpoint(stub.url), settings=SETTINGS)
    assert story.shots[0].caption == "Mia kneels."
    (request,) = stub.log
    assert (request.body["seed"], request.body["temperature"], request.body["max_tokens"]) == (5, 0.25, 64)
    form = request.body["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["properties"]["shots"]["minItems"] == 1


@pytest.mark.parametrize("fault", ["truncate", "fence", "blank"])
def test_an_answer_that_is_cut_fenced_or_blank_is_read_or_asked_for_again(fault: str) -> None:
    with start_stub(lambda body: SCRIPT, faults=[fault]) as stub:
        assert write_story("A key.", endpoint(stub.url), settings=SETTINGS).shots
    assert len(stub.log) == (1 if fault == "fence" else 2)


def test_an_answer_that_stays_cut_off_is_told_so() -> None:
    stub = start_stub(lambda body: SCRIPT, faults=["truncate", "truncate"])
    with stub, pytest.raises(InputError, match="cut off at 64 tokens"):
        write_story("A key.", endpoint(stub.url), settings=SETTINGS)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("refuse", "refuses to write this: I cannot help"),
        ("filter", "filter of writer stopped"),
        ("empty", "without choices"),
        ("not_json", "cannot be asked"),
        ("html", "without choices|cannot be asked"),
        ("drop", "cannot be asked"),
        ("cut", "cannot be asked"),
        (401, "cannot be asked: .*401"),
        (400, "cannot be asked: .*400"),
        (500, "cannot be asked: .*500"),
    ],
)
def test_an_endpoint_that_fails_ends_in_one_sentence(fault: int | str, words: str) -> None:
    stub = start_stub(lambda body: SCRIPT, faults=lambda request: fault)
    with stub, pytest.raises(InputError, match=words) as caught:
        write_story("A key.", endpoint(stub.url), settings=SETTINGS)
    assert "\n" not in str(caught.value)


def test_what_may_pass_is_tried_again() -> None:
    with start_stub(lambda body: SCRIPT, faults=[Fault(429, retry_after_seconds=0.01)]) as stub:
        assert write_story("A key.", endpoint(stub.url, max_retries=1), settings=SETTINGS).shots
    assert len(stub.log) == 2


def test_an_endpoint_that_knows_no_schema_is_asked_without(caplog: pytest.LogCaptureFixture) -> None:
    def fault(request: Any) -> Fault | None:
        return Fault(400, message="response_format is not supported") if "response_format" in request.body else None

    with start_stub(lambda body: SCRIPT, faults=fault) as stub:
        assert write_story("A key.", endpoint(stub.url), settings=SETTINGS).shots
    assert len(stub.log) == 2
    assert "asked without" in caplog.text


def test_the_way_of_holding_to_the_form_can_be_chosen() -> None:
    for way, expected in (("json_object", {"type": "json_object"}), ("none", None)):
        with start_stub(lambda body: SCRIPT) as stub:
            write_story("A key.", endpoint(stub.url, structured=way), settings=SETTINGS)
        assert stub.log[0].body.get("response_format") == expected


def test_the_key_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRITER_KEY", "sk-very-secret")
    stub = start_stub(lambda body: SCRIPT, faults=[Fault(401, message="bad key sk-very-secret")])
    with stub, pytest.raises(InputError) as caught:
        write_story("A key.", endpoint(stub.url, api_key_env="WRITER_KEY"), settings=SETTINGS)
    assert stub.log[0].headers["authorization"] == "Bearer sk-very-secret"
    assert "sk-very-secret" not in str(caught.value)
    assert "[key]" in str(caught.value)


def test_a_key_that_is_not_set_is_told_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WRITER_KEY", raising=False)
    with pytest.raises(InputError, match="WRITER_KEY, which is not set"):
        write_story("A key.", EndpointSettings(model="writer", api_key_env="WRITER_KEY"))


@pytest.mark.parametrize(
    "wrong", [{"model": " "}, {"base_url": "ftp://x"}, {"structured": "xml"}, {"timeout_seconds": 0}]
)
def test_endpoint_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        EndpointSettings(**({"model": "writer"} | wrong))


@pytest.fixture(scope="module")
def language_model() -> Any:
    """A text-generation pipeline of two random layers that knows single bytes."""
    tokenizer = tiny_processor().tokenizer
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer) + 1, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=16_384,
    )  # fmt: skip
    return pipeline("text-generation", model=Qwen2ForCausalLM(config).eval(), tokenizer=tokenizer)


def test_the_nonsense_of_a_random_model_ends_in_one_sentence(language_model: Any) -> None:
    with pytest.raises(InputError, match=r"^Qwen2ForCausalLM wrote no story that can be used: [^\n]*\.$"):
        write_story("A key.", LocalWriter(language_model), settings=SETTINGS)


def test_a_local_model_gives_the_same_text_for_the_same_seed_and_leaves_the_random_state(language_model: Any) -> None:
    writer = LocalWriter(language_model)
    hot = ScriptQuestion(prompt="Write.", schema={}, seed=1, temperature=1.0, max_output_tokens=16)
    before = torch.random.get_rng_state()
    first, again = writer.answer(hot).text, writer.answer(hot).text
    assert torch.equal(before, torch.random.get_rng_state())
    assert first == again
    other = ScriptQuestion(prompt="Write.", schema={}, seed=2, temperature=1.0, max_output_tokens=16)
    assert writer.answer(other).text != first


def test_a_local_checkpoint_writes_as_the_model_it_was_saved_from(language_model: Any, tmp_path: Path) -> None:
    language_model.save_pretrained(tmp_path)
    assert LocalWriter(tmp_path).answer(QUESTION) == LocalWriter(language_model).answer(QUESTION)


def test_the_multimodal_model_of_a_story_pipeline_can_write() -> None:
    torch.manual_seed(0)
    writer = LocalWriter.from_model(tiny_mllm(), tiny_processor())
    assert writer.answer(QUESTION).text == writer.answer(QUESTION).text
    with pytest.raises(InputError, match="wrote no story"):
        write_story("A key.", writer, settings=SETTINGS)


def test_a_checkpoint_that_is_not_there_or_not_whole_is_refused(language_model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        LocalWriter(tmp_path / "none")
    language_model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(InputError, match="cannot be loaded"):
        LocalWriter(tmp_path)
    weights = {name: weight for name, weight in language_model.model.state_dict().items() if "layers.1" not in name}
    save_file(
        {name: weight.clone() for name, weight in weights.items()}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(InputError, match=r"not whole: \d+ weights are missing"):
        LocalWriter(tmp_path)


def test_a_pipeline_for_another_task_is_no_writer() -> None:
    with pytest.raises(InputError, match="text-generation or image-text-to-text"):
        LocalWriter(object())
