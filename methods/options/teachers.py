"""Networks and teachers."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from .base import Options


class UNetOptions(Options):
    name: Literal["unet"] = "unet"
    channels: int = Field(16, ge=8, multiple_of=8)
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = Field(1, ge=1)
    embedding: int = Field(64, ge=2)


class MLPOptions(Options):
    name: Literal["mlp"] = "mlp"
    width: int = Field(96, ge=4)
    blocks: int = Field(3, ge=1)


class PretrainOptions(Options):
    """An EDM-preconditioned network trained by the suite on the suite's data set (Karras et al. 2022).

    label_dropout: makes it class-conditional; this share of the training labels is replaced by the null label
    (0.1 is usual). guidance: the scale w of classifier-free guidance, D_null + w (D_c - D_null) (Ho & Salimans
    2022); 1 is the conditional teacher, and all scales share the trained weights.
    """

    name: Literal["pretrain"] = "pretrain"
    network: UNetOptions | MLPOptions = Field(UNetOptions(), discriminator="name")
    images: int = Field(128_000, ge=1)
    batch: int = Field(64, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = Field(50, ge=0)
    ema: float = Field(0.999, ge=0, lt=1)
    sigma_data: float = Field(0.75, gt=0)
    sigma_min: float = Field(0.01, gt=0)
    sigma_max: float = Field(40.0, gt=0)
    log_sigma_mean: float = -0.6
    log_sigma_std: float = Field(1.3, gt=0)
    seed: int = Field(0, ge=0)
    label_dropout: float | None = Field(None, ge=0, lt=1)
    guidance: float | None = Field(None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _guidance_has_both_sides(self) -> "PretrainOptions":
        if self.guidance is not None and not self.label_dropout:
            raise ValueError("guidance needs a teacher that knows labels and no label: set label_dropout, such as 0.1")
        return self

    def label(self) -> str:
        dropout = "" if self.label_dropout is None else f"-drop{self.label_dropout:.12g}"
        guidance = "" if self.guidance is None else f"-w{self.guidance:.12g}"
        return f"pretrain-{self.network.name}-{self.images // 1000}k{dropout}{guidance}"


class CheckpointOptions(Options):
    """A network that somebody else trained, from a file in EDM's form (Karras et al. 2022).

    file: a .pkl as NVlabs/edm publishes it, a .safetensors with its configuration in the header or in a .json beside
    it, or a name that `fewstep doctor` lists. sigma_min, sigma_max: the range that solvers go through, EDM's own by
    default, cut to what the network knows. dropout: of students that copy it; 0 is consistency distillation's.
    """

    name: Literal["checkpoint"] = "checkpoint"
    file: str
    sigma_min: float = Field(0.002, gt=0)
    sigma_max: float = Field(80.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)

    def label(self) -> str:
        return Path(self.file).stem


class ExactOptions(Options):
    """The closed-form denoiser of the data law: a mixture's, or the ideal denoiser of a finite image set.

    bandwidth: standard deviation of a Gaussian put on each image of a finite set.
    """

    name: Literal["exact"] = "exact"
    bandwidth: float = Field(0.0, ge=0)
    sigma_min: float = Field(0.01, gt=0)
    sigma_max: float = Field(40.0, gt=0)

    def label(self) -> str:
        return f"exact-h{self.bandwidth:g}" if self.bandwidth else "exact"
