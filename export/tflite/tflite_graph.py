"""Writes .tflite files operator by operator, without TensorFlow.

Weights are random: the time of an inference does not depend on them. In int8, the steps
of tensors are about as large as in trained networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

FORMATS = ("float32", "int8")
"""Formats that a graph can be written in; int8 is like that of `export.convert`."""

STEP = (0.05, 0)
"""Step and zero point of an int8 tensor that nothing is known about."""
SIGMOID = (1 / 256, -128)
"""Step and zero point of a tensor from 0 to 1."""
RELU6 = (6 / 255, -128)
"""Step and zero point of a tensor from 0 to 6."""

_PIXELS = (1.0, -128)
_WEIGHT_STEP = 0.01
# The versions of operators that have int8 kernels, where they are not 2.
_INT8_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "QUANTIZE": 1,
    "HARD_SWISH": 1,
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Example: `Tensor(0, (1, 8, 8, 3), (1.0, -128))`.

    Attributes:
      index: Index in the file.
      shape: Shape, batch first.
      quantization: Step and zero point in int8.
    """

    index: int
    shape: tuple[int, ...]
    quantization: tuple[float, int]


class Graph:
    """A TFLite graph that is being written.

    Example:
      >>> graph = Graph((1, 8, 8, 3), "float32")
      >>> graph.input.shape
      (1, 8, 8, 3)

    Attributes:
      int8: Whether tensors are int8, else float32.
      input: The tensor that the first operator should read.
    """

    def __init__(self, shape: Sequence[int], form: str, *, pixels: bool = False):
        """Begins a graph.

        Args:
          shape: Shape of the input, batch first.
          form: One of `FORMATS`.
          pixels: Whether the input is an image, which int8 files take as uint8.
        """
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.int8 = form == "int8"
        self._codes: list[tuple[int, int]] = []
        self._buffers = [schema.BufferT()]
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._random = np.random.default_rng(0).normal(size=4096).astype(np.float32)
        if pixels and self.int8:
            image = self._add(tuple(shape), "UINT8", (1.0, 0))
            self._first = image.index
            self.input = self.run("QUANTIZE", [image], image.shape, _PIXELS)
        else:
            self.input = self._activation(tuple(shape), _PIXELS if pixels else STEP)
            self._first = self.input.index

    def write(self, output: Tensor) -> bytes:
        """The bytes of the file whose output is that tensor."""
        import flatbuffers

        schema = self.schema
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs = np.array([self._first], np.int32)
        graph.outputs = np.array([output.index], np.int32)
        graph.name = "main"
        model = schema.ModelT()
        model.version, model.description = 3, "layernas_tf"
        model.subgraphs, model.buffers = [graph], self._buffers
        model.operatorCodes = []
        for builtin, version in self._codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.version = builtin, version
            code.deprecatedBuiltinCode = min(builtin, 127)
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def run(
        self,
        code: str,
        inputs: Sequence[Tensor],
        shape: tuple[int, ...],
        quantization: tuple[float, int] = STEP,
        options: Any = None,
    ) -> Tensor:
        """Adds an operator.

        Args:
          code: The operator's name in TFLite's schema.
          inputs: The tensors it reads, in its order.
          shape: Shape of its output.
          quantization: Step and zero point of its output.
          options: Its options, an object of the schema.

        Returns:
          The operator's output.
        """
        return self._run(code, inputs, self._activation(shape, quantization), options)

    def to_uint8(self, x: Tensor) -> Tensor:
        """An int8 tensor as uint8, the type of an integer file's output."""
        step, zero_point = x.quantization
        unsigned = self._add(x.shape, "UINT8", (step, zero_point + 128))
        return self._run("QUANTIZE", [x], unsigned, None)

    def weights(
        self, x: Tensor, shape: tuple[int, ...], axis: int
    ) -> tuple[Tensor, Tensor]:
        """A kernel for `x`, quantized along an axis, and its bias."""
        channels, size = shape[axis], int(np.prod(shape))
        values = np.resize(self._random, size)
        if not self.int8:
            # This spread keeps activations near 1 whatever the depth.
            values = values * np.float32(np.sqrt(channels / size))
            bias = np.full(channels, 0.1, np.float32)
            return self._stored(shape, values), self._stored((channels,), bias)
        steps = np.full(channels, _WEIGHT_STEP)
        integers = np.clip(np.rint(values * 40), -127, 127).astype(np.int8)
        bias = np.full(channels, 10, np.int32)
        return (
            self._stored(shape, integers, (steps, 0, axis)),
            self._stored((channels,), bias, (steps * x.quantization[0], 0, 0)),
        )

    def constant(self, value: Any) -> Tensor:
        """A constant: one number, or one per channel."""
        values = np.asarray(value, np.float32)
        if not self.int8:
            return self._stored(values.shape, values)
        steps = np.array([float(np.max(np.abs(values))) / 255 or 1.0])
        most = np.full(values.shape, 127, np.int8)
        return self._stored(values.shape, most, (steps, -128, 0))

    def integers(self, values: Sequence[int]) -> Tensor:
        """Integers that say what an operator does, such as axes."""
        return self._stored((len(values),), np.array(values, np.int32))

    def requantize(self, x: Tensor, quantization: tuple[float, int]) -> Tensor:
        """Gives a tensor another step and zero point if the graph is int8."""
        if not self.int8:
            return x
        step, zero_point = quantization
        made = self._quantization(np.array([step]), zero_point, 0)
        self._tensors[x.index].quantization = made
        return dataclasses.replace(x, quantization=quantization)

    def _run(
        self, code: str, inputs: Sequence[Tensor], output: Tensor, options: Any
    ) -> Tensor:
        schema = self.schema
        version = _INT8_VERSIONS.get(code, 2) if self.int8 else 1
        key = (getattr(schema.BuiltinOperator, code), version)
        if key not in self._codes:
            self._codes.append(key)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.index(key)
        operator.inputs = np.array([x.index for x in inputs], np.int32)
        operator.outputs = np.array([output.index], np.int32)
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        self._operators.append(operator)
        return output

    def _activation(
        self, shape: tuple[int, ...], quantization: tuple[float, int]
    ) -> Tensor:
        if self.int8:
            return self._add(shape, "INT8", quantization)
        return self._add(shape, "FLOAT32", None)

    def _stored(
        self,
        shape: tuple[int, ...],
        values: np.ndarray,
        quantization: tuple[np.ndarray, int, int] | None = None,
    ) -> Tensor:
        made = self._add(shape, values.dtype.name.upper(), None)
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._buffers.append(buffer)
        tensor = self._tensors[made.index]
        tensor.buffer = len(self._buffers) - 1
        if quantization is not None:
            tensor.quantization = self._quantization(*quantization)
        return made

    def _add(
        self,
        shape: tuple[int, ...],
        kind: str,
        quantization: tuple[float, int] | None,
    ) -> Tensor:
        tensor = self.schema.TensorT()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = getattr(self.schema.TensorType, kind)
        tensor.buffer = 0
        tensor.name = f"tensor{len(self._tensors)}"
        tensor.hasRank = True
        if quantization is not None:
            step, zero_point = quantization
            tensor.quantization = self._quantization(np.array([step]), zero_point, 0)
        self._tensors.append(tensor)
        return Tensor(len(self._tensors) - 1, tuple(shape), quantization or STEP)

    def _quantization(self, steps: np.ndarray, zero_point: int, axis: int) -> Any:
        made = self.schema.QuantizationParametersT()
        made.scale = steps.astype(np.float32)
        made.zeroPoint = np.full(len(steps), zero_point, np.int64)
        made.quantizedDimension = axis
        return made
