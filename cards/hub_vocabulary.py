"""The words that the Hub's metadata validator knows, as far as a dataset of this kind may use them.

Source: the Hub's dataset-card specification (datasetcard.md), its lists of licences and tasks, and the gating options
of its documentation. A head that `check_head` passes has no field or value that the Hub would complain about.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from animeshooter_hf.errors import InputError

__all__ = ["LICENCES", "SIZE_CATEGORIES", "TASKS", "check_head", "licence_address", "licence_title"]

LICENCES: Mapping[str, tuple[str, str | None]] = {
    "apache-2.0": ("Apache License 2.0", "https://spdx.org/licenses/Apache-2.0"),
    "mit": ("MIT License", "https://spdx.org/licenses/MIT"),
    "bsd-2-clause": ("BSD 2-Clause License", "https://spdx.org/licenses/BSD-2-Clause"),
    "bsd-3-clause": ("BSD 3-Clause License", "https://spdx.org/licenses/BSD-3-Clause"),
    "cc0-1.0": ("Creative Commons Zero 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "cc-by-2.0": ("Creative Commons Attribution 2.0", "https://creativecommons.org/licenses/by/2.0/"),
    "cc-by-2.5": ("Creative Commons Attribution 2.5", "https://creativecommons.org/licenses/by/2.5/"),
    "cc-by-3.0": ("Creative Commons Attribution 3.0", "https://creativecommons.org/licenses/by/3.0/"),
    "cc-by-4.0": ("Creative Commons Attribution 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "cc-by-sa-3.0": ("Creative Commons Attribution-ShareAlike 3.0", "https://creativecommons.org/licenses/by-sa/3.0/"),
    "cc-by-sa-4.0": ("Creative Commons Attribution-ShareAlike 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "cc-by-nc-2.0": (
        "Creative Commons Attribution-NonCommercial 2.0",
        "https://creativecommons.org/licenses/by-nc/2.0/",
    ),
    "cc-by-nc-3.0": (
        "Creative Commons Attribution-NonCommercial 3.0",
        "https://creativecommons.org/licenses/by-nc/3.0/",
    ),
    "cc-by-nc-4.0": (
        "Creative Commons Attribution-NonCommercial 4.0",
        "https://creativecommons.org/licenses/by-nc/4.0/",
    ),
    "cc-by-nd-4.0": (
        "Creative Commons Attribution-NoDerivatives 4.0",
        "https://creativecommons.org/licenses/by-nd/4.0/",
    ),
    "cc-by-nc-nd-3.0": (
        "Creative Commons Attribution-NonCommercial-NoDerivatives 3.0",
        "https://creativecommons.org/licenses/by-nc-nd/3.0/",
    ),
    "cc-by-nc-nd-4.0": (
        "Creative Commons Attribution-NonCommercial-NoDerivatives 4.0",
        "https://creativecommons.org/licenses/by-nc-nd/4.0/",
    ),
    "cc-by-nc-sa-2.0": (
        "Creative Commons Attribution-NonCommercial-ShareAlike 2.0",
        "https://creativecommons.org/licenses/by-nc-sa/2.0/",
    ),
    "cc-by-nc-sa-3.0": (
        "Creative Commons Attribution-NonCommercial-ShareAlike 3.0",
        "https://creativecommons.org/licenses/by-nc-sa/3.0/",
    ),
    "cc-by-nc-sa-4.0": (
        "Creative Commons Attribution-NonCommercial-ShareAlike 4.0",
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    ),
    "c-uda": ("Computational Use of Data Agreement", "https://spdx.org/licenses/C-UDA-1.0"),
    "cdla-sharing-1.0": ("Community Data License Agreement, Sharing 1.0", "https://spdx.org/licenses/CDLA-Sharing-1.0"),
    "cdla-permissive-1.0": (
        "Community Data License Agreement, Permissive 1.0",
        "https://spdx.org/licenses/CDLA-Permissive-1.0",
    ),
    "cdla-permissive-2.0": (
        "Community Data License Agreement, Permissive 2.0",
        "https://spdx.org/licenses/CDLA-Permissive-2.0",
    ),
    "etalab-2.0": ("Etalab Open License 2.0", "https://spdx.org/licenses/etalab-2.0"),
    "odc-by": ("Open Data Commons Attribution License", "https://spdx.org/licenses/ODC-By-1.0"),
    "odbl": ("Open Database License", "https://spdx.org/licenses/ODbL-1.0"),
    "pddl": ("Open Data Commons Public Domain Dedication", "https://spdx.org/licenses/PDDL-1.0"),
    "openrail": ("OpenRAIL", None),
    "unlicense": ("The Unlicense", "https://spdx.org/licenses/Unlicense"),
    "unknown": ("Unknown", None),
    "other": ("Other", None),
}
"""Identifier of the Hub -> (name, address of the text); those that a dataset may sensibly carry."""

SIZE_CATEGORIES: tuple[tuple[int, str], ...] = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)
"""(Fewer rows than this, the Hub's word); more are "n>1T"."""

TASKS: Mapping[str, tuple[str, ...]] = {
    "text-to-video": (),
    "image-to-video": (),
    "video-text-to-text": (),
    "video-classification": (),
    "text-to-audio": (),
    "text-to-image": (),
    "image-to-image": ("image-inpainting", "image-colorization", "super-resolution"),
    "image-to-text": ("image-captioning",),
    "image-segmentation": ("instance-segmentation", "semantic-segmentation", "panoptic-segmentation"),
    "mask-generation": (),
    "text-generation": ("dialogue-modeling", "dialogue-generation", "conversational", "language-modeling"),
    "summarization": ("news-articles-summarization", "news-articles-headline-generation"),
}
"""Task that datasets may carry -> its subtasks, as far as animation has to do with them."""

_ANNOTATORS = ("found", "crowdsourced", "expert-generated", "machine-generated", "no-annotation", "other")
_WRITERS = ("found", "crowdsourced", "expert-generated", "machine-generated", "other")
_MULTILINGUALITY = ("monolingual", "multilingual", "translation", "other")
_GATED_FIELDS = ("text", "checkbox", "country", "date_picker", "ip_location")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def licence_title(identifier: str) -> str | None:
    """Return the name of a licence of the Hub; None if it has none of its own."""
    return LICENCES[identifier][0] if identifier in LICENCES and identifier not in ("other", "unknown") else None


def licence_address(identifier: str) -> str | None:
    """Return the address of a licence's text; None if it has none of its own."""
    return LICENCES[identifier][1] if identifier in LICENCES else None


def check_head(head: Mapping[str, Any]) -> None:
    """Refuse a card's head that holds a field or a value that the Hub does not know.

    Raises:
        InputError: If so; the message names the field, the value and what is allowed.
    """
    for name, value in head.items():
        if name not in _CHECKS:
            raise InputError(f"The Hub knows no field {name!r} in the head of a dataset card.")
        if value is None or value == [] or value == "":
            raise InputError(f"The field {name!r} of the dataset card is empty; leave it out.")
        complaint = _CHECKS[name](value)
        if complaint:
            raise InputError(f"The field {name!r} of the dataset card {complaint}.")
    if head.get("license") == "other" and not head.get("license_name"):
        raise InputError("The licence 'other' needs a name (licence_name).")
    allowed = {one for task in head.get("task_categories", ()) for one in TASKS[task]}
    if wrong := sorted(set(head.get("task_ids", ())) - allowed):
        raise InputError(f"The task {wrong[0]!r} belongs to none of the card's task categories.")


def _one_of(allowed: Mapping[str, Any] | tuple[str, ...]) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        return None if value in allowed else f"must be one of {', '.join(allowed)}, got {value!r}"

    return check


def _each(check: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    def check_all(value: Any) -> str | None:
        if not isinstance(value, list):
            return f"must be a list, got {value!r}"
        return next((complaint for one in value if (complaint := check(one))), None)

    return check_all


def _is(kind: type) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        return None if isinstance(value, kind) else f"must be a {kind.__name__}, got {value!r}"

    return check


def _check_language(value: Any) -> str | None:
    is_code = isinstance(value, str) and (_LANGUAGE.fullmatch(value) or value in ("code", "multilingual"))
    return None if is_code else f"must hold ISO 639 codes such as 'en', got {value!r}"


def _check_source(value: Any) -> str | None:
    is_known = isinstance(value, str) and (value in ("original", "extended") or _REPOSITORY.fullmatch(value))
    return None if is_known else f"must hold 'original', 'extended' or repositories, got {value!r}"


def _check_gated_fields(value: Any) -> str | None:
    kinds = value.values() if isinstance(value, Mapping) else [value]
    wrong = [kind for kind in kinds if kind not in _GATED_FIELDS]
    return f"must ask for {', '.join(_GATED_FIELDS)}, got {wrong[0]!r}" if wrong else None


_CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    "license": _one_of(LICENCES),
    "license_name": lambda value: (
        None
        if isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9.-]*", value)
        else f"must be of small letters, digits, dots and hyphens, got {value!r}"
    ),
    "license_link": _is(str),
    "pretty_name": _is(str),
    "language": _each(_check_language),
    "multilinguality": _each(_one_of(_MULTILINGUALITY)),
    "task_categories": _each(_one_of(TASKS)),
    "task_ids": _each(_one_of(tuple(one for ids in TASKS.values() for one in ids))),
    "size_categories": _each(_one_of((*(name for _, name in SIZE_CATEGORIES), "n>1T"))),
    "annotations_creators": _each(_one_of(_ANNOTATORS)),
    "language_creators": _each(_one_of(_WRITERS)),
    "source_datasets": _each(_check_source),
    "tags": _each(_is(str)),
    "thumbnail": _is(str),
    "viewer": _is(bool),
    "extra_gated_heading": _is(str),
    "extra_gated_prompt": _is(str),
    "extra_gated_button_content": _is(str),
    "extra_gated_fields": _check_gated_fields,
    "configs": _each(_is(dict)),
    "dataset_info": _each(_is(dict)),
}
