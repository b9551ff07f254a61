"""Training on all visible accelerators: copies of the network share each batch.

There is no flag for GPUs: all GPUs that CUDA_VISIBLE_DEVICES shows are used. The batch
size of a recipe is the total over all devices.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from layernas_tf.core.errors import UserError, describe

if TYPE_CHECKING:
    import keras


@contextlib.contextmanager
def all_devices(tpu: str = "") -> Iterator[int]:
    """In the body, networks are built and trained on all devices of the best kind.

    TensorFlow uses `tf.distribute`, because Keras' distribution API does not support
    TensorFlow. JAX uses `keras.distribution.DataParallel`.

    Args:
      tpu: Name or address of a TPU, for TensorFlow only; `local` on a TPU's own
        machine.

    Yields:
      The number of devices.

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

    XLA is worth its time on accelerators only; on CPUs it just makes compilation
    longer. TensorFlow's copies on several devices exchange values, which programs
    compiled by XLA cannot do.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return not tf.distribute.has_strategy() and bool(
        tf.config.list_physical_devices("GPU")
    )


def agree_on_statistics(model: keras.Model) -> None:
    """Sets the statistics on every device to their mean over all devices.

    A file of the network contains this mean. Without this step, a training that resumes
    from the file would start from other values than those on the devices.
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


def _tpu_strategy(tpu: str) -> Any:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except Exception as error:  # from gRPC, the cloud's API, or the TPU itself
        raise UserError(
            f"`tpu`={tpu}: no TPU can be reached there: {describe(error)}"
        ) from None
