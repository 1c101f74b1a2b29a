"""Hold the neural backends of the scores against outside implementations, at random weights.

Every network is drawn from a seed, saved in its publisher's layout and loaded through `load_backbone`; the peer gets
the same file and the same pictures. What is not installed is left out and named.

    pip install --no-deps dreamsim==0.2.1 open-clip-torch==3.3.0 ftfy torchmetrics==1.9.0 lightning-utilities
    python benchmarks/backbone_parity.py --seed 1
    python benchmarks/backbone_parity.py --seed 1 --dino-code FOLDER   (a checkout of facebookresearch/dino)
    python benchmarks/backbone_parity.py --only control --network-seeds 5

Prints the largest difference of each comparison; the bar is 1e-5. DreamSim's package is run at its real size, ViT-B,
which takes 3 GB of memory and some minutes on two cores. Its DINO branch, and so the ensemble, asks torch.hub for
DINO's code: give a checkout.

The control is no parity: random networks must not know who is who in toon films (AUC within .40 to .60), colours must.
"""

import argparse
import importlib.util
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from animeshooter_hf.eval.aggregate import rank_auc
from animeshooter_hf.eval.backbones.base import Backbone, load_backbone
from animeshooter_hf.eval.consistency import story_consistency
from animeshooter_hf.eval.views import View, frame_views, reference_view
from animeshooter_hf.toon import FilmSettings, ToonFilm, character_reference

Rows = NDArray[np.float32]
LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789.,!?")
BRANCHES = ("dino_vitb16", "clip_vitb16", "open_clip_vitb16")


