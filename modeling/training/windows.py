"""Windows: a few shots that are trained on together, and where they come from.

A source gives windows by number, or by number and epoch. Any object with `__len__` and `__getitem__` is one. One that
can also say beforehand what a window is made of (`PlannedSource`) lets the cache do without its pixels. A window is a
story of its own: its shots are counted from 0, the first one opens with the references and has no frame before it, so
`prompt_layout.build_chunk` takes each of them as it is.

    story_windows.py     windows of a dataset
    toon_windows.py      windows that are drawn in code
    cached_windows.py    either of them, with latents and text states instead of pixels

Shape letters used below
    S shots    F frames    H, W rows and columns    R references    L text tokens    D width of the text encoder
    f, C, h, w latent frames, channels, rows, columns
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.loading.torch_dataset import SkippedSample
from animeshooter_hf.loading.torch_loader import StoryLoader
from animeshooter_hf.modeling.training.buckets import Bucket, BucketOrder
from animeshooter_hf.modeling.training.content_marks import mark_array, mark_of, mark_picture
from animeshooter_hf.records import Shot

__all__ = [
    "MediaMark",
    "PlannedSource",
    "Window",
    "WindowPlan",
    "WindowSource",
    "collate_windows",
    "epoch_and_position",
    "pictures_of_plan",
    "plan_of_window",
    "window_from_plan",
    "window_loader",
]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Window:
    """A few shots that are trained on together. Pixels, or what was made from them, or both."""

    story_id: str
    """Their story, that of the first shot where they come from several."""

    key: str
    """Names the window in messages."""

    shots: tuple[Shot, ...]
    """The shots, counted from 0 in the window; their IDs say where they come from."""

    size: Bucket
    """Height, width and frames of every shot."""

    references: Mapping[str, tuple[Image.Image, ...]] = field(default_factory=dict)
    """Character -> reference pictures, RGB or RGBA; those of the shots' characters, chosen for this epoch."""

    last_frames: tuple[NDArray[np.uint8] | None, ...] = ()
    """For each shot the last frame of the shot before it, (H, W, 3); None for the first."""

    frames_SFHW3: NDArray[np.uint8] | None = None
    """Pixels."""

    latents_SFChw: Tensor | None = None
    """Latents, scaled as the transformer reads them, in CogVideoX's order of axes."""

    reference_latents_RChw: Tensor | None = None
    """Each reference as a still, in the order in which `references` runs: the first character's, the second's ..."""

    last_latents_SChw: Tensor | None = None
    """Each shot's own last frame as a still, which later shots may see."""

    text_states_SLD: Tensor | None = None
    """The text encoder's states of each caption, padded as the transformer was trained."""

    is_token_SL: Tensor | None = None
    """Which of them belong to the caption; the rest are pads."""

    vision_features: Mapping[str, Mapping[str, Tensor]] | None = None
    """`vision_mark` of a picture -> what the MLLM's vision tower gives for it; see `vision_features.py`."""

    problems: tuple[str, ...] = ()
    """Windows that could not be read and in whose place this one stands: a sentence for each."""

    def __post_init__(self) -> None:
        if not self.shots or [shot.index for shot in self.shots] != list(range(len(self.shots))):
            raise ValueError(f"A window needs shots that are counted from 0, got {[s.index for s in self.shots]}.")
        if len(self.last_frames) != len(self.shots) or self.last_frames[0] is not None:
            raise ValueError(f"A window of {len(self.shots)} shots needs as many last frames, none for the first.")


