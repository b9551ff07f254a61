"""Two networks on the same images: how large is their difference, and is it one?

Both networks see the same images, most of which both classify correctly or both
wrongly. Only the others tell them apart, so their difference is known better than
either accuracy.
"""

from __future__ import annotations

import base64
import dataclasses
import math

import numpy as np
import scipy.stats

LEVEL = 0.95
"""Probability that an interval covers what it is about."""

_Z = float(scipy.stats.norm.ppf(0.5 + LEVEL / 2))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The difference of two networks' accuracies, with its uncertainty.

    Example:
      >>> first = np.array([[True] * 90 + [False] * 10])
      >>> second = np.array([[True] * 70 + [False] * 30])
      >>> comparison = compare_paired(first, second)
      >>> round(comparison.difference, 3), comparison.told
      (0.2, True)

    Attributes:
      difference: Mean accuracy of the first less that of the second, -1..1.
      low: Lower end of its 95 % interval.
      high: Upper end of that interval.
      p_value: Probability of such a difference between networks that are equally good.
      images: Number of images.
      seeds: Number of trainings of each network; the smaller one if they differ.
    """

    difference: float
    low: float
    high: float
    p_value: float
    images: int
    seeds: int

    @property
    def told(self) -> bool:
        """Whether a difference can be told."""
        return self.p_value < 1 - LEVEL and (self.low > 0 or self.high < 0)


def compare_paired(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compares two networks on the same images.

    With one training each, the p-value is McNemar's exact one ("Note on the sampling
    error of the difference between correlated proportions or percentages",
    Psychometrika 1947), the interval Bonett and Price's ("Adjusted Wald confidence
    interval for a difference of binomial proportions based on paired data", Journal of
    Educational and Behavioral Statistics 2012): both are about these two trained
    networks. With several trainings, the result is about what the recipe makes of the
    two architectures: images and trainings are crossed random effects, whose variances
    add up, with the degrees of freedom of Welch and Satterthwaite ("An approximate
    distribution of estimates of variance components", Biometrics Bulletin 1946).

    Args:
      first: (trainings, images) booleans, whether an image is classified correctly.
      second: Likewise, of the same images; the number of trainings may differ.

    Raises:
      ValueError: There is no image, or the numbers of images differ.
    """
    if first.shape[1] != second.shape[1] or not first.size or not second.size:
        raise ValueError(f"expected the same images, got {first.shape}, {second.shape}")
    images = first.shape[1]
    difference = float(first.mean() - second.mean())
    seeds = min(len(first), len(second))
    if len(first) == len(second) == 1:
        low, high, p_value = _of_one_training(first[0], second[0])
    else:
        low, high, p_value = _of_several_trainings(first, second)
    return Comparison(difference, low, high, p_value, images, seeds)


def paired_noise(first: np.ndarray, second: np.ndarray) -> float:
    """Standard error of the difference of two trained networks' accuracies.

    Args:
      first: (images,) booleans, whether an image is classified correctly.
      second: Likewise, of the same images.
    """
    different = first.astype(float) - second
    return float(np.sqrt(np.var(different) / len(different)))


def accuracy_interval(accuracy: float, images: int) -> tuple[float, float]:
    """Wilson's interval for an accuracy, 95 %.

    Source: Wilson, "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 1927.

    Args:
      accuracy: Share of the images classified correctly, 0..1; the mean, where there
        are several trainings.
      images: Number of images.
    """
    right = round(accuracy * images)
    found = scipy.stats.binomtest(right, images).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def pack(correct: np.ndarray) -> str:
    """Booleans as a short text, for JSON; `unpack` reads it."""
    packed = base64.b64encode(np.packbits(correct).tobytes()).decode()
    return f"{len(correct)}:{packed}"


def unpack(text: str) -> np.ndarray:
    """The booleans of `pack`.

    Raises:
      ValueError: The text is of something else.
    """
    count, _, packed = text.partition(":")
    bits = np.frombuffer(base64.b64decode(packed, validate=True), np.uint8)
    correct = np.unpackbits(bits, count=int(count)).astype(bool)
    if len(bits) != math.ceil(int(count) / 8):
        raise ValueError(f"expected {count} bits, got {8 * len(bits)}")
    return correct


def _of_one_training(
    first: np.ndarray, second: np.ndarray
) -> tuple[float, float, float]:
    images = len(first)
    gains = int(np.sum(first & ~second))
    losses = int(np.sum(second & ~first))
    p_value = 1.0
    if gains + losses:
        p_value = float(scipy.stats.binomtest(gains, gains + losses).pvalue)
    gain, loss = (gains + 1) / (images + 2), (losses + 1) / (images + 2)
    reach = _Z * math.sqrt((gain + loss - (gain - loss) ** 2) / (images + 2))
    return max(gain - loss - reach, -1.0), min(gain - loss + reach, 1.0), p_value


def _of_several_trainings(
    first: np.ndarray, second: np.ndarray
) -> tuple[float, float, float]:
    images = first.shape[1]
    per_image = first.mean(0) - second.mean(0)
    difference = float(per_image.mean())
    # Images, and what a training makes of single images.
    of_images = float(per_image.var(ddof=1)) / images if images > 1 else 0.0
    freedom = len(first) + len(second) - 2
    parts = [_spread_of_trainings(each) for each in (first, second)]
    scale = (1 / len(first) + 1 / len(second)) / freedom
    observed = scale * sum(part for part, _ in parts)
    by_images = scale * sum(part for _, part in parts)
    variance = of_images + max(observed - by_images, 0.0)
    if not variance:
        return difference, difference, float(difference == 0)
    degrees = variance**2 / (of_images**2 / max(images - 1, 1) + observed**2 / freedom)
    error = math.sqrt(variance)
    reach = float(scipy.stats.t.ppf(0.5 + LEVEL / 2, degrees)) * error
    p_value = 2 * float(scipy.stats.t.sf(abs(difference) / error, degrees))
    return max(difference - reach, -1.0), min(difference + reach, 1.0), p_value


def _spread_of_trainings(correct: np.ndarray) -> tuple[float, float]:
    """How far the accuracies of trainings lie apart on these images.

    Returns:
      Their variance, times its degrees of freedom; and the part of it that is to be
      expected because trainings that are equally good classify other images correctly.
    """
    seeds, images = correct.shape
    if seeds < 2 or images < 2:
        return 0.0, 0.0
    accuracies = correct.mean(1)
    rest = correct - accuracies[:, None] - correct.mean(0) + correct.mean()
    single = float((rest**2).sum()) / ((seeds - 1) * (images - 1))
    observed = float(accuracies.var(ddof=1))
    return (seeds - 1) * observed, (seeds - 1) * single / images
