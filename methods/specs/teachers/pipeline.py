"""A text-to-image pipeline that somebody else trained, in a folder of diffusers."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from ... import known_pipelines
from ...missing import Missing
from ..base import METHODS, MOST_STEPS
from .base import TeacherOptions, TeacherSpec


class PipelineOptions(TeacherOptions):
    """A text-to-image pipeline: its network is told the data set's captions, and its latents become pictures."""

    name: Literal["pipeline"] = Field("pipeline", description="Chooses this kind of teacher.")
    folder: str = Field(
        description="A diffusers folder of Stable Diffusion 1 or 2, SDXL, PixArt-alpha or -sigma, with its weights as "
        "safetensors, or the name of a published one, such as stable-diffusion-v1-5. It is read where it lies, and "
        "must stay there."
    )
    guidance: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="Scale w of classifier-free guidance, D_null + w (D_c - D_null); an evaluation is two forwards. "
        "null is the network itself, one forward, as w = 1.",
    )
    prompts: str | None = Field(
        None,
        description="Text file with a prompt in each line, which methods train on; by default the data set's captions, "
        "which are scored too.",
    )
    resolution: int | None = Field(
        None, ge=8, le=4096, description="Sides of a picture in pixels; by default the network's own."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="Precision of the network; solvers and decoding are in float32."
    )
    tokens: int | None = Field(
        None, ge=2, le=MOST_STEPS, description="Tokens of a prompt; by default the pipeline's own, such as 77 or 120."
    )
    clean: bool = Field(
        False, description="Rewrite prompts as PixArt's clean_caption does, which needs ftfy and bs4 (beautifulsoup4)."
    )
    table: Literal["float16", "float32"] = Field(
        "float16", description="Precision in which encoded prompts are kept: half of the disk, or all digits."
    )
    network_file: str | None = Field(None, description="File with other weights of the network than the folder's.")
    prediction: Literal["epsilon", "v_prediction", "sample"] | None = Field(
        None, description="What the network predicts, where that is not what the folder's scheduler says."
    )

    @property
    def told_prompts(self) -> bool:
        return True

    def default_label(self) -> str:
        words = [Path(self.folder).name]
        words += [] if self.guidance is None else [f"w{self.guidance:.12g}"]
        words += [] if self.dtype == "float32" else [self.dtype]
        return "-".join(words)

    @property
    def path(self) -> Path:
        """Where the folder lies."""
        return known_pipelines.located(self.folder)

    @property
    def network_path(self) -> Path | None:
        return None if self.network_file is None else known_pipelines.located(self.network_file)

    @property
    def prompts_path(self) -> Path | None:
        return None if self.prompts is None else known_pipelines.located(self.prompts)

    def identity(self) -> dict[str, str]:
        """The hashes of network, autoencoder and scheduler; the text encoders' is in the table of prompts."""
        from ...teachers.pipelines import facts
        from ...teachers.pipelines.folder import digest

        found = facts.read(self.path, self.resolution)
        files = found.network_files() if self.network_path is None else [self.network_path]
        return {
            "network": digest(files, dict(found.network), dict(found.scheduler)),
            "codec": digest(found.codec_files(), dict(found.vae)),
        }

    def missing(self) -> Missing | None:
        from ...teachers.pipelines import facts

        given = [name for name in (self.folder, self.network_file, self.prompts) if name is not None]
        if (absent := next(filter(None, map(known_pipelines.missing, given)), None)) is not None:
            return absent
        if not os.path.isdir(self.path):
            return Missing(self.folder, f"hf download REPOSITORY --local-dir {self.folder}")
        if self.network_path is not None and not os.path.isfile(self.network_path):
            return Missing(str(self.network_path), "the model's page")
        if self.prompts_path is not None and not os.path.isfile(self.prompts_path):
            return Missing(str(self.prompts_path), "a text file with a prompt in each line")
        lacking = facts.missing_packages(facts.read(self.path, self.resolution), self.encoding())
        return Missing(f"package {lacking[0]}", "pip install 'fewstep[captions]'") if lacking else None

    def encoding(self) -> "facts.Encoding":  # type: ignore[name-defined]  # noqa: F821
        """How prompts are encoded."""
        from ...teachers.pipelines.facts import Encoding

        return Encoding(length=self.tokens, clean=self.clean, stored=self.table)


SPEC = TeacherSpec(
    name="pipeline",
    target=f"{METHODS}.teachers.pipelines.pipeline:read",
    options=PipelineOptions,
    summary="a text-to-image pipeline in a diffusers folder: Stable Diffusion, SDXL, PixArt",
    papers=("rombach2022high", "podell2024sdxl", "chen2024pixart"),
)
