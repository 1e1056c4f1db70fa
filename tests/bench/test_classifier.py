"""The classifiers whose features and classes the embedded metrics use."""

import torch

from fewstep import datasets
from fewstep.datasets.classifiers import CIFAR10, DIGITS


def test_a_classifiers_split_is_disjoint_and_whole():
    data = datasets.get("digits")
    training, held_out = DIGITS.split(data)
    assert len(held_out) == 360
    assert torch.equal(torch.cat([training, held_out]).sort().values, torch.arange(len(data)))


def test_a_small_data_set_keeps_most_images_for_training():
    data = datasets.get("digits")
    small = type(data)("cifar10", data.images[:100])
    training, held_out = CIFAR10.split(small)
    assert (len(training), len(held_out)) == (79, 21)
    assert CIFAR10.steps(79) == round(5 * 79 / 128)
