"""A local model through transformers: real classes at toy size, saved with random weights; what lacks is refused."""

import io
import json
import shutil
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    WhisperFeatureExtractor,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig, open_model
from animeshooter_hf.dataset_builder.annotate.question import Clip, Picture, Question, Sound, Text
from animeshooter_hf.dataset_builder.annotate.transformers_model import TransformersModel
from animeshooter_hf.errors import InputError

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>",
]  # fmt: skip
IDS = {token: 256 + number for number, token in enumerate(SPECIAL)}
TEMPLATE = (
    "<|im_start|>user\n{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}<|im_end|>\n<|im_start|>assistant\n"
)
SIZES = {
    "vocab_size": 256 + len(SPECIAL),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}


def tokenizer() -> Any:
    vocabulary = {character: number for number, character in enumerate(bytes_to_unicode().values())}
    vocabulary["<|endoftext|>"] = IDS["<|endoftext|>"]
    return Qwen2Tokenizer(vocab=vocabulary, merges=[], additional_special_tokens=SPECIAL[1:])


def save_seer(folder: Path) -> None:
    """Save a Qwen3-VL that sees."""
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e4, "mrope_interleaved": True}
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": 8, "spatial_merge_size": 2,
        "temporal_patch_size": 2, "out_hidden_size": 32, "depth": 2, "in_channels": 3, "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }  # fmt: skip
    config = Qwen3VLConfig(
        text_config={**SIZES, "head_dim": 8, "rope_parameters": rope},
        vision_config=vision,
        image_token_id=IDS["<|image_pad|>"],
        video_token_id=IDS["<|video_pad|>"],
        vision_start_token_id=IDS["<|vision_start|>"],
        vision_end_token_id=IDS["<|vision_end|>"],
    )
    patches = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**patches, min_pixels=256, max_pixels=4096),
        tokenizer=tokenizer(),
        video_processor=Qwen3VLVideoProcessor(**patches),
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)


def save_listener(folder: Path) -> None:
    """Save a Qwen2-Audio that hears."""
    audio = {"num_mel_bins": 16, "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2,
             "encoder_ffn_dim": 32, "max_source_positions": 100}  # fmt: skip
    config = Qwen2AudioConfig(
        audio_config=audio,
        text_config={"model_type": "qwen2", **SIZES},
        audio_token_index=IDS["<|AUDIO|>"],
    )
    Qwen2AudioProcessor(
        feature_extractor=WhisperFeatureExtractor(feature_size=16, chunk_length=2, sampling_rate=16_000),
        tokenizer=tokenizer(),
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Toy models are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def seer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "seer"
    torch.manual_seed(0)
    save_seer(folder)
    return folder


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "listener"
    torch.manual_seed(0)
    save_listener(folder)
    return folder


@pytest.fixture(scope="module")
def model(seer: Path) -> TransformersModel:
    return TransformersModel(seer, device="cpu")


def picture(colour: str) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (96, 64), colour).save(file, "JPEG")
    return Picture(file.getvalue())


def sound(pitch: float, rate: int = 22_050) -> Sound:
    samples = (8000 * np.sin(np.arange(rate) * pitch / rate * 6.283)).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.repeat(samples, 2).tobytes())
    return Sound(file.getvalue())


def question(*parts: Any, most: int = 8) -> Question:
    return Question(name="script", parts=parts, max_output_tokens=most)


