"""Evaluates candidates in many worker processes: on this machine or a Ray cluster.

Each worker is a Ray actor: a process that loads the data set once and then trains one
candidate after the other, until it is replaced. If a worker is killed, its node is lost
or its candidate exceeds the time limit, another worker tries the candidate again.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.base import Evaluator
from layernas_tf.space.candidate import Candidate
from layernas_tf.workers.attempts import ONCE, Attempts
from layernas_tf.workers.executor import Outcome, evaluate
from layernas_tf.workers.limits import limit_gpu_memory, limit_threads
from layernas_tf.workers.ray_cluster import (
    Resources,
    connect,
    reason_of_ray,
    shares,
)

MOST_FAILED_STARTS = 3
"""The search ends after this many crashes in a row, per worker, during the start."""

_PATIENCE = 30.0
"""Seconds without a ready worker after which the user gets a message."""


@dataclasses.dataclass
class _Worker:
    """A worker and its current task.

    Attributes:
      actor: Ray's handle of the worker.
      ref: Ray's reference to the current call: loading, or evaluating `candidate`.
      candidate: The candidate that it evaluates; None while it loads or waits.
      since: When the evaluation began, by the monotonic clock.
      done: Number of its finished evaluations.
    """

    actor: Any
    ref: Any
    candidate: Candidate | None = None
    since: float = 0.0
    done: int = 0


class _Process:
    """The actor: the code that runs in a worker's process."""

    def load(
        self, make_evaluator: Callable[[], Evaluator], cpus: float, gpus: float
    ) -> None:
        limit_threads(cpus)
        limit_gpu_memory(gpus)
        self._evaluator = make_evaluator()

    def evaluate(self, candidate: Candidate) -> Outcome:
        return evaluate(self._evaluator, candidate)


