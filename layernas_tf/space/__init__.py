"""Choices and bounds: types, search space, budget, chain and candidates."""

from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer, Metric, Option, State

__all__ = [
    "Architecture",
    "Budget",
    "Candidate",
    "Layer",
    "Metric",
    "Option",
    "SearchSpace",
    "State",
]
