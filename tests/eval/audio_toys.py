"""Sound models of the real classes at toy size, with random weights, and shots whose sound belongs to the picture."""

from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("a", "dog", "barks", "rain", "falls", "bell", "rings", "the", "of", "in")
RATE = 24_000
FRAME_RATE = 16


def make_tokenizer() -> Any:
    """Return a tokenizer that knows `WORDS`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: place for place, word in enumerate(("<s>", "<pad>", "</s>", "<unk>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def make_clap(folder: Path, *, fusion: bool = False) -> Any:
    """Write a toy CLAP as a checkpoint, and return transformers' own model."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch.manual_seed(0)
    text = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sound = {"hidden_size": 32, "depths": [1, 1], "num_attention_heads": [1, 2], "patch_embeds_hidden_size": 16}
    fused = {"enable_fusion": fusion, "fusion_type": "aff_2d" if fusion else None}
    config = ClapConfig(
        text_config={**text, "intermediate_size": 24, "max_position_embeddings": 90},
        audio_config={**sound, **fused, "num_hidden_layers": 2, "num_classes": 8},
        projection_dim=12,
    )
    model = ClapModel(config).eval()
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    ClapFeatureExtractor(truncation="fusion" if fusion else "rand_trunc", max_length_s=4).save_pretrained(folder)
    return model


def make_pe_av(folder: Path) -> Any:
    """Write a toy PE-AV as a checkpoint, and return transformers' own model. Needs timm."""
    import torch
    from transformers import PeAudioFeatureExtractor, PeAudioVideoConfig, PeAudioVideoModel, PeVideoVideoProcessor

    torch.manual_seed(0)
    width = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    encoder = {**width, "num_hidden_layers": 1, "head_dim": 16}
    text = {**width, "model_type": "modernbert", "vocab_size": 64, "num_hidden_layers": 2}
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    codec = {"model_type": "dac", "encoder_hidden_size": 4, "decoder_hidden_size": 16, "hidden_size": 16}
    strides = {"downsampling_ratios": [2, 8, 10, 12], "upsampling_ratios": [12, 10, 8, 2]}
    books = {"codebook_dim": 8, "n_codebooks": 2, "codebook_size": 16}
    vision = {
        "model_type": "timm_wrapper",
        "architecture": "vit_pe_core_tiny_patch16_384",
        "do_pooling": True,
        "num_classes": 24,
        "global_pool": "map",
        "initializer_range": 0.02,
        "model_args": {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 32},
    }
    config = PeAudioVideoConfig(
        text_config={**text, **special, "max_position_embeddings": 128},
        audio_video_config={
            **encoder,
            "audio_config": {"model_type": "pe_audio_encoder", **encoder, "dac_config": {**codec, **strides, **books}},
            "video_config": {"model_type": "pe_video_encoder", **encoder, "vision_config": vision},
        },
    )
    model = PeAudioVideoModel(config).eval()
    with torch.no_grad():  # at its own random weights the codec passes next to nothing on
        for name, weight in model.audio_model.named_parameters():
            if "dac" in name and weight.ndim == 3:
                weight.normal_(0, (weight.shape[1] * weight.shape[2]) ** -0.5)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    PeAudioFeatureExtractor().save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    steps = {"do_resize": True, "do_rescale": True, "do_normalize": True}
    size = {"height": 32, "width": 32}
    PeVideoVideoProcessor(size=size, image_mean=half, image_std=half, **steps).save_pretrained(folder)
    return model


def jumping_shot(seed: int, *, num_frames: int = 49, late_seconds: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return frames (49, 36, 64, 3) of a square that jumps now and then, and a click at each jump, shape (1, N)."""
    generator = np.random.default_rng(seed)
    jumps = np.sort(generator.choice(np.arange(2, num_frames - 1), 7, replace=False))
    frames = np.full((num_frames, 36, 64, 3), 90, np.uint8)
    left, top = 8, 8
    sound = generator.normal(0, 1e-3, round(num_frames / FRAME_RATE * RATE)).astype(np.float32)
    for index in range(num_frames):
        if index in jumps:
            left, top = (left + int(generator.integers(16, 40))) % 52, int(generator.integers(2, 22))
            start = round(((index - 0.5) / FRAME_RATE + late_seconds) * RATE) % len(sound)
            click = generator.normal(0, 0.3, 600) * np.exp(-np.arange(600) / 150)
            sound[start : start + 600] += click[: len(sound) - start].astype(np.float32)
        frames[index, top : top + 12, left : left + 12] = (230, 200, 40)
    return frames, sound[None]
