"""The words of every number that a board may show: its title, what it means, and its task in a benchmark.

A number that this file does not know is shown all the same, under its own name, when somebody asks for its column.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "BACKBONES",
    "ColumnWords",
    "backbone_of",
    "column_place",
    "column_words",
    "known_metrics",
    "metric_title",
    "variant_label",
]

BACKBONES = ("classical", "clip", "siglip2", "dinov2", "dinov3", "dreamsim", "ccip", "csd", "clap", "pe-av")
"""Names by which a signature tells who encoded."""

METRIC_TITLES = {
    "reference_fidelity": "Reference fidelity",
    "cross_shot_consistency": "Cross-shot consistency",
    "shot_controls": "Controls",
    "text_alignment": "Text alignment",
    "audio_alignment": "Sound",
    "character_assignment": "Several characters",
    "judge_pointwise": "MLLM judge",
    "attribute_identity": "Recovered attributes",
    "paper_clip": "CLIP similarity",
    "paper_dreamsim": "DreamSim distance",
    "paper_gpt_4o": "Judge: GPT-4o, 1-10",
    "paper_gemini_2_5_pro": "Judge: Gemini 2.5 Pro, 1-10",
    "paper_human": "Ten people, 1-5",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnWords:
    """What is said of a column."""

    title: str
    """Heading."""

    meaning: str
    """One or two sentences."""

    is_headline: bool = False
    """Whether it is shown at first, and its neighbours are compared."""

    task: str = ""
    """Task of a benchmark that it answers, with {backbone} where one belongs; "" if it answers none."""


def _words(title: str, meaning: str, *, headline: bool = False, task: str = "") -> ColumnWords:
    return ColumnWords(title=title, meaning=meaning, is_headline=headline, task=task)


_VIEWS = {"": "whole frames", "character": "the regions of the character", "foreground": "the foreground"}
_VIEWS |= {"background": "the background", "style": "style"}


def _consistency_words() -> dict[str, ColumnWords]:
    """Return the words of the consistency of every view; the title of a view's mean over pairs is the view."""
    known = {}
    for view, words in _VIEWS.items():
        head, prefix = (f"{view.capitalize()}: ", f"{view}_") if view else ("", "")
        pairs = f"Mean similarity of all pairs of shots of a story, {words}."
        if view == "character":
            pairs = f"{pairs[:-1]}; only shots in which it is scheduled and found."
        known[f"{prefix}pairwise"] = _words(
            view.capitalize() or "Pairwise",
            pairs,
            headline=view == "character",
            task="cross_shot_char" if view == "character" else "",
        )
        others = {
            "adjacent": ("adjacent", "Mean similarity of each shot to the next"),
            "anchor": ("anchor", "Mean similarity of every shot to the first"),
            "gap_slope": ("gap slope", "Change of the similarity for each shot that lies between two"),
            "loo_centroid": ("to the others", "Similarity of a shot to the mean of the other shots of its story"),
        }
        for name, (title, meaning) in others.items():
            shown = f"{head}{title}" if head else title.capitalize()
            known[f"{prefix}{name}"] = _words(shown, f"{meaning}, {words}.")
    known["scene_contrast"] = _words(
        "Scene contrast",
        "Similarity of backgrounds in the same scene minus that in different scenes; a repeated picture gives 0.",
        headline=True,
        task="scene_contrast",
    )
    known["scene_auc"] = _words("Scene AUC", "Chance that backgrounds of one scene are more alike than of two scenes.")
    known["found_rate"] = _words("Found", "Share of scheduled characters that were found.")
    return known


