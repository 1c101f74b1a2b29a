"""The card of a benchmark repository, filled from what the benchmark holds; what nobody said is left out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from animeshooter_hf._version import __version__
from animeshooter_hf.cards.dataset_words import PAPER_BIBTEX
from animeshooter_hf.cards.hub_vocabulary import SIZE_CATEGORIES, check_head, licence_address, licence_title

__all__ = ["BenchmarkFacts", "render_benchmark_card"]

_ORIGINS: Mapping[str, str] = {
    "toon": (
        "Characters, stories and pictures are drawn in code by the toon world of animeshooter_hf, so they may be used "
        "freely, and everything about every pixel is known. The characters' combinations of body, ears, hat and "
        "pattern are held out: films of the pool `train` never show them."
    ),
    "written": "The stories were written by a language model for the given characters.",
    "given": "The stories were given by whoever made the benchmark.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkFacts:
    """What the card tells."""

    benchmark_id: str
    """Repository on the Hub, or any name."""

    revision: str
    """Hash of stories and references."""

    title: str
    """Name for people."""

    description: str
    """One sentence."""

    kind: str
    """How the stories came about: "toon", "written" or "given"."""

    license: str
    """Identifier of the licence on the Hub."""

    tracks: tuple[tuple[str, str, int, int, int], ...]
    """(track, what it asks, IPs or casts, stories, shots)."""

    configs: tuple[tuple[str, str, Mapping[str, int]], ...]
    """(config, what its rows are, split -> rows)."""

    num_characters: int
    """Characters with references."""

    reference_licences: tuple[tuple[str, int], ...]
    """(licence, pictures)."""

    tasks: tuple[tuple[str, str], ...]
    """(task of the main track, what is measured)."""

    evaluation_framework: str
    """Identifier of the code that scores."""

    shared_splits: Mapping[str, str] = field(default_factory=dict)
    """Track -> the track whose stories it shares."""

    no_training_tracks: tuple[str, ...] = ()
    """Tracks that forbid training on the tested characters."""

    attributions: tuple[str, ...] = ()
    """Whom licences ask to be named."""

    writer: str = ""
    """The model that wrote the stories; "" if none did."""


def render_benchmark_card(facts: BenchmarkFacts) -> str:
    """Return README.md of a benchmark: the YAML head that `datasets` reads, and the card.

    Raises:
        InputError: If the Hub does not know a value of the head.
    """
    head = _head(facts)
    check_head(head)
    loader = PackageLoader("animeshooter_hf.cards", ".")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    body = environment.get_template("benchmark_card.md.jinja").render(
        facts=facts,
        names={name for name, _, _ in facts.configs},
        place=facts.benchmark_id if "/" in facts.benchmark_id else "path/of/this/folder",
        first_track=facts.tracks[0][0],
        origin=_ORIGINS[facts.kind],
        licence=_licence_words(facts.license),
        licences={name: _licence_words(name) for name, _ in facts.reference_licences},
        paper=PAPER_BIBTEX,
        version=__version__,
    )
    words = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000)
    body = re.sub(r"\n{3,}", "\n\n", body).strip()
    return f"---\n{words}---\n\n{body}\n"


def _head(facts: BenchmarkFacts) -> dict[str, object]:
    names = {name for name, _, _ in facts.configs}
    rows = max(sum(splits.values()) for _, _, splits in facts.configs)
    head: dict[str, object] = {
        "license": facts.license,
        **({"license_name": "see-the-card"} if facts.license == "other" else {}),
        "pretty_name": facts.title,
        "task_categories": ["text-to-video", "image-to-video"],
        "size_categories": [next((name for limit, name in SIZE_CATEGORIES if rows < limit), "n>1T")],
        "tags": ["animation", "multi-shot", "benchmark", *(["toon"] if facts.kind == "toon" else [])],
    }
    if facts.kind == "toon":
        head |= {"language": ["en"], "source_datasets": ["original"]}
    if "truth" in names:
        head["annotations_creators"] = ["machine-generated"]
    head["configs"] = [
        {
            "config_name": name,
            **({"default": True} if number == 0 else {}),
            "data_files": [
                {"split": split, "path": f"{name}/{facts.shared_splits.get(split, split)}-*"} for split in splits
            ],
        }
        for number, (name, _, splits) in enumerate(facts.configs)
    ]
    return head


def _licence_words(identifier: str) -> str:
    title, address = licence_title(identifier), licence_address(identifier)
    if title is None:
        return identifier
    return f"[{title}]({address})" if address else title
