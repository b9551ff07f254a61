"""Training and evaluating one network.

Keras is imported when a function is called, so importing this module is cheap.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.files import writing
from layernas_tf.datasets.split import Dataset
from layernas_tf.training.class_weights import class_weights
from layernas_tf.training.devices import agree_on_statistics, compiled_by_xla
from layernas_tf.training.evaluate import evaluate_model
from layernas_tf.training.optimizer import make_optimizer, statistics_momentum
from layernas_tf.training.progress import Laps, stale
from layernas_tf.training.quick_convolutions import quick_convolutions
from layernas_tf.training.recipe import Recipe, default_recipe
from layernas_tf.training.result import TrainingResult, check_finite
from layernas_tf.training.scoring import Scores, compile_for_use, gives_logits
from layernas_tf.training.soft_labels import hints_of, one_hot

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from layernas_tf.training.checkpoint import Checkpoint
    from layernas_tf.training.segments import SegmentCache

_SEGMENTED_IMAGES = 50_000
"""Images seen in a training up to which shared pieces save more than they cost: a graph
of the whole network takes half a minute of processor time to make, and then about a
millisecond less per image."""

__all__ = [
    "Recipe",
    "Scores",
    "TrainingResult",
    "default_recipe",
    "evaluate_model",
    "precision",
    "save_model",
    "train_model",
]


@contextlib.contextmanager
def precision(recipe: Recipe) -> Iterator[None]:
    """In the body, networks are built for the recipe's precision."""
    import keras

    before = keras.config.dtype_policy()
    if recipe.mixed_precision:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def train_model(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    segments: SegmentCache | None = None,
    checkpoint: Checkpoint | None = None,
    until: int | None = None,
) -> TrainingResult:
    """Trains a network on `dataset.train` and validates it on `dataset.valid`.

    Running statistics of batch normalization are averaged over the last tenth of the
    steps, over 200 at most, or over fewer if the layer's momentum says so. The
    published momentum of MobileNetV3, 0.999, would need thousands of steps.

    Args:
      model: Takes float32 images in [0, 255], gives logits or probabilities. It ends
        with the trained weights.
      dataset: What to train on; with a teacher's features (`distill.hinted`) the
        network learns these, too.
      recipe: How to train.
      seed: Seed of the order of the images and their augmentation; set Keras' own seed
        before the model is built.
      callbacks: Callbacks for Keras' fit.
      segments: Compiled pieces from other trainings: with it and without callbacks a
        short training takes a fraction of the time (TensorFlow only); a long one
        is left to Keras' fit, and so is one with a moving average of weights or mixup.
      checkpoint: Where the state is saved after every epoch. If there is one already,
        the training resumes from it and ends as if it had not been interrupted.
      until: Stops after this many of the recipe's epochs, whose schedule remains that
        of the whole training; the checkpoint lets a later call go on.

    Raises:
      FloatingPointError: The loss became NaN or infinite.
      UserError: The network does not fit the images, or there is less than one epoch.
    """
    import keras

    check_shape(model, dataset)
    check_epochs(recipe)
    if (
        segments is not None
        and recipe.epochs * dataset.train.size <= _SEGMENTED_IMAGES
        and not (callbacks or recipe.mixup or recipe.ema)
        and keras.backend.backend() == "tensorflow"
    ):
        from layernas_tf.training.segment_training import train_segments

        result = train_segments(
            model, dataset, recipe, seed, segments, checkpoint, until
        )
        if result is not None:
            compile_for_use(model)
            return result
    return _fit(model, dataset, recipe, seed, callbacks, checkpoint, until)


def check_epochs(recipe: Recipe) -> None:
    """Raises `UserError` if the recipe trains nothing."""
    if recipe.epochs < 1:
        raise UserError(f"recipe: epochs must be at least 1, got {recipe.epochs}")


def check_shape(model: keras.Model, dataset: Dataset) -> None:
    """Raises `UserError` unless the network takes these images and has the classes."""
    expected = (*dataset.shape, dataset.classes)
    got = (*model.input_shape[1:], model.output_shape[-1])
    if any(g is not None and g != e for g, e in zip(got, expected, strict=True)):
        raise UserError(
            f"the network takes images of {got[:-1]} and has {got[-1]} classes, the "
            f"data set {dataset.name!r} has images of {expected[:-1]} and "
            f"{expected[-1]} classes"
        )