_WORDS = {
    "reference_fidelity": {
        "harmean_p": _words(
            "HarMeanP",
            "Similarity to the reference: harmonic mean of a story's shots times its worst shot, then the mean over"
            " stories (the paper's headline). One lost shot pulls it down.",
            headline=True,
            task="ref_fidelity_{backbone}_harmeanp",
        ),
        "mean": _words("Mean", "Mean similarity of a story's shots to the reference of its character.", headline=True),
        "min": _words("Worst shot", "Similarity of a story's worst shot to the reference."),
        "within_sd": _words("Spread", "Standard deviation of the similarity over the shots of a story."),
        "slope": _words("Slope", "Change of the similarity from shot to shot: below 0, the character drifts away."),
        "retrieval_at_1": _words(
            "Retrieval",
            "Share of shots that are more alike to their own character's reference than to that of any other.",
            headline=True,
            task="ref_retrieval_at1",
        ),
        "margin": _words("Margin", "Similarity to the own reference minus the best of other characters' references."),
        "distance_harmean_p": _words("Distance HarMeanP", "1 - HarMeanP, as the paper reports distances."),
        "distance_mean": _words("Distance mean", "1 - mean similarity, as the paper reports distances."),
        "found_rate": _words("Found", "Share of scheduled characters that were found."),
        "auc": _words("AUC", "Chance that a shot is more alike to its own reference than to another; .5 is chance."),
        "macro_auc": _words("Macro AUC", "The AUC as a mean over characters, so that no character counts more."),
    },
    "cross_shot_consistency": _consistency_words(),
    "text_alignment": {
        "caption_contrast": _words(
            "Own caption",
            "Similarity of each shot to its own caption minus that to the other captions of its story; repeating one"
            " picture gives 0.",
            headline=True,
        ),
        "caption_similarity": _words("Similarity", "Similarity of each shot to its caption.", task="text_alignment"),
        "caption_auc": _words("AUC", "Chance that a shot is more alike to its own caption than to another."),
        "caption_retrieval_at_1": _words("Retrieval", "Share of shots that are most alike to their own caption."),
        "caption_probability": _words("Probability", "Chance of a match, as the backbone was trained to say."),
        "captions_truncated": _words("Cut captions", "Share of captions longer than the backbone reads."),
    },
    "audio_alignment": {
        "sync_auc": _words(
            "Sync",
            "Chance that a shot fits its own sound better in time than the sounds of other shots; .5 is chance.",
            headline=True,
        ),
        "sound_text_contrast": _words("Sound and words", "Similarity to the own description minus that to others."),
        "sound_video_contrast": _words("Sound and picture", "Similarity to the own picture minus that to others."),
        "sound_text": _words("Described", "Similarity of the sound to what should be heard.", task="audio_alignment"),
        "clipping_share": _words("Clipping", "Share of samples that are cut off."),
        "silence_share": _words("Silence", "Share of the time without sound."),
    },
    "character_assignment": {
        "cast_fidelity": _words(
            "Cast",
            "Likeness of each character's region to whom it should be, times the F1 of finding the cast.",
            headline=True,
            task="character_assignment",
        ),
        "binding_accuracy": _words("Who is who", "Share of regions that are most alike to whom they should be."),
        "assigned_fidelity": _words("Likeness", "Similarity of the best assignment of regions to characters."),
        "swap_margin": _words("Margin", "Similarity to the own character minus the best other one of the story."),
        "found_rate": _words("Found", "Share of scheduled characters that were found."),
        "count_error": _words("Miscount", "Difference of the numbers of regions and of scheduled characters."),
    },
    "shot_controls": {
        "residual_top5": _words("Motion", "Motion of the fastest twentieth that no camera explains, px per 1/8 s."),
        "dynamic_top5": _words("With camera", "Motion of the fastest twentieth with the camera in it, px per 1/8 s."),
        "held_frame_ratio": _words("Held frames", "Share of neighbouring frames that are one drawing; legal in anime."),
        "order_ratio": _words("Order", "Change between neighbours in parts of that between distant frames."),
        "shot_duplication": _words("Duplication", "Agreement of the two shots of a story that are most alike."),
        "copy_match": _words("Copied reference", "How exactly a reference is found in the pixels of a shot, 0 to 1."),
        "copy_paste_mirror": _words("Mirror", "Share for the reference against its mirror image; .5 without copying."),
    },
    "attribute_identity": {
        "identity": _words(
            "Recovered",
            "Share of the character's true attributes that are read back from the pictures.",
            headline=True,
            task="attribute_identity",
        ),
        "chance": _words("By chance", "The share that a guess would recover."),
    },
    "judge_pointwise": {
        "oq": _words("Quality", "Overall quality, 1 to 10, each system judged alone.", task="judge_pointwise_oq"),
        "crc": _words(
            "Character", "Consistency with the reference, 1 to 10.", headline=True, task="judge_pointwise_crc"
        ),
        "msc": _words("Style", "Consistency of style over the shots, 1 to 10.", task="judge_pointwise_msc"),
        "mcc": _words("Context", "Consistency of the context over the shots, 1 to 10.", task="judge_pointwise_mcc"),
    },
}  # fmt: skip

