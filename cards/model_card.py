"""Write the card of a pipeline's checkpoint from what the pipeline knows about itself; what nobody said is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from animeshooter_hf._version import __version__

__all__ = ["CardFacts", "model_card", "write_model_card"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """What a card tells beside what stands in the pipeline."""

    sources: Mapping[str, Any] = field(default_factory=dict)
    """Component -> `PartSource`."""

    mllm_pointer: tuple[str, str | None] | None = None
    """Base and revision, where the checkpoint holds a pointer in place of the multimodal model."""

    datasets: Sequence[str] = ()
    """Repositories of the datasets that it was trained on."""

    licence: str | None = None
    """Identifier on the Hub of the licence of the weights that are new."""

    repo_id: str | None = None
    """Where the checkpoint will stand on the Hub."""


def model_card(pipeline: Any, facts: CardFacts | None = None) -> str:
    """Return the card of an `AnimeShooterGenPipeline` as Markdown with a YAML header.

    It says plainly where the weights come from, and shows nothing that is not known.
    """
    facts = facts or CardFacts()
    environment = Environment(
        loader=PackageLoader("animeshooter_hf.cards", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not a page; nothing in it comes from strangers.
    )
    decoder = pipeline.decoder
    frames, height, width = decoder.default_size
    is_random = pipeline.config.weights_origin == "random"
    return environment.get_template("model_card.md.jinja").render(
        adapter=pipeline.adapter.config,
        facts=facts,
        frame_rate=pipeline.config.frame_rate,
        frames=frames,
        guidance_scale=pipeline.config.guidance_scale,
        header=_header(facts, is_random=is_random),
        height=height,
        is_random=is_random,
        is_incremental=pipeline.backbone.is_incremental,
        max_caption_tokens=pipeline.config.max_caption_tokens,
        max_image_pixels=pipeline.config.max_image_pixels,
        max_shots=pipeline.config.max_shots,
        mllm_lora=_lora_of(pipeline.mllm),
        needs_snapshot=bool(facts.mllm_pointer or _lora_of(pipeline.mllm)),
        parts=_parts(pipeline, facts),
        steps=pipeline.config.num_inference_steps,
        version=__version__,
        weights_origin=pipeline.config.weights_origin,
        width=width,
    )


def write_model_card(pipeline: Any, folder: Path, facts: CardFacts | None = None) -> Path:
    """Write the card as the folder's README.md and return its path."""
    path = folder / "README.md"
    path.write_text(model_card(pipeline, facts), encoding="utf-8")
    return path


def _header(facts: CardFacts, *, is_random: bool) -> str:
    """Return the YAML header, with only the keys that are known."""
    bases = [source.repository for source in facts.sources.values()]
    if facts.mllm_pointer and "/" in facts.mllm_pointer[0] and not facts.mllm_pointer[0].startswith("."):
        bases.append(facts.mllm_pointer[0])
    tags = ["animeshooter", "animation", "multi-shot", "reference-guided", "text-to-video"]
    header: dict[str, Any] = {"library_name": "diffusers", "pipeline_tag": "image-to-video"}
    if facts.licence:
        header["license"] = facts.licence
    if bases:
        header["base_model"] = list(dict.fromkeys(bases))
    if facts.datasets:
        header["datasets"] = list(facts.datasets)
    header["tags"] = [*tags, "random-weights"] if is_random else tags
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True)


def _parts(pipeline: Any, facts: CardFacts) -> list[dict[str, Any]]:
    parts = []
    for name, component in pipeline.components.items():
        if not hasattr(component, "parameters"):
            continue
        source = facts.sources.get(name)
        is_pointed = name == "mllm" and facts.mllm_pointer is not None
        where = f"[{source.repository}](https://huggingface.co/{source.repository})" if source else "this checkpoint"
        if source and source.revision:
            where += f" at `{source.revision[:12]}`"
        if is_pointed and not source:
            where = f"`{facts.mllm_pointer[0]}`" if facts.mllm_pointer else where
        parts.append(
            {
                "name": name,
                "class_name": type(component).__name__,
                "num_weights": sum(weight.numel() for weight in component.parameters()),
                "source": where + (", not in here" if is_pointed else ""),
                "licence": (source.licence if source else None) or ("see there" if source or is_pointed else "as here"),
            }
        )
    return parts


def _lora_of(mllm: Any) -> dict[str, Any] | None:
    """Return rank and alpha of the multimodal model's LoRA, if it has one."""
    for config in (getattr(mllm, "peft_config", None) or {}).values():
        return {"rank": config.r, "alpha": config.lora_alpha}
    return None
