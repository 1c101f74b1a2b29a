"""Scores of generated stories that say what they rest on.

story_prediction.py regions.py   what is scored              predictions.py   where it is read from
sampling.py views.py             which frames, what of them  backbones/       pictures, texts and sounds to rows
shot_feature.py story_metric.py  what a metric is            view_features.py features that several metrics share
metrics/                         a file per metric; the arithmetic beside them: fidelity.py, consistency.py, ...
engine.py                        each file decoded once, each picture embedded once: shot_media.py, worker_pool.py,
                                 content_hash.py, embedding_cache.py;  encoding.py  what is left of a story
scoring.py aggregate.py          numbers to results          statistics/      intervals and tests over IPs
results*.py compare.py           records, file, folder, table, comparison;  manifest.py  versions and hashes
runner.py                        `evaluate_stories`          evaluate_command.py  `animeshooter evaluate`; presets.py
judge/ human/                    a judge, raters             leaderboard/ bench/  the board, the benchmark
hf_modules.py hf_*.py            the metrics as modules of `evaluate`; their folders hold cards (`cards/metric_card.py`)
                                 and demos (`metric_app.py`)
"""
