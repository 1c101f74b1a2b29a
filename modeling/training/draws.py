"""Random numbers of a training that depend on nothing but the seed, the step and the place in the batch.

Every window of an optimizer step has a place from 0 to batch_size - 1, whatever process works on it and in whichever
forward pass. Its generators are made from (seed, step, place, purpose), so

  - a training that goes on at step N draws what an unbroken one draws, without any generator's state being kept;
  - one process and several draw the same;
  - one more draw for one purpose moves no other (timesteps stay when dropouts are switched on).
"""

import hashlib

import torch

__all__ = ["draw_seed", "sample_generator"]


def draw_seed(seed: int, step: int, position: int, purpose: str) -> int:
    """Return a seed of 63 bits.

    Args:
        seed: Of the training.
        step: Optimizer steps before this one.
        position: Place of the window in the step's batch over all processes.
        purpose: What is drawn, such as "noise", "timestep", "dropout".
    """
    text = f"{seed}/{step}/{position}/{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def sample_generator(seed: int, step: int, position: int, purpose: str) -> torch.Generator:
    """Return a generator on the CPU for one purpose of one window; see `draw_seed`."""
    return torch.Generator("cpu").manual_seed(draw_seed(seed, step, position, purpose))
