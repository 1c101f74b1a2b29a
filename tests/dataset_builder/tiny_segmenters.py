"""Checkpoints of real segmentation models at toy size, with random weights and tokenizers written here."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.convert_slow_tokenizer import bytes_to_unicode

torch.set_num_threads(1)  # at this size more threads only wait for one another

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def save_sam3(folder: Path) -> Path:
    small = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_layers": 1}
    tokenizer = _clip_tokenizer(32)
    vit = {
        "model_type": "sam3_vit_model", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 56, "patch_size": 14, "window_size": 2, "global_attn_indexes": [1],
        "pretrain_image_size": 28,
    }  # fmt: skip
    text = {
        "model_type": "clip_text_model", "hidden_size": 16, "intermediate_size": 32, "projection_dim": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32, "hidden_act": "gelu",
        **_ids(tokenizer),
    }  # fmt: skip
    sizes = [[16, 16], [8, 8], [4, 4]]
    config = transformers.Sam3Config(
        vision_config={"backbone_config": vit, "fpn_hidden_size": 16, "backbone_feature_sizes": sizes},
        text_config=text,
        geometry_encoder_config=small,
        detr_encoder_config=small,
        detr_decoder_config={**small, "num_queries": 5},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )
    image_processor = transformers.Sam3ImageProcessor(size={"height": 56, "width": 56})
    return _save(folder, transformers.Sam3Model, config, transformers.Sam3Processor(image_processor, tokenizer))


def save_clipseg(folder: Path) -> Path:
    small = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    tokenizer = _clip_tokenizer(77)
    config = transformers.CLIPSegConfig(
        text_config={**small, "num_hidden_layers": 1, **_ids(tokenizer)},
        vision_config={**small, "num_hidden_layers": 3, "image_size": 32, "patch_size": 16},
        projection_dim=16,
        extract_layers=[0, 1],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    image_processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor = transformers.CLIPSegProcessor(image_processor, tokenizer)
    return _save(folder, transformers.CLIPSegForImageSegmentation, config, processor)


def save_grounding_dino(folder: Path) -> Path:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", *LETTERS, *[f"##{letter}" for letter in LETTERS]]
    tokenizer = transformers.BertTokenizer(
        vocab={word: number for number, word in enumerate(words)}, model_max_length=256
    )
    swin = {
        "model_type": "swin", "image_size": 64, "patch_size": 4, "embed_dim": 8, "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2], "window_size": 2, "out_features": ["stage2", "stage3", "stage4"],
    }  # fmt: skip
    bert = {
        "model_type": "bert", "vocab_size": len(words), "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 256,
    }  # fmt: skip
    config = transformers.GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=32, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2, num_queries=6, encoder_n_points=2,
        decoder_n_points=2,
    )  # fmt: skip
    image_processor = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    processor = transformers.GroundingDinoProcessor(image_processor, tokenizer)
    return _save(folder, transformers.GroundingDinoForObjectDetection, config, processor)


def save_sam2(folder: Path) -> Path:
    hiera = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 24, 32], "num_attention_heads_per_stage": [1, 1, 1, 1],
        "window_size_per_stage": [8, 4, 4, 2], "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [2, 2],
    }  # fmt: skip
    config = transformers.Sam2Config(
        vision_config={
            "backbone_config": hiera, "backbone_channel_list": [32, 24, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 16,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )  # fmt: skip
    image_processor = transformers.Sam2ImageProcessor(size={"height": 64, "width": 64})
    return _save(folder, transformers.Sam2Model, config, transformers.Sam2Processor(image_processor))


def save_florence2(folder: Path) -> Path:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocab = {word: number for number, word in enumerate([*special, *bytes_to_unicode().values()])}
    tokenizer = transformers.BartTokenizer(
        vocab=vocab, merges=[], model_max_length=128, extra_special_tokens={"image_token": "<image>"}
    )
    places = [f"<loc_{number}>" for number in range(1000)]
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<image>", "<poly>", "</poly>", "<sep>", *places]},
        replace_extra_special_tokens=False,
    )
    vision = {
        "depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1],
        "patch_prenorm": [False, True], "embed_dim": [8, 16], "num_heads": [2, 2], "num_groups": [2, 2],
        "window_size": 4, "projection_dim": 16, "max_temporal_embeddings": 4, "max_position_embeddings": 16,
    }  # fmt: skip
    bart = {
        "model_type": "bart", "vocab_size": len(tokenizer), "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "max_position_embeddings": 256, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        "decoder_start_token_id": 2, "forced_bos_token_id": 0, "forced_eos_token_id": 2, "init_std": 0.5,
    }  # fmt: skip
    config = transformers.Florence2Config(
        vision_config=vision, text_config=bart, image_token_id=tokenizer.convert_tokens_to_ids("<image>")
    )
    image_processor = transformers.CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    image_processor.image_seq_length = 65
    processor = transformers.Florence2Processor(image_processor, tokenizer)
    return _save(folder, transformers.Florence2ForConditionalGeneration, config, processor)


def save_dinov2(folder: Path) -> Path:
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    processor = transformers.BitImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    return _save(folder, transformers.Dinov2Model, config, processor)


def save_clip(folder: Path) -> Path:
    small = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = transformers.CLIPConfig(
        text_config={**small, **_ids(_clip_tokenizer(77))},
        vision_config={**small, "image_size": 28, "patch_size": 14},
        projection_dim=12,
    )
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    )  # fmt: skip
    return _save(folder, transformers.CLIPModel, config, processor)


def drop_weight(folder: Path, copy: Path, part: str) -> str:
    """Copy a checkpoint without one weight whose name holds `part`, and return the weight's name."""
    from safetensors.torch import load_file, save_file

    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in sorted(weights) if part in name)
    del weights[name]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return name


def _save(folder: Path, model_class: Any, config: Any, processor: Any) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model_class(config).eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _clip_tokenizer(length: int) -> Any:
    letters = list(bytes_to_unicode().values())
    words = [*letters, *[f"{letter}</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=length
    )


def _ids(tokenizer: Any) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
