"""Cut clips that hold exactly the asked frames, with their sound.

Clips are encoded anew: a stream copy can begin only at key frames and is exact for hardly any span. Frames keep their
distances in time, so a clip of a variable-rate video has a variable rate too.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from animeshooter_hf.errors import InputError
from animeshooter_hf.video.reading import FrameCursor, Source, open_source, sound_stream
from animeshooter_hf.video.sound import read_audio
from animeshooter_hf.video.writing import VideoWriter

__all__ = ["cut_clip", "cut_clips"]


def cut_clip(
    source: Source,
    start_frame: int,
    end_frame: int,
    *,
    crf: int = 18,
    lossless: bool = False,
    with_audio: bool = True,
) -> bytes:
    """Return the frames `start_frame` to `end_frame` (half-open) as the bytes of an mp4.

    Raises:
        InputError: If the range is empty or does not lie in the video, or a frame cannot be decoded.
    """
    clips = cut_clips(source, [(start_frame, end_frame)], crf=crf, lossless=lossless, with_audio=with_audio)
    return next(clips)


def cut_clips(
    source: Source,
    ranges: Sequence[tuple[int, int]],
    *,
    crf: int = 18,
    lossless: bool = False,
    with_audio: bool = True,
) -> Iterator[bytes]:
    """Yield a clip for each half-open range of frames; ascending ranges are cut in one decoding pass.

    Args:
        source: The video.
        ranges: (start_frame, end_frame) pairs.
        crf: Quality of x264.
        lossless: Keep every pixel of a 4:2:0 picture.
        with_audio: Carry the sound along, where there is any.

    Raises:
        InputError: If a range is empty or does not lie in the video, or a frame cannot be decoded.
    """
    with open_source(source) as container:
        sound = sound_stream(container)
        sample_rate = sound.codec_context.sample_rate if with_audio and sound is not None else None
    with FrameCursor(source) as cursor:
        index, context = cursor.index, cursor.stream.codec_context
        rate = cursor.stream.guessed_rate or cursor.stream.average_rate or Fraction(24)
        for start, end in ranges:
            if end <= start:
                raise InputError(f"A clip from frame {start} to {end} would hold no frame.")
            writer = VideoWriter(
                None, context.width, context.height, rate, crf=crf, lossless=lossless,
                sample_rate=sample_rate, time_base=index.time_base,
            )  # fmt: skip
            with writer:
                for ordinal, frame in cursor.frames(start, end):
                    writer.write_frame(frame, pts=int(index.pts[ordinal] - index.pts[start]))
                if sample_rate:
                    begin, stop = index.seconds(start), index.seconds(end)
                    writer.write_audio(read_audio(source, start_seconds=begin, end_seconds=stop)[0])
            yield writer.getvalue()
