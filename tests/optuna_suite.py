"""Optuna's own tests of samplers, on ours; `sampler_test` runs them with pytest."""

from __future__ import annotations

import pytest
from optuna.testing import pytest_samplers

from layernas_tf.study.optuna_sampler import LayerNASSampler
from search_spaces.tabular.synthetic import synthetic


class TestLayerNASSampler(
    pytest_samplers.BasicSamplerTestCase, pytest_samplers.SingleOnlySamplerTestCase
):
    @pytest.fixture(params=["layernas", "layernas_bayes"])
    def sampler(self, request):
        space = synthetic(layers=3, options=3, buckets=12).space
        return lambda: LayerNASSampler(space, algorithm=request.param)
