"""How well each class is told from the others: of the winner, and of the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layernas_tf.datasets.data_check import UNBALANCED, DataCheck
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.finals import Finals, Training
from layernas_tf.training.scoring import balanced_accuracy, recalls

MOST_CLASSES = 100
"""Of more classes the confusion matrix is not written: it would have a million cells
for ImageNet."""


def confusion_of(trainings: Sequence[Training]) -> np.ndarray | None:
    """The confusion matrices of several trainings added up, (classes, classes)."""
    found = [t.test_confusion for t in trainings if t.test_confusion is not None]
    return np.sum(np.array(found, np.int64), axis=0) if found else None


def class_metrics(
    trainings: Sequence[Training], class_names: Sequence[str]
) -> dict[str, Any]:
    """For metrics.json: figures on the test images, over all trainings (seeds).

    Returns:
      `test_balanced_accuracy`; `test_accuracy_by_class`, None for a class without test
      images; `test_confusion`, rows the true classes, of up to `MOST_CLASSES`. Nothing
      where nothing was tested.
    """
    confusion = confusion_of(trainings)
    if confusion is None:
        return {}
    found: dict[str, Any] = {
        "test_balanced_accuracy": balanced_accuracy(confusion),
        "test_accuracy_by_class": dict(zip(class_names, recalls(confusion))),
    }
    if len(class_names) <= MOST_CLASSES:
        found["test_confusion"] = {
            "classes": list(class_names),
            "rows": confusion.tolist(),
        }
    return found


def class_notes(
    finals: Finals,
    class_names: Sequence[str],
    check: DataCheck | None,
    config: SearchConfig,
) -> list[str]:
    """That the classes are unbalanced, and that one is never found."""
    notes = []
    sizes = [size for size in check.classes if size.train] if check else []
    if sizes:
        few = min(sizes, key=lambda size: size.train)
        many = max(sizes, key=lambda size: size.train)
        if many.train > UNBALANCED * few.train:
            text = (
                f"The classes are unbalanced: {many.train:,} training images of "
                f"{many.name!r}, {few.train:,} of {few.name!r}."
            )
            untried = [
                flag
                for flag, used in (
                    ("--class_weights=balanced", config.class_weights == "balanced"),
                    (
                        "--reward=balanced_accuracy",
                        config.reward == "balanced_accuracy",
                    ),
                )
                if not used
            ]
            if untried:
                text += (
                    f" Accuracy favours the large classes; {' and '.join(untried)} "
                    "would count all classes alike."
                )
            notes.append(text)
    confusion = confusion_of(finals.winner_trainings)
    if confusion is not None:
        missed = [n for n, share in zip(class_names, recalls(confusion)) if share == 0]
        if missed:
            listed = ", ".join(map(repr, missed[:5]))
            more = f" and {len(missed) - 5} more" if len(missed) > 5 else ""
            notes.append(f"The winner finds no test image of {listed}{more}.")
    return notes
