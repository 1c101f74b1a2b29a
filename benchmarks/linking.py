"""Link the characters of different stories by the colours of their cut-outs, against the truth of toon films.

Films of several stories are drawn, their references are found with exact masks, and characters are linked within each
film, and over all films at once. The truth: a film's character is the same figure in all its stories, and no figure
stands in two films.

    python benchmarks/linking.py --seeds 101-112 --seconds 180

Prints pairs, precision and recall for each threshold. Choose a threshold on other seeds than those you report.
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf import Story
from animeshooter_hf.dataset_builder.references.embedders import ClassicalEmbedder, open_embedder
from animeshooter_hf.dataset_builder.references.find import find_references
from animeshooter_hf.dataset_builder.references.linking import (
    CharacterLook,
    ImageEmbedder,
    LinkScores,
    describe_characters,
    link_identities,
    link_scores,
)
from animeshooter_hf.dataset_builder.references.truth import TruthSegmenter
from animeshooter_hf.masks import RleMask
from animeshooter_hf.toon import FilmSettings, ToonFilm, make_stories


class Drawn:
    """A film's pictures and masks, drawn when they are asked for."""

    def __init__(self, film: ToonFilm) -> None:
        self.film = film

    def picture(self, frame: int) -> NDArray[np.uint8]:
        """Return a frame."""
        return self.film.frame(frame)

    def mask_at(self, character_id: str, frame: int) -> RleMask | None:
        """Return a character's mask, or None if it is not seen."""
        mask = self.film.masks(frame).get(character_id)
        return None if mask is None else RleMask.from_array(mask)


def look_at(film: ToonFilm, embedder: ImageEmbedder) -> tuple[list[CharacterLook], dict[tuple[str, str], str]]:
    """Return the looks of a film's characters, and who each of them truly is."""
    drawn = Drawn(film)
    looks: list[CharacterLook] = []
    for story in make_stories(film.plan):
        found = find_references(story, {}, TruthSegmenter(drawn), drawn)
        looks += describe_characters(story.story_id, found.kept, drawn, embedder)
    truth = {(look.story_id, look.character_id): f"{film.film_id}/{look.character_id}" for look in looks}
    return looks, truth


def add(scores: list[LinkScores]) -> str:
    """Return precision and recall over several films together."""
    linked, true = sum(one.num_linked for one in scores), sum(one.num_true for one in scores)
    right = sum(one.num_right for one in scores)
    precision = f"{right / linked:.3f}" if linked else "  -  "
    recall = f"{right / true:.3f}" if true else "  -  "
    return f"{precision} {recall} ({right} right of {linked} linked, {true} true)"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1-4", help="first and last seed")
    parser.add_argument("--seconds", type=float, default=180, help="length of a film")
    parser.add_argument("--embedder", default="classical", help='"classical", or a folder or Hub ID of a backbone')
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.8, 0.85, 0.9, 0.95, 0.98])
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    embedder = open_embedder(arguments.embedder)
    settings = FilmSettings(width=320, height=180, seconds=arguments.seconds)
    films = []
    began = time.process_time()
    for seed in range(int(first), int(last or first) + 1):
        film = ToonFilm.from_seed(seed, settings, film_id=f"toon_{seed}")
        stories: list[Story] = make_stories(film.plan)
        if len(stories) >= 3:
            films.append(look_at(film, embedder))
    print(f"{len(films)} films of at least 3 stories, {sum(len(looks) for looks, _ in films)} characters in stories, "
          f"{time.process_time() - began:.0f} CPU seconds")  # fmt: skip
    everybody = [look for looks, _ in films for look in looks]
    everything = {key: name for _, truth in films for key, name in truth.items()}
    print("threshold   within each film: precision recall            over all films at once")
    for threshold in arguments.thresholds:
        within = [link_scores(link_identities(looks, threshold).identities, truth) for looks, truth in films]
        over = link_scores(link_identities(everybody, threshold).identities, everything)
        print(f"{threshold:9.2f}   {add(within):<50} {add([over])}")
    if isinstance(embedder, ClassicalEmbedder):
        print(f"default threshold of the classical embedder: {embedder.default_threshold}")


if __name__ == "__main__":
    main()
