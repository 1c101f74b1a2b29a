"""Video and sound on PyAV: exact reading, cutting, writing and muxing.

PyAV brings its own FFmpeg, so nothing has to be installed beside it. Frames are addressed by their ordinal in the
order of presentation, whatever the container says about time; seconds count from the first frame of the picture.

    reading.py   probe, frame index, frames by ordinal
    sound.py     sound by time, to the sample; FLAC
    loudness.py  ITU-R BS.1770-4: loudness and true peaks
    writing.py   mp4 from frames and sound, chapters
    cutting.py   clips that hold exactly the asked frames
"""

from animeshooter_hf.video.cutting import cut_clip, cut_clips
from animeshooter_hf.video.reading import (
    Frame,
    FrameCursor,
    FrameIndex,
    Source,
    VideoInfo,
    index_frames,
    iter_frames,
    probe,
    read_frames,
)
from animeshooter_hf.video.sound import encode_flac, read_audio
from animeshooter_hf.video.writing import Chapter, MuxShot, VideoWriter, mux_story, write_video

__all__ = [
    "Chapter",
    "Frame",
    "FrameCursor",
    "FrameIndex",
    "MuxShot",
    "Source",
    "VideoInfo",
    "VideoWriter",
    "cut_clip",
    "cut_clips",
    "encode_flac",
    "index_frames",
    "iter_frames",
    "mux_story",
    "probe",
    "read_audio",
    "read_frames",
    "write_video",
]
