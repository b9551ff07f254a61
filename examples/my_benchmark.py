"""A benchmark table of your own: every architecture of a small space, trained.

python -m layernas_tf.compare --benchmark=examples/my_benchmark.py:digits_mlp \
    --budget='params<=50%' --algorithms=random,layernas_bayes --runs=20 --trials=12

The space has networks of two hidden layers for scikit-learn's digits; they are trained
when the table is made, which takes some seconds.
"""

import itertools
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from layernas_tf.space import Layer, Metric, Option, SearchSpace, State
from layernas_tf.tabular.table import Row, Table, table_of_rows

WIDTHS = (4, 8, 16, 32)


def dense(state: State, option: Option) -> tuple[State, dict[str, float]]:
    """A fully connected layer: its output, and the number of its parameters."""
    units = option["units"]
    return State(units, 1, 1), {"params": (state.channels + 1) * units}


def space() -> SearchSpace:
    """Two layers with a choice, and the classifier."""
    options = tuple(Option.of(units=width) for width in WIDTHS)
    hidden = [Layer(f"hidden{i}", options, len(WIDTHS) - 1, dense) for i in (1, 2)]
    classifier = Layer("classifier", (Option.of(units=10),), 0, dense)
    metrics = (Metric("params", "sum", "params"),)
    return SearchSpace("digits_mlp", State(64, 1, 1), (*hidden, classifier), metrics)


def digits_mlp() -> Table:
    """The table: validation and test accuracy of each network, in percent."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        images / 16, labels, test_size=0.3, random_state=0
    )
    x_train, x_valid, y_train, y_valid = train_test_split(
        x, y, test_size=0.3, random_state=0
    )
    rows = []
    for first, second in itertools.product(range(len(WIDTHS)), repeat=2):
        network = MLPClassifier(
            (WIDTHS[first], WIDTHS[second]),
            learning_rate_init=0.01,
            max_iter=15,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(x_train, y_train)
        valid, test = network.score(x_valid, y_valid), network.score(x_test, y_test)
        rows.append(Row((first, second, 0), 100 * valid, 100 * test))
    return table_of_rows(space(), rows, benchmark="digits_mlp", metric="params")
