"""Makes results of version 2 as `animeshooter evaluate` writes them, with numbers that are drawn from a seed."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIGNATURES = {
    "reference_fidelity": "reffid|clip-vit-l14@abc123|view:full|ref:white|k:5bin_centre|agg:story-mean|fp32|v2",
    "cross_shot_consistency": "xshot|clip-vit-l14@abc123|views:full|k:5bin_centre|loo|fp32|v2",
}
_FIDELITY = {"mean": "higher", "min": "higher", "harmean_p": "higher", "within_sd": "lower", "retrieval_at_1": "higher"}
_CONSISTENCY = {"pairwise": "higher", "scene_contrast": "higher"}
_HEADLINES = {"reference_fidelity": "harmean_p", "cross_shot_consistency": "pairwise"}
LIMITS = {"static": "residual_top5 < 1.5 px", "duplicate": "two shots alike", "copy_paste": "copy_inlier > 0.10"}


@dataclass(frozen=True, kw_only=True)
class Maker:
    """One run."""

    name: str = "lab/model"
    kind: str = "model"
    level: float = 0.6
    """Mean similarity of its shots."""
    seed: int = 0
    ips: int = 4
    stories_per_ip: int = 3
    shots: int = 4
    gated_by: str | None = None
    spread: float = 0.03
    drift: float = -0.01
    signatures: Mapping[str, str] = field(default_factory=lambda: SIGNATURES)
    system: Mapping[str, Any] = field(default_factory=dict)
    benchmark: Mapping[str, str] | None = field(
        default_factory=lambda: {"id": "lab/AnimeShooter-Bench", "revision": "0123456789abcdef", "track": "main"}
    )
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Top-level keys to replace."""

    def shot_values_SJ(self) -> np.ndarray:
        """The similarity of each shot of each story; IPs differ in the same way for every system."""
        own, shared = np.random.default_rng(self.seed), np.random.default_rng(99)
        ips = np.repeat(shared.normal(0, 0.03, self.ips), self.stories_per_ip)[:, None]
        stories = ips + own.normal(0, self.spread, (self.ips * self.stories_per_ip, self.shots))
        return np.clip(self.level + stories + self.drift * np.arange(self.shots), 0.01, 0.99)

    def story_ids(self) -> list[tuple[str, str]]:
        """(IP, story) in order."""
        return [
            (f"ip{ip:02d}", f"ip{ip:02d}-story{number:02d}")
            for ip in range(self.ips)
            for number in range(self.stories_per_ip)
        ]

    def document(self) -> dict[str, Any]:
        """The results."""
        values_SJ = self.shot_values_SJ()
        stories = [self._story(*names, shots) for names, shots in zip(self.story_ids(), values_SJ, strict=True)]
        shots = [
            self._shot(*names, index, float(value))
            for names, row in zip(self.story_ids(), values_SJ, strict=True)
            for index, value in enumerate(row)
        ]
        return {
            "format": "animeshooter-scores",
            "version": 2,
            "system": {
                "name": self.name, "revision": "", "kind": self.kind, "url": f"https://huggingface.co/{self.name}",
                "license": "apache-2.0", "sampled_by": "the authors", "evaluated_by": "the bench", "date": "2026-11-01",
                "notes": "", **self.system,
            },
            "benchmark": self.benchmark,
            "signatures": dict(self.signatures),
            "headlines": {metric: _HEADLINES[metric] for metric in self.signatures},
            "note": "",
            "settings": {"frames_per_shot": 5},
            "coverage": {"stories": len(stories), "ips": self.ips, "shots": len(shots), "shots_with_problems": 0},
            "corpus": self._corpus(stories),
            "gates": [
                {
                    "control": control, "num_flagged": len(stories) if control == self.gated_by else 0,
                    "num_tested": len(stories), "is_gated": control == self.gated_by, "limit": limit,
                    "is_experimental": False,
                }
                for control, limit in LIMITS.items()
            ],
            "stories": stories,
            "shots": shots,
            "manifest": {"library_versions": {"numpy": "2.4.6"}, "inputs": {}},
            **self.changes,
        }  # fmt: skip

    def _story(self, ip_id: str, story_id: str, shots: np.ndarray) -> dict[str, Any]:
        mean, low = float(shots.mean()), float(shots.min())
        fidelity = {
            "mean": mean, "min": low, "harmean_p": low * len(shots) / float((1 / shots).sum()),
            "within_sd": float(shots.std(ddof=1)), "retrieval_at_1": float((shots > 0.55).mean()),
        }  # fmt: skip
        consistency = {"pairwise": min(1.0, mean + 0.1), "scene_contrast": float(shots.std())}
        counts = {"n_evaluated": len(shots), "n_failed": 0, "n_skipped": 0}
        made = {"reference_fidelity": fidelity, "cross_shot_consistency": consistency}
        return {
            "story_id": story_id, "ip_id": ip_id, "track": "main",
            "flags": [self.gated_by] if self.gated_by else [],
            "captions": [f"Shot {index + 1} of {story_id}." for index in range(len(shots))],
            **{metric: {**made[metric], **counts} for metric in self.signatures},
        }  # fmt: skip

    def _shot(self, ip_id: str, story_id: str, index: int, value: float) -> dict[str, Any]:
        return {
            "story_id": story_id, "ip_id": ip_id, "shot_index": index, "caption": "", "num_frames": 5,
            "values": {"reference_fidelity/reference_fidelity": value, "reference_fidelity/margin": value / 4},
            "problems": {},
        }  # fmt: skip

    def _corpus(self, stories: list[dict[str, Any]]) -> dict[str, Any]:
        corpus: dict[str, Any] = {}
        for metric in self.signatures:
            directions = _FIDELITY if metric == "reference_fidelity" else _CONSISTENCY
            corpus[metric] = {}
            for name, direction in directions.items():
                values = np.array([story[metric][name] for story in stories])
                half = 1.96 * float(values.std()) / len(values) ** 0.5
                corpus[metric][name] = {
                    "value": float(values.mean()), "low": float(values.mean()) - half,
                    "high": float(values.mean()) + half, "n_evaluated": len(stories), "n_failed": 0, "n_skipped": 0,
                    "direction": direction,
                }  # fmt: skip
        return corpus

    def write(self, path: Path) -> Path:
        """Write a lone file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document()))
        return path

    def write_folder(self, folder: Path, *, frames: bool = True) -> Path:
        """Write a results folder with a strip of frames for each story."""
        self.write(folder / "results.json")
        if frames:
            (folder / "frames").mkdir(exist_ok=True)
            for number, (_, story_id) in enumerate(self.story_ids()):
                (folder / "frames" / f"{story_id}.jpg").write_bytes(self.strip(number))
        return folder

    def strip(self, number: int) -> bytes:
        """A contact strip: a row per shot, the reference in front; a picture of its own for each story and seed."""
        draw = np.random.default_rng((self.seed, number))
        tile, hue = 40, draw.integers(0, 255, 3)
        rows = []
        for shot in range(self.shots):
            tiles = [np.full((tile, tile, 3), hue)]
            for frame in range(3):
                sky = np.linspace(hue, draw.integers(90, 255, 3), tile)[:, None].repeat(tile * 16 // 9, 1)
                sky[12:30, 10 + 6 * frame + shot : 24 + 6 * frame + shot] = 255 - hue
                tiles.append(sky)
            rows.append(np.concatenate(tiles, axis=1))
        stream = io.BytesIO()
        Image.fromarray(np.concatenate(rows).astype(np.uint8)).save(stream, "JPEG", quality=80)
        return stream.getvalue()
