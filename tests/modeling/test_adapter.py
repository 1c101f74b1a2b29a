"""The adapter: shapes, null embeddings, gradient checkpointing, what diffusers asks of a model."""

import pytest
import torch

from animeshooter_hf.modeling.adapter import ShotConditionAdapter


@pytest.fixture
def adapter() -> ShotConditionAdapter:
    torch.manual_seed(0)
    sizes = {"num_queries": 4, "mllm_hidden_size": 12, "condition_length": 6, "text_dim": 10}
    return ShotConditionAdapter(**sizes, hidden_size=8, num_layers=2, num_heads=2)


def test_the_defaults_are_the_papers_and_fit_cogvideox_2b() -> None:
    with torch.device("meta"):
        adapter = ShotConditionAdapter()
        condition = adapter(torch.empty(1, 64, 2048))
    assert adapter.query_tokens.shape == (64, 2048)
    assert len(adapter.blocks) == 12
    assert condition.shape == (1, 226, 4096)
    assert adapter.condition_shape == (226, 4096)


def test_stories_in_one_batch_do_not_touch_each_other(adapter: ShotConditionAdapter) -> None:
    states = torch.randn(3, 4, 12)
    torch.testing.assert_close(adapter(states)[1:2], adapter(states[1:2]))


def test_gradient_checkpointing_changes_no_gradient(adapter: ShotConditionAdapter) -> None:
    states = torch.randn(2, 4, 12)
    adapter(states).square().mean().backward()
    plain = adapter.blocks[0].mlp[0].weight.grad.clone()
    adapter.zero_grad()
    adapter.enable_gradient_checkpointing()
    assert adapter.gradient_checkpointing
    adapter(states).square().mean().backward()
    torch.testing.assert_close(adapter.blocks[0].mlp[0].weight.grad, plain)


def test_output_statistics_scale_the_condition(adapter: ShotConditionAdapter) -> None:
    states = torch.randn(1, 4, 12)
    before = adapter(states)
    adapter.output_mean.fill_(2.0)
    adapter.output_std.fill_(3.0)
    torch.testing.assert_close(adapter(states), before * 3 + 2)


def test_null_embeds_are_stored_and_saved(
    adapter: ShotConditionAdapter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    null = torch.randn(1, 6, 10)
    adapter.set_null_embeds(null)
    folder = tmp_path_factory.mktemp("adapter")
    adapter.save_pretrained(folder)
    assert torch.equal(ShotConditionAdapter.from_pretrained(folder).null_embeds, null)


def test_wrong_shapes_are_refused(adapter: ShotConditionAdapter) -> None:
    with pytest.raises(ValueError, match=r"must have the shape \(batch, 4, 12\), got \(1, 5, 12\)"):
        adapter(torch.randn(1, 5, 12))
    with pytest.raises(ValueError, match=r"null_embeds must have the shape \(1, 6, 10\)"):
        adapter.set_null_embeds(torch.zeros(1, 5, 10))
    with pytest.raises(ValueError, match="num_heads must divide"):
        ShotConditionAdapter(hidden_size=10, num_heads=3)
    with pytest.raises(ValueError, match="at least 1"):
        ShotConditionAdapter(num_layers=0)