def test_a_local_model_answers_about_pictures_the_same_every_time(seer: Path, model: TransformersModel) -> None:
    asked = question(Text("What is "), picture("red"), Text(" and "), picture("blue"), Text("?"))
    first, second = model.ask(asked), TransformersModel(seer, device="cpu").ask(asked)
    assert first.outcome in ("ok", "truncated")
    assert (first.text, first.usage) == (second.text, second.usage)
    assert first.usage.output_tokens <= 8
    pixels = 2 * (96 // 16) * (64 // 16)  # tokens of two pictures at the processor's most of 64 x 64 pixels or below
    assert 2 < first.usage.prompt_tokens - model.ask(question(Text("What is  and ?"))).usage.prompt_tokens <= pixels + 4
    assert first.model.startswith("seer@")


def test_a_picture_changes_what_the_model_computes(seer: Path) -> None:
    model = TransformersModel(seer, device="cpu", temperature=5.0)
    texts = {model.ask(question(Text("?"), picture(colour), most=10)).text for colour in ("red", "blue")}
    assert len(texts) > 1


def test_an_answer_at_the_token_limit_is_truncated(model: TransformersModel) -> None:
    answer = model.ask(question(Text("Tell me."), most=3))
    assert (answer.outcome, answer.usage.output_tokens) == ("truncated", 3)
    assert answer.text is not None


def test_an_answer_that_ends_by_itself_is_whole(seer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "talker"
    shutil.copytree(seer, folder)
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": list(range(256 + 10))}))
    ended = TransformersModel(folder, device="cpu").ask(question(Text("Tell me."), most=8))
    assert ended.outcome in ("ok", "invalid")
    assert ended.usage.output_tokens == 1


def test_sampling_follows_the_seed_and_leaves_the_callers_random_state(seer: Path) -> None:
    asked = question(Text("Tell me."), most=10)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = TransformersModel(seer, device="cpu", temperature=2.0, seed=1)
    first, again = one.ask(asked).text, one.ask(asked).text
    assert torch.rand(1) == expected
    assert first == again
    assert TransformersModel(seer, device="cpu", temperature=2.0, seed=2).ask(asked).text != first


def test_a_model_with_an_ear_hears(listener: Path) -> None:
    model = TransformersModel(listener, device="cpu")
    answer = model.ask(question(Text("What is heard?"), sound(440.0)))
    assert answer.outcome in ("ok", "truncated"), answer.detail
    heard = answer.usage.prompt_tokens - model.ask(question(Text("What is heard?"))).usage.prompt_tokens
    assert heard > 20


def test_a_model_without_an_ear_says_so(model: TransformersModel) -> None:
    answer = model.ask(question(sound(440.0)))
    assert answer.outcome == "error"
    assert "no ear" in answer.detail


def test_a_clip_is_refused_by_an_outcome(model: TransformersModel) -> None:
    answer = model.ask(question(Clip(b"mp4")))
    assert answer.outcome == "error"
    assert "clip" in answer.detail


def test_a_picture_that_cannot_be_read_is_an_error(model: TransformersModel) -> None:
    assert model.ask(question(Picture(b"no jpeg"))).outcome == "error"


def test_other_weights_have_another_name(seer: Path, model: TransformersModel, tmp_path: Path) -> None:
    folder = tmp_path / "seer"
    shutil.copytree(seer, folder)
    same = TransformersModel(folder, device="cpu").name
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    weights[name] = weights[name] + 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert same == model.name
    assert TransformersModel(folder, device="cpu").name != same


@pytest.mark.parametrize("damage", ["missing", "shape"])
def test_a_checkpoint_that_is_not_whole_is_refused(seer: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "seer"
    shutil.copytree(seer, folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "mlp" in name)
    if damage == "missing":
        del weights[name]
    else:
        weights[name] = weights[name][:3]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"mlp|cannot be loaded|size mismatch"):
        TransformersModel(folder, device="cpu")


def test_a_checkpoint_without_weights_is_refused(seer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seer"
    shutil.copytree(seer, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(InputError, match="cannot be loaded"):
        TransformersModel(folder, device="cpu")


def test_a_checkpoint_without_chat_template_is_refused(seer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seer"
    shutil.copytree(seer, folder, ignore=shutil.ignore_patterns("*.jinja"))
    with pytest.raises(InputError, match="chat template"):
        TransformersModel(folder, device="cpu")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        TransformersModel(tmp_path / "none")


def test_a_local_model_stands_behind_the_same_cache_and_ledger(seer: Path, tmp_path: Path) -> None:
    config = ModelConfig(kind="transformers", model=str(seer), device="cpu", budget_money=0.0)
    asked = question(Text("Tell me."), most=2)
    first = open_model(config, tmp_path).ask(asked)
    assert first.outcome == "truncated"
    assert open_model(config, tmp_path).ask(asked).from_cache
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [(call["from_cache"], call["money"]) for call in calls] == [(False, 0.0), (True, 0.0)]
