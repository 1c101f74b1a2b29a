"""The card of a dataset, filled from the data itself: nothing is printed that was not counted or given.

Source of the comparison: AnimeShooter, arXiv 2506.03126, Table 1.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import yaml
from datasets import Video
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from animeshooter_hf._version import __version__
from animeshooter_hf.cards.column_words import CONFIG_ROWS, column_meaning, leaves, type_words
from animeshooter_hf.cards.dataset_facts import PAPER_TABLE_1, CardFacts, ConfigFacts, DatasetStatistics, show_number
from animeshooter_hf.cards.dataset_words import (
    PAPER_BIBTEX,
    biases,
    intended_uses,
    limits,
    maintenance,
    out_of_scope_uses,
    personal_data,
    tool_bibtex,
)
from animeshooter_hf.cards.hub_vocabulary import SIZE_CATEGORIES, check_head, licence_address, licence_title
from animeshooter_hf.cards.provenance_words import detector_names, model_names, prompt_hashes, stage_sentences

__all__ = ["PAPER_TABLE_1", "CardFacts", "ConfigFacts", "DatasetStatistics", "RightsLike", "render_dataset_card"]

_POLICIES: Mapping[str, str] = {
    "annotations-only": (
        "IDs, annotations and masks are published, no frame and no sound, because the videos belong to their owners."
    ),
    "references": (
        "IDs, annotations, masks and reference pictures are published, no clip and no sound; a picture only of videos "
        "whose rights allow it."
    ),
    "full": "Clips, pictures and sound are published of the videos whose rights allow it, annotations of all.",
}
_BASES: Mapping[str, str] = {
    "owned": "owned by whoever built the dataset",
    "licensed": "licensed by contract",
    "public-domain": "in the public domain",
    "cc": "under a Creative Commons licence",
    "research-exception": "used under an exception for research, which is no permission to hand on",
    "unknown": "unknown, which is no permission",
}
_TASKS = (
    ("stories", "text-to-video"),
    ("shots", "video-text-to-text"),
    ("references", "image-segmentation"),
    ("audio", "text-to-audio"),
)
_GATED_PROMPT = (
    "The videos behind this dataset belong to their owners. By asking for access you agree to use it within its "
    "licence, not to hand on clips, pictures or sound, and to delete what is taken down."
)


class RightsLike(Protocol):
    """What is known of the rights in a video; `quality.rights.VideoRights` is one."""

    @property
    def basis(self) -> str:
        """On what the use rests."""

    @property
    def redistributable(self) -> bool | None:
        """Whether copies may be handed on."""


def render_dataset_card(
    facts: CardFacts,
    configs: Sequence[ConfigFacts],
    statistics: DatasetStatistics,
    *,
    splits: Mapping[str, Sequence[str]] | None = None,
    split_seed: int | None = None,
    rights: Mapping[str, RightsLike] | None = None,
    rights_policy: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    skipped: Sequence[tuple[str, str]] = (),
) -> str:
    """Return README.md of a dataset folder: the YAML head that `datasets` reads, and the card.

    Args:
        facts: What the data cannot tell.
        configs: What was written; the first one is the default.
        statistics: Counts, shown beside the paper's.
        splits: Split -> its videos.
        split_seed: What decided which videos are held out.
        rights: Video -> what is known of its rights; a video that is not there counts as unknown.
        rights_policy: With which policy it is published.
        provenance: By what it was made, from the manifest.
        skipped: (shot, reference or story, why it has no media row).

    Raises:
        ValueError: If there is no config.
        InputError: If the Hub does not know a value of the facts.
    """
    if not configs:
        raise ValueError("A dataset card needs at least one config.")
    head = _head(facts, configs)
    check_head(head)
    words = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000)
    provenance = provenance or {}
    body = _template().render(
        facts=facts,
        configs=configs,
        rows_of=CONFIG_ROWS,
        names={config.name for config in configs},
        columns={config.name: _column_rows(config) for config in configs},
        statistics=statistics.rows(),
        splits=_split_rows(configs, statistics, splits or {}),
        split_columns=_split_columns(configs, statistics, splits or {}),
        split_seed=split_seed,
        rights=_rights_rows(rights or {}, splits or {}),
        policy=_POLICIES.get(rights_policy or ""),
        num_skipped=len(skipped),
        stages=stage_sentences(provenance),
        models=model_names(provenance),
        detectors=detector_names(provenance),
        prompts=prompt_hashes(provenance),
        licence=_licence_words(facts),
        uses=intended_uses(facts, configs),
        no_uses=out_of_scope_uses(facts),
        limits=limits(facts, configs),
        biases=biases(facts),
        personal_data=personal_data(facts),
        maintenance=maintenance(facts),
        paper=PAPER_BIBTEX,
        tool=tool_bibtex(__version__),
        version=__version__,
    )
    body = re.sub(r"\n{3,}", "\n\n", body)
    return f"---\n{words}---\n\n{body.strip()}\n"


@cache
def _template() -> Template:
    loader = PackageLoader("animeshooter_hf.cards", ".")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("dataset_card.md.jinja")


def _head(facts: CardFacts, configs: Sequence[ConfigFacts]) -> dict[str, object]:
    names = {config.name for config in configs}
    tasks = [task for config, task in _TASKS if config in names]
    if {"shots", "references"} <= names:
        tasks.insert(1, "image-to-video")
    rows = max(sum(config.num_rows.values()) for config in configs)
    optional = {
        "license_name": facts.licence_name if facts.licence == "other" else None,
        "license_link": facts.licence_link if facts.licence == "other" else None,
        "thumbnail": facts.thumbnail,
        "viewer": None if facts.viewer else False,
        "task_ids": ["instance-segmentation"] if "references" in names else None,
    }
    head: dict[str, object] = {
        "license": facts.licence,
        "pretty_name": facts.title,
        "language": list(facts.languages),
        "multilinguality": ["monolingual" if len(facts.languages) == 1 else "multilingual"],
        "task_categories": tasks or ["text-to-video"],
        "size_categories": [next((name for limit, name in SIZE_CATEGORIES if rows < limit), "n>1T")],
        "annotations_creators": [facts.annotations_creators],
        "language_creators": [facts.language_creators],
        "source_datasets": list(facts.source_datasets),
        "tags": list(dict.fromkeys(["animation", "multi-shot", "video", *_media_tags(names), *facts.tags])),
        **{name: value for name, value in optional.items() if value is not None},
        **(_gate(facts) if facts.is_gated else {}),
    }
    return {**head, **_data_head(configs)}


def _media_tags(names: set[str]) -> list[str]:
    tags = [("references", "image"), ("audio", "audio")]
    return [*(tag for config, tag in tags if config in names), "datasets", "mlcroissant"]


def _gate(facts: CardFacts) -> dict[str, object]:
    fields = {
        "extra_gated_heading": facts.gated_heading or "Agree to the terms of use",
        "extra_gated_prompt": facts.gated_prompt or _GATED_PROMPT,
        "extra_gated_button_content": facts.gated_button,
        "extra_gated_fields": dict(facts.gated_fields),
    }
    return {name: value for name, value in fields.items() if value}


def _data_head(configs: Sequence[ConfigFacts]) -> dict[str, object]:
    return {
        "configs": [
            {
                "config_name": config.name,
                **({"default": True} if number == 0 else {}),
                "data_files": [{"split": split, "path": f"{config.name}/{split}-*"} for split in config.num_rows],
            }
            for number, config in enumerate(configs)
        ],
        "dataset_info": [
            {
                "config_name": config.name,
                **_stated_features(config),
                "splits": [
                    {"name": split, "num_bytes": config.num_bytes[split], "num_examples": rows}
                    for split, rows in config.num_rows.items()
                ],
                "download_size": config.download_bytes,
                "dataset_size": sum(config.num_bytes.values()),
            }
            for config in configs
        ],
    }


def _stated_features(config: ConfigFacts) -> dict[str, object]:
    """Return the columns of a config, unless one is a video: `datasets` 2 knows none, and would then open no config.

    Nothing is lost, since every Parquet file says the same of itself.
    """
    has_video = any(isinstance(column, Video) for column in config.features.values())
    return {} if has_video else {"features": _old_notation(config.features._to_yaml_list())}


def _old_notation(node: Any) -> Any:
    """Return columns with lists of fixed length as `datasets` 2 and 3 write them, which later ones read as well."""
    if isinstance(node, list):
        return [_old_notation(one) for one in node]
    if not isinstance(node, dict):
        return node
    is_fixed = "list" in node and "length" in node
    return {"sequence" if is_fixed and key == "list" else key: _old_notation(value) for key, value in node.items()}


def _column_rows(config: ConfigFacts) -> list[tuple[str, str, str]]:
    """Return (path, type, meaning) of each column and member, as texts."""
    return [
        (path, type_words(feature), column_meaning(config.name, path) or "")
        for path, feature in leaves(config.features)
    ]


def _split_columns(
    configs: Sequence[ConfigFacts], statistics: DatasetStatistics, splits: Mapping[str, Sequence[str]]
) -> list[str]:
    return [
        *(["videos"] if splits else []),
        *(["shots"] if statistics.shots_of_splits else []),
        *(f"rows of `{config.name}`" for config in configs),
    ]


def _split_rows(
    configs: Sequence[ConfigFacts], statistics: DatasetStatistics, splits: Mapping[str, Sequence[str]]
) -> list[tuple[str, list[str]]]:
    """Return (split, its numbers in the order of `_split_columns`)."""
    names = dict.fromkeys([*splits, *(split for config in configs for split in config.num_rows)])
    return [
        (
            split,
            [
                show_number(number)
                for number in (
                    *([len(splits.get(split, ()))] if splits else []),
                    *([statistics.shots_of_splits.get(split, 0)] if statistics.shots_of_splits else []),
                    *(config.num_rows.get(split, 0) for config in configs),
                )
            ],
        )
        for split in names
    ]


def _rights_rows(rights: Mapping[str, RightsLike], splits: Mapping[str, Sequence[str]]) -> list[tuple[str, str, str]]:
    """Return (basis in words, videos, of these redistributable); nothing if nobody looked."""
    if not rights:
        return []
    videos = {video for names in splits.values() for video in names} or set(rights)
    known = [rights[video] for video in videos if video in rights]
    bases = Counter(one.basis for one in known)
    bases["unknown"] += len(videos) - len(known)
    free = Counter(one.basis for one in known if one.redistributable)
    return [
        (_BASES.get(basis, basis), show_number(number), show_number(free[basis]))
        for basis, number in sorted(bases.items(), key=lambda pair: (-pair[1], pair[0]))
        if number
    ]


def _licence_words(facts: CardFacts) -> str:
    link = licence_address(facts.licence) or facts.licence_link
    name = licence_title(facts.licence) or (facts.licence_name if facts.licence == "other" else None)
    words = f"The dataset is published under {name}" if name else "The licence of the dataset is not known"
    if name == "see-the-source":
        words = "The licence is that of the source"
    return f"{words} ({link})." if link else f"{words}."
