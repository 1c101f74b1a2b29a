"""A static leaderboard of results files: ranks with intervals, controls that gate, every story to look at.

results_records.py  what a results file says;  read_results.py  reads and checks it
columns.py          the words of every number: title, definition, task of a benchmark
ranking.py          runs -> boards: one per benchmark, revision and track; one column per signature
significance.py     which neighbours of a ranking can be told apart;  curves.py  a number over the shots of a story
system_table.py     a row in full: by story, by IP, by shot
board_data.py       a board as data for the page;  board_site.py  the site;  assets/  the page
board_table.py      the table on stdout and for a README
eval_results.py     `.eval_results/*.yaml` of model repositories;  space.py  a Space's folder, the dataset of results
paper_rows.json     Tables 2 and 3 of the paper: reported, not run again
"""
