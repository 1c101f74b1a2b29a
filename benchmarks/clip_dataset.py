"""Clips of the release's geometry, and a dataset folder of them, for the benchmarks that read clips."""

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from animeshooter_hf.features import shots as shot_features
from animeshooter_hf.features import stories as story_features
from animeshooter_hf.records import Shot, Story, make_shot_id, make_story_id, shot_to_json

NUM_FRAMES, RATE, SIZE = 49, 16, (720, 480)
"""Like the release's demo clips."""


def make_clips(number: int, seed: int) -> list[bytes]:
    """Return H.264 clips: something moves before a drawn ground while the camera pans."""
    return [_make_clip(np.random.default_rng([seed, clip])) for clip in range(number)]


def read_clips(folder: Path) -> list[bytes]:
    """Return the mp4 files below a folder."""
    return [path.read_bytes() for path in sorted(folder.rglob("*.mp4"))]


def write_stories(root: Path, clips: Sequence[bytes], shots_per_story: int) -> None:
    """Write `stories` and `shots` of the clips as the library's writer stores them."""
    stories, shots = [], []
    for number, group in enumerate(_groups(clips, shots_per_story)):
        story = _story(number, len(group))
        stories.append(story.to_json())
        for shot, clip in zip(story.shots, group, strict=True):
            row = shot_to_json(shot)
            del row["audio_annotation"]
            cell = {"path": f"{shot.shot_id}.mp4", "bytes": clip}
            ids = {"video_id": story.video_id, "story_id": story.story_id}
            shots.append({**ids, **row, "num_shots": len(group), "storyline": story.storyline, "video": cell})
    for name, features, rows in (("stories", story_features, stories), ("shots", shot_features, shots)):
        (root / name).mkdir(parents=True)
        table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
        leaves = pq.ParquetFile(pa.BufferReader(_as_bytes(table.slice(0, 0)))).schema
        paths = [leaves.column(n).path for n in range(len(leaves))]
        pq.write_table(
            table,
            root / name / "train-00000-of-00001.parquet",
            row_group_size=max(1, (32 << 20) // max(1, table.nbytes // len(table))),
            compression={path: "NONE" if path.endswith(".bytes") else "ZSTD" for path in paths},
            use_dictionary=[path for path in paths if not path.endswith(".bytes")],
            write_page_index=True,
            use_content_defined_chunking={"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20, "norm_level": 0},
        )


def _as_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _groups(clips: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (clips[start : start + size] for start in range(0, len(clips), size))


def _story(number: int, num_shots: int) -> Story:
    story_id = make_story_id(f"video-{number:06d}", 0)
    shots = [
        Shot(
            shot_id=make_shot_id(story_id, index),
            index=index,
            start_frame=index * NUM_FRAMES,
            end_frame=(index + 1) * NUM_FRAMES,
            characters=("Mia",),
            descriptive_caption=f"Mia is seen doing thing {index}.",
        )
        for index in range(num_shots)
    ]
    return Story(
        video_id=f"video-{number:06d}",
        story_id=story_id,
        frame_rate=Fraction(RATE),
        storyline="A day.",
        shots=tuple(shots),
    )


def _make_clip(rng: np.random.Generator) -> bytes:
    width, height = SIZE
    ground = cv2.GaussianBlur(rng.integers(0, 255, (height, 2 * width, 3), np.uint8), (0, 0), 12)
    ground = cv2.normalize(ground, None, 0, 255, cv2.NORM_MINMAX)
    grain = rng.integers(0, 6, ground.shape, np.uint8)
    pan, start, colour = rng.uniform(0.5, 4), rng.uniform(100, 300, 2), rng.integers(0, 255, 3).tolist()
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(NUM_FRAMES):
            left = int(pan * number)
            image = cv2.add(ground, grain)[:, left : left + width].copy()
            centre = (int(start[0] + 6 * number), int(start[1] + 60 * np.sin(number / 5)))
            cv2.ellipse(image, centre, (50, 90), 10 * np.sin(number / 3), 0, 360, colour, -1, cv2.LINE_AA)
            cv2.circle(image, (centre[0], centre[1] - 100), 45, (30, 30, 30), -1, cv2.LINE_AA)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
