"""Noise in the text of an answer: the ways in which models break JSON."""

import json
import re
from random import Random

from animeshooter_hf.dataset_builder.annotate.noise_table import noise_kind

__all__: list[str] = []


@noise_kind("json_fenced", "text")
def _fenced(text: str, random: Random, _: float) -> str:
    return random.choice(["```json\n{}\n```", "```\n{}```", "Here it is:\n\n```JSON\n{}\n```\nEnjoy!"]).replace(
        "{}", text
    )


@noise_kind("json_in_prose", "text")
def _in_prose(text: str, _random: Random, _: float) -> str:
    return f"Sure! {{Note}}: I looked at [00:04] twice.\n{text}\n\nTell me if you need more {{details}}."


@noise_kind("several_answers json_in_prose", "text")
def _draft_first(text: str, _random: Random, _: float) -> str:
    return f'<think>A draft: {{"storyline": "A draft.", "shots": []}} hm.</think>\n{text}'


@noise_kind("json_unclosed answer_cut_off hole no_shots not_a_script answer_not_json", "text")
def _cut_off(text: str, random: Random, _: float) -> str:
    return text[: random.randrange(1, len(text))]


@noise_kind("json_unclosed", "text")
def _last_brackets_missing(text: str, _random: Random, _: float) -> str:
    return text.rstrip("]} \n")[: len(text)] + "}" if text.endswith("}]}") else text.rstrip("}")


@noise_kind("json_mended", "text")
def _trailing_commas(text: str, _random: Random, _: float) -> str:
    return text.replace("}]", "},]").replace('"}', '",}')


@noise_kind("json_mended", "text")
def _missing_comma(text: str, random: Random, _: float) -> str | None:
    places = [match.start() for match in re.finditer(r'(?<=["\d]), "', text)]
    at = random.choice(places) if places else None
    return None if at is None else text[:at] + "\n" + text[at + 1 :]


@noise_kind("json_mended", "text")
def _comments(text: str, random: Random, _: float) -> str | None:
    at = text.find('"shots"')
    return None if at < 0 else text[:at] + random.choice(["// the shots\n", "/* the shots */ "]) + text[at:]


@noise_kind("json_mended", "text")
def _python_literals(text: str, _random: Random, _: float) -> str:
    return repr(json.loads(text))


@noise_kind("json_mended", "text")
def _quotes_inside(text: str, random: Random, _: float) -> str | None:
    words = [match for match in re.finditer(r"(?<= )[a-z]{3,}(?= )", text)]
    if not words:
        return None
    word = random.choice(words)
    return f'{text[: word.start()]}"{word[0]}"{text[word.end() :]}'


@noise_kind("number_not_finite", "text")
def _not_a_number(text: str, random: Random, _: float) -> str | None:
    places = [match for match in re.finditer(r'"extra 4-second timestamp": (?:null|\[[^\]]*\]|"[^"]*")', text)]
    if not places:
        return None
    place = random.choice(places)
    return text[: place.start()] + '"extra 4-second timestamp": NaN' + text[place.end() :]


@noise_kind("duplicate_key", "text")
def _key_twice(text: str, random: Random, _: float) -> str | None:
    places = [match.start() for match in re.finditer('"descriptive caption"', text)]
    if not places:
        return None
    at = random.choice(places)
    return f'{text[:at]}"descriptive caption": "Another one.", {text[at:]}'


@noise_kind("", "text")
def _byte_order_mark(text: str, _random: Random, _: float) -> str:
    return "\ufeff" + text


@noise_kind("answer_not_json answer_empty", "text")
def _refusal(_text: str, random: Random, _: float) -> str:
    return random.choice(["I'm sorry, but I cannot help with that.", "", "   "])
