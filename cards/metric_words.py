"""What each number of each metric means and which values it can take, for the cards of the metrics.

Which way is better is the metric's own knowledge (`directions`) and is not repeated here. A test holds the names of
both against each other.
"""

from collections.abc import Mapping

__all__ = ["METRIC_NUMBERS", "PREFERENCE_NUMBERS"]

Words = tuple[str, str]
"""What a number means, and its range."""

_UNIT = "[0, 1]"
_LIKENESS = "[1e-6, 1]"
_FOUND: Words = ("share of the scheduled characters who were looked for and found", _UNIT)

_FIDELITY: Mapping[str, Words] = {
    "mean": ("mean similarity of the shots of a story to the references of their characters", _LIKENESS),
    "min": ("the worst shot; `None` if a shot failed, since that may be the worst", _LIKENESS),
    "harmean_p": ("harmonic mean of the shots times the worst one: the paper's HarMeanP", "[1e-12, 1]"),
    "within_sd": ("standard deviation over the shots of a story (n - 1)", "[0, .71]"),
    "slope": ("change per shot along the story; below 0 the character drifts away", "[-1, 1]"),
    "distance_mean": ("1 - `mean`", _UNIT),
    "distance_harmean_p": ("1 - `harmean_p`: how the paper turns a distance d = 1 - s back", _UNIT),
    "retrieval_at_1": (
        "share of the own characters that are closer than every character of another IP; no ties",
        _UNIT,
    ),
    "margin": ("own similarity minus the best of the other IPs' characters", "[-1, 1]"),
    "found_rate": _FOUND,
    "characters_without_reference": ("characters who should be seen and have no reference", "0, 1, ..."),
    "auc": (
        "chance that a shot is closer to its own reference than a shot of another IP is; over all pairs",
        "[0, 1], chance .5",
    ),
    "macro_auc": ("the same for each reference, then the mean over references", "[0, 1], chance .5"),
}

_VIEWS: Mapping[str, str] = {
    "": "whole frames",
    "foreground_": "the guessed foreground",
    "background_": "the guessed background",
    "style_": "style: palette, contrast and strokes, or the rows of `style_backend`",
    "character_": "each character inside its regions, mean over the characters seen in two shots or more",
}
_CONSISTENCY: Mapping[str, Words] = {
    "pairwise": ("mean similarity over all pairs of shots", _LIKENESS),
    "adjacent": ("over neighbouring shots", _LIKENESS),
    "anchor": ("of every later shot with the first", _LIKENESS),
    "gap_slope": ("change of similarity per shot of distance; below 0 the look is lost", "[-1, 1]"),
    "loo_centroid": ("of every shot with the mean of the *others*", _LIKENESS),
}
_CROSS_SHOT: Mapping[str, Words] = {
    **{
        prefix + name: (f"{words}; {view}", span)
        for prefix, view in _VIEWS.items()
        for name, (words, span) in _CONSISTENCY.items()
    },
    "scene_contrast": ("background similarity of shots of the same scene minus that of different scenes", "[-1, 1]"),
    "scene_auc": (
        "chance that a pair of the same scene is more alike than a pair of different scenes",
        "[0, 1], chance .5",
    ),
    "found_rate": _FOUND,
}

_CONTROLS: Mapping[str, Words] = {
    "residual_top5": ("px per 1/8 s at 256 px of width, of the fastest twentieth, which no camera explains", "from 0"),
    "dynamic_top5": ("the same with the camera in it", "from 0"),
    "held_frame_ratio": ("share of neighbouring frames that are one drawing; usual in anime", _UNIT),
    "order_ratio": (
        "change between neighbouring frames in parts of that between distant ones; about 1 if shuffled",
        "from 0",
    ),
    "shot_duplication": (
        "agreement of the perceptual hashes of the two shots most alike, mirrored or not",
        "about [.5, 1]",
    ),
    "distinct_shots": ("share of shots that repeat no earlier one", "(0, 1]"),
    "copy_match": ("how exactly a reference of a scheduled character is found in the shot's pixels", _UNIT),
    "copy_match_max": ("the same of the worst shot", _UNIT),
    "copy_paste_mirror": (
        "share for the reference against its mirror image; `None` where the backend sees no difference",
        "[0, 1], .5 without copying",
    ),
    "identity_margin": ("own character minus the best of the other IPs' in the same story", "[-1, 1]"),
    "identity_lift": ("own character in this story minus the same one in other IPs' stories", "[-1, 1]"),
    "identity_contrast": ("the sum of both", "[-2, 2]"),
    "order_fit": ("share of other orders of the shots that fit the script worse, ties half", "[0, 1], chance .5"),
    "autocorrelation": ("likeness of neighbouring pixels, about 0 for noise", "[-1, 1]"),
    "blank_share": ("share of frames of one tone", _UNIT),
    "letterbox": ("share of the picture under black bars", _UNIT),
    "watermark": ("share of the picture with edges that recur in other IPs' stories", _UNIT),
    "decode_ok": ("share of shots that could be read", _UNIT),
}

