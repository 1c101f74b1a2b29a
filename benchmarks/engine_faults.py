"""Kill a build again and again: what comes out must be what an undisturbed build gives, byte for byte.

Films are rendered small. One is cut off, one crashes the process that decodes it, one hangs it (a detector of this file
does both, by the width of the film). The driver is killed with SIGKILL at random points, and started again; the same is
then done by datatrove's local executor with two ranks. Counted are healthy films lost, rows that stand twice, units
done more often than once, and processes that are left.

    python benchmarks/engine_faults.py --films 24 --kills 20

Exit status: 0 if everything holds, 1 if not.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import pyarrow.parquet as pq

from animeshooter_hf.dataset_builder.scan.detectors import OwnDetector
from animeshooter_hf.toon import FilmSettings, ToonFilm, render_film

CRASH_WIDTH, HANG_WIDTH = 166, 162
TIMEOUT_SECONDS = 20.0


class TreacherousDetector(OwnDetector):
    """Our detector, but two films are deadly to it; it notes every film that it begins."""

    name = "treacherous-1"

    def __init__(self) -> None:
        super().__init__()
        self._begun = False

    def add(self, frame: av.VideoFrame, seconds: float) -> None:
        """See `FrameDetector`."""
        if not self._begun:
            self._begun = True
            with Path(os.environ["SCAN_LOG"]).open("a") as file:
                file.write(f"{frame.width}x{frame.height} {os.getpid()}\n")
        if frame.width == CRASH_WIDTH:
            os.kill(os.getpid(), signal.SIGSEGV)
        if frame.width == HANG_WIDTH:
            time.sleep(600)
        super().add(frame, seconds)


def make_films(folder: Path, count: int, seconds: float) -> None:
    """Render `count` films: three of them bad, the others healthy, each with its script."""
    folder.mkdir(parents=True)
    for number in range(count - 3):
        settings = FilmSettings(width=160, height=90, seconds=seconds, frame_rate=Fraction(12), mean_shot_seconds=2)
        _render(8000 + number, settings, folder)
    whole = (folder / "toon-8000.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 3])
    for seed, width in ((8900, CRASH_WIDTH), (8901, HANG_WIDTH)):
        _render(seed, FilmSettings(width=width, height=90, seconds=2, frame_rate=Fraction(12)), folder)


def _render(seed: int, settings: FilmSettings, folder: Path) -> None:
    film = ToonFilm.from_seed(seed, settings)
    render_film(film, folder / f"{film.film_id}.mp4")


def command(films: Path, out: Path, *, ranks: int = 0) -> list[str]:
    """Return the words of a build."""
    words = [sys.executable, "-m", "animeshooter_hf", "build", str(films), "--out", str(out), "--workers", "2"]
    words += ["--timeout", str(TIMEOUT_SECONDS), "--detector", "engine_faults:TreacherousDetector", "--overwrite"]
    return [*words, "--launcher", "processes", "--ranks", str(ranks)] if ranks else words


def start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a build; its detector is this file."""
    search = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": search, "SCAN_LOG": str(log)}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def digests(out: Path) -> dict[str, str]:
    """Return file -> SHA-256 of everything that a reader of the dataset reads."""
    files = sorted([*out.rglob("*.parquet"), out / "README.md", out / "manifest.json"])
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def rows_twice(out: Path) -> int:
    """Return how many rows stand twice."""
    twice = 0
    for config, key in (("stories", ["story_id"]), ("shots", ["shot_id"]), ("audio", ["shot_id"])):
        rows = [tuple(row.values()) for file in (out / config).glob("*.parquet") for row in _read(file, key)]
        twice += len(rows) - len(set(rows))
    return twice


def _read(file: Path, columns: list[str]) -> list[dict[str, str]]:
    return list(pq.read_table(file, columns=columns).to_pylist())


