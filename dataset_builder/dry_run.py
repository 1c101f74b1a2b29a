"""What a build would do, before it does it: units, hours of decoding, questions, tokens, money.

Films are probed (packets only, each in a process of its own, kept as receipts); nothing is decoded and nobody is asked.
Units that have a receipt count as done. The figures of questions are estimates from the length of the films: one script
per segment with a picture a second, one check per second and per character in it, one description per eight seconds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from animeshooter_hf.dataset_builder.annotate.estimate import estimate_question
from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig
from animeshooter_hf.dataset_builder.annotate.prices import find_price
from animeshooter_hf.dataset_builder.annotate.prompts import load_prompt
from animeshooter_hf.dataset_builder.annotate.question import Part, Picture, Question, Sound, Text, Usage
from animeshooter_hf.dataset_builder.audio.describe import encode_wav
from animeshooter_hf.dataset_builder.build import find_items
from animeshooter_hf.dataset_builder.build_settings import BuildSettings, make_stages
from animeshooter_hf.dataset_builder.engine.ledger import Ledger, Plan, Unit
from animeshooter_hf.dataset_builder.engine.runner import LocalRunner
from animeshooter_hf.dataset_builder.engine.store import WorkStore

__all__ = ["DryRun", "QuestionEstimate", "estimate_questions", "plan_build"]

DECODED_PIXELS_PER_SECOND = 800 * 1280 * 720
"""Pixels that one core scans in a second. Our choice, from 720p films on a slow core; see benchmarks/RESULTS.md."""

_SCRIPT_PICTURE = (384, 216)
_FRAME_PICTURE = (1280, 720)
_CHARACTERS = 1.2
_AUDIO_SHOT_SECONDS = 8.0
_TYPICAL_OUTPUT = {"script": 2500, "verify_reference": 120, "audio_describe": 120, "admit_film": 80}


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionEstimate:
    """How often a question will be asked, and what it takes."""

    name: str
    """Which question."""

    calls: int
    """Times."""

    prompt_tokens: int
    """Read, in all."""

    output_tokens: int
    """Written, in all, in a typical case."""

    money: float | None
    """In the currency of the price table; None where it has no price of the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """What a build would do."""

    films: int
    """Films that can be probed."""

    refused: list[dict[str, Any]]
    """Films that would be left out, as far as probing tells."""

    film_hours: float
    """Length of the films."""

    todo: dict[str, int]
    """Stage -> units without a receipt."""

    done: dict[str, int]
    """Stage -> units with one."""

    decode_hours: float
    """Hours of one core for the scans that are to be done."""

    questions: list[QuestionEstimate]
    """Questions to a model."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def plan_build(
    specs: Sequence[str | Path], work: str | Path, settings: BuildSettings, *, progress: bool = True
) -> DryRun:
    """Return what a build of these films would do.

    Raises:
        InputError: If a source cannot be used, or none gives a film.
    """
    store = WorkStore(work)
    stages = make_stages(settings)
    items, refused = find_items(specs, store.folder, settings, progress=progress)
    run = LocalRunner(stages[:1], store, settings.run).run(items, progress=progress)
    ledger, plan = Ledger(store), Plan.of(stages, items)
    finished = ledger.finished([stage.name for stage in stages])
    todo = dict.fromkeys((stage.name for stage in stages), 0)
    done = dict(todo)
    seconds = scans = asked = 0.0
    for item in items:
        keys = plan.keys[item.id]
        receipt = ledger.receipt(Unit("probe", item.id, keys["probe"]))
        if receipt is None or receipt["outcome"] != "ok":
            continue
        info = receipt["output"]["info"]
        seconds += info["duration_seconds"]
        for stage, key in keys.items():
            missing = f"{item.id}.{key}" not in finished[stage]
            (todo if missing else done)[stage] += 1
            if missing and stage == "scan":
                scans += info["num_frames"] * info["width"] * info["height"] / DECODED_PIXELS_PER_SECOND
            if missing and stage == "script" and settings.annotator.kind_for(item.path, item.annotation) == "model":
                asked += info["duration_seconds"]
    left_out = [{"film": name, "reason": reason} for name, reason in {**run.dropped, **run.quarantined}.items()]
    return DryRun(
        films=done["probe"],
        refused=[*refused, *left_out],
        film_hours=seconds / 3600,
        todo=todo,
        done=done,
        decode_hours=scans / 3600,
        questions=estimate_questions(asked, settings) if settings.annotator.model and asked else [],
    )


def estimate_questions(seconds: float, settings: BuildSettings) -> list[QuestionEstimate]:
    """Return the questions about films of a length, for the model of the settings; see the top of this file."""
    model = settings.annotator.model
    if model is None:
        return []
    target = settings.segments.target_seconds
    segments = max(1, round(Fraction(seconds) / Fraction(target)))
    films = max(1, round(seconds / 286.57))
    script = [_picture(*_SCRIPT_PICTURE)] * round(min(target, seconds))
    sound = Sound(encode_wav(np.zeros(round(_AUDIO_SHOT_SECONDS * 16_000), np.float32), 16_000))
    asked: list[tuple[str, int, list[Part]]] = [
        ("admit_film", films, [_picture(*_SCRIPT_PICTURE)] * 16),
        ("script", segments, [_prompt(f"script_{settings.annotator.mode}"), *script]),
        ("audio_describe", round(seconds / _AUDIO_SHOT_SECONDS), [_prompt("audio_describe"), *script[:8], sound]),
    ]
    if settings.annotator.verify_references and settings.segmenter is not None:
        checks = round(seconds * settings.references.frames_per_second * _CHARACTERS)
        asked.append(("verify_reference", checks, [_prompt("verify_reference"), *[_picture(*_FRAME_PICTURE)] * 2]))
    return [_estimate(name, calls, parts, model) for name, calls, parts in asked]


def _estimate(name: str, calls: int, parts: list[Part], model: ModelConfig) -> QuestionEstimate:
    one = estimate_question(Question(name=name, parts=tuple(parts), schema={}), model.kind)
    usage = Usage(prompt_tokens=calls * one.prompt_tokens, output_tokens=calls * _TYPICAL_OUTPUT[name])
    price = find_price(model.model, Path(model.price_file) if model.price_file else None)
    return QuestionEstimate(
        name=name,
        calls=calls,
        prompt_tokens=usage.prompt_tokens,
        output_tokens=usage.output_tokens,
        money=None if price is None else round(price.money(usage, in_batch=model.batch), 4),
    )


def _prompt(name: str) -> Text:
    return Text(load_prompt(name).text)


def _picture(width: int, height: int) -> Picture:
    return Picture(bytes(cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1]))
