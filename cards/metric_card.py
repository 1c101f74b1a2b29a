"""Fill the generated parts of the cards of the metrics, `eval/NAME/README.md`, from what the code says of itself.

The prose of a card is written by hand. Between `<!-- numbers -->` and `<!-- /numbers -->`, and the same for `inputs`,
`outputs`, `controls`, `backbones` and `citation`, stands what is made here; a test finds a card that is out of date.

    python -m animeshooter_hf.cards.metric_card eval
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from animeshooter_hf.cards.metric_words import METRIC_NUMBERS, PREFERENCE_NUMBERS
from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.audio_base import AUDIO_MODELS
from animeshooter_hf.eval.backbones.table import backbone_table
from animeshooter_hf.eval.controls import CONTROLS
from animeshooter_hf.eval.metrics import METRICS

__all__ = ["METRIC_FOLDERS", "fill_card", "fill_cards", "main"]

METRIC_FOLDERS = (*METRICS, "story_preference")
"""Folders of `eval/` with a card."""

_BLOCK = re.compile(r"<!-- (?P<name>[a-z]+) -->\n.*?<!-- /(?P=name) -->", re.DOTALL)
_BETTER = {"higher": "higher", "lower": "lower", "none": "-"}


def fill_card(text: str, folder: str) -> str:
    """Return a card with its generated parts as they should be.

    Args:
        text: The card as it is.
        folder: One of `METRIC_FOLDERS`.

    Raises:
        InputError: If there is no such folder, or a part of that name.
    """
    if folder not in METRIC_FOLDERS:
        raise InputError(f"There is no metric {folder!r}. Metrics: {', '.join(METRIC_FOLDERS)}.")
    makers: Mapping[str, Callable[[], str]] = {
        "numbers": lambda: _numbers(folder),
        "inputs": lambda: _words("metric_inputs", folder),
        "outputs": lambda: _words("metric_outputs", folder),
        "controls": _controls,
        "backbones": lambda: _backbones(reads_text=folder == "text_alignment"),
        "sounds": _sounds,
        "citation": lambda: _words("metric_citation", folder),
    }

    def fill(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in makers:
            raise InputError(f"A card has no generated part {name!r}. Parts: {', '.join(makers)}.")
        return f"<!-- {name} -->\n{makers[name]()}\n<!-- /{name} -->"

    return _BLOCK.sub(fill, text)


def fill_cards(eval_folder: Path) -> list[str]:
    """Bring all cards up to date; return the metrics whose card changed."""
    changed = []
    for name in METRIC_FOLDERS:
        card = eval_folder / name / "README.md"
        text = card.read_text(encoding="utf-8")
        filled = fill_card(text, name)
        if filled != text:
            card.write_text(filled, encoding="utf-8")
            changed.append(name)
    return changed


def _words(template: str, folder: str) -> str:
    environment = Environment(
        loader=PackageLoader("animeshooter_hf.cards", "."),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown, not a page; nothing in it comes from strangers.
    )
    return environment.get_template(f"{template}.md.jinja").render(folder=folder).strip()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _numbers(folder: str) -> str:
    head = ("key", "meaning", "range", "better")
    if folder == "story_preference":
        return _table(head, [(f"`{name}`", *words) for name, words in PREFERENCE_NUMBERS.items()])
    module, class_name = METRICS[folder]
    directions = getattr(import_module(module), class_name).directions
    rows = [
        (f"`{name}`", words, span, _BETTER[directions[name]]) for name, (words, span) in METRIC_NUMBERS[folder].items()
    ]
    return _table(head, rows)


def _controls() -> str:
    rows = [(f"`{one.name}`", f"`{one.words}`", one.summary) for one in CONTROLS]
    return _table(("control", "flagged where", "what is wrong"), rows)


def _backbones(*, reads_text: bool) -> str:
    rows = [
        (
            f"`{row.name}`",
            row.source if row.source == "none" else f"`{row.source}`",
            row.license + ("" if row.license_is_read else " (believed)") + (", gated" if row.is_gated else ""),
            row.purpose,
        )
        for row in backbone_table()
        if row.has_text or not reads_text
    ]
    table = _table(("backend", "weights", "licence of the weights", "for"), rows)
    return f"{table}\n\n(believed): not read where the weights are published. Numbers of two backends do not compare."


def _sounds() -> str:
    rows = []
    for name, (module, class_name) in AUDIO_MODELS.items():
        found = getattr(import_module(module), class_name)
        rows.append((f"`{name}`", f"`{found.source}`", found.license))
    return _table(("audio_backend", "weights", "licence of the weights"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring the cards of a folder up to date; say on stderr which changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with a folder per metric, such as eval")
    changed = fill_cards(parser.parse_args(arguments).folder)
    sys.stderr.write(f"Changed: {', '.join(changed) or 'nothing'}.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
