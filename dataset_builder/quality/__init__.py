"""What a film and a dataset are checked for.

admit.py          is it animation, without subtitles, long enough?  picture_scores.py what pictures tell without a model
duplicates.py     copies of films and shots;  hash_index.py, groups.py find and join them;  text_duplicates.py texts
leakage.py        what must stay in one split
rights.py         what may be done with a video;  private_data.py mail addresses and the like in texts
statistics.py     the paper's Table 1;  all_films.py all of it for a finished build
"""
