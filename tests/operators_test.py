"""Costs of operators and blocks: by hand, and against a real int8 .tflite file."""

from __future__ import annotations

import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from benchmarks.size_and_memory import peak_memory_ratios
from layernas_tf.costs import operators as ops
from layernas_tf.space.types import State
from search_spaces.blocks.blocks import ConvBlock, Identity, Rescale, make_divisible
from search_spaces.blocks.bottleneck import InvertedBottleneck, SqueezeExcite
from search_spaces.blocks.builder import block_space, fixed
from search_spaces.blocks.heads import ConvHead, MobileNetV3Head, Stem
from search_spaces.registry import get_space

X = State(channels=8, height=10, width=6)


class OperatorsTest(parameterized.TestCase):
    def test_convolution(self):
        operator = ops.conv(X, 16, 3, 2, bias=True)
        self.assertEqual(operator.target, State(16, 5, 3))
        self.assertEqual(operator.madds, 5 * 3 * 3 * 3 * 8 * 16)
        self.assertEqual(operator.params, 3 * 3 * 8 * 16 + 16)
        # Input, output, and 3 x 3 x 8 of every patch.
        self.assertEqual(operator.memory, 480 + 240 + 5 * 3 * 72)
        self.assertEqual(ops.conv(X, 16).memory, 480 + 960)

    def test_groups_divide_the_work_of_a_convolution(self):
        whole, grouped = ops.conv(X, 16, 3), ops.conv(X, 16, 3, groups=4)
        self.assertEqual(grouped.madds * 4, whole.madds)
        self.assertEqual(grouped.params * 4, whole.params)

    @parameterized.parameters((7, 4), (8, 4), (1, 1))
    def test_stride_rounds_the_size_up(self, before, after):
        state = State(4, before, before)
        self.assertEqual(ops.depthwise_conv(state, 7, 2).target, State(4, after, after))

    def test_depthwise_convolution(self):
        operator = ops.depthwise_conv(X, 5, held=100)
        self.assertEqual(operator.madds, 10 * 6 * 25 * 8)
        self.assertEqual(operator.params, 25 * 8)
        self.assertEqual(operator.memory, 480 + 480 + 100)

    def test_dense(self):
        operator = ops.dense(State(8, 1, 1), 10)
        self.assertEqual((operator.madds, operator.params), (80, 90))

    def test_only_products_with_weights_are_multiply_adds(self):
        for operator in (
            ops.batch_norm(X),
            ops.activation(X, "hard_swish"),
            ops.add(X),
            ops.scale_channels(X),
            ops.global_pool(X),
            ops.average_pool(X, 2, 2),
            ops.pad(X, 1, 1),
            ops.rescale(X),
            ops.softmax(X),
        ):
            self.assertEqual(operator.madds, 0, operator.kind)

    def test_shapes_of_pooling_and_padding(self):
        self.assertEqual(ops.global_pool(X).target, State(8, 1, 1))
        self.assertEqual(ops.average_pool(X, 2, 2).target, State(8, 5, 3))
        self.assertEqual(ops.pad(X, 1, 2).target, State(8, 11, 8))

    def test_folded_operators_add_neither_bytes_nor_memory(self):
        convolution = ops.conv(X, 8)
        after = convolution.target
        alone = ops.costs([convolution])
        folded = ops.costs(
            [convolution, ops.batch_norm(after), ops.activation(after, "relu6")]
        )
        self.assertEqual(folded["params"], alone["params"] + 4 * 8)
        for metric in ("model_bytes", "float32_bytes", "peak_memory_bytes"):
            self.assertEqual(folded[metric], alone[metric])

    def test_weights_and_biases_in_bytes(self):
        small, large = ops.costs([ops.conv(X, 8)]), ops.costs([ops.conv(X, 9)])
        # A filter: 8 weights, its bias, and scale and zero point of both.
        self.assertEqual(large["model_bytes"] - small["model_bytes"], 8 + 4 + 2 * 12)
        self.assertEqual(large["float32_bytes"] - small["float32_bytes"], 4 * 9)

    def test_peak_memory_is_the_largest_operator_with_the_image(self):
        listed = [ops.conv(X, 16), ops.conv(State(16, 10, 6), 4)]
        self.assertEqual(ops.costs(listed)["peak_memory_bytes"], 480 + 960)
        self.assertEqual(ops.costs(listed, image=7)["peak_memory_bytes"], 480 + 960 + 7)

    def test_nothing_costs_nothing(self):
        self.assertEqual(set(ops.costs([], image=7).values()), {0})


