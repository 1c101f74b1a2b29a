"""Reference images: candidate frames, masks of the characters in them, and the paper's rules for keeping one.

rules.py        opening and closing, contours, components, area
candidates.py   frames at one per second, the mask of each character in them, what was kept and why not
"""
