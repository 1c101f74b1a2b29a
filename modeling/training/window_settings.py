"""How windows are taken from a dataset, as `StoryWindows` reads it; `window_settings` makes it of a training's."""

from dataclasses import dataclass
from typing import Any, Literal

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.frame_sampling import FrameSampling
from animeshooter_hf.modeling.training.buckets import Bucket
from animeshooter_hf.modeling.training.setting_checks import check_choice, check_whole

__all__ = ["WindowSettings", "window_settings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowSettings:
    """Which windows there are, and how a shot becomes frames."""

    buckets: tuple[Bucket, ...]
    """Sizes to choose from for each window; one is the rule."""

    window: int = 3
    """Shots of a window. Paper: 3 in multi and enhance, 1 in align and single."""

    step: int = 1
    """Shots between the first shots of two windows. Our choice: 1, every window."""

    arrangement: Literal["consecutive", "drawn"] = "consecutive"
    """Shots as they follow each other in a story; or drawn anew in each epoch from all clips, as many windows as clips,
    each clip the first of one. Paper: drawn in enhance ("sampled into 3-shot sequences"), consecutive else."""

    ip_id: str | None = None
    """Take the stories of one IP only: those whose `video_id` or `story_id` this is."""

    max_clips: int | None = None
    """Most clips that are used, the first of the dataset. Paper: 5 to 6 in enhance."""

    frame_rate: float | None = None
    """Frames per second at which a clip is read; None takes its frames as they are. Our choice."""

    place: Literal["random", "start", "center"] = "random"
    """Where in a shot its frames lie. Our choice."""

    frame_variants: int | None = 1
    """How many stretches of a clip are used, by epochs in turns; None: another one in each epoch, which cannot be
    cached. Our choice: 1, so that a cache is filled once."""

    short_shots: Literal["skip", "repeat", "refuse"] = "skip"
    """What a shot does that has fewer frames than are wanted: its windows are left out and counted; its last frame is
    repeated, which teaches the model to stand still; or it is an error. Our choice: left out."""

    references: int = 1
    """Most references of each character, chosen anew in each epoch. Paper: 1."""

    reference_kind: Literal["cutout", "image"] = "cutout"
    """The character alone (RGBA), or the whole frame. Paper: cut out."""

    without_references: Literal["skip", "keep"] = "skip"
    """What a window does whose stories have no reference: left out and counted, or kept. Our choice: left out."""

    with_titles: bool = False
    """Whether openings and closings, which are no part of the plot, are trained on. Our choice: not."""

    trigger: str = ""
    """Words before every caption, by which a LoRA is called."""

    horizontal_flip: bool = False
    """Whether some variants of a story are mirrored. Our choice: not; captions say left and right, and a character's
    sides differ."""

    on_problem: Literal["raise", "skip"] = "raise"
    """What a window does that cannot be read: an error, or the next window that can be stands in its place, with the
    reason in `Window.problems`. Our choice: an error."""

    seed: int = 0
    """Decides what is random, together with the epoch and the content."""

    def __post_init__(self) -> None:
        if not self.buckets:
            raise InputError("There must be a size to train at, such as 480x720x49.")
        check_whole("window", self.window, 1)
        check_whole("step", self.step, 1)
        check_whole("references", self.references, 0)
        for name in ("max_clips", "frame_variants"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        for name, allowed in _CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        if self.arrangement == "drawn" and len(self.buckets) > 1:
            raise InputError("Windows that are drawn from clips need one size; give a single bucket.")
        if self.frame_rate is not None and not self.frame_rate > 0:
            raise InputError(f"frame_rate must be above 0, got {self.frame_rate}.")

    def sampling(self, size: Bucket) -> FrameSampling:
        """Return which frames a shot of a size takes."""
        return FrameSampling(num_frames=size.num_frames, frame_rate=self.frame_rate, place=self.place)


_CHOICES = {
    "arrangement": ("consecutive", "drawn"),
    "place": ("random", "start", "center"),
    "short_shots": ("skip", "repeat", "refuse"),
    "reference_kind": ("cutout", "image"),
    "without_references": ("skip", "keep"),
    "on_problem": ("raise", "skip"),
}


def window_settings(data: Any, decoder: Any, *, seed: int = 0, **others: Any) -> WindowSettings:
    """Return what a training's `DataSettings` mean for a video model.

    Args:
        data: `DataSettings`; sizes that it leaves open are those that the video model was made for.
        decoder: The pipeline's decoder, which checks every size.
        seed: See `WindowSettings`.
        others: Further settings of `WindowSettings`.

    Raises:
        InputError: If the video model cannot make shots of such a size.
    """
    frames, height, width = decoder.default_size
    one = Bucket(data.height or height, data.width or width, data.num_frames or frames)
    buckets = tuple(Bucket.parse(text) for text in data.buckets) or (one,)
    for size in buckets:
        decoder.check_size(size.num_frames, size.height, size.width)
    given = {
        "window": data.window,
        "step": data.step,
        "arrangement": data.arrangement,
        "ip_id": data.ip_id,
        "max_clips": data.max_clips,
        "frame_rate": None if data.frame_rate is None else float(data.frame_rate),
        "references": data.references,
        "without_references": "skip" if data.require_references and data.references else "keep",
        "trigger": data.trigger,
        "seed": seed,
    }
    return WindowSettings(buckets=buckets, **{**given, **others})
