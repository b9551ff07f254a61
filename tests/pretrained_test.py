"""Pretrained weights: what is read from which file, and what is refused."""

import functools
import json
import pathlib
import shutil
import tempfile

import h5py
import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.training.pretrained import check_source, load_pretrained
from search_spaces.registry import get_space

_SIZE = 32
_IMAGES = np.random.default_rng(0).uniform(0, 255, (2, _SIZE, _SIZE, 3))


def _folder(test):
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    return pathlib.Path(folder.name)


def _published(name):
    keras.utils.set_random_seed(0)
    made = getattr(keras.applications, name)
    if name == "MobileNetV2":
        return made(alpha=0.35, weights=None, input_shape=(_SIZE, _SIZE, 3), classes=3)
    return made(weights=None, input_shape=(_SIZE, _SIZE, 3), classes=3)


@functools.cache
def _space(name="mobilenet_v2", **arguments):
    given = {"resolution": _SIZE, "classes": 3, "stem_stride": 2} | arguments
    if name == "mobilenet_v2":
        given.setdefault("width", 0.35)
    return get_space(name, **given)


class FilesTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = _published("MobileNetV2")
        cls.expected = np.asarray(cls.model(_IMAGES / 127.5 - 1))
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.files = pathlib.Path(folder)
        cls.model.save(cls.files / "model.keras")
        cls.model.save(cls.files / "model.h5")
        cls.model.save_weights(cls.files / "model.weights.h5")

    def _path(self, name):
        """A path in a folder of the test, with a copy of the file of that name."""
        path = _folder(self) / name
        if (self.files / name).exists():
            shutil.copyfile(self.files / name, path)
        return str(path)

    def _refused(self, path, message, **arguments):
        with self.assertRaisesRegex(UserError, message) as caught:
            load_pretrained(_space(**arguments), path)
        self.assertNotIn("\n", str(caught.exception))

    @parameterized.parameters("model.keras", "model.h5", "model.weights.h5")
    def test_a_file_of_the_published_network_gives_its_outputs(self, name):
        pretrained = load_pretrained(_space(), self._path(name))
        self.assertEmpty(pretrained.fresh)
        np.testing.assert_allclose(
            np.asarray(pretrained.model(_IMAGES)), self.expected, atol=1e-6
        )
        self.assertAlmostEqual(float(pretrained.scale), 1 / 127.5)
        self.assertEqual(float(pretrained.offset), -1)

    def test_a_nested_model_without_a_top(self):
        path = self._path("nested.h5")
        base = keras.applications.MobileNetV2(
            alpha=0.35,
            weights=None,
            include_top=False,
            input_shape=(64, 64, 3),
        )
        pooled = keras.layers.GlobalAveragePooling2D()(base.output)
        inside = keras.Model(base.input, pooled, name="mobilenetv2_0.35_64")
        keras.Sequential(
            [inside, keras.layers.Dense(7, name="breeds")], name="outside"
        ).save(path)
        pretrained = load_pretrained(_space(classes=5), path)
        self.assertEqual(pretrained.fresh, ("head_logits",))
        np.testing.assert_array_equal(
            np.asarray(pretrained.model.get_layer("stem_conv").kernel),
            np.asarray(base.get_layer("Conv1").kernel),
        )
        self.assertIn("104 of 105 layers", str(pretrained))

    def test_weights_that_are_counted_by_class_and_have_no_names(self):
        path = self._path("model.weights.h5")
        with h5py.File(path, "r+") as file:

            def forget(_, item):
                if "name" in item.attrs:
                    del item.attrs["name"]

            file.visititems(forget)
        pretrained = load_pretrained(_space(), path)
        np.testing.assert_allclose(
            np.asarray(pretrained.model(_IMAGES)), self.expected, atol=1e-6
        )

    def test_names_and_weights_of_keras_2(self):
        path = self._path("old.h5")
        with h5py.File(path, "w") as file:
            for layer in self.model.layers:
                for variable in layer.weights:
                    name = variable.name
                    if isinstance(layer, keras.layers.DepthwiseConv2D):
                        name = "depthwise_kernel"
                    folder = f"model_weights/{layer.name}/{layer.name}"
                    file[f"{folder}/{name}:0"] = np.asarray(variable)
            file["optimizer_weights/Conv1/kernel"] = np.zeros(3)
        pretrained = load_pretrained(_space(), path)
        self.assertEmpty(pretrained.fresh)

    def test_grey_images_get_the_sum_over_colours(self):
        path = self._path("model.keras")
        pretrained = load_pretrained(_space(channels=1), path)
        np.testing.assert_allclose(
            np.asarray(pretrained.model.get_layer("stem_conv").kernel)[:, :, 0],
            np.asarray(self.model.get_layer("Conv1").kernel).sum(axis=2),
            rtol=1e-6,
        )

    def test_another_width_is_refused(self):
        path = self._path("model.keras")
        self._refused(path, "expected .*another width", width=0.5)

    def test_another_network_is_refused(self):
        path = self._path("model.keras")
        self._refused(path, "has no layer .* another network", name="efficientnet_b0")

    def test_a_truncated_file_is_refused(self):
        path = self._path("model.h5")
        content = pathlib.Path(path).read_bytes()
        pathlib.Path(path).write_bytes(content[: len(content) // 2])
        self._refused(path, "cannot be read as .keras, .h5")

    def test_a_text_and_an_empty_file_are_refused(self):
        for name in ("model.keras", "model.h5"):
            path = self._path(name)
            pathlib.Path(path).write_text("no weights")
            self._refused(path, "cannot be read")
        with h5py.File(path, "w"):
            pass
        self._refused(path, "hold no layer")

    def test_weights_that_are_no_numbers_are_refused(self):
        path = self._path("model.h5")
        with h5py.File(path, "r+") as file:
            found = []
            file.visit(lambda name: found.append(name) if "Conv1/" in name else None)
            kernel = next(
                file[name] for name in found if isinstance(file[name], h5py.Dataset)
            )
            kernel[...] = np.nan
        self._refused(path, "no numbers")

    def test_an_earlier_winner_comes_with_its_architecture(self):
        space = _space()
        folder = _folder(self)
        architecture = (0, 1, *space.default[2:])
        winner = space.build(architecture)
        winner.save(folder / "model.keras")
        (folder / "architecture.json").write_text(
            json.dumps(space.to_json(architecture))
        )
        pretrained = load_pretrained(space, str(folder / "model.keras"))
        self.assertEqual(pretrained.architecture, architecture)
        self.assertEmpty(pretrained.fresh)
        self._refused(
            str(folder / "model.keras"), "of space 'mobilenet_v2'", name="mnasnet"
        )


class SourcesTest(absltest.TestCase):
    def test_unknown_kinds_and_missing_files_are_refused(self):
        with self.assertRaisesRegex(UserError, "expected 'imagenet'"):
            check_source("weights.pth")
        with self.assertRaisesRegex(UserError, "no such file"):
            check_source("missing.keras")

    def test_imagenet_without_a_network_is_one_line(self):
        def unreachable(*args, **kwargs):
            raise OSError("URL fetch failure\non https://somewhere")

        real = keras.applications.MobileNetV2
        keras.applications.MobileNetV2 = unreachable
        try:
            with self.assertRaisesRegex(UserError, "could not be downloaded") as caught:
                load_pretrained(_space(width=1.0), "imagenet")
        finally:
            keras.applications.MobileNetV2 = real
        self.assertNotIn("\n", str(caught.exception))

    def test_imagenet_of_a_width_that_was_never_published(self):
        with self.assertRaisesRegex(UserError, "alpha"):
            load_pretrained(_space(width=0.9), "imagenet")


class NetworksTest(parameterized.TestCase):
    @parameterized.parameters(
        ("mobilenet_v3_small", "MobileNetV3Small"),
        ("mobilenet_v3_large", "MobileNetV3Large"),
    )
    def test_the_published_networks_of_keras(self, space, application):
        model = _published(application)
        path = str(_folder(self) / "model.h5")
        model.save(path)
        pretrained = load_pretrained(_space(space), path)
        self.assertEmpty(pretrained.fresh)
        np.testing.assert_allclose(
            np.asarray(pretrained.model(_IMAGES)), np.asarray(model(_IMAGES)), atol=1e-6
        )

    def test_efficientnet_knows_its_preprocessing(self):
        model = _published("EfficientNetB0")
        path = str(_folder(self) / "model.h5")
        model.save(path)
        with self.assertRaisesRegex(UserError, "another preprocessing"):
            load_pretrained(_space("efficientnet_b0"), path)
        with h5py.File(path, "r+") as file:
            folder = file["model_weights/normalization/normalization"]
            folder["mean"][...] = np.reshape(
                [0.485, 0.456, 0.406], folder["mean"].shape
            )
            folder["variance"][...] = np.reshape(
                [0.229, 0.224, 0.225], folder["variance"].shape
            )
        self.assertEmpty(load_pretrained(_space("efficientnet_b0"), path).fresh)

    def test_efficientnet_lite0_reads_arrays_of_pytorch(self):
        space = _space("efficientnet_lite0")
        model = space.build(space.default)
        arrays = {}
        for ours, theirs in space.published.layers.items():
            layer = {v.name: np.asarray(v) for v in model.get_layer(ours).weights}
            if ours.endswith("_bn"):
                names = ("weight", "bias", "running_mean", "running_var")
                for name, value in zip(names, layer.values(), strict=True):
                    arrays[f"{theirs}.{name}"] = value + 0.25
            elif ours == "head_logits":
                arrays[f"{theirs}.weight"] = layer["kernel"].T
                arrays[f"{theirs}.bias"] = layer["bias"]
            else:
                axes = (2, 3, 0, 1) if "depthwise" in ours else (3, 2, 0, 1)
                arrays[f"{theirs}.weight"] = layer["kernel"].transpose(axes)
        path = str(_folder(self) / "lite0.npz")
        np.savez(path, **arrays)
        pretrained = load_pretrained(space, path)
        self.assertEmpty(pretrained.fresh)
        for layer in model.layers:
            for ours, read in zip(
                layer.weights, pretrained.model.get_layer(layer.name).weights
            ):
                shift = 0.25 if layer.name.endswith("_bn") else 0
                np.testing.assert_array_equal(
                    np.asarray(ours) + shift, np.asarray(read)
                )
        del arrays["_fc.bias"]
        np.savez(path, **arrays)
        with self.assertRaisesRegex(UserError, "no array '_fc.bias'"):
            load_pretrained(space, path)


if __name__ == "__main__":
    absltest.main()
