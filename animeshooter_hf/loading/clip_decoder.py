"""Decode frames of a clip, and keep the last clips open.

A clip is short: its packets are read once and kept, so any frame is reached by feeding packets to the decoder, without
opening or seeking again; what follows the last frame read goes on from there. Pictures of H.264 that no other picture
refers to are left out on the way to the wanted ones, as the standard allows. Frames are known by their time stamps,
and equal those of `animeshooter_hf.video.read_frames` to the bit; where something is odd, that function reads the clip.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.video.reading import FrameIndex, open_source, picture_stream, read_frames, to_rgb

__all__ = ["ClipCache", "ClipDecoder"]

_AVCC_HEADER = 5
_SLICE, _LAST_SLICE = 1, 5
_DECODED_FRAMES = 6
"""About how many decoded frames a decoder holds."""


class ClipDecoder:
    """The packets of one clip, and a decoder that stands somewhere in them."""

    def __init__(self, clip: bytes) -> None:
        """Open the clip and read its packets.

        Raises:
            InputError: If it is no video.
        """
        self._clip = clip
        self._container = open_source(clip)
        try:
            stream = picture_stream(self._container, clip)
            packets = self._read_packets(stream)
        except BaseException:
            self._container.close()
            raise
        self._context = stream.codec_context
        self._context.thread_count, self._context.thread_type = 1, "NONE"
        stamps = np.unique(np.asarray([packet.pts for packet in packets if packet.pts is not None], np.int64))
        self._is_plain = len(stamps) == len(packets) and not any(packet.is_discard for packet in packets)
        keys = [packet.pts for packet in packets if packet.is_keyframe and packet.pts is not None]
        key_frames = np.unique(np.searchsorted(stamps, np.asarray([stamps[0], *keys], np.int64)))
        self.index = FrameIndex(stamps, Fraction(stream.time_base), key_frames)
        """When each frame is shown."""
        self._ordinals = {int(stamp): ordinal for ordinal, stamp in enumerate(stamps)}
        self._packets = packets
        self._packet_of_frame = {self._ordinals.get(packet.pts): number for number, packet in enumerate(packets)}
        length_size = _length_size(self._context)
        self._is_loose = [length_size > 0 and _is_unreferenced(packet, length_size) for packet in packets]
        self.num_decoded = 0
        """Frames decoded so far."""
        self._restart(0)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def num_bytes(self) -> int:
        """About how much memory it holds."""
        return 2 * len(self._clip) + _DECODED_FRAMES * self._context.width * self._context.height * 3 // 2

    def close(self) -> None:
        """Free the decoder."""
        self._container.close()

    def read(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return frames as RGB in the order asked, shape (len(indices), height, width, 3).

        Raises:
            InputError: If a frame does not lie in the clip, or cannot be decoded.
        """
        wanted = sorted({int(index) for index in indices})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            outside = wanted[0] if wanted[0] < 0 else wanted[-1]
            raise InputError(f"frame {outside} does not lie in the clip, which has {len(self)} frames")
        if not wanted or not self._is_plain:
            return read_frames(self._clip, indices)
        try:
            images = self._read(wanted)
        except (av.error.FFmpegError, _OddClipError):
            self._restart(0)
            return read_frames(self._clip, indices)
        if len(wanted) == len(indices) and all(one == int(other) for one, other in zip(wanted, indices, strict=True)):
            return images
        places = {frame: place for place, frame in enumerate(wanted)}
        return images[[places[int(index)] for index in indices]]

    def _read(self, wanted: Sequence[int]) -> NDArray[np.uint8]:
        width, height = self._context.width, self._context.height
        images = np.empty((len(wanted), height, width, 3), np.uint8)
        keep = frozenset(wanted)
        for place, target in enumerate(wanted):
            self._approach(target)
            frame = self._next_frame(target, keep, wanted[-1])
            if (frame.width, frame.height) != (width, height) or frame.is_corrupt:
                raise _OddClipError
            to_rgb(frame, images[place])
        return images

    def _approach(self, target: int) -> None:
        """Stand where the target will come by: go on where that is possible and shorter, else at its key frame."""
        key = int(self.index.key_frames[np.searchsorted(self.index.key_frames, target, side="right") - 1])
        if not key <= self._position <= target or target in self._left_out:
            self._restart(key)

    def _restart(self, key: int) -> None:
        self._context.flush_buffers()
        self._ready: deque[av.VideoFrame] = deque()
        self._next_packet = self._packet_of_frame.get(key, 0)
        self._position = key
        self._left_out: set[int] = set()
        self._is_drained = False

    def _next_frame(self, target: int, keep: frozenset[int], last: int) -> av.VideoFrame:
        """Decode up to a frame and return it; those of `keep` and after `last` are not left out on the way."""
        while True:
            while self._ready:
                frame = self._ready.popleft()
                ordinal = self._ordinals.get(frame.pts, -1)  # type: ignore[arg-type]
                self._position = max(self._position, ordinal + 1)
                if ordinal == target:
                    return frame
                if ordinal > target:
                    raise _OddClipError
            if self._is_drained:
                raise _OddClipError
            self._feed(keep, last)

    def _feed(self, keep: frozenset[int], last: int) -> None:
        if self._next_packet >= len(self._packets):
            self._ready.extend(self._context.decode(None))
            self._is_drained = True
            return
        packet, is_loose = self._packets[self._next_packet], self._is_loose[self._next_packet]
        self._next_packet += 1
        ordinal = self._ordinals[packet.pts]
        if is_loose and ordinal < last and ordinal not in keep:
            self._left_out.add(ordinal)
            return
        self.num_decoded += 1
        self._ready.extend(self._context.decode(packet))

    def _read_packets(self, stream: Any) -> list[Any]:
        try:
            packets = [packet for packet in self._container.demux(stream) if packet.size]
        except av.error.FFmpegError as error:
            raise InputError(f"its packets cannot be read: {error.strerror}") from error
        if not any(packet.pts is not None for packet in packets):
            raise InputError("it has no frame that could be shown")
        return packets


