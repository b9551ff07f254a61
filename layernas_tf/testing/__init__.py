"""Tests for the user's own parts: the laws that drivers and studies rely on."""

from layernas_tf.testing.algorithm_conformance import AlgorithmConformance
from layernas_tf.testing.chains import everything, random_space

__all__ = ["AlgorithmConformance", "everything", "random_space"]
