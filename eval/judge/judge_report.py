"""A run of a judge as JSON and as a table: marks with intervals and coverage, spread, bias, exam, agreement."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from animeshooter_hf.eval.judge.dimensions import DIMENSIONS
from animeshooter_hf.eval.judge.exam import ExamResult
from animeshooter_hf.eval.judge.human_agreement import HumanAgreement
from animeshooter_hf.eval.judge.judge_scores import (
    CorpusMark,
    corpus_marks,
    pair_scores,
    position_bias,
    round_spread,
    story_marks,
    win_rates,
)
from animeshooter_hf.eval.judge.verdicts import JudgeRun

__all__ = ["JudgeReport"]

_FORMAT, _VERSION = "animeshooter-judge", 1


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeReport:
    """A run with what is known of its judge."""

    run: JudgeRun
    """The answers."""

    exam: ExamResult | None = None
    """How the judge fared; None if it was not examined."""

    agreement: Sequence[HumanAgreement] = ()
    """With people; empty if no votes were given."""

    num_damaged: int = 0
    """Lines of the log that could not be read."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; what could not be had is null."""
        run = self.run
        document: dict[str, Any] = {
            "format": _FORMAT,
            "version": _VERSION,
            "protocol": run.settings.protocol,
            "model": run.model,
            "answered_by": list(run.answered_by()),
            "signature": run.signature,
            "is_trusted": self.exam.is_trusted if self.exam is not None else None,
            "notes": list(run.notes),
            "calls": dict(run.calls()),
            "failures": dict(run.failures()),
            "unusable_replies": dict(run.reply_problems()),
            "damaged_log_lines": self.num_damaged,
            "skipped": [{"system": one, "story_id": two, "reason": why} for (one, two), why in run.skipped.items()],
            "exam": self.exam.to_json() if self.exam is not None else None,
            "human_agreement": [one.to_json() for one in self.agreement],
        }
        return document | (self._pairs() if run.settings.protocol == "pairwise" else self._marks())

    def _marks(self) -> dict[str, Any]:
        run, marks = self.run, story_marks(self.run)
        found: dict[str, Any] = {
            "corpus": {
                system: {name.lower(): mark.to_json() for name, mark in corpus_marks(run, system, marks).items()}
                for system in run.systems
            },
            "rounds": {name.lower(): spread for name, spread in round_spread(marks).items()},
            "stories": [
                {
                    "system": one.system,
                    "story_id": one.story_id,
                    "ip_id": one.ip_id,
                    **{name.lower(): value for name, value in one.marks.items()},
                    "n_evaluated": len(one.rounds),
                    "n_failed": one.n_failed,
                    "problem": one.problem,
                }
                for one in marks
            ],
        }
        if run.settings.protocol == "paper":
            found["position_bias"] = {name.lower(): bias for name, bias in position_bias(run).items()}
        return found

    def _pairs(self) -> dict[str, Any]:
        pairs = pair_scores(self.run)
        rates = win_rates(pairs, self.run.systems)
        return {
            "win_rates": {system: {name.lower(): one for name, one in own.items()} for system, own in rates.items()},
            "pairs": [asdict(pair) for pair in pairs],
        }

    def table(self) -> str:
        """Return the numbers for reading."""
        run = self.run
        is_pairwise = run.settings.protocol == "pairwise"
        lines = self._pair_lines() if is_pairwise else self._mark_lines()
        calls = run.calls()
        lines += [
            "",
            f"{calls['questions']} questions, {calls['replies']} replies, {calls['sent_now']} of them asked now "
            f"({calls['prompt_tokens_now']} tokens read, {calls['output_tokens_now']} written)",
        ]
        lines += [
            f"no answer: {count} x {reason} ({self._example(reason)})" for reason, count in run.failures().items()
        ]
        lines += [f"reply that could not be used: {count} x {kind}" for kind, count in run.reply_problems().items()]
        if run.skipped:
            lines.append(f"not asked about: {len(run.skipped)} ({next(iter(run.skipped.values()))})")
        if self.num_damaged:
            lines.append(f"damaged lines in the log: {self.num_damaged}")
        lines += [*self._trust_lines(), *self._human_lines()]
        return "\n".join([*lines, *(f"note: {note}" for note in run.notes), f"signature: {run.signature}"]) + "\n"

    def _example(self, reason: str) -> str:
        """Return what exactly the first question without an answer for this reason met."""
        first = next(one for one in self.run.verdicts if one.answer is None and one.reason == reason)
        return first.problem if first.asked is None else first.asked.detail

    def _mark_lines(self) -> list[str]:
        marks = story_marks(self.run)
        width = max(len("system"), *(len(system) for system in self.run.systems))
        lines = ["  ".join(["system".ljust(width), *(name.rjust(18) for name in DIMENSIONS), "stories"])]
        for system in self.run.systems:
            corpus = corpus_marks(self.run, system, marks)
            one = next(iter(corpus.values()))
            total = one.n_evaluated + one.n_failed + one.n_skipped
            cells = [_cell(mark).rjust(18) for mark in corpus.values()]
            lines.append("  ".join([system.ljust(width), *cells, f"{one.n_evaluated}/{total}"]))
        spread = round_spread(marks)
        if any(one["round_sd"] is not None for one in spread.values()):
            words = [f"{name} {_number(one['round_sd'])} / {_number(one['icc'])}" for name, one in spread.items()]
            lines.append("sd between rounds / ICC of one round: " + ", ".join(words))
        if self.run.settings.protocol == "paper":
            bias = position_bias(self.run)
            words = [f"{name} {' '.join(_signed(value) for value in values)}" for name, values in bias.items()]
            lines.append("bias by position: " + ", ".join(words))
        return lines

    def _pair_lines(self) -> list[str]:
        lines = []
        for pair in pair_scores(self.run):
            lines.append(
                f"{pair.first} - {pair.second}  {pair.dimension}  win rate {_cell(pair.win_rate)}  "
                f"{pair.wins} won, {pair.ties} tied, {pair.losses} lost, {pair.win_rate.n_failed} without answer; "
                f"orders agree {_number(pair.agreement)}, first position {_number(pair.first_position)}"
            )
        return lines

    def _trust_lines(self) -> list[str]:
        if self.exam is None:
            return ["the judge was not examined: run with --exam before you trust it"]
        lines = [
            f"exam {check.name} ({check.dimension}): {check.num_passed} of {check.num_tested} seen, rate "
            f"{_number(check.pass_rate)} [{_number(check.low)}, {_number(check.high)}]: {check.status}"
            for check in self.exam.checks
        ]
        verdict = {
            True: "the judge passed its exam",
            False: f"NOT TRUSTED: the judge failed {', '.join(self.exam.failed_checks())}",
            None: "the judge was not examined in full: too few stories for some check",
        }[self.exam.is_trusted]
        return [*lines, verdict]

    def _human_lines(self) -> list[str]:
        return [
            f"with people, {one.dimension}: same order of a pair {_number(one.pair_order)} "
            f"[{_number(one.low)}, {_number(one.high)}] ({one.num_pairs} pairs), Kendall's tau "
            f"{_number(one.kendall_tau)} [{_number(one.tau_low)}, {_number(one.tau_high)}]"
            for one in self.agreement
        ]


def _cell(mark: CorpusMark) -> str:
    if mark.value is None:
        return "-"
    return f"{mark.value:.2f} [{_number(mark.low)}, {_number(mark.high)}]"


def _number(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
