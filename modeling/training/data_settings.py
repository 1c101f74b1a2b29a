"""Which windows of shots a training sees, and how a shot becomes frames. A value says "paper" or "our choice"."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.setting_checks import check_choice, check_whole

__all__ = ["DataSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """Which windows of shots are trained on, and how a shot becomes frames."""

    dataset: str = ""
    """Folder, address or Hub repository, as for `load_stories`."""

    split: str = "train"
    """Its split. Our choice."""

    is_streamed: bool = False
    """Read the dataset over the network while training, instead of downloading it first. Our choice: False."""

    window: int = 3
    """Shots of a window. Paper: 3 in multi and enhance, 1 in align and single."""

    step: int = 1
    """Shots between the first shots of two windows. Our choice: 1, every window."""

    arrangement: str = "consecutive"
    """How shots make windows: as they follow each other in a story, or drawn from one IP's clips. Paper: drawn in
    enhance, consecutive else."""

    ip_id: str | None = None
    """Train on the stories of one IP only; None for all. Paper: one IP in enhance."""

    max_clips: int | None = None
    """Most clips that are used, the first of them; None for all. Paper: 5 to 6 in enhance."""

    height: int | None = None
    """Rows of a frame; None as the pipeline generates. Paper: 480."""

    width: int | None = None
    """Columns of a frame; None as the pipeline generates. Paper: 720."""

    num_frames: int | None = None
    """Frames of a shot; None as the pipeline generates. Paper: 49."""

    buckets: tuple[str, ...] = ()
    """Sizes to choose from for each window, "HEIGHTxWIDTHxFRAMES"; empty for the one size above. Our choice: one."""

    frame_rate: Fraction | None = None
    """Frames per second at which a clip is read; None for its own. Our choice."""

    place: str = "random"
    """Where in a shot its frames lie: "random", "start" or "center". Our choice."""

    frame_variants: int | None = 1
    """Stretches of a clip that are used, by epochs in turns; None for another one in each epoch, which cannot be
    cached. Our choice: 1."""

    short_shots: str = "skip"
    """What becomes of shots with too few frames: "skip" (left out and counted), "repeat" (the last frame stands) or
    "refuse". Our choice: left out."""

    on_problem: str = "raise"
    """What becomes of a window that cannot be read: "raise", or "skip" for the next that can. Our choice."""

    with_titles: bool = False
    """Whether openings and closings, which are no part of the plot, are trained on. Our choice."""

    horizontal_flip: bool = False
    """Whether some windows are mirrored. Our choice: not, as captions say left and right."""

    references: int = 1
    """Most reference images of each character. Paper: 1."""

    require_references: bool = True
    """Refuse a dataset in which no window has a reference. Our choice: True, as nothing would be learned from them."""

    caption: str = "descriptive"
    """Which caption the MLLM reads. Paper: descriptive in single; for the others it does not say."""

    trigger: str = ""
    """Word before every caption, by which a LoRA is called; empty for none. Our choice: none, as in the paper."""

    keep_queries: bool = True
    """Whether a shot's queries stay in the context of the shots after it. Our choice."""

    def __post_init__(self) -> None:
        for name in ("window", "step", "references"):
            check_whole(name, getattr(self, name), 0 if name == "references" else 1)
        for name in ("max_clips", "height", "width", "num_frames"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        check_choice("arrangement", self.arrangement, ("consecutive", "drawn"))
        check_choice("caption", self.caption, ("descriptive", "narrative", "both"))
        check_choice("place", self.place, ("random", "start", "center"))
        check_choice("short_shots", self.short_shots, ("skip", "repeat", "refuse"))
        check_choice("on_problem", self.on_problem, ("raise", "skip"))
        if self.frame_variants is not None:
            check_whole("frame_variants", self.frame_variants, 1)
        if self.frame_rate is not None and self.frame_rate <= 0:
            raise InputError(f"frame_rate must be above 0, got {self.frame_rate}.")
        for bucket in self.buckets:
            sizes = bucket.split("x")
            if len(sizes) != 3 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
                raise InputError(f"A bucket is written HEIGHTxWIDTHxFRAMES, such as 480x720x49, got {bucket!r}.")

    @property
    def layout(self) -> Any:
        """How the MLLM reads a window, as `prompt_layout.LayoutSettings`."""
        from animeshooter_hf.modeling.prompt_layout import CaptionKind, LayoutSettings

        return LayoutSettings(caption=cast(CaptionKind, self.caption), keep_queries=self.keep_queries)