_PAPER = {
    **{f"shot_{n}": _words(f"Shot {n}", f"Shot {n} of each story, as the paper reports it.") for n in range(1, 5)},
    "mean": _words("Mean", "Mean of the four shots, as the paper reports it.", headline=True),
    "harmean_p": _words("HarMeanP", "Harmonic mean times the worst shot, as the paper reports it.", headline=True),
    "oq": _words("OQ", "Overall quality. The paper judges three systems in one prompt, so it is relative to them."),
    "crc": _words("CRC", "Consistency with the reference; relative to the three systems.", headline=True),
    "msc": _words("MSC", "Consistency of style over the shots; relative to the three systems.", headline=True),
    "mcc": _words("MCC", "Consistency of the context over the shots; relative to the three systems.", headline=True),
}


def column_words(metric: str, name: str) -> ColumnWords:
    """Return what is said of a number; words made from its name where this file does not know it."""
    known = _PAPER if metric.startswith("paper_") else _WORDS.get(metric, {})
    if name in known:
        return known[name]
    title = name.replace("_", " ")
    return _words(title[:1].upper() + title[1:], f"The number `{name}` of {metric}; the metric's card defines it.")


def column_place(metric: str, name: str) -> int:
    """Return where a number stands among those of its metric; what this file does not know comes last."""
    known = list(_PAPER if metric.startswith("paper_") else _WORDS.get(metric, {}))
    return known.index(name) if name in known else len(known)


def known_metrics() -> frozenset[str]:
    """Return the metrics of which this file knows numbers."""
    return frozenset(_WORDS) | {metric for metric in METRIC_TITLES if metric.startswith("paper_")}


def metric_title(metric: str) -> str:
    """Return the heading of a metric."""
    return METRIC_TITLES.get(metric, metric.replace("_", " ").capitalize())


def backbone_of(signature: str) -> str:
    """Return which backbone a signature names, "" if it names none.

    Example:
        >>> backbone_of("reffid|clip-vit-l14@abc|view:full|k:5bc|v1"), backbone_of("as reported")
        ('clip', '')
    """
    for part in re.split(r"[|;,\s]", signature.lower()):
        for name in sorted(BACKBONES, key=len, reverse=True):
            if re.match(rf"(?:backbone[:=])?{re.escape(name)}(?![a-z0-9])", part):
                return name
    return ""


def variant_label(signature: str, others: Sequence[str]) -> str:
    """Return what sets a signature apart from others of the same metric, "" if it is the only one.

    Example:
        >>> variant_label("reffid|clip@1|view:full|v1", ["reffid|clip@1|view:full|v1", "reffid|ccip@2|view:full|v1"])
        'clip@1'
    """
    rest = [other.split("|") for other in set(others) if other != signature]
    if not rest:
        return ""
    parts = signature.split("|")
    own = [part for part in parts if any(part not in other for other in rest)]
    return " ".join(part if len(part) <= 28 else f"{part[:27]}…" for part in own) or "other parts fewer"
