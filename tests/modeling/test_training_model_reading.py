"""Windows that are read in one pass have the states of a context that grows shot by shot."""

from functools import cache

import pytest
import torch

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import Backbone, ChunkTokens, MllmLoraSettings, add_mllm_lora
from animeshooter_hf.modeling.context import ShotContext
from animeshooter_hf.modeling.prompt_layout import LayoutSettings, ShotChunk, fit_image
from animeshooter_hf.modeling.testing_mllms import FAMILIES, noise_image, tiny_backbone, tiny_chunks, tiny_queries
from animeshooter_hf.modeling.training.packed_reading import is_packed, read_windows
from animeshooter_hf.modeling.training.vision_features import picture_features, vision_mark

torch.set_num_threads(1)

TOLERANCE = 1e-5
LAYOUTS = {
    "plain": LayoutSettings(),
    "queries do not stay": LayoutSettings(keep_queries=False),
    "window": LayoutSettings(window_shots=1),
}


@cache
def backbone_of(family: str) -> Backbone:
    if family == "smolvlm":
        pytest.importorskip("num2words", reason="SmolVLM's processor needs the package num2words")
    return tiny_backbone(family)


def stories() -> list[list[ShotChunk]]:
    """Stories of 4, 3 and 2 shots and of other lengths in tokens, one of whose shots has no picture."""
    short = [ShotChunk(("Mia naps.",)), ShotChunk((noise_image(90, 32, 32), "Mia wakes up and yawns for a long time."))]
    return [tiny_chunks(0), tiny_chunks(1)[:3], short]


@torch.no_grad()
def one_by_one(backbone: Backbone, layout: LayoutSettings, *, is_incremental: bool | None) -> list[list[torch.Tensor]]:
    found = []
    for story in stories():
        context = ShotContext(backbone, tiny_queries(), layout=layout, is_incremental=is_incremental)
        found.append([context.append(chunk)[0] for chunk in story])
    return found


@pytest.mark.parametrize(
    ("family", "layout"),
    [*((family, "plain") for family in FAMILIES)]
    + [(family, layout) for family in ("qwen3_vl", "qwen3_5") for layout in list(LAYOUTS)[1:]]
    + [("gemma3", "window")],
)
def test_states_equal_those_of_a_growing_context_and_of_separate_passes(family: str, layout: str) -> None:
    backbone, layout_used = backbone_of(family), LAYOUTS[layout]
    with torch.no_grad():
        states_BSQM = read_windows(backbone, tiny_queries(), stories(), layout_used)
    assert states_BSQM.shape == (3, 4, 8, 32)
    for is_incremental in (None, False):
        for number, story in enumerate(one_by_one(backbone, layout_used, is_incremental=is_incremental)):
            for shot, states_QM in enumerate(story):
                torch.testing.assert_close(states_BSQM[number, shot], states_QM, rtol=0, atol=TOLERANCE)
    assert not states_BSQM[2, 2:].any()


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5", "llava_onevision"])
def test_what_stands_behind_or_beside_a_story_changes_nothing_in_it(family: str) -> None:
    backbone = backbone_of(family)
    with torch.no_grad():
        alone = read_windows(backbone, tiny_queries(), stories()[2:])[0]
        beside = read_windows(backbone, tiny_queries(), stories())[2, :2]
    torch.testing.assert_close(beside, alone, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_of_joined_chunks_are_those_of_the_chunks_moved_to_where_they_stand(family: str) -> None:
    backbone = backbone_of(family)
    chunks = [backbone.tokenize(chunk, 8, opens=not index) for index, chunk in enumerate(tiny_chunks())]
    moved, start = [], 0
    for chunk in chunks:
        own = backbone._positions(chunk) + start
        moved.append(own)
        start = int(own.max()) + 1
    assert torch.equal(torch.cat(moved, dim=-1), backbone._positions(ChunkTokens.joined(chunks)))


def test_only_causal_families_whose_queries_stay_and_who_see_all_are_packed() -> None:
    qwen, gemma = backbone_of("qwen3_vl"), backbone_of("gemma3")
    assert is_packed(qwen, LayoutSettings(), 3)
    assert not is_packed(gemma, LayoutSettings(), 3)
    assert not is_packed(qwen, LayoutSettings(keep_queries=False), 3)
    assert [is_packed(qwen, LayoutSettings(window_shots=2), shots) for shots in (3, 4)] == [True, False]


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "gemma3"])
def test_kept_vision_features_stand_in_for_the_vision_tower(family: str) -> None:
    backbone = backbone_of(family)
    fitted = [
        [ShotChunk(tuple(part if isinstance(part, str) else fit_image(part, 64 * 64) for part in chunk.segments))
         for chunk in story]
        for story in stories()
    ]  # fmt: skip
    images = [image for story in fitted for chunk in story for image in chunk.images]
    features = {vision_mark(image): picture_features(backbone, image) for image in images}
    with torch.no_grad():
        plain = read_windows(backbone, tiny_queries(), fitted)
        kept = read_windows(backbone, tiny_queries(), fitted, vision_features=features)
        other = {mark: {name: value + 1 for name, value in one.items()} for mark, one in features.items()}
        moved = read_windows(backbone, tiny_queries(), fitted, vision_features=other)
        features.popitem()
        missing_one = read_windows(backbone, tiny_queries(), fitted, vision_features=features)
    torch.testing.assert_close(kept, plain, rtol=0, atol=TOLERANCE)
    assert (moved - plain).abs().max() > 1e-3
    assert torch.equal(missing_one, plain)


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5", "gemma3"])
def test_gradients_reach_queries_lora_and_vision_tower(family: str) -> None:
    backbone = tiny_backbone(family)
    add_mllm_lora(backbone.mllm, MllmLoraSettings(rank=2, alpha=2))
    vision = [weight for name, weight in backbone.mllm.named_parameters() if "vis" in name and weight.ndim > 1]
    for weight in vision:
        weight.requires_grad_(True)
    queries = tiny_queries().requires_grad_(True)
    read_windows(backbone, queries, stories()[:2])[0, 2].square().sum().backward()
    assert queries.grad is not None
    assert queries.grad.abs().min(dim=1).values.max() > 0
    loras = [weight for name, weight in backbone.mllm.named_parameters() if ".lora_B." in name]
    assert all(weight.grad is not None and weight.grad.any() for weight in loras)
    assert any(weight.grad is not None and weight.grad.any() for weight in vision)


def test_gradients_are_those_of_separate_passes() -> None:
    backbone = backbone_of("qwen3_vl")
    packed, separate = tiny_queries().requires_grad_(True), tiny_queries().requires_grad_(True)
    chunks = stories()[1]
    read_windows(backbone, packed, [chunks]).square().sum().backward()
    for shot in range(len(chunks)):
        read_windows(backbone, separate, [chunks[: shot + 1]])[0, -1].square().sum().backward()
    torch.testing.assert_close(packed.grad, separate.grad, rtol=1e-4, atol=1e-4)


def test_a_window_that_does_not_fit_into_the_context_is_refused() -> None:
    backbone = tiny_backbone("qwen3_vl")
    backbone.mllm.config.get_text_config().max_position_embeddings = 100
    with pytest.raises(InputError, match=r"A window needs \d+ tokens, but the model's context holds 100"):
        read_windows(backbone, tiny_queries(), stories())


def test_reading_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="every story needs at least one shot"):
        read_windows(backbone_of("qwen3_vl"), tiny_queries(), [tiny_chunks(), []])
