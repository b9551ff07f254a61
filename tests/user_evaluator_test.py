"""A function of the user's own gives the rewards of a search."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.base import Evaluation, TrialFailure
from layernas_tf.evaluators.user_evaluator import load_evaluator
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_check import check_config
from layernas_tf.pipeline.evaluation import evaluator_of_process, make_executor
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.load_task import load_task
from layernas_tf.space.candidate import Candidate
from layernas_tf.workers.executor import evaluate
from search_spaces.registry import check_name, get_space

_EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"
_EXAMPLE = f"{_EXAMPLES / 'my_evaluator.py'}:features"
_SPACE = get_space("mobilenet_v3_small", resolution=8, classes=10, channels=1)
_CANDIDATE = Candidate(_SPACE.default, 0)
_INPUTS = Inputs(get_space, check_name)
_CONFIG = SearchConfig(limit=100, evaluator=_EXAMPLE, budget=("madds<=60%",))


class UserEvaluatorTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def load(self, text: str, **offered):
        path = self.folder / "own.py"
        path.write_text(text)
        return load_evaluator(f"{path}:reward", **offered)

    def test_only_rewards_of_trainings_say_what_they_measure(self):
        task = load_task(_CONFIG, _INPUTS)
        self.assertEqual((task.reward_name, task.trains), ("reward", False))
        config = dataclasses.replace(_CONFIG, evaluator="")
        given = dataclasses.replace(_INPUTS, evaluator=lambda _: Evaluation(1.0))
        task = load_task(config, given)
        self.assertEqual((task.reward_name, task.trains), ("reward", False))
        task = load_task(config, _INPUTS)
        self.assertEqual(task.reward_name, "negative validation loss")
        self.assertTrue(task.trains)
        balanced = dataclasses.replace(config, reward="balanced_accuracy")
        task = load_task(balanced, _INPUTS)
        self.assertEqual(task.reward_name, "balanced validation accuracy")

    @parameterized.parameters(
        ("2", 2.0),
        ("np.float32(0.5)", 0.5),
        ("np.array(0.25)", 0.25),
        ("len(candidate.architecture)", len(_SPACE.layers)),
    )
    def test_a_number_is_the_reward(self, text, reward):
        evaluator = self.load(
            f"import numpy as np\ndef reward(candidate):\n    return {text}"
        )
        self.assertEqual(evaluator(_CANDIDATE), Evaluation(reward))

    def test_an_evaluation_is_taken_as_it_is(self):
        evaluator = self.load(
            "from layernas_tf.evaluators.base import Evaluation\n"
            "class Reward:\n"
            "    def __call__(self, candidate):\n"
            "        return Evaluation(1.0, {'loss': 2.0})\n"
            "reward = Reward()"
        )
        self.assertEqual(evaluator(_CANDIDATE), Evaluation(1.0, {"loss": 2.0}))

    def test_parameters_get_what_they_name(self):
        evaluator = self.load(
            "def reward(candidate, *, dataset, space=None):\n"
            "    return dataset + len(space.layers)",
            space=_SPACE,
            dataset=3,
        )
        self.assertEqual(evaluator(_CANDIDATE).reward, 3 + len(_SPACE.layers))
        everything = self.load("def reward(candidate, **given): return len(given)", a=1)
        self.assertEqual(everything(_CANDIDATE).reward, 1)

    @parameterized.parameters(
        ("def reward(): ...", "function of a candidate.*takes nothing"),
        ("def reward(candidate, model): ...", "perhaps of space; .* candidate, model"),
        ("reward = 3", "has no function 'reward'"),
        ("import nothing_like_it", r"raised ModuleNotFoundError: .*own.py, line 1\)"),
    )
    def test_what_is_no_evaluator_is_refused(self, text, message):
        with self.assertRaisesRegex(UserError, message):
            self.load(text, space=_SPACE)

    @parameterized.parameters(
        ("candidate.missing", r"AttributeError: .*own.py, line 2\)"),
        ("'good'", "returned str: expected a number"),
        ("None", "returned NoneType: expected a number"),
    )
    def test_a_trial_fails_with_the_reason(self, text, message):
        evaluator = self.load(f"def reward(candidate):\n    return {text}")
        with self.assertRaisesRegex(TrialFailure, message):
            evaluator(_CANDIDATE)
        self.assertRegex(evaluate(evaluator, _CANDIDATE).reason, message)

    def test_the_search_evaluates_with_the_example_in_a_process_of_its_own(self):
        config = dataclasses.replace(_CONFIG, algorithm="random")
        task = load_task(config, _INPUTS)
        here = evaluator_of_process(config, _INPUTS, self.folder)
        executor = make_executor(task, self.folder, self.fail)
        algorithm = task.make_algorithm()
        rewards = []
        for _ in range(3):
            candidate = algorithm.ask()
            executor.submit(candidate)
            (outcome,) = executor.wait()
            self.assertEqual(outcome.evaluation, here(candidate), outcome.reason)
            rewards.append(outcome.evaluation.reward)
            algorithm.tell(candidate, rewards[-1])
        executor.close()
        self.assertGreater(len(np.unique(rewards)), 1)

    def test_a_wrong_evaluator_ends_the_search_before_it_begins(self):
        for changes, message in (
            ({"evaluator": "none.py:f"}, "evaluator 'none.py:f': there is no file"),
            ({"evaluator": "accuracy"}, r"'accuracy': expected path/to/file.py:func"),
            ({"evaluator": f"{_EXAMPLE}s"}, "has no function 'featuress'"),
        ):
            with self.assertRaisesRegex(UserError, message):
                load_task(dataclasses.replace(_CONFIG, **changes), _INPUTS)
        with self.assertRaisesRegex(UserError, "`inherit_weights`: expected without"):
            check_config(dataclasses.replace(_CONFIG, inherit_weights=True))


if __name__ == "__main__":
    absltest.main()
