"""Write what stands beside the shards of a dataset folder: card, Croissant file, `.gitattributes`, manifest."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from animeshooter_hf.cards.croissant import make_croissant
from animeshooter_hf.cards.dataset_card import render_dataset_card
from animeshooter_hf.cards.dataset_facts import DatasetStatistics
from animeshooter_hf.cards.hub_files import CROISSANT_FILE, GITATTRIBUTES, GITATTRIBUTES_FILE
from animeshooter_hf.dataset_builder.manifest import DatasetManifest
from animeshooter_hf.features import CONFIGS

__all__ = ["check_shards", "write_metadata"]


def write_metadata(root: Path, manifest: DatasetManifest, statistics: DatasetStatistics) -> None:
    """Write README.md, croissant.json, .gitattributes and manifest.json of a dataset folder.

    Args:
        root: The folder; its shards need not lie there.
        manifest: What the folder holds.
        statistics: Counted on its stories.

    Raises:
        ValueError: If the manifest names no shard.
        InputError: If the card's facts hold a value that the Hub does not know.
    """
    configs = manifest.configs()
    card = render_dataset_card(
        manifest.card,
        configs,
        statistics,
        splits=manifest.splits,
        split_seed=manifest.split_seed,
        rights=manifest.rights,
        rights_policy=manifest.rights_policy,
        provenance=manifest.provenance,
        skipped=manifest.skipped,
    )
    croissant = make_croissant(manifest.card, configs, manifest.shards, statistics, provenance=manifest.provenance)
    (root / "README.md").write_text(card, encoding="utf-8")
    (root / CROISSANT_FILE).write_text(json.dumps(croissant, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (root / GITATTRIBUTES_FILE).write_text(GITATTRIBUTES, encoding="utf-8")
    manifest.write(root)


def check_shards(root: Path, manifest: DatasetManifest) -> None:
    """Open every shard of a folder as a reader does, before anybody else can see it.

    Raises:
        RuntimeError: If one is not what the manifest says; that is a defect of ours.
    """
    for shard in manifest.shards:
        columns = list(CONFIGS[shard.config])
        file = pq.ParquetFile(root / shard.path)
        if file.metadata.num_rows != shard.num_rows or file.schema_arrow.names != columns:
            raise RuntimeError(
                f"{shard.path} was not written as it should be: {file.metadata.num_rows} rows of {shard.num_rows}."
            )
        file.read_row_group(0, columns=columns[:2])
