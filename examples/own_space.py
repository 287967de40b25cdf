"""Search a space of your own with Optuna: depthwise-separable networks, trained by our engine.

python examples/own_space.py [trials] [epochs] [training images]
"""

from __future__ import annotations

import sys

import optuna

from mnist_arch.design import AveragePool, Conv, DepthwiseConv, Design, Layer, MaxPool
from mnist_arch.recipe import Recipe
from mnist_arch.rules import Rejected, Rules
from search.config import Machine
from search.evaluate import evaluate
from search.task import Budget, Task

RULES = Rules(parameter_limit=5_000)
LOGITS = Conv(10, kernel=1, padding=0, batch_norm=False, relu=False)


def design_of(trial: optuna.Trial) -> Design:
    """Blocks of a depthwise and a 1x1 convolution, with a pool behind the second."""
    layers: list[Layer] = [Conv(trial.suggest_int("first", 4, 16), padding=0)]
    for number in range(trial.suggest_int("blocks", 2, 5)):
        width = trial.suggest_int(f"width_{number}", 4, 32)
        layers += [DepthwiseConv(), Conv(width, kernel=1, padding=0)]
        layers += [MaxPool()] if number == 1 else []
    return Design((*layers, LOGITS, AveragePool()))


def main(trials: int = 20, epochs: int = 3, images: int | None = None) -> None:
    """Print the best design found, as JSON that `--design FILE.json` reads."""

    def accuracy(trial: optuna.Trial) -> float:
        design = design_of(trial)
        trial.set_user_attr("design", design.to_json())
        try:
            RULES.check(design, epochs)
        except Rejected as broken:
            raise optuna.TrialPruned(str(broken)) from None
        task = Task(design, RULES, Recipe(), Budget(epochs, images), seed=trial.number)
        return evaluate(task, Machine()).epochs[-1].validation_accuracy

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=1))
    study.optimize(accuracy, n_trials=trials)
    print(f"{study.best_value:.2%} with\n{study.best_trial.user_attrs['design']}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
