"""Proximal policy optimization with a small controller, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.space.budget import Budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

_DRAWS = 32
_EPOCHS = 10
_CLIP = 0.2
_BETAS = 0.9, 0.999
_MEMORY = 0.9
_NEVER = -1e9


class PPO(Algorithm):
    """A categorical policy per layer, trained by PPO (Schulman et al., 1707.06347).

    The policy's logits are added to the logarithm of how many architectures inside the
    budget begin with the prefix and the option. So the untrained controller draws
    uniformly inside the budget, and no controller ever leaves it: invalid actions are
    masked instead of punished. The baseline is a running mean of the rewards, and
    advantages are divided by the running deviation. An architecture that was tried
    before is drawn again, at a rising temperature, so the policy learns from each
    evaluation once.

    Example: `PPO(space, [Budget("madds", 0, 3e6)], seed=0)`.
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Sequence[Budget],
        *,
        seed: int = 0,
        batch: int = 8,
        learning_rate: float = 0.05,
        entropy: float = 0.01,
        shape: RewardShape = RewardShape(),
    ):
        """Makes a search.

        Args:
          space: Where to search.
          budgets: What the answer may cost.
          seed: Determines every random choice.
          batch: How many rewards make one update of the policy.
          learning_rate: Adam's, in logits.
          entropy: Weight of the policy's mean entropy per layer, in deviations of the
            reward.
          shape: How the cost enters the reward.

        Raises:
          UserError: Nothing is inside the budgets.
        """
        super().__init__(
            space,
            budgets,
            seed=seed,
            proposal_budgets=shape.proposal_budgets(budgets),
        )
        self._shape = shape
        self._batch_size = batch
        self._learning_rate = learning_rate
        self._entropy = entropy
        layers = space.searched_layers
        widest = max(len(space.layers[i].options) for i in range(len(space.layers)))
        self._layers = np.array(layers, np.int64)
        self._logits = np.zeros((len(layers), widest))
        self._moments = np.zeros((2, *self._logits.shape))
        self._updates = 0
        self._mean = 0.0
        self._square = 0.0
        self._weight = 0.0
        self._batch: list[tuple[Architecture, float]] = []

    def propose(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """See `Algorithm.propose`."""
        for draw in range(_DRAWS):
            architecture = self._draw(rng, temperature=1 + draw / 4)
            if architecture is not None and self.untried.allows(architecture):
                return Candidate(architecture, number)
        architecture = self.untried.sample(rng)
        return None if architecture is None else Candidate(architecture, number)

    def _draw(
        self, rng: np.random.Generator, temperature: float
    ) -> Architecture | None:
        architecture: list[int] = []
        row = 0
        for layer in self.space.layers:
            if len(layer.options) == 1:
                architecture.append(0)
                continue
            offsets = self._offsets(architecture)
            if offsets is None:
                return None
            logits = offsets + self._logits[row, : len(offsets)] / temperature
            noise = rng.gumbel(size=len(logits))
            architecture.append(int(np.argmax(logits + noise)))
            row += 1
        return tuple(architecture)

    def _offsets(self, prefix: Sequence[int]) -> np.ndarray | None:
        """Logarithm of each option's share of the architectures inside, `(O,)`."""
        counts = self.budgeted.completion_counts(prefix)
        total = counts.sum()
        if total <= 0:
            return None
        return np.log(
            counts / total, out=np.full(len(counts), _NEVER), where=counts > 0
        )

    def learn(self, candidate: Candidate, reward: float | None) -> None:
        """See `Algorithm.learn`."""
        if reward is None:
            return
        architecture = candidate.architecture
        _, costs = self.space.chain.walk(architecture)
        reward = self._shape.shaped(reward, costs, self.history.budgets)
        self._batch.append((architecture, reward))
        if len(self._batch) >= self._batch_size:
            self._update(self._batch)
            self._batch = []

    def _update(self, batch: list[tuple[Architecture, float]]) -> None:
        rewards = np.array([reward for _, reward in batch])
        # The first batch sets the scale alone; older batches fade.
        self._mean = _MEMORY * self._mean + (1 - _MEMORY) * rewards.mean()
        self._square = _MEMORY * self._square + (1 - _MEMORY) * (rewards**2).mean()
        self._weight = _MEMORY * self._weight + (1 - _MEMORY)
        mean = self._mean / self._weight
        deviation = np.sqrt(max(self._square / self._weight - mean**2, 1e-16))
        advantage = np.clip((rewards - mean) / deviation, -3, 3)
        stacked = [self._stacked(architecture) for architecture, _ in batch]
        # What another worker's budgets allowed may be impossible here.
        possible = {row: part for row, part in enumerate(stacked) if part is not None}
        if not possible or not len(self._layers):
            return
        kept = list(possible)
        offsets = np.stack(list(possible.values()))
        advantage = advantage[kept]
        taken = np.array([batch[row][0] for row in kept])[:, self._layers]
        chosen = np.eye(self._logits.shape[1])[taken]
        before = None
        for _ in range(_EPOCHS):
            logits = offsets + self._logits
            logits -= logits.max(axis=-1, keepdims=True)
            policy = np.exp(logits)
            policy /= policy.sum(axis=-1, keepdims=True)
            log_policy = np.log(np.maximum(policy, 1e-300))
            log_taken = (chosen * log_policy).sum(axis=-1)
            before = log_taken if before is None else before
            # Layer by layer: the ratio of a whole architecture would soon leave the
            # clipping range for all of them.
            ratio = np.exp(log_taken - before)
            score = advantage[:, None]
            clipped = np.where(score > 0, ratio > 1 + _CLIP, ratio < 1 - _CLIP)
            weight = np.where(clipped, 0, ratio * score)
            gradient = (weight[..., None] * (chosen - policy)).mean(axis=0)
            entropy = -(policy * log_policy).sum(axis=-1, keepdims=True)
            gradient -= self._entropy * (policy * (log_policy + entropy)).mean(axis=0)
            self._ascend(gradient)

    def _stacked(self, architecture: Architecture) -> np.ndarray | None:
        """The offsets along one architecture, `(layers, widest)`; None if outside."""
        stacked = np.full(self._logits.shape, float(_NEVER))
        for row, layer in enumerate(self._layers):
            offsets = self._offsets(architecture[:layer])
            if offsets is None or offsets[architecture[layer]] == _NEVER:
                return None
            stacked[row, : len(offsets)] = offsets
        return stacked

    def _ascend(self, gradient: np.ndarray) -> None:
        self._updates += 1
        for moment, beta, value in zip(
            self._moments, _BETAS, (gradient, gradient**2), strict=True
        ):
            moment *= beta
            moment += (1 - beta) * value
        first, second = (
            moment / (1 - beta**self._updates)
            for moment, beta in zip(self._moments, _BETAS)
        )
        self._logits += self._learning_rate * first / (np.sqrt(second) + 1e-8)
