"""Labels beside values: views, copies, sums."""

from __future__ import annotations

from dataclasses import replace

import torch

from mnist_arch.audit.labels import Labels, Shadows, fresh, mixed, of_weights
from mnist_arch.audit.sums import added, along, completed


def test_a_view_shows_the_labels_of_its_values() -> None:
    tensor, shadows = torch.randn(2, 3, 4, 5), Shadows()
    labels = fresh(tensor)
    shadows.put(tensor, labels)
    found = shadows.get(tensor.permute(0, 2, 3, 1)[1:, ::2])
    assert found is not None
    assert torch.equal(found.first, labels.first.permute(0, 2, 3, 1)[1:, ::2])
    shadows.put(tensor[:, 0], fresh(torch.zeros(2, 4, 5)))
    assert torch.equal(shadows.get(tensor).first[:, 1:], labels.first[:, 1:])  # type: ignore[union-attr]
    assert int(shadows.get(tensor).first[1, 0, 0, 0]) == 21  # type: ignore[union-attr]


def test_what_has_no_labels() -> None:
    shadows = Shadows()
    assert shadows.get(torch.zeros(3)) is None
    assert shadows.get(torch.eye(3).to_sparse()) is None
    repeated = torch.zeros(1).expand(3)
    shadows.put(repeated, fresh(repeated))  # a value that shows three times has no three labels
    assert shadows.get(repeated) is None


def test_equal_weights_are_one_and_zero_is_a_weight() -> None:
    labels = of_weights(torch.tensor([0.0, 2.0, 2.0]))
    assert labels[0] != 0
    assert labels[1] == labels[2] != labels[0]
    assert of_weights(torch.tensor(1j)) != of_weights(torch.tensor(-1j))


def test_mixing_keeps_what_is_equal_and_ignores_what_is_not_there() -> None:
    one, other = torch.tensor([1.0, 0.0, 3.0, 4.0]), torch.tensor([1.0, 2.0, 0.0, 5.0])
    found = mixed([one, other])
    assert found[:3].tolist() == [1, 2, 3]
    assert found[3] not in (4, 5)


def product(outputs: int, inputs: int, places: int) -> tuple[torch.Tensor, Labels]:
    """Labels of [1, outputs, inputs, places]: values that weights met, each of its own."""
    tensor = torch.zeros(1, outputs, inputs, places)
    labels = fresh(tensor)
    numbers = labels.first[:, :1].expand(tensor.shape)
    place = torch.arange(1.0, places + 1).expand(tensor.shape).double()
    return tensor, replace(
        labels, first=numbers, second=numbers, place=place, scales=torch.ones_like(place)
    )


def test_a_sum_of_unshared_weights_that_fan_out_is_fully_connected() -> None:
    tensor, labels = product(10, 8, 9)
    own = replace(labels, weight=fresh(tensor).first)
    assert completed(own, along(tensor, {2, 3}), 1) == (72, 10)
    assert completed(own, along(tensor, {3}), 1) == (9, 80)
    assert completed(own, along(tensor, set()), 1) is None


def test_a_sum_of_shared_weights_is_none() -> None:
    tensor, labels = product(10, 8, 9)
    shared = fresh(tensor[..., :1]).first.expand(tensor.shape)
    assert completed(replace(labels, weight=shared), along(tensor, {2}), 1) is None


def test_a_pool_of_each_channel_is_none_and_of_all_of_them_is_one() -> None:
    tensor, labels = product(1, 8, 9)
    own = replace(labels, weight=fresh(tensor).first)
    assert completed(own, along(tensor, {3}), 1) is None
    assert completed(own, along(tensor, {2, 3}), 1) == (72, 1)
    assert completed(own, along(tensor, {2, 3}), 1, lone=False) is None
    only_added = replace(own, scales=torch.zeros_like(own.scales))
    assert completed(only_added, along(tensor, {2, 3}), 1) is None


def test_a_sum_over_places_is_nowhere() -> None:
    labels = fresh(torch.zeros(1, 2, 3, 3))
    assert not added(labels, {2, 3}).place.any()
    assert torch.equal(added(labels, {1}).place, labels.place[:, :1])
