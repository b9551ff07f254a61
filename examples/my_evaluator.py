"""An evaluator of your own: it guesses a network's quality without training it.

python -m layernas_tf.search --evaluator=examples/my_evaluator.py:features \
    --budget='madds<=50%'

The function is called with each candidate and returns a number; higher is better. A
parameter named `space` receives the search space, one named `dataset` the images.
"""

import math

from layernas_tf.space import Candidate, SearchSpace


def features(candidate: Candidate, space: SearchSpace) -> float:
    """How many features a network computes: the log2 of the channels at every pixel.

    A crude stand-in for training. It prefers wide layers where the resolution is high.
    """
    pixels = space.start.height * space.start.width
    return sum(
        math.log2(1 + step.after.channels) * step.after.height * step.after.width
        for step in space.steps(candidate.architecture)
    ) / (pixels * len(space.layers))
