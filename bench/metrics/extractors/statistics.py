"""Published reference statistics: mean and covariance of features over a whole data set. No torch."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....methods import unpickling

DIMENSIONS = {"pool": 2048, "spatial": 2023, "cls": 1024}
EXTRAS = ("mu_s", "sigma_s", "n", "protocol", "dataset_hash")
"""What else is read: sFID's moments (ADM's files), and how many images of what gave the numbers (fewstep's own)."""


def load_statistics(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, Any]]:
    """(mean (D,), covariance (D, D), what else the file says) of an .npz with `mu` and `sigma`.

    So write clean-fid, pytorch-fid, EDM (fid.py) and guided-diffusion (VIRTUAL_*.npz, with `mu_s` and `sigma_s` of the
    2023 spatial features and 10,000 images in `arr_0`, which stay on the disk). clean-fid's KID files hold all features
    (`feats`); their moments are taken. ValueError, in one line, for anything else; nothing is unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if "mu" in file and "sigma" in file:
                mu, sigma = _moments(file["mu"], file["sigma"], path)
                extras = {name: file[name] for name in EXTRAS if name in file}
            elif "feats" in file:
                features = file["feats"].astype(np.float64)
                mu, sigma = _moments(features.mean(0), np.cov(features, rowvar=False), path)
                extras = {"n": np.asarray(len(features))}
            else:
                holds = ", ".join(sorted(file.files)) or "nothing"
                raise ValueError(f"{path} holds {holds}: reference statistics have mu and sigma")
    except (AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz file of reference statistics, or cut short") from error
    except ValueError as error:
        if "pickle" in str(error):
            raise ValueError(f"{path} is no .npz file of plain arrays: it would have to be unpickled") from error
        raise
    if "mu_s" in extras:
        extras["mu_s"], extras["sigma_s"] = _moments(extras["mu_s"], extras.get("sigma_s", np.empty(0)), path)
    plain = {name: value.item() if value.ndim == 0 else value for name, value in extras.items()}
    return mu, sigma, plain


def moments_of(path: Path, array: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(mean, covariance) of an extractor's output in a file of statistics. ValueError where it holds others."""
    if path.suffix == ".pkl":
        return _of_edm2(path, array)
    mu, sigma, more = load_statistics(path)
    if array == "spatial":
        if "mu_s" not in more:
            raise ValueError(f"{path} holds no moments of spatial features (mu_s and sigma_s)")
        mu, sigma = more["mu_s"], more["sigma_s"]
    if len(mu) != DIMENSIONS[array]:
        raise ValueError(f"{path} holds moments of {len(mu)} dimensions, and these features have {DIMENSIONS[array]}")
    return mu, sigma


def holds_images(path: Path) -> bool:
    """Whether a file of statistics has images beside them (`arr_0`), as guided-diffusion's have. None is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "arr_0.npy" in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def _of_edm2(path: Path, array: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """EDM2's files hold FID's moments, and those of DINOv2's features of images that it resizes in its own way."""
    if array != "pool":
        raise ValueError(f"{path}: of EDM2's statistics those of FID are read, and no others are comparable")
    try:
        found = unpickling.load(path, unpickling.arrays())["fid"]
        return _moments(found["mu"], found["sigma"], path)
    except unpickling.BROKEN as error:
        message = unpickling.reason(error)
        raise ValueError(message if str(path) in message else f"{path} is none of EDM2's files: {message}") from None


def _moments(mu: Any, sigma: Any, path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mu, sigma = np.asarray(mu, np.float64), np.asarray(sigma, np.float64)
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise ValueError(f"{path} holds a mean of shape {mu.shape} and a covariance of shape {sigma.shape}")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise ValueError(f"{path} holds values that are not finite")
    if not np.allclose(sigma, sigma.T, rtol=1e-4, atol=1e-6 * np.abs(sigma).max()):
        raise ValueError(f"{path} holds a covariance that is not symmetric")
    return mu, sigma
