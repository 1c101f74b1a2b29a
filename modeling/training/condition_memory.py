"""Conditions that were read already, where nothing that reads them is trained.

In `enhance` the MLLM and the adapter are frozen and a handful of clips come by again and again, so a sequence of chunks
has the same condition every time. It is read once, by itself and not beside what happens to be in the batch: then its
rounding too is the same whenever it is read, also in a training that goes on.

Shape letters used below
    S shots of a sequence    L condition tokens    D width of the condition
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor

from animeshooter_hf.modeling.prompt_layout import LayoutSettings, ShotChunk
from animeshooter_hf.modeling.training.content_marks import mark_of, mark_picture

__all__ = ["ConditionMemory"]

_MOST = 256
"""Sequences that are kept, those that were asked for last. Our choice: all arrangements of three of six clips twice
over; CogVideoX-2B's take 11 MB each, in the memory of the host."""


class ConditionMemory:
    """Conditions by what they are read from."""

    def __init__(self, limit: int = _MOST) -> None:
        """Keep at most so many."""
        self._limit = limit
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self, chunks: Sequence[ShotChunk], layout: LayoutSettings, read: Callable[[Sequence[ShotChunk]], Tensor]
    ) -> Tensor:
        """Return the conditions of a sequence, shape (S, L, D), on the host.

        Args:
            chunks: The sequence.
            layout: How it is read.
            read: Reads it, where it was not read yet.
        """
        parts = [[part if isinstance(part, str) else [mark_picture(part)] for part in chunk.segments]
                 for chunk in chunks]  # fmt: skip
        mark = mark_of("condition", parts, layout.keep_queries, layout.window_shots)
        if mark not in self._kept:
            self._kept[mark] = read(chunks).detach().cpu()
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        self._kept.move_to_end(mark)
        return self._kept[mark]
