"""Surgery: what a network keeps of another one's weights."""

import functools

import keras
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.training.channel_groups import channel_groups
from layernas_tf.training.classifier import fit_classifier, image_features
from layernas_tf.training.importance import CRITERIA, channel_importance
from layernas_tf.training.layer_weights import layer_weights
from layernas_tf.training.observe import observe
from layernas_tf.training.recalibrate import recalibrate
from layernas_tf.training.surgery import make_donor, transplant
from tests.published_blocks import space

_IMAGES = np.random.default_rng(0).uniform(0, 255, (24, 16, 16, 3)).astype(np.float32)
_LABELS = np.arange(24) % 3


SPACE = space()


def _trained(architecture=None):
    keras.utils.set_random_seed(0)
    model = SPACE.build(architecture or SPACE.default)
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(generator.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(generator.normal(0, 0.3, layer.beta.shape))
        elif layer.weights and getattr(layer, "use_bias", False):
            layer.bias.assign(generator.normal(0, 0.3, layer.bias.shape))
    recalibrate(model, _IMAGES)
    return model


@functools.cache
def _shared():
    """The default network, for tests that do not change it, with its outputs."""
    model = _trained()
    return model, _outputs(model)


def _outputs(model):
    return np.asarray(model(_IMAGES, training=False))


def _options(larger):
    """For each layer the options that are at least (or at most) its default."""
    chosen = []
    for layer in SPACE.layers:
        default = dict(layer.options[layer.default].attributes)
        fitting = []
        for index, option in enumerate(layer.options):
            values = dict(option.attributes)
            if values.keys() != default.keys():
                continue
            more = all(values[key] >= default[key] for key in values)
            if more if larger else index != layer.default:
                fitting.append(index)
        chosen.append(st.sampled_from(fitting or [layer.default]))
    return st.tuples(*chosen)


class SurgeryTest(parameterized.TestCase):
    def test_equal_options_give_exactly_the_same_outputs(self):
        model, outputs = _shared()
        for criterion in ("leading", "l2"):
            copy = SPACE.build(SPACE.default)
            done = transplant(make_donor(model, criterion), copy)
            np.testing.assert_array_equal(_outputs(copy), outputs)
            self.assertEqual(done.share, 1)
            self.assertEmpty(done.fresh)

    @settings(max_examples=6, deadline=None, phases=(Phase.generate,))
    @given(_options(larger=True))
    def test_larger_options_keep_the_function(self, architecture):
        # More filters, larger expansions and kernels, new squeeze-and-excites.
        model, outputs = _shared()
        larger = SPACE.build(architecture)
        transplant(make_donor(model, "l2"), larger)
        np.testing.assert_allclose(_outputs(larger), outputs, atol=1e-5)

    @settings(max_examples=3, deadline=None, phases=(Phase.generate,))
    @given(_options(larger=False))
    def test_any_options_give_numbers(self, architecture):
        other = SPACE.build(architecture)
        done = transplant(make_donor(_shared()[0], "l2"), other)
        recalibrate(other, _IMAGES, done.identities)
        self.assertTrue(np.isfinite(_outputs(other)).all())
        self.assertGreater(done.share, 0.5)

    def test_a_new_expansion_stays_the_identity_when_recalibrated(self):
        model, outputs = _shared()
        layer = SPACE.layers[1]
        wider = dict(layer.options[layer.default].attributes) | {"expansion": 3}
        index = [dict(option.attributes) for option in layer.options].index(wider)
        architecture = (0, index, *SPACE.default[2:])
        larger = SPACE.build(architecture)
        done = transplant(make_donor(model, "l2"), larger)
        self.assertLen(done.identities, 1)
        recalibrate(larger, _IMAGES, done.identities)
        np.testing.assert_allclose(_outputs(larger), outputs, atol=1e-4)

    def test_a_block_that_comes_back_begins_as_its_residual(self):
        dropped = list(SPACE.default)
        dropped[3] = next(
            index
            for index, option in enumerate(SPACE.layers[3].options)
            if option.get("drop")
        )
        model = _trained(tuple(dropped))
        whole = SPACE.build(SPACE.default)
        done = transplant(make_donor(model, "l2"), whole)
        np.testing.assert_allclose(_outputs(whole), _outputs(model), atol=1e-6)
        self.assertContainsSubset(["block2_project_bn"], done.fresh)

    def test_other_classes_leave_only_the_classifier_fresh(self):
        model, _ = _shared()
        other = space(classes=5)
        network = other.build(other.default)
        done = transplant(make_donor(model, "l1"), network)
        self.assertEqual(done.fresh, ("head_logits",))

    def test_the_most_important_channels_stay(self):
        model = _trained()
        name = "block2_expand"
        norm = model.get_layer(f"{name}_bn")
        important = np.arange(norm.gamma.shape[0])[::3]
        gamma = np.full(norm.gamma.shape, 0.01)
        gamma[important] = 2
        norm.gamma.assign(gamma)
        model.get_layer("block2_depthwise_bn").gamma.assign(gamma)
        layer = SPACE.layers[3]
        wanted = dict(layer.options[layer.default].attributes) | {"expansion": 2}
        index = [dict(option.attributes) for option in layer.options].index(wanted)
        smaller = SPACE.build((*SPACE.default[:3], index, *SPACE.default[4:]))
        transplant(make_donor(model, "bn_scale"), smaller)
        kept = np.asarray(smaller.get_layer(f"{name}_bn").gamma)
        self.assertEqual((kept == 2).sum(), len(important))


class ImportanceTest(parameterized.TestCase):
    def test_a_residual_and_its_producers_share_a_group(self):
        groups = channel_groups(_shared()[0])
        self.assertEqual(
            groups.sites["block1_project_conv"].target,
            groups.sites["block2_project_conv"].target,
        )
        self.assertEqual(
            groups.sites["block3_expand_conv"].target,
            groups.sites["block3_se_expand"].target,
        )

    def test_every_criterion_ranks_all_channels(self):
        model = _trained()
        fit_classifier(model, image_features(model, _IMAGES), _LABELS, 3)
        seen = observe(model, _IMAGES, _LABELS)
        groups, weights = channel_groups(model), layer_weights(model)
        inner = groups.sites["block2_depthwise_conv"].target
        for criterion in CRITERIA:
            ranks = channel_importance(groups, weights, criterion, seen.taylor)
            self.assertLen(np.unique(ranks[inner]), groups.sizes[inner], criterion)

    def test_an_unknown_criterion_is_refused(self):
        with self.assertRaisesRegex(UserError, "expected one of leading, l1"):
            make_donor(_shared()[0], "magic")

    def test_taylor_sees_which_channel_the_loss_depends_on(self):
        model = _trained()
        fit_classifier(model, image_features(model, _IMAGES), _LABELS, 3)
        norm = model.get_layer("block2_depthwise_bn")
        gamma = np.asarray(norm.gamma).copy()
        gamma[4] = 0
        norm.gamma.assign(gamma)
        norm.beta.assign(np.where(gamma == 0, 0, np.asarray(norm.beta)))
        seen = observe(model, _IMAGES, _LABELS)
        self.assertEqual(seen.taylor["block2_depthwise_bn"][4], 0)
        self.assertGreater(seen.taylor["block2_depthwise_bn"].max(), 0)


class ClassifierTest(absltest.TestCase):
    def test_a_fitted_classifier_knows_its_images(self):
        model = _trained()
        images = _IMAGES + 80 * (_LABELS[:, None, None, None] - 1)
        fit_classifier(model, image_features(model, images), _LABELS, 3)
        right = np.asarray(model(images)).argmax(axis=1) == _LABELS
        self.assertGreater(right.mean(), 0.9)

    def test_two_classes(self):
        two = space(classes=2)
        model = two.build(two.default)
        labels = np.arange(24) % 2
        images = _IMAGES / 2 + 120 * labels[:, None, None, None]
        recalibrate(model, images)
        fit_classifier(model, image_features(model, images), labels, 2)
        right = np.asarray(model(images)).argmax(axis=1) == labels
        self.assertGreater(right.mean(), 0.9)


if __name__ == "__main__":
    absltest.main()
