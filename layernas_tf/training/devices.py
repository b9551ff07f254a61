"""Training on every accelerator that is visible: copies of the network, shared batches.

There is no flag for GPUs: CUDA_VISIBLE_DEVICES says which are used, and who gives a
training several wants them all to work. A recipe's batch size is that of all together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from layernas_tf.core.errors import UserError, describe

if TYPE_CHECKING:
    import keras


@contextlib.contextmanager
def all_devices(tpu: str = "") -> Iterator[int]:
    """Within it, networks are built for and trained on all devices of the best kind.

    With TensorFlow by `tf.distribute` (Keras' distribution API leaves it to that),
    with JAX by `keras.distribution.DataParallel`.

    Args:
      tpu: Name or address of a TPU, TensorFlow only; `local` on its own machine.

    Yields:
      How many devices work.

    Raises:
      UserError: The TPU cannot be reached.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        if tpu:
            raise UserError(
                f"`tpu`={tpu} is for TensorFlow; {keras.backend.backend()} uses the "
                "TPUs of its machine by itself"
            )
        yield _distribute_keras()
        return
    import tensorflow as tf

    if tpu:
        strategy = _tpu_strategy(tpu)
    else:
        devices = tf.config.list_logical_devices("GPU")
        devices = devices or tf.config.list_logical_devices("CPU")
        if len(devices) == 1:
            yield 1
            return
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    with strategy.scope():
        yield strategy.num_replicas_in_sync


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


def agree_on_statistics(model: keras.Model) -> None:
    """Gives all devices the mean of what each has averaged of its own batches.

    The mean is also what a file of the network gets; without this, a training that
    goes on from a file would go on from something else.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if tf.distribute.has_strategy():
        for variable in model.non_trainable_variables:
            variable.assign(keras.ops.convert_to_numpy(variable))


def _distribute_keras() -> int:
    import keras

    devices = keras.distribution.list_devices()
    if len(devices) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    return len(devices)


def _tpu_strategy(tpu: str):
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except Exception as error:  # of gRPC, of the cloud's API, or of the TPU itself
        raise UserError(
            f"`tpu`={tpu}: no TPU can be reached there: {describe(error)}"
        ) from None
