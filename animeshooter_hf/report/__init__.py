"""Pictures for people who would rather look than read: contact sheets, plots, and a page that shows them.

sheets.py   reference beside frames of every shot, as one picture
plots.py    scores per shot, boundaries on a timeline, waveforms
page.py     one HTML page that works from disk
"""