class BlocksTest(parameterized.TestCase):
    @parameterized.parameters(
        (8, 8), (12, 16), (18, 24), (33.6, 32), (22.4, 24), (1, 8), (44.8, 48)
    )
    def test_rounding_to_eight_loses_at_most_a_tenth(self, value, rounded):
        self.assertEqual(make_divisible(value), rounded)

    def test_residual_keeps_the_input_alive(self):
        with_residual = InvertedBottleneck(filters=8, expansion=2)
        without = InvertedBottleneck(filters=16, expansion=2)
        peak = [
            max(operator.memory for operator in block.operators(X)[1])
            for block in (with_residual, without)
        ]
        # The depthwise convolution reads and writes 16 channels of 60 pixels.
        self.assertEqual(peak, [2 * 960 + 480, 2 * 960])

    def test_residual_only_where_shapes_agree(self):
        for block, expected in (
            (InvertedBottleneck(filters=8), True),
            (InvertedBottleneck(), True),
            (InvertedBottleneck(filters=16), False),
            (InvertedBottleneck(filters=8, stride=2), False),
        ):
            kinds = [operator.kind for operator in block.operators(X)[1]]
            self.assertEqual("add" in kinds, expected)

    def test_expansion_one_has_no_expanding_convolution(self):
        _, listed = InvertedBottleneck(filters=8, expansion=1).operators(X)
        kinds = [operator.kind for operator in listed]
        self.assertEqual(kinds[0], "depthwise_conv")
        # It reads the shortcut itself: counted once.
        self.assertEqual(listed[0].memory, 480 + 480)

    def test_squeeze_and_excite_sizes(self):
        """MobileNetV3 takes a quarter of what it weights, EfficientNet of the input."""
        for squeeze_excite, inner in (
            (SqueezeExcite(), make_divisible(48 / 4)),
            (SqueezeExcite(squeeze_input=True), 2),
        ):
            block = InvertedBottleneck(expansion=6, squeeze_excite=squeeze_excite)
            _, listed = block.operators(X)
            small = [op for op in listed if op.source.height == 1]
            self.assertIn(inner, [op.target.channels for op in small])
            self.assertEqual(sum(op.madds for op in small), 2 * 48 * inner)

    def test_identity_is_free(self):
        self.assertEqual(Identity().operators(X), (X, ()))


def _networks():
    swish = {
        "activation": "swish",
        "squeeze_excite": SqueezeExcite(True, "swish", "sigmoid"),
    }
    hard = {"activation": "hard_swish", "squeeze_excite": SqueezeExcite()}
    for name, options, head in (
        ("v2", {}, ConvHead(ConvBlock(64), 10)),
        ("v3", hard, MobileNetV3Head(64, 10)),
        ("efficientnet", swish, ConvHead(ConvBlock(64, activation="swish"), 10)),
    ):
        yield (
            name,
            (
                fixed("stem", Stem(Rescale(), ConvBlock(16, 3, 2))),
                fixed("first", InvertedBottleneck(24, 5, 4, 2, **options)),
                fixed("second", InvertedBottleneck(24, 3, 3, 1, **options)),
                fixed("head", head),
            ),
        )


class TfliteTest(parameterized.TestCase):
    @parameterized.named_parameters(*_networks())
    def test_file_sizes_and_peak_memory_are_those_of_tflite(self, layers):
        space = block_space("small", State(3, 32, 32), layers, {})
        model = space.build(space.default)
        rng = np.random.default_rng(0)
        # Weights that the converter cannot leave out as zeros.
        model.set_weights(
            [rng.uniform(0.1, 1, weight.shape) for weight in model.weights]
        )
        costs = space.costs(space.default)
        float32, int8 = _convert(model, rng)
        self.assertAlmostEqual(costs["float32_bytes"] / len(float32), 1, delta=0.05)
        self.assertAlmostEqual(costs["model_bytes"] / len(int8), 1, delta=0.05)
        self.assertEqual(costs["peak_memory_bytes"], _peak_memory(int8))


class ArenaTest(parameterized.TestCase):
    @parameterized.parameters(
        ("mobilenet_v2", 96), ("mobilenet_v3_small", 224), ("efficientnet_b0", 32)
    )
    def test_peak_memory_is_near_the_arena_and_not_above(self, name, resolution):
        space = get_space(name, resolution=resolution, classes=10)
        ratios = peak_memory_ratios(space, 6)
        self.assertLessEqual(ratios.max(), 1 + 1e-3)
        self.assertGreaterEqual(ratios.mean(), 0.9)
        self.assertGreaterEqual(ratios.min(), 0.75)


def _convert(model, rng) -> tuple[bytes, bytes]:
    import tensorflow as tf

    def images():
        for _ in range(2):
            yield [rng.uniform(0, 255, (1, *model.input_shape[1:])).astype(np.float32)]

    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        float32 = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = images
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return float32, converter.convert()


def _peak_memory(model: bytes) -> int:
    """Most bytes that the tensors alive at some operator take in TFLite's arena."""
    from tensorflow.lite.python.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    operators = interpreter._get_ops_details()
    image = interpreter.get_input_details()[0]["index"]
    born, dies = {image: -1}, {}
    for number, operator in enumerate(operators):
        born.update({int(tensor): number for tensor in operator["outputs"]})
        dies.update({int(tensor): number for tensor in operator["inputs"]})
    dies[image] = len(operators)
    places = {}
    for tensor in born:
        values = np.asarray(interpreter.tensor(tensor)())
        start = values.__array_interface__["data"][0]
        places[tensor] = start, start + values.nbytes
    peak = 0
    for number in range(len(operators)):
        taken = end = 0
        for start, stop in sorted(
            places[tensor]
            for tensor in born
            if born[tensor] <= number <= dies.get(tensor, len(operators))
        ):
            taken += max(0, stop - max(start, end))
            end = max(end, stop)
        peak = max(peak, taken)
    return peak


if __name__ == "__main__":
    absltest.main()
