"""Limits on the CPUs and the GPU memory of one of several worker processes."""

from __future__ import annotations

import math
import os
import subprocess

_USABLE = 0.9
"""Share of a GPU's memory that its workers divide; the driver needs the rest."""


def limit_threads(cpus: float) -> None:
    """Makes TensorFlow use as many threads as the worker has CPUs.

    Call it before TensorFlow is imported.
    """
    threads = str(max(1, math.floor(cpus)))
    os.environ["TF_NUM_INTRAOP_THREADS"] = threads
    os.environ["TF_NUM_INTEROP_THREADS"] = threads


def limit_gpu_memory(share: float) -> None:
    """Limits the process to a share of its GPU's memory.

    Ray uses fractions of a GPU only to place workers. Without a limit, the first
    TensorFlow process on a GPU takes all of its memory. Call this function before the
    first computation of the process.

    Args:
      share: Share of one GPU's memory; 1 or more sets no limit.
    """
    if not 0 < share < 1:
        return
    os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_USABLE * share:.3f}"  # JAX
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        total = gpu_memory_mib(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        if total is None:
            tf.config.experimental.set_memory_growth(gpu, True)
            continue
        limit = tf.config.LogicalDeviceConfiguration(
            memory_limit=int(_USABLE * share * total)
        )
        tf.config.set_logical_device_configuration(gpu, [limit])


def gpu_memory_mib(devices: str) -> int | None:
    """Memory of the smallest of these NVIDIA GPUs in MiB; None if it is unknown.

    Args:
      devices: Indices or UUIDs, separated by commas; empty for all GPUs.
    """
    command = [
        "nvidia-smi",
        "--query-gpu=memory.total",
        "--format=csv,noheader,nounits",
    ]
    if devices:
        command.append(f"--id={devices}")
    try:
        printed = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout
        return min(int(line) for line in printed.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
