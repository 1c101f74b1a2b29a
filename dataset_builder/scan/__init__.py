"""One decoding pass over a film: its time, its shot boundaries, sampled frames, hashes, features of its sound."""
