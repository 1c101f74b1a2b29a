"""Does a server really hold its answers to the schema? Some take one and ignore it without a word (vLLM before 0.12).

Nothing else depends on it, since no answer is trusted before it is checked; it is recorded in the provenance, and tells
why one server needs many more repairs than another.
"""

import json

from animeshooter_hf.dataset_builder.annotate.question import Model, Question, Text

__all__ = ["probe_constrained"]

_IMPOSSIBLE = "zq-7f3a9c"
"""A colour that no model says by itself."""

_QUESTION = Question(
    name="probe",
    parts=(Text('What is the colour of a clear sky at noon? Answer with JSON: {"colour": "..."}.'),),
    schema={
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": [_IMPOSSIBLE]}},
        "required": ["colour"],
        "additionalProperties": False,
    },
    max_output_tokens=64,
)


def probe_constrained(model: Model) -> bool | None:
    """Return whether answers are held to the schema, asking once; None if the question was not answered.

    With a `CachedModel` it is asked once and never again.
    """
    answer = model.ask(_QUESTION)
    if answer.outcome not in ("ok", "truncated", "invalid"):
        return None
    try:
        return bool(json.loads(answer.text or "") == {"colour": _IMPOSSIBLE})
    except ValueError:
        return False
