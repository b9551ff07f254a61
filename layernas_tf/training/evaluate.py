"""Accuracy and loss of a Keras model on a split of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layernas_tf.datasets.split import Split
from layernas_tf.training.scoring import Scores, compile_for_use, gives_logits, score

if TYPE_CHECKING:
    import keras

    from layernas_tf.training.segments import SegmentCache


def evaluate_model(
    model: keras.Model,
    split: Split,
    *,
    segments: SegmentCache | None = None,
    batch_size: int = 256,
) -> Scores:
    """Measures a network on a split.

    Args:
      model: Takes float32 images in [0, 255], gives logits or probabilities. It is
        compiled for that, and loses its optimizer.
      split: What to measure on.
      segments: As for `train_model`.
      batch_size: Images that are computed at a time.
    """
    import keras

    if segments is not None and keras.backend.backend() == "tensorflow":
        from layernas_tf.training.segment_training import predict_segments

        outputs, labels = predict_segments(model, split, segments, batch_size)
        if outputs is not None:
            return score(outputs, labels, gives_logits(model))
    compile_for_use(model)
    figures = model.evaluate(split.batches(batch_size), return_dict=True, verbose=0)
    right = round(figures["accuracy"] * split.size)  # what float32 made of a count
    return Scores(right / split.size, float(figures["loss"]))
