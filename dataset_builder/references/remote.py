"""A segmenter behind HTTP, so that a model that needs an environment of its own (such as Sa2VA) can serve.

The server gets `POST url` with `Content-Type: application/json`:

    {"version": 1,
     "image": {"mime": "image/png", "base64": "..."},
     "phrases": ["girl with red hair"],                       whom to segment, one answer each
     "all_phrases": ["girl with red hair", "old man"],        everybody in the shot
     "prompts": ["This frame is from an animated film ..."],  the question in words, one for each phrase
     "max_instances": 5}

and answers with status 200 and, for each phrase in order, the figures that it found, as COCO run-length masks of the
picture's size:

    {"masks": [[{"size": [height, width], "counts": "...", "score": 0.93}]]}

`score` lies in 0 to 1 and may be left out (1 then). An empty list says that nobody was found. The statuses 408, 429 and
5xx, a broken connection and a timeout are tried again after a pause that doubles (or that `Retry-After` names); any
other status, and an answer of another form, fail the frame at once.
"""

import base64
import http.client
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.annotate.prompts import load_prompt
from animeshooter_hf.dataset_builder.references.segmenter import (
    FrameContext,
    SegmentationError,
    SegmentedMask,
    SegmenterConfig,
    check_request,
)
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask

__all__ = ["RemoteSegmenter"]

_RETRIED = {408, 429}
_MAX_ANSWER_BYTES = 64 << 20
_MAX_PAUSE_SECONDS = 30.0


class RemoteSegmenter:
    """See the file's first lines."""

    name = "remote"
    is_exact = False

    def __init__(self, config: SegmenterConfig, *, first_pause_seconds: float = 1.0) -> None:
        if not config.url.startswith(("http://", "https://")):
            raise InputError(f"The remote segmenter needs a url that begins with http, got {config.url!r}.")
        self._config = config
        self._first_pause = first_pause_seconds
        self._prompt = load_prompt("segment_character")
        self._score_threshold = config.score_threshold or 0.0

    def settings_key(self) -> Mapping[str, Any]:
        """Return the address, the prompt and the thresholds."""
        return {**self._config.key(), "score_threshold": self._score_threshold, "prompt": self._prompt.sha256}

    def segment(
        self,
        image: NDArray[np.uint8],
        phrases: Sequence[str],
        *,
        all_phrases: Sequence[str],
        context: FrameContext | None = None,
    ) -> list[list[SegmentedMask]]:
        """See `Segmenter.segment`.

        Raises:
            SegmentationError: If the server cannot be reached, refuses, or answers in another form.
        """
        check_request(image, phrases, all_phrases)
        if not phrases:
            return []
        everybody = "; ".join(dict.fromkeys(all_phrases))
        png = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
        body = {
            "version": 1,
            "image": {"mime": "image/png", "base64": base64.b64encode(png).decode()},
            "phrases": list(phrases),
            "all_phrases": list(all_phrases),
            "prompts": [self._prompt.fill(everybody=everybody, phrase=phrase) for phrase in phrases],
            "max_instances": self._config.max_instances,
        }
        answer = self._post(json.dumps(body).encode())
        found = _read_answer(answer, len(phrases), image.shape[0], image.shape[1])
        threshold, most = self._score_threshold, self._config.max_instances
        return [[one for one in figures if one.score >= threshold][:most] for figures in found]

    def _post(self, body: bytes) -> bytes:
        pause = self._first_pause
        problem = ""
        for attempt in range(self._config.max_tries):
            if attempt:
                time.sleep(min(pause, _MAX_PAUSE_SECONDS))
                pause *= 2
            try:
                return self._post_once(body)
            except urllib.error.HTTPError as error:
                problem = f"status {error.code}"
                wait = error.headers.get("Retry-After", "") if error.headers else ""
                error.close()
                if error.code not in _RETRIED and error.code < 500:
                    raise SegmentationError(f"{self._config.url} refuses: {problem}") from error
                pause = max(pause, float(wait)) if wait.isdigit() else pause
            except (OSError, http.client.HTTPException) as error:
                problem = str(error) or type(error).__name__
        raise SegmentationError(f"{self._config.url} gave no answer in {self._config.max_tries} tries: {problem}")

    def _post_once(self, body: bytes) -> bytes:
        request = urllib.request.Request(
            self._config.url, data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=self._config.timeout_seconds) as response:
            answer: bytes = response.read(_MAX_ANSWER_BYTES + 1)
        if len(answer) > _MAX_ANSWER_BYTES:
            raise SegmentationError(f"{self._config.url} answers with more than {_MAX_ANSWER_BYTES >> 20} MiB")
        return answer


def _read_answer(text: bytes, num_phrases: int, height: int, width: int) -> list[list[SegmentedMask]]:
    """Return the figures of an answer, best first; anything of another form is a SegmentationError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SegmentationError(f"the answer is no JSON: {text[:80]!r}") from error
    rows = data.get("masks") if isinstance(data, dict) else None
    if not isinstance(rows, list) or len(rows) != num_phrases or not all(isinstance(row, list) for row in rows):
        raise SegmentationError(f"the answer holds no list of masks for each of {num_phrases} phrases")
    found = []
    for row in rows:
        figures = [figure for entry in row if (figure := _read_mask(entry, height, width)).mask.any()]
        found.append(sorted(figures, key=lambda figure: -figure.score))
    return found


def _read_mask(entry: Any, height: int, width: int) -> SegmentedMask:
    if not isinstance(entry, dict) or not isinstance(entry.get("counts"), str):
        raise SegmentationError("a mask of the answer has no counts")
    if entry.get("size") != [height, width]:
        raise SegmentationError(f"a mask of the answer has the size {entry.get('size')}, not {[height, width]}")
    score = entry.get("score", 1.0)
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score) or not 0 <= score <= 1:
        raise SegmentationError(f"a mask of the answer has the score {score!r}")
    try:
        mask = RleMask(height, width, entry["counts"]).to_array()
    except ValueError as error:
        raise SegmentationError(f"a mask of the answer is damaged: {error}") from error
    return SegmentedMask(mask=mask, score=float(score))
