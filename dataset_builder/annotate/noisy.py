"""An annotator whose answers are wrong in known ways, to measure what the stages make of it.

It takes the answers of another annotator, such as the truth, and disturbs them by the table in `noise_kinds.py`. What
is done to an answer depends on the seed and on what is asked, never on the order of calls, and is written down.
"""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from animeshooter_hf.dataset_builder.annotate.annotator import (
    AdmitRequest,
    Annotator,
    AudioRequest,
    ScriptRequest,
    VerifyRequest,
)
from animeshooter_hf.dataset_builder.annotate.noise_kinds import NOISE
from animeshooter_hf.dataset_builder.annotate.question import Answer

__all__ = ["NoisyAnnotator", "request_fingerprint"]

Request = AdmitRequest | ScriptRequest | VerifyRequest | AudioRequest


class NoisyAnnotator:
    """Disturbs the answers of another annotator.

    Args:
        inner: Who answers.
        rate: Chance of each kind of noise for each request, 0 to 1.
        seed: Decides which requests get which noise.
        codes: Names of the kinds in `NOISE`; all if None. Answers that are no scripts get only those of the text.

    Raises:
        ValueError: If the rate is no chance or a kind is unknown.
    """

    def __init__(self, inner: Annotator, rate: float, seed: int, codes: Sequence[str] | None = None) -> None:
        unknown = sorted(set(codes or ()) - set(NOISE))
        if unknown:
            raise ValueError(f"Unknown kind of noise {unknown[0]!r}; known: {', '.join(NOISE)}.")
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must lie between 0 and 1, got {rate}.")
        self._inner = inner
        self._rate = rate
        self._seed = seed
        self._kinds = [NOISE[name] for name in NOISE if codes is None or name in codes]
        self._lock = threading.Lock()
        self._injected: dict[str, tuple[str, ...]] = {}

    @property
    def injected(self) -> dict[str, tuple[str, ...]]:
        """Fingerprint of a request -> the kinds that its answer was disturbed with."""
        with self._lock:
            return dict(self._injected)

    def injected_for(self, request: Request) -> tuple[str, ...]:
        """Return the kinds that the answer to a request was disturbed with; empty if it was not asked."""
        return self.injected.get(request_fingerprint(request), ())

    def settings_key(self) -> Mapping[str, Any]:
        """Return those of the inner annotator, the rate, the seed and the kinds."""
        return {
            "annotator": "noisy",
            "inner": dict(self._inner.settings_key()),
            "rate": self._rate,
            "seed": self._seed,
            "kinds": [kind.name for kind in self._kinds],
        }

    def admit(self, request: AdmitRequest) -> Answer:
        """Disturb the text of an answer."""
        return self._disturb(request, self._inner.admit(request), 0.0)

    def write_script(self, request: ScriptRequest) -> Answer:
        """Disturb a script and its text."""
        start = request.index.seconds(request.segment.start_frame)
        return self._disturb(request, self._inner.write_script(request), start, is_script=True)

    def verify_reference(self, request: VerifyRequest) -> Answer:
        """Disturb the text of an answer."""
        return self._disturb(request, self._inner.verify_reference(request), 0.0)

    def describe_audio(self, request: AudioRequest) -> Answer:
        """Disturb the text of an answer."""
        return self._disturb(request, self._inner.describe_audio(request), 0.0)

    def _disturb(self, request: Request, answer: Answer, origin: float, *, is_script: bool = False) -> Answer:
        if answer.text is None:
            return answer
        fingerprint = request_fingerprint(request)
        random = Random(f"{self._seed} {fingerprint}")
        chosen = [kind for kind in self._kinds if random.random() < self._rate]
        done: list[str] = []
        value: Any = json.loads(answer.text)
        for kind in chosen:
            if kind.layer == "shape" and is_script and isinstance(value, dict) and isinstance(value.get("shots"), list):
                changed = kind.disturb(json.loads(json.dumps(value)), random, origin) if _is_plain(value) else None
                if changed is not None:
                    value = changed
                    done.append(kind.name)
        text = json.dumps(value)
        for kind in chosen:
            # One break of the text per answer: a second one would work on text that the first has moved.
            if kind.layer == "text" and not any(NOISE[name].layer == "text" for name in done):
                broken = kind.disturb(text, random, origin)
                if broken is not None:
                    text = broken
                    done.append(kind.name)
        with self._lock:
            self._injected[fingerprint] = tuple(done)
        return replace(answer, text=text)


def _is_plain(script: Mapping[str, Any]) -> bool:
    """Return whether a script still has the form that the kinds work on, after those before it."""
    keys = {"main characters", "scene", "narrative caption", "descriptive caption", "extra 4-second timestamp"}
    return "main scenes" in script and all(
        isinstance(shot, dict)
        and keys <= set(shot)
        and isinstance(shot["main characters"], list)
        and all(isinstance(name, str) for name in shot["main characters"])
        and isinstance(shot["narrative caption"], str)
        and _has_plain_time(shot)
        for shot in script["shots"]
    )


def _has_plain_time(shot: Mapping[str, Any]) -> bool:
    if "first_cut" in shot and "last_cut" in shot:
        return isinstance(shot["first_cut"], int) and isinstance(shot["last_cut"], int)
    times = [shot.get("start time"), shot.get("end time")]
    return all(isinstance(time, str) and len(time) == 5 and time.replace(":", "").isdigit() for time in times)


def request_fingerprint(request: Request) -> str:
    """Return a short hash of what is asked, the same in every process."""
    parts: list[object] = [type(request).__name__, request.film.video_id]
    if isinstance(request, ScriptRequest):
        segment = request.segment
        parts += [segment.start_frame, segment.end_frame, list(request.cuts), request.complaints, request.last_answer]
    elif isinstance(request, VerifyRequest):
        cutout = hashlib.sha256(request.cutout_jpeg).hexdigest()
        parts += [request.story.story_id, request.character.id, request.frame, cutout]
    elif isinstance(request, AudioRequest):
        parts += [request.story.story_id, request.shot.shot_id, request.shot.start_frame, request.shot.end_frame]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
