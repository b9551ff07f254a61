"""What every search algorithm is: ask for a candidate, tell its reward.

An algorithm does no I/O, trains nothing and imports no TensorFlow. Its state is a
function of the seed and of the asks and tells in their order, so a study is resumed by
replaying its trials.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import operator
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import ClassVar, final

import numpy as np

from layernas_tf.algorithms.history import Answer, History
from layernas_tf.algorithms.untried import Untried
from layernas_tf.core.errors import UserError
from layernas_tf.core.user_code import describe_in
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


class Algorithm(abc.ABC):
    """A search algorithm. A new one writes `propose` and, if it learns, `learn`.

    The base class keeps the history: it numbers the asks, remembers what is pending,
    refuses a proposal that was made before, ignores what is told twice, and knows the
    best architecture inside the budgets.

    For example, a random search that never repeats itself:

    ```python
    class RandomSearch(Algorithm):
        def propose(self, number, rng):
            architecture = self.untried.sample(rng)
            return None if architecture is None else Candidate(architecture, number)
    ```

    Attributes:
      space: What is searched.
      history: What was asked and told so far.
      budgeted: The chain of costs under the budgets that proposals keep: it counts,
        completes and samples architectures inside them.
      untried: The architectures inside those budgets that are neither told nor
        pending.
      pure_proposals: Whether `propose` changes nothing about the algorithm. A long
        study is then rebuilt quickly, as its asks need not be computed again.
    """

    pure_proposals: ClassVar[bool] = False

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget] = (),
        *,
        seed: int = 0,
        proposal_budgets: Sequence[Budget] | None = None,
    ):
        """Starts a search.

        Args:
          space: What to search.
          budgets: What the answer may cost; all hold together.
          seed: Determines every random choice.
          proposal_budgets: What the proposals may cost, where that differs from what
            the answer may cost.

        Raises:
          UserError: No architecture is inside the budgets.
        """
        if proposal_budgets is None:
            proposal_budgets = budgets
        self.space = space
        self.history = History(space, budgets, seed)
        self.budgeted = BudgetedChain(space.chain, proposal_budgets)
        self.untried = Untried(self.history, self.budgeted)
        self._out_of_proposals = False
        self._first: tuple[Architecture, ...] = ()

    def begin_with(self, architectures: Sequence[Architecture]) -> None:
        """Lets the first asks propose these, as far as they are inside the budgets.

        `propose` is called only when all of them have been proposed. To be called
        before the first ask.
        """
        self._first = tuple(a for a in architectures if self.untried.fits(a))

    @abc.abstractmethod
    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """Chooses an architecture that is neither told nor pending.

        Args:
          number: The trial's number; the candidate carries it.
          rng: The only source of randomness: it is a function of the seed and of
            `number`, so that a resumed search proposes the same.

        Returns:
          The candidate, or None if there is nothing to propose before a pending
          candidate is told. If nothing is pending either, the search has finished.
        """

    def learn(  # noqa: B027  # a search that does not learn leaves it as it is
        self, candidate: Candidate, reward: float | None
    ) -> None:
        """Takes in a reward; called once for each architecture.

        Args:
          candidate: What was evaluated. It may be one that this object never
            proposed: another worker or an earlier session did.
          reward: Higher is better, always finite; None for a failed trial. An
            architecture whose trial failed comes a second time if another worker
            succeeds with it.
        """

    @final
    def ask(self, number: int | None = None) -> Candidate | None:
        """Proposes an architecture that is neither told nor pending.

        Args:
          number: The trial's number; by default the number of asks so far. Drivers
            that share a study pass the number that the storage gave.

        Returns:
          The candidate, or None when there is nothing to propose now: either what is
          pending must be told first, or `finished` is true.

        Raises:
          UserError: `propose` chose what is no architecture of the space, or one that
            was chosen before.
        """
        if number is None:
            number = self.history.asked
        candidate = self._next_first(number)
        if candidate is None:
            with self._explaining("propose"):
                candidate = self.propose(number, self.history.rng(number))
        if candidate is None:
            self._out_of_proposals = not self.history.pending
            return None
        candidate = self._checked(candidate, number)
        self.history.note_ask(candidate)
        return candidate

    def _next_first(self, number: int) -> Candidate | None:
        for architecture in self._first:
            if self.history.is_new(architecture):
                return Candidate(architecture, number)
        return None

    @final
    def tell(self, candidate: Candidate, reward: float | None) -> None:
        """Reports a reward (higher is better), or None for a failed trial.

        Candidates that this object never proposed (of another worker, of an earlier
        session) are accepted as well. A reward that is not finite is a failure.
        """
        if self.history.record(candidate, reward):
            self._out_of_proposals = False
            with self._explaining("learn"):
                self.learn(candidate, self.history.rewards[candidate.architecture])

    @final
    def recall(self, architecture: Architecture, number: int) -> Candidate | None:
        """Repeats ask `number`, whose proposal is known, without computing it.

        Only for algorithms with `pure_proposals`.

        Returns:
          The candidate; None if the algorithm cannot have proposed it.
        """
        _, costs = self.space.chain.walk(architecture)
        if not (
            self.history.is_new(architecture) and inside(self.budgeted.budgets, costs)
        ):
            return None
        candidate = Candidate(architecture, number)
        self.history.note_ask(candidate)
        return candidate

    @property
    def finished(self) -> bool:
        """Whether the last ask had nothing to propose while nothing was pending."""
        return self._out_of_proposals

    @property
    def best(self) -> Answer | None:
        """The answer so far; None before the first reward inside the budgets."""
        return self.history.best

    @contextlib.contextmanager
    def _explaining(self, method: str) -> Iterator[None]:
        """What a user's own class raises becomes a `UserError`."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            module = type(self).__module__
            if module.startswith("layernas_tf."):
                raise  # a mistake of ours, not of the user's
            file = getattr(sys.modules.get(module), "__file__", None) or ""
            raise UserError(
                f"algorithm {type(self).__name__}: {method}() raised "
                f"{describe_in(error, pathlib.Path(file))}"
            ) from error

    def _checked(self, candidate: Candidate, number: int) -> Candidate:
        """The proposal, with plain integers as option indices."""
        name = type(self).__name__
        try:
            architecture = tuple(map(operator.index, candidate.architecture))
            self.space.check(architecture)
        except (AttributeError, TypeError):
            raise UserError(
                f"algorithm {name}: propose() must return a Candidate with an option "
                f"index for each layer, or None; got {candidate!r}"
            ) from None
        except UserError as error:
            raise UserError(
                f"algorithm {name}: propose() went wrong: {error}"
            ) from None
        if candidate.number != number:
            raise UserError(
                f"algorithm {name}: propose() must return candidate {number}, as it "
                f"was asked to; got number {candidate.number}"
            )
        if not self.history.is_new(architecture):
            raise UserError(
                f"algorithm {name}: propose() chose {architecture} a second time; "
                "expected an architecture for which self.history.is_new() is true"
            )
        return dataclasses.replace(candidate, architecture=architecture)
