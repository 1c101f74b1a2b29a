"""Windows become a batch: what the MLLM reads and what the video model sees, after dropouts, one row for each shot.

The MLLM reads sequences of chunks. A window is one sequence; one that loses its context is a sequence for each shot.
The video model sees N shots, those of all windows in order, each at a place (sequence, chunk) among what was read.

What a shot sees as latents is what it sees when it is made (`shot_loop.py`): the references of its own characters in
turns, then last frames of the shots before it, the latest first; both stand at the front, so their positions are those
of inference, and `sees_NR` says how many there are.

Shape letters used below
    N shots of all windows    R pictures that a shot sees as latents, of the one that sees most    S shots of a window
    F latent frames    C latent channels    h, w latent rows and columns    L text tokens    D width of the text encoder
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders import encode_references
from animeshooter_hf.modeling.prompt_layout import LayoutSettings, ShotChunk, build_chunk
from animeshooter_hf.modeling.training.condition_dropout import (
    Dropped,
    OwnSample,
    OwnSamples,
    draw_dropout,
    noisy_picture,
    without_caption,
    without_references,
)
from animeshooter_hf.modeling.training.draws import draw_seed, sample_generator
from animeshooter_hf.modeling.training.feature_encoders import latent_statistics, text_states
from animeshooter_hf.modeling.training.settings import TrainSettings
from animeshooter_hf.modeling.training.windows import Window

__all__ = ["BatchMaker", "WindowBatch"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WindowBatch:
    """Windows that are trained on together."""

    sequences: tuple[tuple[ShotChunk, ...], ...]
    """What the MLLM reads."""

    places: tuple[tuple[int, int], ...]
    """For each of the N shots its sequence, and its chunk there."""

    is_null_N: Tensor
    """Whether a shot gets the null condition."""

    noise_seeds: tuple[int, ...]
    """One for each of the N shots, for its time and its noise."""

    layout: LayoutSettings
    """How sequences are read."""

    vision_features: Mapping[str, Mapping[str, Tensor]]
    """What a frozen vision tower gives for pictures, by their marks."""

    latents_NFChw: Tensor | None = None
    """The clips, scaled as the transformer reads them; None in align."""

    text_states_NLD: Tensor | None = None
    """The text encoder's states; only align and the condition text need them."""

    is_token_NL: Tensor | None = None
    """Which of them belong to the caption."""

    pictures_NRChw: Tensor | None = None
    """Pictures that shots see as latents; None where nobody sees any."""

    slots_NR: Tensor | None = None
    """The slot of each."""

    sees_NR: Tensor | None = None
    """Whether there is one; those that are stand first."""

    keys: tuple[str, ...] = ()
    """Names of the windows, for messages."""

    def __len__(self) -> int:
        return len(self.places)


