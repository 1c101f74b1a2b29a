"""How a story stands in a prompt: its references, its captions, then the sheets of each system under its name."""

import json
from collections.abc import Sequence

from animeshooter_hf.eval.judge.grid import SentPicture
from animeshooter_hf.eval.judge.story_pictures import StoryPictures

__all__ = ["story_parts"]


def story_parts(
    captions: Sequence[str], shown: Sequence[StoryPictures], labels: Sequence[str]
) -> list[str | SentPicture]:
    """Return the parts of a story, in order; the references of the first system speak for all.

    Captions and names go in as JSON texts, so that none of them can pass for words of the prompt.
    """
    parts: list[str | SentPicture] = []
    for name, picture in shown[0].references:
        parts += [f"Reference picture of {json.dumps(name, ensure_ascii=False)}:", picture]
    if captions:
        listed = {f"shot {number}": text for number, text in enumerate(captions, start=1)}
        parts.append("Captions:\n" + json.dumps(listed, ensure_ascii=False, indent=0))
    else:
        parts.append("There are no captions: judge by MCC whether the shots follow from each other.")
    for label, pictures in zip(labels, shown, strict=True):
        for first, sheet in zip(pictures.first_shots, pictures.sheets, strict=True):
            which = "" if len(pictures.sheets) == 1 else f", rows from shot {first + 1}"
            parts += [f"{label}{which}:", sheet]
    return parts
