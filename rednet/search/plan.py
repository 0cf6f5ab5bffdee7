"""What a search does, as optuna knows it."""

from dataclasses import dataclass
from typing import Literal

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from rednet.data.seeding import hash_seed
from rednet.search.metric import Metric
from rednet.search.space import Choice, Space


@dataclass(frozen=True)
class Plan:
    """What a search does.

    Attributes:
        space: Values of each key.
        trials: Number of trials in total.
        metric: What decides which trial is best.
        sampler_name: How values are chosen.
        pruner_name: Which trials end early.
        startup_trials: Trials at random values, before sampler and pruner learn from them.
        seed: Seed of the values.
        epochs: Epochs of a trial, by which hyperband divides its trials.
    """

    space: Space
    trials: int
    metric: Metric
    sampler_name: Literal["tpe", "random"]
    pruner_name: Literal["median", "hyperband", "none"]
    startup_trials: int
    seed: int
    epochs: int

    def sampler(self, number: int) -> BaseSampler:
        """Return the sampler of a trial.

        It is seeded by the number of the trial, so that a search that was interrupted goes on with
        the values that it would have had, and two processes never draw the same.
        """
        seed = hash_seed(self.seed, number) % 2**32
        if self.sampler_name == "random":
            return RandomSampler(seed)
        # What others have yet to finish counts as bad, so that all look in different places.
        return TPESampler(n_startup_trials=self.startup_trials, seed=seed, constant_liar=True)

    def pruner(self) -> BasePruner:
        """Return the pruner of all trials."""
        if self.pruner_name == "median":
            return MedianPruner(self.startup_trials)
        if self.pruner_name == "hyperband":
            return HyperbandPruner(max_resource=self.epochs)
        return NopPruner()

    def suggest(self, trial: Trial) -> None:
        """Draw the values of a trial that it does not have yet."""
        for key, axis in self.space.items():
            if isinstance(axis, Choice):
                trial.suggest_categorical(key, axis.options)
            elif isinstance(axis.low, int) and isinstance(axis.high, int):
                step = int(axis.step or 1)
                trial.suggest_int(key, axis.low, axis.high, step=step, log=axis.log)
            else:
                trial.suggest_float(key, axis.low, axis.high, step=axis.step, log=axis.log)
