"""What TensorBoard reads back is what the trials logged."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import api_pb2, metadata

from layernas_tf.pipeline.tensorboard import log_experiment, log_trial
from search_spaces.tabular.burger import burger


def _read(folder: str) -> EventMultiplexer:
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(folder)
    multiplexer.Reload()
    return multiplexer


def _scalars(logs: EventMultiplexer, run: str, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in logs.Scalars(run, tag)]


def _hparams_data(logs: EventMultiplexer, run: str, tag: str) -> bytes:
    plugins = logs.SummaryMetadata(run, tag).plugin_data
    assert plugins.plugin_name == metadata.PLUGIN_NAME
    return plugins.content


class TensorBoardTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def test_scalars_of_a_trial_are_read_back(self):
        costs = {"madds": 3_000_000.0, "params": 12.0}
        log_trial(self.folder, 7, {"patty": "beef"}, 0.5, costs)
        logs = _read(self.folder)

        self.assertEqual(_scalars(logs, "trial_00007", "reward"), [(0, 0.5)])
        self.assertEqual(_scalars(logs, "trial_00007", "cost/madds"), [(0, 3e6)])

    def test_options_are_the_hyperparameters(self):
        options = {"patty": "beef", "kernel": 5, "se": True}
        log_trial(self.folder, 0, options, 0.5, {})
        content = _hparams_data(
            _read(self.folder), "trial_00000", metadata.SESSION_START_INFO_TAG
        )
        info = metadata.parse_session_start_info_plugin_data(content)

        self.assertEqual(info.group_name, "trial_00000")
        self.assertEqual(info.hparams["patty"].string_value, "beef")
        self.assertEqual(info.hparams["kernel"].number_value, 5)
        self.assertTrue(info.hparams["se"].bool_value)

    def test_failed_trial_is_marked_and_has_no_reward(self):
        log_trial(self.folder, 0, {"patty": "bean"}, 0.5, {"price": 2.0})
        log_trial(self.folder, 1, {"patty": "beef"}, None, {"price": 5.0})
        logs = _read(self.folder)

        self.assertNotIn("reward", logs.Runs()["trial_00001"]["scalars"])
        self.assertEqual(_scalars(logs, "trial_00001", "cost/price"), [(0, 5.0)])
        for run, expected in (
            ("trial_00000", api_pb2.STATUS_SUCCESS),
            ("trial_00001", api_pb2.STATUS_FAILURE),
        ):
            content = _hparams_data(logs, run, metadata.SESSION_END_INFO_TAG)
            info = metadata.parse_session_end_info_plugin_data(content)
            self.assertEqual(info.status, expected)

    def test_experiment_lists_options_of_every_layer_and_the_metrics(self):
        log_experiment(self.folder, burger())
        content = _hparams_data(_read(self.folder), ".", metadata.EXPERIMENT_TAG)
        experiment = metadata.parse_experiment_plugin_data(content)

        by_name = {info.name: info for info in experiment.hparam_infos}
        self.assertCountEqual(by_name, ["patty", "topping", "bun"])
        values = [v.string_value for v in by_name["patty"].domain_discrete.values]
        self.assertCountEqual(
            values, [option.label for option in burger().layers[0].options]
        )
        tags = [info.name.tag for info in experiment.metric_infos]
        self.assertEqual(tags, ["reward", "cost/price"])

    def test_logging_again_replaces_the_trial(self):
        for reward in (0.25, 0.75):
            log_trial(self.folder, 3, {"patty": "beef"}, reward, {})
        run = pathlib.Path(self.folder) / "trial_00003"

        self.assertEqual(os.listdir(run), ["events.out.tfevents.trial_00003"])
        logs = _read(self.folder)
        self.assertEqual(_scalars(logs, "trial_00003", "reward"), [(0, 0.75)])

    def test_a_trial_costs_little_and_leaves_nothing_open(self):
        opened = len(os.listdir("/proc/self/fd"))
        costs = {f"metric{i}": 1.0 for i in range(20)}
        options = {f"layer{i}": "k3 e6 se" for i in range(20)}
        log_trial(self.folder, 0, options, 0.5, costs)
        start = time.process_time()
        for number in range(1, 51):
            log_trial(self.folder, number, options, 0.5, costs)
        spent = (time.process_time() - start) / 50

        self.assertLess(spent, 0.02)
        self.assertLen(os.listdir("/proc/self/fd"), opened)

    def test_logging_needs_no_tensorflow(self):
        program = (
            "import sys; from layernas_tf.pipeline.tensorboard import log_trial\n"
            f"log_trial({self.folder!r}, 0, {{'a': 'b'}}, 0.5, {{}})\n"
            "print('tensorflow' in sys.modules)"
        )
        finished = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

        self.assertEqual(finished.stdout.split(), ["False"], finished.stderr)


if __name__ == "__main__":
    absltest.main()
