"""The assignment's own training loop, as its published answer runs it: what ours is measured by.

After Session-4/EVA4_S4.ipynb of https://github.com/velasoka-repo/EVA4, written anew: the same
network, data set, transforms, loader, loss, optimiser and steps within a batch. The device is
the CPU, so the loader has no workers, as there; a progress text is made for every batch, as
there, but is kept instead of drawn with tqdm.
"""

from __future__ import annotations

import gzip
import shutil
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

Batches = DataLoader[tuple[Tensor, Tensor]]

BATCH_SIZE = 128


class Net(nn.Module):
    """The published network: 18,430 parameters, seven convolutions, one shared dropout module."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        twice, thrice = 2 * width, 3 * width
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, twice, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(twice)
        self.conv4 = nn.Conv2d(twice, twice, 3, padding=1)
        self.norm4 = nn.BatchNorm2d(twice)
        self.conv5 = nn.Conv2d(twice, twice, 3)
        self.norm5 = nn.BatchNorm2d(twice)
        self.conv6 = nn.Conv2d(twice, thrice, 3)
        self.norm6 = nn.BatchNorm2d(thrice)
        self.conv7 = nn.Conv2d(thrice, 10, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.dropout = nn.Dropout2d(0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images [batch, 1, 28, 28] into log-probabilities [batch, 10]."""
        maps = self.dropout(functional.relu(self.norm1(self.conv1(images))))
        maps = self.dropout(functional.relu(self.norm2(self.conv2(maps))))
        maps = self.pool(maps)  # [batch, 10, 28, 28] -> [batch, 10, 14, 14]
        maps = self.dropout(functional.relu(self.norm3(self.conv3(maps))))
        maps = self.dropout(functional.relu(self.norm4(self.conv4(maps))))
        maps = self.dropout(self.pool(maps))  # [batch, 20, 14, 14] -> [batch, 20, 7, 7]
        maps = functional.relu(self.norm5(self.conv5(maps)))
        maps = functional.relu(self.norm6(self.conv6(maps)))
        logits = self.conv7(maps).view(-1, 10)  # [batch, 10, 1, 1] -> [batch, 10]
        return functional.log_softmax(logits, dim=1)


def torchvision_folder(folder: Path) -> Path:
    """Unpack the MNIST that the program ships into `folder` as torchvision's download would."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in (Path(str(resources.files("mnist_arch"))) / "mnist").glob("*.gz"):
        with gzip.open(packed) as source, (raw / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    return folder


def make_loader(folder: Path, images: int) -> Batches:
    """The published loader over the first `images` training images of torchvision's `folder`."""
    to_input = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    dataset = datasets.MNIST(folder, train=True, transform=to_input)
    dataset.data, dataset.targets = dataset.data[:images], dataset.targets[:images]
    return DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True)


def make_optimiser(network: nn.Module) -> torch.optim.Optimizer:
    """The published optimiser."""
    return torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)


def train_batch(
    network: nn.Module, images: Tensor, labels: Tensor, optimiser: torch.optim.Optimizer
) -> tuple[float, int]:
    """Train on one batch; returns the loss and the correct answers, read back as the loop does."""
    optimiser.zero_grad()
    output = network(images)
    loss = functional.nll_loss(output, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    answers = output.argmax(dim=1, keepdim=True)  # [batch, 1]
    return loss.item(), int(answers.eq(labels.view_as(answers)).sum().item())


def train_epoch(network: nn.Module, loader: Batches, optimiser: torch.optim.Optimizer) -> str:
    """Train for one epoch, batch by batch; returns the last progress text."""
    network.train()
    progress, correct, seen = "", 0, 0
    for batch, (images, labels) in enumerate(loader):
        loss, answers = train_batch(network, images, labels, optimiser)
        correct += answers
        seen += len(images)
        progress = f"loss={loss:.5f} batch_id={batch} accuracy={100 * correct / seen:.2f}"
    return progress
