"""The papers' crops: exactly those of the authors' code, and what tells them apart."""

import numpy as np
import pytest
from PIL import Image

from fewstep.datasets.facts import ArchiveError
from fewstep.datasets.preprocess import CONVENTIONS

AUTHORS = {
    "adm-box-bicubic": "adm_box_bicubic_crop16",
    "edm-lanczos": "edm_crop_then_lanczos16",
    "lsun-box": "lsun_box_then_crop16",
    "squash-box": "chrabaszcz_box_squash16",
}


@pytest.mark.parametrize("convention", AUTHORS)
def test_reference_crops_are_the_authors(reference_folder, convention):
    file = reference_folder / "metrics" / "crop_cases.npz"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    cases = np.load(file)
    pictures = [name.removesuffix("_input") for name in cases.files if name.endswith("_input")]
    assert pictures
    for name in pictures:
        found = CONVENTIONS[convention](Image.fromarray(cases[f"{name}_input"]), 16)
        np.testing.assert_array_equal(found, cases[f"{name}_{AUTHORS[convention]}"])


@pytest.mark.parametrize("size", [(64, 64), (131, 64), (64, 200), (300, 257), (40, 55), (700, 129)])
@pytest.mark.parametrize("convention", AUTHORS)
def test_a_crop_has_the_size_whatever_the_picture(picture, convention, size):
    found = CONVENTIONS[convention](picture(0, *size), 64)
    assert (found.shape, found.dtype) == ((64, 64, 3), np.uint8)


@pytest.mark.parametrize("convention", sorted(CONVENTIONS.keys() - {"celeba-ddim"}))
def test_a_picture_of_the_size_is_left_as_it_is(picture, convention):
    image = picture(1, 64)
    np.testing.assert_array_equal(CONVENTIONS[convention](image, 64), np.asarray(image))


def test_the_conventions_are_four_different_data_sets(picture):
    crops = [CONVENTIONS[name](picture(2, 140, 99), 16).astype(float) for name in AUTHORS]
    for i, one in enumerate(crops):
        for other in crops[:i]:
            assert abs(one - other).mean() > 0.5


@pytest.mark.parametrize(("size", "box"), [((101, 64), (18, 0, 82, 64)), ((64, 101), (0, 18, 64, 82))])
@pytest.mark.parametrize("convention", ["adm-box-bicubic", "edm-lanczos", "lsun-box"])
def test_the_crop_is_central_and_odd_margins_leave_the_smaller_part_first(picture, convention, size, box):
    image = picture(3, *size)
    np.testing.assert_array_equal(CONVENTIONS[convention](image, 64), np.asarray(image.crop(box)))


def test_lanczos_alone_wants_a_square(picture):
    with pytest.raises(ArchiveError, match="80x64 pixels, which is not square"):
        CONVENTIONS["lanczos"](picture(0, 80, 64), 16)


@pytest.mark.parametrize("convention", ["adm-box-bicubic", "lsun-box"])
def test_a_strip_that_would_grow_beyond_memory_is_refused(convention):
    with pytest.raises(ArchiveError, match="60000x1 pixels, 3840000x64 with a short side of 64"):
        CONVENTIONS[convention](Image.new("RGB", (60000, 1)), 64)


def test_celeba_is_the_128_pixels_around_the_face_at_half_their_size(picture):
    image = picture(3, 178, 218)
    face = Image.fromarray(np.asarray(image)[57:185, 25:153])
    expected = np.asarray(face.resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(CONVENTIONS["celeba-ddim"](image, 64), expected)
    with pytest.raises(ArchiveError, match="64x64 pixels, not 178x218"):
        CONVENTIONS["celeba-ddim"](picture(3, 64), 64)