def processes_with(text: str) -> list[int]:
    """Return the processes whose open files or working data lie below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if int(process.name) != os.getpid() and any(text in link for link in links):
            found.append(int(process.name))
    return found


def units_done(work: Path) -> Counter[str]:
    """Return stage -> receipts."""
    return Counter(path.parent.name for path in work.glob("*/*.json") if path.parent.name != "plans")


def disturb(films: Path, root: Path, kills: int, seed: int, longest: float, *, ranks: int = 0) -> dict[str, object]:
    """Build with kills and return what was found."""
    out, work, log = root / "data", root / ".data.work", root / "scans.log"
    root.mkdir()
    draw = random.Random(seed)
    killed = 0
    for _ in range(kills):
        driver = start(command(films, out, ranks=ranks), log)
        time.sleep(draw.uniform(0.3, longest))
        if driver.poll() is None:
            driver.send_signal(signal.SIGKILL)
            killed += 1
        driver.wait()
    status = start(command(films, out, ranks=ranks), log).wait()
    deadline = time.monotonic() + 10
    while (left := processes_with(str(root))) and time.monotonic() < deadline:
        time.sleep(0.1)
    began = time.monotonic()
    start(command(films, out), log).wait()
    again = time.monotonic() - began
    scans = Counter(line.split()[0] for line in log.read_text().splitlines())
    healthy = sum(count for size, count in scans.items() if size.startswith("160x"))
    return {
        "status": status,
        "killed": killed,
        "scans_of_healthy_films": healthy,
        "digests": digests(out),
        "rows_twice": rows_twice(out),
        "processes_left": len(left),
        "units": dict(units_done(work)),
        "rerun_seconds": round(again, 2),
        "refused": {
            Path(one["film"]).stem: one["reason"]
            for one in json.loads((out / "build_report.json").read_text())["refused"]
        },
    }


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=24, help="films, three of them bad (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a film (default %(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="kills of the driver (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides when (default %(default)s)")
    parser.add_argument("--no-datatrove", action="store_true", help="leave out the run with two ranks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return _compare(Path(folder), arguments)


def _compare(root: Path, arguments: argparse.Namespace) -> int:
    films = root / "films"
    make_films(films, arguments.films, arguments.seconds)
    began = time.monotonic()
    calm = disturb(films, root / "calm", 0, 0, 1.0)
    longest = max(2.0, (time.monotonic() - began - 2 * TIMEOUT_SECONDS) / 8)
    runs = {"killed": disturb(films, root / "killed", arguments.kills, arguments.seed, longest)}
    if not arguments.no_datatrove:
        runs["datatrove, 2 ranks, killed"] = disturb(
            films, root / "ranks", max(1, arguments.kills // 5), arguments.seed + 1, longest, ranks=2
        )
    healthy = arguments.films - 3
    print(f"calm: {calm['units']}, second build {calm['rerun_seconds']} s, refused {len(calm['refused'])}")  # type: ignore[arg-type]
    holds = True
    for name, run in runs.items():
        slots = 2 if name == "killed" else 4
        extra = int(run["scans_of_healthy_films"]) - healthy  # type: ignore[call-overload]
        checks = {
            "every file has the SHA-256 of the calm build": run["digests"] == calm["digests"],
            "no healthy film is lost": run["units"]["clips"] == healthy,  # type: ignore[index]
            "no row stands twice": run["rows_twice"] == 0,
            "no process is left": run["processes_left"] == 0,
            f"at most {slots} scans done again per kill": 0 <= extra <= slots * int(run["killed"]),  # type: ignore[call-overload]
            "a second build takes less than 5 s": float(run["rerun_seconds"]) < 5,  # type: ignore[arg-type]
        }
        print(f"{name}: {run['killed']} kills, {extra} scans done again, second build {run['rerun_seconds']} s")
        for film, reason in run["refused"].items():  # type: ignore[attr-defined]
            print(f"  left out: {film}: {reason}")
        for words, is_so in checks.items():
            print(f"  {'yes' if is_so else 'NO '}  {words}")
            holds &= is_so
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
