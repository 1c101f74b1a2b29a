"""One step of training: a batch of windows goes in, the losses of its shots come out.

    states    = MLLM(all chunks of all windows)     packed_reading.py     one causal pass
    condition = adapter(states), or the null one    (N, L, D)
    align:    error of the condition against the text encoder's states
    others:   error of transformer(noised clip, condition, time, pictures beside it)    losses.py

| stage | what has gradients by default | what is computed |
|---|---|---|
| align | query tokens, adapter | MLLM, adapter |
| single, multi | and a LoRA of the MLLM, the reference path | MLLM, adapter, transformer |
| enhance | a LoRA of the transformer | the same; MLLM and adapter once for each sequence, `condition_memory.py` |

What is trained is said by `prepare_parts`, and this model looks at nothing else: a part that needs no gradient, and
stands before none that does, is run without keeping activations.

Source: AnimeShooter, arXiv 2506.03126, section 4 and appendix B.2.

Shape letters used below
    N shots    L condition tokens    D width of the condition    F latent frames    C latent channels
    h, w latent rows and columns    R pictures beside a shot
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders import CogVideoXDecoder, WanDecoder
from animeshooter_hf.modeling.decoders.attention import use_plain_attention_in_training
from animeshooter_hf.modeling.prompt_layout import ShotChunk
from animeshooter_hf.modeling.training.batches import WindowBatch
from animeshooter_hf.modeling.training.condition_memory import ConditionMemory
from animeshooter_hf.modeling.training.losses import alignment_loss, diffusion_loss, noise_process
from animeshooter_hf.modeling.training.packed_reading import read_windows
from animeshooter_hf.modeling.training.settings import LossSettings

__all__ = ["ShotModel", "StageLoss", "use_fast_training_attention"]

_OFS = 2.0
"""The constant that diffusers gives to a transformer with an `ofs` embedding."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StageLoss:
    """What a step says."""

    loss: Tensor
    """Mean over the shots, with gradient."""

    parts: dict[str, Tensor]
    """Further numbers for the log, without gradient: `token_cosine` and `pad_error` in align."""

    losses_N: Tensor
    """Loss of each shot, without gradient."""

    shares_N: Tensor = field(default_factory=lambda: torch.zeros(0))
    """Where between no noise (0) and nothing but noise (1) each shot's time lies; empty in align."""


