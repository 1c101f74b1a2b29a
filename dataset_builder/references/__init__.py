"""Reference images: candidate frames, masks of the characters in them, and the paper's rules for keeping one.

candidates.py     frames at one per second; references from masks that are already there
segmenter.py      who finds a character from words: the protocol, and the list of those there are
                  sam3.py, grounded_sam2.py, clipseg.py, florence2.py (pretrained.py loads them), remote.py, truth.py
rules.py          opening and closing, contours, components, area
pictures.py       the frames' pictures; outlines, cut-outs, sharpness
verify.py         the question to a verifier, and how its answer is read
verdicts.py       what was decided and from what; deciding anew with other thresholds
find.py           all of that for a story: `find_references`
given.py          masks that came with an annotation, judged and kept as they are
linking.py        who is the same figure in different stories; embedders.py makes the vectors
"""
