"""Data sets that a paper has in its own way: CelebA as DDIM crops it, ImageNet without its labels."""

import numpy as np
import pytest

from fewstep import datasets
from fewstep.datasets.facts import ArchiveError
from fewstep.datasets.prepare import prepare
from fewstep.datasets.preprocess import CONVENTIONS


def test_celeba_is_its_training_images_in_the_order_of_their_numbers(prepared, picture, tmp_path):
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    for number in (1, 2, 10, 162_770, 162_771):
        picture(number, 178, 218).save(folder / f"{number:06}.png")
    data, (facts,) = prepared("celeba64", tmp_path)
    expected = [CONVENTIONS["celeba-ddim"](picture(number, 178, 218), 64) for number in (1, 2, 10, 162_770)]
    np.testing.assert_array_equal(data.images.permute(0, 2, 3, 1).numpy(), np.stack(expected))
    assert (data.classes, data.targets, facts["preprocessing"]) == (0, None, "celeba-ddim")


def test_celebas_other_images_are_counted_and_names_without_a_number_refused(picture, tmp_path):
    folder, notes = tmp_path / "images", []
    folder.mkdir()
    for number in (1, 162_771):
        picture(number, 178, 218).save(folder / f"{number:06}.png")
    prepare("celeba64", folder, tmp_path / "data", lambda file, count: None, on_note=notes.append)
    assert any("1 image outside of the training part is not read" in note for note in notes)
    picture(0, 178, 218).save(folder / "face.png")
    with pytest.raises(ArchiveError, match="called by their numbers"):
        prepare("celeba64", folder, tmp_path / "data", lambda file, count: None)


@pytest.mark.parametrize("name", ["imagenet64-adm", "imagenet64-uncond"])
def test_unconditional_imagenet_is_read_from_the_archive_with_labels(prepared, tmp_path, name):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "some.npz", arr_0=rng.integers(256, size=(5, 64, 64, 3), dtype=np.uint8), arr_1=np.arange(5) * 9
    )
    prepared(name, tmp_path / "some.npz")
    labelled, unlabelled = datasets.get("imagenet64-adm"), datasets.get("imagenet64-uncond")
    assert labelled.targets.tolist() == [0, 9, 18, 27, 36]
    assert (unlabelled.targets, unlabelled.classes, unlabelled.name) == (None, 0, "imagenet64-uncond")
    assert unlabelled.images.equal(labelled.images)
    assert unlabelled.content == labelled.content
