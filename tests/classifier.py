"""A small trained classifier with the parts of a MobileNetV3, for export's tests."""

from __future__ import annotations

import functools

from layernas_tf.datasets import load_dataset


@functools.cache
def digits():
    """Handwritten digits of 16x16 pixels."""
    return load_dataset("digits", resolution=16)


def small_mobilenet_v3():
    """Stem, two bottlenecks (hard-swish, squeeze-and-excite, a residual), classifier.

    Untrained; takes float32 pixels in [0, 255], shape (n, 16, 16, 1).
    """
    from keras import Input, Model, layers

    def normalized(x, layer, activation=None):
        x = layers.BatchNormalization(momentum=0.9)(layer(x))
        return layers.Activation(activation)(x) if activation else x

    def squeeze_and_excite(x):
        channels = x.shape[-1]
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Conv2D(8, 1, activation="relu")(gate)
        gate = layers.Conv2D(channels, 1, activation="hard_sigmoid")(gate)
        return layers.Multiply()([x, gate])

    def bottleneck(x, expanded):
        narrow = x.shape[-1]
        y = normalized(x, layers.Conv2D(expanded, 1, use_bias=False), "hard_silu")
        depthwise = layers.DepthwiseConv2D(3, padding="same", use_bias=False)
        y = squeeze_and_excite(normalized(y, depthwise, "hard_silu"))
        y = normalized(y, layers.Conv2D(narrow, 1, use_bias=False))
        return layers.Add()([x, y])

    image = Input((16, 16, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(image)
    stem = layers.Conv2D(24, 3, strides=2, padding="same", use_bias=False)
    x = normalized(x, stem, "hard_silu")
    x = bottleneck(bottleneck(x, 64), 64)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return Model(image, layers.Dense(10, activation="softmax")(x))


@functools.cache
def trained():
    """The classifier after a short training on `digits`, once per process."""
    import keras

    keras.utils.set_random_seed(0)
    model = small_mobilenet_v3()
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(digits().train.batches(32, seed=0), epochs=6, shuffle=False, verbose=0)
    return model
