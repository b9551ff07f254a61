"""What pretrained weights are worth: the published network, cuts of it, a search.

    python -m benchmarks.pretrained --weights=mobilenetv2.h5 \
        --dataset=npz:cifar10_1250.npz --seeds=3 --out=runs/pretrained

All networks start from the same weights and are trained by the same recipe:

- the published network itself;
- the published network with a smaller expansion ratio in every block, its channels
  chosen by each criterion of `layernas_tf.training.importance`;
- the winner of a search for each of `--budget`.

They are measured as cut (statistics recalibrated, classifier fitted, nothing trained),
after `--epochs` epochs of AdamW, and by the search's own final recipe with the
published network as the teacher. Everything is kept in --out: the same command goes on
with what is missing and prints the table of all.
"""

from __future__ import annotations

import io
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from layernas_tf.core.app import run_main
from layernas_tf.core.files import read_json, write_json
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.recipe import Recipe

_WEIGHTS = flags.DEFINE_string("weights", None, "As `--pretrained` for the search.")
_SPACE = flags.DEFINE_string(
    "space", "mobilenet_v2", "Space of the network in the file."
)
_DATASET = flags.DEFINE_string("dataset", None, "As for the search.")
_RESOLUTION = flags.DEFINE_integer("resolution", 96, "Image size in pixels.")
_RATIOS = flags.DEFINE_multi_integer("ratio", [4, 3], "Expansion ratios of the cuts.")
_CRITERIA = flags.DEFINE_multi_string(
    "criterion",
    ["leading", "l1", "l2", "bn_scale", "taylor"],
    "How channels are chosen.",
)
_BUDGETS = flags.DEFINE_multi_string(
    "budget", ["madds<=57%"], "Budgets, one search each."
)
_TRIALS = flags.DEFINE_integer("trials", None, "Trials of each search.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Seeds, each with its own split.")
_EPOCHS = flags.DEFINE_integer("epochs", 4, "Epochs of the short training.")
_FINAL_EPOCHS = flags.DEFINE_integer(
    "final_epochs", None, "Epochs of the final recipe; by default its own."
)
_DISTILL = flags.DEFINE_multi_enum(
    "distill",
    ["features"],
    ["features", "logits"],
    "What a teacher gives in the final recipe; measured beside the recipe alone.",
)
_OUT = flags.DEFINE_string("out", "runs/pretrained", "Folder of the figures.")

_STOCK = "published network"


def uniform_cut(space: SearchSpace, ratio: int) -> Architecture:
    """The published network with at most this expansion ratio in every block."""
    chosen = []
    for layer in space.layers:
        published = dict(layer.options[layer.default].attributes)
        wanted = published | {"expansion": min(ratio, published.get("expansion", 0))}
        fitting = [
            index
            for index, option in enumerate(layer.options)
            if dict(option.attributes) == wanted
        ]
        chosen.append(fitting[0] if fitting else layer.default)
    return tuple(chosen)


