"""The Croissant file of a dataset: what its files are and what a record in them is, for any reader of Croissant 1.1.

It lies beside the card and names files relative to itself, so it holds for a folder and for a repository. It carries
the fields of the RAI extension, in words that the card uses too. The same facts give the same text.

Source: the Croissant 1.1 and Croissant RAI 1.0 specifications of MLCommons.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from datasets import Audio, Image, List, Value, Video

from animeshooter_hf.cards.column_words import CONFIG_ROWS, column_meaning
from animeshooter_hf.cards.dataset_facts import CardFacts, ConfigFacts, DatasetStatistics
from animeshooter_hf.cards.dataset_words import (
    PAPER_BIBTEX,
    biases,
    intended_uses,
    limits,
    maintenance,
    out_of_scope_uses,
    personal_data,
)
from animeshooter_hf.cards.hub_vocabulary import licence_address
from animeshooter_hf.cards.provenance_words import detector_names, model_names, stage_sentences

__all__ = ["MAX_FILE_OBJECTS", "ShardLike", "croissant_text", "make_croissant"]

MAX_FILE_OBJECTS = 2_000
"""Up to so many shards are listed one by one with their hashes; the manifest lists them all in any case."""

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
_SCALARS = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
}
_SPLIT_URLS = {
    "train": "cr:TrainingSplit",
    "validation": "cr:ValidationSplit",
    "test": "cr:TestSplit",
}


class ShardLike(Protocol):
    """What is known of a file; the manifest's `ShardFacts` is one."""

    @property
    def path(self) -> str:
        """Relative to the dataset's folder."""

    @property
    def num_rows(self) -> int:
        """Rows."""

    @property
    def num_bytes(self) -> int:
        """Size."""

    @property
    def sha256(self) -> str:
        """Hash."""


