"""Convolutions that lost input channels are fitted to what they gave before."""

from __future__ import annotations

import functools

import keras
import numpy as np
from absl.testing import absltest

from layernas_tf.training.recalibrate import recalibrate
from layernas_tf.training.reconstruct import record
from layernas_tf.training.surgery import make_donor, transplant
from tests.published_blocks import space

_IMAGES = np.random.default_rng(0).uniform(0, 255, (32, 16, 16, 3)).astype(np.float32)
_OTHERS = np.random.default_rng(1).uniform(0, 255, (32, 16, 16, 3)).astype(np.float32)
SPACE = space()


class ReconstructTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keras.utils.set_random_seed(0)
        cls.uncut = SPACE.build(SPACE.default)
        recalibrate(cls.uncut, _IMAGES)
        cls.known = record(cls.uncut, _IMAGES)

    def network(self, architecture, *, refit: bool):
        """A network with the uncut one's weights, refitted or not."""
        model = SPACE.build(architecture)
        done = transplant(make_donor(self.uncut, "l2"), model)
        call = functools.partial(self.known.refit, done.channels) if refit else None
        recalibrate(model, _IMAGES, done.identities, call)
        return model

    def test_an_uncut_network_stays_as_it_is(self):
        model = self.network(SPACE.default, refit=True)
        np.testing.assert_allclose(
            np.asarray(model(_OTHERS)), np.asarray(self.uncut(_OTHERS)), atol=1e-2
        )

    def changed(self, layer, **attributes):
        """The default architecture with other attributes of one layer."""
        options = SPACE.layers[layer].options
        wanted = dict(options[SPACE.layers[layer].default].attributes) | attributes
        index = [dict(option.attributes) for option in options].index(wanted)
        return (*SPACE.default[:layer], index, *SPACE.default[layer + 1 :])

    def test_a_cut_network_gives_more_nearly_what_the_uncut_one_gives(self):
        name = "block1_project_bn"
        wanted = keras.Model(self.uncut.input, self.uncut.get_layer(name).output)
        errors = []
        for refit in (False, True):
            model = self.network(self.changed(2, expansion=2), refit=refit)
            given = keras.Model(model.input, model.get_layer(name).output)
            errors.append(np.mean((given(_OTHERS) - wanted(_OTHERS)) ** 2))
        self.assertLess(errors[1], 0.9 * errors[0])

    def test_channels_that_were_doubled_are_those_of_the_uncut_network(self):
        model = self.network(self.changed(2, filters=24), refit=True)
        np.testing.assert_allclose(
            np.asarray(model(_OTHERS)), np.asarray(self.uncut(_OTHERS)), atol=1e-2
        )


if __name__ == "__main__":
    absltest.main()
