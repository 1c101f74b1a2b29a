"""The story script of a segment: the question, the answer, and how the answer is checked, mended and set to frames."""
