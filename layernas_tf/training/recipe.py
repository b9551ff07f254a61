"""Recipes: how a network is trained."""

from __future__ import annotations

import dataclasses
import math

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.augment import AUGMENTATIONS
from layernas_tf.datasets.randaugment import LARGEST_MAGNITUDE
from layernas_tf.datasets.split import Dataset
from layernas_tf.training.class_weights import CLASS_WEIGHTS

OPTIMIZERS = ("sgd", "rmsprop", "adamw")
SCHEDULES = ("cosine", "constant")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Example:
      >>> recipe = Recipe(epochs=10, batch_size=32, warmup_epochs=1)
      >>> recipe.warmup_steps(1000)
      100

    Attributes:
      epochs: Rounds through the training images; 0 for a network that starts from
        pretrained weights and is only calibrated.
      batch_size: Images per step.
      optimizer: `sgd` (Nesterov momentum 0.9), `rmsprop` (momentum 0.9, as MobileNets
        were trained) or `adamw`.
      learning_rate: Learning rate at the peak of the schedule.
      weight_decay: Decoupled weight decay, on kernels only: each step removes the share
        `learning_rate * weight_decay` of a weight.
      schedule: `cosine` falls to zero, `constant` stays the same; both begin with a
        linear warm-up.
      warmup_epochs: Length of the warm-up; a fraction is allowed.
      label_smoothing: Share of the label's weight that is spread over all classes.
      augment: One of `datasets.augment.AUGMENTATIONS`.
      randaugment: Magnitude of RandAugment, 0 (none) to 10.
      mixup: Alpha of mixup; 0 is none.
      ema: Momentum of the moving average of the weights, with which a training ends; 0
        is none. It averages over a tenth of the steps at most.
      mixed_precision: Whether to compute in bfloat16, with float32 weights.
      patience: Share of the epochs after which a training ends that has not improved on
        the validation images; 0 is never. Only trainings that are validated after
        every epoch can end early; they keep their last weights.
      class_weights: `none`, or `balanced`: the classes count alike in the loss,
        however many images each has (`training.class_weights`).
      epoch_steps: With large data sets, steps after which an epoch ends without having
        seen all images; the next one goes on with the others. 0 is none.
    """

    epochs: int
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    augment: str = "none"
    randaugment: float = 0.0
    mixup: float = 0.0
    ema: float = 0.0
    mixed_precision: bool = False
    class_weights: str = "none"
    patience: float = 0.0
    epoch_steps: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("augment", AUGMENTATIONS),
            ("class_weights", CLASS_WEIGHTS),
        ):
            if getattr(self, name) not in known:
                raise UserError(
                    f"recipe: {name} must be one of {', '.join(known)}, got "
                    f"{getattr(self, name)!r}"
                )
        for name, low, high in (
            ("epochs", 0, math.inf),
            ("batch_size", 2, math.inf),
            ("learning_rate", 0, math.inf),
            ("weight_decay", 0, math.inf),
            ("warmup_epochs", 0, self.epochs),
            ("label_smoothing", 0, 0.99),
            ("randaugment", 0, LARGEST_MAGNITUDE),
            ("mixup", 0, math.inf),
            ("ema", 0, 0.99999),
            ("patience", 0, 1),
            ("epoch_steps", 0, math.inf),
        ):
            value = getattr(self, name)
            if not low <= value <= high or not math.isfinite(value):
                raise UserError(
                    f"recipe: {name} must be a number from {low} to {high}, got {value}"
                )

    def steps_per_epoch(self, images: int) -> int:
        """Number of whole batches in an epoch, at least one."""
        whole = max(1, images // self.batch_size)
        return min(whole, self.epoch_steps) if self.epoch_steps else whole

    def warmup_steps(self, steps: int) -> int:
        """Steps of the warm-up in a training of this number of steps."""
        return round(self.warmup_epochs / self.epochs * steps)

    def first_rate(self, steps: int) -> float:
        """The learning rate that the warm-up starts from."""
        return self.learning_rate / (self.warmup_steps(steps) + 1)

    def learning_rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, of a training of `steps`."""
        warmup = self.warmup_steps(steps)
        if step < warmup:
            first = self.first_rate(steps)
            return first + (self.learning_rate - first) * step / warmup
        if self.schedule == "constant":
            return self.learning_rate
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with another number of epochs; the warm-up keeps its share of them."""
    share = recipe.warmup_epochs / recipe.epochs if recipe.epochs else _WARMUP
    warmup = share * max(0, epochs)
    return dataclasses.replace(recipe, epochs=epochs, warmup_epochs=warmup)


_WARMUP = 0.1
"""Share of the epochs in which the rate rises, where a recipe says nothing else."""


def default_recipe(
    dataset: Dataset, *, proxy: bool, pretrained: bool = False
) -> Recipe:
    """A recipe that suits the size of a data set.

    Args:
      dataset: The data set; its number of training images decides about epochs and
        batch size.
      proxy: Whether the recipe is for the short training of candidates or for the final
        training.
      pretrained: Whether the networks start from pretrained weights, which a high rate
        would spoil.
    """
    size = dataset.train.size
    if pretrained:
        return _fine_tuning(dataset, proxy)
    if size >= _MANY_IMAGES and dataset.mirrors and dataset.shape[0] >= _PHOTO_SIDE:
        return _imagenet_recipe(proxy)
    batch_size = 16 if size < 500 else 64 if size < 20_000 else 128
    augment = _moved(dataset)
    per_epoch = max(1, size // batch_size)
    if proxy:
        # Small data sets need many epochs for enough steps, large ones only one.
        epochs = max(1, _PROXY_STEPS // per_epoch)
        return Recipe(
            epochs,
            batch_size,
            warmup_epochs=0.3 * epochs,
            # A network learns by heart what it sees several times.
            augment=augment if epochs > 1 else "none",
        )
    epochs = max(_final_epochs(size), _FINAL_STEPS // per_epoch)
    return Recipe(
        epochs,
        batch_size,
        warmup_epochs=0.1 * epochs,
        label_smoothing=0.1,
        augment=augment,
        patience=_PATIENCE,
    )


def _moved(dataset: Dataset) -> str:
    """The augmentation that moves images by a few pixels, and mirrors what it may."""
    return "shift_flip" if dataset.mirrors else "shift"


_PROXY_STEPS = 240
_FINAL_STEPS = 480
"""As many epochs as fit into these steps, at least one; a final training takes no
fewer epochs than `_FINAL_EPOCHS` says.

