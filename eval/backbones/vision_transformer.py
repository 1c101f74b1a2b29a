"""The plain vision transformer of DINO, CLIP's image side, DreamSim and CSD, with the weight names of DINO's code.

transformers has these architectures too, under other names and one at a time; here one small module takes the published
checkpoints of DreamSim and CSD as they are, so that loading is a strict comparison of names and shapes.

Shape letters used below
    N pictures    h, w rows and columns    L tokens (class token first, then patches by rows)    D width    A heads
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from animeshooter_hf.errors import InputError

__all__ = ["VisionTransformer", "from_openai_names"]

_HEAD_WIDTH = 64
"""Width of a head in every published ViT of these families (768 / 12, 1024 / 16)."""


class VisionTransformer(nn.Module):
    """A vision transformer sized after a state dict."""

    def __init__(self, state: Mapping[str, Tensor], *, quick_gelu: bool, epsilon: float) -> None:
        """Make the modules that a state dict has weights for; the weights themselves come by `load_state_dict`.

        Args:
            state: Has DINO's names. A "pos_drop.weight" means a norm before the blocks, as CLIP has.
            quick_gelu: Whether the activation is x sigmoid(1.702 x) instead of GELU.
            epsilon: Of the norms.

        Raises:
            InputError: If the names and shapes are not those of such a network.
        """
        super().__init__()
        try:
            width = state["cls_token"].shape[2]
            out, channels, patch, _ = state["patch_embed.proj.weight"].shape
            positions, hidden = state["pos_embed"].shape[1], state["blocks.0.mlp.fc1.weight"].shape[0]
        except (KeyError, IndexError, ValueError) as error:
            raise InputError(f"This is no vision transformer in DINO's layout: {error}.") from error
        side = round((positions - 1) ** 0.5)
        if width % _HEAD_WIDTH or out != width or channels != 3 or side * side != positions - 1:
            shape = f"width {width}, {positions} positions and {channels} channels"
            raise InputError(f"A vision transformer of {shape} is not known.")
        depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
        self.image_size = side * patch
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, positions, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.pos_drop = nn.LayerNorm(width, eps=epsilon) if "pos_drop.weight" in state else nn.Identity()
        self.blocks = nn.ModuleList(_Block(width, hidden, quick_gelu, epsilon) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=epsilon)

    def forward(self, pixels_N3hw: Tensor, *, with_last_norm: bool) -> Tensor:
        """Return the class token after the last block, of shape (N, D), before or after the last norm."""
        patches_NLD = self.patch_embed["proj"](pixels_N3hw).flatten(2).transpose(1, 2)
        tokens_NLD = torch.cat([self.cls_token.expand(len(patches_NLD), -1, -1), patches_NLD], dim=1)
        tokens_NLD = self.pos_drop(tokens_NLD + self.pos_embed)
        for block in self.blocks:
            tokens_NLD = block(tokens_NLD)
        return self.norm(tokens_NLD[:, 0]) if with_last_norm else tokens_NLD[:, 0]


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int, quick_gelu: bool, epsilon: float) -> None:
        super().__init__()
        self.quick_gelu = quick_gelu
        self.norm1 = nn.LayerNorm(width, eps=epsilon)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.norm2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, tokens_NLD: Tensor) -> Tensor:
        count, length, width = tokens_NLD.shape
        heads = width // _HEAD_WIDTH
        qkv = self.attn["qkv"](self.norm1(tokens_NLD)).reshape(count, length, 3, heads, _HEAD_WIDTH)
        mixed_NALd = functional.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        tokens_NLD = tokens_NLD + self.attn["proj"](mixed_NALd.transpose(1, 2).reshape(count, length, width))
        inner = self.mlp["fc1"](self.norm2(tokens_NLD))
        inner = inner * torch.sigmoid(1.702 * inner) if self.quick_gelu else functional.gelu(inner)
        out: Tensor = tokens_NLD + self.mlp["fc2"](inner)
        return out


_OPENAI_NAMES = (
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^conv1\.weight$", "patch_embed.proj.weight"),
    (r"^ln_pre\.", "pos_drop."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.(\d+)\.ln_1\.", r"blocks.\1.norm1."),
    (r"^transformer\.resblocks\.(\d+)\.ln_2\.", r"blocks.\1.norm2."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.in_proj_", r"blocks.\1.attn.qkv."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.out_proj\.", r"blocks.\1.attn.proj."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r"blocks.\1.mlp.fc1."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r"blocks.\1.mlp.fc2."),
)
"""Names of CLIP's image side in OpenAI's code and open_clip -> DINO's."""


def from_openai_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of CLIP's image side under DINO's names; a name that is not known stays as it is.

    CLIP's patches have no bias, so zeros stand for it.
    """
    renamed = {}
    for name, weight in state.items():
        new = next((re.sub(old, to, name) for old, to in _OPENAI_NAMES if re.match(old, name)), name)
        if new == "cls_token":
            weight = weight.reshape(1, 1, -1)
        if new == "pos_embed":
            weight = weight[None]
        renamed[new] = weight
    if "cls_token" in renamed:
        renamed["patch_embed.proj.bias"] = torch.zeros(renamed["cls_token"].shape[2])
    return renamed