class Seed:
    """One split of the images: its networks, trainings and searches.

    Example: `Seed(0, pathlib.Path("out")).measure()`.
    """

    def __init__(self, seed: int, out: pathlib.Path):
        from layernas_tf.datasets import load_dataset
        from layernas_tf.pipeline.evaluation import shared_segments
        from search_spaces.registry import get_space

        self._seed, self._out = seed, out / f"seed{seed}"
        self._out.mkdir(parents=True, exist_ok=True)
        self._dataset = load_dataset(
            _DATASET.value, resolution=_RESOLUTION.value, seed=seed
        )
        self._space = get_space(
            _SPACE.value,
            resolution=_RESOLUTION.value,
            classes=self._dataset.classes,
            channels=self._dataset.shape[-1],
        )
        self._segments = shared_segments()
        self._path = self._out / "rows.json"
        self.rows = read_json(self._path) if self._path.exists() else {}
        self.test_images = self._dataset.test.size
        self._short = Recipe(
            _EPOCHS.value, 32, learning_rate=1e-3, warmup_epochs=0.1 * _EPOCHS.value
        )

    def _start(self, criterion: str) -> Any:
        from layernas_tf.pipeline.starting import KEPT
        from layernas_tf.training.start import load_start, save_start, start_from

        kept = self._out / KEPT
        if not kept.exists():
            save_start(start_from(_WEIGHTS.value, self._space, self._dataset), kept)
        return load_start(kept, self._space, self._dataset, criterion)

    def _trainer(self, recipe: Recipe, criterion: str, lesson: Any = None) -> Any:
        from layernas_tf.pipeline.final_trainer import FinalTrainer

        return FinalTrainer(
            self._out / "trainings" / criterion,
            self._space,
            lesson.dataset if lesson else self._dataset,
            recipe,
            self._segments,
            start=self._start(criterion),
            teacher=lesson.teacher if lesson else "",
        )

    def _note(self, network: str, architecture: Architecture, **figures: Any) -> None:
        costs = self._space.costs
        share = costs(architecture)["madds"] / costs(self._space.default)["madds"]
        row = self.rows.setdefault(network, {"share": share})
        row.update(figures, architecture=list(architecture))
        write_json(self._path, self.rows)
        print(f"seed {self._seed}, {network}: {row}", flush=True)

    def _known(self, network: str, figure: str) -> bool:
        return figure in self.rows.get(network, {})

    def measure(self) -> None:
        """Measures what is missing."""
        from layernas_tf.training.start import CRITERION

        networks = {_STOCK: (self._space.default, CRITERION)}
        for criterion in _CRITERIA.value:
            for ratio in _RATIOS.value:
                name = f"expansion {ratio}, {criterion}"
                networks[name] = uniform_cut(self._space, ratio), criterion
        for name, (architecture, criterion) in networks.items():
            if not self._known(name, "cut"):
                self._note(name, architecture, cut=self._cut(architecture, criterion))
            if _EPOCHS.value and not self._known(name, "short"):
                trainer = self._trainer(self._short, criterion)
                training = trainer.test(trainer.train(architecture, self._seed))
                self._note(name, architecture, short=training.test_accuracy)
        finals = {
            _STOCK: self._space.default,
            **{
                f"expansion {ratio}, {CRITERION}": uniform_cut(self._space, ratio)
                for ratio in _RATIOS.value
            },
        }
        for budget in _BUDGETS.value:
            name = f"search, {budget}"
            if not self._known(name, "short"):
                architecture, figures = self._search(budget)
                self._note(name, architecture, **figures)
            finals[name] = tuple(self.rows[name]["architecture"])
        self._train_finally(finals)

    def _cut(self, architecture: Architecture, criterion: str) -> float:
        from layernas_tf.training.graph_walk import predict
        from layernas_tf.training.scoring import score

        model = self._space.build(architecture)
        self._start(criterion).prepare(model)
        return score(*predict(model, self._dataset.test), logits=False).accuracy

    def _train_finally(self, networks: dict[str, Architecture]) -> None:
        """The final recipe; the published network is trained first, and teaches."""
        from layernas_tf.pipeline.teaching import lesson_for
        from layernas_tf.training.recipe import default_recipe, with_epochs
        from layernas_tf.training.start import CRITERION

        recipe = default_recipe(self._dataset, proxy=False, pretrained=True)
        if _FINAL_EPOCHS.value:
            recipe = with_epochs(recipe, _FINAL_EPOCHS.value)
        alone = self._trainer(recipe, CRITERION)
        for name, architecture in networks.items():
            if not self._known(name, "alone"):
                training = alone.test(alone.train(architecture, self._seed))
                self._note(name, architecture, alone=training.test_accuracy)
            for kind in _DISTILL.value:
                if self._known(name, kind):
                    continue
                lesson = lesson_for(
                    kind,
                    self._out / "trainings" / CRITERION,
                    self._space,
                    self._dataset,
                    recipe,
                    seed=self._seed,
                    say=print,
                    start=self._start(CRITERION),
                    segments=self._segments,
                )
                trainer = self._trainer(recipe, CRITERION, lesson)
                training = trainer.test(trainer.train(architecture, self._seed))
                self._note(name, architecture, **{kind: training.test_accuracy})

    def _search(self, budget: str) -> tuple[Architecture, dict[str, Any]]:
        """The search of the product; its finalists get the short training."""
        from rich.console import Console

        from layernas_tf.pipeline.config import SearchConfig
        from layernas_tf.pipeline.finalists import choose_finalists
        from layernas_tf.pipeline.finals import run_finals
        from layernas_tf.pipeline.inputs import Inputs
        from layernas_tf.pipeline.load_task import load_task
        from layernas_tf.pipeline.run import open_study_of, search_candidates
        from layernas_tf.pipeline.starting import KEPT
        from layernas_tf.space.even_cuts import even_cuts
        from layernas_tf.training.start import CRITERION
        from search_spaces.registry import check_name, get_space

        config = SearchConfig(
            space=_SPACE.value,
            dataset=_DATASET.value,
            resolution=_RESOLUTION.value,
            budget=(budget,),
            trials=_TRIALS.value,
            seed=self._seed,
            pretrained=_WEIGHTS.value,
            trials_per_process=0,
        )
        folder = self._out / budget.replace("<=", "_").replace("%", "")
        folder.mkdir(exist_ok=True)
        task = load_task(config, Inputs(get_space, check_name))
        study = open_study_of(task, folder)
        self._start(CRITERION)  # has been observed, which is not done again
        shutil.copyfile(self._out / KEPT, folder / KEPT)
        search_candidates(task, study, folder, Console(file=io.StringIO()))
        trainer = self._trainer(self._short, CRITERION)
        finals = run_finals(
            trainer,
            choose_finalists(
                study,
                config.finalists,
                always=even_cuts(task.space, task.budgets)[:1],
            ),
            seed=self._seed,
            seeds=1,
            say=lambda line: print(line, flush=True),
        )
        seconds = [trial.seconds or 0.0 for trial in study.trials]
        return finals.winner.architecture, {
            "short": finals.winner_trainings[0].test_accuracy,
            "reward": finals.winner.proxy_reward,
            "seconds": float(np.median(seconds)),
        }


