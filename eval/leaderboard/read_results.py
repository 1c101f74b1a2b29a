"""Read results files and folders of version 2, and refuse what must not stand on a board.

In:  files that `animeshooter evaluate --out FILE.json` wrote, folders of `--out FOLDER/` (with `results.json` in them),
     or folders of such folders.
Out: one `ResultsRun` per file. NaN, unknown versions and numbers that are no numbers are refused here, with the place.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.leaderboard.results_records import (
    Benchmark,
    CorpusValue,
    Direction,
    GateResult,
    Kind,
    ResultsRun,
    ShotRow,
    StoryRow,
    System,
)
from animeshooter_hf.eval.results_file import FORMAT, RESULTS_FILE, VERSION

__all__ = ["find_results", "parse_results", "read_paper_rows", "read_results"]

_KINDS: tuple[str, ...] = get_args(Kind)
_DIRECTIONS: tuple[str, ...] = get_args(Direction)
_COUNTS = ("n_evaluated", "n_failed", "n_skipped")
_STORY_FACTS = ("story_id", "ip_id", "track", "flags", "captions")


def find_results(paths: Sequence[Path]) -> list[Path]:
    """Return the results files below paths, sorted within each, none twice.

    Raises:
        InputError: If a path is not there or holds no results.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            here = [path / RESULTS_FILE] if (path / RESULTS_FILE).is_file() else sorted(path.rglob(RESULTS_FILE))
            if not here:
                raise InputError(f"{path} holds no {RESULTS_FILE}; name folders of `animeshooter evaluate --out`.")
        elif path.is_file():
            here = [path]
        else:
            raise InputError(f"There is no results file or folder {path}.")
        found.update(dict.fromkeys(here))
    if not found:
        raise InputError("There are no results; name at least one results file or folder.")
    return list(found)


def read_results(path: Path) -> ResultsRun:
    """Return what a results file says.

    Raises:
        InputError: If it cannot be read or is no results file of version 2.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON that can be used: {error}.") from error
    folder = path.parent if path.name == RESULTS_FILE else None
    return parse_results(document, path, digest=hashlib.sha256(data).hexdigest(), folder=folder)


def parse_results(document: Any, path: Path, *, digest: str = "", folder: Path | None = None) -> ResultsRun:
    """Return the run of a document that was read from `path`.

    Raises:
        InputError: With the path and the place in the document.
    """
    return _Parser(path).run(document, digest, folder)


def read_paper_rows() -> list[ResultsRun]:
    """Return the paper's Tables 2 and 3 as runs that are only reported."""
    path = Path(__file__).with_name("paper_rows.json")
    return [parse_results(document, path) for document in json.loads(path.read_text(encoding="utf-8"))]


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number; a value that could not be had must be null")