def make_croissant(
    facts: CardFacts,
    configs: Sequence[ConfigFacts],
    shards: Sequence[ShardLike],
    statistics: DatasetStatistics,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the Croissant file of a dataset as JSON values.

    Args:
        facts: What the data cannot tell; what is not given there is not in the file.
        configs: What was written; each becomes a record set.
        shards: The files.
        statistics: Counts, named in the description.
        provenance: By what the data were made, from the manifest.

    Raises:
        ValueError: If there is no config.
    """
    if not configs:
        raise ValueError("A Croissant file needs at least one config.")
    splits = list(dict.fromkeys(split for config in configs for split in config.num_rows))
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": facts.title,
        "conformsTo": _CONFORMS_TO,
        "description": _description(facts, statistics),
        **_about(facts),
        **_responsible(facts, configs, provenance or {}),
        "distribution": [*_file_sets(configs), *_file_objects(shards)],
        "recordSet": [_splits_record_set(splits), *(_record_set(config, splits) for config in configs)],
    }


def croissant_text(croissant: Mapping[str, Any]) -> str:
    """Return the text of a Croissant file."""
    return json.dumps(croissant, indent=1, ensure_ascii=False) + "\n"


def _description(facts: CardFacts, statistics: DatasetStatistics) -> str:
    counts = [
        f"{int(number):,} {name}"
        for name in ("videos", "stories", "shots")
        if (number := statistics.values.get(name)) is not None
    ]
    return f"{facts.summary} It holds {', '.join(counts)}." if counts else facts.summary


def _about(facts: CardFacts) -> dict[str, Any]:
    """Return what schema.org says of a dataset, as far as it was given."""
    licence = licence_address(facts.licence) or facts.licence_link or facts.licence_name or facts.licence
    page = f"https://huggingface.co/datasets/{facts.repo_id}" if facts.repo_id else facts.homepage
    optional = {
        "url": page,
        "sameAs": facts.homepage if facts.homepage != page else None,
        "version": facts.version.removeprefix("v") if facts.version else None,
        "datePublished": facts.date_published,
        "creator": [{"@type": "sc:Organization", "name": name} for name in facts.creators],
    }
    return {
        "license": licence,
        "keywords": ["animation", "multi-shot", "video", *facts.tags],
        "inLanguage": list(facts.languages),
        "isLiveDataset": False,
        "citeAs": facts.citation.strip() if facts.citation else PAPER_BIBTEX,
        **{key: value for key, value in optional.items() if value},
    }


def _responsible(
    facts: CardFacts, configs: Sequence[ConfigFacts], provenance: Mapping[str, Any]
) -> dict[str, str | list[str]]:
    """Return the RAI fields, as far as there is something to say."""
    models, stages = model_names(provenance), stage_sentences(provenance)
    fields: dict[str, str | list[str]] = {
        "rai:dataCollection": facts.made_by,
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataPreprocessingProtocol": stages,
        "rai:dataManipulationProtocol": (
            "Videos are cut into stories and shots at frames; clips, pictures and sound are encoded anew, words are "
            "kept as they were answered or released, but for repairs of names and times."
        ),
        "rai:dataAnnotationProtocol": [facts.made_by, f"Annotators, in the Hub's words: {facts.annotations_creators}."],
        "rai:dataAnnotationPlatform": ["animeshooter_hf"],
        "rai:machineAnnotationTools": [*models, *detector_names(provenance)],
        "rai:dataUseCases": intended_uses(facts, configs),
        "rai:dataLimitations": [*limits(facts, configs), *(f"Not for: {use}" for use in out_of_scope_uses(facts))],
        "rai:dataBiases": biases(facts),
        "rai:personalSensitiveInformation": personal_data(facts),
        "rai:dataReleaseMaintenancePlan": " ".join(maintenance(facts)),
        "rai:dataSocialImpact": (
            "Models that learn from such data make animation cheaper, and may imitate the style and the characters of "
            "those who drew it; rights are kept per video, and a takedown list removes a video for good."
        ),
    }
    return {key: value for key, value in fields.items() if value}


def _file_sets(configs: Sequence[ConfigFacts]) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"files-{config.name}",
            "name": f"files-{config.name}",
            "description": f"The Parquet files of the config {config.name}.",
            "encodingFormat": "application/x-parquet",
            "includes": f"{config.name}/*.parquet",
        }
        for config in configs
    ]


def _file_objects(shards: Sequence[ShardLike]) -> list[dict[str, Any]]:
    if len(shards) > MAX_FILE_OBJECTS:
        return []
    return [
        {
            "@type": "cr:FileObject",
            "@id": shard.path,
            "name": shard.path,
            "description": f"{shard.num_rows:,} rows.",
            "contentUrl": shard.path,
            "contentSize": f"{shard.num_bytes} B",
            "encodingFormat": "application/x-parquet",
            "sha256": shard.sha256,
        }
        for shard in shards
    ]


def _splits_record_set(splits: Sequence[str]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits; they are made by video, so no video is in two of them.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": "splits/name",
                "name": "name",
                "description": "Name of the split.",
                "dataType": "sc:Text",
            },
            {
                "@type": "cr:Field",
                "@id": "splits/url",
                "name": "url",
                "description": "What the split is for.",
                "dataType": "sc:URL",
            },
        ],
        "data": [{"splits/name": split, "splits/url": _SPLIT_URLS.get(split, "cr:Split")} for split in splits],
    }


def _record_set(config: ConfigFacts, splits: Sequence[str]) -> dict[str, Any]:
    name = config.name
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"One record per {CONFIG_ROWS.get(name, 'row')}.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/split",
                "name": "split",
                "description": "Split of the record, from the name of its file.",
                "dataType": "sc:Text",
                "source": {
                    "fileSet": {"@id": f"files-{name}"},
                    "extract": {"fileProperty": "fullpath"},
                    # A reader that joins it with `splits` applies this twice, so a bare name gives itself.
                    "transform": {"regex": f"(?:.*/)?({'|'.join(splits)})(?:-[0-9]+-of-[0-9]+\\.parquet)?$"},
                },
                "references": {"field": {"@id": "splits/name"}},
            },
            *(_field(name, column, (), feature) for column, feature in config.features.items()),
        ],
    }


def _field(config: str, column: str, inside: tuple[str, ...], feature: Any) -> dict[str, Any]:
    """Return the field of a column, or of the member of it that `inside` leads to."""
    path = ".".join((column, *inside))
    made: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": "/".join((config, column, *inside)),
        "name": (column, *inside)[-1],
    }
    if meaning := column_meaning(config, path):
        made["description"] = f"{meaning}."
    inner = feature
    if isinstance(feature, List):
        length = feature.length if feature.length is not None and feature.length >= 0 else -1
        made |= {"isArray": True, "arrayShape": str(length)}
        inner = feature.feature
    if isinstance(inner, Mapping):
        made["subField"] = [_field(config, column, (*inside, name), one) for name, one in inner.items()]
        return made
    steps = [*inside, "bytes"] if isinstance(inner, Video | Image | Audio) else list(inside)
    source: dict[str, Any] = {"fileSet": {"@id": f"files-{config}"}, "extract": {"column": column}}
    if steps:
        transforms = [{"jsonPath": step} for step in steps]
        source["transform"] = transforms[0] if len(transforms) == 1 else transforms
    return {**made, "dataType": _data_type(inner), "source": source}


def _data_type(feature: Any) -> str:
    for kind, name in ((Video, "sc:VideoObject"), (Image, "sc:ImageObject"), (Audio, "sc:AudioObject")):
        if isinstance(feature, kind):
            return name
    if isinstance(feature, Value) and feature.dtype in _SCALARS:
        return _SCALARS[feature.dtype]
    raise ValueError(f"A Croissant file has no word for the type {feature}.")
