"""The story script of a segment.

question.py       what is asked, with pictures;  answer.py, json_text.py, stated_times.py how an answer is read
align.py          checked, mended, asked once more;  timeline.py, snap.py times set to cuts and frames
issues.py         everything that can be wrong, as a closed list
film_script.py    what a film's own script tells, and the rules that every story must keep
"""
