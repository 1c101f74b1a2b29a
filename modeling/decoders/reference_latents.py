"""The second path for fine detail: reference images as latents beside the latents of the shot.

The MLLM says who is meant, but 226 tokens do not hold the stripes of a scarf (the paper's Figure 5). So the references
are also encoded by the VAE and stand in the transformer's sequence as further latent frames:

  - each reference is one latent frame (one temporal patch in CogVideoX 1.5) behind the last of the shot, with the
    positions that follow it in time, and a learned slot embedding that tells first, second ... reference apart;
  - they pass through the transformer's own weights, see only each other, and are cut off from its output;
  - in every layer the shot's video tokens add what they find in them, times tanh of a gate per head
    (decoders/attention.py).

Gates and slot embeddings start at zero. An untrained module therefore changes nothing: the shot is computed from the
same numbers as without it. The gates have a gradient from the first step, the rest of the path as soon as they moved.
All that is new is 1,028 numbers for CogVideoX-2B; the transformer's weights do the rest, or a LoRA on them does.

Last frames of earlier shots can stand there too, in slots of their own behind those of the references: what the MLLM
keeps of a place is too little for its colours and its layout, so a model that is trained with them finds a place again
as it was.
In training the shots of a batch may have different numbers of them: `sees_BR` tells which each of them has, and `slots`
may then be given for each shot. What a shot has stands first, so it is where it will be when the shot is made alone.

The paper has no such path. Gated attention as in Flamingo, arXiv 2204.14198; in-context latents as in Phantom.

CogVideoX only. Wan 2.2 TI2V takes a frame as latents by itself.

Shape letters used below
    B shots    R references    F latent frames of the shot    C latent channels    h, w rows and columns of latents
    N layers    H heads    D width of a head
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.video_processor import VideoProcessor
from PIL import Image, ImageOps
from torch import Tensor, nn

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders.attention import install_dispatching_attention

__all__ = ["ReferenceLatents", "encode_references"]


class ReferenceLatents(ModelMixin, ConfigMixin):
    """What a CogVideoX transformer needs to look at reference latents: gates and slot embeddings."""

    @register_to_config
    def __init__(
        self,
        num_layers: int = 30,
        num_heads: int = 30,
        latent_channels: int = 16,
        max_references: int = 8,
        memory_frames: int = 0,
    ) -> None:
        """Make a path that changes nothing yet.

        Args:
            num_layers: Layers of the transformer. CogVideoX-2B: 30.
            num_heads: Its attention heads. CogVideoX-2B: 30.
            latent_channels: Channels of its latents. CogVideoX: 16.
            max_references: Most references of a shot. Our choice.
            memory_frames: Earlier shots whose last frames are seen beside the references. Our choice: 0, as the paper
                has none.

        Raises:
            ValueError: If a size is below 1, or `memory_frames` below 0.
        """
        super().__init__()
        sizes = (num_layers, num_heads, latent_channels, max_references)
        if min(sizes) < 1 or memory_frames < 0:
            raise ValueError(f"Every size of the reference path must be at least 1, got {sizes} and {memory_frames}.")
        self.gates = nn.Parameter(torch.zeros(num_layers, num_heads))
        self.slots = nn.Parameter(torch.zeros(max_references + memory_frames, latent_channels))

    @classmethod
    def for_transformer(
        cls, transformer: Any, *, max_references: int = 8, memory_frames: int = 0
    ) -> "ReferenceLatents":
        """Return an untrained path that fits a CogVideoX transformer."""
        config = transformer.config
        return cls(config.num_layers, config.num_attention_heads, config.in_channels, max_references, memory_frames)

    def slots_of(self, num_references: int, num_memory_frames: int = 0) -> tuple[int, ...]:
        """Return the slots of a shot's references and of the last frames of the shots before it, the latest first.

        Raises:
            InputError: If there are more than there is room for.
        """
        room = (self.config.max_references, self.config.memory_frames)
        if not (0 <= num_references <= room[0] and 0 <= num_memory_frames <= room[1]):
            raise InputError(f"The reference path has room for {room[0]} references and {room[1]} frames of earlier "
                             f"shots, got {num_references} and {num_memory_frames}.")  # fmt: skip
        return (*range(num_references), *range(room[0], room[0] + num_memory_frames))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Return a saved path. For the options see diffusers.

        Raises:
            InputError: If the checkpoint lacks a weight; diffusers would leave it at zero, which means off.
        """
        wants_report = kwargs.pop("output_loading_info", False)
        model, report = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        missing = sorted(report["missing_keys"])
        if missing:
            raise InputError(
                f"The checkpoint {pretrained_model_name_or_path} is not whole: {len(missing)} weights of "
                f"reference_latents are missing, such as {missing[0]}."
            )
        return (model, report) if wants_report else model

    def forward(self, latents_BRChw: Tensor, slots: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return the latents with their slot embeddings.

        Args:
            latents_BRChw: References, and frames of earlier shots if there are any.
            slots: The slot of each, see `slots_of`; None for references alone; (B, R) where they differ by shot.

        Raises:
            InputError: If there are more references than slots, or the channels are others.
        """
        limit, channels = (self.config.max_references if slots is None else len(self.slots)), self.slots.shape[1]
        if latents_BRChw.ndim != 5 or not 1 <= latents_BRChw.shape[1] <= limit or latents_BRChw.shape[2] != channels:
            raise InputError(
                f"Reference latents must have the shape (shots, 1 to {limit}, {channels}, rows, columns), got "
                f"{tuple(latents_BRChw.shape)}."
            )
        if isinstance(slots, Tensor):
            return self._with_slots_of_shots(latents_BRChw, slots)
        chosen = range(latents_BRChw.shape[1]) if slots is None else slots
        if len(chosen) != latents_BRChw.shape[1] or not all(0 <= slot < len(self.slots) for slot in chosen):
            raise InputError(f"{latents_BRChw.shape[1]} reference latents need as many slots below {len(self.slots)}, "
                             f"got {tuple(chosen)}.")  # fmt: skip
        slots_RC11 = self.slots[list(chosen), :, None, None]
        return latents_BRChw + slots_RC11.to(latents_BRChw)

    def _with_slots_of_shots(self, latents_BRChw: Tensor, slots_BR: Tensor) -> Tensor:
        """Return the latents with slot embeddings that each shot has for itself."""
        if slots_BR.shape != latents_BRChw.shape[:2] or not bool(
            ((slots_BR >= 0) & (slots_BR < len(self.slots))).all()
        ):
            raise InputError(f"Reference latents of shape {tuple(latents_BRChw.shape)} need slots of shape "
                             f"{tuple(latents_BRChw.shape[:2])} below {len(self.slots)}.")  # fmt: skip
        return latents_BRChw + self.slots[slots_BR.to(self.slots.device)][..., None, None].to(latents_BRChw)

    def check_fits(self, transformer: Any) -> None:
        """Raise an InputError unless this path was made for such a transformer."""
        ours = (*self.gates.shape, self.slots.shape[1])
        config = transformer.config
        theirs = (config.num_layers, config.num_attention_heads, config.in_channels)
        if ours != theirs:
            raise InputError(f"The reference path was made for a transformer of {ours} layers, heads and channels, but "
                             f"this one has {theirs}.")  # fmt: skip

    @contextmanager
    def joined(
        self,
        transformer: Any,
        latents_BRChw: Tensor,
        slots: Sequence[int] | Tensor | None = None,
        sees_BR: Tensor | None = None,
    ) -> Iterator[None]:
        """Let every call of the transformer see these references; for a pipeline's run or a step of training.

        A call may hold several branches of guidance, one after the other along the batch. Only the last one sees the
        references; for the others the gates are zero.

        Args:
            transformer: A CogVideoX transformer.
            latents_BRChw: As `encode_references` gives them, of the size of the shot.
            slots: The slot of each, see `slots_of`; None for references alone; (B, R) where they differ by shot.
            sees_BR: Which of them each shot sees, bool; None for all. A shot that sees none is as without the path.

        Raises:
            InputError: If the path does not fit the transformer or the latents.
        """
        self.check_fits(transformer)
        install_dispatching_attention(transformer)
        patch = transformer.config.patch_size_t or 1
        if sees_BR is not None and (sees_BR.shape != latents_BRChw.shape[:2] or sees_BR.dtype != torch.bool):
            raise InputError(f"sees_BR must be bool of shape {tuple(latents_BRChw.shape[:2])}, got {sees_BR.dtype} of "
                             f"shape {tuple(sees_BR.shape)}.")  # fmt: skip
        frames_BRChw = self(latents_BRChw, slots).repeat_interleave(patch, dim=1)

        def append(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return args, self._appended(kwargs, frames_BRChw, transformer.config, sees_BR)

        def cut(_: nn.Module, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (output[0][:, : -frames_BRChw.shape[1]],)
            output.sample = output.sample[:, : -frames_BRChw.shape[1]]
            return output

        before = transformer.register_forward_pre_hook(append, with_kwargs=True)
        after = transformer.register_forward_hook(cut)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def _appended(
        self, kwargs: dict[str, Any], frames_BRChw: Tensor, config: Any, sees_BR: Tensor | None
    ) -> dict[str, Any]:
        """Return a call's arguments with the references in them."""
        hidden_BFChw = kwargs["hidden_states"]
        if hidden_BFChw.shape[3:] != frames_BRChw.shape[3:] or hidden_BFChw.shape[0] % frames_BRChw.shape[0]:
            raise InputError(f"Reference latents of shape {tuple(frames_BRChw.shape)} do not fit shots of shape "
                             f"{tuple(hidden_BFChw.shape)}.")  # fmt: skip
        branches = hidden_BFChw.shape[0] // frames_BRChw.shape[0]
        sees_B = torch.arange(hidden_BFChw.shape[0], device=hidden_BFChw.device) >= hidden_BFChw.shape[0] - len(
            frames_BRChw
        )
        num_frames = frames_BRChw.shape[1] // (config.patch_size_t or 1)
        area = (hidden_BFChw.shape[3] // config.patch_size) * (hidden_BFChw.shape[4] // config.patch_size)
        masks: dict[str, Tensor] = {}
        if sees_BR is not None:
            sees_BR = sees_BR.to(hidden_BFChw.device).repeat(branches, 1)
            sees_any_B = sees_BR.any(dim=1)
            sees_B = sees_B & sees_any_B
            # Attention to nothing is not a number; such a shot looks, and its gates are zero.
            masks["sees_BR"] = (sees_BR | ~sees_any_B[:, None]).repeat_interleave(area, dim=1)
        gates_BNH = sees_B[:, None, None] * torch.tanh(self.gates.to(hidden_BFChw.device))
        rotary = kwargs.get("image_rotary_emb")
        return {
            **kwargs,
            "hidden_states": torch.cat([hidden_BFChw, torch.cat([frames_BRChw.to(hidden_BFChw)] * branches)], dim=1),
            "image_rotary_emb": None if rotary is None else _longer_rotary(rotary, area, num_frames),
            "attention_kwargs": {
                **(kwargs.get("attention_kwargs") or {}),
                "num_reference_tokens": num_frames * area,
                "reference_gates_BNH": gates_BNH,
                **masks,
            },
        }


@torch.no_grad()
def encode_references(vae: Any, images: Sequence[Image.Image], *, height: int, width: int) -> Tensor:
    """Return the latents of reference images, shape (R, C, h, w).

    Each image is fitted into the shot's size without distortion, on white. The mean of the VAE's distribution is
    taken, so the same image always gives the same latents.

    Args:
        vae: A CogVideoX VAE.
        images: RGB, or RGBA for a cut-out.
        height: Rows of the shot, in pixels.
        width: Columns.

    Raises:
        InputError: If there is no image.
    """
    if not images:
        raise InputError("There is no reference image to encode.")
    processor = VideoProcessor(vae_scale_factor=2 ** (len(vae.config.block_out_channels) - 1))
    pixels_RCHW = torch.cat([processor.preprocess(_on_white(image, height, width)) for image in images])
    pixels_RCHW = pixels_RCHW.to(vae.device, vae.dtype)
    latents_RC1hw = torch.cat([vae.encode(pixels_CHW[None, :, None]).latent_dist.mode() for pixels_CHW in pixels_RCHW])
    return latents_RC1hw[:, :, 0] * vae.config.scaling_factor


def _on_white(image: Image.Image, height: int, width: int) -> Image.Image:
    """Return the image fitted into the size, with white around it and behind what is transparent."""
    opaque = Image.new("RGB", image.size, "white")
    opaque.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    return ImageOps.pad(opaque, (width, height), color="white")


def _longer_rotary(rotary: tuple[Tensor, Tensor], area: int, num_frames: int) -> tuple[Tensor, Tensor]:
    """Return rotary embeddings for further frames at the places of the first one, at the times after the last one."""
    cos, sin = rotary
    first = cos.shape[0] // area
    times = torch.arange(first, first + num_frames, dtype=torch.float32, device=cos.device)
    # The first quarter of a head's width turns with time, the rest with rows and columns.
    turning = cos.shape[1] // 4
    longer = []
    for table, of_time in zip((cos, sin), get_1d_rotary_pos_embed(turning, times, use_real=True), strict=True):
        of_place = table[:area, turning:].repeat(num_frames, 1)
        added = torch.cat([of_time.repeat_interleave(area, dim=0).to(table), of_place], dim=1)
        longer.append(torch.cat([table, added]))
    return longer[0], longer[1]
