"""The configuration of a search.

The fields of `SearchConfig` are the arguments of `run_search` and the flags of the
binary, by the same names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import parse_resolution, resolution_name
from layernas_tf.core.secrets import redacted
from layernas_tf.datasets.frame import DEFAULT_FIT


def _flag(default: Any, text: str, *, may_change: bool = False) -> Any:
    """A field with its flag's help; `may_change` lets a resume give another value."""
    metadata = {"help": text, "may_change": may_change}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """The choices of a search; for None, the size of the data set decides.

    Example:
      SearchConfig(space="mobilenet_v2", budget=("madds<=50%",), trials=100)
    """

    space: str = _flag(
        "mobilenet_v3_small", "Search space: a name or path/to/file.py:function."
    )
    dataset: str = _flag(
        "digits", "digits, moved_digits, npz:FILE, folder:DIR or tfds:NAME."
    )
    budget: tuple[str, ...] = _flag(
        ("madds<=3M",),
        "What the answer may cost, such as 'madds<=3M', 'madds=2.5M..3M' or "
        "'madds<=50%' (of the default architecture); 'madds<=30%,45%,60%' for a winner "
        "each. May repeat: all must hold.",
    )
    latency_table: str = _flag(
        "",
        "A table of export.latency_table, for budgets on latency_ms; the workdir keeps "
        "a copy.",
        may_change=True,  # only the path: the workdir has a copy of the content
    )
    cost: tuple[str, ...] = _flag(
        (),
        "A cost of your own for budgets and reports, path/to/file.py:name. May repeat.",
    )
    trials: int | None = _flag(
        None,
        "Candidates to evaluate; by default 60, or 200 if they start from `pretrained` "
        "weights and are not trained, which takes seconds each.",
        may_change=True,
    )
    algorithm: str = _flag(
        "layernas_bayes", "Search algorithm: a name or path/to/file.py:Class."
    )
    algorithm_option: tuple[str, ...] = _flag(
        (), "An option of the algorithm, such as buckets=20. May repeat."
    )
    retarget_from: str = _flag(
        "",
        "Workdir of a finished search whose trials serve another `budget` or "
        "`latency_table`: only finalists are trained. Its other flags hold.",
        may_change=True,
    )
    evaluator: str = _flag(
        "",
        "path/to/file.py:function that gives a candidate's reward, in place of its "
        "proxy training.",
    )
    seed: int = _flag(0, "Seed of everything that is random.")
    storage: str = _flag(
        "", "URL of a database for the study, instead of study.db in the workdir."
    )
    study: str = _flag(
        "",
        "Name of the study in `storage`, by default the workdir's path; searches of "
        "other workdirs and machines join it by this name.",
    )
    resolution: int | str | None = _flag(
        None,
        "Size of the images, such as 96, or 96x160 for 96 rows of 160 pixels; by "
        "default a square of as many pixels as the median image, 32 to 224 a side.",
    )
    fit: str = _flag(
        DEFAULT_FIT,
        "How an image of other proportions comes into that size: squash (the whole "
        "image stretched), pad (the whole image between bars) or crop (its middle).",
    )
    channels: int | None = _flag(
        None, "1 for grey, 3 for RGB; by default what the images have, 3 for a folder."
    )
    skip_unreadable: bool = _flag(
        False, "Leave out the files of a folder that cannot be read."
    )
    stem_stride: int | None = _flag(
        None, "Stride of the first convolution; by default 1 below 64 pixels, else 2."
    )
    valid_fraction: float = _flag(
        0.2, "Share of the training images held out for validation."
    )
    limit: int | None = _flag(None, "At most about this many training images.")
    epochs: int | None = _flag(
        None,
        "Epochs of a candidate's proxy training; 0, only with `pretrained`: candidates "
        "are calibrated on the images but not trained.",
    )
    batch_size: int | None = _flag(None, "Images per step of the proxy training.")
    optimizer: str | None = _flag(
        None, "Optimizer of the proxy training: sgd, rmsprop or adamw."
    )
    learning_rate: float | None = _flag(None, "Peak rate of the proxy training.")
    weight_decay: float | None = _flag(
        None, "Decoupled weight decay of the proxy training."
    )
    augment: str | None = _flag(
        None,
        "Augmentation of the proxy training: none, shift, shift_flip or crop_flip.",
    )
    class_weights: str = _flag(
        "none",
        "What an image counts in the loss: none (all alike) or balanced (all classes "
        "alike, however many images each has).",
    )
    reward: str = _flag(
        "valid_loss",
        "What candidates are judged by: on the validation images accuracy, "
        "balanced_accuracy (the mean over the classes) or valid_loss (the "
        "cross-entropy); or train_loss_sum (the loss over all steps of the proxy "
        "training). The losses are made negative: more is better.",
    )
    mixed_precision: bool = _flag(False, "Train in bfloat16 with float32 weights.")
    inherit_weights: bool = _flag(
        False,
        "Candidates start from the weights of an earlier candidate: their parent or "
        "the most similar one. The weights are kept in the workdir's weights/.",
    )
    pretrained: str = _flag(
        "",
        "Weights that all networks start from: imagenet (what keras.applications has "
        "of the space's published network), a .keras, .h5, .weights.h5 or .npz file of "
        "that network, or an earlier search's winner/model.keras.",
    )
    trials_per_process: int = _flag(
        100,
        "Candidates are trained in a separate process, which is replaced after this "
        "many trials; 0 trains them in the search's process.",
        may_change=True,
    )
    workers: int = _flag(
        1, "Processes that train candidates; several need Ray.", may_change=True
    )
    ray_address: str = _flag(
        "",
        "Ray cluster to train on: 'auto' or HOST:PORT; by default this machine.",
        may_change=True,
    )
    cpus_per_trial: float | None = _flag(
        None,
        "CPUs of each of Ray's workers; by default an equal share of all.",
        may_change=True,
    )
    gpus_per_trial: float | None = _flag(
        None,
        "GPUs of each of Ray's workers, such as 1 or 0.5; by default an equal share "
        "of all.",
        may_change=True,
    )
    trial_timeout: float | None = _flag(
        None, "Seconds after which a trial is stopped.", may_change=True
    )
    trial_retries: int = _flag(
        2,
        "How often a trial is tried again after its worker was lost or timed out.",
        may_change=True,
    )
    distill: str | None = _flag(
        None,
        "What a teacher, the space's published network trained by the same recipe, "
        "gives the final trainings: features (what its last layer reads), logits (soft "
        "labels) or none; by default features with `pretrained`, else none.",
        may_change=True,
    )
    final_epochs: int | None = _flag(
        None, "Epochs of the finalists' training.", may_change=True
    )
    final_batch_size: int | None = _flag(
        None, "Images per step of the final trainings.", may_change=True
    )
    final_optimizer: str | None = _flag(
        None, "Optimizer of the final trainings.", may_change=True
    )
    final_learning_rate: float | None = _flag(
        None, "Peak learning rate of the final trainings.", may_change=True
    )
    final_weight_decay: float | None = _flag(
        None, "Decoupled weight decay of the final trainings.", may_change=True
    )
    final_augment: str | None = _flag(
        None, "Augmentation of the final trainings.", may_change=True
    )
    final_patience: float | None = _flag(
        None,
        "Share of the final epochs after which a training ends that has not improved "
        "on the validation images, by default 0.4; 0 is never.",
        may_change=True,
    )
    finalists: int = _flag(
        4,
        "Candidates that are trained longer: those of which the search expects the "
        "most. The better half goes on after a quarter and after half of the epochs; "
        "one wins.",
        may_change=True,
    )
    baseline: str = _flag(
        "width",
        "What the winner is compared with: width (the default network, all filters "
        "scaled to fit the budget), default (that network as it is) or none.",
        may_change=True,
    )
    final_seeds: int | None = _flag(
        None,
        "Trainings of the winner and of the baseline for the test figures; by default "
        "3 below 2,000 test images, 2 below 5,000, else 1.",
        may_change=True,
    )
    formats: str = _flag(
        "float32,int8",
        "Formats that the winner is exported to: some of float32, float16, dynamic, "
        "int8, qat_int8.",
        may_change=True,
    )
    export_input_type: str = _flag(
        "uint8",
        "Input and output of its integer files: uint8, int8 or float32.",
        may_change=True,
    )
    accept_changes: bool = _flag(
        False,
        "Resume although the space, the data or the recipes are not what they were: "
        "earlier trials stay on record, but the search does not believe them.",
        may_change=True,
    )

    def __post_init__(self) -> None:
        # 96, "96" and "96x96" are the same search; `check_config` refuses what is none.
        with contextlib.suppress(UserError):
            if self.resolution is not None:
                sides = parse_resolution(self.resolution)
                object.__setattr__(self, "resolution", resolution_name(*sides))

    @property
    def format_names(self) -> tuple[str, ...]:
        """The names in `formats`."""
        return tuple(name.strip() for name in self.formats.split(",") if name.strip())

    @property
    def uses_ray(self) -> bool:
        """Whether Ray's workers train the candidates."""
        return self.workers > 1 or bool(self.ray_address)

    def algorithm_options(self) -> dict[str, Any]:
        """The values of `--algorithm_option` by name, numbers and booleans parsed."""
        options = {}
        for text in self.algorithm_option:
            name, equals, value = text.partition("=")
            if not (name.isidentifier() and equals and value):
                raise UserError(
                    f"`algorithm_option`={text}: expected the form name=value"
                )
            try:
                options[name] = json.loads(value)
            except ValueError:
                options[name] = value
        return options

    def to_json(self) -> dict[str, Any]:
        """The values by flag name, ready for JSON, without the storage's password."""
        return json.loads(
            json.dumps({**dataclasses.asdict(self), "storage": redacted(self.storage)})
        )

    def settings(self) -> dict[str, Any]:
        """The values that all drivers of one study must share, by flag name."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if not field.metadata["may_change"]
            and field.name not in ("storage", "study")
        }
