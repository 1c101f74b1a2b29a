"""A user of the Hub who publishes checkpoints and LoRAs and loads them again, by unmodified clients; a test runs it.

One process, since importing takes longer than everything else. It prints what it saw as one line of JSON.
"""

# ruff: noqa: E402 - what importing the pipeline's class brings is looked at first

import sys

import animeshooter_hf

PIPELINE = animeshooter_hf.AnimeShooterGenPipeline
IMPORTED = sorted(sys.modules)
"""Modules that are there once the pipeline's class is; diffusers finds components in these only."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DiffusionPipeline
from huggingface_hub import HfApi, snapshot_download
from peft import LoraConfig

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import MllmLoraSettings, add_mllm_lora
from animeshooter_hf.modeling.lora import load_lora, push_lora
from animeshooter_hf.modeling.testing import tiny_pipeline


def toy() -> Any:
    return tiny_pipeline(height=32, width=48)


def digest(pipeline: Any) -> str:
    """Return a hash of the frames that a pipeline makes."""
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(["A fox."], seed=1, num_inference_steps=1).frames[0]
    return hashlib.sha256(frames.tobytes()).hexdigest()


def train(module: Any) -> None:
    """Give the LoRAs of a model weights that are not 0."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in module.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.3, generator=generator)


def publish() -> dict[str, Any]:
    """Publish one checkpoint of each kind, and a LoRA; the base of the pointers moves on afterwards."""
    told: dict[str, Any] = {}
    plain = toy()
    told["plain"] = digest(plain)
    told["address"] = plain.push_to_hub("me/whole", private=True, tag="v1", max_shard_size="100KB")
    told["again"] = plain.push_to_hub("me/whole", max_shard_size="100KB")
    told["base_revision"] = revision = plain.mllm.push_to_hub("me/base").oid
    pointer = {"mllm": "pointer", "mllm_base": "me/base", "mllm_base_revision": revision}
    plain.push_to_hub("me/pointer")
    plain.push_to_hub("me/pointer", **pointer)
    plain.push_to_hub("me/homeless", mllm="pointer", mllm_base="me/absent")
    with_lora = toy()
    add_mllm_lora(with_lora.mllm, MllmLoraSettings(rank=4, alpha=64))
    train(with_lora.mllm)
    told["lora"] = digest(with_lora)
    with_lora.push_to_hub("me/lora")
    with_lora.push_to_hub("me/lora-pointer", **pointer)
    mia = PIPELINE.from_pretrained("me/whole")
    mia.transformer.add_adapter(LoraConfig(r=2, lora_alpha=8, target_modules=["to_q", "to_v"]), "mia")
    train(mia.transformer)
    told["mia"] = digest(mia)
    told["mia address"] = push_lora(mia, "me/mia", "mia", character="Mia")
    HfApi().create_repo("me/wan")
    index = b'{"_class_name": "WanPipeline"}'
    HfApi().upload_file(repo_id="me/wan", path_or_fileobj=index, path_in_repo="model_index.json")
    for weight in plain.mllm.parameters():
        weight.data.add_(1)
    plain.mllm.push_to_hub("me/base")
    return told


def through_shim(name: str, code: str = "pipeline", **options: Any) -> Any:
    return DiffusionPipeline.from_pretrained(name, custom_pipeline=code, trust_remote_code=True, **options)


def refusal(call: Callable[..., Any], *words: Any, **options: Any) -> str | None:
    try:
        call(*words, **options)
    except InputError as error:
        return str(error)
    return None


def read() -> dict[str, Any]:
    """Load everything in every way."""
    load = PIPELINE.from_pretrained
    told: dict[str, Any] = {"imported": IMPORTED, "shim lost lora": refusal(through_shim, "me/lora")}
    told |= {name: digest(load(f"me/{name}")) for name in ("whole", "pointer", "lora", "lora-pointer")}
    told["revision"] = digest(load("me/whole", revision="v1"))
    told["offline"] = digest(load("me/whole", local_files_only=True))
    shim = through_shim("me/whole")
    told["shim"], told["shim class"] = digest(shim), type(shim).__mro__[1].__name__
    folder = snapshot_download("me/lora")
    told["shim lora"] = digest(through_shim(folder, folder))
    told["shim pointer"] = digest(through_shim("me/lora-pointer", mllm=load("me/lora-pointer").mllm))
    whole = load("me/whole")
    info = load_lora(whole, "me/mia")
    told["mia"], told["mia base"], told["mia character"] = digest(whole), info.base_model, info.character
    told["errors"] = [
        refusal(load, "me/none"),
        refusal(load, "me/base"),
        refusal(load, "me/whole", revision="v9"),
        refusal(load, "me/homeless"),
        refusal(load, "me/wan"),
        refusal(load, "me/never", local_files_only=True),
        refusal(load_lora, toy(), "me/none"),
        refusal(load_lora, toy(), "me/base"),
    ]
    return told


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write("\n" + json.dumps([publish(), read()]) + "\n")
