"""Finds the operators of a .tflite file that delegates do not accelerate."""

from __future__ import annotations

import dataclasses

import numpy as np

from export.tflite import runtime as runtimes

_GPU = """
    ABS ADD AVERAGE_POOL_2D BATCH_MATMUL CAST CONCATENATION CONV_2D COS CUMSUM
    DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD
    FULLY_CONNECTED GATHER GREATER GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL
    LOG LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL
    ONE_HOT PACK PAD POW PRELU QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6
    RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SIN SLICE
    SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE
    SUB SUM TANH TILE TRANSPOSE TRANSPOSE_CONV
"""
_NNAPI = """
    ABS ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_TO_SPACE_ND CAST CONCATENATION
    CONV_2D DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS
    FILL FLOOR FULLY_CONNECTED GATHER GREATER GREATER_EQUAL HARD_SWISH
    L2_NORMALIZATION L2_POOL_2D LESS LESS_EQUAL LOCAL_RESPONSE_NORMALIZATION LOG
    LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX LSTM MAXIMUM MAX_POOL_2D
    MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 POW PRELU QUANTIZE
    REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_N1_TO_1 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SIN SLICE SOFTMAX
    SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARED_DIFFERENCE SQUEEZE
    STRIDED_SLICE SUB SUM TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV UNPACK
"""

SUPPORTED = {
    "GPU": frozenset(_GPU.split()),
    "NNAPI": frozenset(_NNAPI.split()),
}
"""Operators that a delegate knows by name.

From TensorFlow 2.20: `NewOperationParser` in
tensorflow/lite/delegates/gpu/common/model_builder.cc, and `Validate` in
tensorflow/lite/delegates/nnapi/nnapi_delegate.cc (the operators of NNAPI 1.3, Android
11). A delegate may still refuse an operator for its types or shapes, and a device's
NNAPI driver may know fewer: what counts in the end is a measurement on the device.
"""

_CASTS = ("QUANTIZE", "DEQUANTIZE")


@dataclasses.dataclass(frozen=True)
class Fallbacks:
    """The operators of a network that are not accelerated.

    Example: `fallbacks("model_int8.tflite").lines()`.

    Attributes:
      floats: Operators that read or write float32 in a file of integers, as
        `NAME (number)`; those directly at its input and output, which the user may
        want, are not counted.
      casts: Number of QUANTIZE and DEQUANTIZE in such a file, except directly at its
        input and output.
      not_in_xnnpack: Operators that the runtime's default delegate for processors
        left to TFLite's own kernels on this machine.
      unknown_to: By name of a delegate, operators that it does not know.
    """

    floats: tuple[str, ...]
    casts: int
    not_in_xnnpack: tuple[str, ...]
    unknown_to: tuple[tuple[str, tuple[str, ...]], ...]

    def lines(self) -> list[str]:
        """What to tell the user; empty if everything is on the fast path."""
        said = []
        if self.floats:
            said.append(f"operators in floats: {', '.join(self.floats)}")
        if self.casts:
            said.append(f"casts between operators: {self.casts}")
        if self.not_in_xnnpack:
            said.append(f"not run by XNNPACK: {', '.join(self.not_in_xnnpack)}")
        for delegate, names in self.unknown_to:
            if names:
                said.append(f"unknown to the {delegate} delegate: {', '.join(names)}")
        return said


def fallbacks(path: str, *, runtime: str = "auto") -> Fallbacks:
    """Finds the operators of a file that are not accelerated.

    Args:
      path: The file.
      runtime: The runtime whose default delegate is asked; one of `runtime.RUNTIMES`,
        or `auto`.

    Raises:
      UserError: As `runtime.load`.
    """
    plain = runtimes.bare_interpreter(path, runtime=runtime)
    operators = plain._get_ops_details()
    types = {
        tensor["index"]: np.dtype(tensor["dtype"]).name
        for tensor in plain.get_tensor_details()
    }
    edges = {
        tensor["index"]
        for tensor in (*plain.get_input_details(), *plain.get_output_details())
    }
    integer = _is_integer(operators, types)
    floats: list[str] = []
    casts = 0
    for operator in operators:
        tensors = _tensors(operator)
        if operator["op_name"] in _CASTS:
            casts += integer and not edges.intersection(tensors)
        elif integer and any(types.get(index) == "float32" for index in tensors):
            floats.append(operator["op_name"])
    names = [operator["op_name"] for operator in operators]
    return Fallbacks(
        floats=_counted(floats),
        casts=casts,
        not_in_xnnpack=_counted(_undelegated(path, runtime, len(operators))),
        unknown_to=tuple(
            (delegate, _counted([name for name in names if name not in known]))
            for delegate, known in SUPPORTED.items()
        ),
    )


def _is_integer(operators: list[dict], types: dict[int, str]) -> bool:
    """Whether most operators write int8; dynamic-range files only store it."""
    written = [
        types.get(index) for operator in operators for index in operator["outputs"]
    ]
    return written.count("int8") > len(written) / 2


def _undelegated(path: str, runtime: str, count: int) -> list[str]:
    """Names of the operators that no delegate has taken over."""
    interpreter = runtimes.open_interpreter(path, runtime=runtime)
    operators = interpreter._get_ops_details()
    # The file's own operators come first; those of delegates follow. The operators that
    # a delegate's operator replaces stay in the list: they lie between the tensors that
    # it reads and writes.
    own, delegates = operators[:count], operators[count:]
    writer = {
        index: number for number, one in enumerate(own) for index in one["outputs"]
    }
    taken: set[int] = set()
    for delegate in delegates:
        read = {index for index in delegate["inputs"] if index >= 0}
        pending = list(delegate["outputs"])
        while pending:
            number = writer.get(pending.pop())
            if number is None or number in taken:
                continue
            taken.add(number)
            pending += [index for index in own[number]["inputs"] if index not in read]
    return [one["op_name"] for number, one in enumerate(own) if number not in taken]


def _tensors(operator: dict) -> list[int]:
    return [
        int(index)
        for index in (*operator["inputs"], *operator["outputs"])
        if index >= 0
    ]


def _counted(names: list[str]) -> tuple[str, ...]:
    return tuple(
        f"{name} ({names.count(name)})" for name in sorted(set(names), key=names.index)
    )
