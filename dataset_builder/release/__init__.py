"""Read the annotation files of the paper's public release, in every variant, into stories.

reader.py    files -> stories; total, whatever the JSON
files.py     a JSON, a folder or a zip -> the bytes of each file
keys.py      every spelling of every key
values.py    single values, whatever type they were written in
shots.py     shots and their times;  masks.py reference masks;  stories.py one segment -> one story
videos.py    video files beside the annotation
problems.py  what can be wrong, as a closed list of codes, and the log that counts it
"""