class RayWorkers:
    """The executor of many workers; see `layernas_tf.workers.executor.Executor`.

    Example:
      executor = RayWorkers(make_evaluator, Resources(workers=4))
      executor.submit(candidate)
      outcomes = executor.wait()
    """

    def __init__(
        self,
        make_evaluator: Callable[[], Evaluator],
        resources: Resources,
        *,
        address: str = "",
        attempts: Attempts = ONCE,
        trials: int = 0,
    ):
        """Connects to Ray, or starts it on this machine, and starts the workers.

        Args:
          make_evaluator: Called once in each worker's process.
          resources: The number of workers and their CPUs and GPUs.
          address: Address of a Ray cluster, or `auto`; empty starts Ray on this
            machine.
          attempts: The time limit and the retries of an evaluation.
          trials: Evaluations after which a worker is replaced; 0 for never.

        Raises:
          UserError: The cluster cannot be reached, or this machine lacks the resources
            for the workers.
        """
        connect(address)
        import ray

        self._ray = ray
        self._attempts = attempts
        self._trials = trials
        self._queue: collections.deque[Candidate] = collections.deque()
        self._failures: collections.Counter[int] = collections.Counter()
        self._failed_starts = 0
        self._waiting_since: float | None = time.monotonic()
        try:
            cpus, gpus = shares(ray.cluster_resources(), resources, local=not address)
            self._arguments = (make_evaluator, cpus, gpus)
            self._process: Any = ray.remote(_Process).options(
                num_cpus=cpus, num_gpus=gpus, max_restarts=0
            )
            self._workers = [self._start() for _ in range(resources.workers)]
        except BaseException:
            ray.shutdown()
            raise

    @property
    def free(self) -> int:
        """See `Executor`."""
        return len(self._workers) - self.running

    @property
    def running(self) -> int:
        """See `Executor`."""
        busy = sum(worker.candidate is not None for worker in self._workers)
        return busy + len(self._queue)

    def submit(self, candidate: Candidate) -> None:
        """See `Executor.submit`."""
        self._queue.append(candidate)
        self._assign()

    def wait(self) -> list[Outcome]:
        """See `Executor.wait`.

        Raises:
          UserError: Workers cannot start.
        """
        while True:
            self._assign()
            outcomes = self._collect()
            if outcomes:
                return outcomes

    def close(self) -> None:
        """See `Executor.close`."""
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._queue.clear()
        self._workers = []
        self._ray.shutdown()

    def _start(self) -> _Worker:
        actor = self._process.remote()
        return _Worker(actor, actor.load.remote(*self._arguments))

    def _assign(self) -> None:
        for worker in self._workers:
            if self._queue and worker.ref is None:
                worker.candidate = self._queue.popleft()
                worker.since = time.monotonic()
                worker.ref = worker.actor.evaluate.remote(worker.candidate)

    def _collect(self) -> list[Outcome]:
        """Waits a while for calls to end; returns the outcomes of those that did."""
        wait = self._ray.wait
        refs = [worker.ref for worker in self._workers if worker.ref is not None]
        done, _ = wait(refs, num_returns=1, timeout=self._until_deadline())
        if done:
            done, _ = wait(refs, num_returns=len(refs), timeout=0)
        ended = set(done)
        now = time.monotonic()
        outcomes = []
        for place, worker in enumerate(self._workers):
            outcome = None
            if worker.ref in ended:
                outcome = self._result(place)
            elif worker.candidate is not None and self._late(worker, now):
                outcome = self._lost(place, self._attempts.too_late)
            if outcome is not None:
                outcomes.append(outcome)
        self._warn(now)
        return outcomes

    def _until_deadline(self) -> float:
        """How long to wait for calls, in seconds."""
        timeout = self._attempts.timeout
        if timeout is None:
            return _PATIENCE
        now = time.monotonic()
        left = [
            worker.since + timeout - now
            for worker in self._workers
            if worker.candidate is not None
        ]
        return min([_PATIENCE, *(max(0.0, seconds) for seconds in left)])

    def _late(self, worker: _Worker, now: float) -> bool:
        timeout = self._attempts.timeout
        return timeout is not None and now - worker.since >= timeout

    def _result(self, place: int) -> Outcome | None:
        """The outcome of a call that ended; None after loading or for a new attempt."""
        worker = self._workers[place]
        loading = worker.candidate is None
        try:
            outcome = self._ray.get(worker.ref)
        except self._ray.exceptions.RayTaskError as error:
            if loading:
                reason = reason_of_ray(error.cause)
                raise UserError(f"a worker cannot start: {reason}") from None
            return self._lost(place, reason_of_ray(error.cause))
        except self._ray.exceptions.RayError as error:
            reason = f"the worker was lost: {reason_of_ray(error)}"
            if not loading:
                return self._lost(place, reason)
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS * len(self._workers):
                raise UserError(
                    f"{self._failed_starts} workers in a row died while they started; "
                    f"{reason}"
                ) from None
            self._renew(place)
            return None
        worker.ref, worker.candidate = None, None
        self._failed_starts = 0
        if loading:
            return None
        del self._failures[outcome.candidate.number]
        worker.done += 1
        if worker.done == self._trials:
            self._renew(place)
        return outcome

    def _renew(self, place: int) -> None:
        self._ray.kill(self._workers[place].actor)
        self._workers[place] = self._start()

    def _lost(self, place: int, reason: str) -> Outcome | None:
        """Replaces a worker and tries its candidate again, or returns its failure."""
        worker = self._workers[place]
        candidate, seconds = worker.candidate, time.monotonic() - worker.since
        assert candidate is not None  # a worker that loads is restarted, not lost
        self._renew(place)
        self._failures[candidate.number] += 1
        failed = self._attempts.failed(
            candidate.number, self._failures[candidate.number], reason
        )
        if failed is None:
            self._queue.appendleft(candidate)
            return None
        del self._failures[candidate.number]
        return Outcome(candidate, None, seconds, failed)

    def _warn(self, now: float) -> None:
        """Tells the user once when no worker has been ready for a long time."""
        if any(w.ref is None or w.candidate is not None for w in self._workers):
            self._waiting_since = None
        elif self._waiting_since is not None and now - self._waiting_since > _PATIENCE:
            self._waiting_since = None
            _, cpus, gpus = self._arguments
            self._attempts.say(
                f"Still no worker is ready: each waits for {cpus:g} CPUs and "
                f"{gpus:g} GPUs of the Ray cluster, or loads the data set."
            )
