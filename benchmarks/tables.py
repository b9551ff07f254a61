"""The benchmark tables that the benchmarks run on, and where they lie."""

from __future__ import annotations

import dataclasses
import os
import re

from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.compare import load
from layernas_tf.comparison.runs import Setting


@dataclasses.dataclass(frozen=True)
class PublishedTable:
    """A table and where it lies.

    Example: `PublishedTable("Burger", "burger", "", budget="price<=60%")`.

    Attributes:
      title: For people.
      benchmark: As for `--benchmark`.
      file: Its name in the folder of tables; empty for a table made up from a seed.
      dataset: As for `--dataset`.
      budget: As for `--budget`; empty: half of the largest architecture's cost.
      noisy: Whether the signal has noise that the best possible has not, so that
        the signal can exceed it and only the reported accuracy says how close a
        search came.
      trials: Of each run.
    """

    title: str
    benchmark: str
    file: str
    dataset: str = ""
    budget: str = ""
    noisy: bool = False
    trials: int = 200

    @property
    def folder(self) -> str:
        """Name of the folder of its runs."""
        return re.sub("[^a-z0-9]+", "_", self.title.lower()).strip("_")

    def setting(self, folder: str, seed: int = 0) -> Setting:
        """What all runs on the table share."""
        setting = Setting(
            self.benchmark,
            os.path.join(folder, self.file) if self.file else "",
            self.dataset,
            90,
            (),
            RewardShape(),
            seed,
        )
        if self.budget == "none":
            return setting
        budget = self.budget or f"{load(setting).metric}<=50%"
        return dataclasses.replace(setting, budgets=(budget,))


_NATS = "nats_sss", "nats_sss_hp90.csv"

TABLES = (
    PublishedTable("NATS CIFAR-10", *_NATS, "cifar10"),
    PublishedTable("NATS CIFAR-100", *_NATS, "cifar100"),
    PublishedTable("NATS ImageNet16-120", *_NATS, "imagenet16"),
    PublishedTable(
        "NAS-Bench-Macro", "nas_bench_macro", "nas-bench-macro_cifar10.json"
    ),
    PublishedTable(
        "Channel-Bench-Macro MobileNet",
        "channel_bench_macro",
        "channel-bench-macro_mobilenet.json",
    ),
)


_TOPOLOGY = "nats_tss", "nats_tss.csv"

TOPOLOGY = (
    PublishedTable("Topology CIFAR-10", *_TOPOLOGY, "cifar10", "none"),
    PublishedTable("Topology CIFAR-100", *_TOPOLOGY, "cifar100", "none"),
    PublishedTable("Topology ImageNet16-120", *_TOPOLOGY, "imagenet16", "none"),
    PublishedTable("Topology CIFAR-10 at 50 % MAdds", *_TOPOLOGY, "cifar10"),
)

_ACCEL = "accel_nasbench", "accel-nasbench_imagenet.csv", "imagenet"

MOBILE = (
    PublishedTable("Accel-NASBench at 50 % MACs", *_ACCEL, "", True, 400),
    PublishedTable(
        "Accel-NASBench at 50 % latency",
        *_ACCEL,
        "latency_ms_zcu102<=50%",
        True,
        400,
    ),
)

LONG = PublishedTable(
    "Synthetic 20 layers",
    "synthetic",
    "",
    "layers=20,options=9,buckets=1000,interaction=0.1,noise=0.1",
    noisy=True,
)
"""A chain as long as a mobile network's, with mild interaction and noise."""

EVERY = (*TABLES, *TOPOLOGY, *MOBILE, LONG)
