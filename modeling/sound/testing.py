"""The text-to-audio pipelines of diffusers at toy size, built in code: real classes, random weights, no download.

What they make is noise. The shapes follow the fast tests of diffusers; the tokenizers know single characters only.
"""

from typing import Any

import torch
from diffusers import (
    AudioLDM2Pipeline,
    AudioLDM2ProjectionModel,
    AudioLDM2UNet2DConditionModel,
    AutoencoderKL,
    AutoencoderOobleck,
    AutoencoderSAME,
    DDIMScheduler,
    EDMDPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableAudio3DiTModel,
    StableAudio3Pipeline,
    StableAudioDiTModel,
    StableAudioPipeline,
    StableAudioProjectionModel,
)
from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    GemmaTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
    T5GemmaConfig,
    T5GemmaEncoderModel,
    T5Tokenizer,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.t5gemma.configuration_t5gemma import T5GemmaModuleConfig

__all__ = ["tiny_audioldm2", "tiny_stable_audio", "tiny_stable_audio_3"]

_LETTERS = [chr(code) for code in range(33, 127)]


def tiny_stable_audio(seed: int = 0, *, scheduler: Any = None) -> Any:
    """Return a `StableAudioPipeline` of 8 kHz stereo and up to 2 s.

    Args:
        seed: Of the weights.
        scheduler: The released one, `CosineDPMSolverMultistepScheduler`, needs torchsde; this stands in without it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StableAudioPipeline(
            vae=AutoencoderOobleck(
                encoder_hidden_size=6, downsampling_ratios=[4, 8], decoder_channels=3, decoder_input_channels=3,
                audio_channels=2, channel_multiples=[2, 4], sampling_rate=8_000,
            ),
            text_encoder=_t5(),
            projection_model=StableAudioProjectionModel(
                text_encoder_dim=32, conditioning_dim=4, min_value=0, max_value=32
            ),
            tokenizer=_t5_tokenizer(),
            transformer=StableAudioDiTModel(
                sample_size=500, in_channels=3, num_layers=2, attention_head_dim=4, num_attention_heads=2,
                num_key_value_attention_heads=2, out_channels=3, cross_attention_dim=4, time_proj_dim=8,
                global_states_input_dim=8, cross_attention_input_dim=4,
            ),
            scheduler=scheduler or EDMDPMSolverMultistepScheduler(
                sigma_min=0.3, sigma_max=500, sigma_data=1.0, prediction_type="v_prediction"
            ),
        )  # fmt: skip


def tiny_stable_audio_3(seed: int = 0) -> Any:
    """Return a `StableAudio3Pipeline` of 8 kHz stereo."""
    width = 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = _gemma_tokenizer()
        module = T5GemmaModuleConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=256, sliding_window=64,
            layer_types=["full_attention", "full_attention"],
        ).to_dict()  # fmt: skip
        config = T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False)
        return StableAudio3Pipeline(
            vae=_without_zeros(AutoencoderSAME(
                audio_channels=2, patch_size=16, encoder_channels=8, encoder_c_mults=(2,), encoder_strides=(8,),
                encoder_transformer_depths=(1,), latent_dim=8, use_differential_attention=False, dim_heads=4,
                ff_mult=2, sampling_rate=8_000,
            )),
            text_encoder=T5GemmaEncoderModel(config),
            tokenizer=tokenizer,
            duration_embedder=StableAudio3DurationEmbedder(output_dim=width, fourier_dim=16),
            transformer=StableAudio3DiTModel(
                io_channels=8, patch_size=1, embed_dim=32, depth=2, num_heads=4, cond_token_dim=width,
                global_cond_dim=width, local_add_cond_dim=5, timestep_features_dim=16, ff_mult=2,
                num_memory_tokens=3, use_differential_attention=False,
            ),
            scheduler=FlowMatchEulerDiscreteScheduler(stochastic_sampling=True),
        )  # fmt: skip


def tiny_audioldm2(seed: int = 0) -> Any:
    """Return an `AudioLDM2Pipeline` of 4 kHz mono and up to 1.024 s."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AudioLDM2Pipeline(
            vae=AutoencoderKL(
                block_out_channels=[8, 16], in_channels=1, out_channels=1, norm_num_groups=4, latent_channels=4,
                down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
            ),
            text_encoder=_clap(),
            text_encoder_2=_t5(),
            projection_model=AudioLDM2ProjectionModel(
                text_encoder_dim=16, text_encoder_1_dim=32, langauge_model_dim=16
            ),
            language_model=_gpt2(),
            tokenizer=_roberta_tokenizer(),
            tokenizer_2=_t5_tokenizer(),
            feature_extractor=ClapFeatureExtractor(hop_length=7900),
            unet=AudioLDM2UNet2DConditionModel(
                block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, sample_size=128, in_channels=4,
                out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=4,
                cross_attention_dim=([None, 16, 32], [None, 16, 32]),
            ),
            scheduler=DDIMScheduler(
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                set_alpha_to_one=False,
            ),
            vocoder=SpeechT5HifiGan(SpeechT5HifiGanConfig(
                model_in_dim=8, sampling_rate=4_000, upsample_initial_channel=16, upsample_rates=[4, 4],
                upsample_kernel_sizes=[8, 8], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]],
                normalize_before=False,
            )),
        )  # fmt: skip


def _without_zeros(module: Any) -> Any:
    """Return the module with weights in place of those that begin at zero; else its output ignores its input."""
    for weight in module.parameters():
        if weight.ndim > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=0.2)
    return module


def _t5() -> Any:
    return T5EncoderModel(
        T5Config(vocab_size=len(_LETTERS) + 4, d_model=32, d_ff=37, d_kv=8, num_heads=2, num_layers=2)
    ).eval()


def _clap() -> Any:
    text = {"hidden_size": 16, "intermediate_size": 37, "num_attention_heads": 2, "num_hidden_layers": 2,
            "vocab_size": 261, "projection_dim": 16, "pad_token_id": 1}  # fmt: skip
    audio = {"spec_size": 64, "window_size": 4, "num_mel_bins": 64, "intermediate_size": 37, "depths": [2, 2],
             "num_attention_heads": [2, 2], "num_hidden_layers": 2, "hidden_size": 192, "projection_dim": 16,
             "patch_size": 2, "patch_stride": 2, "patch_embed_input_channels": 4}  # fmt: skip
    return ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=16)).eval()


def _gpt2() -> Any:
    sizes = {"n_embd": 16, "n_head": 2, "n_layer": 2, "vocab_size": 300, "n_positions": 512}
    config = GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
    config.max_new_tokens = 8
    return GPT2LMHeadModel(config).eval()


def _t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in _LETTERS)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=64)


def _roberta_tokenizer() -> Any:
    vocabulary = {token: number for number, token in enumerate(("<s>", "<pad>", "</s>", "<unk>", "<mask>"))}
    vocabulary |= {character: 5 + number for number, character in enumerate(bytes_to_unicode().values())}
    return RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _gemma_tokenizer() -> Any:
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *_LETTERS]
    return GemmaTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=64)
