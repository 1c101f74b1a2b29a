"""How well the admit stage's cheap scores tell subtitled toon films from clean ones.

Each film is scored clean, with a mark that never changes, and with lines of text burnt in near the lower edge of three
quarters of its pictures, in four looks. Printed: the highest score of a film that should score low, the lowest and the
tenth percentile of one that should score high, and the area under the curve per look. The limits in
`quality/picture_scores.py` were set on seeds 100 to 111; measure on others.

    python benchmarks/admit_scores.py --first-seed 200 --films 30
"""

import argparse
import random
import time

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from animeshooter_hf.dataset_builder.quality.picture_scores import decode_picture, score_pictures
from animeshooter_hf.toon import FilmSettings, ToonFilm

TEXT = "the a fox runs to you what is it we have no time left come on look there home again never"
WORDS = TEXT.split()
LOOKS = ("hershey", "outlined", "yellow", "plain")
COLOURS = {"outlined": (255, 255, 255), "yellow": (255, 230, 60), "plain": (255, 255, 255)}


def burn(picture: NDArray[np.uint8], text: str, look: str) -> NDArray[np.uint8]:
    """Return a picture with a line of text near its lower edge."""
    height, width = picture.shape[:2]
    stroke = max(1, round(height / 180))
    if look == "hershey":
        scale, font = height / 360 * 0.7, cv2.FONT_HERSHEY_SIMPLEX
        (wide, _), _ = cv2.getTextSize(text, font, scale, stroke)
        where = ((width - wide) // 2, int(height * 0.92))
        picture = picture.copy()
        for colour, thickness in (((0, 0, 0), 3 * stroke), ((255, 255, 255), stroke)):
            cv2.putText(picture, text, where, font, scale, colour, thickness, cv2.LINE_AA)
        return picture
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(
        (width / 2, height * 0.93),
        text,
        font=ImageFont.load_default(size=height * 0.055),
        fill=COLOURS[look],
        anchor="ms",
        stroke_width=0 if look == "plain" else stroke,
        stroke_fill=(0, 0, 0),
    )
    return np.asarray(image)


def score(pictures: list[NDArray[np.uint8]]) -> tuple[float, float]:
    """Return the subtitle score and the flat share of pictures that went through JPEG."""
    jpegs = [cv2.imencode(".jpg", one[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes() for one in pictures]
    scores = score_pictures([one for one in map(decode_picture, jpegs) if one is not None])
    return scores.subtitles, scores.flat_share


def area(low: list[float], high: list[float]) -> float:
    """Return how often a film that should score high does score higher; ties count half."""
    return float(np.mean([(b > a) + 0.5 * (a == b) for a in low for b in high]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-seed", type=int, default=200, help="seed of the first film (default %(default)s)")
    parser.add_argument("--films", type=int, default=20, help="how many films (default %(default)s)")
    parser.add_argument("--height", type=int, default=360, help="of the films, in pixels (default %(default)s)")
    arguments = parser.parse_args()
    size = FilmSettings(width=arguments.height * 16 // 9 // 2 * 2, height=arguments.height)
    scores: dict[str, list[float]] = {kind: [] for kind in ("clean", "mark", *LOOKS)}
    flat: list[float] = []
    seconds = 0.0
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.films):
        chance = random.Random(seed)
        film = ToonFilm.from_seed(seed, size)
        clean = [film.frame(round((number + 0.5) * film.num_frames / 16)) for number in range(16)]
        begin = time.process_time()
        found, even = score(clean)
        seconds += time.process_time() - begin
        scores["clean"].append(found)
        flat.append(even)
        scores["mark"].append(score([burn(one, "a channel of toons", "outlined") for one in clean])[0])
        for look in LOOKS:
            lines = [" ".join(chance.choices(WORDS, k=chance.randint(3, 8))).capitalize() for _ in clean]
            pictures = [
                burn(one, line, look) if chance.random() < 0.75 else one for one, line in zip(clean, lines, strict=True)
            ]
            scores[look].append(score(pictures)[0])
    low = scores["clean"] + scores["mark"]
    print(f"seeds {arguments.first_seed} to {arguments.first_seed + arguments.films - 1}, {size.width}x{size.height}")
    print(f"clean: highest {max(scores['clean']):.3f}; unchanging mark: highest {max(scores['mark']):.3f}")
    for look in LOOKS:
        high = scores[look]
        print(
            f"{look:9} lowest {min(high):.3f}, 10 % {np.quantile(high, 0.1):.3f}, median {np.median(high):.3f}, "
            f"area {area(low, high):.4f}, found at 0.2: {np.mean(np.array(high) >= 0.2):.3f}"
        )
    print(f"false alarms at 0.2: {np.mean(np.array(low) >= 0.2):.3f}")
    print(f"flat share of toon films: {min(flat):.2f} to {max(flat):.2f}")
    print(f"cost: {seconds / arguments.films * 1000:.0f} ms of CPU per film")


if __name__ == "__main__":
    main()
