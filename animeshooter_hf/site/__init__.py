"""A static site of a dataset folder: browse stories and play their shots, from disk or from a Space."""