def _table(seeds: Sequence[Seed]) -> str:
    names = list(dict.fromkeys(name for seed in seeds for name in seed.rows))
    figures = {
        "cut": "as cut",
        "short": f"{_EPOCHS.value} epochs",
        "alone": "final recipe",
        "features": "final recipe, taught by features",
        "logits": "final recipe, taught by logits",
    }
    lines = [
        "| network | MAdds | " + " | ".join(figures.values()) + " |",
        "|---|---|" + "---|" * len(figures),
    ]
    for name in names:
        rows = [seed.rows[name] for seed in seeds if name in seed.rows]
        share = np.mean([row["share"] for row in rows])
        cells = [
            _interval([row[figure] for row in rows if figure in row], seeds[0])
            for figure in figures
        ]
        lines.append(f"| {name} | {share:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(values: Sequence[float], seed: Seed) -> str:
    """Mean over seeds, and 95 % by the seeds and the number of test images."""
    if not values:
        return "-"
    mean = float(np.mean(values))
    # The seeds share the test images, so more seeds do not make these count for more.
    images = mean * (1 - mean) / seed.test_images
    seeds = np.var(values, ddof=1) / len(values) if len(values) > 1 else 0.0
    return f"{mean:.1%} ± {1.96 * np.sqrt(images + seeds):.1%} ({len(values)})"


def main(argv: Sequence[str]) -> None:
    """Measures what is missing and prints the table."""
    del argv
    from layernas_tf.pipeline.evaluation import prepare_libraries

    prepare_libraries()
    seeds = []
    for number in range(_SEEDS.value):
        seeds.append(Seed(number, pathlib.Path(_OUT.value)))
        seeds[-1].measure()
    print(_table(seeds))


if __name__ == "__main__":
    flags.mark_flags_as_required(["weights", "dataset"])
    run_main(main)
