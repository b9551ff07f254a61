"""Every algorithm keeps the published laws, and the registry finds it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import pathlib
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest, parameterized

from examples.my_algorithm import BestFirst
from layernas_tf import testing
from layernas_tf.algorithms import registry
from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.random_search import RandomSearch
from layernas_tf.algorithms.registry import NAMES, make_algorithm, takes_reward_shape
from layernas_tf.algorithms.reward_shaping import KINDS, RewardShape
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import inside
from layernas_tf.space.candidate import Candidate
from layernas_tf.testing.searches import Tell, rewards, run, task

_EXAMPLE = str(
    pathlib.Path(__file__).resolve().parent.parent / "examples" / "my_algorithm.py"
)
_SHAPED = tuple(
    (name, kind) for name in NAMES if takes_reward_shape(name) for kind in KINDS
)


class LayerNASTest(testing.AlgorithmConformance):
    algorithm = "layernas"


class LayerNASLayerwiseTest(testing.AlgorithmConformance):
    algorithm = "layernas_layerwise"


class LayerNASDefaultBaseTest(testing.AlgorithmConformance):
    algorithm = "layernas"
    options = {"base": "default", "children": 8}
    # It trains children whose later layers are still at their defaults.
    stays_inside = False
    exhausts = False


class LayerNASBayesTest(testing.AlgorithmConformance):
    algorithm = "layernas_bayes"


class RandomTest(testing.AlgorithmConformance):
    algorithm = "random"


class RegularizedEvolutionTest(testing.AlgorithmConformance):
    algorithm = "regularized_evolution"


class LocalSearchTest(testing.AlgorithmConformance):
    algorithm = "local_search"


class PPOTest(testing.AlgorithmConformance):
    algorithm = "ppo"


class TPETest(testing.AlgorithmConformance):
    algorithm = "tpe"


class NSGA2Test(testing.AlgorithmConformance):
    algorithm = "nsga2"


@unittest.skipIf(importlib.util.find_spec("torch") is None, "needs PyTorch")
class GPTest(testing.AlgorithmConformance):
    algorithm = "gp"
    steps = 36


class ExampleTest(testing.AlgorithmConformance):
    algorithm = BestFirst


class RewardShapeTest(parameterized.TestCase):
    @parameterized.parameters(*_SHAPED)
    def test_reward_shapes_replay_and_answer_within_the_budget(self, name, kind):
        space, budgets = task()
        reward = rewards(10, space)
        shape = RewardShape(kind, exponent=-0.5, beta=-2.0)
        live, again = (
            make_algorithm(name, space, budgets, seed=1, shape=shape) for _ in range(2)
        )
        before = run(live, reward, 90, workers=2)
        for event in before.events:
            if isinstance(event, Tell):
                again.tell(event.candidate, event.reward)
            else:
                self.assertEqual(again.ask(event.candidate.number), event.candidate)
        self.assertEqual(
            run(again, reward, 9, workers=2), run(live, reward, 9, workers=2)
        )
        self.assertTrue(inside(budgets, space.costs(live.best.architecture)))
        leaves = [
            c for c in before.asked if not inside(budgets, space.costs(c.architecture))
        ]
        self.assertEqual(bool(leaves), not shape.rejects)

    def test_shapes_are_taken_by_what_has_such_an_option(self):
        self.assertTrue(takes_reward_shape("ppo"))
        self.assertFalse(takes_reward_shape("layernas_bayes"))
        self.assertFalse(takes_reward_shape(f"{_EXAMPLE}:BestFirst"))


class RegistryTest(parameterized.TestCase):
    def _file(self, text: str) -> str:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "own.py"
        path.write_text(
            "from layernas_tf.algorithms.base import Algorithm\n"
            "from layernas_tf.space import Candidate\n" + text
        )
        return str(path)

    def test_unknown_names_and_options_are_refused(self):
        space, budgets = task()
        with self.assertRaisesRegex(
            UserError, "'hill': expected one of layernas, .*py"
        ):
            make_algorithm("hill", space, budgets)
        with self.assertRaisesRegex(UserError, "no option 'tournaments': expected one"):
            make_algorithm("regularized_evolution", space, budgets, tournaments=3)
        with self.assertRaisesRegex(UserError, "no option 'sampler': expected none"):
            make_algorithm("tpe", space, budgets, sampler="gp")
        with self.assertRaisesRegex(UserError, "no option 'width': expected one of pa"):
            make_algorithm(f"{_EXAMPLE}:BestFirst", space, budgets, width=3)
        with self.assertRaisesRegex(UserError, "expected a name, a class or an obj"):
            make_algorithm(3, space, budgets)

    def test_gp_without_pytorch_says_what_to_install(self):
        space, budgets = task()
        if importlib.util.find_spec("torch") is None:
            with self.assertRaisesRegex(UserError, "needs the extra 'gp'"):
                make_algorithm("gp", space, budgets)
        else:
            self.assertIsNotNone(make_algorithm("gp", space, budgets).ask())

    def test_a_file_a_class_a_function_and_an_object_search_alike(self):
        space, budgets = task()
        reward = rewards(1, space)

        def made(space, budgets, seed=0):
            return BestFirst(space, budgets, seed=seed)

        ways = (f"{_EXAMPLE}:BestFirst", BestFirst, made)
        runs = [
            run(make_algorithm(way, space, budgets, 5), reward, 40).asked
            for way in (*ways, BestFirst(space, budgets, seed=5))
        ]
        self.assertEqual(runs, [runs[0]] * 4)

    def test_an_object_is_left_as_it_is_and_must_fit(self):
        space, budgets = task()
        other, _ = task(layers=4)
        algorithm = BestFirst(space, budgets)
        for _ in range(2):
            copied = make_algorithm(algorithm, space, budgets)
            self.assertEqual(copied.ask().number, 0)
            self.assertIs(copied.space, space)
        with self.assertRaisesRegex(UserError, "was made for 'random3' under madds"):
            make_algorithm(algorithm, other, budgets)
        with self.assertRaisesRegex(UserError, "not for 'random3' under no budget"):
            make_algorithm(algorithm, space, [])
        with self.assertRaisesRegex(UserError, "object already: give option 'parents'"):
            make_algorithm(algorithm, space, budgets, parents=2)
        algorithm.ask()
        with self.assertRaisesRegex(UserError, "has been asked or told before"):
            make_algorithm(algorithm, space, budgets)

    def test_installed_packages_add_algorithms(self):
        space, budgets = task()
        entries = [
            importlib.metadata.EntryPoint(name, value, registry.ENTRY_POINTS)
            for name, value in (
                ("best_first", "examples.my_algorithm:BestFirst"),
                ("gone", "examples.my_algorithm:Gone"),
            )
        ]
        with mock.patch.object(importlib.metadata, "entry_points") as found:
            found.return_value = entries
            self.assertEqual(registry.names(), (*NAMES, "best_first", "gone"))
            registry.check_name("best_first")
            self.assertIsInstance(
                make_algorithm("best_first", space, budgets), BestFirst
            )
            with self.assertRaisesRegex(UserError, "'gone' of .* cannot be loaded"):
                make_algorithm("gone", space, budgets)

    @parameterized.parameters(
        ("x = 1", "own.py has no function 'Mine'"),
        ("Mine = 1", "own.py has no function 'Mine'"),
        ("class Mine: ...", "Mine.*raised TypeError"),
        ("def Mine(space, budgets, seed): ...", "expected a subclass of .* NoneType"),
        ("class Mine(Algorithm): ...", "abstract"),
        ("1 / 0", r"raised ZeroDivisionError: .*own.py, line 3"),
    )
    def test_files_without_an_algorithm_are_refused(self, text, message):
        space, budgets = task()
        with self.assertRaisesRegex(UserError, message):
            make_algorithm(f"{self._file(text)}:Mine", space, budgets)

    @parameterized.parameters(
        ("1 / 0", r"propose\(\) raised ZeroDivisionError: .*own.py, line 5"),
        ("return self.space.default", "must return a Candidate"),
        ("return Candidate((0,), number)", "expected 5 option indices"),
        ("return Candidate((0.5,) * 5, number)", "must return a Candidate with an opt"),
        ("return Candidate((0,) * 5, 7)", "must return candidate 0.*got number 7"),
    )
    def test_proposals_that_are_none_are_explained(self, text, message):
        space, budgets = task()
        file = self._file(
            "class Mine(Algorithm):\n    def propose(self, number, rng):\n"
            f"        {text}\n"
        )
        algorithm = make_algorithm(f"{file}:Mine", space, budgets)
        with self.assertRaisesRegex(UserError, message):
            algorithm.ask()

    def test_a_proposal_of_before_is_refused(self):
        class Stubborn(Algorithm):
            def propose(self, number, rng):
                return Candidate(self.space.default, number)

            def learn(self, candidate, reward):
                raise LookupError("lost")

        space, budgets = task()
        algorithm = make_algorithm(Stubborn, space, budgets)
        first = algorithm.ask()
        with self.assertRaisesRegex(UserError, "Stubborn: .* a second time"):
            algorithm.ask()
        with self.assertRaisesRegex(UserError, r"learn\(\) raised LookupError: lost"):
            algorithm.tell(first, 1.0)

    def test_the_suite_finds_what_is_wrong(self):
        numbers = itertools.count()

        class Careless(RandomSearch):  # its randomness is not of the seed
            def propose(self, number, rng):
                return super().propose(number, self.history.rng(next(numbers)))

        class CarelessTest(testing.AlgorithmConformance):
            algorithm = Careless

        result = unittest.TestResult()
        CarelessTest(
            "test_the_same_seed_gives_the_same_search_and_another_another"
        ).run(result)
        self.assertLen(result.failures, 1)


if __name__ == "__main__":
    absltest.main()