_TEXT: Mapping[str, Words] = {
    "caption_contrast": ("own caption minus the mean of the story's other captions", "[-2, 2], chance 0"),
    "caption_similarity": (
        "mean cosine of the frames and the own caption (CLIPScore without factor and clipping)",
        "[-1, 1]",
    ),
    "caption_auc": ("share of the other captions that lie below the own one, ties half", "[0, 1], chance .5"),
    "caption_retrieval_at_1": ("whether the own caption lies above all others", "[0, 1], chance 1 / captions"),
    "caption_probability": ("what a backend with a sigmoid loss (SigLIP) gives to the pair", _UNIT),
    "captions_truncated": ("share of the captions of which the backend could not read the end", _UNIT),
}

_MATCH: Mapping[str, Words] = {
    "": ("cosine of {what}", "[-1, 1]"),
    "_contrast": ("own minus the mean of the story's other {others}", "[-2, 2], chance 0"),
    "_auc": ("share of the other {others} that lie below the own one", "[0, 1], chance .5"),
    "_retrieval_at_1": ("whether the own one lies above all others", "[0, 1], chance 1 / {others}"),
}
_AUDIO: Mapping[str, Words] = {
    "sync_auc": ("share of other shots' sounds that go less well with the picture than its own", "[0, 1], chance .5"),
    "sync": ("best correlation of motion and onsets of sound within 250 ms", "[-1, 1]"),
    "sync_others": ("the same with sounds of other shots: what chance gives", "[-1, 1]"),
    "sync_lag_ms": ("where the best correlation is; positive: the sound is late", "[-250, 250] ms"),
    "sync_lag_abs_ms": ("its distance from 0; about 125 for sound that knows nothing of the picture", "[0, 250] ms"),
    "loudness_lufs": ("integrated loudness by ITU-R BS.1770-4", "up to about 0 LUFS"),
    "loudness_jump_lu": ("mean difference of neighbouring shots", "from 0 LU"),
    "true_peak_dbtp": ("highest level between samples; above 0 playback clips", "up to about 6 dBTP"),
    "sample_peak_dbfs": ("highest sample", "up to about 6 dBFS"),
    "clipping_share": ("share of samples at or beyond full scale", _UNIT),
    "silence_share": ("share of the picture's time below -60 dBFS", _UNIT),
    **{
        f"sound_text{part}": (
            words.format(what="sound and its caption", others="sound captions"),
            span.format(others="captions"),
        )
        for part, (words, span) in _MATCH.items()
    },
    **{
        f"sound_video{part}": (words.format(what="frames and sound", others="sounds"), span.format(others="sounds"))
        for part, (words, span) in _MATCH.items()
    },
}

_ASSIGNMENT: Mapping[str, Words] = {
    "cast_fidelity": ("2 x sum of the regions' similarities to whom they claim to be / (regions + scheduled)", _UNIT),
    "assigned_fidelity": (
        "mean similarity of the best assignment of regions to characters, whatever names claim",
        _LIKENESS,
    ),
    "binding_accuracy": (
        "share of regions that are most alike to whom they claim to be; no ties",
        "[0, 1], chance 1 / characters",
    ),
    "swap_margin": ("likeness to the claimed character minus the best other one of the story", "[-1, 1]"),
    "found_rate": ("share of the scheduled characters whom a region claims to be", _UNIT),
    "count_error": ("difference of the numbers of regions and of scheduled characters", "from 0"),
    "unscheduled_regions": ("regions for whom nobody is left in the schedule", "from 0"),
    "characters_without_reference": ("characters who should be seen and have no reference", "0, 1, ..."),
}

METRIC_NUMBERS: Mapping[str, Mapping[str, Words]] = {
    "reference_fidelity": _FIDELITY,
    "cross_shot_consistency": _CROSS_SHOT,
    "shot_controls": _CONTROLS,
    "text_alignment": _TEXT,
    "audio_alignment": _AUDIO,
    "character_assignment": _ASSIGNMENT,
}
"""Metric -> number -> words. Every number is one of a story and, as the mean over stories, of the corpus."""

PREFERENCE_NUMBERS: Mapping[str, tuple[str, str, str]] = {
    "best": ("system with the highest strength", "", "-"),
    "strength/NAME": ("log-odds against the average system", "about [-5, 5], mean 0", "higher"),
    "low/NAME": ("lower end of the interval of the strength; `None` without two raters or two stories", "", "-"),
    "high/NAME": ("its upper end", "", "-"),
    "elo/NAME": ("the strength as a chess rating: 1000 is average, 400 more is ten wins to one", "", "higher"),
    "win_rate/NAME": ("mean chance to be preferred over each other system, a tie counted half", "[0, 1]", "higher"),
    "best_share/NAME": ("share of the draws in which the system is the strongest", "[0, 1]", "higher"),
    "n_votes/NAME": ("votes in which the system took part", "1, 2, ...", "-"),
    "position": ("log-odds by which what is at the left is ahead of an equal", "about [-5, 5]", "near 0"),
    "position_low": ("lower end of its interval", "", "-"),
    "position_high": ("upper end; position bias is seen where the interval does not hold 0", "", "-"),
    "tie_rate": ("share of votes that were ties", "[0, 1]", "-"),
    "n_votes": ("votes that went in", "1, 2, ...", "-"),
    "n_raters": ("raters who voted", "1, 2, ...", "-"),
}
"""Number of `story_preference` -> what it means, its range, which way is better."""
