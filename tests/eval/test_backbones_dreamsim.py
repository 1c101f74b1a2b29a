"""DreamSim and CSD from checkpoints in their authors' layouts, held against transformers with the same weights.

Both come from the module of ours in eval/backbones/vision_transformer.py; the oracle shares no line with it.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import load_backbone
from animeshooter_hf.eval.backbones.preparation import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, Preparation
from animeshooter_hf.eval.views import View

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

WIDTH, DEPTH, HIDDEN, PATCH, SIDE, OUT, RANK, ALPHA = 128, 2, 192, 8, 32, 24, 4, 10.0
POSITIONS = (SIDE // PATCH) ** 2 + 1
BRANCHES = ("dino_vitb16", "clip_vitb16", "open_clip_vitb16")
Weights = dict[str, np.ndarray]


def vit_weights(rng: np.random.Generator, *, is_clip: bool) -> Weights:
    """Return seeded weights under DINO's names; CLIP's have a norm before the blocks and no bias at the patches."""

    def some(*shape: int) -> np.ndarray:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)

    weights = {"cls_token": some(1, 1, WIDTH), "pos_embed": some(1, POSITIONS, WIDTH)}
    weights["patch_embed.proj.weight"] = some(WIDTH, 3, PATCH, PATCH)
    weights["patch_embed.proj.bias"] = np.zeros(WIDTH, np.float32) if is_clip else some(WIDTH)
    for norm in ["norm", *(["pos_drop"] if is_clip else [])]:
        weights |= {f"{norm}.weight": 1 + some(WIDTH), f"{norm}.bias": some(WIDTH)}
    sizes = {"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH), "mlp.fc1": (HIDDEN, WIDTH)}
    sizes["mlp.fc2"] = (WIDTH, HIDDEN)
    for block in (f"blocks.{index}" for index in range(DEPTH)):
        for norm in ("norm1", "norm2"):
            weights |= {f"{block}.{norm}.weight": 1 + some(WIDTH), f"{block}.{norm}.bias": some(WIDTH)}
        for layer, size in sizes.items():
            weights |= {f"{block}.{layer}.weight": some(*size), f"{block}.{layer}.bias": some(size[0])}
    if is_clip:
        weights["proj"] = some(WIDTH, OUT)
    return weights


def write_official(folder: Path, branches: tuple[str, ...], seed: int = 0) -> dict[str, Weights]:
    """Write base networks and a LoRA as the authors' zip has them; return the weights after merging by hand."""
    rng = np.random.default_rng(seed)
    lora: Weights = {}
    merged = {}
    for index, branch in enumerate(branches):
        base = vit_weights(rng, is_clip="clip" in branch)
        tensors = {name: torch.from_numpy(weight) for name, weight in base.items()}
        if branch.startswith("dino"):
            head = {"head.mlp.0.weight": torch.ones(2, 2)}
            teacher = {f"backbone.{name}": weight for name, weight in tensors.items()} | head
            torch.save({"student": {}, "teacher": teacher}, folder / f"{branch}_pretrain.pth")
        else:
            torch.save({"state_dict": tensors}, folder / f"{branch}_pretrain.pth.tar")
        merged[branch] = dict(base)
        for block in range(DEPTH):
            layer = f"blocks.{block}.attn.qkv"
            low = rng.standard_normal((RANK, WIDTH)).astype(np.float32) * 0.1
            high = rng.standard_normal((3 * WIDTH, RANK)).astype(np.float32) * 0.1
            prefix = f"base_model.model.extractor_list.{index}.model.{layer}"
            lora |= {f"{prefix}.lora_A.weight": low, f"{prefix}.lora_B.weight": high}
            merged[branch][f"{layer}.weight"] = base[f"{layer}.weight"] + ALPHA / RANK * high @ low
    adapter = folder / ("ensemble_lora" if len(branches) > 1 else f"{branches[0]}_single_lora")
    adapter.mkdir()
    settings = {"r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.3, "bias": "none", "target_modules": ["qkv"]}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    save_file(lora, adapter / "adapter_model.safetensors")
    return merged


def transformers_rows(weights: Weights, branch: str, images: list[np.ndarray]) -> np.ndarray:
    """Return what transformers' network makes of the same weights: an implementation that shares no line with ours."""
    sizes = {"hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": DEPTH, "num_attention_heads": 2}
    sizes |= {"image_size": SIDE, "patch_size": PATCH}
    is_dino = branch.startswith("dino")
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if is_dino else (CLIP_MEAN, CLIP_STD)
    preparation = Preparation(size=(SIDE, SIDE), mean=mean, std=std)
    pixels = torch.from_numpy(preparation.normalise([preparation.prepare(View(image)) for image in images]))
    if is_dino:
        config = transformers.ViTConfig(**sizes, layer_norm_eps=1e-6)
        model = transformers.ViTModel(config, add_pooling_layer=False)
        names = VIT_NAMES
    else:
        activation = "quick_gelu" if branch.startswith("clip") else "gelu"
        config = transformers.CLIPVisionConfig(**sizes, projection_dim=OUT, hidden_act=activation)
        model = transformers.CLIPVisionModelWithProjection(config)
        names = CLIP_NAMES
    model.load_state_dict(renamed(weights, names), strict=True)
    with torch.no_grad():
        if is_dino:
            return model.eval()(pixels, output_hidden_states=True).hidden_states[-1][:, 0].numpy()
        return model.eval()(pixels).image_embeds.numpy()


CLIP_LAYER = r"vision_model.encoder.layers.\1."
CLIP_NAMES = [
    (r"^cls_token$", "vision_model.embeddings.class_embedding"),
    (r"^pos_embed$", "vision_model.embeddings.position_embedding.weight"),
    (r"^patch_embed\.proj\.weight$", "vision_model.embeddings.patch_embedding.weight"),
    (r"^pos_drop\.", "vision_model.pre_layrnorm."),
    (r"^norm\.", "vision_model.post_layernorm."),
    (r"^proj$", "visual_projection.weight"),
    (r"^blocks\.(\d+)\.norm(\d)\.", CLIP_LAYER + r"layer_norm\2."),
    (r"^blocks\.(\d+)\.mlp\.", CLIP_LAYER + "mlp."),
    (r"^blocks\.(\d+)\.attn\.proj\.", CLIP_LAYER + "self_attn.out_proj."),
    (r"^blocks\.(\d+)\.attn\.qkv\.", CLIP_LAYER + "self_attn.{}_proj."),
]
VIT_NAMES = [
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.(\d+)\.norm1\.", r"layers.\1.layernorm_before."),
    (r"^blocks\.(\d+)\.norm2\.", r"layers.\1.layernorm_after."),
    (r"^blocks\.(\d+)\.mlp\.", r"layers.\1.mlp."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"layers.\1.attention.o_proj."),
    (r"^blocks\.(\d+)\.attn\.qkv\.", r"layers.\1.attention.{}_proj."),
]


def renamed(weights: Weights, names: list[tuple[str, str]]) -> dict:
    """Return the weights under transformers' names, queries, keys and values apart."""
    found = {}
    for name, weight in weights.items():
        if name == "patch_embed.proj.bias" and names is CLIP_NAMES:
            continue
        old, new = next(pair for pair in names if re.match(pair[0], name))
        target = re.sub(old, new, name)
        if names is CLIP_NAMES:
            weight = {"cls_token": weight.reshape(-1), "pos_embed": weight[0], "proj": weight.T}.get(name, weight)
        if "{}" in target:
            for letter, part in zip("qkv", np.split(weight, 3), strict=True):
                found[target.format(letter)] = torch.from_numpy(part.copy())
        else:
            found[target] = torch.from_numpy(np.ascontiguousarray(weight))
    return found


def centred_unit(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((48, 80), (80, 47), (32, 32))]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SimpleNamespace]:
    """Name -> folder, merged weights and backend."""
    kinds = {
        "dreamsim": BRANCHES,
        "dreamsim-dino": ("dino_vitb16",),
        "dreamsim-clip": ("clip_vitb32",),
        "dreamsim-open-clip": ("open_clip_vitb32",),
    }
    found = {}
    for name, branches in kinds.items():
        folder = tmp_path_factory.mktemp(name)
        merged = write_official(folder, branches)
        found[name] = SimpleNamespace(folder=folder, merged=merged, backbone=load_backbone(f"{name}:{folder}"))
    return found


