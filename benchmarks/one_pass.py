"""The one-pass scan against the pure decode rate, and against the usual chain of passes.

    decode            PyAV, one thread, picture only, nothing done with the frames: the limit
    scan              our pass: picture and sound, boundaries, one JPEG and hash a second, features of the sound
    passes            PySceneDetect Adaptive, 16 pictures by seeking, then the film read again for one picture a second
    passes + encode   the same, with every shot written as a clip (x264 veryfast) and the pictures read from the clips

    sound             the features of the sound in a pass of their own, which the chain lacks

CPU seconds of one process, the median of several runs side by side.

    python benchmarks/one_pass.py --seeds 1000-1001 --size 1280x720 --runs 5

PySceneDetect comes with the extra `shots`. `--processes 2` also measures how two scans at once scale (on wall time;
meaningful on a quiet machine only).
"""

import argparse
import logging
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2

from animeshooter_hf.dataset_builder.audio.features import SoundAccumulator
from animeshooter_hf.dataset_builder.scan.one_pass import scan_film
from animeshooter_hf.toon import FilmSettings, ToonFilm
from animeshooter_hf.video.sound import audio_frames


def cpu_seconds() -> float:
    """Return the CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def render(seed: int, settings: FilmSettings, crf: int, gop: int, folder: Path) -> Path:
    """Return a film with sound, rendered into the folder unless it is there, encoded as films are delivered."""
    path = folder / f"{settings.fingerprint(seed)}-{seed}-crf{crf}-gop{gop}.mp4"
    if path.exists():
        return path
    film = ToonFilm.from_seed(seed, settings)
    rate = settings.audio_sample_rate
    partial = path.with_suffix(".partial.mp4")
    with av.open(str(partial), "w") as container:
        picture = container.add_stream("libx264", rate=settings.frame_rate)
        picture.width, picture.height, picture.pix_fmt = settings.width, settings.height, "yuv420p"
        picture.options = {"preset": "veryfast", "crf": str(crf), "g": str(gop), "bf": "3", "threads": "1"}
        sound = container.add_stream("aac", rate=rate, layout="stereo")
        waves = film.audio()
        for index in range(film.num_frames):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(film.frame(index), "rgb24")))
            begin, end = (round(one / settings.frame_rate * rate) for one in (index, index + 1))
            for block in audio_frames(waves[:, begin:end], rate, begin):
                container.mux(sound.encode(block))
        container.mux(picture.encode())
        container.mux(sound.encode())
    return partial.replace(path)


def decode(path: Path) -> int:
    """Decode the picture and return the number of frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def find_scenes(path: Path) -> list[tuple[int, int]]:
    """Return the shots that PySceneDetect finds at the defaults of its adaptive detector."""
    import scenedetect

    scenes = scenedetect.detect(str(path), scenedetect.AdaptiveDetector())
    return [(start.frame_num, end.frame_num) for start, end in scenes]


def sixteen_pictures(path: Path, folder: Path) -> None:
    """Write 16 pictures, as a judge of the film is shown them, by seeking."""
    reader = cv2.VideoCapture(str(path))
    count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    for number in range(16):
        reader.set(cv2.CAP_PROP_POS_FRAMES, number * (count - 1) // 15)
        ok, picture = reader.read()
        if ok:
            cv2.imwrite(str(folder / f"judge{number}.jpg"), picture)


def every_second(path: Path, folder: Path) -> None:
    """Read a film or clip and write one picture a second."""
    reader = cv2.VideoCapture(str(path))
    step = max(1, round(reader.get(cv2.CAP_PROP_FPS)))
    number = 0
    while True:
        ok, picture = reader.read()
        if not ok:
            return
        if number % step == 0:
            cv2.imwrite(str(folder / f"{path.stem}-{number}.jpg"), picture)
        number += 1


def encode_clip(path: Path, start: int, end: int, target: Path) -> None:
    """Write frames as a clip, from the key frame before them, with the options that are usual for clips."""
    with av.open(str(path)) as source, av.open(str(target), "w") as sink:
        stream = source.streams.video[0]
        rate = stream.average_rate
        source.seek(int(start / rate / stream.time_base), stream=stream)
        out = sink.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "22", "threads": "1"})
        out.width, out.height, out.pix_fmt = stream.width, stream.height, "yuv420p"
        for frame in source.decode(stream):
            number = round(float(frame.pts * stream.time_base * rate))
            if number >= end:
                break
            if number >= start:
                frame.pts, frame.time_base, frame.pict_type = number - start, 1 / rate, 0
                sink.mux(out.encode(frame))
        sink.mux(out.encode())


