"""A Ray cluster: connecting to it, dividing it among workers, reading its errors."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import sys
from collections.abc import Mapping

from layernas_tf.core.errors import UserError, describe
from layernas_tf.core.extras import needs_extra

_STARTS = 3
"""Attempts to start Ray: on a busy machine, a start may exceed Ray's limit of 30 s."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """The resources of the workers.

    Example: `Resources(workers=4, cpus=2, gpus=0.5)` runs two workers on each GPU.

    Attributes:
      workers: Number of workers.
      cpus: CPUs of each worker; None divides all CPUs evenly.
      gpus: GPUs of each worker, such as 0.5; None divides all GPUs evenly.
    """

    workers: int
    cpus: float | None = None
    gpus: float | None = None


def connect(address: str) -> None:
    """Connects to a Ray cluster, or starts Ray on this machine for an empty address.

    Raises:
      UserError: It cannot be reached or started.
    """
    with needs_extra("ray", "training in several workers"):
        import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    _hide_command_line()
    attempts = 1 if address else _STARTS
    for attempt in range(attempts):
        try:
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                configure_logging=False,
                log_to_driver=False,
            )
            return
        except Exception as error:  # its type depends on the stage that fails
            ray.shutdown()
            if attempt + 1 == attempts:
                where = f"Ray cluster {address!r}" if address else "Ray on this machine"
                text = reason_of_ray(error)
                raise UserError(f"{where} cannot be used: {text}") from None


def _hide_command_line() -> None:
    """Lets Ray record only the name of this program.

    By default, Ray keeps the whole command line in its logs and in its list of jobs,
    and with it a password in the URL of a database.
    """
    from ray._private import utils

    utils.get_entrypoint_name = lambda: os.path.basename(sys.argv[0])


def shares(
    there: Mapping[str, float], resources: Resources, *, local: bool
) -> tuple[float, float]:
    """CPUs and GPUs of each worker.

    Args:
      there: CPUs and GPUs of the cluster.
      resources: What the user asks for.
      local: Whether the cluster is this machine alone, which cannot grow.

    Raises:
      UserError: This machine has fewer CPUs or GPUs than the workers need.
    """
    workers, cpus, gpus = resources.workers, resources.cpus, resources.gpus
    if cpus is None:
        share = there.get("CPU", 1.0) / workers
        cpus = float(int(share)) if share >= 1 else int(100 * share) / 100
    if gpus is None:
        # Workers share GPUs evenly; a training uses at most one GPU.
        has = there.get("GPU", 0.0)
        gpus = 1 / math.ceil(workers / has) if has else 0.0
    if local:
        for name, each in (("CPU", cpus), ("GPU", gpus)):
            has = there.get(name, 0.0)
            if each * workers > has + 1e-6:
                raise UserError(
                    f"`workers`={workers} with {each:g} {name}s each need "
                    f"{each * workers:g}, this machine has {has:g}; expected "
                    f"fewer `workers` or a smaller `{name.lower()}s_per_trial`"
                )
    return cpus, gpus


def reason_of_ray(error: BaseException) -> str:
    """An error as one line: of Ray's long text, only the sentence with the cause."""
    from ray.exceptions import RayError

    if not isinstance(error, RayError):
        return describe(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("The actor is dead because")]
    text = (told or lines or [type(error).__name__])[0]
    return text.partition(" Worker exit type")[0].partition(". ")[0].rstrip(".")[:300]
