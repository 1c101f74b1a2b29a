"""One decoding pass over a film: its time, its shot boundaries, sampled frames, hashes, features of its sound.

one_pass.py   the pass;  film_scan.py what it gives, and its file
detectors.py  who finds boundaries: our own, PySceneDetect, TransNetV2, or a class of yours
planes.py     a frame as a few thousand bytes;  cuts.py hard cuts;  blends.py and transitions.py fades and dissolves
phash.py      hashes of pictures;  boundaries.py found boundaries against true ones
"""
