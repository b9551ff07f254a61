"""One narrow interface over the TFLite interpreters that are installed."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from export.tflite.quiet import captured_stderr
from layernas_tf.core.errors import UserError, reason_of
from layernas_tf.core.extras import missing


@dataclasses.dataclass(frozen=True)
class _Source:
    package: str
    distributions: tuple[str, ...]
    interpreter: str
    # Whether it checks a file before it follows offsets in it.
    checks_files: bool = False


# In the order in which `auto` picks: the maintained runtime first, the one that
# loads all of TensorFlow last.
_SOURCES: Mapping[str, _Source] = {
    "ai-edge-litert": _Source(
        "ai_edge_litert",
        ("ai-edge-litert",),
        "ai_edge_litert.interpreter",
        checks_files=True,
    ),
    "tflite-runtime": _Source(
        "tflite_runtime",
        ("tflite-runtime",),
        "tflite_runtime.interpreter",
    ),
    "tf.lite": _Source(
        "tensorflow",
        ("tensorflow", "tensorflow-cpu", "tf-nightly"),
        "tensorflow.lite.python.interpreter",
    ),
}

RUNTIMES = tuple(_SOURCES)
"""The names of the runtimes that can be asked for, installed or not."""


def installed_runtimes() -> tuple[str, ...]:
    """The runtimes of this Python environment, the one `auto` picks first."""
    return tuple(
        name
        for name, source in _SOURCES.items()
        if importlib.util.find_spec(source.package) is not None
    )


def resolve_runtime(runtime: str) -> str:
    """Turns `auto` into the name of an installed runtime and checks any other.

    Raises:
      UserError: If the runtime is unknown or not installed.
    """
    if runtime != "auto" and runtime not in _SOURCES:
        raise UserError(
            f"unknown runtime {runtime!r}: expected auto, {', '.join(RUNTIMES)}"
        )
    installed = installed_runtimes()
    if not installed:
        raise UserError(
            "no TFLite runtime is installed: expected one of the packages "
            "ai-edge-litert, tflite-runtime, tensorflow"
        )
    if runtime == "auto":
        return installed[0]
    if runtime not in installed:
        advice = f"expected one of {', '.join(installed)}"
        if runtime == "tflite-runtime":
            advice += f"; it {missing('tflite-runtime')}"
        raise UserError(f"runtime {runtime!r} is not installed: {advice}")
    return runtime


def runtime_version(runtime: str) -> str:
    """The installed version of a runtime, `unknown` for a build without metadata."""
    for distribution in _SOURCES[runtime].distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """The input or output of a .tflite file.

    Example:
      >>> tensor = Tensor("image", (1, 2), "uint8", scale=0.5, zero_point=10)
      >>> tensor.encode(np.array([[0.0, 1.0]]))
      array([[10, 12]], dtype=uint8)

    Attributes:
      name: Name in the file.
      shape: Shape, batch first.
      dtype: NumPy's name of the type: `float32`, `uint8` or `int8`.
      scale: Real value of one step; 0 where the tensor is not quantized.
      zero_point: The integer that stands for 0.0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Converts real values to the tensor's own type, rounded and clipped."""
        if self.scale == 0.0:
            return values.astype(self.dtype, copy=False)
        steps = np.rint(values.astype(np.float32) / self.scale) + self.zero_point
        limits = np.iinfo(self.dtype)
        return np.clip(steps, limits.min, limits.max).astype(self.dtype)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Converts values of the tensor's own type to real values in float32."""
        if self.scale == 0.0:
            return values.astype(np.float32)
        return (values.astype(np.float32) - self.zero_point) * np.float32(self.scale)


class LoadedModel:
    """A .tflite file in an interpreter, ready to run one image after the other.

    Example:
    ```python
    model = load("model_int8.tflite")
    probabilities = model.run(images)
    ```
    """

    def __init__(self, interpreter: Any, path: str, runtime: str, threads: int):
        self._interpreter = interpreter
        self.path = path
        self.runtime = runtime
        self.threads = threads
        self.input = _tensor(interpreter.get_input_details(), path, "input")
        self.output = _tensor(interpreter.get_output_details(), path, "output")
        self._input_index = interpreter.get_input_details()[0]["index"]
        self._output_index = interpreter.get_output_details()[0]["index"]

    def set_image(self, image: np.ndarray) -> None:
        """Sets the input to one image of pixels in [0, 255], shape (h, w, c)."""
        values = self.input.encode(np.asarray(image)[np.newaxis])
        self._interpreter.set_tensor(self._input_index, values)

    def invoke(self) -> None:
        """Runs the network once on the image that is set."""
        self._interpreter.invoke()

    def run(self, images: np.ndarray) -> np.ndarray:
        """Runs the network on images, one at a time as a device would.

        Args:
          images: Pixels in [0, 255], any numeric type, shape (n, h, w, c).

        Returns:
          The network's outputs as real values in float32, shape (n, classes).

        Raises:
          UserError: If the images are not of the network's shape.
        """
        images = np.asarray(images)
        if images.shape[1:] != self.input.shape[1:]:
            raise UserError(
                f"{self.path}: expected images of shape {self.input.shape[1:]}, got "
                f"{images.shape[1:]}"
            )
        outputs = np.empty((len(images), *self.output.shape[1:]), np.float32)
        for number, image in enumerate(images):
            self.set_image(image)
            self.invoke()
            values = self._interpreter.get_tensor(self._output_index)
            outputs[number] = self.output.decode(values[0])
        return outputs


