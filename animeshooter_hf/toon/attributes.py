"""The attributes that a toon character is composed of, and which combinations are held out.

A character is a frozen record of eighteen choices. Captions never name any of them, so that only a reference picture
can tell who a character is; `ToonCharacter.appearance` does name them, because the dataset's `Character` record asks
for it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from random import Random

from animeshooter_hf.errors import InputError

__all__ = [
    "ATTRIBUTES",
    "CHARACTER_POOLS",
    "COLOURS",
    "HELD_OUT_ATTRIBUTES",
    "ToonCharacter",
    "draw_character",
    "is_held_out",
]

Colour = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

COLOURS: dict[str, Colour] = {
    "red": (226, 74, 66),
    "orange": (246, 148, 62),
    "yellow": (250, 208, 78),
    "lime": (168, 208, 76),
    "green": (74, 164, 98),
    "teal": (62, 176, 172),
    "blue": (74, 128, 216),
    "purple": (146, 102, 204),
    "pink": (246, 148, 178),
    "brown": (160, 108, 76),
    "cream": (250, 234, 204),
    "grey": (156, 162, 174),
    "white": (250, 250, 250),
    "black": (56, 54, 66),
}

_BODY_COLOURS = ("red", "orange", "yellow", "lime", "teal", "blue", "purple", "pink", "brown", "cream", "grey", "white")
_CLOTH_COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "black")

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "body": ("round", "egg", "pear", "boxy", "gumdrop", "peanut"),
    "height": ("short", "medium", "tall"),
    "body_colour": _BODY_COLOURS,
    "pattern": ("plain", "belly", "stripes", "spots", "two-tone", "zigzag", "patch", "star"),
    "pattern_colour": ("red", "orange", "yellow", "green", "blue", "purple", "brown", "cream", "white", "black"),
    "ears": ("none", "cat", "bear", "rabbit", "floppy", "antennae", "horns"),
    "hair": ("none", "tuft", "curl", "fringe", "mohawk"),
    "hat": ("none", "cap", "wizard", "top hat", "beanie", "crown", "flower", "party hat"),
    "hat_colour": _CLOTH_COLOURS,
    "eyes": ("dot", "round", "oval", "sleepy", "sparkling", "single"),
    "eye_colour": ("brown", "green", "blue", "purple", "red", "black"),
    "nose": ("none", "button", "beak", "snout", "triangle"),
    "cheeks": ("plain", "blush", "freckles", "whiskers"),
    "teeth": ("none", "fang", "buck teeth"),
    "accessory": ("none", "scarf", "glasses", "bow tie", "cape", "satchel", "necklace"),
    "accessory_colour": _CLOTH_COLOURS,
    "tail": ("none", "fluffy", "thin", "stub", "leaf"),
    "feet": ("paws", "boots", "long legs"),
}
"""Attribute -> its values. Eighteen dimensions, about 10**14 characters."""

HELD_OUT_ATTRIBUTES = ("body", "ears", "hat", "pattern")
"""The attributes whose combination decides whether a character is held out: 2,688 combinations."""

HELD_OUT_PERCENT = 15
"""Share of combinations held out of training. Our choice: enough for tests, few enough to see every value."""

CHARACTER_POOLS = ("all", "train", "held_out")
"""Which characters a film may draw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonCharacter:
    """A character: a name that says nothing about it, and one value for each attribute."""

    id: str
    """Name, unique in the film."""

    body: str = "round"
    """Outline of the body."""

    height: str = "medium"
    """Size beside other characters."""

    body_colour: str = "orange"
    """Main colour."""

    pattern: str = "plain"
    """Marking on the body."""

    pattern_colour: str = "cream"
    """Colour of the marking and of the hair."""

    ears: str = "none"
    """What grows at the sides of the head."""

    hair: str = "none"
    """What grows on top; a hat hides some of it."""

    hat: str = "none"
    """What is worn on top."""

    hat_colour: str = "blue"
    """Colour of the hat."""

    eyes: str = "round"
    """Form of the eyes."""

    eye_colour: str = "brown"
    """Colour of the iris."""

    nose: str = "button"
    """Form of the nose."""

    cheeks: str = "blush"
    """What is drawn beside the mouth."""

    teeth: str = "none"
    """Teeth that show when the mouth is shut."""

    accessory: str = "none"
    """What else is worn."""

    accessory_colour: str = "red"
    """Colour of the accessory."""

    tail: str = "none"
    """Form of the tail."""

    feet: str = "paws"
    """Form of legs and feet."""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("ToonCharacter.id must not be empty.")
        for name, values in ATTRIBUTES.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}, got {getattr(self, name)!r}.")

    @property
    def attributes(self) -> dict[str, str]:
        """Return attribute -> value, without the name."""
        return {name: getattr(self, name) for name in ATTRIBUTES}

    @property
    def appearance(self) -> str:
        """Return what the character looks like, in one or two sentences."""
        return _describe(self)

    @classmethod
    def from_json(cls, character_id: str, values: Mapping[str, str]) -> "ToonCharacter":
        """Return the character of the attributes in a film's script.

        Raises:
            ValueError: If an attribute is unknown or its value is.
        """
        unknown = sorted(set(values) - set(ATTRIBUTES))
        if unknown:
            raise ValueError(f"Unknown attribute {unknown[0]!r}. Known attributes: {', '.join(ATTRIBUTES)}.")
        return cls(id=character_id, **dict(values))

    def to_json(self) -> dict[str, str]:
        """Return attribute -> value."""
        return {name: value for name, value in asdict(self).items() if name != "id"}