@pytest.mark.parametrize("name", ["dreamsim", "dreamsim-dino", "dreamsim-clip", "dreamsim-open-clip"])
def test_rows_are_those_of_transformers_networks_with_the_lora_merged(name: str, toys: dict, images: list) -> None:
    parts = [transformers_rows(weights, branch, images) for branch, weights in toys[name].merged.items()]
    theirs = centred_unit(np.concatenate(parts, axis=1))
    ours = toys[name].backbone.embed([View(image) for image in images], "identity")
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_similarity_is_pearsons_correlation_of_the_joined_embeddings(toys: dict, images: list) -> None:
    parts = [transformers_rows(weights, branch, images) for branch, weights in toys["dreamsim"].merged.items()]
    correlation = np.corrcoef(np.concatenate(parts, axis=1))
    backbone = toys["dreamsim"].backbone
    rows = backbone.embed([View(image) for image in images], "look")
    np.testing.assert_allclose(backbone.similarity(rows, rows), np.clip(correlation, 1e-6, 1), atol=1e-5)


def test_batched_rows_are_single_rows(toys: dict, images: list) -> None:
    for toy in toys.values():
        views = [View(image) for image in images]
        apart = np.concatenate([toy.backbone.embed([view], "look") for view in views])
        np.testing.assert_allclose(toy.backbone.embed(views, "look"), apart, atol=1e-6)


