"""What networks are trained on."""

from __future__ import annotations


def compiled_by_xla() -> bool:
    """Whether a network's steps are compiled by XLA.

    It pays on accelerators; on CPU it only makes compilation longer. TensorFlow's
    copies on several devices talk to each other, which XLA's programs cannot.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return not tf.distribute.has_strategy() and bool(
        tf.config.list_physical_devices("GPU")
    )
