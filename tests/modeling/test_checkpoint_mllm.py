"""A checkpoint holds the multimodal model in full, with a LoRA, or as a pointer; each comes back bit by bit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import DiffusionPipeline
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import MllmLoraSettings, add_mllm_lora
from animeshooter_hf.modeling.hub_checkpoint import load_checkpoint, save_checkpoint
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.testing import FAMILIES, tiny_mllm, tiny_pipeline

LORA = {"adapter_config.json", "adapter_model.safetensors"}
WHOLE = {"config.json", "generation_config.json", "model.safetensors"}


def toy(family: str = "qwen3_vl", *, with_lora: bool = False) -> AnimeShooterGenPipeline:
    pipeline = tiny_pipeline(height=16, width=16, num_frames=1, family=family)
    if with_lora:
        add_mllm_lora(pipeline.mllm, MllmLoraSettings(rank=4, alpha=64))
        generator = torch.Generator().manual_seed(0)
        for name, weight in pipeline.mllm.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.3, generator=generator)
    return pipeline


@torch.no_grad()
def logits(pipeline: DiffusionPipeline) -> Tensor:
    return pipeline.mllm(input_ids=torch.arange(60, 90)[None]).logits  # type: ignore[no-any-return]


def files_of(folder: Path) -> set[str]:
    return {path.name for path in (folder / "mllm").iterdir()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, and checkpoints of every kind beside it."""
    folder = tmp_path_factory.mktemp("place")
    toy().mllm.save_pretrained(folder / "base")
    save_checkpoint(toy(with_lora=True), folder / "lora")
    save_checkpoint(toy(with_lora=True), folder / "lora-pointer", mllm="pointer", mllm_base="../base")
    save_checkpoint(toy(), folder / "pointer", mllm="pointer", mllm_base="../base")
    return folder


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(place, tmp_path / "place"))


@pytest.mark.parametrize(
    ("name", "files", "with_lora"),
    [
        ("lora", LORA | WHOLE, True),
        ("lora-pointer", LORA, True),
        ("pointer", {"base_model.json"}, False),
    ],
)
def test_every_kind_comes_back_exactly(place: Path, name: str, files: set[str], with_lora: bool) -> None:
    assert files_of(place / name) == files
    loaded = load_checkpoint(place / name)
    assert torch.equal(logits(loaded), logits(toy(with_lora=with_lora)))
    assert not loaded.mllm.training
    if with_lora:
        assert not torch.equal(logits(loaded), logits(toy()))
        assert loaded.mllm.peft_config["default"].lora_alpha == 64


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "qwen3_vl"])
def test_every_family_comes_back_exactly_with_its_lora(family: str, tmp_path: Path) -> None:
    pipeline = toy(family, with_lora=True)
    save_checkpoint(pipeline, tmp_path)
    assert torch.equal(logits(load_checkpoint(tmp_path)), logits(pipeline))


def test_a_loaded_one_is_saved_again_the_same(place: Path, tmp_path: Path) -> None:
    save_checkpoint(load_checkpoint(place / "lora"), tmp_path / "again")
    for name in ("model.safetensors", "adapter_model.safetensors"):
        assert (tmp_path / "again/mllm" / name).read_bytes() == (place / "lora/mllm" / name).read_bytes()


def test_a_folder_that_is_saved_into_again_holds_one_kind_only(tmp_path: Path) -> None:
    toy().mllm.save_pretrained(tmp_path / "base")
    folder = tmp_path / "model"
    save_checkpoint(toy(with_lora=True), folder)
    save_checkpoint(toy(), folder, mllm="pointer", mllm_base="../base")
    assert files_of(folder) == {"base_model.json"}
    save_checkpoint(toy(with_lora=True), folder, mllm="pointer", mllm_base="../base")
    assert files_of(folder) == LORA
    save_checkpoint(toy(), folder, max_shard_size="100KB")
    save_checkpoint(toy(), folder)
    assert files_of(folder) == WHOLE
    assert torch.equal(logits(load_checkpoint(folder)), logits(toy()))


def test_a_checkpoint_can_be_saved_into_the_folder_that_it_was_loaded_from(tmp_path: Path) -> None:
    save_checkpoint(toy(with_lora=True), tmp_path)
    save_checkpoint(load_checkpoint(tmp_path), tmp_path)
    assert torch.equal(logits(load_checkpoint(tmp_path)), logits(toy(with_lora=True)))