def test_merged_weights_can_be_kept_as_safetensors(toys: dict, images: list, tmp_path: Path) -> None:
    from animeshooter_hf.eval.backbones.dreamsim_weights import read_dreamsim, write_merged
    from animeshooter_hf.eval.backbones.pretrained import Checkpoint

    states = read_dreamsim(Checkpoint(toys["dreamsim"].folder, "official"), BRANCHES)
    write_merged(states, tmp_path / "merged")
    views = [View(image) for image in images]
    again = load_backbone(f"dreamsim:{tmp_path / 'merged'}")
    np.testing.assert_array_equal(again.embed(views, "look"), toys["dreamsim"].backbone.embed(views, "look"))
    with pytest.raises(InputError, match="this backend is clip_vitb32"):
        load_backbone(f"dreamsim-clip:{tmp_path / 'merged'}")


def test_dinos_weights_are_taken_from_torch_hubs_file_where_it_lies(toys: dict, images: list, tmp_path: Path) -> None:
    folder = copytree(toys["dreamsim-dino"].folder, tmp_path / "hub")
    teacher = torch.load(folder / "dino_vitb16_pretrain.pth", weights_only=True)["teacher"]
    plain = {name.removeprefix("backbone."): weight for name, weight in teacher.items() if "head" not in name}
    (folder / "dino_vitb16_pretrain.pth").unlink()
    (folder / "checkpoints").mkdir()
    torch.save(plain, folder / "checkpoints" / "dino_vitbase16_pretrain.pth")
    views = [View(image) for image in images]
    again = load_backbone(f"dreamsim-dino:{folder}").embed(views, "look")
    np.testing.assert_array_equal(again, toys["dreamsim-dino"].backbone.embed(views, "look"))


def change_lora(folder: Path, change: Callable[[dict], object]) -> None:
    from safetensors.numpy import load_file

    path = folder / "clip_vitb32_single_lora" / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def change_settings(folder: Path, **values: object) -> None:
    path = folder / "clip_vitb32_single_lora" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_base(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "clip_vitb32_pretrain.pth.tar"
    state = torch.load(path, weights_only=True)
    change(state["state_dict"])
    torch.save(state, path)


FIRST = "base_model.model.extractor_list.0.model.blocks.0.attn.qkv.lora_A.weight"


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda folder: (folder / "clip_vitb32_pretrain.pth.tar").unlink(), "pretrain.pth.tar is missing"),
        (lambda folder: (folder / "clip_vitb32_pretrain.pth.tar").write_bytes(b"x" * 50), "cannot be loaded"),
        (lambda folder: (folder / "clip_vitb32_single_lora" / "adapter_model.safetensors").unlink(), "is missing"),
        (lambda folder: (folder / "clip_vitb32_single_lora" / "adapter_config.json").unlink(), "is missing"),
        (lambda folder: change_settings(folder, use_dora=True), "not plain"),
        (lambda folder: change_settings(folder, r="many"), "cannot be read as the settings"),
        (lambda folder: change_lora(folder, lambda lora: lora.pop(FIRST)), "does not fit the base network"),
        (lambda folder: change_lora(folder, lambda lora: lora.clear()), "lacks weights"),
        (
            lambda folder: change_lora(folder, lambda lora: lora.update(extra=np.ones(2, np.float32))),
            "not known: 1, such as extra",
        ),
        (
            lambda folder: change_lora(folder, lambda lora: lora.update({FIRST: np.ones((RANK, 9), np.float32)})),
            "another shape",
        ),
        (lambda folder: change_base(folder, lambda base: base.pop("norm.bias")), "lacks weights: 1, such as norm.bias"),
        (lambda folder: change_base(folder, lambda base: base.pop("proj")), "lacks weights: state_dict with proj"),
        (lambda folder: change_base(folder, lambda base: base.pop("cls_token")), "no vision transformer"),
        (lambda folder: change_base(folder, lambda base: base.update(new=torch.ones(2))), "not known: 1, such as new"),
        (
            lambda folder: change_base(
                folder, lambda base: base.update({"norm.bias": torch.full((WIDTH,), torch.nan)})
            ),
            "not finite",
        ),
        (
            lambda folder: change_base(folder, lambda base: base.update({"norm.bias": torch.ones(WIDTH + 1)})),
            "another shape",
        ),
    ],
)
def test_a_dreamsim_folder_that_is_not_whole_is_refused(
    damage: Callable, word: str, toys: dict, tmp_path: Path
) -> None:
    folder = copytree(toys["dreamsim-clip"].folder, tmp_path / "broken")
    damage(folder)
    with pytest.raises(InputError, match=word):
        load_backbone(f"dreamsim-clip:{folder}")


