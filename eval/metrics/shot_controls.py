"""What no score of likeness may be read without: does it move, is it repeated, pasted in, somebody else, noise?

Each number is measured on every shot and judged over the story; the limits stand in `controls.py`. A control that
cannot be tested (no reference, one shot, one IP, frames too few) says None, and never that all is well.

What cannot be seen: a shot order that fits the script as well as the right one (`order_fit` tells over a corpus, not
over a story, and only where scenes, characters or, with a text encoder, captions tell shots apart); a copy that is
mirrored, turned or redrawn; frames whose order is shuffled in blocks; a character that the backend cannot tell apart.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.backbones.base import Backbone
from animeshooter_hf.eval.control_features import (
    CutoutPicture,
    MirroredReferenceRows,
    MotionMeasures,
    PictureMeasures,
)
from animeshooter_hf.eval.controls import (
    CONTROLS,
    HashedShot,
    duplication,
    identity_contrasts,
    order_fit,
    order_ratio,
)
from animeshooter_hf.eval.copying import match_cutout, mirror_preference
from animeshooter_hf.eval.encoding import EncodedShot, EncodedStory, EncodingSettings
from animeshooter_hf.eval.motion import held_ratio
from animeshooter_hf.eval.picture_faults import edge_directions, recurring_share
from animeshooter_hf.eval.results import StoryScore
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, PixelFeature
from animeshooter_hf.eval.story_metric import Direction, Gate, MetricScores, StoryMetric
from animeshooter_hf.eval.view_features import FrameRows, LookRows, ReferenceRows

__all__ = ["ShotControls"]

_MIRROR_BLIND = 0.999
"""Similarity of a reference to its mirror image above which a backend does not tell them apart."""

_STORY_NAMES: Mapping[str, Direction] = {
    "residual_top5": "none",
    "dynamic_top5": "none",
    "held_frame_ratio": "none",
    "order_ratio": "lower",
    "shot_duplication": "lower",
    "distinct_shots": "higher",
    "copy_match": "lower",
    "copy_match_max": "lower",
    "copy_paste_mirror": "lower",
    "identity_margin": "higher",
    "identity_lift": "higher",
    "identity_contrast": "higher",
    "order_fit": "higher",
    "autocorrelation": "none",
    "blank_share": "lower",
    "letterbox": "none",
    "watermark": "lower",
    "decode_ok": "higher",
}


class ShotControls(StoryMetric):
    """The controls of a run.

    Numbers of a story, each the mean over its shots unless said otherwise:

        residual_top5      px per 1/8 s at 256 px of width, of the fastest twentieth, which no camera explains; >= 0
        dynamic_top5       the same with the camera in it; >= 0
        held_frame_ratio   share of neighbouring frames that are the same drawing, in [0, 1]; legal in anime
        order_ratio        change between neighbours in parts of that between distant frames; about 1 if shuffled
        shot_duplication   agreement of the hashes of the two shots most alike, in about [.5, 1]
        distinct_shots     share of shots that repeat no earlier one, in (0, 1]
        copy_match         how exactly a reference of a scheduled character is found in the shot's pixels, in [0, 1]
        copy_match_max     the same of the worst shot
        copy_paste_mirror  share for the reference against its mirror image, in [0, 1], .5 without copying; None where
                           the backend does not tell them apart, as the classical one
        identity_margin, identity_lift, identity_contrast   see `identity_contrasts`; None with one IP alone
        order_fit          share of other orders of the shots that fit the script worse, in [0, 1]
        autocorrelation    likeness of neighbouring pixels, about 0 for noise
        blank_share        share of frames of one tone, in [0, 1]
        letterbox          share of the picture under black bars, in [0, 1]
        watermark          share of the picture with edges that recur in other IPs' stories, in [0, 1]
        decode_ok          share of shots that could be read, in [0, 1]
    """

    name = "shot_controls"
    headline = "residual_top5"
    directions = _STORY_NAMES

    def __init__(self, settings: EncodingSettings, backbone: Backbone) -> None:
        """Choose view and compositing as reference fidelity does, so that both share their rows."""
        super().__init__(settings, backbone)
        chosen = settings.fidelity_view
        self._background = settings.reference_background or backbone.reference_background
        self._view = chosen if chosen in ("full", "foreground") else backbone.fidelity_view

    @property
    def signature(self) -> str:
        """Features, backbone, and the limits."""
        limits = ",".join(f"{control.name}:{control.limit:g}" for control in CONTROLS)
        measures = f"{MotionMeasures().signature}|{PictureMeasures().signature}|{CutoutPicture().signature}"
        rows = f"view:{self._view}|ref:{self._background}|k:{self.settings.frames_per_shot}{self.settings.sampling}"
        return f"controls|{measures}|{self.backbone.signature}|{rows}|{limits}|v1"

    @property
    def shot_features(self) -> Sequence[PixelFeature | EmbeddingFeature]:
        """Motion, pictures, and the rows that two other metrics use too."""
        sampling = (self.settings.frames_per_shot, self.settings.sampling)
        rows = FrameRows(self.backbone, self._view, *sampling)
        return [MotionMeasures(), PictureMeasures(), rows, LookRows(self.backbone, *sampling)]

    @property
    def reference_features(self) -> Sequence[PixelFeature | EmbeddingFeature]:
        """The reference as it would be pasted, its row, and its mirror image's."""
        rows = ReferenceRows(self.backbone, self._background, self._view)
        mirrored = MirroredReferenceRows(self.backbone, self._background, self._view)
        return [CutoutPicture(), rows, mirrored]

    @property
    def encodes_captions(self) -> bool:
        """Whether captions can say where a shot belongs."""
        return self.backbone.has_text

    def _match(self, frame_HW3: NDArray[np.uint8], cutout_HW4: NDArray[np.uint8]) -> float:
        """Return `match_cutout`, from memory if these two were compared before."""
        arrays = (frame_HW3, cutout_HW4)
        return self.recall("match_cutout@1", arrays, lambda: match_cutout(frame_HW3, cutout_HW4))

    def score(self, stories: Sequence[EncodedStory]) -> MetricScores:
        """Return the numbers of all stories."""
        shots = {story.story_id: [self._shot(story, index) for index in range(len(story.shots))] for story in stories}
        identity = self._identity(stories)
        watermarks = _watermarks(stories)
        scores: dict[str, StoryScore] = {}
        for story, contrast, watermark in zip(stories, identity, watermarks, strict=True):
            values = {**self._story(story, shots[story.story_id]), **contrast, "watermark": watermark}
            scores[story.story_id] = StoryScore(
                values={name: values[name] for name in _STORY_NAMES},
                n_evaluated=sum(1 for shot in story.shots if not _problem(shot)),
                n_failed=sum(1 for shot in story.shots if _failed(shot)),
                n_skipped=sum(1 for shot in story.shots if _problem(shot) and not _failed(shot)),
            )
        return MetricScores(
            stories=scores,
            shots=shots,
            problems={story.story_id: [_problem(shot) for shot in story.shots] for story in stories},
            gates=[self._gate(control.name, scores) for control in CONTROLS],
        )

    def _gate(self, name: str, scores: Mapping[str, StoryScore]) -> Gate:
        control = next(one for one in CONTROLS if one.name == name)
        return Gate(
            control=name,
            flagged={story: control.flags(score.values[control.number]) for story, score in scores.items()},
            limit=control.words,
            # The limit of identity is on the scale of the backend on which it was chosen.
            is_experimental=name == "wrong_character" and self.backbone.name != "classical",
        )

    def _shot(self, story: EncodedStory, index: int) -> dict[str, float | None]:
        shot = story.shots[index]
        values: dict[str, float | None] = dict.fromkeys(_SHOT_NAMES)
        if not shot.problem_of("motion") and len(pairs_P3 := shot.arrays["motion.pairs"]):
            values["dynamic_top5"], values["residual_top5"] = (_mean(pairs_P3[:, column]) for column in (0, 1))
            values["held_frame_ratio"] = held_ratio(shot.arrays["motion.neighbours"].tolist())
        if not shot.problem_of("pictures"):
            faults_F2 = shot.arrays["pictures.faults"]
            values["autocorrelation"], values["blank_share"] = (_mean(faults_F2[:, column]) for column in (0, 1))
            values["letterbox"] = float(shot.arrays["pictures.bars"][0])
            cutouts = [
                one.arrays["cutout.rgba"]
                for one in story.references
                if one.character in story.schedule[index] and "cutout.rgba" in one.arrays
            ]
            frame_HW3 = shot.arrays["pictures.frame"]
            values["copy_match"] = max((self._match(frame_HW3, cutout) for cutout in cutouts), default=None)
        values["copy_paste_mirror"] = self._mirror(story, index)
        return values

    def _mirror(self, story: EncodedStory, index: int) -> float | None:
        shot = story.shots[index]
        if shot.problem_of("identity"):
            return None
        shares = []
        for one in story.references:
            if one.character not in story.schedule[index] or "mirrored_reference.rows" not in one.arrays:
                continue
            plain_1D, mirrored_1D = one.arrays["reference.rows"], one.arrays["mirrored_reference.rows"]
            if float(self.backbone.similarity(plain_1D, mirrored_1D)[0, 0]) > _MIRROR_BLIND:
                continue
            frames_FD = shot.arrays["identity.rows"]
            plain_F, mirrored_F = (self.backbone.similarity(frames_FD, row)[:, 0] for row in (plain_1D, mirrored_1D))
            pairs = zip(plain_F.tolist(), mirrored_F.tolist(), strict=True)
            shares.append(mean([mirror_preference(plain, mirrored) for plain, mirrored in pairs]))
        return max(shares, default=None)

    def _story(self, story: EncodedStory, shots: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
        values: dict[str, float | None] = {name: _known_mean([shot[name] for shot in shots]) for name in _SHOT_NAMES}
        matches = [value for shot in shots if (value := shot["copy_match"]) is not None]
        values["copy_match_max"] = max(matches, default=None)
        readable = [shot for shot in story.shots if not shot.problem_of("pictures")]
        hashed = [HashedShot(shot.arrays["pictures.hashes"], shot.arrays["pictures.mirrored"]) for shot in readable]
        values |= duplication(hashed)
        steps = [shot.arrays["motion.steps"] for shot in story.shots if not shot.problem_of("motion")]
        values["order_ratio"] = order_ratio([(float(step[0]), float(step[1])) for step in steps if len(step)])
        values["order_fit"] = self._order_fit(story)
        values["decode_ok"] = sum(1 for shot in story.shots if not shot.problem) / len(story.shots)
        return values

    def _order_fit(self, story: EncodedStory) -> float | None:
        if len(story.shots) < 2 or any(shot.problem_of("identity", "look") for shot in story.shots):
            return None
        fits: list[Callable[[Sequence[int]], float]] = []
        rows = [shot.arrays["identity.rows"] for shot in story.shots]
        for one in story.references:
            if "reference.rows" in one.arrays:
                likeness_S = [float(self.backbone.similarity(r, one.arrays["reference.rows"]).mean()) for r in rows]
                is_due_S = [float(one.character in names) for names in story.schedule]
                fits.append(partial(_cast_fit, likeness_S=np.array(likeness_S), is_due_S=np.array(is_due_S)))
        if story.scene_ids:
            backgrounds_SD = np.stack([shot.arrays["look.background"] for shot in story.shots])
            similarity_SS = self.backbone.similarity(backgrounds_SD, backgrounds_SD)
            weights_SS = _scene_weights(story.scene_ids)
            fits.append(partial(_scene_fit, similarity_SS=similarity_SS, weights_SS=weights_SS))
        if story.caption_rows is not None:
            match_SS = np.stack([self.backbone.similarity(r, story.caption_rows).mean(axis=0) for r in rows])
            fits.append(partial(_caption_fit, match_SS=match_SS))
        return order_fit(len(story.shots), fits)

    def _identity(self, stories: Sequence[EncodedStory]) -> list[dict[str, float | None]]:
        gallery: dict[tuple[str, str], list[NDArray[np.float32]]] = {}
        for story in sorted(stories, key=lambda one: one.story_id):
            for one in story.references:
                known = gallery.setdefault((story.ip_id, one.character), [])
                if "reference.rows" in one.arrays and len(known) < 1:
                    known.append(one.arrays["reference.rows"])
        keys = sorted(key for key, rows in gallery.items() if rows)
        if not keys:
            return [dict.fromkeys(("identity_margin", "identity_lift", "identity_contrast")) for _ in stories]
        references_RD = np.concatenate([gallery[key][0] for key in keys])
        similarity_NR = np.full((len(stories), len(keys)), math.nan)
        own, own_values = [], []
        for row, story in enumerate(stories):
            columns, values, rows = set(), [], []
            for shot, names in zip(story.shots, story.schedule, strict=True):
                if shot.problem_of("identity"):
                    continue
                rows.append(self.backbone.similarity(shot.arrays["identity.rows"], references_RD).mean(axis=0))
                here = [keys.index((story.ip_id, name)) for name in names if (story.ip_id, name) in keys]
                columns |= set(here)
                values += [mean([float(rows[-1][column]) for column in here])] if here else []
            if rows:
                similarity_NR[row] = np.mean(rows, axis=0)
            own.append(sorted(columns))
            own_values.append(mean(values) if values else None)
        owners = [ip_id for ip_id, _ in keys]
        return identity_contrasts(similarity_NR, owners, [story.ip_id for story in stories], own, own_values)


_SHOT_NAMES = (
    "residual_top5",
    "dynamic_top5",
    "held_frame_ratio",
    "copy_match",
    "copy_paste_mirror",
    "autocorrelation",
    "blank_share",
    "letterbox",
)


def _failed(shot: EncodedShot) -> str:
    return shot.problem_of("motion", "pictures", "identity", "look")


def _problem(shot: EncodedShot) -> str:
    """Return why the controls could not see all of a shot."""
    if failed := _failed(shot):
        return failed
    return "" if len(shot.arrays["motion.pairs"]) else "The shot has a single frame, so nothing can move."


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return mean(known.tolist()) if len(known) else None


def _known_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _cast_fit(order: Sequence[int], likeness_S: NDArray[np.float64], is_due_S: NDArray[np.float64]) -> float:
    """Return how much more a character is like its shots than like the others, up to scale."""
    return float(likeness_S[list(order)] @ (is_due_S - is_due_S.mean()))


def _scene_weights(scene_ids: Sequence[str | None]) -> NDArray[np.float64]:
    """Return weights of pairs of places, (S, S), that make a sum of similarities the contrast between scenes.

    All 0 unless there is a pair of the same scene and a pair of different ones.
    """
    places = range(len(scene_ids))
    pairs = [(i, j) for i in places for j in places if i < j and None not in (scene_ids[i], scene_ids[j])]
    same = [(i, j) for i, j in pairs if scene_ids[i] == scene_ids[j]]
    weights_SS = np.zeros((len(scene_ids), len(scene_ids)))
    if 0 < len(same) < len(pairs):
        for i, j in pairs:
            is_same = scene_ids[i] == scene_ids[j]
            weights_SS[i, j] = 1.0 / len(same) if is_same else -1.0 / (len(pairs) - len(same))
    return weights_SS


def _scene_fit(order: Sequence[int], similarity_SS: NDArray[np.float64], weights_SS: NDArray[np.float64]) -> float:
    """Return the contrast between scenes if the shots stood in another order."""
    return float((similarity_SS[np.ix_(order, order)] * weights_SS).sum())


def _caption_fit(order: Sequence[int], match_SS: NDArray[np.float64]) -> float:
    """Return how well captions fit the shots that stand in their places."""
    return float(match_SS[list(order), range(len(order))].sum())


def _watermarks(stories: Sequence[EncodedStory]) -> list[float | None]:
    """Return per story the share of the picture with edges that recur in other IPs' stories; None with one IP."""
    own: dict[str, NDArray[np.float64]] = {}
    of_ip: dict[str, list[NDArray[np.float64]]] = {}
    for story in sorted(stories, key=lambda one: one.story_id):
        edges = [s.arrays["pictures.edges"].view(np.int8) for s in story.shots if not s.problem_of("pictures")]
        if edges:
            own[story.story_id] = edge_directions(edges)
            of_ip.setdefault(story.ip_id, []).append(own[story.story_id])
    sums = {ip_id: np.sum(maps, axis=0) for ip_id, maps in sorted(of_ip.items())}
    total, count = sum(sums.values()), len(own)
    shares: list[float | None] = []
    for story in stories:
        others = count - len(of_ip.get(story.ip_id, ()))
        if story.story_id not in own or not others:
            shares.append(None)
        else:
            shares.append(recurring_share(own[story.story_id], (total - sums[story.ip_id]) / others))
    return shares
