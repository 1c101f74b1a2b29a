"""What is wrong with the files that were read: a closed list of codes, and a log that counts them.

One line of `problems.jsonl` says how often a code occurred in one story of one file, with the first case as the
example; `problems.json` sums up. The log keeps only the file at hand in memory, so it costs the same for one video
as for thirty thousand.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

__all__ = ["PROBLEMS", "SEVERITIES", "Problem", "ProblemLog", "Severity", "severity_of"]

Severity = Literal["info", "repaired", "lost"]
"""`info`: taken as it stands. `repaired`: a value was mended or set to null. `lost`: a record was left out."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)

_INFO = {
    "unknown_key": "a key that no known variant of the release has; its value stands in release_extras.jsonl only",
    "segments_unordered": "a segment starts before the one in front of it",
    "segment_overlap": "a segment starts before the one in front of it has ended",
    "segment_gap": "frames between two segments belong to neither",
    "end_frames_inclusive": "every segment starts one frame after the one in front of it: end frames may be inclusive",
    "shot_overlap": "a shot starts before the one in front of it has ended",
    "shot_gap": "no shot covers a time inside the segment",
    "tail_uncovered": "the last shot ends before its segment does",
    "storyline_missing": "a story without a storyline",
    "caption_missing": "a shot without a narrative or a descriptive caption",
    "appearance_missing": "a character without a description",
    "environment_missing": "a scene without a description",
    "audio_type_missing": "an audio annotation without its category",
    "undeclared_character": "a shot names a character that the story does not declare",
    "undeclared_scene": "a shot names a scene that the story does not declare",
    "unused_character": "a declared character that no shot names",
    "unused_scene": "a declared scene that no shot names",
    "clip_span_length": "the span meant to be four seconds long has another length",
    "clip_span_outside_shot": "the four-second span leaves its shot",
    "fps_missing": "no frame rate, so that shots have times but no frames",
    "segment_frames_missing": "a segment without its frames in the video, so that shots have times but no frames",
    "character_without_reference": "a declared character without a reference image",
    "reference_for_undeclared": "reference images of a character that the story does not declare",
    "reference_outside_segment": "a reference frame outside its segment",
    "reference_outside_shots": "a reference frame that lies in no shot",
    "boundary_reference": "a reference frame exactly on the end of its shot: the next shot lacks the character",
    "reference_in_other_shot": "a reference frame in a shot that does not name the character",
    "references_unordered": "reference masks that are not in order of frame; they are sorted",
    "mask_placeholder": "a placeholder where a mask should be",
    "mask_missing": "a reference frame without a mask",
    "mask_size_varies": "masks of different sizes in one story",
    "mask_size_differs": "a mask whose shape is not the video's: it is not scaled and gives no picture",
    "nested_in_zip": "a file inside a folder of the zip",
    "video_retold": "a video annotated twice, differently; the second one's stories are numbered after the first's",
    "video_missing": "no video file for an annotated video",
    "video_rotated": "a player turns the video; masks and frames are those of the picture as it is stored",
    "duration_differs": "the last segment ends more than half a second away from the end of the video",
    "audio_without_picture": "a video of the audio release that the picture release does not have",
}
_REPAIRED = {
    "key_conflict": "two spellings of one key in one object, not the same value; the first one counts",
    "not_utf8": "text that is not UTF-8; what cannot be read became a replacement character",
    "broken_text": "half of a character pair in a text; it became a question mark",
    "type_coerced": "a value of another type, such as a number written as text",
    "list_as_object": "an object or a single value where a list should be",
    "list_unreadable": "something else where a list should be; taken as empty",
    "object_unreadable": "something else where an object should be; taken as absent",
    "text_unreadable": "something else where a text should be; set to null",
    "number_unreadable": "something else where a whole number should be; set to null",
    "flag_unreadable": "something else where true or false should be; taken as false",
    "video_id_missing": "no video ID; taken from the address, the key or the file's name",
    "id_trimmed": "an ID with spaces around it",
    "fps_unreadable": "a frame rate that is none; set to null",
    "fps_from_video": "no usable frame rate; taken from the video",
    "segment_reversed": "a segment that ends before it starts; its frames are set to null",
    "time_missing": "a shot without a start or an end time",
    "time_unreadable": "a time of a shot that cannot be read; set to null",
    "shot_reversed": "a shot that ends before it starts; its times are set to null",
    "shot_empty": "a shot that ends where it starts; it has no frames",
    "shot_past_segment": "a shot that ends after its segment; its frames are cut there",
    "shot_outside_segment": "a shot that starts after its segment has ended; it has no frames",
    "shots_unordered": "shots that are not in order of time; they are sorted",
    "clip_span_unreadable": "a four-second span that cannot be read; set to null",
    "character_spelling": "a character named in another spelling than declared",
    "scene_spelling": "a scene named in another spelling than declared",
    "shot_character_repeated": "a character named twice in one shot",
    "scene_not_available": 'a scene called "N/A"; set to null',
    "scene_several": "several scenes for one shot; the first one counts",
    "audio_several": "several audio annotations for one shot; the first one counts",
    "duplicate_shot": "the same shot twice; one is kept",
    "duplicate_character": "the same character declared twice; one is kept",
    "duplicate_scene": "the same scene declared twice; one is kept",
    "duplicate_reference": "the same reference mask twice; one is kept",
    "duplicate_video": "the same video twice, with the same stories; one is kept",
    "mask_uncompressed": "a mask whose runs stand as numbers; it is compressed",
    "mask_scaled": "a mask of another size than the video, but of its shape; it is scaled to the video's size",
    "tail_extended": "the last shot ended a rounded second early; its frames go on to the end of its segment",
    "mask_size_unreadable": "a mask whose height and width cannot be read; set to null",
    "mask_invalid": "a mask whose runs are damaged or do not add up to its size; set to null",
    "rate_differs": "the video has another frame rate than its annotation; frames are found by their time",
    "video_too_short": "the video ends before its annotation does; frames are cut there",
}
_LOST = {
    "extras_lost": "a file nested so deep that what it says beyond its rows cannot be kept",
    "broken_json": "a file that is not JSON, or is cut off",
    "file_unreadable": "a file that cannot be opened or read",
    "file_too_large": "a file larger than an annotation can be",
    "zip_member_damaged": "a file in the zip that is damaged, encrypted or packed by another method",
    "zip_member_repeated": "a file that stands in the zip twice; the first one counts",
    "path_escape": "a name in the zip that points outside of it",
    "other_json": "JSON that is not an annotation of the release",
    "duplicate_key": "the same key twice in one JSON object; the last one counts",
    "video_unreadable": "something else where a video should be",
    "video_id_unsafe": "a video ID that cannot be a file name",
    "video_id_unknown": "several videos without an ID in one file",
    "segments_missing": "a video without segments",
    "segment_unreadable": "something else where a segment should be",
    "script_missing": "a segment without a story script",
    "shot_unreadable": "something else where a shot should be",
    "character_unreadable": "something else where a character should be, or one without an ID",
    "scene_unreadable": "something else where a scene should be, or one without an ID",
    "reference_unreadable": "a reference without a readable ID or frame",
    "conflicting_character": "one ID declared twice with different descriptions; the first one counts",
    "conflicting_scene": "one scene ID declared twice with different descriptions; the first one counts",
    "conflicting_reference": "two different masks of one character in one frame; the first one counts",
    "media_skipped": "a shot or reference whose clip or picture could not be made from its video",
    "video_broken": "a video file that cannot be read",
}

