"""The typed columns of a benchmark's configs; what `load_dataset` gives back.

`stories`      one row per story; a split for each track
`references`   one row per reference picture
`enhance`      one row per clip of a character, for training where the track allows it
`truth`        toon edition: one row per story, with the plan from which it can be drawn again
`truth_clips`  toon edition: one row per true shot
"""

from collections.abc import Iterable, Mapping
from typing import Any

from datasets import Features, Image, List, Value, Video

from animeshooter_hf.eval.bench.bench_records import (
    BenchClip,
    BenchReference,
    BenchShot,
    BenchStory,
    BenchTruth,
    TruthClip,
)
from animeshooter_hf.records import AudioAnnotation, Scene

__all__ = ["BENCH_CONFIGS", "CONFIG_WORDS", "rows_of", "story_from_row"]

_TEXT, _WHOLE = Value("string"), Value("int32")
_AUDIO = {"audio_type": _TEXT, "sound_description": _TEXT, "visual_context": _TEXT}

BENCH_CONFIGS: Mapping[str, Features] = {
    "stories": Features(
        {
            "story_id": _TEXT,
            "ip_id": _TEXT,
            "storyline": _TEXT,
            "characters": List(_TEXT),
            "num_shots": _WHOLE,
            "scenes": List({"id": _TEXT, "environment": _TEXT}),
            "shots": List(
                {
                    "shot_id": _TEXT,
                    "shot_index": _WHOLE,
                    "caption": _TEXT,
                    "characters": List(_TEXT),
                    "scene": _TEXT,
                    "audio_annotation": _AUDIO,
                }
            ),
        }
    ),
    "references": Features(
        {
            "character_id": _TEXT,
            "ip_id": _TEXT,
            "image": Image(),
            "license": _TEXT,
            "source": _TEXT,
            "attribution": _TEXT,
        }
    ),
    "enhance": Features({"ip_id": _TEXT, "clip_id": _TEXT, "caption": _TEXT, "video": Video(), "license": _TEXT}),
    "truth": Features(
        {
            "story_id": _TEXT,
            "plan": _TEXT,
            "attributes": List({"character_id": _TEXT, "attribute": _TEXT, "value": _TEXT}),
        }
    ),
    "truth_clips": Features({"story_id": _TEXT, "shot_index": _WHOLE, "video": Video(), "regions": _TEXT}),
}
"""Config -> columns, the default one first."""

CONFIG_WORDS: Mapping[str, str] = {
    "stories": "one row per story: captions, who is seen where, and what is heard; a split for each track",
    "references": "one row per reference picture of a character, with its licence",
    "enhance": "one row per clip of a character, for training on it where the track allows that",
    "truth": "one row per story: the plan from which it can be drawn again to the pixel, and the attributes",
    "truth_clips": "one row per true shot: the clip, and where each character is seen",
}
"""Config -> what its rows are."""


def rows_of(records: Iterable[Any]) -> list[dict[str, Any]]:
    """Return records as rows of their config.

    Raises:
        TypeError: If one is of no config.
    """
    return [_row(record) for record in records]


def story_from_row(row: Mapping[str, Any], track: str) -> BenchStory:
    """Return the story of a row of `stories`.

    Raises:
        ValueError: If it is malformed.
    """
    shots = []
    for shot in row["shots"]:
        audio = shot["audio_annotation"]
        is_heard = audio is not None and audio["audio_type"] is not None
        shots.append(
            BenchShot(
                caption=shot["caption"],
                characters=tuple(shot["characters"]),
                scene=shot["scene"],
                audio=AudioAnnotation(**audio) if is_heard else None,
            )
        )
    return BenchStory(
        story_id=row["story_id"],
        ip_id=row["ip_id"],
        track=track,
        storyline=row["storyline"],
        characters=tuple(row["characters"]),
        scenes=tuple(Scene(id=one["id"], environment=one["environment"]) for one in row["scenes"]),
        shots=tuple(shots),
    )


def _row(record: Any) -> dict[str, Any]:
    match record:
        case BenchStory():
            return _story_row(record)
        case BenchReference():
            name = f"{record.character_id}.png"
            return {
                "character_id": record.character_id,
                "ip_id": record.ip_id,
                "image": {"bytes": record.image, "path": name},
                "license": record.license,
                "source": record.source,
                "attribution": record.attribution,
            }
        case BenchClip():
            video = {"bytes": record.video, "path": f"{record.clip_id}.mp4"}
            texts = {"ip_id": record.ip_id, "clip_id": record.clip_id, "caption": record.caption}
            return {**texts, "video": video, "license": record.license}
        case BenchTruth():
            keys = ("character_id", "attribute", "value")
            rows = [dict(zip(keys, one, strict=True)) for one in record.attributes]
            return {"story_id": record.story_id, "plan": record.plan, "attributes": rows}
        case TruthClip():
            video = {"bytes": record.video, "path": f"{record.story_id}_{record.shot_index:02d}.mp4"}
            where = {"story_id": record.story_id, "shot_index": record.shot_index}
            return {**where, "video": video, "regions": record.regions}
        case _:
            raise TypeError(f"{type(record).__name__} is no record of a benchmark.")


def _story_row(story: BenchStory) -> dict[str, Any]:
    shots = []
    for index, (shot_id, shot) in enumerate(zip(story.shot_ids, story.shots, strict=True)):
        audio = shot.audio
        shots.append(
            {
                "shot_id": shot_id,
                "shot_index": index,
                "caption": shot.caption,
                "characters": list(shot.characters),
                "scene": shot.scene,
                "audio_annotation": None if audio is None else {key: getattr(audio, key) for key in _AUDIO},
            }
        )
    return {
        "story_id": story.story_id,
        "ip_id": story.ip_id,
        "storyline": story.storyline,
        "characters": list(story.characters),
        "num_shots": len(story.shots),
        "scenes": [{"id": scene.id, "environment": scene.environment} for scene in story.scenes],
        "shots": shots,
    }
