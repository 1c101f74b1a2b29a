"""Precision and recall of near-duplicate films on toon films whose copies are known, and the time of the hash index.

For each seed a film and its copies: harder compression, a smaller size, brighter, 25 instead of 24 frames per second,
and the middle 60 % of it; beside them another film with the same characters and places, and another film that begins
with the first film's opening. Two films are held to be copies if they come from one film. Frames are sampled at one per
second, as the builder's scan does.

    python benchmarks/duplicate_films.py --seeds 51 52 53
"""

import argparse
import io
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.dataset_builder.quality.duplicates import HashSequence, find_duplicates
from animeshooter_hf.dataset_builder.quality.hash_index import near_pairs
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan, SampledFrame
from animeshooter_hf.dataset_builder.scan.phash import perceptual_hash
from animeshooter_hf.toon.film import ToonFilm
from animeshooter_hf.toon.settings import FilmSettings
from animeshooter_hf.video import index_frames, iter_frames, write_video

Frames = list[NDArray[np.uint8]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[51, 52, 53], help="films")
    parser.add_argument("--seconds", type=float, default=30, help="length of each film")
    parser.add_argument("--opening", type=float, default=8, help="seconds of the shared opening")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        films = make_films(Path(folder), arguments.seeds, arguments.seconds, arguments.opening)
    report = find_duplicates(films)
    family = {one.id: one.id.split("-")[0] for one in films}
    truth = {pair for pair in combinations(sorted(family), 2) if family[pair[0]] == family[pair[1]]}
    found = {(min(link.shorter, link.longer), max(link.shorter, link.longer)) for link in report.links}
    right = len(found & truth)
    print(f"films {len(films)}, pairs of copies {len(truth)}, found {len(found)}")
    print(f"precision {right / max(1, len(found)):.3f}  recall {right / max(1, len(truth)):.3f}")
    print(f"least share of a link {min((link.share for link in report.links), default=0):.2f}")
    print(f"greatest share below  {max((link.share for link in report.below), default=0):.2f}")
    print("wrong ", sorted(found - truth))
    print("missed", sorted(truth - found))
    time_index()


def make_films(folder: Path, seeds: list[int], seconds: float, opening: float) -> list[HashSequence]:
    """Return the sequences of all films; copies of film N are called N-KIND, other films N.KIND."""
    settings = FilmSettings(width=192, height=108, seconds=seconds)
    first = draw(seeds[0], settings)[: round(24 * opening)]
    films = []
    for seed in seeds:
        frames = draw(seed, settings)
        count = len(frames)
        films += [
            scanned(folder, f"{seed}", frames),
            scanned(folder, f"{seed}-hard", frames, crf=38),
            scanned(folder, f"{seed}-small", [cv2.resize(one, (128, 72), interpolation=3) for one in frames]),
            scanned(folder, f"{seed}-bright", [np.clip(one * 1.08 + 6, 0, 255).astype(np.uint8) for one in frames]),
            scanned(folder, f"{seed}-fast", frames, rate=25),
            scanned(folder, f"{seed}-middle", frames[round(0.23 * count) : round(0.83 * count)]),
            scanned(folder, f"{seed}.cast", draw(seed, replace(settings, mean_shot_seconds=3))),
            scanned(folder, f"{seed}.opening", first + draw(seed + 1000, settings)),
        ]
    # Films that begin with the same opening are no copies, and the first film is no copy of what begins as it does.
    return films


def draw(seed: int, settings: FilmSettings) -> Frames:
    """Return the frames of a toon film."""
    film = ToonFilm.from_seed(seed, settings)
    return [film.frame(index) for index in range(film.num_frames)]


def scanned(folder: Path, name: str, frames: Frames, *, crf: int = 20, rate: int = 24) -> HashSequence:
    """Write a film, read it again, and return the hashes of its sampled frames."""
    path = write_video(folder / f"{name}.mp4", frames, Fraction(rate), crf=crf)
    index = index_frames(path)
    count = max(min(16, len(index)), int(index.seconds(len(index))))
    wanted = {int((number + 0.5) * len(index) / count) for number in range(count)}
    samples = tuple(sample(frame.index, frame.image) for frame in iter_frames(path) if frame.index in wanted)
    height, width = frames[0].shape[:2]
    scan = FilmScan(
        width=width, height=height, index=index, boundaries=(), curve=np.zeros(len(index), np.float32),
        samples=samples, detector="none",
    )  # fmt: skip
    path.unlink()
    return HashSequence.from_scan(name, scan)


def sample(index: int, image: NDArray[np.uint8]) -> SampledFrame:
    """Return a frame with its perceptual hash."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    phash = perceptual_hash(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    return SampledFrame(frame=index, jpeg=buffer.getvalue(), phash=phash)


def time_index(films: int = 1000, per_film: int = 100) -> None:
    """Print how long the index takes for 100,000 hashes: unlike ones, and shots with five frames of one title card."""
    random = np.random.default_rng(0)
    owners = np.arange(films * per_film) // per_film
    unlike = random.integers(0, 2**64, films * per_film, dtype=np.uint64)
    shots = np.repeat(random.integers(0, 2**64, films * 15, dtype=np.uint64).reshape(films, 15), 7, axis=1)
    shots = shots[:, :per_film] ^ (np.uint64(1) << random.integers(0, 64, (films, per_film), dtype=np.uint64))
    shots[:, :5] = np.uint64(0x123456789ABCDEF0) ^ (np.uint64(1) << random.integers(0, 64, (films, 5), dtype=np.uint64))
    for name, hashes in (("unlike", unlike), ("shots and a common title card", shots.ravel())):
        begin = time.process_time()
        pairs = near_pairs(hashes, owners)
        print(f"index of {len(hashes):,} hashes, {name}: {time.process_time() - begin:.2f} CPU s, {len(pairs):,} pairs")


if __name__ == "__main__":
    main()
