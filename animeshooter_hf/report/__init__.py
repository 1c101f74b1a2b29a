"""Pictures for people who would rather look than read: contact sheets, plots, and pages that show them.

sheets.py           frames of every shot with references or masks, and grids, as one picture
plots.py            scores per shot, boundaries on a timeline, waveforms, histograms
page.py             one HTML page that works from disk; demo_page.py the page of a demo
build_data.py       what the page of a build is made from; build_pictures.py its pictures; build_page.py the page
"""
