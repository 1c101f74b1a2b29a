"""Who writes the stories of a film: an `Annotator` takes a film and returns what it tells, validated as a whole.

script.py    the record that an annotator returns, and its validation
sidecar.py   the film's own script beside it
"""