def is_held_out(character: ToonCharacter) -> bool:
    """Return whether a character's combination of body, ears, hat and pattern is kept out of training.

    The answer is a stable hash of those four values, so it is the same in every version, and a character's name and
    colours have no say. About 15 % of the combinations are held out; every single value occurs on both sides.

    Example:
        >>> is_held_out(ToonCharacter(id="Mobo")), is_held_out(ToonCharacter(id="Tiku", hat="crown", ears="bear"))
        (False, False)
    """
    combination = "|".join(getattr(character, name) for name in HELD_OUT_ATTRIBUTES)
    digest = hashlib.sha256(f"animeshooter-toon-1|{combination}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < HELD_OUT_PERCENT


def draw_character(random: Random, character_id: str, pool: str = "all") -> ToonCharacter:
    """Return a random character.

    Args:
        random: Source of chance; the same state gives the same character.
        character_id: Its name.
        pool: "all", or only the combinations that are in "train" or "held_out".

    Raises:
        InputError: If the pool is none of these.
    """
    if pool not in CHARACTER_POOLS:
        raise InputError(f"characters must be one of {', '.join(CHARACTER_POOLS)}, got {pool!r}.")
    while True:
        values = {name: random.choice(options) for name, options in ATTRIBUTES.items()}
        body_colour = values["body_colour"]
        for name in ("pattern_colour", "hat_colour", "accessory_colour"):
            while values[name] == body_colour or _is_close(values[name], body_colour):
                values[name] = random.choice(ATTRIBUTES[name])
        character = ToonCharacter(id=character_id, **values)
        if pool == "all" or is_held_out(character) == (pool == "held_out"):
            return character


def _is_close(first: str, second: str) -> bool:
    return sum(abs(a - b) for a, b in zip(COLOURS[first], COLOURS[second], strict=True)) < 110


_PATTERN_TEXTS = {
    "belly": "a {0} belly",
    "stripes": "{0} stripes",
    "spots": "{0} spots",
    "two-tone": "a {0} lower half",
    "zigzag": "a {0} zigzag band",
    "patch": "a {0} patch around one eye",
    "star": "a {0} star on the belly",
}
_EAR_TEXTS = {
    "cat": "cat ears",
    "bear": "round bear ears",
    "rabbit": "long rabbit ears",
    "floppy": "floppy ears",
    "antennae": "two antennae",
    "horns": "two small horns",
}
_HAIR_TEXTS = {"tuft": "a tuft of {0} hair", "curl": "a {0} curl", "fringe": "a {0} fringe", "mohawk": "a {0} mohawk"}
_EYE_TEXTS = {
    "dot": "{0} dot eyes",
    "round": "round {0} eyes",
    "oval": "oval {0} eyes",
    "sleepy": "sleepy {0} eyes",
    "sparkling": "large sparkling {0} eyes",
    "single": "a single {0} eye",
}
_NOSE_TEXTS = {"button": "a button nose", "beak": "a beak", "snout": "a snout", "triangle": "a triangular nose"}
_CHEEK_TEXTS = {"blush": "blushing cheeks", "freckles": "freckles", "whiskers": "whiskers"}
_TEETH_TEXTS = {"fang": "one fang", "buck teeth": "buck teeth"}
_TAIL_TEXTS = {"fluffy": "a fluffy tail", "thin": "a thin tail", "stub": "a stub tail", "leaf": "a leaf-shaped tail"}
_FEET_TEXTS = {"paws": "small paws", "boots": "boots", "long legs": "long legs"}


def _describe(character: ToonCharacter) -> str:
    size = {"short": "short", "medium": "medium-sized", "tall": "tall"}[character.height]
    marking = _PATTERN_TEXTS.get(character.pattern, "").format(character.pattern_colour)
    parts = [
        marking,
        _EAR_TEXTS.get(character.ears, ""),
        _HAIR_TEXTS.get(character.hair, "").format(character.pattern_colour),
        _EYE_TEXTS[character.eyes].format(character.eye_colour),
        _NOSE_TEXTS.get(character.nose, ""),
        _CHEEK_TEXTS.get(character.cheeks, ""),
        _TEETH_TEXTS.get(character.teeth, ""),
        _TAIL_TEXTS.get(character.tail, ""),
        _FEET_TEXTS[character.feet],
    ]
    present = [part for part in parts if part]
    body = f"A {size} {character.body_colour} creature with a {character.body} body"
    text = f"{body}, {', '.join(present[:-1])} and {present[-1]}."
    worn = [] if character.hat == "none" else [f"a {character.hat_colour} {character.hat}"]
    if character.accessory == "glasses":
        worn.append(f"{character.accessory_colour} glasses")
    elif character.accessory != "none":
        worn.append(f"a {character.accessory_colour} {character.accessory}")
    return f"{text} It wears {' and '.join(worn)}." if worn else text


if tuple(field.name for field in fields(ToonCharacter))[1:] != tuple(ATTRIBUTES):
    raise RuntimeError("ToonCharacter and ATTRIBUTES must name the same attributes in the same order.")
