"""Ask whether a cut-out is a good reference image, and read the answer.

The five criteria are the paper's: completeness, agreement with the description, consistency (one figure), neutral pose,
sharpness (AnimeShooter, arXiv 2506.03126, section 3; there InternVL answers). All have to hold.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.annotate.annotator import Annotator, VerifyRequest
from animeshooter_hf.dataset_builder.annotate.prompts import load_prompt
from animeshooter_hf.dataset_builder.annotate.question import Picture, Question, Text
from animeshooter_hf.dataset_builder.references.pictures import cut_out, encode_jpeg, outline
from animeshooter_hf.dataset_builder.references.verdicts import Verification
from animeshooter_hf.dataset_builder.script.issues import IssueLog
from animeshooter_hf.dataset_builder.script.json_text import extract_json
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.records import Character, Story

__all__ = ["CRITERIA", "ask_verifier", "make_request", "parse_verdict", "verify_question"]

CRITERIA = ("complete", "matches_description", "single_figure", "neutral_pose", "sharp")
"""What is asked, in order."""

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {**{name: {"type": "boolean"} for name in CRITERIA}, "reason": {"type": "string"}},
    "required": [*CRITERIA, "reason"],
    "additionalProperties": False,
}
"""JSON schema of the answer."""

_YES, _NO = {"true", "yes", "y", "1"}, {"false", "no", "n", "0"}


def make_request(
    film: FilmSource,
    story: Story,
    character: Character,
    frame: int,
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
) -> VerifyRequest:
    """Return the request for a cut-out: the frame with the mask's outline, and the figure alone.

    Args:
        film: The film.
        story: The story.
        character: Who it should show.
        frame: Ordinal in the film.
        image: Shape (height, width, 3), RGB.
        mask: Shape (height, width), as it would be kept.
    """
    return VerifyRequest(
        film=film,
        story=story,
        character=character,
        frame=frame,
        frame_jpeg=encode_jpeg(outline(image, mask)),
        cutout_jpeg=encode_jpeg(cut_out(image, mask)),
    )


def verify_question(request: VerifyRequest) -> Question:
    """Return the question that a model is asked about a cut-out."""
    prompt = load_prompt("verify_reference")
    others = [f"{one.id} ({one.appearance})" for one in request.story.characters if one.id != request.character.id]
    text = prompt.fill(
        character_id=request.character.id,
        appearance=request.character.appearance or "(none)",
        others="; ".join(others) or "(none)",
    )
    return Question(
        name="verify_reference",
        parts=(Text(text), Picture(request.frame_jpeg), Picture(request.cutout_jpeg)),
        schema=SCHEMA,
        max_output_tokens=512,
        prompt_hash=prompt.sha256,
    )


def ask_verifier(annotator: Annotator, request: VerifyRequest) -> Verification:
    """Return what an annotator says of a cut-out; a call that failed is a problem, never a no."""
    answer = annotator.verify_reference(request)
    if answer.outcome != "ok" or answer.text is None:
        return Verification(passed=False, problem=f"{answer.outcome}: {answer.detail}".strip(": "))
    return parse_verdict(answer.text)


def parse_verdict(text: str) -> Verification:
    """Return what an answer says; it is total: whatever is no answer becomes a problem.

    The JSON object that answers the most criteria counts, wherever it stands in the text. Yes and no may be booleans,
    1 and 0, or words. A criterion that is missing or odd counts as not held.

    Example:
        >>> parse_verdict('{"complete": true, "matches_description": "no"}').failed_criteria
        ('matches_description', 'single_figure', 'neutral_pose', 'sharp')
    """
    found = extract_json(text, IssueLog(), rank=lambda value: len(_answers(value)))
    answers = _answers(found.value)
    if not answers:
        return Verification(passed=False, problem="the answer holds no verdict")
    failed = tuple(name for name in CRITERIA if answers.get(name) is not True)
    return Verification(passed=not failed, failed_criteria=failed)


def _answers(value: object) -> dict[str, bool]:
    """Return criterion -> answer, for those that a JSON value answers with yes or no."""
    if not isinstance(value, Mapping):
        return {}
    truths = {name: _truth(value[name]) for name in CRITERIA if name in value}
    return {name: truth for name, truth in truths.items() if truth is not None}


def _truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    return True if word in _YES else False if word in _NO else None
