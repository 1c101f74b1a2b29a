"""Read the annotation files of the paper's public release, in every variant, into stories.

reader.py    files -> stories; total, whatever the JSON
files.py     a JSON, a folder or a zip -> the bytes of each file
keys.py      every spelling of every key
values.py    single values, whatever type they were written in
shots.py     shots and their times;  masks.py reference masks;  sounds.py;  stories.py one segment -> one story
film_annotation.py   what a release tells of one film, as it lies beside the film while a dataset is built
videos.py    video files beside the annotation;  scaling.py masks of another size than the video
rewrite.py   stories -> the release's JSON;  extras.py what rows do not say, kept;  changes.py differences of JSON
reconcile.py the list of video IDs against the annotations;  availability.py which videos can be had, and why not
names.py     file names for video IDs that any disk can hold
problems.py  what can be wrong, as a closed list of codes, and the log that counts it
"""
