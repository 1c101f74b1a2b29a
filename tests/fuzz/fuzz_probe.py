"""Fuzz the video probe: damaged files are read or refused with one sentence, and never crash, hang or eat memory.

FFmpeg is native code, so each file is looked at in a child process with a memory limit; a child that dies is a finding,
with the file that did it. The seeds are small films made here: mp4, fragmented mp4, mkv, webm, transport stream; with
sound and without, of constant and of variable rate.

Targets
    probe      probe and frame index
    decode     the same, and the first, middle and last frame decoded

    python tests/fuzz/fuzz_probe.py --seconds 60 --seed 1
"""

import contextlib
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from harness import Target, main

from animeshooter_hf.errors import InputError
from animeshooter_hf.video import index_frames, probe, read_frames, write_video

WORKER_MEMORY_BYTES = 1 << 30
"""What a child may map beyond what it has after its imports."""

SIDES = ["probe", "decode"]


class WorkerDiedError(Exception):
    """A child process died while it looked at a file."""


class Worker:
    """A child process that looks at files, one after the other; a new one is started where one died."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._child: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-probe-")
        self._path = Path(self._folder.name) / "film"

    def look(self, data: bytes) -> str:
        """Return the outcome of a file.

        Raises:
            WorkerDiedError: If the child died.
            AssertionError: If it saw what must not be.
        """
        if self._child is None:
            words = [sys.executable, __file__, "--worker", self._kind, str(self._path)]
            self._child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child = self._child
        assert child.stdin
        assert child.stdout
        self._path.write_bytes(data)
        answer = b""
        try:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(b"look\n")
                child.stdin.flush()
            answer = child.stdout.readline()
        finally:
            if not answer:
                child.kill()
                child.wait()
                self._child = None
        if not answer:
            raise WorkerDiedError(f"the child ended with status {child.returncode}")
        outcome = answer.decode().strip()
        if outcome.startswith("!"):
            raise AssertionError(outcome)
        return outcome


def work(kind: str, path: Path) -> int:
    """Look at the file as often as asked; the loop of the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    av.logging.set_level(av.logging.PANIC)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + WORKER_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for _ in sys.stdin:
        try:
            outcome = look(kind, path)
        except BaseException as error:
            outcome = f"!{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        os.write(1, f"{outcome}\n".encode())
    return 0


def look(kind: str, path: Path) -> str:
    """Return what became of a file: "read" or "refused"."""
    try:
        info, index = probe(path), index_frames(path)
    except InputError as error:
        return "refused" if "\n" not in str(error) else "!a refusal of several lines"
    count = len(index)
    if info.num_frames != count or count < 1 or not (np.diff(index.pts) > 0).all():
        return "!an index that is not in order"
    if not info.frame_rate > 0 or not math.isfinite(info.duration_seconds) or info.duration_seconds < 0:
        return f"!a rate of {info.frame_rate}, a duration of {info.duration_seconds}"
    if index.frame_at(0.0) != 0 or not 0 <= index.frame_at(1e9) <= count:
        return "!a frame outside the file"
    if kind == "probe":
        return "read"
    try:
        frames = read_frames(path, sorted({0, count // 2, count - 1}))
    except InputError:
        return "read, frames refused"
    return "read and decoded" if frames.shape[3] == 3 else "!frames of another shape"


def seeds() -> list[bytes]:
    """Return small films of several kinds."""
    with tempfile.TemporaryDirectory() as folder:
        plain, sounding = Path(folder, "plain.mp4"), Path(folder, "sounding.mp4")
        frames = [np.roll(np.arange(36 * 64 * 3, dtype=np.uint8).reshape(36, 64, 3), 5 * n, axis=1) for n in range(12)]
        write_video(plain, frames, Fraction(24000, 1001), crf=30)
        write_video(sounding, frames, Fraction(12), audio=np.zeros((1, 44_100), np.float32), sample_rate=44_100, crf=30)
        found = [plain.read_bytes(), sounding.read_bytes()]
        found.append(remux(plain, Path(folder, "p.mp4"), {"movflags": "frag_keyframe+empty_moov"}))
        found += [remux(plain, Path(folder, f"p.{suffix}")) for suffix in ("mkv", "ts")]
        found.append(remux(sounding, Path(folder, "s.mkv")))
        found.append(remux(plain, Path(folder, "v.mkv"), is_variable=True))
        found.append(encode_webm(Path(folder, "w.webm"), frames))
    return found


def remux(source: Path, target: Path, options: dict[str, str] | None = None, *, is_variable: bool = False) -> bytes:
    """Return the same packets in another container; with frames of unequal length if variable."""
    with av.open(str(source)) as inner, av.open(str(target), "w", options=options or {}) as outer:
        streams = {stream.index: outer.add_stream_from_template(stream) for stream in inner.streams}
        for number, packet in enumerate(inner.demux()):
            if packet.dts is None:
                continue
            if is_variable and packet.pts is not None:
                shift = number * number * 7
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = streams[packet.stream.index]
            outer.mux(packet)
    return target.read_bytes()


def encode_webm(target: Path, frames: list[np.ndarray]) -> bytes:
    """Return a small VP8 film."""
    with av.open(str(target), "w") as outer:
        stream = outer.add_stream("libvpx", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for image in frames:
            outer.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        outer.mux(stream.encode())
    return target.read_bytes()


TOKENS = [b"moov", b"trak", b"stts", b"stsc", b"stsz", b"stco", b"ctts", b"elst", b"mdat", b"moof", b"trun", b"free"]
TOKENS += [
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\0\0\0\1",
    b"\x7f\xff\xff\xff",
    b"\x1a\x45\xdf\xa3",
    b"\xa3",
    b"G@\0\x10",
]


def targets() -> list[Target]:
    """Return the targets, with their films."""
    films = seeds()
    return [
        Target(name=kind, check=Worker(kind).look, seeds=films, tokens=TOKENS, hang_seconds=20, max_input_bytes=1 << 20)
        for kind in SIDES
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        sys.exit(work(sys.argv[2], Path(sys.argv[3])))
    sys.exit(main(__doc__, targets()))
