"""What holds for every dataset of this kind, in the words of its card and of its Croissant file.

Each function joins it with what the facts of one dataset add.
"""

from collections.abc import Sequence

from animeshooter_hf.cards.dataset_facts import CardFacts, ConfigFacts

__all__ = [
    "PAPER_BIBTEX",
    "biases",
    "intended_uses",
    "limits",
    "maintenance",
    "out_of_scope_uses",
    "personal_data",
    "tool_bibtex",
]

PAPER_BIBTEX = """@article{qiu2025animeshooter,
  title = {AnimeShooter: A Multi-Shot Animation Dataset for Reference-Guided Video Generation},
  author = {Qiu, Lu and Li, Yizhuo and Ge, Yuying and Ge, Yixiao and Shan, Ying and Liu, Xihui},
  journal = {arXiv preprint arXiv:2506.03126},
  year = {2025}
}"""
"""The paper that the layout and the method come from."""


def tool_bibtex(version: str) -> str:
    """Return the entry of the tool that wrote the files."""
    return (
        "@software{animeshooter_hf,\n"
        "  title = {animeshooter\\_hf: multi-shot animation as Hugging Face datasets and models},\n"
        f"  version = {{{version}}}\n"
        "}"
    )


def intended_uses(facts: CardFacts, configs: Sequence[ConfigFacts]) -> list[str]:
    """Return what the dataset is for, as far as its configs serve it."""
    names = {config.name for config in configs}
    by_config = (
        ("stories", "Studying how animated stories are told: storylines, shots, scenes and characters."),
        ("shots", "Training and testing models that generate a story shot by shot, or describe shots."),
        ("references", "Giving a model a character by reference image, and scoring whether it keeps the character."),
        ("audio", "Training and testing models of sound effects that fit a shot."),
    )
    return [*(words for config, words in by_config if config in names), *facts.intended_uses]


def out_of_scope_uses(facts: CardFacts) -> list[str]:
    """Return what the dataset is not for."""
    return [
        "Handing on films, clips or pictures whose owners have not allowed it.",
        "Passing off generated animation as the work of the studio or the artist that it imitates.",
        "Recognising real persons by face or voice.",
        *facts.out_of_scope_uses,
    ]


def limits(facts: CardFacts, configs: Sequence[ConfigFacts]) -> list[str]:
    """Return known gaps and limits."""
    names = {config.name for config in configs}
    missing = [
        words
        for config, words in (
            ("shots", "clips"),
            ("references", "reference pictures"),
            ("audio", "sound"),
        )
        if config not in names
    ]
    told = [f"It holds no {_and(missing)}."] if missing else []
    told.append("A character's name holds within one story only: the same name elsewhere may be somebody else.")
    return [*facts.known_gaps, *told]


def biases(facts: CardFacts) -> list[str]:
    """Return how the data are lopsided."""
    models = "machine-generated" in (facts.annotations_creators, facts.language_creators)
    told = ["Whatever the choice of films favours (studios, styles, kinds of figures, languages), the dataset favours."]
    if models:
        told.append("Captions that a machine wrote carry the habits and the errors of that machine.")
    return [*facts.biases, *told]


def personal_data(facts: CardFacts) -> list[str]:
    """Return what is known of personal data."""
    told = [
        "The videos show drawn characters; voices of actors may be heard in the videos, and names of persons may "
        "stand in titles or captions.",
        "Video IDs and addresses lead to pages that name who uploaded a video.",
    ]
    return [facts.personal_data, *told] if facts.personal_data else told


def maintenance(facts: CardFacts) -> list[str]:
    """Return how the dataset is kept, and how something is taken down."""
    where = f"write to {facts.contact}" if facts.contact else "open a discussion in the repository"
    told = [
        f"To have a video or a story taken down, or an error mended, {where} and name the video.",
        "What is taken down leaves every file, and its hashed ID stays in `takedown.txt`, so that it does not come "
        "back.",
    ]
    return [facts.maintenance, *told] if facts.maintenance else told


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
