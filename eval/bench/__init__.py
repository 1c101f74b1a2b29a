"""AnimeShooter-Bench: a benchmark as a dataset repository, what may be submitted to it, and its exact toon edition.

    tracks.py          the tracks and their rules
    bench_records.py   stories, references and truth as records
    bench_features.py  typed features of the configs
    bench_tasks.py     tasks of the Hub's leaderboards, and eval.yaml
    bench_folder.py    write and open the folder of a benchmark
    reference_folder.py, given_prompts.py, make_bench.py
                       a benchmark from any set of references
    toon_stories.py, plan_json.py, toon_bench.py, toon_questions.py
                       the toon edition: plans, their JSON, the folder, and how its truth asks about pixels
    submission.py      read what a system made
    check_submission.py, completed_file.py, read_attributes.py
                       what is wrong with it; what is scored of it; which attributes are recovered from it

Importing this package loads nothing heavy.
"""
