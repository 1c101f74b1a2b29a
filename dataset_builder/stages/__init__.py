"""The stages of a build, each a pure function of a film and of what earlier stages gave.

scan -> admit -> segment -> script -> references -> clips
                                   -> audio ------/
                                   (references -> looks, where characters are linked over stories)

film.py        the film and its scan, from the receipts of earlier stages;  answering.py who answers for a film
Each other file is the stage of its name; what a stage does is written in the room of that name.
"""