def draw_weights(module: nn.Module, seed: int) -> None:
    """Give a module seeded weights: norms near 1, everything else small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            is_norm = any(word in name for word in ("norm", "ln_")) and name.endswith("weight")
            weight.copy_(0.05 * torch.randn(weight.shape, generator=generator) + float(is_norm))


def pictures(seed: int, count: int = 6) -> list[NDArray[np.uint8]]:
    """Return frames of a toon film: drawn pictures, not noise, on which every resampling differs."""
    film = ToonFilm.from_seed(seed, FilmSettings(width=480, height=270, seconds=30))
    return [film.frame(int((index + 0.5) * film.num_frames / count)) for index in range(count)]


def unit(rows: Any) -> Rows:
    """Return rows of unit length."""
    return torch.nn.functional.normalize(torch.as_tensor(rows).float(), dim=-1).detach().numpy()


def largest(first: Any, second: Any) -> float:
    """Return the largest difference."""
    return float(np.abs(np.asarray(first, np.float64) - np.asarray(second, np.float64)).max())


def embed(backbone: Backbone, images: Sequence[NDArray[np.uint8]]) -> Rows:
    """Return the rows of whole pictures."""
    return backbone.embed([View(image) for image in images], "identity")


def make_clip(folder: Path, seed: int) -> Path:
    """Write a CLIP of ViT-B/32's shape in pictures, with 4 layers and a spelling tokenizer."""
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 2}
    text = sizes | {"vocab_size": 100, "max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 1}
    vision = sizes | {"image_size": 224, "patch_size": 32}
    config = transformers.CLIPConfig(text_config=text | {"pad_token_id": 1}, vision_config=vision, projection_dim=64)
    model = transformers.CLIPModel(config)
    draw_weights(model, seed)
    model.save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    vocabulary = {word: index for index, word in enumerate(words)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return folder


def compare_clip(folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    """CLIP: rows, preparation, texts."""
    del arguments
    backbone = load_backbone(f"clip:{make_clip(folder, seed)}")
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    images = pictures(seed)
    for name in ("CLIPImageProcessorPil", "CLIPImageProcessor"):
        inputs = getattr(transformers, name).from_pretrained(folder)(images=images, return_tensors="pt")
        ours = backbone.preparation.normalise([backbone.prepare(View(image), "identity") for image in images])  # type: ignore[attr-defined]
        with torch.no_grad():
            theirs = unit(model.get_image_features(**inputs).pooler_output)
        rows = embed(backbone, images)
        note = "" if name.endswith("Pil") else " (no bar: torchvision resizes otherwise)"
        pair = (rows @ rows.T, theirs @ theirs.T)
        print(f"  transformers {name}: pixels {largest(ours, inputs['pixel_values']):.1e}, "
              f"rows {largest(rows, theirs):.1e}, cosines {largest(*pair):.1e}{note}")  # fmt: skip
    texts = ["a witch flies over the town", "the dog finds a bone and runs home with it"]
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = unit(model.get_text_features(**tokens).pooler_output)
    print(f"  transformers, texts: rows {largest(backbone.embed_text(texts), theirs):.1e}")


def compare_torchmetrics(folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    """CLIPScore of torchmetrics between pictures; its 1.9.0 takes the output object of transformers 5 for a tensor."""
    del arguments
    from torchmetrics.functional.multimodal.clip_score import clip_score

    backbone = load_backbone(f"clip:{make_clip(folder, seed)}")
    model = transformers.CLIPModel.from_pretrained(folder).eval()

    class Unwrapped(nn.Module):
        """What torchmetrics expects: tensors, as before transformers 5."""

        def __init__(self) -> None:
            super().__init__()
            self.config = model.config

        def get_image_features(self, pixels: torch.Tensor) -> Any:
            return model.get_image_features(pixels).pooler_output

    processor = transformers.CLIPProcessor(
        image_processor=transformers.CLIPImageProcessorPil.from_pretrained(folder),
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
    )
    images = pictures(seed)
    tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
    ours = backbone.similarity(embed(backbone, images), embed(backbone, images))
    differences = []
    with torch.no_grad():
        for i in range(len(images)):
            for j in range(i):
                score = clip_score(tensors[i], tensors[j], model_name_or_path=lambda: (Unwrapped(), processor))
                differences.append(abs(float(score) / 100 - ours[i, j]))
    print(f"  torchmetrics CLIPScore of {len(differences)} pairs: {max(differences):.1e}")


def compare_vbench(folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    """VBench's subject consistency, written out from its definition, on DINO's class token."""
    del arguments
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 2}
    model = transformers.ViTModel(transformers.ViTConfig(**sizes), add_pooling_layer=False).eval()
    draw_weights(model, seed)
    model.save_pretrained(folder)
    options = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    transformers.ViTImageProcessor(**options).save_pretrained(folder)
    # At the network's own size, since VBench resizes without antialiasing and everyone else with it.
    images = [np.asarray(Image.fromarray(image).resize((224, 224))) for image in pictures(seed, 16)]
    mean, std = (torch.tensor(options[name]).reshape(3, 1, 1) for name in ("image_mean", "image_std"))
    features = []
    for image in images:
        pixels = (torch.from_numpy(image.copy()).permute(2, 0, 1).float().div(255.0) - mean) / std
        with torch.no_grad():
            feature = model(pixels[None]).last_hidden_state[:, 0]
        features.append(torch.nn.functional.normalize(feature, dim=-1, p=2))
    total = 0.0
    for index in range(1, len(features)):
        with_previous = max(0.0, torch.nn.functional.cosine_similarity(features[index - 1], features[index]).item())
        with_first = max(0.0, torch.nn.functional.cosine_similarity(features[0], features[index]).item())
        total += (with_previous + with_first) / 2
    theirs = total / (len(features) - 1)
    numbers = story_consistency(range(len(images)), embed(load_backbone(f"dino:{folder}"), images))
    ours = ((numbers["adjacent"] or math.nan) + (numbers["anchor"] or math.nan)) / 2
    print(f"  VBench subject consistency of 16 frames: theirs {theirs:.6f}, ours {ours:.6f}, {abs(ours - theirs):.1e}")


def compare_csd(folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    """CSD: open_clip's image side plays the authors' network, which is OpenAI's class of the same names."""
    del arguments
    from functools import partial

    from open_clip.transformer import QuickGELU, VisionTransformer

    tower = VisionTransformer(
        image_size=224, patch_size=14, width=256, layers=4, heads=4, mlp_ratio=4.0, output_dim=96,
        act_layer=QuickGELU, norm_layer=partial(nn.LayerNorm, eps=1e-5),
    ).eval()  # fmt: skip
    draw_weights(tower, seed)
    state = dict(tower.state_dict())
    style = state.pop("proj")
    named = {f"backbone.{name}": weight for name, weight in state.items()}
    torch.save({**named, "last_layer_style": style, "last_layer_content": style}, folder / "pytorch_model.bin")
    backbone = load_backbone(f"csd:{folder}")
    images = pictures(seed)
    inputs = transformers.CLIPImageProcessorPil()(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        theirs = unit(tower(inputs))
    print(f"  open_clip image side as CSD: rows {largest(embed(backbone, images), theirs):.1e}")


def compare_dreamsim(folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    """The dreamsim package with its own loader, LoRA through peft, at ViT-B."""
    from dreamsim import dreamsim

    kinds = {"clip_vitb32": "dreamsim-clip", "open_clip_vitb32": "dreamsim-open-clip"}
    if arguments.dino_code is not None:
        kinds |= {"dino_vitb16": "dreamsim-dino", "ensemble": "dreamsim"}
    else:
        print("  dino_vitb16 and ensemble: left out, no --dino-code")
    images = pictures(seed)
    for kind, name in kinds.items():
        place = folder / kind
        place.mkdir()
        write_dreamsim(place, BRANCHES if kind == "ensemble" else (kind,), seed)
        if "dino" in kind or kind == "ensemble":
            shutil.copytree(arguments.dino_code, place / "facebookresearch_dino_main")
        model, prepare = dreamsim(pretrained=True, device="cpu", cache_dir=str(place), dreamsim_type=kind)
        pixels = [prepare(Image.fromarray(image)) for image in images]
        with torch.no_grad():
            theirs = torch.cat([model.embed(one) for one in pixels]).numpy()
            distances = [float(model(pixels[0], one)) for one in pixels]
        del model
        backbone = load_backbone(f"{name}:{place}")
        rows = embed(backbone, images)
        similarity = rows.astype(np.float64) @ rows.T.astype(np.float64)
        apart = np.concatenate([embed(backbone, [image]) for image in images])
        print(f"  dreamsim {kind}: rows {largest(rows, theirs):.1e}, "
              f"distances {largest(1 - similarity[0], distances):.1e} (they span {min(distances[1:]):.3f} to "
              f"{max(distances):.3f}), batched against single {largest(rows, apart):.1e}")  # fmt: skip
        shutil.rmtree(place)


def write_dreamsim(folder: Path, branches: Sequence[str], seed: int) -> None:
    """Write random base networks and a random LoRA as the authors' zip has them."""
    generator = torch.Generator().manual_seed(seed)
    lora = {}
    for index, branch in enumerate(branches):
        patch = 32 if branch.endswith("32") else 16
        state = vit_state(patch, generator, is_clip="clip" in branch)
        if branch.startswith("dino"):
            (folder / "checkpoints").mkdir()
            torch.save(state, folder / "checkpoints" / "dino_vitbase16_pretrain.pth")
            head = {"mlp.0": (2048, 768), "mlp.2": (2048, 2048), "mlp.4": (256, 2048)}
            student = {f"module.head.{name}.weight": torch.zeros(size) for name, size in head.items()}
            student |= {f"module.head.{name}.bias": torch.zeros(size[0]) for name, size in head.items()}
            student["module.head.last_layer.weight"] = torch.zeros(2048, 256)
            torch.save({"student": student}, folder / f"{branch}_pretrain.pth")
        else:
            torch.save({"state_dict": state}, folder / f"{branch}_pretrain.pth.tar")
        for block in range(12):
            prefix = f"base_model.model.extractor_list.{index}.model.blocks.{block}.attn.qkv"
            lora[f"{prefix}.lora_A.weight"] = 0.05 * torch.randn(16, 768, generator=generator)
            lora[f"{prefix}.lora_B.weight"] = 0.05 * torch.randn(2304, 16, generator=generator)
    adapter = folder / ("ensemble_lora" if len(branches) > 1 else f"{branches[0]}_single_lora")
    adapter.mkdir()
    settings = {"r": 16, "lora_alpha": 8.0, "lora_dropout": 0.3, "bias": "none", "target_modules": ["qkv"]}
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **settings}))
    torch.save(lora, adapter / "adapter_model.bin")


def vit_state(patch: int, generator: torch.Generator, *, is_clip: bool) -> dict[str, torch.Tensor]:
    """Return random weights of a ViT-B under DINO's names."""
    width = 768

    def some(*shape: int) -> torch.Tensor:
        return 0.05 * torch.randn(shape, generator=generator)

    state = {"cls_token": some(1, 1, width), "pos_embed": some(1, (224 // patch) ** 2 + 1, width)}
    state |= {"patch_embed.proj.weight": some(width, 3, patch, patch), "patch_embed.proj.bias": some(width)}
    for norm in ["norm", *(["pos_drop"] if is_clip else [])]:
        state |= {f"{norm}.weight": 1 + some(width), f"{norm}.bias": some(width)}
    sizes = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    sizes |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    for block in (f"blocks.{index}" for index in range(12)):
        for norm in ("norm1", "norm2"):
            state |= {f"{block}.{norm}.weight": 1 + some(width), f"{block}.{norm}.bias": some(width)}
        for layer, size in sizes.items():
            state |= {f"{block}.{layer}.weight": some(*size), f"{block}.{layer}.bias": some(size[0])}
    return state | ({"proj": some(width, 512)} if is_clip else {})


def run_control(folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    """Random networks and colours on own and other references of toon films."""
    references, frames, owners = [], [], []
    for film_seed in range(1000 * seed, 1000 * seed + arguments.films):
        film = ToonFilm.from_seed(film_seed, FilmSettings(width=320, height=180, seconds=40))
        hero = film.plan.stories[0].character_ids[0]
        shots = [shot for shot in film.plan.shots if hero in {place.character_id for place in shot.placements}][:6]
        frames += [film.frame((shot.start_frame + shot.end_frame) // 2) for shot in shots]
        owners += [len(references)] * len(shots)
        references.append(character_reference(film.plan.character[hero], 256, film.plan.style))

    def area(backbone: Backbone) -> tuple[float, float, float]:
        view, side = backbone.fidelity_view, backbone.long_side
        own_views = [frame_views(frame, [view], long_side=side)[view] for frame in frames]
        others = [reference_view(one, backbone.reference_background, long_side=side) for one in references]
        similarity = backbone.similarity(backbone.embed(own_views, "identity"), backbone.embed(others, "identity"))
        is_own = np.array(owners)[:, None] == np.arange(len(references))
        own, other = similarity[is_own], similarity[~is_own]
        return rank_auc(list(own), list(other)) or math.nan, float(own.mean()), float(other.mean())

    print(f"  {len(references)} films, {len(frames)} frames; AUC (mean own, mean other similarity)")
    print("  classical: {:.3f} ({:.3f}, {:.3f})".format(*area(load_backbone("classical"))))
    areas = []
    for network in range(arguments.network_seeds):
        place = folder / str(network)
        areas.append(area(load_backbone(f"clip:{make_clip(place, network)}")))
        print("  random CLIP {}: {:.3f} ({:.3f}, {:.3f})".format(network, *areas[-1]))
    print(f"  random CLIP, median of {len(areas)}: {np.median([one[0] for one in areas]):.3f}")


SECTIONS: dict[str, tuple[str | None, Callable[[Path, int, argparse.Namespace], None]]] = {
    "clip": (None, compare_clip),
    "torchmetrics": ("torchmetrics", compare_torchmetrics),
    "vbench": (None, compare_vbench),
    "csd": ("open_clip", compare_csd),
    "dreamsim": ("dreamsim", compare_dreamsim),
    "control": (None, run_control),
}
"""Name -> (package it needs, what it does)."""


def main() -> None:
    """Print the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of weights and pictures")
    parser.add_argument("--only", choices=list(SECTIONS), nargs="+", default=list(SECTIONS))
    parser.add_argument("--dino-code", type=Path, help="folder of a checkout of facebookresearch/dino")
    parser.add_argument("--films", type=int, default=24, help="toon films of the control")
    parser.add_argument("--network-seeds", type=int, default=5, help="random networks of the control")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in arguments.only:
        package, compare = SECTIONS[name]
        print(name)
        if package is not None and importlib.util.find_spec(package) is None:
            print(f"  left out: {package} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), arguments.seed, arguments)


if __name__ == "__main__":
    main()
