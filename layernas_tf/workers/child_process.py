"""Evaluation in a child process, which is replaced after some evaluations.

A training leaves memory behind that no Python object holds: the kernels that oneDNN
compiles for every shape, and fragments of the heap. Moreover, a crash of native code or
the system's out-of-memory killer ends a process without an exception. With a child
process, the memory is released when the child ends, and a crash costs one trial only.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from layernas_tf.core.errors import describe
from layernas_tf.evaluators.base import Evaluation, Evaluator, TrialFailure
from layernas_tf.space.candidate import Candidate
from layernas_tf.workers.attempts import ONCE, Attempts


class _Lost(Exception):
    """The child died or exceeded the time limit; the message is the reason."""


class ChildProcess:
    """An evaluator that runs another evaluator in a child process.

    Example: `ChildProcess(make_evaluator, trials=100)` starts a new process after every
    hundred evaluations.

    Args:
      make_evaluator: An importable function, called once when a child starts.
      trials: Number of evaluations after which a new child takes over.
      attempts: The time limit and the retries. The time limit of an evaluation does
        not include the start of the child.
    """

    def __init__(
        self,
        make_evaluator: Callable[[], Evaluator],
        trials: int,
        attempts: Attempts = ONCE,
    ):
        self._make_evaluator = make_evaluator
        self._trials = trials
        self._attempts = attempts
        self._child: tuple[BaseProcess, Connection] | None = None
        self._done = 0

    def __call__(self, candidate: Candidate) -> Evaluation:
        """Evaluates the candidate in the child.

        Raises:
          TrialFailure: The evaluator cannot be made or raised an exception, or every
            attempt ended with a crash or at the time limit. The message is the reason.
        """
        attempt = 0
        while True:
            attempt += 1
            answer: Evaluation | str | None
            try:
                answer = self._evaluate(candidate)
            except _Lost as lost:
                self.close()
                answer = self._attempts.failed(candidate.number, attempt, str(lost))
            if isinstance(answer, Evaluation):
                return answer
            if answer is not None:
                raise TrialFailure(answer)

    def close(self) -> None:
        """Ends the child, even in the middle of an evaluation."""
        if self._child is not None:
            process, connection = self._child
            process.kill()
            process.join()
            connection.close()
        self._child = None

    def _evaluate(self, candidate: Candidate) -> Evaluation | str:
        """The child's answer: an evaluation, or why there is none."""
        if self._done >= self._trials:
            self.close()
        if self._child is None:
            self._child = self._start()
            failed = self._receive(*self._child, None)
            if failed:
                self.close()
                return failed
        process, connection = self._child
        try:
            connection.send(candidate)
        except OSError:
            pass  # It has died since; receiving finds out why.
        answer = self._receive(process, connection, self._attempts.timeout)
        self._done += 1
        return answer

    def _receive(
        self, process: BaseProcess, connection: Connection, timeout: float | None
    ) -> Evaluation | str:
        try:
            if not connection.poll(timeout):
                raise _Lost(self._attempts.too_late)
            return connection.recv()
        except (EOFError, OSError):
            process.join()
            raise _Lost(_cause(process.exitcode or 0)) from None

    def _start(self) -> tuple[BaseProcess, Connection]:
        # Not forked: TensorFlow's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        connection, end = context.Pipe()
        process = context.Process(
            target=_serve, args=(end, self._make_evaluator), daemon=True
        )
        process.start()
        end.close()
        self._done = 0
        return process, connection


def end_with_parent() -> None:
    """Ends this process as soon as its parent process has ended.

    Otherwise the children of a program that was killed would run on.
    """

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _serve(connection: Connection, make_evaluator: Callable[[], Evaluator]) -> None:
    end_with_parent()
    # The parent receives it as well, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        evaluator = make_evaluator()
    except Exception as error:  # The user sees it as the reason of the trial.
        connection.send(describe(error))
        return
    connection.send("")
    while True:
        try:
            candidate = connection.recv()
        except EOFError:
            return
        answer: Evaluation | str
        try:
            answer = evaluator(candidate)
        except Exception as error:  # One candidate must not end the search.
            answer = describe(error)
        connection.send(answer)


def _cause(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "the training process was killed, maybe because memory ran out"
    if exit_code < 0:
        return f"the training process died of {signal.Signals(-exit_code).name}"
    return f"the training process ended by itself with exit code {exit_code}"