class BatchMaker:
    """Makes batches for a pipeline and a training.

    Example: `maker(windows, step=7, positions=[0, 1])`, in the main process, since what is missing in a window is made
    by the pipeline's VAE and text encoder.
    """

    def __init__(self, pipeline: Any, settings: TrainSettings, *, own_samples: OwnSamples | None = None) -> None:
        """Remember what windows are made into.

        Args:
            pipeline: An `AnimeShooterGenPipeline`.
            settings: Of the training.
            own_samples: Gives frames that the model made itself, where they shall stand in the place of true ones.

        Raises:
            InputError: If the pipeline reads several frames of the shot before; windows hold the last one.
        """
        if pipeline.layout.frames_per_past_shot != 1:
            raise InputError(f"A window holds one frame of the shot before, but the pipeline's layout reads "
                             f"{pipeline.layout.frames_per_past_shot}: frames_per_past_shot must be 1.")  # fmt: skip
        self._pipeline = pipeline
        self._settings = settings
        self._own_samples: OwnSamples = own_samples or (lambda window, shot: None)
        self._layout = replace(pipeline.layout, caption=settings.data.layout.caption,
                               keep_queries=settings.data.keep_queries)  # fmt: skip
        self._has_path = settings.stage != "align" and pipeline.reference_latents is not None

    def __call__(self, windows: Sequence[Window], *, step: int, positions: Sequence[int]) -> WindowBatch:
        """Return a batch.

        Args:
            windows: Of one size.
            step: Optimizer steps before this one.
            positions: Place of each window in the step's batch over all processes.

        Raises:
            InputError: If a window lacks what the stage needs, or windows are of different sizes.
        """
        if not windows or len(windows) != len(positions):
            raise InputError(f"{len(windows)} windows need as many positions and at least one, got {len(positions)}.")
        parts = [self._part(window, step, position) for window, position in zip(windows, positions, strict=True)]
        sequences: list[tuple[ShotChunk, ...]] = []
        places: list[tuple[int, int]] = []
        for part in parts:
            first = len(sequences)
            sequences += part.sequences
            places += [(first + number, place) for number, place in part.places]
        targets = self._targets(windows, parts)
        return WindowBatch(
            sequences=tuple(sequences),
            places=tuple(places),
            is_null_N=torch.tensor([self._is_null(part.dropped) for part in parts for _ in part.places]),
            noise_seeds=tuple(seed for part in parts for seed in part.noise_seeds),
            layout=self._layout,
            vision_features={mark: one for window in windows for mark, one in (window.vision_features or {}).items()},
            keys=tuple(window.key for window in windows),
            **targets,
            **self._shown(windows, parts),
        )

    def _is_null(self, dropped: Dropped) -> bool:
        """Return whether shots get the null condition; a text encoder has nothing but the caption to tell."""
        return dropped.is_null or (self._settings.condition == "text" and dropped.caption)

    # ---------------------------------------------------------------------------------------------- what is read

    def _part(self, window: Window, step: int, position: int) -> "_Part":
        """Return what one window becomes."""
        seed = self._settings.seed
        dropped = draw_dropout(self._settings.dropout, seed=seed, step=step, position=position)
        drawn = sample_generator(seed, step, position, "remedies")
        own = [self._own_samples(window, shot) for shot in range(len(window.shots))]
        chunks = [self._chunk(window, shot, dropped, own, drawn) for shot in range(len(window.shots))]
        first = chunks[0]
        if dropped.context:
            chunks = [first, *(_without_past(chunk, first) for chunk in chunks[1:])]
        alone = dropped.context
        count = range(len(chunks))
        return _Part(
            sequences=[(chunk,) for chunk in chunks] if alone else [tuple(chunks)],
            places=[(shot, 0) if alone else (0, shot) for shot in count],
            dropped=dropped,
            own=own,
            noise_seeds=[draw_seed(seed, step, position, f"noise of shot {shot}") for shot in count],
            posterior_seed=draw_seed(seed, step, position, "posterior"),
            drawn=drawn,
        )

    def _chunk(
        self,
        window: Window,
        shot: int,
        dropped: Dropped,
        own: Sequence[OwnSample | None],
        drawn: torch.Generator,
    ) -> ShotChunk:
        last = window.last_frames[shot]
        if last is not None:
            sample = own[shot - 1]
            true_or_own = last if sample is None else sample.frame_HW3
            last = noisy_picture(true_or_own, self._settings.loss.context_noise, drawn)
        chunk = build_chunk(
            window.shots[shot],
            references=window.references,
            last_frame=last,
            max_pixels=self._pipeline.config.max_image_pixels,
            layout=self._layout,
        )
        if dropped.reference and not dropped.is_null:
            chunk = without_references(chunk)
        return without_caption(chunk) if dropped.caption and not dropped.is_null else chunk

    # ---------------------------------------------------------------------------------------------- what is made

    def _targets(self, windows: Sequence[Window], parts: Sequence["_Part"]) -> dict[str, Tensor | None]:
        """Return clips, the text encoder's states, or both."""
        found: dict[str, Tensor | None] = {}
        if self._settings.stage == "align" or self._settings.condition == "text":
            states, tokens = zip(*(self._text_states(window) for window in windows), strict=True)
            found = {"text_states_NLD": torch.cat(states), "is_token_NL": torch.cat(tokens)}
        if self._settings.stage == "align":
            return found
        clips = [self._clips(window, part) for window, part in zip(windows, parts, strict=True)]
        sizes = {tuple(clip.shape[1:]) for clip in clips}
        if len(sizes) > 1:
            raise InputError(f"Windows of one batch must be of one size, got latents of {sorted(sizes)}.")
        return {**found, "latents_NFChw": torch.cat(clips)}

    def _text_states(self, window: Window) -> tuple[Tensor, Tensor]:
        states_SLD = window.text_states_SLD
        length = self._pipeline.adapter.config.condition_length
        if states_SLD is None:
            if self._pipeline.text_encoder is None or self._pipeline.tokenizer is None:
                raise InputError("The stage align needs the text encoder's states of the captions, but the pipeline has"
                                 " no text encoder; load it with text_encoder and tokenizer.")  # fmt: skip
            captions = [shot.caption for shot in window.shots]
            return text_states(self._pipeline, captions, length)
        if states_SLD.shape[1] != length:
            raise InputError(f"The text states of {window.key} have {states_SLD.shape[1]} tokens, but the adapter gives"
                             f" {length}.")  # fmt: skip
        tokens = window.is_token_SL
        return states_SLD, torch.ones(states_SLD.shape[:2], dtype=torch.bool) if tokens is None else tokens

    def _clips(self, window: Window, part: "_Part") -> Tensor:
        """Return the window's latents, or a sample of what the VAE gives for its frames."""
        if window.latents_SFChw is not None:
            return window.latents_SFChw
        if window.frames_SFHW3 is None:
            raise InputError(f"The window {window.key} has neither latents nor frames.")
        mean, deviation = latent_statistics(self._pipeline.vae, window.frames_SFHW3)
        noise = torch.randn(mean.shape, generator=torch.Generator("cpu").manual_seed(part.posterior_seed))
        return mean + deviation * noise.to(mean)

    # ---------------------------------------------------------------------------------------------- what is seen

    def _shown(self, windows: Sequence[Window], parts: Sequence["_Part"]) -> dict[str, Tensor | None]:
        """Return the pictures that shots see as latents."""
        if not self._has_path:
            return {}
        rows = [row for window, part in zip(windows, parts, strict=True) for row in self._rows(window, part)]
        most = max(len(row) for row in rows)
        if not most:
            return {}
        nothing = torch.zeros_like(next(row[0][1] for row in rows if row))
        pictures = [torch.stack([latents for _, latents in row] + [nothing] * (most - len(row))) for row in rows]
        return {
            "pictures_NRChw": torch.stack(pictures),
            "slots_NR": torch.tensor([[slot for slot, _ in row] + [0] * (most - len(row)) for row in rows]),
            "sees_NR": torch.tensor([[place < len(row) for place in range(most)] for row in rows]),
        }

    def _rows(self, window: Window, part: "_Part") -> list[list[tuple[int, Tensor]]]:
        """Return for each shot the slot and the latents of each picture that it sees."""
        config, dropped = self._pipeline.reference_latents.config, part.dropped
        if dropped.is_null:
            return [[] for _ in window.shots]
        references = None if dropped.reference else self._reference_latents(window)
        numbers = _numbers_of(window.references)
        has_memory = config.memory_frames and not dropped.context and len(window.shots) > 1
        memory = self._last_latents(window, part) if has_memory else None
        rows = []
        for shot in range(len(window.shots)):
            row: list[tuple[int, Tensor]] = []
            if references is not None:
                seen = _in_turns([numbers[name] for name in window.references if name in window.shots[shot].characters])
                row += [(slot, references[number]) for slot, number in enumerate(seen[: config.max_references])]
            if memory is not None:
                past = range(shot - 1, max(-1, shot - 1 - config.memory_frames), -1)
                seen_again = [self._noisy(memory[number], part.drawn) for number in past]
                row += [(config.max_references + back, latents) for back, latents in enumerate(seen_again)]
            rows.append(row)
        return rows

    def _reference_latents(self, window: Window) -> Tensor | None:
        if window.reference_latents_RChw is not None:
            return window.reference_latents_RChw
        images = [image for pictures in window.references.values() for image in pictures]
        return self._stills(window, images) if images else None

    def _last_latents(self, window: Window, part: "_Part") -> list[Tensor]:
        latents = window.last_latents_SChw
        if latents is None:
            frames = [frame for frame in window.last_frames[1:] if frame is not None]
            latents = self._stills(window, [Image.fromarray(frame) for frame in frames])
        found = list(latents)
        for shot, sample in enumerate(part.own[: len(found)]):
            if sample is not None and sample.latents_Chw is not None:
                found[shot] = sample.latents_Chw
        return found

    def _stills(self, window: Window, images: Sequence[Image.Image]) -> Tensor:
        return encode_references(self._pipeline.vae, images, height=window.size.height, width=window.size.width)

    def _noisy(self, latents_Chw: Tensor, drawn: torch.Generator) -> Tensor:
        if not self._settings.loss.latents_noise:
            return latents_Chw
        deviation = self._settings.loss.latents_noise * float(torch.rand((), generator=drawn))
        noise_Chw = torch.randn(latents_Chw.shape, generator=drawn).to(latents_Chw)
        return latents_Chw + deviation * noise_Chw


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Part:
    """What one window becomes."""

    sequences: list[tuple[ShotChunk, ...]]
    """What is read."""

    places: list[tuple[int, int]]
    """Where its shots are among that."""

    dropped: Dropped
    """What it loses."""

    own: list[OwnSample | None]
    """For each shot the model's own last frame, where there is one."""

    noise_seeds: list[int]
    """One for each shot."""

    posterior_seed: int
    """For the sample of the VAE's latents."""

    drawn: torch.Generator
    """For noise on pictures."""


def _without_past(chunk: ShotChunk, first: ShotChunk) -> ShotChunk:
    """Return a later shot's chunk as that of a story's first shot: the references in place of the last frame."""
    words = tuple(part for part in chunk.segments if isinstance(part, str))
    return ShotChunk(words).after_references_of(first)


def _numbers_of(references: Mapping[str, Sequence[Image.Image]]) -> dict[str, list[int]]:
    """Return character -> numbers of its pictures, counted over all characters."""
    numbers, total = {}, 0
    for name, images in references.items():
        numbers[name] = list(range(total, total + len(images)))
        total += len(images)
    return numbers


def _in_turns(lists: Sequence[Sequence[int]]) -> list[int]:
    """Return the first of each list, then the second ..."""
    turns = max((len(one) for one in lists), default=0)
    return [one[turn] for turn in range(turns) for one in lists if turn < len(one)]
