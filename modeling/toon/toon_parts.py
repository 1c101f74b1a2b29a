"""The architecture of the toon checkpoint: real classes, small sizes, random weights to begin with.

| part | class | size |
|---|---|---|
| mllm | Qwen3VLForConditionalGeneration | 4 layers of width 192, vision tower of 3 layers, 16 tokens for a picture |
| adapter | ShotConditionAdapter | 16 queries, 3 layers, 16 condition tokens of width 128 |
| transformer | CogVideoXTransformer3DModel | 8 layers of width 256, rotary positions |
| reference_latents | ReferenceLatents | one reference, the last frames of three earlier shots |
| vae | FoldedAutoencoder | see autoencoder_training.py |
| text_encoder | T5EncoderModel | 1 layer of width 128, not trained, not part of what is shipped |

The MLLM's tokenizer is a byte-level BPE of the captions; T5's knows their words.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from animeshooter_hf.modeling.adapter import ShotConditionAdapter
from animeshooter_hf.modeling.decoders.reference_latents import ReferenceLatents
from animeshooter_hf.modeling.folded_autoencoder import FoldedAutoencoder
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.toon.compact import CompactSettings

__all__ = ["CONDITION_LENGTH", "toon_pipeline"]

CONDITION_LENGTH = 16
"""Condition tokens: the longest caption has 14 words and marks. CogVideoX: 226."""

_MLLM_WIDTH = 192
_TEXT_WIDTH = 128
_NUM_QUERIES = 16
_END = "<|endoftext|>"
_MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_VOCABULARY = 384
_PICTURE = 64
_MEMORY_FRAMES = 3
_SPREAD = 0.3
"""Deviation of queries and slot embeddings at the start; from the usual 0.02 they take hundreds of steps to part."""


def toon_pipeline(
    vae: FoldedAutoencoder,
    captions: Sequence[str],
    seed: int,
    *,
    world: CompactSettings | None = None,
    memory_frames: int = _MEMORY_FRAMES,
    with_reference_latents: bool = True,
) -> AnimeShooterGenPipeline:
    """Return an untrained pipeline around a trained VAE.

    Args:
        vae: The VAE.
        captions: What the tokenizers are made from.
        seed: Of all weights.
        world: Size and length of shots.
        memory_frames: Earlier shots whose last frames are seen as latents.
        with_reference_latents: Whether there is the path for latents of references and last frames.
    """
    world = world or CompactSettings()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = _bpe(captions)
        adapter = ShotConditionAdapter(
            num_queries=_NUM_QUERIES,
            mllm_hidden_size=_MLLM_WIDTH,
            condition_length=CONDITION_LENGTH,
            text_dim=_TEXT_WIDTH,
            hidden_size=_MLLM_WIDTH,
            num_layers=3,
            num_heads=6,
            mlp_ratio=3.0,
        )
        nn.init.normal_(adapter.query_tokens, std=_SPREAD)
        nn.init.normal_(adapter.output_queries, std=_SPREAD)
        transformer = _transformer(vae, world)
        references = None
        if with_reference_latents:
            references = ReferenceLatents.for_transformer(transformer, max_references=1, memory_frames=memory_frames)
            # Open from the start: everything is trained together here, no transformer has to be kept as it was.
            nn.init.ones_(references.gates)
            nn.init.normal_(references.slots, std=_SPREAD)
        words, text_tokenizer = _text_encoder(captions)
        pipeline = AnimeShooterGenPipeline(
            mllm=_mllm(tokenizer),
            processor=_processor(tokenizer),
            adapter=adapter.eval(),
            transformer=transformer,
            vae=vae,
            scheduler=_scheduler(),
            tokenizer=text_tokenizer,
            text_encoder=words,
            reference_latents=references,
            weights_origin="random",
            frame_rate=world.frame_rate,
            num_inference_steps=16,
            guidance_scale=2.0,
            max_image_pixels=_PICTURE**2,
            max_caption_tokens=32,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _bpe(captions: Sequence[str]) -> Any:
    """Return Qwen's tokenizer with the vocabulary of the captions."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=_VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(sorted(set(captions)), trainer)
    found = json.loads(made.to_str())["model"]
    vocabulary = dict(found["vocab"])
    for mark in (_END, *_MARKS):
        vocabulary[mark] = len(vocabulary)
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in found["merges"]]
    return transformers.Qwen2Tokenizer(vocab=vocabulary, merges=merges, additional_special_tokens=list(_MARKS))


def _mllm(tokenizer: Any) -> Any:
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in (_END, *_MARKS)}
    config = transformers.Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": _MLLM_WIDTH,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 32_768,
            "bos_token_id": ids[_END],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids[_END],
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [8, 4, 4],
                "rope_theta": 10_000.0,
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
        },
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_heads": 4,
            "depth": 3,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": _MLLM_WIDTH,
            "in_channels": 3,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return transformers.Qwen3VLForConditionalGeneration(config).eval()


def _processor(tokenizer: Any) -> Any:
    patches = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    pixels = _PICTURE**2
    return transformers.Qwen3VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(**patches, min_pixels=pixels, max_pixels=pixels),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen3VLVideoProcessor(**patches),
    )


def _transformer(vae: FoldedAutoencoder, world: CompactSettings) -> Any:
    return CogVideoXTransformer3DModel(
        num_attention_heads=8,
        attention_head_dim=32,
        in_channels=vae.config.latent_channels,
        out_channels=vae.config.latent_channels,
        time_embed_dim=64,
        text_embed_dim=_TEXT_WIDTH,
        num_layers=8,
        sample_width=world.size // 8,
        sample_height=world.size // 8,
        sample_frames=world.frames_per_shot,
        patch_size=2,
        temporal_compression_ratio=vae.config.temporal_compression_ratio,
        max_text_seq_length=CONDITION_LENGTH,
        use_rotary_positional_embeddings=True,
    ).eval()


def _scheduler() -> CogVideoXDDIMScheduler:
    """Return CogVideoX's scheduler without its shift to more noise, which is for large frames."""
    return CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.0120,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=False,
    )


def _text_encoder(captions: Sequence[str]) -> tuple[Any, Any]:
    """Return a T5 of one layer, which stays as it is, and a tokenizer whose pieces are the captions' words.

    What T5 is for the real model, a table of words in their places is for this one: the transformer that learns from
    them reads them in all of its layers.
    """
    words = sorted({word for caption in captions for word in re.findall(r"\w+|[^\w\s]", caption)})
    letters = [chr(code) for code in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -4.0) for word in words if word.isalpha()]
    pieces += [(letter, -8.0) for letter in letters]
    config = T5Config(
        vocab_size=len(pieces),
        d_model=_TEXT_WIDTH,
        d_ff=256,
        d_kv=32,
        num_heads=4,
        num_layers=1,
        initializer_factor=1.0,
    )
    return T5EncoderModel(config).eval(), T5Tokenizer(vocab=pieces, extra_ids=0)