Fewer than 79 steps of a proxy rank next to nothing on photos, and 79 rank well in
one of two bands (docs/fidelity.md).
"""


_PATIENCE = 0.4
"""Share of the epochs after which a final training that does not improve ends."""

_FINAL_EPOCHS = ((20_000, 60), (100_000, 30), (math.inf, 8))
"""Up to so many training images, so many epochs of a final training.

Measured (docs/results.md): 30 are too few for 1,000 images and for 10,000; 120 are
little better for 1,000. With 45,000, 30 epochs are as many steps as 60 with 10,000.
"""


def _final_epochs(images: int) -> int:
    return next(epochs for most, epochs in _FINAL_EPOCHS if images <= most)


_MANY_IMAGES = 200_000
_PHOTO_SIDE = 96
"""Side in pixels; random crops and long trainings do harm on smaller images."""


def _fine_tuning(dataset: Dataset, proxy: bool) -> Recipe:
    """Candidates are only calibrated; finalists are trained at a third of the rate."""
    batch_size = 32 if dataset.train.size < 20_000 else 128
    if proxy:
        return Recipe(0, batch_size, learning_rate=1e-3)
    steps = 900
    per_epoch = max(1, dataset.train.size // batch_size)
    epochs = min(30, max(4, math.ceil(steps / per_epoch)))
    return Recipe(
        epochs,
        batch_size,
        learning_rate=1e-3,
        warmup_epochs=_WARMUP * epochs,
        label_smoothing=0.1,
        augment=_moved(dataset),
        patience=_PATIENCE,
    )


def _imagenet_recipe(proxy: bool) -> Recipe:
    """The recipe of EfficientNet on ImageNet, with RandAugment and another schedule.

    Source: M. Tan, Q. V. Le: EfficientNet, arXiv 1905.11946, section 5.2, and its code
    (github.com/tensorflow/tpu, models/official/efficientnet): RMSProp of momentum 0.9
    and a rate of 0.016 per 256 images, that is 0.064 per 1024, 350 epochs, 5 of them
    warm-up, label smoothing 0.1, moving average of weights 0.9999. In the paper, the
    learning rate falls in steps.

    The published weight decay of 1e-5 is a part of the loss. Here it is decoupled and
    about as strong: RMSProp divides small gradients by the root of its epsilon, 0.03,
    and momentum adds up ten of them.
    """
    shared = Recipe(
        epochs=5,
        batch_size=256,
        optimizer="rmsprop",
        learning_rate=0.016,
        weight_decay=3e-3,
        warmup_epochs=0.5,
        label_smoothing=0.1,
        augment="crop_flip",
    )
    if proxy:
        return shared
    return dataclasses.replace(
        shared,
        epochs=350,
        warmup_epochs=5,
        randaugment=9,
        ema=0.9999,
        patience=_PATIENCE,
    )
