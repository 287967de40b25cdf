"""What one would write without this project: Optuna, PyTorch, and the same rules, in one file.

    python examples/plain_optuna.py [trials] [epochs] [folder] [training images]

It is here to be compared with. MNIST is downloaded into the folder unless it is there. Like most
such scripts it validates on the test images after every epoch and reports the best of everything:
its figure is selected on the test set, and nothing tells by how much.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import optuna
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms


def network_of(trial: optuna.Trial) -> nn.Sequential:
    """Convolutions with dropout, two pools, an average pool and a 1x1 convolution."""
    layers: list[nn.Module] = []
    width, rate = 1, trial.suggest_float("dropout", 0.0, 0.15)
    for number in range(trial.suggest_int("convs", 4, 6)):
        following = trial.suggest_int(f"width_{number}", 4, 32)
        layers += [nn.Conv2d(width, following, 3, padding=1), nn.BatchNorm2d(following), nn.ReLU()]
        if trial.suggest_categorical(f"dropout_{number}", [True, False]):
            layers.append(nn.Dropout2d(rate))
        if number in (1, 3):
            layers.append(nn.MaxPool2d(2))
        width = following
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 10, 1), nn.Flatten())


Batches = DataLoader[tuple[Tensor, Tensor]]


def loaders(folder: Path, images: int | None) -> tuple[Batches, Batches]:
    """Batches of the training images, augmented, and of the test images."""
    plain = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    augmented = [transforms.RandomAffine(10, (0.1, 0.1), (0.9, 1.1)), *plain]
    there = (folder / "MNIST" / "raw").is_dir()
    train = datasets.MNIST(
        folder, train=True, download=not there, transform=transforms.Compose(augmented)
    )
    test = datasets.MNIST(folder, train=False, transform=transforms.Compose(plain))
    chosen = train if images is None else Subset(train, range(images))
    return DataLoader(chosen, 128, shuffle=True), DataLoader(test, 1000)


def accuracy_of(network: nn.Module, batches: Batches) -> float:
    """The share of images that are read rightly."""
    network.eval()
    with torch.no_grad():
        right = sum((network(x).argmax(1) == y).sum().item() for x, y in batches)
    return right / len(batches.dataset)  # type: ignore[arg-type]


def main(
    trials: int = 50, epochs: int = 19, folder: str = "data", images: int | None = None
) -> None:
    """Search, and print the best network of all epochs of all trials."""
    train, test = loaders(Path(folder), images)
    start = time.monotonic()

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        network = network_of(trial)
        size = sum(parameter.numel() for parameter in network.parameters())
        trial.set_user_attr("parameters", size)
        if size >= 20_000:
            raise optuna.TrialPruned
        optimiser = torch.optim.SGD(network.parameters(), 0.1, 0.9, nesterov=True)
        steps = epochs * len(train)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=steps)
        best = 0.0
        for epoch in range(epochs):
            network.train()
            for x, y in train:
                optimiser.zero_grad()
                functional.cross_entropy(network(x), y).backward()
                optimiser.step()
                schedule.step()
            best = max(best, accuracy_of(network, test))
            trial.report(best, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return best

    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=trials)
    done = [trial for trial in study.trials if trial.value is not None]
    print(f"{len(done)} of {trials} trained to the end in {time.monotonic() - start:.0f} s")
    if done:
        best = study.best_trial
        print(f"best: {study.best_value:.2%}, {best.user_attrs['parameters']:,} parameters")


if __name__ == "__main__":
    kinds = (int, int, str, int)
    main(*(kind(word) for kind, word in zip(kinds, sys.argv[1:], strict=False)))  # type: ignore[arg-type]