def _fit(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback],
    checkpoint: Checkpoint | None,
    until: int | None,
) -> TrainingResult:
    import keras

    from layernas_tf.training.hints import class_accuracy, image_losses, with_hints

    started = time.perf_counter()
    last = recipe.epochs if until is None else min(until, recipe.epochs)
    per_epoch = recipe.steps_per_epoch(dataset.train.size)
    steps = per_epoch * recipe.epochs
    network = with_hints(model, hints_of(dataset))
    optimizer = make_optimizer(network, recipe, steps)
    # If the first step made the optimizer's variables, it would be traced twice.
    optimizer.build(network.trainable_variables)
    state = [*network.variables, *optimizer.variables]
    rows = checkpoint.load(state, last) if checkpoint else []
    clock = Laps()
    network.compile(
        optimizer,
        loss=image_losses(
            dataset.classes,
            len(hints_of(dataset)),
            label_smoothing=recipe.label_smoothing,
            logits=gives_logits(model),
        ),
        metrics=[class_accuracy(dataset.classes)],
        jit_compile=compiled_by_xla(),
    )

    def finish_epoch(epoch: int, logs: Mapping[str, float]) -> None:
        agree_on_statistics(network)
        row = {k.replace("val_", "valid_"): float(v) for k, v in logs.items()}
        rows.append({**row, "seconds": clock.lap()})
        network.stop_training |= stale(rows, recipe)
        # No training should resume from weights that are NaN.
        if checkpoint and math.isfinite(logs["loss"]):
            checkpoint.save(rows, state)

    added = [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_end=finish_epoch),
    ]
    if recipe.ema:
        added.append(keras.callbacks.SwapEMAWeights())  # during validation
    with (
        _statistics_momentum(network, statistics_momentum(steps)),
        quick_convolutions(network),
    ):
        network.fit(
            training_batches(dataset, recipe, seed, start=len(rows) * per_epoch),
            # Ended early, it does not go on.
            epochs=len(rows) if stale(rows, recipe) else last,
            initial_epoch=len(rows),
            steps_per_epoch=per_epoch,
            validation_data=dataset.valid.batches(256).map(_one_hot(dataset.classes)),
            callbacks=[*added, *callbacks],
            shuffle=False,
            verbose=0,
        )
    check_finite(rows[-1]["loss"], len(rows))
    scores = evaluate_model(model, dataset.valid)
    return TrainingResult(
        valid_accuracy=scores.accuracy,
        valid_loss=scores.loss,
        valid_balanced_accuracy=scores.balanced_accuracy,
        valid_correct=scores.correct,
        train_loss=rows[-1]["loss"],
        train_seconds=time.perf_counter() - started,
        history=tuple(rows),
    )


def training_batches(
    dataset: Dataset, recipe: Recipe, seed: int, start: int = 0
) -> tf.data.Dataset:
    """Batches for ever: augmented images and labels as probabilities, mixed or not.

    With class weights also what each image counts in the loss.
    """
    import tensorflow as tf

    from layernas_tf.datasets.augment import mixup

    batches = dataset.train.batches(
        recipe.batch_size,
        seed=seed,
        augment=recipe.augment,
        randaugment=recipe.randaugment,
        repeat=True,
        start=start,
    ).map(_one_hot(dataset.classes))
    if recipe.mixup:

        def mix(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> Any:
            key = tf.stack([tf.constant(seed, tf.int64), step])
            images, labels = batch
            return mixup(images, labels, key, recipe.mixup)

        batches = batches.enumerate(start).map(mix, num_parallel_calls=tf.data.AUTOTUNE)
    weights = class_weights(dataset, recipe.class_weights)
    if weights is None:
        return batches
    # A mixed image counts as its parts do.
    true = slice(0, dataset.classes)  # hints may follow
    return batches.map(lambda x, y: (x, y, tf.linalg.matvec(y[:, true], weights)))


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes a `.keras` file, whole or not at all, without the optimizer's state."""
    with writing(path) as temporary:
        model.save(temporary)


def _one_hot(classes: int) -> Any:
    return lambda images, labels: (images, one_hot(labels, classes))


@contextlib.contextmanager
def _statistics_momentum(model: keras.Model, momentum: float) -> Iterator[None]:
    import keras

    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = min(layer.momentum, momentum)
    try:
        yield
    finally:
        for layer, value in zip(layers, before):
            layer.momentum = value
