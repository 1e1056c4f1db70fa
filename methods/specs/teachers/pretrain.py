"""A teacher that the suite trains itself, and the networks that it may have."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..base import HIGHEST, LARGEST_BATCH, LOWEST, METHODS, Betas, Options
from .base import TeacherOptions, TeacherSpec


class UNetOptions(Options):
    """A small convolutional U-Net, for images."""

    name: Literal["unet"] = Field("unet", description="Chooses this network.")
    channels: int = Field(16, ge=8, le=4096, multiple_of=8, description="Channels at full resolution, a multiple of 8.")
    multipliers: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        (1, 2),
        min_length=1,
        description="Channels at each resolution, as multiples of `channels`; each further one halves the resolution.",
    )
    blocks: int = Field(
        1, ge=1, le=100, description="Residual blocks at each resolution on the way down; one more on the way up."
    )
    embedding: int = Field(64, ge=2, le=16384, description="Width of the embedding of the noise level and the label.")


class MLPOptions(Options):
    """A residual multilayer perceptron, for points in the plane and other short vectors."""

    name: Literal["mlp"] = Field("mlp", description="Chooses this network.")
    width: int = Field(
        96,
        ge=4,
        le=16384,
        description="Width of the residual stream, and of the embedding of the noise level.",
    )
    blocks: int = Field(3, ge=1, le=100, description="Number of residual blocks.")


class PretrainOptions(TeacherOptions):
    """An EDM-preconditioned network trained by the suite on the suite's data set (Karras et al. 2022)."""

    name: Literal["pretrain"] = Field("pretrain", description="Chooses this kind of teacher.")
    network: UNetOptions | MLPOptions = Field(
        UNetOptions(), discriminator="name", description="The network: unet for images, mlp for short vectors."
    )
    images: int = Field(128_000, ge=1, le=10**12, description="Training samples, repeats counted.")
    batch: int = Field(64, ge=1, le=LARGEST_BATCH, description="Samples per training step.")
    learning_rate: float = Field(
        3e-3,
        gt=0,
        description="Adam's largest learning rate: constant after the warm-up to 30 % of the training, then linear to "
        "2 % of itself.",
    )
    betas: Betas = Field((0.9, 0.99), description="Adam's decays of the mean and of the square of the gradient.")
    warmup_steps: int = Field(50, ge=0, description="Steps in which the learning rate rises linearly from 0.")
    ema: float = Field(
        0.999, ge=0, lt=1, description="Decay per step of the averaged weights, which are the teacher's."
    )
    sigma_data: float = Field(
        0.75,
        ge=LOWEST,
        le=HIGHEST,
        description="Standard deviation of the data that the preconditioning assumes. EDM: 0.5.",
    )
    sigma_min: float = Field(
        0.01, ge=LOWEST, le=HIGHEST, description="Smallest noise level that solvers go to. EDM: 0.002."
    )
    sigma_max: float = Field(
        40.0, ge=LOWEST, le=HIGHEST, description="Largest noise level, where solvers start. EDM: 80."
    )
    log_sigma_mean: float = Field(
        -0.6,
        ge=-20,
        le=20,
        description="Mean of the normal law of ln sigma by which training levels are drawn. EDM: -1.2.",
    )
    log_sigma_std: float = Field(
        1.3, ge=0.01, le=10, description="Standard deviation of the normal law of ln sigma. EDM: 1.2."
    )
    seed: int = Field(0, ge=0, description="Seed of the first weights and of the training's noise and batches.")
    label_dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Makes the teacher class-conditional: this share of the training labels is replaced by the null "
        "label (0.1 is usual). null is an unconditional teacher.",
    )
    guidance: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Scale w of classifier-free guidance, D_null + w (D_c - D_null) (Ho & Salimans 2022); 1 is the "
        "conditional teacher. All scales share the trained weights.",
    )

    @model_validator(mode="after")
    def _guidance_has_both_sides(self) -> "PretrainOptions":
        if self.guidance is not None and not self.label_dropout:
            raise ValueError("guidance needs a teacher that knows labels and no label: set label_dropout, such as 0.1")
        return self

    @property
    def conditional(self) -> bool:
        return self.label_dropout is not None

    def default_label(self) -> str:
        dropout = "" if self.label_dropout is None else f"-drop{self.label_dropout:.12g}"
        guidance = "" if self.guidance is None else f"-w{self.guidance:.12g}"
        return f"pretrain-{self.network.name}-{self.images // 1000}k{dropout}{guidance}"


SPEC = TeacherSpec(
    name="pretrain",
    target=f"{METHODS}.teachers.pretrain:Pretrain",
    options=PretrainOptions,
    summary="an EDM-preconditioned network trained by the suite on the suite's data set (Karras et al. 2022)",
    trains=True,
    papers=("karras2022elucidating", "ho2022classifier"),
)