class _OddClipError(Exception):
    """The fast way does not fit the clip; `read_frames` will say what is wrong, or read it."""


def _length_size(context: Any) -> int:
    """Return how many bytes tell the length of a unit of H.264 as mp4 stores it; 0 if the clip is something else."""
    extra = context.extradata
    if context.name != "h264" or not extra or len(extra) < _AVCC_HEADER or extra[0] != 1:
        return 0
    return int(extra[4] & 3) + 1


def _is_unreferenced(packet: Any, length_size: int) -> bool:
    """Return whether no other picture refers to a picture: `nal_ref_idc` of its first slice is 0."""
    data = memoryview(packet)
    at = 0
    while at + length_size < len(data):
        head = data[at + length_size]
        if _SLICE <= head & 31 <= _LAST_SLICE:
            return head & 31 == _SLICE and head >> 5 & 3 == 0
        at += length_size + int.from_bytes(data[at : at + length_size], "big")
    return False


@dataclass(slots=True)
class ClipCounts:
    """What the cache has done."""

    opened: int = 0
    reused: int = 0
    decoded: int = 0


class ClipCache:
    """The clips that were decoded last, still open. Safe between threads: who borrows one has it alone."""

    def __init__(self, max_clips: int, max_bytes: int) -> None:
        self._max_clips, self._max_bytes = max_clips, max_bytes
        self._kept: OrderedDict[Hashable, tuple[ClipDecoder, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.counts = ClipCounts()
        """Clips opened, clips that were still open, frames decoded."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def num_bytes(self) -> int:
        """About how much memory the kept clips hold."""
        return sum(size for _, size in self._kept.values())

    @contextmanager
    def borrow(self, key: Hashable, load: Callable[[], bytes]) -> Iterator[ClipDecoder]:
        """Give a clip's decoder for the time of the block; one that fails in it is not kept.

        Raises:
            InputError: If the clip cannot be loaded or is no video.
        """
        with self._lock:
            decoder = self._kept.pop(key, (None, 0))[0]
        is_new = decoder is None
        if decoder is None:
            decoder = ClipDecoder(load())
        before = decoder.num_decoded
        try:
            yield decoder
        except BaseException:
            decoder.close()
            raise
        finally:
            with self._lock:
                self.counts.opened += is_new
                self.counts.reused += not is_new
                self.counts.decoded += decoder.num_decoded - before
        self._give_back(key, decoder)

    def _give_back(self, key: Hashable, decoder: ClipDecoder) -> None:
        closed = []
        with self._lock:
            if key in self._kept:  # another thread has opened it too
                closed.append(self._kept.pop(key)[0])
            self._kept[key] = (decoder, decoder.num_bytes)
            while len(self._kept) > self._max_clips or (self._kept and self.num_bytes > self._max_bytes):
                closed.append(self._kept.popitem(last=False)[1][0])
        for one in closed:
            one.close()
