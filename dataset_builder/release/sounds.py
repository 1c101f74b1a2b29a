"""What is heard in a shot, as the release and all that is like it write it down."""

from collections.abc import Mapping

from animeshooter_hf.dataset_builder.release.keys import AUDIO, read_keys
from animeshooter_hf.dataset_builder.release.values import Place, is_nothing, read_text, show
from animeshooter_hf.records import AudioAnnotation

__all__ = ["read_audio_annotation"]


def read_audio_annotation(
    value: object, what: str, place: Place, *, max_keys: int | None = None
) -> AudioAnnotation | None:
    """Return the audio annotation of a shot, or None if there is none that says something.

    Args:
        value: A JSON value.
        what: The shot, in words, for reports.
        place: Where reports go.
        max_keys: An object of more keys is none; None sets no limit.
    """
    if isinstance(value, list):
        if len(value) > 1:
            place.report("audio_several", f"{what} has {len(value)} audio annotations")
        value = value[0] if value else None
    if is_nothing(value):
        return None
    if isinstance(value, str):
        place.report("type_coerced", f"the audio annotation of {what} is the text {show(value)}")
        value = {"sound description": value}
    if not isinstance(value, Mapping) or (max_keys is not None and len(value) > max_keys):
        place.report("object_unreadable", f"the audio annotation of {what} is {show(value)}")
        return None
    fields = read_keys(value, AUDIO, "an audio annotation", place)
    texts = {key: read_text(fields.get(key), f"the {key} of {what}", place) or "" for key in set(AUDIO.values())}
    if not any(texts.values()):
        return None
    if not texts["audio_type"]:
        place.report("audio_type_missing", f"the audio annotation of {what}")
    return AudioAnnotation(**texts)
