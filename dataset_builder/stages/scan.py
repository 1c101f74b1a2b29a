"""The scan stage: one decoding pass over the film, of which all later stages live."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.dataset_builder.engine.stage import Item, StageContext, StageResult
from animeshooter_hf.dataset_builder.quality.duplicates import HashSequence
from animeshooter_hf.dataset_builder.scan.one_pass import ScanSettings, scan_film

__all__ = ["ScanStage"]


@dataclass(frozen=True, kw_only=True)
class ScanStage:
    """Decodes a film once: time, boundaries, samples, hashes, features of the sound."""

    settings: ScanSettings = field(default_factory=ScanSettings)
    """What is looked for."""

    name = "scan"
    version = 2
    needs = ("probe",)

    def settings_key(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return dict(settings_to_json(self.settings))

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """See `Stage`."""
        return {}

    def run(self, context: StageContext) -> StageResult:
        """Scan the film."""
        scan = scan_film(context.item.path, self.settings)
        kept = Path(tempfile.mkdtemp()) / "scan"
        scan.save(kept)
        return StageResult(
            output={
                "info": context.inputs["probe"]["info"],
                "scan": f"{context.blob_prefix}.scan",
                "detector": scan.detector,
                "num_frames": scan.num_frames,
                "seconds": scan.index.seconds(scan.num_frames),
                "boundaries": [[one.frame, one.kind, one.start_frame, one.end_frame] for one in scan.boundaries],
                "hashes": HashSequence.from_scan(context.item.id, scan).to_json(),
                "problems": list(scan.problems),
            },
            blobs={".scan": kept},
        )