def load(path: str, *, runtime: str = "auto", threads: int = 1) -> LoadedModel:
    """Loads a .tflite image classifier.

    Args:
      path: The file. Its input takes one image at a time, (1, h, w, c).
      runtime: One of `RUNTIMES`, or `auto` for the first that is installed.
      threads: Threads of one inference.

    Raises:
      UserError: If the file cannot be read or is not such a file, the runtime is
        unknown, not installed or cannot load the file, or `threads` is below 1.
    """
    runtime = resolve_runtime(runtime)
    if threads < 1:
        raise UserError(f"threads: expected 1 or more, got {threads}")
    interpreter = _interpreter(path, runtime, threads, delegates=True)
    return LoadedModel(interpreter, path, runtime, threads)


def open_interpreter(path: str, *, runtime: str = "auto", threads: int = 1) -> Any:
    """The runtime's own interpreter of any .tflite file, its tensors allocated.

    Arguments and errors are those of `load`, which is for image classifiers.
    """
    return _interpreter(path, resolve_runtime(runtime), threads, delegates=True)


def bare_interpreter(path: str, *, runtime: str = "auto") -> Any:
    """Like `open_interpreter`, with TFLite's own kernels: no delegate takes part."""
    return _interpreter(path, resolve_runtime(runtime), 1, delegates=False)


def operators(path: str) -> tuple[tuple[str, int], ...]:
    """TFLite names of a file's operators with their numbers, most frequent first.

    Raises:
      UserError: As `load`.
    """
    # Without delegates, which would add DELEGATE nodes of their own to the list.
    # The method is private, and the same in all three runtimes.
    interpreter = bare_interpreter(path)
    counts: dict[str, int] = {}
    for details in interpreter._get_ops_details():
        counts[details["op_name"]] = counts.get(details["op_name"], 0) + 1
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _interpreter(path: str, runtime: str, threads: int, *, delegates: bool) -> Any:
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise UserError(f"{path!r} cannot be read: {reason_of(error)}") from error
    if head[4:] != b"TFL3":
        raise UserError(f"{path!r} is not a .tflite file")
    if not _SOURCES[runtime].checks_files:
        # A damaged file can crash the process: let a runtime that checks look first.
        for checking in installed_runtimes():
            if _SOURCES[checking].checks_files:
                _interpreter(path, checking, 1, delegates=False)
                break
    # Before the import: what TensorFlow logs during it is of no interest here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with captured_stderr(), warnings.catch_warnings():
        # tf.lite.Interpreter announces its own removal at every use.
        warnings.simplefilter("ignore")
        module = importlib.import_module(_SOURCES[runtime].interpreter)
        resolver = (
            module.OpResolverType.AUTO
            if delegates
            else module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        try:
            interpreter = module.Interpreter(
                model_path=path,
                num_threads=threads,
                experimental_op_resolver_type=resolver,
            )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{runtime} cannot load {path!r}: {reason}") from error
    return interpreter


def _tensor(details: list[dict], path: str, role: str) -> Tensor:
    if len(details) != 1:
        raise UserError(f"{path!r}: expected one {role}, got {len(details)}")
    shape = tuple(int(size) for size in details[0]["shape"])
    dtype = np.dtype(details[0]["dtype"]).name
    rank = 4 if role == "input" else 2
    if len(shape) != rank or shape[0] != 1:
        wanted = "(1, height, width, channels)" if rank == 4 else "(1, classes)"
        raise UserError(f"{path!r}: expected an {role} of shape {wanted}, got {shape}")
    if dtype not in ("float32", "uint8", "int8"):
        raise UserError(
            f"{path!r}: expected an {role} of type float32, uint8 or int8, got {dtype}"
        )
    scale, zero_point = details[0]["quantization"]
    return Tensor(details[0]["name"], shape, dtype, float(scale), int(zero_point))
