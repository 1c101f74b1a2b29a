"""Reading a story chunk by chunk equals reading it in one pass, and images and texts go in as they should."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from animeshooter_hf.modeling.backbones import backbone_for, check_incremental
from animeshooter_hf.modeling.context import ShotContext
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.prompt_layout import ShotChunk, build_chunk, fit_image, tokenize_text
from animeshooter_hf.modeling.testing import FAMILIES, tiny_mllm, tiny_processor
from animeshooter_hf.records import Shot


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    diffusers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        yield caplog
    diffusers_logging.disable_propagation()


def picture(seed: int, *shape: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8))


CHUNKS = [
    ShotChunk(("Mia:", picture(0, 40, 60), "Rex:", picture(1, 60, 40), "Mia meets Rex.")),
    ShotChunk((picture(2, 32, 48), "They walk.")),
    ShotChunk((picture(3, 32, 48), "They sit down by the lake.")),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_chunk_by_chunk_equals_one_pass(family: str) -> None:
    torch.manual_seed(0)
    mllm = tiny_mllm(family)
    check = check_incremental(backbone_for(mllm, tiny_processor(family)))
    assert check.passed, check
    assert check.max_abs_error <= 1e-5
    assert mllm.model.rope_deltas is None


def test_positions_inferred_by_the_model_would_be_wrong() -> None:
    """Why positions are explicit: this is what the obvious call gives for the second chunk."""
    torch.manual_seed(0)
    backbone = backbone_for(tiny_mllm(), tiny_processor())
    cache = backbone.new_cache()
    states = []
    with torch.no_grad():
        for chunk in CHUNKS[:2]:
            tokens = backbone.tokenize(chunk, 0)
            output = backbone.mllm(
                input_ids=tokens.ids_L[None],
                mm_token_type_ids=tokens.is_image_L[None].long(),
                pixel_values=tokens.pixels_PC,
                image_grid_thw=tokens.grid_I3,
                past_key_values=cache,
                output_hidden_states=True,
            )
            states.append(output.hidden_states[-1])
        fresh, position = backbone.new_cache(), 0
        none = torch.zeros(1, backbone.hidden_size)
        for chunk in CHUNKS[:2]:
            tokens = backbone.tokenize(chunk, 0)
            exact, position = backbone.forward(tokens, none, cache=fresh, first_position=position)
    assert float((states[1] - exact).abs().max()) > 1e-3


def test_the_queries_are_what_the_states_are_taken_from(pipeline: AnimeShooterGenPipeline) -> None:
    queries = pipeline.adapter.query_tokens.detach()
    with torch.no_grad():
        first = ShotContext(pipeline.backbone, queries).append(CHUNKS[0])
        other = ShotContext(pipeline.backbone, queries + 1).append(CHUNKS[0])
    assert first.shape == (1, 8, 32)
    assert not torch.allclose(first, other)


@torch.no_grad()
def test_a_context_can_go_back_and_can_be_replayed_bit_by_bit(pipeline: AnimeShooterGenPipeline) -> None:
    context = ShotContext(pipeline.backbone, pipeline.adapter.query_tokens)
    context.append(CHUNKS[0])
    snapshot = context.snapshot()
    first = context.append(CHUNKS[1])
    context.append(CHUNKS[2])
    context.restore(snapshot)
    assert (len(context), context.position) == (1, snapshot.position)
    assert torch.equal(context.append(CHUNKS[1]), first)
    context.replay(CHUNKS[:1])
    assert torch.equal(context.append(CHUNKS[1]), first)
    assert context.chunks == (CHUNKS[0], CHUNKS[1])


def test_gradients_reach_the_query_tokens(pipeline: AnimeShooterGenPipeline) -> None:
    queries = pipeline.adapter.query_tokens.detach().clone().requires_grad_()
    ShotContext(pipeline.backbone, queries).append(CHUNKS[0]).sum().backward()
    assert queries.grad is not None
    assert (queries.grad.abs().sum(-1) > 0).all()


def test_special_tokens_written_in_a_caption_are_plain_characters(pipeline: AnimeShooterGenPipeline) -> None:
    chunk = ShotChunk((picture(0, 32, 32), "A fox <|image_pad|><|vision_start|> runs."))
    tokens = pipeline.backbone.tokenize(chunk, 8)
    assert int(tokens.is_image_L.sum()) == 4
    assert int((tokens.ids_L == pipeline.mllm.config.vision_start_token_id).sum()) == 1


def test_a_long_caption_is_cut_and_the_loss_is_named(
    pipeline: AnimeShooterGenPipeline, heard: pytest.LogCaptureFixture
) -> None:
    ids = tokenize_text(pipeline.processor.tokenizer, "A fox runs home.", 10)
    assert len(ids) == 10
    assert "cut to 10; lost: ' home.'" in heard.text


def test_a_huge_reference_is_shrunk_to_the_budget_and_a_small_one_is_kept() -> None:
    assert fit_image(Image.new("RGB", (8000, 4000)), 448 * 448).size == (633, 316)
    small = picture(0, 20, 30)
    assert fit_image(small, 448 * 448).size == (30, 20)


def test_what_is_transparent_becomes_white() -> None:
    seen_through = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert fit_image(seen_through, 100).getpixel((0, 0)) == (255, 255, 255)


def test_the_first_shot_tells_the_references_by_name_and_later_ones_the_last_frame() -> None:
    mia, rex = picture(0, 8, 8), picture(1, 8, 8)
    shot = Shot(shot_id="s_00", index=0, characters=("Mia", "Rex"), descriptive_caption="Mia and a dog walk.")
    chunk = build_chunk(shot, references={"Mia": [mia, rex], "Rex": [rex]}, last_frame=None, max_pixels=1000)
    texts = [segment if isinstance(segment, str) else "image" for segment in chunk.segments]
    assert texts == ["Mia:", "image", "Mia:", "image", "Rex:", "image", "Rex: Mia and a dog walk."]
    later = Shot(shot_id="s_01", index=1, characters=("Mia",), descriptive_caption="Mia sits.")
    chunk = build_chunk(later, references={"Mia": [mia]}, last_frame=np.asarray(rex), max_pixels=1000)
    assert [isinstance(segment, str) for segment in chunk.segments] == [False, True]
    assert chunk.segments[1] == "Mia sits."


def test_a_later_shot_without_the_frame_before_it_is_a_mistake() -> None:
    shot = Shot(shot_id="s_01", index=1, descriptive_caption="Mia sits.")
    with pytest.raises(ValueError, match="Shot 1 must get the last frame"):
        build_chunk(shot, references={}, last_frame=None, max_pixels=1000)
