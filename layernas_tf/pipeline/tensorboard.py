"""TensorBoard logs of a search: scalars and hyperparameters of every trial.

Events are written with TensorBoard's own record writer, so TensorFlow is not needed.
Each trial has its own file, which is written in one step: no file stays open between
trials, and logging a trial again replaces its file.
"""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from layernas_tf.core.files import writing
from layernas_tf.space.search_space import SearchSpace

REWARD = "reward"
"""Tag of the reward."""


def log_experiment(directory: str | os.PathLike[str], space: SearchSpace) -> None:
    """Tells the HParams page of TensorBoard which choices and metrics to expect.

    Args:
      directory: The log directory; made where it is missing.
      space: The search space. Its layers with more than one option become the
        hyperparameters.
    """
    from tensorboard.plugins.hparams import summary_v2 as hp

    layers = [space.layers[i] for i in space.searched_layers]
    hparams = [
        hp.HParam(layer.name, hp.Discrete([option.label for option in layer.options]))
        for layer in layers
        # Two options may have the same label, where it rounds their attributes.
        if len({option.label for option in layer.options}) == len(layer.options)
    ]
    metrics = [hp.Metric(REWARD, display_name=REWARD)]
    metrics += [
        hp.Metric(f"cost/{metric.name}", display_name=metric.name)
        for metric in space.metrics
    ]
    config = hp.hparams_config_pb(hparams, metrics)
    _write(pathlib.Path(directory), "experiment", [(0, time.time(), config)])


def log_trial(
    directory: str | os.PathLike[str],
    number: int,
    options: Mapping[str, str | float | bool],
    reward: float | None,
    costs: Mapping[str, float],
) -> None:
    """Logs one trial, as the run `trial_<number>`.

    Args:
      directory: The log directory; made where it is missing.
      number: The trial's number.
      options: The chosen options by layer name, as a label or an attribute's value.
      reward: The reward; None for a failed trial, which is marked as failed.
      costs: Costs by metric name.
    """
    from tensorboard.plugins.hparams import summary_v2 as hp

    now = time.time()
    run = f"trial_{number:05d}"
    events = [(0, now, hp.hparams_pb(dict(options), trial_id=run))]
    if reward is not None:
        events.append((0, now, _scalar(REWARD, reward)))
    events += [(0, now, _scalar(f"cost/{name}", cost)) for name, cost in costs.items()]
    events.append((0, now, _end(failed=reward is None)))
    _write(pathlib.Path(directory) / run, run, events)


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=float(value))])


def _end(failed: bool) -> Any:
    """The record that ends a trial on the HParams page."""
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    return summary_pb2.Summary(
        value=[
            summary_pb2.Summary.Value(
                tag=metadata.SESSION_END_INFO_TAG,
                metadata=metadata.create_summary_metadata(data),
                tensor=metadata.NULL_TENSOR,
            )
        ]
    )


def _write(
    folder: pathlib.Path, name: str, events: Sequence[tuple[int, float, Any]]
) -> None:
    """Writes an event file in one step: (step, wall time in seconds, summary) each."""
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    # TensorBoard reads every file whose name holds `tfevents`.
    path = folder / f"events.out.tfevents.{name}"
    with writing(path) as temporary, open(temporary, "wb") as file:
        writer = RecordWriter(file)
        first = event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2")
        writer.write(first.SerializeToString())
        for step, wall_time, summary in events:
            event = event_pb2.Event(wall_time=wall_time, step=step, summary=summary)
            writer.write(event.SerializeToString())