PROBLEMS: dict[str, str] = {**_INFO, **_REPAIRED, **_LOST}
"""Code -> what it means, in one line."""

_EXAMPLES = 3
_SPOOL_BYTES = 8 << 20


def severity_of(code: str) -> Severity:
    """Return how bad a code is."""
    if code in _INFO:
        return "info"
    return "repaired" if code in _REPAIRED else "lost"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in one place."""

    code: str
    """A key of `PROBLEMS`."""

    where: str
    """The file, or the member of a zip."""

    story_id: str | None = None
    """The story, where it is known."""

    detail: str = ""
    """What was found there."""

    count: int = 1
    """How often, in this story of this file; the detail is then the first case."""

    def __post_init__(self) -> None:
        if self.code not in PROBLEMS:
            raise ValueError(f"Unknown problem code {self.code!r}; PROBLEMS lists them.")


class ProblemLog:
    """Counts problems, keeps a few examples of each, and writes them down."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Code -> how often."""
        self.examples: dict[str, list[Problem]] = {}
        """Code -> the first few of them."""
        self._at_hand: dict[tuple[str | None, str], tuple[int, str]] = {}
        self._file: str | None = None
        self._spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES, mode="w+", encoding="ascii")  # noqa: SIM115

    def add(self, code: str, where: str, story_id: str | None = None, detail: str = "", *, count: int = 1) -> None:
        """Count a problem.

        Raises:
            ValueError: If the code is not in `PROBLEMS`.
        """
        if code not in PROBLEMS:
            raise ValueError(f"Unknown problem code {code!r}; PROBLEMS lists them.")
        if where != self._file:
            self._flush()
            self._file = where
        self.counts[code] += count
        examples = self.examples.setdefault(code, [])
        if len(examples) < _EXAMPLES:
            examples.append(Problem(code, where, story_id, detail, count))
        before, first = self._at_hand.get((story_id, code), (0, detail))
        self._at_hand[story_id, code] = (before + count, first)

    @property
    def num_lost(self) -> int:
        """How many records were left out."""
        return self.num_of("lost")

    def num_of(self, severity: Severity) -> int:
        """Return how many problems of a severity there are."""
        return sum(count for code, count in self.counts.items() if severity_of(code) == severity)

    def entries(self) -> Iterator[Problem]:
        """Yield one problem per file, story and code, in the order of the files, with its count."""
        for line in self._lines():
            row = json.loads(line)
            yield Problem(row["code"], row["where"], row["story_id"], row["detail"], row["count"])

    def summary(self) -> dict[str, Any]:
        """Return what `problems.json` holds: the counts by severity, and each code with meaning and examples."""
        order = {severity: rank for rank, severity in enumerate(reversed(SEVERITIES))}
        codes = sorted(self.counts, key=lambda code: (order[severity_of(code)], -self.counts[code], code))
        return {
            **{severity: self.num_of(severity) for severity in SEVERITIES},
            "codes": {
                code: {
                    "severity": severity_of(code),
                    "count": self.counts[code],
                    "meaning": PROBLEMS[code],
                    "examples": [
                        {key: value for key, value in asdict(example).items() if key not in ("code", "count")}
                        for example in self.examples[code]
                    ],
                }
                for code in codes
            },
        }

    def write(self, folder: Path) -> None:
        """Write `problems.json` (the summary) and `problems.jsonl` (a line per file, story and code) to a folder."""
        (folder / "problems.json").write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="ascii")
        with (folder / "problems.jsonl").open("w", encoding="ascii") as file:
            file.writelines(self._lines())

    def print_table(self, stream: TextIO) -> None:
        """Print a line per code, the worst first; nothing if all is well."""
        codes = self.summary()["codes"]
        if not codes:
            return
        width = max(len(code) for code in codes)
        stream.write(f"{'count':>8}  {'severity':8}  {'problem':{width}}  meaning\n")
        for code, row in codes.items():
            stream.write(f"{row['count']:>8}  {row['severity']:8}  {code:{width}}  {row['meaning']}\n")

    def _lines(self) -> Iterator[str]:
        self._flush()
        self._spool.seek(0)
        yield from self._spool
        self._spool.seek(0, 2)

    def _flush(self) -> None:
        for (story_id, code), (count, detail) in self._at_hand.items():
            row = {
                "where": self._file,
                "story_id": story_id,
                "code": code,
                "severity": severity_of(code),
                "count": count,
                "detail": detail,
            }
            self._spool.write(json.dumps(row) + "\n")
        self._at_hand.clear()
