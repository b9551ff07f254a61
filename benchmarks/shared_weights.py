"""Weights shared by all candidates, against weights cut from the published network.

    python -m benchmarks.shared_weights --weights=mobilenetv2.h5 \
        --dataset=npz:cifar10_1250.npz --out=runs/shared

One network is trained for `--epochs` epochs so that its parts work, too: in every step
the whole network learns from the labels, and a random part inside the budget from the
whole network's answers, both with the same weights (Yu and Huang, "Universally
Slimmable Networks", arXiv 1903.05134, of which this is a small prototype: channels are
masked, not sliced). Then `--architectures` random parts are judged as a pretrained
search judges them, with the published and with the shared weights, and fine-tuned from
both: the rank correlations say which judgement tells more, and the accuracies which
weights are the better start. What is there already in --out is not computed again.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from benchmarks.fidelity_tables import correlation
from layernas_tf.core.app import run_main
from layernas_tf.core.files import read_json, write_json
from layernas_tf.space.types import Architecture

if TYPE_CHECKING:
    import keras

    from layernas_tf.training.start import Start

_DONORS = 48
"""Random parts whose masks are made, to be drawn from in training."""


def masks_of(whole: keras.Model, start: Start, part: keras.Model) -> list[np.ndarray]:
    """For each batch normalization of the whole network, which channels a part has.

    A convolution that the part leaves out gets zeros, so that only the residual around
    its block remains.
    """
    from layernas_tf.training.surgery import transplant

    channels = transplant(start.donor, part).channels
    masks = []
    for layer in _norms(whole):
        name = layer.input._keras_history.operation.name
        mask = np.zeros(layer.gamma.shape[0], np.float32)
        mask[channels.get(name, np.zeros(0, np.int64))] = 1
        masks.append(mask)
    return masks


def _norms(model: keras.Model) -> list[Any]:
    import keras

    return [
        la for la in model.layers if isinstance(la, keras.layers.BatchNormalization)
    ]


def train_shared(
    whole: keras.Model,
    masks: Sequence[Sequence[np.ndarray]],
    dataset: Any,
    epochs: int,
    seed: int,
) -> None:
    """Trains the whole network together with parts of it."""
    import keras
    import tensorflow as tf

    from layernas_tf.training.graph_walk import walk

    batch_size = 32
    per_epoch = dataset.train.size // batch_size
    rate = keras.optimizers.schedules.CosineDecay(1e-3, epochs * per_epoch)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4)
    optimizer.build(whole.trainable_variables)
    order = {layer.name: n for n, layer in enumerate(_norms(whole))}

    def run(images: tf.Tensor, mask: Sequence[tf.Tensor] | None) -> tf.Tensor:
        def call(layer: keras.layers.Layer, inputs: Any) -> Any:
            if layer.name in order:
                made = layer(inputs, training=True)
                return made if mask is None else made * mask[order[layer.name]]
            return layer(inputs)

        return walk(whole, images, call)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor, mask: list[tf.Tensor]) -> None:
        with tf.GradientTape() as tape:
            answers = run(images, None)
            right = keras.losses.sparse_categorical_crossentropy(labels, answers)
            taught = tf.stop_gradient(answers)
            alike = keras.losses.categorical_crossentropy(taught, run(images, mask))
            loss = tf.reduce_mean(right) + tf.reduce_mean(alike)
        variables = whole.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)

    rng = np.random.default_rng(seed)
    batches = dataset.train.batches(
        batch_size, seed=seed, augment="shift_flip", repeat=True
    )
    for images, labels in batches.take(epochs * per_epoch):
        chosen = masks[rng.integers(len(masks))]
        step(images, labels, [tf.constant(mask) for mask in chosen])


_EPOCHS = 4
"""Of the training that says what a part is worth."""


class Experiment:
    """All steps, each computed once.

    Example: `Experiment(pathlib.Path("runs/shared")).measure()`.
    """

    def __init__(self, out: pathlib.Path):
        from layernas_tf.datasets import load_dataset
        from layernas_tf.pipeline.evaluation import shared_segments
        from layernas_tf.space.budget import parse_budget
        from layernas_tf.space.completions import BudgetedChain
        from layernas_tf.space.parts import parts_of
        from search_spaces.registry import get_space

        given = flags.FLAGS
        out.mkdir(parents=True, exist_ok=True)
        self._out, self._segments = out, shared_segments()
        self._dataset = load_dataset(given.dataset, resolution=given.resolution)
        self._space = get_space(
            given.space, resolution=given.resolution, classes=self._dataset.classes
        )
        marked, parts = parts_of(self._space, self._space.default)
        limit = parse_budget(given.budget, self._space)
        self._inside = BudgetedChain(marked.chain, [limit, parts])
        self._rows_path = out / "rows.json"
        self.rows: dict[str, Any] = (
            read_json(self._rows_path) if self._rows_path.exists() else {}
        )

    def measure(self) -> None:
        """Computes what is missing."""
        from layernas_tf.training.start import load_start, save_start, start_from

        kept = self._out / "pretrained.npz"
        if not kept.exists():
            weights = flags.FLAGS.weights
            save_start(start_from(weights, self._space, self._dataset), kept)
        start = load_start(kept, self._space, self._dataset)
        self._judge("published", start)
        shared = self._out / "shared.npz"
        if not shared.exists():
            began = time.process_time()
            save_start(self._shared(start), shared)
            self._note("shared", "seconds", time.process_time() - began)
        self._judge("shared", load_start(shared, self._space, self._dataset))

    def _shared(self, start: Start) -> Start:
        from layernas_tf.training.layer_weights import by_name, layer_weights
        from layernas_tf.training.recalibrate import recalibrate

        whole = self._space.build(self._space.default)
        for layer in whole.layers:
            for name, variable in by_name(layer).items():
                variable.assign(start.weights[layer.name][name])
        rng = np.random.default_rng(1)
        masks = [
            masks_of(whole, start, self._space.build(self._inside.sample(rng)))
            for _ in range(_DONORS)
        ]
        train_shared(whole, masks, self._dataset, flags.FLAGS.epochs, seed=0)
        recalibrate(whole, start.images)
        # The same channels as before are the important ones: `seen` stays.
        return dataclasses.replace(start, weights=layer_weights(whole))

    def _architectures(self) -> list[Architecture]:
        rng = np.random.default_rng(0)
        return [self._inside.sample(rng) for _ in range(flags.FLAGS.architectures)]

    def _judge(self, name: str, start: Start) -> None:
        """Loss as cut and test accuracy after a short training of each part."""
        from layernas_tf.pipeline.final_trainer import FinalTrainer
        from layernas_tf.training.recipe import Recipe

        recipe = Recipe(_EPOCHS, 32, learning_rate=1e-3, warmup_epochs=0.1 * _EPOCHS)
        trainer = FinalTrainer(
            self._out / name,
            self._space,
            self._dataset,
            recipe,
            self._segments,
            start=start,
        )
        for number, architecture in enumerate(self._architectures()):
            row = self.rows.setdefault(str(number), {})
            if f"{name} loss" not in row:
                began = time.process_time()
                model = self._space.build(architecture)
                _, scores = start.judge(model, self._dataset.valid)
                row[f"{name} seconds"] = time.process_time() - began
                self._note(str(number), f"{name} loss", scores.loss)
            if f"{name} test" not in row:
                training = trainer.test(trainer.train(architecture, 0))
                accuracy = training.test_accuracy or 0.0  # a failed training has none
                self._note(str(number), f"{name} test", accuracy)

    def _note(self, row: str, figure: str, value: float) -> None:
        self.rows.setdefault(row, {})[figure] = value
        write_json(self._rows_path, self.rows)
        print(f"{row}, {figure}: {value:.4g}", flush=True)

    def table(self) -> str:
        """Markdown: what each kind of weights tells, and what comes of it."""
        rows = [self.rows[str(n)] for n in range(flags.FLAGS.architectures)]
        figures = {
            f"{name} {figure}": np.array([row[f"{name} {figure}"] for row in rows])
            for name in ("published", "shared")
            for figure in ("loss", "test", "seconds")
        }
        once = {"published": 0.0, "shared": self.rows["shared"]["seconds"]}
        lines = [
            "| weights | CPU s once | CPU s a candidate | tau of the loss as cut with "
            "the test accuracy from the published weights | test accuracy after "
            f"{_EPOCHS} epochs, mean of the parts |",
            "|---|---|---|---|---|",
        ]
        for name in once:
            tau = correlation(
                (-figures[f"{name} loss"]).tolist(), figures["published test"].tolist()
            )
            seconds = figures[f"{name} seconds"].mean()
            lines.append(
                f"| {name} | {once[name]:.0f} | {seconds:.1f} | {tau} "
                f"| {figures[f'{name} test'].mean():.1%} |"
            )
        gain = figures["shared test"] - figures["published test"]
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        lines.append(
            f"\nShared less published, after the same {_EPOCHS} epochs: "
            f"{100 * gain.mean():+.1f} points ± {100 * half:.1f} ({len(gain)} parts)."
        )
        return "\n".join(lines)


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("weights", None, "As `--pretrained`.", required=True)
    flags.DEFINE_string("dataset", None, "As for the search.", required=True)
    flags.DEFINE_string("space", "mobilenet_v2", "Space of the network in the file.")
    flags.DEFINE_integer("resolution", 96, "Image size in pixels.")
    flags.DEFINE_string("budget", "madds=45%..57%", "What the parts may cost.")
    flags.DEFINE_integer("architectures", 12, "Random parts that are judged.")
    flags.DEFINE_integer("epochs", 10, "Epochs of the shared training.")
    flags.DEFINE_string("out", "runs/shared", "Folder of the figures.")


def main(argv: Sequence[str]) -> None:
    """Measures what is missing and prints the table."""
    del argv
    from layernas_tf.pipeline.evaluation import prepare_libraries

    prepare_libraries()
    experiment = Experiment(pathlib.Path(flags.FLAGS.out))
    experiment.measure()
    print(experiment.table())


if __name__ == "__main__":
    define_flags()
    run_main(main)