class ShotModel(nn.Module):
    """The parts of a pipeline that take part in training, as one module for accelerate."""

    def __init__(
        self, pipeline: Any, *, stage: str, condition: str = "mllm", gradient_checkpointing: bool = False
    ) -> None:
        """Take the parts as they are; `prepare_parts` has said what is trained.

        Args:
            pipeline: An `AnimeShooterGenPipeline`.
            stage: "align" reads only; the others make shots.
            condition: What tells about a shot: "mllm", or "text" for the text encoder's states in the batch.
            gradient_checkpointing: Compute activations twice instead of keeping them.
        """
        super().__init__()
        self.stage = stage
        self._is_told_by_text = condition == "text"
        self.mllm = pipeline.mllm
        self.adapter = pipeline.adapter
        self.transformer = pipeline.transformer
        self.transformer_2 = pipeline.transformer_2
        self.reference_latents = pipeline.reference_latents
        self._backbone = pipeline.backbone
        self._decoder = pipeline.decoder
        self._process = noise_process(pipeline.scheduler)
        self._boundary = pipeline.config.boundary_ratio
        self._rotary: dict[tuple[Any, ...], Any] = {}
        self._conditions = ConditionMemory()
        if gradient_checkpointing:
            self._checkpoint()
        self.train()

    def train(self, mode: bool = True) -> "ShotModel":
        """Switch dropout on in trained parts only; frozen ones compute as at inference."""
        super().train(mode)
        for part in self.children():
            if mode and not _is_trained(part):
                part.eval()
            for layer in part.modules():
                # transformers looks at this very flag to see whether activations are to be computed twice.
                if isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing:
                    layer.training = mode
        return self

    def forward(self, batch: WindowBatch, settings: LossSettings) -> StageLoss:
        """Return the losses of a batch; the same batch gives the same.

        Args:
            batch: See `BatchMaker`.
            settings: Weights of losses, and how times are drawn.

        Raises:
            InputError: If the batch lacks what the stage needs.
        """
        condition_NLD = self.condition(batch)
        if self.stage == "align":
            return self._align(batch, condition_NLD, settings)
        return self._make(batch, condition_NLD, settings)

    def condition(self, batch: WindowBatch) -> Tensor:
        """Return the condition of every shot, shape (N, L, D)."""
        if self._is_told_by_text:
            condition_NLD = self._text_condition(batch)
        elif self._reads_without_gradient():
            condition_NLD = self._known_condition(batch)
        else:
            self.forget_conditions()  # what was read before is out of date after a step
            states_BSQM = self._read(batch, batch.sequences)
            sequences, places = zip(*batch.places, strict=True)
            condition_NLD = self.adapter(states_BSQM[list(sequences), list(places)])
        if self.stage == "align":
            return condition_NLD
        is_null_N11 = batch.is_null_N.to(self._device)[:, None, None]
        return torch.where(is_null_N11, self.adapter.null_embeds.to(condition_NLD), condition_NLD)

    def _text_condition(self, batch: WindowBatch) -> Tensor:
        if batch.text_states_NLD is None:
            raise InputError("The condition text needs the text encoder's states of the captions.")
        return batch.text_states_NLD.to(self._device, torch.float32)

    @torch.no_grad()
    def _known_condition(self, batch: WindowBatch) -> Tensor:
        """Return conditions that take no gradient; on one process each sequence is read once only."""
        memory = self._conditions
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            memory = ConditionMemory()  # divided weights need all processes in every pass

        def read(chunks: Sequence[ShotChunk]) -> Tensor:
            condition_SLD: Tensor = self.adapter(self._read(batch, [chunks])[0])
            return condition_SLD

        known = [memory.get(chunks, batch.layout, read).to(self._device) for chunks in batch.sequences]
        return torch.stack([known[sequence][place] for sequence, place in batch.places])

    def _read(self, batch: WindowBatch, sequences: Sequence[Sequence[ShotChunk]]) -> Tensor:
        return read_windows(
            self._backbone,
            self.adapter.query_tokens,
            sequences,
            batch.layout,
            vision_features=batch.vision_features,
            device=self._device,
        )

    def forget_conditions(self) -> None:
        """Read every sequence anew, as is needed where weights that are frozen here were changed from outside."""
        self._conditions = ConditionMemory()

    @property
    def _device(self) -> torch.device:
        return self.adapter.query_tokens.device

    def _reads_without_gradient(self) -> bool:
        return not (_is_trained(self.mllm) or _is_trained(self.adapter))

    # ------------------------------------------------------------------------------------------------ align

    def _align(self, batch: WindowBatch, condition_NLD: Tensor, settings: LossSettings) -> StageLoss:
        if batch.text_states_NLD is None:
            raise InputError("The stage align needs the text encoder's states of the captions.")
        found = alignment_loss(
            condition_NLD,
            batch.text_states_NLD.to(self._device),
            None if batch.is_token_NL is None else batch.is_token_NL.to(self._device),
            settings.pad_weight,
        )
        return StageLoss(
            loss=found.losses_B.mean(),
            parts={"token_cosine": found.token_cosine, "pad_error": found.pad_error},
            losses_N=found.losses_B.detach(),
        )

    # ------------------------------------------------------------------------------------------------ the others

    def _make(self, batch: WindowBatch, condition_NLD: Tensor, settings: LossSettings) -> StageLoss:
        if batch.latents_NFChw is None:
            raise InputError(f"The stage {self.stage} needs the latents of the clips.")
        clips_NFChw = self._whole_patches(batch.latents_NFChw.to(self._device, torch.float32))
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in batch.noise_seeds]
        times_N = self._process.sample_times(settings, generators, self._num_tokens(clips_NFChw)).to(self._device)
        noise_NFChw = torch.stack(
            [torch.randn(clips_NFChw.shape[1:], generator=generator) for generator in generators]
        ).to(self._device)
        noisy_NFChw = self._process.noised(clips_NFChw, noise_NFChw, times_N)
        told_NFChw = self._predict(batch, noisy_NFChw, condition_NLD, times_N)
        losses_N = diffusion_loss(
            told_NFChw,
            self._process.target(clips_NFChw, noise_NFChw, times_N),
            self._process.weights(times_N, settings.min_snr_gamma),
        )
        return StageLoss(
            loss=losses_N.mean(),
            parts={},
            losses_N=losses_N.detach(),
            shares_N=(times_N / self._process.num_times).float(),
        )

    def _predict(self, batch: WindowBatch, noisy_NFChw: Tensor, condition_NLD: Tensor, times_N: Tensor) -> Tensor:
        """Return what the transformer tells, shape (N, F, C, h, w)."""
        if self._boundary is None:
            return self._predict_by_pictures(batch, noisy_NFChw, condition_NLD, times_N)
        # Two experts: each shot goes to that of its time.
        told_NFChw = torch.zeros_like(noisy_NFChw)
        is_noisy_N = times_N >= self._boundary * self._process.num_times
        for expert, chosen_N in ((self.transformer, is_noisy_N), (self.transformer_2, ~is_noisy_N)):
            if chosen_N.any():
                told = self._predict_with(
                    expert, batch, noisy_NFChw[chosen_N], condition_NLD[chosen_N], times_N[chosen_N]
                )
                told_NFChw = told_NFChw.masked_scatter(chosen_N[:, None, None, None, None], told.float())
        return told_NFChw

    def _predict_by_pictures(
        self, batch: WindowBatch, noisy_NFChw: Tensor, condition_NLD: Tensor, times_N: Tensor
    ) -> Tensor:
        """Let shots with as many pictures beside them go through the transformer together, so that none is padded.

        In one process only: divided weights need the same number of passes in all of them.
        """
        sees_NR, pictures_NRChw, slots_NR = batch.sees_NR, batch.pictures_NRChw, batch.slots_NR
        is_divided = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
        if sees_NR is None or pictures_NRChw is None or slots_NR is None or is_divided:
            return self._predict_with(self.transformer, batch, noisy_NFChw, condition_NLD, times_N)
        counts_N = sees_NR.sum(1)  # those that are stand first
        told_NFChw = torch.empty_like(noisy_NFChw)
        for count in counts_N.unique().tolist():
            chosen = torch.nonzero(counts_N == count).flatten()
            seen = replace(
                batch,
                pictures_NRChw=pictures_NRChw[chosen, :count] if count else None,
                slots_NR=slots_NR[chosen, :count],
                sees_NR=None,
            )
            told = self._predict_with(
                self.transformer,
                seen,
                noisy_NFChw[chosen.to(noisy_NFChw.device)],
                condition_NLD[chosen.to(condition_NLD.device)],
                times_N[chosen.to(times_N.device)],
            )
            told_NFChw = told_NFChw.index_copy(0, chosen.to(told_NFChw.device), told.to(told_NFChw))
        return told_NFChw

    def _predict_with(
        self, transformer: Any, batch: WindowBatch, noisy_NFChw: Tensor, condition_NLD: Tensor, times_N: Tensor
    ) -> Tensor:
        # Weights of a LoRA are in float32, whatever the transformer's own have.
        dtype = next(weight.dtype for name, weight in transformer.named_parameters() if ".lora_" not in name)
        common = {
            "encoder_hidden_states": condition_NLD.to(dtype),
            "timestep": times_N,
            "return_dict": False,
        }
        if isinstance(self._decoder, WanDecoder):
            told: Tensor = transformer(hidden_states=noisy_NFChw.transpose(1, 2).to(dtype), **common)[0]
            return told.transpose(1, 2)
        with self._pictures(transformer, batch):
            told = transformer(
                hidden_states=noisy_NFChw.to(dtype),
                image_rotary_emb=self._rotary_of(noisy_NFChw),
                ofs=noisy_NFChw.new_full((1,), _OFS) if transformer.config.ofs_embed_dim else None,
                **common,
            )[0]
        return told

    @contextmanager
    def _pictures(self, transformer: Any, batch: WindowBatch) -> Iterator[None]:
        """Let the transformer see the pictures beside each shot, where there are any."""
        if batch.pictures_NRChw is None or self.reference_latents is None:
            yield
            return
        pictures_NRChw = batch.pictures_NRChw.to(self._device, torch.float32)
        slots_NR, sees_NR = batch.slots_NR, None if batch.sees_NR is None else batch.sees_NR.to(self._device)
        with self.reference_latents.joined(transformer, pictures_NRChw, slots_NR, sees_NR):
            yield

    # ------------------------------------------------------------------------------------------------ inner steps

    def _whole_patches(self, clips_NFChw: Tensor) -> Tensor:
        """Return clips whose frames fill patches in time; the pipeline makes the missing ones in front, and drops them.

        They repeat the first frame, as in CogVideoX 1.5's own trainer.
        """
        patch = self.transformer.config.get("patch_size_t")
        if isinstance(self._decoder, WanDecoder) or not patch:
            return clips_NFChw
        missing = -clips_NFChw.shape[1] % patch
        return torch.cat([clips_NFChw[:, :1].expand(-1, missing, -1, -1, -1), clips_NFChw], dim=1)

    def _num_tokens(self, clips_NFChw: Tensor) -> int:
        patch = self.transformer.config.patch_size
        patch_t, rows, columns = patch if isinstance(patch, Sequence) else (
            self.transformer.config.get("patch_size_t") or 1, patch, patch)  # fmt: skip
        _, frames, _, height, width = clips_NFChw.shape
        return int((frames // patch_t) * (height // rows) * (width // columns))

    def _rotary_of(self, clips_NFChw: Tensor) -> Any:
        """Return the rotary embeddings that the plain pipeline makes for such a shot; None for sine positions."""
        if not isinstance(self._decoder, CogVideoXDecoder):
            return None
        if not self.transformer.config.use_rotary_positional_embeddings:
            return None
        _, frames, _, rows, columns = clips_NFChw.shape
        key = (frames, rows, columns, clips_NFChw.device)
        if key not in self._rotary:
            pipeline = self._decoder.pipeline
            scale = pipeline.vae_scale_factor_spatial
            self._rotary[key] = pipeline._prepare_rotary_positional_embeddings(
                rows * scale, columns * scale, frames, clips_NFChw.device
            )
        return self._rotary[key]

    def _checkpoint(self) -> None:
        """Let every part that gradients pass through compute its activations twice."""
        if not self._reads_without_gradient():
            self.mllm.activation_checkpointing_enable()
            self.adapter.enable_gradient_checkpointing()
        for transformer in (self.transformer, self.transformer_2):
            if transformer is not None and self.stage != "align":
                transformer.enable_gradient_checkpointing()


def use_fast_training_attention(pipeline: Any, device: torch.device | str) -> None:
    """On a CPU, let a CogVideoX attend by plain matrix products where they are faster.

    PyTorch's fused attention for CPUs has a slow backward pass in bfloat16. In float32, for long sequences, for other
    models, on a GPU and at inference nothing changes. The results differ by rounding.
    """
    if torch.device(device).type == "cpu" and isinstance(pipeline.decoder, CogVideoXDecoder):
        use_plain_attention_in_training(pipeline.transformer)


def _is_trained(part: nn.Module) -> bool:
    return any(weight.requires_grad for weight in part.parameters())