@dataclass(frozen=True, slots=True)
class MediaMark:
    """A clip or a picture before it is read."""

    mark: str
    """Hash of what it is made from and how; equal marks mean equal pixels."""

    handle: Any
    """What its source finds it by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowPlan:
    """What a window is made of."""

    story_id: str
    """See `Window`."""

    key: str
    """See `Window`."""

    shots: tuple[Shot, ...]
    """See `Window`."""

    size: Bucket
    """See `Window`."""

    clips: tuple[MediaMark, ...]
    """The frames of each shot; none where nobody asked for them."""

    references: tuple[tuple[str, MediaMark], ...] = ()
    """Character and picture, in the order of `Window.references`."""


class WindowSource(Protocol):
    """Windows by number."""

    def __len__(self) -> int:
        """Return how many windows an epoch has."""

    def __getitem__(self, key: int | SampleKey, /) -> Window:
        """Return a window, of epoch 0 if the key is a plain number."""


@runtime_checkable
class PlannedSource(Protocol):
    """A source that can say what a window is made of before it reads a pixel."""

    num_variants: int | None
    """In how many ways a clip becomes frames: epochs take them in turns. None: another one in each epoch."""

    def __len__(self) -> int:
        """Return how many windows an epoch has."""

    def __getitem__(self, key: int | SampleKey, /) -> Window:
        """Return a window, of epoch 0 if the key is a plain number."""

    def plan(self, key: int | SampleKey, *, with_clips: bool = True) -> WindowPlan:
        """Return what a window is made of, without its clips if they are of no interest, as they may have to be read.

        Raises an InputError if something of it cannot be read.
        """

    def candidates(self, position: int) -> tuple[MediaMark, ...]:
        """Return every reference that a window may have, in whatever epoch."""

    def frames(self, clip: MediaMark) -> NDArray[np.uint8]:
        """Return the frames of a clip, shape (F, H, W, 3). Raises an InputError if they cannot be read."""

    def picture(self, reference: MediaMark) -> Image.Image:
        """Return a reference. Raises an InputError if it cannot be read."""


def epoch_and_position(key: int | SampleKey, length: int) -> tuple[int, int]:
    """Return epoch and position of a key.

    Raises:
        IndexError: If there is no such window.
    """
    epoch, position = key if isinstance(key, tuple) else (0, key)
    if not -length <= position < length:
        raise IndexError(f"There are {length} windows, there is no window {position}.")
    return epoch, position % length


def window_from_plan(source: PlannedSource, plan: WindowPlan) -> Window:
    """Return a window with its pixels.

    Raises:
        InputError: If something of it cannot be read.
    """
    frames_SFHW3 = np.stack([source.frames(clip) for clip in plan.clips])
    return Window(
        story_id=plan.story_id,
        key=plan.key,
        shots=plan.shots,
        size=plan.size,
        references=pictures_of_plan(source, plan),
        last_frames=(None, *(frames_FHW3[-1] for frames_FHW3 in frames_SFHW3[:-1])),
        frames_SFHW3=frames_SFHW3,
    )


def pictures_of_plan(source: PlannedSource, plan: WindowPlan) -> dict[str, tuple[Image.Image, ...]]:
    """Return the references of a window: character -> pictures."""
    found: dict[str, tuple[Image.Image, ...]] = {}
    for name, reference in plan.references:
        found[name] = (*found.get(name, ()), source.picture(reference))
    return found


def plan_of_window(window: Window) -> WindowPlan:
    """Return the plan of a window that is there with its pixels: marks of the pixels, which are the handles too.

    Raises:
        ValueError: If it has none.
    """
    if window.frames_SFHW3 is None:
        raise ValueError(f"Window {window.key} has no pixels from which it could be told apart.")
    return WindowPlan(
        story_id=window.story_id,
        key=window.key,
        shots=window.shots,
        size=window.size,
        clips=tuple(
            MediaMark(mark_of("frames", mark_array(frames_FHW3)), frames_FHW3) for frames_FHW3 in window.frames_SFHW3
        ),
        references=tuple(
            (name, MediaMark(mark_picture(image), image))
            for name, images in window.references.items()
            for image in images
        ),
    )


def collate_windows(samples: Sequence[Any]) -> dict[str, Any]:
    """Return a batch as `StoryLoader` wants it: `windows`, unless there is none, and `skipped`."""
    windows = [sample for sample in samples if isinstance(sample, Window)]
    skipped = [sample for sample in samples if isinstance(sample, SkippedSample)]
    return {**({"windows": windows} if windows else {}), "skipped": skipped}


def window_loader(
    source: WindowSource,
    *,
    batch_size: int = 1,
    shuffle: bool = True,
    seed: int = 0,
    drop_last: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
    collate: Callable[[Sequence[Any]], dict[str, Any]] = collate_windows,
    **loader_options: Any,
) -> StoryLoader:
    """Return batches of windows, one epoch after the other; `state_dict` and `load_state_dict` keep the place.

    Where the source has windows of several sizes (its `bucket_numbers()` says so), each batch is of one size.

    Args:
        source: The windows.
        batch_size: Windows per batch and process.
        shuffle: Whether the order changes with the epoch.
        seed: Decides the order, together with the epoch.
        drop_last: Leave out what does not fill a batch on every process; else the first windows are repeated.
        rank: Which process this is; that of `torch.distributed` if None.
        world_size: Among how many processes the windows are divided; as above.
        collate: Makes a batch of windows.
        loader_options: Further arguments of `DataLoader`, such as `num_workers`.
    """
    numbers = source.bucket_numbers() if hasattr(source, "bucket_numbers") else None
    make_order: Callable[..., BucketOrder] | None = None
    if numbers is not None and len(np.unique(numbers)) > 1:

        def make_order(*, num_samples: int, **common: Any) -> BucketOrder:
            return BucketOrder(buckets=numbers, **common)

    return StoryLoader(
        source,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        drop_last=drop_last,
        rank=rank,
        world_size=world_size,
        collate=collate,
        make_order=make_order,
        **loader_options,
    )
