"""What images and texts become in each family: a fixed budget of image tokens, and texts that stay texts."""

import logging
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import backbone_for
from animeshooter_hf.modeling.context import ShotContext
from animeshooter_hf.modeling.prompt_layout import ShotChunk, tokenize_text
from animeshooter_hf.modeling.testing_mllms import (
    FAMILIES,
    noise_image,
    tiny_backbone,
    tiny_mllm,
    tiny_processor,
    tiny_queries,
)

QUERIES = tiny_queries()
toy_backbone = cache(tiny_backbone)

# The toys: patches of 8 x 8, 2 x 2 of them a token in Qwen; tiles of 32 x 32, of 16 tokens in LLaVA and of 4 elsewhere.
IMAGE_TOKENS = {
    "qwen3_vl": {(16, 16): 1, (32, 32): 4, (64, 64): 16, (32, 64): 8},
    "qwen2_5_vl": {(16, 16): 1, (32, 32): 4, (64, 64): 16, (32, 64): 8},
    "qwen3_5": {(16, 16): 1, (32, 32): 4, (64, 64): 16, (32, 64): 8},
    "internvl": {(16, 16): 4, (32, 32): 4, (64, 64): 4 * 5, (32, 64): 4 * 3},
    "llava": {(16, 16): 16, (32, 32): 16, (64, 64): 16, (32, 64): 16},
    "llava_onevision": {(16, 16): 17, (32, 32): 17, (64, 64): 17, (32, 64): 17},
    "smolvlm": {(16, 16): 4, (32, 32): 4, (64, 64): 4 * 5, (32, 64): 4 * 3},
    "gemma3": {(16, 16): 4, (32, 32): 4, (64, 64): 4, (32, 64): 4},
}


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    diffusers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        yield caplog
    diffusers_logging.disable_propagation()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_costs_what_its_own_pixels_are_worth(family: str) -> None:
    backbone = toy_backbone(family)
    for size, expected in IMAGE_TOKENS[family].items():
        tokens = backbone.tokenize(ShotChunk((noise_image(0, *size), "A fox.")), 0)
        assert int(tokens.is_image_L.sum()) == expected, size


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_s_tokens_do_not_depend_on_what_stands_beside_it(family: str) -> None:
    backbone = toy_backbone(family)
    one, two = noise_image(0, 32, 64), noise_image(1, 64, 64)
    both = backbone.tokenize(ShotChunk((one, two, "A fox.")), 0)
    apart = [backbone.tokenize(ShotChunk((image, "A fox.")), 0) for image in (one, two)]
    assert int(both.is_image_L.sum()) == sum(int(part.is_image_L.sum()) for part in apart)
    for name, tensor in both.images.items():
        assert torch.equal(tensor, torch.cat([part.images[name] for part in apart])), name


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_written_in_a_caption_are_plain_characters(family: str) -> None:
    backbone = toy_backbone(family)
    tokenizer = backbone.processor.tokenizer
    special = set(tokenizer.all_special_ids)
    clean = backbone.tokenize(ShotChunk((noise_image(0, 32, 32), "A fox runs.")), 0)
    written = " ".join(tokenizer.all_special_tokens)
    dirty = backbone.tokenize(ShotChunk((noise_image(0, 32, 32), f"A fox {written} runs.")), 0)
    count = [sum(int(token) in special for token in tokens.ids_L) for tokens in (clean, dirty)]
    assert count[0] == count[1] > 0
    assert len(dirty) - len(clean) >= min(len(written), 450)


def test_a_tokenizer_that_reads_an_image_out_of_a_caption_is_caught() -> None:
    processor, mllm = tiny_processor("llava"), tiny_mllm("llava")
    processor.tokenizer.add_tokens(["<picture>"])  # not marked as special, so that splitting does not help
    mllm.config.image_token_index = processor.tokenizer.convert_tokens_to_ids("<picture>")
    backbone = backbone_for(mllm, processor)
    assert len(backbone.tokenize(ShotChunk(("A fox.",)), 0)) == len("A fox.")
    with pytest.raises(InputError, match="holds '<picture>', one of the model's own tokens"):
        backbone.tokenize(ShotChunk(("A <picture> fox.",)), 0)


def test_the_side_of_a_wide_image_is_not_cropped_away_for_llava() -> None:
    wide = noise_image(0, 32, 96)
    pixels = np.array(wide)
    pixels[:, :8] = 255
    with torch.no_grad():
        states = [
            ShotContext(toy_backbone("llava"), QUERIES).append(ShotChunk((image, "A fox.")))
            for image in (wide, Image.fromarray(pixels))
        ]
    assert float((states[0] - states[1]).abs().max()) > 1e-4


@pytest.mark.parametrize(("family", "opens"), [("gemma3", True), ("llava", True), ("qwen3_vl", False)])
def test_a_context_opens_with_the_token_that_the_family_begins_with(family: str, opens: bool) -> None:
    backbone = toy_backbone(family)
    first = backbone.tokenize(ShotChunk(("A fox.",)), 0, opens=True)
    later = backbone.tokenize(ShotChunk(("A fox.",)), 0)
    assert len(first) == len(later) + opens
    assert (int(first.ids_L[0]) == backbone.processor.tokenizer.bos_token_id) == opens


@pytest.mark.parametrize("family", ["qwen3_vl", "gemma3"])
def test_a_long_caption_is_cut_and_the_loss_is_named(family: str, heard: pytest.LogCaptureFixture) -> None:
    tokenizer = toy_backbone(family).processor.tokenizer
    assert len(tokenize_text(tokenizer, "A fox runs home.", 10)) == 10
    assert "cut to 10; lost: ' home.'" in heard.text
    short = backbone_for(toy_backbone(family).mllm, toy_backbone(family).processor, max_text_tokens=5)
    assert len(short.tokenize(ShotChunk(("A fox runs home.",)), 0)) == 5


def test_a_family_without_a_toy_is_named() -> None:
    with pytest.raises(ValueError, match="family must be one of qwen3_vl, "):
        tiny_mllm("bert")
    with pytest.raises(ValueError, match="family must be one of qwen3_vl, "):
        tiny_processor("bert")
