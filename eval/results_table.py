"""Results for reading: a line per story, the corpus with intervals, coverage, controls, and what it all rests on."""

from collections.abc import Sequence

from animeshooter_hf.eval.results import MetricValue, Results

__all__ = ["results_table"]

_COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "reference_fidelity": (
        ("mean", "fidelity"),
        ("min", "min"),
        ("harmean_p", "HarMeanP"),
        ("within_sd", "sd"),
        ("slope", "slope"),
    ),
    "cross_shot_consistency": (
        ("pairwise", "pairwise"),
        ("foreground_pairwise", "foreground"),
        ("background_pairwise", "background"),
        ("character_pairwise", "character"),
        ("style_pairwise", "style"),
        ("scene_contrast", "scene contrast"),
    ),
}
"""Columns of the metrics that have several; of any other metric its headline."""

_OPTIONAL = ("scene_contrast", "character_pairwise")
"""Columns that stand in the table only where some story has them."""

_MOST_PROBLEMS = 10


def results_table(results: Results) -> str:
    """Return the table as text."""
    columns = [
        (metric, name, title)
        for metric in results.corpus
        for name, title in _columns_of(results, metric)
        if name in results.corpus[metric] and (name not in _OPTIONAL or results.corpus[metric][name].value is not None)
    ]
    is_flagged = bool(results.flags)
    rows = [["story", "IP", "shots", *(title for _, _, title in columns), *(["flags"] if is_flagged else [])]]
    for story_id, scores in results.stories.items():
        counts = next(iter(scores.values()))
        total = counts.n_evaluated + counts.n_failed + counts.n_skipped
        shots = str(total) if counts.n_evaluated == total else f"{counts.n_evaluated}/{total}"
        values = [_number(scores[metric].values.get(name)) for metric, name, _ in columns]
        flags = [", ".join(results.flags.get(story_id, ())) or "-"] if is_flagged else []
        rows.append([story_id, results.ip_ids[story_id], shots, *values, *flags])
    scored = sum(1 for shot in results.shots if not shot.problems)
    shots = f"{scored}/{len(results.shots)}" if scored < len(results.shots) else str(scored)
    entries = [results.corpus[metric][name] for metric, name, _ in columns]
    blank = [""] if is_flagged else []
    rows.append(
        ["corpus", f"{len(set(results.ip_ids.values()))} IPs", shots, *(_number(e.value) for e in entries), *blank]
    )
    rows.append(["95 %", "", "", *(_interval(entry) for entry in entries), *blank])
    return "\n".join([*_align(rows, len(results.stories) + 1), "", *_footnotes(results)]) + "\n"


def _columns_of(results: Results, metric: str) -> Sequence[tuple[str, str]]:
    headline = results.headlines.get(metric, "")
    return _COLUMNS.get(metric, ((headline, headline.replace("_", " ")),))


def _footnotes(results: Results) -> list[str]:
    lines = []
    contrast = results.corpus.get("reference_fidelity", {})
    if "auc" in contrast:
        parts = [f"{name} {_number(contrast[name].value)}" for name in ("auc", "macro_auc", "retrieval_at_1")]
        lines.append(f"own reference against those of other IPs: {', '.join(parts)}")
    for metric, name in results.headlines.items():
        if name in results.corpus.get(metric, {}):
            entry = results.corpus[metric][name]
            counts = f"{entry.n_evaluated} stories, {entry.n_failed} failed, {entry.n_skipped} not applicable"
            lines.append(f"{metric}/{name}: {_number(entry.value)} {_interval(entry)}".rstrip(" -") + f": {counts}")
    unknown = results.story_values("reference_fidelity", "characters_without_reference")
    if lacking := [story for story, number in unknown.items() if number]:
        lines.append(
            f"without a reference of everybody who should be seen: {len(lacking)} stories, such as {lacking[0]}"
        )
    lines += _gate_lines(results)
    problems = [shot for shot in results.shots if shot.problems]
    for shot in problems[:_MOST_PROBLEMS]:
        reasons = "; ".join(dict.fromkeys(shot.problems.values()))
        lines.append(f"no score: {shot.story_id} shot {shot.shot_index + 1}: {reasons}")
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"no score: {len(problems) - _MOST_PROBLEMS} more shots; see `shots` in the results file")
    lines += [f"signature: {signature}" for signature in results.signatures.values()]
    return [*lines, *([f"note: {results.note}"] if results.note else [])]


def _gate_lines(results: Results) -> list[str]:
    lines = []
    for gate in results.gates:
        if gate.num_tested:
            verdict = "GATED" if gate.is_gated else "experimental" if gate.is_experimental else "passed"
            counts = f"{gate.num_flagged} of {gate.num_tested} stories flagged"
            lines.append(f"control {gate.control}: {verdict}, {counts} ({gate.limit})")
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(entry: MetricValue) -> str:
    if entry.low is None or entry.high is None:
        return "-"
    return f"[{entry.low:.3f}, {entry.high:.3f}]"


def _align(rows: Sequence[Sequence[str]], num_before_rule: int) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [*lines[:num_before_rule], "-" * max(map(len, lines)), *lines[num_before_rule:]]
