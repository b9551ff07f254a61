"""What a search is of, in the lines that it begins with."""

from __future__ import annotations

import collections

from layernas_tf.pipeline.task import Task
from layernas_tf.study.study import Study


def description(task: Task, study: Study) -> list[str]:
    """The algorithm, the space, the budgets, the images, the device."""
    config, dataset = task.config, task.dataset
    budgets = "; ".join(map(str, task.targets))
    lines = [
        f"{config.algorithm} on {task.space.name} ({task.space.size:.3g} "
        f"architectures) under {budgets}"
    ]
    if dataset is not None:
        shape = "x".join(map(str, dataset.shape))
        lines.append(
            f"{dataset.name}: {dataset.train.size:,} images to train, "
            f"{dataset.valid.size:,} to validate, {dataset.test.size:,} to test, "
            f"{shape}, {dataset.classes} classes; trained on {_device()}"
        )
        if dataset.check is not None:
            lines += dataset.check.lines()
        else:
            lines += [f"Note: {note}" for note in dataset.notes]
        if dataset.frame is not None and config.dataset.startswith("folder:"):
            lines.append(f"Network's input: {dataset.frame.sentence()}")
    if task.pretrained is not None:
        lines.append(f"Pretrained weights: {task.pretrained}.")
    if task.latency is not None:
        lines.append(f"Latency: {task.latency}.")
    if study.trials:
        lines.append(f"Resuming after {len(study.trials)} trials.")
    return lines


def _device() -> str:
    """The devices that Keras computes on; a GPU that it does not find is not listed."""
    import keras

    devices = keras.distribution.list_devices()
    kinds = collections.Counter(device.split(":")[0] for device in devices)
    return ", ".join(f"{count} {kind.upper()}" for kind, count in kinds.items())
