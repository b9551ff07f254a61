"""Rewards looked up in a benchmark table instead of trained."""

from __future__ import annotations

import dataclasses

from layernas_tf.algorithms.base import Candidate
from layernas_tf.evaluators.base import Evaluation
from layernas_tf.tabular.table import Table


@dataclasses.dataclass(frozen=True)
class TableEvaluator:
    """Looks candidates up in a table.

    The reward is the table's search signal; `metrics["test"]` is the figure that is
    reported of it and that no search may see.

    Attributes:
      table: Where to look.
    """

    table: Table

    def __call__(self, candidate: Candidate) -> Evaluation:
        """Raises `UserError` if the table does not hold the candidate."""
        row = self.table.query(candidate.architecture)
        return Evaluation(reward=row.valid, metrics={"test": row.test})
