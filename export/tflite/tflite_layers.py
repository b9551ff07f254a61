"""Keras' layers, written to a .tflite file as TensorFlow's converter does.

A block of a search space is built by `build(x, layers, name)`, with `keras.layers` for
`layers`. Given `TfliteLayers` instead, the same code writes the operators of its
.tflite file at once, batch normalization folded and activations fused: thousands of
blocks in the time that the converter takes for a few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from export.tflite.tflite_graph import RELU6, SIGMOID, Graph, Tensor

_FUSED = {"linear": 0, "relu": 1, "relu6": 3}
_PADDING = {"same": 0, "valid": 1}


class UnknownLayerError(Exception):
    """A block uses a layer in a way that `TfliteLayers` does not know.

    Example:
      try:
          block.build(graph.input, TfliteLayers(graph), "block")
      except UnknownLayerError:
          ...  # have TensorFlow convert the block
    """


class TfliteLayers:
    """Stands in for `keras.layers`; its layers add themselves to a graph.

    It has only what blocks of mobile networks use. Anything else raises
    `UnknownLayerError`, `TypeError` or `AttributeError`.

    Example:
      >>> graph = Graph((1, 8, 8, 3), "float32")
      >>> layers = TfliteLayers(graph)
      >>> layers.Conv2D(16, 3, strides=2, padding="same")(graph.input).shape
      (1, 4, 4, 16)
    """

    def __init__(self, graph: Graph):
        self._graph = graph
        # The options of convolutions, by the index of their outputs.
        self._convolutions: dict[int, Any] = {}

    def Rescaling(self, scale: Any, offset: Any = 0.0, name: str = "") -> Callable:
        """MUL and ADD, with one number or one per channel."""

        def call(x: Tensor) -> Tensor:
            x = self._elementwise("MUL", x, self._graph.constant(scale))
            return self._elementwise("ADD", x, self._graph.constant(offset))

        return call

    def Conv2D(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        padding: str = "valid",
        use_bias: bool = True,
        kernel_initializer: Any = None,
        name: str = "",
    ) -> Callable:
        """CONV_2D, which always has a bias."""

        def call(x: Tensor) -> Tensor:
            options = self._graph.schema.Conv2DOptionsT()
            shape = (filters, kernel_size, kernel_size, x.shape[-1])
            return self._convolve("CONV_2D", x, shape, 0, strides, padding, options)

        return call

    def DepthwiseConv2D(
        self,
        kernel_size: int,
        strides: int = 1,
        padding: str = "valid",
        use_bias: bool = True,
        depthwise_initializer: Any = None,
        name: str = "",
    ) -> Callable:
        """DEPTHWISE_CONV_2D."""

        def call(x: Tensor) -> Tensor:
            options = self._graph.schema.DepthwiseConv2DOptionsT()
            options.depthMultiplier = 1
            shape = (1, kernel_size, kernel_size, x.shape[-1])
            code = "DEPTHWISE_CONV_2D"
            return self._convolve(code, x, shape, 3, strides, padding, options)

        return call

    def Dense(
        self,
        units: int,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        name: str = "",
    ) -> Callable:
        """FULLY_CONNECTED."""

        def call(x: Tensor) -> Tensor:
            weights, bias = self._graph.weights(x, (units, x.shape[-1]), 0)
            return self._graph.run(
                "FULLY_CONNECTED",
                [x, weights, bias],
                (*x.shape[:-1], units),
                options=self._graph.schema.FullyConnectedOptionsT(),
            )

        return call

    def BatchNormalization(
        self, momentum: float = 0.99, epsilon: float = 1e-3, name: str = ""
    ) -> Callable:
        """Adds nothing: it is folded into the convolution before it."""

        def call(x: Tensor) -> Tensor:
            self._options(x)
            return x

        return call

    def ReLU(self, max_value: float | None = None, name: str = "") -> Callable:
        """Adds nothing: it is fused into the convolution before it."""
        if max_value not in (None, 6):
            raise UnknownLayerError(f"ReLU({max_value})")
        return lambda x: self._fuse(x, "relu6" if max_value else "relu")

    def Activation(
        self, activation: str, dtype: str | None = None, name: str = ""
    ) -> Callable:
        """An activation by its Keras name."""
        graph = self._graph

        def call(x: Tensor) -> Tensor:
            if activation in _FUSED:
                return self._fuse(x, activation)
            if activation == "hard_sigmoid":
                x = self._fuse(x, "relu6")  # its 3 goes into the bias
                return self._elementwise("MUL", x, graph.constant(1 / 6))
            if activation == "hard_swish":
                return graph.run("HARD_SWISH", [x], x.shape)
            if activation == "sigmoid":
                return graph.run("LOGISTIC", [x], x.shape, SIGMOID)
            if activation in ("swish", "silu"):
                gate = graph.run("LOGISTIC", [x], x.shape, SIGMOID)
                return self._elementwise("MUL", x, gate)
            if activation == "softmax":
                options = graph.schema.SoftmaxOptionsT()
                options.beta = 1.0
                x = graph.run("SOFTMAX", [x], x.shape, SIGMOID, options)
                return graph.to_uint8(x) if graph.int8 else x
            raise UnknownLayerError(f"Activation({activation!r})")

        return call

    def GlobalAveragePooling2D(
        self, keepdims: bool = False, name: str = ""
    ) -> Callable:
        """MEAN."""

        def call(x: Tensor) -> Tensor:
            options = self._graph.schema.ReducerOptionsT()
            options.keepDims = keepdims
            # The step differs a little from the input's, as in a file with ranges from
            # images: for equal steps, TFLite has a kernel that such files never use.
            step, zero_point = x.quantization
            return self._graph.run(
                "MEAN",
                [x, self._graph.integers((1, 2))],
                (1, 1, 1, x.shape[-1]) if keepdims else (1, x.shape[-1]),
                (0.97 * step, zero_point),
                options,
            )

        return call

    def Add(self, name: str = "") -> Callable:
        """ADD of two tensors of the same shape."""
        return lambda pair: self._elementwise("ADD", *pair)

    def Multiply(self, name: str = "") -> Callable:
        """MUL by a tensor of the same shape, or of one number per channel."""
        return lambda pair: self._elementwise("MUL", *pair)

    def Dropout(self, rate: float, noise_shape: Any = None, name: str = "") -> Callable:
        """Adds nothing: dropout acts in training only."""
        return lambda x: x

    def _elementwise(self, code: str, x: Tensor, y: Tensor) -> Tensor:
        schema = self._graph.schema
        options = schema.AddOptionsT() if code == "ADD" else schema.MulOptionsT()
        return self._graph.run(code, [x, y], x.shape, options=options)

    def _convolve(
        self,
        code: str,
        x: Tensor,
        shape: tuple[int, ...],
        axis: int,
        stride: int,
        padding: str,
        options: Any,
    ) -> Tensor:
        kernel = shape[1]
        options.padding = _PADDING[padding]
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        lost = kernel - 1 if padding == "valid" else 0
        height, width = (-(-(size - lost) // stride) for size in x.shape[1:3])
        weights, bias = self._graph.weights(x, shape, axis)
        made = self._graph.run(
            code,
            [x, weights, bias],
            (1, height, width, shape[axis]),
            options=options,
        )
        self._convolutions[made.index] = options
        return made

    def _options(self, x: Tensor) -> Any:
        """The options of the convolution that made a tensor, not activated yet."""
        options = self._convolutions.get(x.index)
        if options is None or options.fusedActivationFunction:
            raise UnknownLayerError("expected a convolution before it")
        return options

    def _fuse(self, x: Tensor, activation: str) -> Tensor:
        self._options(x).fusedActivationFunction = _FUSED[activation]
        return x if activation == "linear" else self._graph.requantize(x, RELU6)