def test_dreamsim_without_a_folder_says_where_the_weights_are() -> None:
    with pytest.raises(InputError, match=r"dreamsim_ensemble_checkpoint\.zip and give its folder: dreamsim:FOLDER"):
        load_backbone("dreamsim")


def write_csd(folder: Path, name: str = "pytorch_model.bin", **changes: object) -> Weights:
    """Write CSD's weights under OpenAI's names; return those of the style half under DINO's."""
    weights = vit_weights(np.random.default_rng(5), is_clip=True)
    turned = {"cls_token": weights["cls_token"].reshape(-1), "pos_embed": weights["pos_embed"][0]}
    names = [
        ("cls_token", "class_embedding"), ("pos_embed", "positional_embedding"), ("patch_embed.proj", "conv1"),
        ("pos_drop", "ln_pre"), ("blocks", "transformer.resblocks"), ("norm1", "ln_1"), ("norm2", "ln_2"),
        ("attn.qkv.weight", "attn.in_proj_weight"), ("attn.qkv.bias", "attn.in_proj_bias"),
        ("attn.proj", "attn.out_proj"), ("fc1", "c_fc"), ("fc2", "c_proj"),
    ]  # fmt: skip
    state: dict = {"last_layer_style": weights["proj"], "last_layer_content": weights["proj"] * 2}
    for old, weight in weights.items():
        if old in ("proj", "patch_embed.proj.bias"):
            continue
        new = re.sub(r"^norm\.", "ln_post.", old)
        for theirs, openai in names:
            new = new.replace(theirs, openai)
        state[f"backbone.{new}"] = turned.get(old, weight)
    state |= changes
    tensors = {key: torch.from_numpy(weight.copy()) for key, weight in state.items() if weight is not None}
    if name.endswith(".safetensors"):
        save_file({key: weight.numpy() for key, weight in tensors.items()}, folder / name)
    else:
        nested = {"model_state_dict": {f"module.{key}": weight for key, weight in tensors.items()}}
        torch.save(nested if name == "checkpoint.pth" else tensors, folder / name)
    return weights


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "checkpoint.pth"])
def test_style_rows_are_those_of_transformers_network(name: str, images: list, tmp_path: Path) -> None:
    weights = write_csd(tmp_path, name)
    rows = transformers_rows(weights, "clip", [image for image in images if image.shape[0] == image.shape[1]])
    ours = load_backbone(f"csd:{tmp_path}").embed([View(images[2])], "look")
    np.testing.assert_allclose(ours, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"last_layer_style": None}, "lacks weights: last_layer_style"),
        ({"last_layer_style": np.ones((3, 4), np.float32)}, "last_layer_style does not fit"),
        ({"backbone.ln_post.bias": None}, "lacks weights: 1, such as norm.bias"),
        ({"backbone.ln_post.weight": None}, "lacks weights: 1, such as norm.weight"),
        ({"backbone.new": np.ones(3, np.float32)}, "not known: 1, such as new"),
        ({"head.weight": np.ones(3, np.float32)}, "not known, such as head.weight"),
    ],
)
def test_csd_weights_that_are_not_whole_are_refused(changes: dict, word: str, tmp_path: Path) -> None:
    write_csd(tmp_path, **changes)
    with pytest.raises(InputError, match=word):
        load_backbone(f"csd:{tmp_path}")


def test_a_folder_without_csd_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of model\.safetensors, pytorch_model\.bin"):
        load_backbone(f"csd:{tmp_path}")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple:
            return (print, ("this must never be printed",))

    torch.save({"last_layer_style": Malice()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded as weights"):
        load_backbone(f"csd:{tmp_path}")
