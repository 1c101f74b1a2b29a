"""`python -m animeshooter_hf.modeling.check_backbone` tells whether a user's own checkpoint is exact."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from animeshooter_hf.modeling.check_backbone import main
from animeshooter_hf.modeling.testing_mllms import tiny_mllm, tiny_processor


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    tiny_mllm("qwen3_vl").save_pretrained(folder)
    tiny_processor("qwen3_vl").save_pretrained(folder)
    return folder


def test_an_exact_checkpoint_ends_with_0(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkpoint)]) == 0
    said = capsys.readouterr().out
    assert "qwen3_vl: chunks are appended to a cache." in said
    assert "Exact to 1e-05" in said


def test_half_precision_and_json_are_options(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkpoint), "--dtype", "bfloat16", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed"]
    assert 0 < result["max_abs_error"] < 0.1


def test_a_checkpoint_that_is_not_exact_ends_with_1(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In bfloat16 the states are not equal to 1e-5."""
    assert main([str(checkpoint), "--dtype", "bfloat16", "--tolerance", "1e-5"]) == 1
    assert "NOT exact to 1e-05" in capsys.readouterr().out


def test_what_cannot_be_checked_ends_with_2_and_one_sentence(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "cannot be loaded" in capsys.readouterr().err
    assert main([str(checkpoint), "--dtype", "int8"]) == 2
    assert "dtype must be one of float32, bfloat16, float16" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert main([str(tmp_path)]) == 2
    assert "is of type 'bert', not supported; supported are" in capsys.readouterr().err


def test_a_checkpoint_that_lacks_a_weight_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    lost = "model.language_model.norm.weight"
    del weights[lost]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert main([str(tmp_path)]) == 2
    assert f"lacks 1 weights, such as {lost}" in capsys.readouterr().err
