"""What is cached, and how."""

from dataclasses import dataclass
from typing import Literal

from animeshooter_hf.modeling.prompt_layout import CaptionKind
from animeshooter_hf.modeling.training.setting_checks import check_choice, check_whole

__all__ = ["CacheSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSettings:
    """What is made once instead of in every step."""

    latents: bool = True
    """Latents of shots. Our choice: True; the align stage needs none."""

    stills: bool | None = None
    """Latents of references and last frames; None where the pipeline has `reference_latents`."""

    text_states: bool = False
    """The text encoder's states of captions, which only the align stage compares with."""

    vision_features: bool = False
    """What the MLLM's vision tower gives for references and last frames; only where it is frozen. Our choice: off."""

    caption: CaptionKind = "descriptive"
    """Which caption the text encoder reads."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type in which values are kept: that of the training."""

    is_sampled: bool = True
    """Whether latents are drawn from the VAE's posterior anew in each epoch, or are its mean. Our choice: drawn, as
    CogVideoX's own trainer does."""

    batch_size: int = 4
    """Clips, pictures or captions that are encoded together. Our choice."""

    on_problem: Literal["raise", "skip"] = "raise"
    """What a window does that cannot be read: it stops the run, or is left out and counted. Our choice: stop."""

    is_verified: bool = False
    """Whether all that is there already is read and checked first. Our choice: not; a damaged value is found when it is
    read, and made again then."""

    seed: int = 0
    """Decides the draws from the posterior, together with epoch and window."""

    progress: bool = True
    """Whether to show a bar on stderr."""

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, ("float32", "bfloat16", "float16"))
        check_choice("caption", self.caption, ("descriptive", "narrative", "both"))
        check_choice("on_problem", self.on_problem, ("raise", "skip"))
        check_whole("batch_size", self.batch_size, 1)