def test_a_quantized_model_with_a_lora_is_written_as_a_pointer_only(tmp_path: Path) -> None:
    pipeline = toy(with_lora=True)
    pipeline.mllm.hf_quantizer = object()
    with pytest.raises(InputError, match='cannot be written in full; use mllm="pointer"'):
        save_checkpoint(pipeline, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_saving_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    pipeline = toy(with_lora=True)
    before = logits(pipeline)
    save_checkpoint(pipeline, tmp_path / "a", mllm="pointer", mllm_base="../base")
    assert "save_pretrained" not in vars(pipeline.mllm)
    assert torch.equal(logits(pipeline), before)


def test_the_type_of_the_weights_reaches_a_model_that_is_pointed_to(place: Path) -> None:
    loaded = load_checkpoint(place / "lora-pointer", dtype=torch.bfloat16)
    assert {loaded.mllm.dtype, loaded.adapter.dtype, loaded.transformer.dtype} == {torch.bfloat16}


def test_a_model_that_is_given_is_not_looked_for(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "pointer", tmp_path / "pointer")
    given = toy().mllm
    assert load_checkpoint(tmp_path / "pointer", mllm=given).mllm is given


def test_a_lora_that_got_lost_is_found_out_also_by_plain_diffusers(copy: Path) -> None:
    for name in LORA:
        (copy / "lora/mllm" / name).unlink()
    with pytest.raises(InputError, match=r"1 weights of mllm are missing, such as adapter_model\.safetensors"):
        load_checkpoint(copy / "lora")
    with pytest.raises(InputError, match=r"1 weights of mllm are missing, such as adapter_model\.safetensors"):
        DiffusionPipeline.from_pretrained(
            str(copy / "lora"), custom_pipeline=str(copy / "lora"), trust_remote_code=True
        )


def test_the_own_class_never_runs_code_of_a_checkpoint(copy: Path) -> None:
    for file in ("pipeline.py", "adapter/animeshooter_hf.modeling.adapter.py"):
        (copy / "pointer" / file).write_text("raise SystemExit('it ran')\n")
    assert torch.equal(logits(load_checkpoint(copy / "pointer")), logits(toy()))


def remove_base(place: Path) -> None:
    shutil.rmtree(place / "base")


def break_pointer(place: Path) -> None:
    (place / "pointer/mllm/base_model.json").write_text('{"base_model_name_or_path": 3}')


def point_to_another_model(place: Path) -> None:
    shutil.rmtree(place / "base")
    tiny_mllm("llava").save_pretrained(place / "base")


def name_a_class_that_is_gone(place: Path) -> None:
    index = place / "pointer/model_index.json"
    index.write_text(index.read_text().replace("animeshooter_hf.modeling.adapter", "animeshooter_hf.modeling.gone"))


def name_an_unknown_mllm(place: Path) -> None:
    index = place / "pointer/model_index.json"
    index.write_text(index.read_text().replace("Qwen3VLForConditionalGeneration", "NvilaForEverything"))


def name_no_class(place: Path) -> None:
    index = place / "pointer/model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "vae": ["diffusers", 3]}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_base, r"holds no multimodal model but points to \.\./base, which cannot be loaded: there is no folder"),
        (break_pointer, r"base_model\.json names no base model that can be read"),
        (point_to_another_model, r"(points to \.\./base, which cannot be loaded|not whole)"),
        (name_a_class_that_is_gone, r"names animeshooter_hf\.modeling\.gone\.ShotConditionAdapter for adapter, which"),
        (name_an_unknown_mllm, "transformers has no model class NvilaForEverything"),
        (name_no_class, "names the class of vae as"),
    ],
)
def test_a_pointer_to_nothing_is_refused_with_one_sentence(
    copy: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(copy)
    with pytest.raises(InputError, match=message) as refusal:
        load_checkpoint(copy / "pointer")
    assert "\n" not in str(refusal.value)


def test_a_lora_that_does_not_fit_its_base_is_refused(copy: Path) -> None:
    config = json.loads((copy / "base/config.json").read_text())
    config["text_config"]["num_attention_heads"] = 8
    shutil.rmtree(copy / "base")
    mllm = toy().mllm
    type(mllm)(type(mllm.config)(**config)).save_pretrained(copy / "base")
    with pytest.raises(InputError, match=r"is for another model \(\.\./base\)"):
        load_checkpoint(copy / "lora-pointer")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mllm": "half"}, 'mllm must be "full" or "pointer", got'),
        ({"mllm_base": "a/b"}, 'mllm_base and mllm_base_revision go with mllm="pointer"'),
        ({"mllm": "pointer"}, "cannot be found from another machine"),
        ({"mllm": "pointer", "mllm_base": "/base"}, "cannot be found from another machine"),
        ({"push_to_hub": True}, "Call push_to_hub"),
    ],
)
def test_bad_ways_to_save_are_refused_and_nothing_is_written(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        save_checkpoint(toy(), tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_several_loras_and_places_that_are_files_are_refused(tmp_path: Path) -> None:
    pipeline = toy(with_lora=True)
    add_mllm_lora(pipeline.mllm, MllmLoraSettings(rank=4, alpha=4), adapter_name="other")
    with pytest.raises(InputError, match="holds one LoRA of the multimodal model, named 'default'; there are default"):
        save_checkpoint(pipeline, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="it is, or lies in, a file"):
        save_checkpoint(toy(), tmp_path / "file/deeper")


def test_the_card_tells_where_parts_come_from_and_whose_licence_holds(tmp_path: Path) -> None:
    pipeline = toy(with_lora=True)
    pipeline.mllm.config._name_or_path = "Qwen/Qwen3-VL-8B-Instruct"
    pipeline.transformer.register_to_config(_name_or_path="zai-org/CogVideoX-2b")
    save_checkpoint(
        pipeline, tmp_path, mllm="pointer", mllm_base_revision="abc123", datasets=["me/toon"], licence="apache-2.0"
    )
    card = (tmp_path / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert set(header.pop("base_model")) == {"Qwen/Qwen3-VL-8B-Instruct", "zai-org/CogVideoX-2b"}
    assert header == {
        "library_name": "diffusers",
        "pipeline_tag": "image-to-video",
        "license": "apache-2.0",
        "datasets": ["me/toon"],
        "tags": ["animeshooter", "animation", "multi-shot", "reference-guided", "text-to-video", "random-weights"],
    }
    assert "pointer to `Qwen/Qwen3-VL-8B-Instruct`\nat revision `abc123`" in card
    assert "LoRA of rank 4 and alpha 64" in card
    assert "[zai-org/CogVideoX-2b](https://huggingface.co/zai-org/CogVideoX-2b) | Apache-2.0 |" in card
    assert "None" not in card
    assert "{{" not in card


def test_a_card_of_which_nothing_is_known_claims_nothing(place: Path) -> None:
    card = (place / "lora/README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert not {"license", "base_model", "datasets"} & set(header)
    assert "No licence was given for the weights that are new in here." in card
    assert str(place) not in card
