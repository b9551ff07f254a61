"""Laws of augmentation: crops, RandAugment, mixup."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.datasets.augment import (
    ASPECT_RATIOS,
    SMALLEST_CROP,
    augment_images,
    crop_box,
    mixup,
)
from layernas_tf.datasets.randaugment import ALL, rand_augment

KEYS = st.integers(0, 2**62)
WITHOUT_DEADLINE = settings(deadline=None, max_examples=60)


def key(number: int) -> tf.Tensor:
    return tf.constant([7, number], tf.int64)


def photos(number: int = 8, side: int = 16) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.uniform(0, 255, (number, side, side, 3)).astype(np.float32)


class CropTest(absltest.TestCase):
    @given(height=st.integers(1, 3000), width=st.integers(1, 3000), number=KEYS)
    @WITHOUT_DEADLINE
    def test_boxes_lie_inside_the_image(self, height, width, number):
        top, left, rows, columns = crop_box(height, width, key(number)).numpy()
        self.assertGreaterEqual(min(top, left), 0)
        self.assertGreaterEqual(min(rows, columns), 1)
        self.assertLessEqual(top + rows, height)
        self.assertLessEqual(left + columns, width)

    def test_areas_and_aspect_ratios_are_those_of_imagenet(self):
        boxes = np.stack([crop_box(400, 500, key(n)).numpy() for n in range(300)])
        rows, columns = boxes[:, 2], boxes[:, 3]
        areas = rows * columns / (400 * 500)
        self.assertGreater(areas.min(), SMALLEST_CROP - 0.01)
        self.assertLess(areas.min(), 0.15)
        self.assertGreater(areas.max(), 0.8)
        ratios = columns / rows
        whole = (rows == 400) & (columns == 500)
        self.assertTrue(
            (
                whole
                | (
                    (ratios > ASPECT_RATIOS[0] - 0.02)
                    & (ratios < ASPECT_RATIOS[1] + 0.02)
                )
            ).all()
        )
        self.assertGreater(ratios.std(), 0.1)

    def test_images_in_memory_are_cropped_each_for_itself_and_half_are_mirrored(self):
        ramp = np.tile(np.arange(64, dtype=np.float32) * 4, (40, 64, 1))[..., None]
        cropped = augment_images(tf.constant(ramp), key(1), "crop_flip").numpy()
        self.assertEqual(cropped.shape, ramp.shape)
        falls = cropped[:, 0, 0, 0] > cropped[:, 0, -1, 0]
        self.assertBetween(falls.sum(), 8, 32)
        spans = np.ptp(cropped[:, 0, :, 0], axis=1)
        self.assertGreater(spans.std(), 10)


class MixupTest(absltest.TestCase):
    @given(number=KEYS, alpha=st.floats(0.01, 10))
    @WITHOUT_DEADLINE
    def test_sums_stay(self, number, alpha):
        images = photos()
        labels = np.eye(8, dtype=np.float32)
        mixed, targets = (x.numpy() for x in mixup(images, labels, key(number), alpha))
        np.testing.assert_allclose(mixed.sum(0), images.sum(0), rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-5)
        np.testing.assert_allclose(targets.sum(0), 1, atol=1e-5)
        self.assertGreaterEqual(targets.min(), -1e-6)
        # Images and labels are mixed in the same proportion.
        share = targets[0, 7]
        np.testing.assert_allclose(
            mixed[0], images[0] + share * (images[7] - images[0]), atol=1e-2
        )

    def test_shares_are_beta_distributed(self):
        eye = np.eye(2, dtype=np.float32)
        shares = np.array(
            [mixup(eye, eye, key(n), 0.4)[1].numpy()[0, 1] for n in range(400)]
        )
        self.assertAlmostEqual(shares.mean(), 0.5, delta=0.06)
        # The variance of Beta(a, a) is 1 / (4 (2 a + 1)).
        self.assertAlmostEqual(shares.var(), 1 / (4 * 1.8), delta=0.03)


class RandAugmentTest(parameterized.TestCase):
    @parameterized.parameters(*ALL)
    def test_an_operation_keeps_shape_and_range(self, name):
        for channels in (1, 3):
            image = tf.constant(photos(1, 20)[0][..., :channels])
            for share in (0.0, 0.9, 1.0):
                changed = ALL[name](image, share, tf.constant(-1.0)).numpy()
                self.assertEqual(changed.shape, (20, 20, channels))
                self.assertTrue(np.isfinite(changed).all())
        self.assertGreater(np.abs(changed - image).max(), 1)

    def test_flat_images_stay_images(self):
        flat = tf.fill((8, 8, 3), 77.0)
        for name in ("autocontrast", "equalize", "contrast", "sharpness"):
            np.testing.assert_allclose(ALL[name](flat, 0.5, 1.0), 77, atol=1e-3)

    def test_geometry(self):
        image = tf.constant(photos(1, 21)[0])
        moved = ALL["translate_x"](image, 21 / (100 / 224 * 21) / 21 * 5, 1.0).numpy()
        np.testing.assert_allclose(moved[:, :16], image[:, 5:], atol=1e-2)
        np.testing.assert_allclose(moved[:, 16:], 128)
        turned = ALL["rotate"](image, 3.0, 1.0).numpy()  # 90 degrees
        np.testing.assert_allclose(
            turned[2:-2, 2:-2], np.rot90(image)[2:-2, 2:-2], atol=0.5
        )

    def test_each_image_gets_its_own_and_a_key_gives_the_same(self):
        images = tf.constant(np.repeat(photos(1), 12, axis=0))
        one = augment_images(images, key(3), "none", 9.0).numpy()
        two = augment_images(images, key(3), "none", 9.0).numpy()
        np.testing.assert_array_equal(one, two)
        self.assertGreater(len({image.tobytes() for image in one}), 8)
        self.assertBetween(float(one.min()), 0, 255)
        self.assertBetween(float(one.max()), 0, 255)
        other = augment_images(images, key(4), "none", 9.0).numpy()
        self.assertGreater(np.abs(one - other).max(), 10)

    def test_it_can_be_part_of_a_graph(self):
        image = tf.constant(photos(1)[0])
        graph = tf.function(rand_augment)
        np.testing.assert_allclose(
            graph(image, key(0), 5.0), rand_augment(image, key(0), 5.0), atol=1e-3
        )


if __name__ == "__main__":
    absltest.main()