class _Parser:
    """Reads one document; every refusal names the file and the place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def run(self, document: Any, digest: str, folder: Path | None) -> ResultsRun:
        top = self._mapping(document, "the document")
        self._check_version(top)
        signatures = {
            name: self._text(text, f"signatures.{name}")
            for name, text in self._mapping(top.get("signatures"), "signatures").items()
        }
        stories = tuple(self._story(row, f"stories[{at}]") for at, row in self._rows(top, "stories"))
        self._check_unique([story.story_id for story in stories])
        corpus = self._corpus(top.get("corpus"), signatures)
        headlines = {
            name: self._text(text, f"headlines.{name}")
            for name, text in self._mapping(top.get("headlines", {}), "headlines").items()
        }
        self._check_headlines(headlines, corpus, stories)
        return ResultsRun(
            path=self._path,
            digest=digest,
            folder=folder,
            system=self._system(top.get("system")),
            benchmark=self._benchmark(top.get("benchmark")),
            signatures=signatures,
            note=self._text(top.get("note", ""), "note"),
            headlines=headlines,
            corpus=corpus,
            gates=tuple(self._gate(row, f"gates[{at}]") for at, row in self._rows(top, "gates")),
            stories=stories,
            shots=tuple(self._shot(row, f"shots[{at}]") for at, row in self._rows(top, "shots")),
            coverage={
                name: self._count(value, f"coverage.{name}")
                for name, value in self._mapping(top.get("coverage", {}), "coverage").items()
            },
            settings=self._mapping(top.get("settings", {}), "settings"),
            manifest=self._mapping(top.get("manifest", {}), "manifest"),
        )

    def _check_version(self, top: Mapping[str, Any]) -> None:
        if top.get("format") != FORMAT:
            raise self._wrong(f"is no results file: its format is {top.get('format')!r}, not {FORMAT!r}")
        version = top.get("version")
        if version == 1:
            raise self._wrong(
                "is a results file of version 1, without intervals and gates; run `animeshooter evaluate` again"
            )
        if version != VERSION or isinstance(version, bool):
            raise self._wrong(f"has version {version!r}, and only version {VERSION} can be read")

    def _check_unique(self, names: Sequence[str]) -> None:
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise self._wrong(f"has the story {twice!r} twice")

    def _check_headlines(
        self,
        headlines: Mapping[str, str],
        corpus: Mapping[tuple[str, str], CorpusValue],
        stories: Sequence[StoryRow],
    ) -> None:
        """Refuse a headline that is not the mean of its stories: a number that somebody wrote in by hand."""
        for key in headlines.items():
            values = [value for story in stories if (value := story.values.get(key)) is not None]
            said = corpus[key].value if key in corpus else None
            if values and said is not None and not math.isclose(said, mean(values), rel_tol=1e-6, abs_tol=1e-9):
                raise self._wrong(f"says {said} for {'/'.join(key)}, but the mean of its stories is {mean(values)}")

    def _system(self, found: Any) -> System:
        facts = self._mapping(found, "system")
        unknown = sorted(set(facts) - set(System.__dataclass_fields__))
        if unknown:
            raise self._wrong(f"has an unknown key {unknown[0]!r} in system")
        texts = {name: self._text(text or "", f"system.{name}") for name, text in facts.items()}
        if not texts.get("name", "").strip():
            raise self._wrong("names no system; give `animeshooter evaluate` a name with --system")
        if texts.get("kind") not in _KINDS:
            raise self._wrong(f"has the kind {texts.get('kind')!r} in system; allowed are {', '.join(_KINDS)}")
        return System(**{**texts, "kind": cast(Kind, texts["kind"])})  # type: ignore[arg-type]

    def _benchmark(self, found: Any) -> Benchmark:
        if found is None:
            return Benchmark()
        facts = self._mapping(found, "benchmark")
        return Benchmark(
            **{name: self._text(facts.get(name) or "", f"benchmark.{name}") for name in ("id", "revision", "track")}
        )

    def _corpus(self, found: Any, signatures: Mapping[str, str]) -> dict[tuple[str, str], CorpusValue]:
        corpus = {}
        for metric, entries in self._mapping(found, "corpus").items():
            if metric not in signatures:
                raise self._wrong(f"has numbers of {metric!r} without a signature, so nobody knows what they are")
            for name, entry in self._mapping(entries, f"corpus.{metric}").items():
                corpus[metric, name] = self._corpus_value(entry, f"corpus.{metric}.{name}")
        return corpus

    def _corpus_value(self, found: Any, place: str) -> CorpusValue:
        entry = self._mapping(found, place)
        if entry.get("direction") not in _DIRECTIONS:
            raise self._wrong(
                f"has the direction {entry.get('direction')!r} at {place}; allowed: {', '.join(_DIRECTIONS)}"
            )
        value, low, high = (self._number(entry.get(name), f"{place}.{name}") for name in ("value", "low", "high"))
        if (low is None) != (high is None) or (low is not None and high is not None and low > high):
            raise self._wrong(f"has no proper interval at {place}: {low} to {high}")
        counts = {name: self._count(entry.get(name, 0), f"{place}.{name}") for name in _COUNTS}
        return CorpusValue(value=value, low=low, high=high, direction=cast(Direction, entry["direction"]), **counts)

    def _gate(self, row: Mapping[str, Any], place: str) -> GateResult:
        return GateResult(
            control=self._text(row.get("control"), f"{place}.control"),
            num_flagged=self._count(row.get("num_flagged"), f"{place}.num_flagged"),
            num_tested=self._count(row.get("num_tested"), f"{place}.num_tested"),
            is_gated=self._flag(row.get("is_gated"), f"{place}.is_gated"),
            limit=self._text(row.get("limit", ""), f"{place}.limit"),
            is_experimental=self._flag(row.get("is_experimental", False), f"{place}.is_experimental"),
        )

    def _story(self, row: Mapping[str, Any], place: str) -> StoryRow:
        values: dict[tuple[str, str], float | None] = {}
        counts: dict[str, tuple[int, int, int]] = {}
        for metric, found in row.items():
            if metric in _STORY_FACTS:
                continue
            numbers = self._mapping(found, f"{place}.{metric}")
            one, two, three = (self._count(numbers.get(name, 0), f"{place}.{metric}.{name}") for name in _COUNTS)
            counts[metric] = (one, two, three)
            for name, value in numbers.items():
                if name not in _COUNTS:
                    values[metric, name] = self._number(value, f"{place}.{metric}.{name}")
        return StoryRow(
            story_id=self._text(row.get("story_id"), f"{place}.story_id"),
            ip_id=self._text(row.get("ip_id"), f"{place}.ip_id"),
            track=self._text(row.get("track") or "", f"{place}.track"),
            flags=self._texts(row.get("flags", []), f"{place}.flags"),
            captions=self._texts(row.get("captions", []), f"{place}.captions"),
            values=values,
            counts=counts,
        )

    def _shot(self, row: Mapping[str, Any], place: str) -> ShotRow:
        values: dict[tuple[str, str], float | None] = {}
        for key, value in self._mapping(row.get("values", {}), f"{place}.values").items():
            metric, slash, name = key.partition("/")
            if not slash:
                raise self._wrong(f"has the key {key!r} at {place}.values, which must be METRIC/NAME")
            values[metric, name] = self._number(value, f"{place}.values.{key}")
        problems = self._mapping(row.get("problems", {}), f"{place}.problems")
        return ShotRow(
            story_id=self._text(row.get("story_id"), f"{place}.story_id"),
            ip_id=self._text(row.get("ip_id"), f"{place}.ip_id"),
            shot_index=self._count(row.get("shot_index"), f"{place}.shot_index"),
            num_frames=self._count(row.get("num_frames", 0), f"{place}.num_frames"),
            values=values,
            problems={name: self._text(text, f"{place}.problems.{name}") for name, text in problems.items()},
        )

    def _rows(self, top: Mapping[str, Any], name: str) -> list[tuple[int, Mapping[str, Any]]]:
        rows = top.get(name, [])
        if not isinstance(rows, list):
            raise self._wrong(f"has no list at {name}")
        return [(at, self._mapping(row, f"{name}[{at}]")) for at, row in enumerate(rows)]

    def _mapping(self, found: Any, place: str) -> Mapping[str, Any]:
        if not isinstance(found, dict):
            raise self._wrong(f"has no object at {place}")
        return found

    def _text(self, found: Any, place: str) -> str:
        if not isinstance(found, str):
            raise self._wrong(f"has no text at {place}")
        return found

    def _texts(self, found: Any, place: str) -> tuple[str, ...]:
        if not isinstance(found, list):
            raise self._wrong(f"has no list at {place}")
        return tuple(self._text(text, place) for text in found)

    def _flag(self, found: Any, place: str) -> bool:
        if not isinstance(found, bool):
            raise self._wrong(f"has neither true nor false at {place}")
        return found

    def _count(self, found: Any, place: str) -> int:
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise self._wrong(f"has no count at {place}: {found!r}")
        return found

    def _number(self, found: Any, place: str) -> float | None:
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise self._wrong(f"has no finite number at {place}: {found!r}")
        return float(found)

    def _wrong(self, words: str) -> InputError:
        return InputError(f"{self._path} {words}.")
