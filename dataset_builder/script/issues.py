"""What was wrong with an answer: a closed list of codes, the log of one answer, and the rules that a re-ask quotes.

`info`: taken as it stands. `repaired`: mended without asking again. `lost`: something was left out, or the whole story.
The codes that single values share with the public release mean the same there (`release/problems.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from animeshooter_hf.dataset_builder.release.problems import PROBLEMS, Severity, severity_of
from animeshooter_hf.dataset_builder.release.values import Place

__all__ = ["RULES", "SCRIPT_ISSUES", "IssueLog", "ScriptIssue", "rule_of", "severity_of_issue"]

_SHARED = (
    "unknown_key",
    "key_conflict",
    "broken_text",
    "type_coerced",
    "list_as_object",
    "list_unreadable",
    "object_unreadable",
    "text_unreadable",
    "flag_unreadable",
    "id_trimmed",
    "storyline_missing",
    "caption_missing",
    "appearance_missing",
    "environment_missing",
    "unused_character",
    "unused_scene",
    "character_spelling",
    "scene_spelling",
    "shot_character_repeated",
    "scene_not_available",
    "scene_several",
    "shots_unordered",
    "duplicate_shot",
    "duplicate_character",
    "duplicate_scene",
    "conflicting_character",
    "conflicting_scene",
    "shot_unreadable",
    "character_unreadable",
    "scene_unreadable",
    "clip_span_unreadable",
    "audio_several",
    "audio_type_missing",
)
_INFO = {
    "json_fenced": "the JSON stands in a code fence",
    "json_in_prose": "words around the JSON",
    "time_unsnapped": "a stated time with no detected cut near it; the frame nearest to that time is taken",
    "cut_inside_shot": "a detected cut inside a shot",
    "scene_missing": "a shot of the plot without a scene",
    "characters_missing": "a shot without its list of characters; taken as empty",
    "flag_missing": "a shot that does not say whether it is a prologue or epilogue; taken as no",
    "no_characters": "no character is declared",
    "caption_long": "a caption with more words than asked for",
    "caption_names_other": "a caption names a declared character that its shot does not list",
    "phrase_missing": "no short phrase for a character; it is taken from the appearance",
    "scenes_many": "more than three scenes; all are kept",
    "clip_span_shifted": "a four-second span that left its shot by less than a second, as whole seconds do",
    "shot_empty": "a shot that starts and ends in the same second",
    "answered_in_clock": "times where numbers of cuts were asked for",
}
_REPAIRED = {
    "json_mended": "JSON with trailing or missing commas, comments, other quotes or words of another language",
    "json_unclosed": "JSON whose last brackets are missing, with nothing cut off",
    "json_wrapped": "the script stands inside another object, list or text",
    "several_answers": "several scripts in one answer; the fullest one counts, of equal ones the last",
    "duplicate_key": "the same key twice in one object; the last one counts",
    "number_not_finite": "NaN or infinity; set to null",
    "time_missing": "a shot without a start or an end; taken from its neighbours",
    "time_unreadable": "a time that cannot be read; taken from the shot's neighbours",
    "times_absolute": "times that count from the film's start; the segment's start was taken off",
    "time_past_end": "a time after the segment's end; set to the end",
    "head_gap": "the first shot starts after the segment does; it is extended to the front",
    "tail_gap": "the last shot ends before the segment does; it is extended",
    "shot_gap": "time between two shots that belongs to neither; closed",
    "interval_skipped": "a short stretch between two candidate cuts that no shot names; closed like a gap",
    "shot_overlap": "a shot starts before the one in front of it has ended; it is cut there",
    "shot_reversed": "a shot that ends before it starts; start and end change places",
    "shots_merged_times": "a start that holds the whole range of a shot",
    "cut_out_of_range": "a number of a cut that does not exist; the nearest one counts",
    "cuts_as_intervals": "numbers of intervals where numbers of cuts were asked for",
    "undeclared_character": "a shot names a character that is not declared; left out of the shot",
    "undeclared_scene": "a shot names a scene that is not declared; set to null",
    "too_many_characters": "more characters than asked for; those with the most shots are kept",
    "phrase_long": "a short phrase with too many words; cut",
    "clip_span_length": "a four-second span of another length; set to four seconds around its middle",
    "clip_span_outside_shot": "a four-second span that leaves its shot; moved inside",
    "clip_span_dropped": "a four-second span of a shot that is not longer than that; left out",
}
_LOST = {
    "answer_empty": "no answer",
    "answer_not_json": "no JSON in the answer",
    "answer_too_long": "an answer longer than a script can be; the rest was not read",
    "answer_cut_off": "an answer that ends in the middle of a shot; that shot is left out",
    "json_too_deep": "values nested deeper than a script can be; left out",
    "not_a_script": "JSON that is no story script",
    "no_shots": "a script without shots",
    "too_many_shots": "more shots than a segment can have; the rest was not read",
    "shot_outside_segment": "a shot that starts after the segment has ended; left out",
    "shot_without_frames": "a shot that no frame is left for; left out",
    "hole": "a stretch of the segment that no shot tells of; no story",
    "no_caption": "a shot without any caption that says something; no story",
    "invalid_story": "the story breaks a rule of the records; no story",
}

SCRIPT_ISSUES: dict[str, str] = {**{code: PROBLEMS[code] for code in _SHARED}, **_INFO, **_REPAIRED, **_LOST}
"""Code -> what it means, in one line."""

RULES: dict[str, str] = {
    "V0": "The answer is one complete JSON object of the given form and nothing else.",
    "V1": "The first shot starts where the segment starts.",
    "V2": "Each shot starts exactly where the one before it ends: nothing is left out and nothing overlaps.",
    "V3": "The last shot ends where the segment ends, and no time lies outside the segment.",
    "V4": "Shots name only declared characters and scenes, spelled as declared.",
    "V5": "There are at most three main characters, and each character and scene is declared once.",
    "V6": "A four-second span lies inside its shot and lasts four seconds.",
    "V7": "Each shot has a narrative caption and a descriptive caption that say something; there is a storyline.",
    "V8": "A caption names only characters that its shot lists.",
    "V9": "Only a prologue or an epilogue may have no scene.",
}
"""The validation ladder, as a re-ask quotes it."""

_BREAKS = {
    "V0": "answer_empty answer_not_json answer_too_long answer_cut_off json_too_deep not_a_script no_shots "
    "too_many_shots shot_unreadable",
    "V1": "",
    "V2": "hole interval_skipped time_missing time_unreadable",
    "V3": "shot_outside_segment cut_out_of_range",
    "V4": "undeclared_character undeclared_scene",
    "V5": "too_many_characters conflicting_character conflicting_scene character_unreadable scene_unreadable",
    "V7": "caption_missing no_caption storyline_missing",
}
_RULE_OF = {code: rule for rule, codes in _BREAKS.items() for code in codes.split()}
_RULE_OF["shot_without_frames"] = "V2"


def severity_of_issue(code: str) -> Severity:
    """Return how bad a code is."""
    if code in _INFO:
        return "info"
    if code in _REPAIRED:
        return "repaired"
    return "lost" if code in _LOST else severity_of(code)


def rule_of(code: str) -> str | None:
    """Return the rule that a re-ask quotes for a code; None for what is not worth asking again."""
    return _RULE_OF.get(code)


@dataclass(frozen=True, slots=True)
class ScriptIssue:
    """One kind of thing that was wrong with an answer."""

    code: str
    """A key of `SCRIPT_ISSUES`."""

    detail: str = ""
    """The first case."""

    count: int = 1
    """How often."""

    def __post_init__(self) -> None:
        if self.code not in SCRIPT_ISSUES:
            raise ValueError(f"Unknown issue code {self.code!r}; SCRIPT_ISSUES lists them.")

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return severity_of_issue(self.code)


class IssueLog:
    """Counts the issues of one answer, each code with its first case; so it stays small whatever the answer is."""

    def __init__(self, issues: Iterable[ScriptIssue] = ()) -> None:
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        for issue in issues:
            self.add(issue.code, "", None, issue.detail, count=issue.count)

    def add(self, code: str, where: str = "", story_id: str | None = None, detail: str = "", *, count: int = 1) -> None:
        """Count an issue; `where` and `story_id` are those of a `Place` and not needed here.

        Raises:
            ValueError: If the code is not in `SCRIPT_ISSUES`.
        """
        del where, story_id
        if code not in SCRIPT_ISSUES:
            raise ValueError(f"Unknown issue code {code!r}; SCRIPT_ISSUES lists them.")
        self._first.setdefault(code, detail)
        self._counts[code] = self._counts.get(code, 0) + count

    def __contains__(self, code: str) -> bool:
        return code in self._first

    def place(self) -> Place:
        """Return where the readers of `release/values.py` report."""
        return Place(self, "answer")

    def issues(self) -> tuple[ScriptIssue, ...]:
        """Return what was found, in the order of the first cases."""
        return tuple(ScriptIssue(code, detail, self._counts[code]) for code, detail in self._first.items())

    def violated(self) -> tuple[str, ...]:
        """Return the broken rules that are worth asking again for, each with what was found."""
        found: dict[str, list[str]] = {}
        for code, detail in self._first.items():
            if rule := rule_of(code):
                found.setdefault(rule, []).append(detail or SCRIPT_ISSUES[code])
        return tuple(f"{rule}: {RULES[rule]} Found: {'; '.join(found[rule])}." for rule in sorted(found))
