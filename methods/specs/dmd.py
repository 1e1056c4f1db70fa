"""DMD and DMD2."""

from pydantic import Field

from .base import HIGHEST, METHODS, MethodSpec
from .pairs import PairSource
from .score_matching import FakeLevels, FakeRate, GeneratorLevels, ScoreMatchingOptions


class DMDOptions(ScoreMatchingOptions, PairSource):
    """DMD2 without its GAN (Yin et al. 2024b); with `regression` > 0 the first DMD (Yin et al. 2024a).

    Paper: sigma_init the largest (null), fake_updates 5, both rates 2e-6, batch 280.
    """

    fake_learning_rate: FakeRate = 3e-3
    generator_levels: GeneratorLevels = (0.02, 0.98)
    fake_levels: FakeLevels = (0.0, 1.0)
    regression: float = Field(
        0.0,
        ge=0,
        le=HIGHEST,
        description="Weight of |G(z) - x|^2 on pairs (z, x) of the teacher's ODE. With 0 no pairs are made, and the "
        "options of pairs mean nothing. DMD: 0.25, with LPIPS.",
    )


SPEC = MethodSpec(
    name="dmd",
    target=f"{METHODS}.distillation.dmd:DMD",
    options=DMDOptions,
    summary="DMD2 without its GAN (Yin et al. 2024); `regression` adds the first DMD's pairs",
    trains=True,
    needs_network=True,
    conditional=True,
    display="DMD2 without GAN",
    papers=("yin2024improved", "yin2024one"),
)
