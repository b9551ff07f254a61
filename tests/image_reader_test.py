"""One reader of pictures: what a viewer shows, the same in memory and streamed."""

from __future__ import annotations

import io
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks import picture_kinds
from layernas_tf.datasets import decoding, load_dataset
from layernas_tf.datasets import folder as folders
from layernas_tf.datasets.decoding import ImageError
from layernas_tf.datasets.frame import FITS, Frame
from layernas_tf.datasets.framing import fit_images
from layernas_tf.datasets.image_reader import inspect_image, read_image
from layernas_tf.datasets.split import ArraySplit
from layernas_tf.datasets.stream import StreamSplit


def encoded(image: Image.Image, format: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, format, **options)
    return content.getvalue()


def quarters(height: int = 40, width: int = 60) -> np.ndarray:
    """A picture whose four quarters differ, so that every turn of it shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (200, 40, 40)
    pixels[: height // 2, width // 2 :] = (40, 200, 40)
    pixels[height // 2 :, : width // 2] = (40, 40, 200)
    pixels[height // 2 :, width // 2 :] = (220, 220, 220)
    return pixels


class ModesTest(parameterized.TestCase):
    @parameterized.parameters(*range(1, 9))
    def test_every_orientation_tag_gives_the_upright_picture(self, tag):
        upright = Image.fromarray(quarters())
        undo = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }
        stored = upright.transpose(undo[tag]) if tag in undo else upright
        exif = Image.Exif()
        exif[0x0112] = tag
        frame = Frame(40, 60, 3)
        for format, options in (
            ("JPEG", {"quality": 95, "subsampling": 0}),
            ("PNG", {}),
            ("WEBP", {"lossless": True}),
            ("TIFF", {}),
        ):
            content = encoded(stored, format, exif=exif, **options)
            np.testing.assert_allclose(
                read_image(content, frame), quarters(), atol=16, err_msg=format
            )
            facts = inspect_image(content)
            self.assertEqual((facts.height, facts.width), (40, 60))

    def test_sixteen_bits_keep_the_full_range(self):
        wide = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
        expected = np.rint(wide / 257.0).astype(np.uint8)
        for format in ("PNG", "TIFF"):
            content = encoded(Image.fromarray(wide), format)
            (pixels,) = (read_image(content, Frame(64, 64, 1))[..., 0],)
            np.testing.assert_array_equal(pixels, expected)
            facts = inspect_image(content)
            self.assertEqual((facts.bits, facts.low, facts.high), (16, 0, 65535))

    def test_transparent_parts_show_white(self):
        rgba = np.zeros((8, 8, 4), np.uint8)
        rgba[:, :4] = (200, 10, 10, 255)
        rgba[:4, 4:] = (0, 0, 0, 128)
        pixels = read_image(encoded(Image.fromarray(rgba), "PNG"), Frame(8, 8, 3))
        self.assertEqual(pixels[0, 0].tolist(), [200, 10, 10])
        self.assertEqual(pixels[7, 7].tolist(), [255, 255, 255])
        np.testing.assert_allclose(pixels[0, 7], 127, atol=1)
        palette = Image.fromarray(rgba[..., :3]).quantize(4)
        content = encoded(palette, "PNG", transparency=palette.getpixel((7, 7)))
        self.assertEqual(read_image(content, Frame(8, 8, 3))[7, 7].tolist(), [255] * 3)
        self.assertEqual(read_image(content, Frame(8, 8, 1))[7, 7].tolist(), [255])

    def test_cmyk_is_read_as_colour(self):
        image = Image.fromarray(quarters()).convert("CMYK")
        content = encoded(image, "JPEG", quality=95)
        np.testing.assert_allclose(
            read_image(content, Frame(40, 60, 3)).mean(axis=(0, 1)),
            quarters().mean(axis=(0, 1)),
            atol=10,
        )

    def test_the_first_frame_of_an_animation(self):
        frames = [Image.fromarray(np.full((16, 16, 3), v, np.uint8)) for v in (40, 200)]
        for format in ("GIF", "WEBP", "PNG", "TIFF"):
            content = encoded(
                frames[0], format, save_all=True, append_images=frames[1:]
            )
            np.testing.assert_allclose(
                read_image(content, Frame(16, 16, 3)), 40, atol=4, err_msg=format
            )

    @parameterized.parameters(
        (b"", "empty"),
        (b"\0" * 100, "zeros"),
        (b"<!DOCTYPE html><p>not found", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"anything else", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
    )
    def test_what_is_no_picture_is_named(self, content, words):
        with self.assertRaisesRegex(ImageError, words):
            read_image(content, Frame(32, 32, 3))

    def test_a_decompression_bomb_is_refused_unread(self):
        content = bytearray(encoded(Image.new("1", (64, 64)), "BMP"))
        content[18:26] = (40_000).to_bytes(4, "little") * 2
        with self.assertRaisesRegex(ImageError, "pixels"):
            read_image(bytes(content), Frame(32, 32, 3))

    def test_floats_of_an_unknown_scale_are_refused(self):
        image = Image.fromarray(np.ones((8, 8), np.float32))
        with self.assertRaisesRegex(ImageError, "scale"):
            read_image(encoded(image, "TIFF"), Frame(8, 8, 1))

    def test_a_picture_of_more_than_89_million_pixels_is_read_silently(self):
        self.enter_context(absltest.mock.patch.object(Image, "MAX_IMAGE_PIXELS", 100))
        content = encoded(Image.fromarray(quarters(12, 12)), "PNG")
        self.assertEqual(read_image(content, Frame(12, 12, 3)).shape, (12, 12, 3))


class FitTest(parameterized.TestCase):
    def test_pad_shows_the_whole_between_grey_bars(self):
        content = encoded(Image.fromarray(quarters(20, 60)), "PNG")
        pixels = read_image(content, Frame(30, 30, 3, "pad"))
        self.assertTrue((pixels[:10] == 128).all() and (pixels[20:] == 128).all())
        np.testing.assert_allclose(pixels[10, 0], [200, 40, 40], atol=2)
        np.testing.assert_allclose(pixels[19, 29], [220, 220, 220], atol=2)

    def test_squash_and_crop_fill_the_frame(self):
        content = encoded(Image.fromarray(quarters(20, 60)), "PNG")
        squashed = read_image(content, Frame(30, 30, 3, "squash"))
        np.testing.assert_allclose(squashed[0, 0], [200, 40, 40], atol=2)
        np.testing.assert_allclose(squashed[-1, -1], [220, 220, 220], atol=2)
        pixels = quarters(20, 60)
        pixels[:, :20] = pixels[:, 40:] = 7
        cropped = read_image(
            encoded(Image.fromarray(pixels), "PNG"), Frame(20, 20, 3, "crop")
        )
        np.testing.assert_array_equal(cropped, quarters(20, 60)[:, 20:40])

    @settings(max_examples=60, deadline=None)
    @given(
        st.tuples(st.integers(1, 70), st.integers(1, 70)),
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.sampled_from(FITS),
        st.sampled_from([1, 3]),
        st.none() | st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 9)),
    )
    def test_any_picture_comes_into_any_frame(self, size, shape, fit, channels, key):
        content = encoded(Image.fromarray(quarters(*size)), "PNG")
        frame = Frame(*shape, channels, fit)
        pixels = read_image(content, frame, key)
        self.assertEqual(pixels.shape, frame.shape)
        self.assertEqual(pixels.dtype, np.uint8)
        np.testing.assert_array_equal(pixels, read_image(content, frame, key))
        if key is None and channels == 3:
            whole = fit_images(quarters(*size)[None], frame)
            np.testing.assert_array_equal(pixels, whole[0])

    def test_random_parts_are_of_all_places(self):
        content = encoded(Image.fromarray(quarters(60, 60)), "PNG")
        frame = Frame(16, 16, 3)
        parts = np.stack([read_image(content, frame, (3, n)) for n in range(200)])
        corners = {tuple(part[0, 0].tolist()) for part in parts}
        self.assertGreaterEqual(len(corners), 4)
        self.assertLess(len(np.unique(parts[:, 8, 8], axis=0)), 150)
        self.assertFalse((parts == 128).all(axis=(1, 2, 3)).any())

    def test_a_large_jpeg_is_about_what_its_whole_decoding_gives(self):
        generator = np.random.default_rng(0)
        small = generator.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        large = Image.fromarray(small).resize((1600, 1200), Image.Resampling.BICUBIC)
        content = encoded(large, "JPEG", quality=92)
        whole = np.asarray(Image.open(io.BytesIO(content)))[None]
        for frame in (Frame(64, 64, 3, "pad"), Frame(224, 224, 3, "crop")):
            difference = read_image(content, frame).astype(int) - fit_images(
                whole, frame
            ).astype(int)
            self.assertLess(np.abs(difference).mean(), 2)


class BothWaysTest(parameterized.TestCase):
    @parameterized.product(fit=FITS, channels=(1, 3))
    def test_every_mode_has_the_same_pixels_in_memory_and_streamed(self, fit, channels):
        root = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        kinds = [kind for kind in picture_kinds.KINDS if kind.loads]
        for name in ("a", "b"):
            (root / name).mkdir()
            for number, kind in enumerate(kinds):
                file = root / name / f"{number:02}{kind.suffix}"
                file.write_bytes(kind.content(ord(name)))
        options = {"resolution": (24, 40), "fit": fit, "channels": channels}
        held = load_dataset(f"folder:{root}", **options)
        with absltest.mock.patch.object(folders, "HELD_BYTES", 0):
            streamed = load_dataset(f"folder:{root}", **options)
        total = 0
        for part in ("train", "valid", "test"):
            one, two = getattr(held, part), getattr(streamed, part)
            self.assertIsInstance(one, ArraySplit)
            self.assertIsInstance(two, StreamSplit)
            ((images, labels),) = two.batches(1000)
            np.testing.assert_array_equal(images, one.images)
            np.testing.assert_array_equal(labels, one.labels)
            total += one.size
        self.assertEqual(total, 2 * len(kinds))

    @parameterized.named_parameters(
        (kind.name.replace(" ", "_"), kind) for kind in picture_kinds.KINDS
    )
    def test_a_kind_shows_the_picture_or_is_refused(self, kind):
        frame = Frame(*picture_kinds.SIZE, 3)
        if not kind.loads:
            with self.assertRaises(ImageError):
                read_image(kind.content(0), frame)
            return
        pixels = read_image(kind.content(0), frame).astype(float)
        expected = picture_kinds.shown(0, grey=kind.grey).astype(float)
        self.assertLess(np.abs(pixels - expected).mean(), kind.tolerance)

    def test_a_file_that_went_bad_after_the_check_is_named_while_streaming(self):
        root = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        for name in ("a", "b"):
            (root / name).mkdir()
            for number in range(4):
                Image.fromarray(quarters()).save(root / name / f"{number}.png")
        with absltest.mock.patch.object(folders, "HELD_BYTES", 0):
            dataset = load_dataset(f"folder:{root}")
        for name in ("a", "b"):
            for file in (root / name).iterdir():
                file.write_bytes(file.read_bytes()[:50])
        with self.assertRaisesRegex(Exception, r"cannot read the image .*\.png"):
            list(dataset.train.batches(8))


class FormatsTest(absltest.TestCase):
    def test_pillow_knows_all_of_them_without_more_being_imported(self):
        for name in decoding.FORMATS:
            self.assertIn(name, Image.OPEN)


if __name__ == "__main__":
    absltest.main()
