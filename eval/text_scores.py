"""Score how well shots show, or sound like, what their captions say.

In:  rows of unit length that a model has already made of frames (or of sound) and of captions; no model is loaded here.
Out: the similarity of each shot to its own caption, and how it stands against the other captions of its story.

A similarity alone says little: image-text models give .15 to .35 to nearly everything, and a caption of few words lies
near every picture. So each shot is also held against the captions of the other shots. Pictures that are all the same
get a contrast of exactly 0 on average over the story, whatever they show, so repetition does not raise it.

Captions are longer than the models read: CLIP takes 77 tokens and was trained on far fewer, SigLIP 2 takes 64. What is
cut off would not count, so a long caption is split at its sentences and its row is the mean of theirs.

Shape letters used below
    F rows of one shot    S shots and their captions    P parts of a caption    D embedding width
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.aggregate import mean

__all__ = ["MAX_WORDS", "Match", "embed_captions", "join_rows", "match_own", "match_probability", "normal_text"]
__all__ += ["split_caption", "text_similarity"]

MAX_WORDS = 40
"""Words of a caption that are read at once. Our choice: English takes 1.2 to 1.5 tokens a word, so 40 words fit into
the 64 tokens of SigLIP 2 and the 77 of CLIP."""

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")
_CLAUSE_END = re.compile(r"(?<=[,:])\s+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """One shot against the captions of its story."""

    own: float
    """Similarity to its own caption, in [-1, 1]; higher is better."""

    contrast: float | None = None
    """Own minus the mean of the others, in [-2, 2]; higher is better, 0 is chance. None if there is no other."""

    retrieval_at_1: float | None = None
    """1 if its own caption lies above every other one, else 0; a tie is 0. Chance is one over the captions."""

    auc: float | None = None
    """Share of the other captions that lie below its own, ties half; chance is .5 for any number of captions."""


def text_similarity(rows_FD: NDArray[np.float32], texts_SD: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean cosine of a shot's rows with each text, shape (S,), in [-1, 1].

    Args:
        rows_FD: Rows of unit length of one shot: one per frame, or one for its sound.
        texts_SD: Rows of unit length of the texts.

    Raises:
        ValueError: If there is no row, the widths differ, or one is not finite.
    """
    if rows_FD.ndim != 2 or texts_SD.ndim != 2 or not len(rows_FD) or rows_FD.shape[1] != texts_SD.shape[1]:
        raise ValueError(f"Rows of a shot and of texts do not fit together, got {rows_FD.shape} and {texts_SD.shape}.")
    cosines_SF = texts_SD.astype(np.float64) @ rows_FD.astype(np.float64).T
    if not np.isfinite(cosines_SF).all():
        raise ValueError("A row is not finite; leave out what could not be encoded.")
    return np.asarray([mean(row) for row in np.clip(cosines_SF, -1.0, 1.0).tolist()])


def match_own(similarity_S: NDArray[np.float64], texts: Sequence[str], own: int) -> Match:
    """Return how a shot's own text stands against the others.

    A text that says the same as its own (but for case and spaces) is no other one: nothing tells them apart. Texts
    that are said several times count as often.

    Args:
        similarity_S: Of the shot with each text.
        texts: The texts; an empty one is no text.
        own: Which is the shot's.

    Raises:
        ValueError: If there are not as many similarities as texts, or its own text is empty.
    """
    if len(similarity_S) != len(texts):
        raise ValueError(f"Similarities and texts must be equally many, got {len(similarity_S)} and {len(texts)}.")
    said = [normal_text(text) for text in texts]
    if not said[own]:
        raise ValueError("A shot without a caption has no match.")
    value = float(similarity_S[own])
    others = [float(s) for s, text in zip(similarity_S, said, strict=True) if text and text != said[own]]
    if not others:
        return Match(own=value)
    return Match(
        own=value,
        contrast=value - mean(others),
        retrieval_at_1=float(value > max(others)),
        auc=mean([1.0 if value > other else 0.5 if value == other else 0.0 for other in others]),
    )


def match_probability(similarity: float, scale: float, bias: float) -> float:
    """Return the probability that a sigmoid-trained model (SigLIP) gives to a pair, in [0, 1]; higher is better.

    Args:
        similarity: Cosine.
        scale: By which the model multiplies it, after its exponential.
        bias: What the model adds.

    Source: SigLIP, arXiv 2303.15343, algorithm 1.
    """
    logit = scale * similarity + bias
    return float(0.5 * (1.0 + np.tanh(0.5 * logit)))


def normal_text(text: str) -> str:
    """Return a text as it is compared: lower case, single spaces, no full stop at its end."""
    return " ".join(text.casefold().split()).rstrip(".")


def split_caption(caption: str, max_words: int = MAX_WORDS) -> tuple[str, ...]:
    """Return a caption in parts of at most so many words: whole sentences where they fit, then clauses, then words.

    A caption that fits is one part and stays as it is, so that its row is the model's own. An empty caption has none.

    Raises:
        ValueError: If the number of words is below 1.

    Example:
        >>> split_caption("A fox runs. It jumps over a fence, and lands.", max_words=6)
        ('A fox runs.', 'It jumps over a fence,', 'and lands.')
    """
    if max_words < 1:
        raise ValueError(f"max_words must be at least 1, got {max_words}.")
    text = caption.strip()
    if len(text.split()) <= max_words:
        return (text,) if text else ()
    pieces: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        if len(sentence.split()) <= max_words:
            pieces.append(sentence)
            continue
        for clause in _CLAUSE_END.split(sentence):
            words = clause.split()
            pieces += [" ".join(words[at : at + max_words]) for at in range(0, len(words), max_words)]
    parts: list[str] = []
    for piece in pieces:
        if parts and len(parts[-1].split()) + len(piece.split()) <= max_words:
            parts[-1] += " " + piece
        else:
            parts.append(piece)
    return tuple(parts)


def embed_captions(
    captions: Sequence[str], embed_text: Callable[[Sequence[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return one row of unit length per caption, shape (S, D); a long one is read in parts, see `split_caption`.

    Args:
        captions: None of them empty.
        embed_text: Of a model; it gets every part once.

    Raises:
        InputError: If the parts of a caption cancel out, or the model refuses one.
    """
    parts = [split_caption(caption) for caption in captions]
    distinct = list(dict.fromkeys(part for of_caption in parts for part in of_caption))
    row_of = dict(zip(distinct, embed_text(distinct), strict=True))
    return np.stack([join_rows(np.stack([row_of[part] for part in of_caption])) for of_caption in parts])


def join_rows(parts_PD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the row of a text from those of its parts: their mean, brought to unit length, shape (D,).

    Raises:
        InputError: If there is no part, or the parts cancel out.
    """
    if parts_PD.ndim != 2 or not len(parts_PD):
        raise InputError(f"A text has at least one part, got rows of shape {parts_PD.shape}.")
    if len(parts_PD) == 1:
        return np.asarray(parts_PD[0], dtype=np.float32)
    mean_D = parts_PD.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(mean_D))
    if length < 1e-9:
        raise InputError("The rows of a text's parts cancel out.")
    return (mean_D / length).astype(np.float32)
