"""Noise of a table's signal: a number per architecture, the same in every query."""

from __future__ import annotations

import numpy as np


def standard_normal(seed: int, architectures: np.ndarray) -> np.ndarray:
    """A standard normal number per architecture, a function of it and the seed.

    Args:
      seed: Any integer >= 0.
      architectures: Option indices, int array `(N, L)`.

    Returns:
      Float array `(N,)`.
    """
    first = _hash(seed, 1, architectures)
    second = _hash(seed, 2, architectures)
    # Box-Muller; the shift keeps the logarithm's argument above zero.
    radius = np.sqrt(-2 * np.log((first + 1.0) / 2**53))
    return radius * np.cos(2 * np.pi * second / 2**53)


def _hash(seed: int, stream: int, architectures: np.ndarray) -> np.ndarray:
    """53 bits per architecture by chaining the mixer of splitmix64 over its options."""
    word = np.full(len(architectures), (seed * 4 + stream) % 2**64, np.uint64)
    for options in architectures.astype(np.uint64).T:
        word = (word ^ (options + np.uint64(1))) + np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word ^= word >> np.uint64(31)
    return (word >> np.uint64(11)).astype(float)
