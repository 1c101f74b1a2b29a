"""What was read can be gone back to, read again bit by bit, kept in a window, and never reaches another story."""

from functools import cache

import accelerate
import numpy as np
import pytest
import torch
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import ChunkTokens
from animeshooter_hf.modeling.context import ShotContext
from animeshooter_hf.modeling.prompt_layout import LayoutSettings, ShotChunk, build_chunk
from animeshooter_hf.modeling.testing_mllms import FAMILIES, noise_image, tiny_backbone, tiny_chunks, tiny_queries
from animeshooter_hf.records import Character, Story

QUERIES = tiny_queries()
CHUNKS = tiny_chunks()
toy_backbone = cache(tiny_backbone)


def new_context(family: str = "qwen3_vl", **options: object) -> ShotContext:
    return ShotContext(toy_backbone(family), QUERIES, **options)  # type: ignore[arg-type]


@torch.no_grad()
def read(context: ShotContext, chunks: list[ShotChunk]) -> list[Tensor]:
    return [context.append(chunk) for chunk in chunks]


def largest_difference(one: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_by_default_a_shot_is_one_call_after_another_on_one_cache(family: str) -> None:
    """Written out here without layouts and windows; the states have to be equal bit by bit."""
    captions = ["Mia wakes up.", "Rex runs past Mia.", "They eat soup."]
    story = Story.from_captions(captions, story_id="s", characters=[Character(id="Mia"), Character(id="Rex")])
    references = {"Mia": [noise_image(1, 70, 50)], "Rex": [noise_image(2, 40, 60), noise_image(3, 20, 30)]}
    backbone, context = toy_backbone(family), new_context(family)
    stored, position = backbone.new_cache(), 0
    for shot in story.shots:
        last_frame = np.asarray(noise_image(10 + shot.index, 32, 48)) if shot.index else None
        chunk = build_chunk(shot, references=references, last_frame=last_frame, max_pixels=64 * 64)
        tokens = backbone.tokenize(chunk, len(QUERIES))
        with torch.no_grad():
            whole, position = backbone.forward(tokens, QUERIES, cache=stored, first_position=position)
            assert torch.equal(context.append(chunk), whole[:, -len(QUERIES) :])
    assert (context.position, len(context)) == (position, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_appending_equals_reading_everything_anew_for_each_shot(family: str) -> None:
    appended = read(new_context(family), CHUNKS)
    anew = read(new_context(family, is_incremental=False), CHUNKS)
    assert largest_difference(appended, anew) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_two_stories_read_in_turns_do_not_touch_each_other(family: str) -> None:
    stories = [CHUNKS[:3], tiny_chunks(seed=7)[:3]]
    alone = [read(new_context(family), story) for story in stories]
    contexts = [new_context(family), new_context(family)]
    for index in range(3):
        for context, story, expected in zip(contexts, stories, alone, strict=True):
            assert torch.equal(read(context, story[index : index + 1])[0], expected[index])


@pytest.mark.parametrize("keep_queries", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_context_can_go_back_and_can_be_replayed_bit_by_bit(family: str, keep_queries: bool) -> None:
    context = new_context(family, layout=LayoutSettings(keep_queries=keep_queries))
    with torch.no_grad():
        context.append(CHUNKS[0])
        snapshot = context.snapshot()
        first = context.append(CHUNKS[1])
        context.append(CHUNKS[2])
        for _ in range(2):
            context.restore(snapshot)
            assert (len(context), context.position, context.num_tokens) == (1, snapshot.position, snapshot.num_tokens)
            assert torch.equal(context.append(CHUNKS[1]), first)
        context.replay(CHUNKS[:1])
        assert torch.equal(context.append(CHUNKS[1]), first)
    assert context.chunks == (CHUNKS[0], CHUNKS[1])


def test_the_queries_are_what_the_states_are_taken_from() -> None:
    with torch.no_grad():
        first = new_context().append(CHUNKS[0])
        other = ShotContext(toy_backbone("qwen3_vl"), QUERIES + 1).append(CHUNKS[0])
    assert first.shape == (1, 8, 32)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_kept_queries_a_shot_reads_what_it_would_without_earlier_queries(family: str) -> None:
    backbone = toy_backbone(family)
    context = new_context(family, layout=LayoutSettings(keep_queries=False))
    states = read(context, CHUNKS[:3])
    bare = [backbone.tokenize(chunk, 0, opens=not index) for index, chunk in enumerate(CHUNKS[:3])]
    whole = ChunkTokens.joined([*bare, backbone.query_tokens(len(QUERIES))])
    with torch.no_grad():
        expected, _ = backbone.forward(whole, QUERIES)
    torch.testing.assert_close(states[2], expected[:, -len(QUERIES) :], atol=1e-5, rtol=0)
    assert context.num_tokens == sum(len(tokens) for tokens in bare)
    kept = read(new_context(family), CHUNKS[:3])
    assert torch.allclose(states[0], kept[0], atol=1e-5)
    assert largest_difference(states[1:], kept[1:]) > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_window_keeps_the_references_and_the_last_shots(family: str) -> None:
    windowed = new_context(family, layout=LayoutSettings(window_shots=1))
    states = read(windowed, CHUNKS)
    references = CHUNKS[0].segments[:4]
    fresh = new_context(family)
    opening = ShotChunk(references + CHUNKS[2].segments, num_reference_segments=4)
    expected = read(fresh, [opening, CHUNKS[3]])
    assert torch.equal(states[3], expected[1])
    assert windowed.kept_chunks == (opening, CHUNKS[3])
    assert (windowed.num_tokens, windowed.position) == (fresh.num_tokens, fresh.position)
    assert windowed.chunks == tuple(CHUNKS)
    plain = read(new_context(family), CHUNKS)
    assert all(torch.equal(a, b) for a, b in zip(states[:2], plain[:2], strict=True))
    assert not torch.allclose(states[3], plain[3], atol=1e-4)


def test_a_window_can_be_taken_by_hand_and_a_short_context_stays_as_it_is() -> None:
    context = new_context()
    read(context, CHUNKS[:3])
    before = context.num_tokens
    with torch.no_grad():
        context.window(3)
        assert context.num_tokens == before
        context.window(2)
    assert context.num_tokens < before
    assert context.kept_chunks == (CHUNKS[1].after_references_of(CHUNKS[0]), CHUNKS[2])
    with pytest.raises(InputError, match="at least 1 shot, got 0"):
        context.window(0)


def test_a_windowed_context_resumes_bit_by_bit() -> None:
    layout = LayoutSettings(window_shots=2)
    unbroken = read(new_context(layout=layout), CHUNKS)
    resumed = new_context(layout=layout)
    with torch.no_grad():
        resumed.replay(CHUNKS[:3])
        assert torch.equal(resumed.append(CHUNKS[3]), unbroken[3])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cache_counts_its_bytes(family: str) -> None:
    context = new_context(family)
    sizes = []
    for chunk in CHUNKS[:2]:
        read(context, [chunk])
        sizes.append(context.cache_bytes)
    if family == "gemma3":
        assert sizes == [0, 0]
    elif family != "qwen3_5":
        layers, heads, width, bytes_per_value = 3, 2, 8, 4
        assert sizes[1] == context.num_tokens * 2 * layers * heads * width * bytes_per_value
    assert sizes[1] >= sizes[0]


def test_a_full_context_is_refused_with_the_cure() -> None:
    backbone = tiny_backbone()
    context = ShotContext(backbone, QUERIES)
    read(context, CHUNKS[:1])
    backbone.mllm.config.text_config.max_position_embeddings = context.num_tokens + len(QUERIES)
    before = context.num_tokens, context.position
    with pytest.raises(InputError, match=rf"holds {backbone.max_tokens}\. Give fewer shots"):
        read(context, CHUNKS[1:])
    assert (len(context), context.num_tokens, context.position) == (1, *before)


@pytest.mark.parametrize("is_incremental", [True, False])
def test_a_model_that_fails_on_the_way_leaves_a_context_that_can_be_replayed(is_incremental: bool) -> None:
    backbone = tiny_backbone()
    context = ShotContext(backbone, QUERIES, is_incremental=is_incremental)
    read(context, CHUNKS[:1])
    expected = read(new_context(is_incremental=is_incremental), CHUNKS[:2])[1]
    hook = backbone.mllm.model.language_model.layers[1].register_forward_hook(_fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        read(context, CHUNKS[1:2])
    hook.remove()
    with torch.no_grad():
        context.replay(context.chunks)
        assert torch.equal(context.append(CHUNKS[1]), expected)


def _fail(*_: object) -> None:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_are_brought_in_layer_by_layer_give_the_same_states(family: str) -> None:
    """Offloading hooks hang on each module's forward; calling an inner part by its weights would find none."""
    backbone = tiny_backbone(family)
    expected = read(ShotContext(backbone, QUERIES), CHUNKS[:2])
    accelerate.cpu_offload(backbone.mllm, execution_device=torch.device("cpu"))
    assert next(backbone.mllm.parameters()).is_meta
    context = ShotContext(backbone, QUERIES, device=torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(read(context, CHUNKS[:2]), expected, strict=True))