def sound(path: Path) -> None:
    """Take the features of the sound in a pass of their own."""
    accumulator = SoundAccumulator(Fraction(0))
    with av.open(str(path)) as container:
        for block in container.decode(container.streams.audio[0]):
            accumulator.add(block)
    accumulator.finish()


def passes(path: Path, *, with_clips: bool) -> None:
    """Run the usual chain of passes."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scenes = find_scenes(path)
        sixteen_pictures(path, folder)
        if not with_clips:
            every_second(path, folder)
            return
        for number, (start, end) in enumerate(scenes):
            clip = folder / f"clip{number}.mp4"
            encode_clip(path, start, end, clip)
            every_second(clip, folder)


def scan_in_process(path: Path, ready: multiprocessing.Barrier, runs: int) -> None:  # type: ignore[valid-type]
    """Scan a film several times, once everybody is ready."""
    cv2.setNumThreads(1)
    scan_film(path)
    ready.wait()  # type: ignore[attr-defined]
    for _ in range(runs):
        scan_film(path)
    ready.wait()  # type: ignore[attr-defined]


def wall_seconds(path: Path, processes: int, runs: int) -> float:
    """Return how long so many processes take, without their start, when each scans the film so many times."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes + 1)
    workers = [context.Process(target=scan_in_process, args=(path, ready, runs)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    ready.wait()
    begin = time.perf_counter()
    ready.wait()
    taken = time.perf_counter() - begin
    for worker in workers:
        worker.join()
    return taken


def measure(path: Path, runs: int) -> dict[str, float]:
    """Return name -> median CPU seconds, the runs of all interleaved."""
    jobs: dict[str, Callable[[], object]] = {
        "decode": lambda: decode(path),
        "scan": lambda: scan_film(path),
        "passes": lambda: passes(path, with_clips=False),
        "sound": lambda: sound(path),
        "passes + encode": lambda: passes(path, with_clips=True),
    }
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(runs):
        for name, job in jobs.items():
            begin = cpu_seconds()
            job()
            taken[name].append(cpu_seconds() - begin)
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1000-1001", help="first and last seed (default: %(default)s)")
    parser.add_argument("--size", default="1280x720", help="of the films (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="length of a film (default: %(default)s)")
    parser.add_argument("--crf", type=int, default=21, help="quality of the films (default: %(default)s)")
    parser.add_argument(
        "--gop", type=int, default=150, help="frames from key frame to key frame (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="also this many scans at once (default: %(default)s)")
    parser.add_argument("--films", type=Path, help="folder that keeps the rendered films")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    logging.getLogger("pyscenedetect").setLevel(logging.ERROR)
    first, _, last = arguments.seeds.partition("-")
    width, height = map(int, arguments.size.split("x"))
    settings = FilmSettings(width=width, height=height, seconds=arguments.seconds)
    with TemporaryDirectory() as temporary:
        folder = arguments.films or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(int(first), int(last or first) + 1):
            path = render(seed, settings, arguments.crf, arguments.gop, folder)
            count, found = decode(path), measure(path, arguments.runs)
            rates = "  ".join(f"{name} {count / seconds:.0f} f/s" for name, seconds in found.items())
            print(f"seed {seed} {arguments.size}: {rates}")
            scan, more = found["scan"], found["sound"]
            print(
                f"  scan / decode rate {found['decode'] / scan:.2f}"
                f"  passes / scan {found['passes'] / scan:.2f}x, with sound {(found['passes'] + more) / scan:.2f}x"
                f"  passes + encode / scan {found['passes + encode'] / scan:.2f}x,"
                f" with sound {(found['passes + encode'] + more) / scan:.2f}x"
            )
            if arguments.processes > 1:
                one = wall_seconds(path, 1, arguments.runs)
                many = wall_seconds(path, arguments.processes, arguments.runs)
                print(f"  {arguments.processes} processes do {arguments.processes * one / many:.2f}x the work of one")


if __name__ == "__main__":
    main()
