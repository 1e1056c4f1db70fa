"""What each kind of task is asked and what it answers: frozen models, dumped for a task's key, checked by its worker.

They are here and not beside the stages' code, since plans are made without torch. No torch.
"""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

from ...reports.status import DONE, Status
from ..metrics.measured import Measured

# What is asked is part of a task's key by itself.
PART_OF_RESULTS = False


Count = int | float
"""Whole where what is counted is whole."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def dumped(self) -> dict[str, Any]:
        """As JSON holds it; what is not given is left out, so that a new option outdates nothing that lacks it."""
        return self.model_dump(mode="json", exclude_none=True)


class Params(Model):
    """What determines a result beside its inputs. `kind` names the stage."""

    kind: ClassVar[str]
    places: ClassVar[tuple[str, ...]] = ()
    """Fields that say where something lies, of which another says what it is: no part of a task's key."""
    device: str


class Ended(Model):
    """A result that may be absent for a reason."""

    status: Status = DONE

    @field_validator("status", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        return Status.parse(value) if isinstance(value, str) else value

    @field_serializer("status")
    def _written(self, status: Status) -> str:
        return str(status)


class Guided(Params):
    guidance: float | None = None
    """The scale of classifier-free guidance; the weights are trained once for all scales."""
    labels: Literal["uniform"] | None = None
    """How a class-conditional teacher's labels are drawn; None in the proportions of its data set."""


class Computed(Guided):
    """How networks are computed, None as they are by default."""

    precision: Literal["tf32", "bf16", "fp16"] | None = None
    channels_last: Literal[True] | None = None
    compile: Literal[True] | None = None

    @property
    def computing(self) -> dict[str, Any]:
        """For methods.computing.computed."""
        return {name: value for name in Computed.__annotations__ if (value := getattr(self, name)) is not None}


class TeacherParams(Params):
    kind = "teacher"
    dataset: str
    teacher: dict[str, Any]
    """Its options."""
    role: Literal["student"] | None = None
    """Of a network that a row brings with it: a student is no denoiser."""
    content: str | None = None
    """The hash of the data set's archive."""
    file: str | None = None
    """The name of a network that comes with fewstep."""
    sha256: str | None = None
    """The hash of the file that it is read from."""
    settings: str | None = None
    """The hash of the JSON file with what that file leaves out."""
    classifier: str | None = None
    """The hash of the file of the classifier that guides it."""
    identity: dict[str, str] | None = None
    """What tells a teacher of another package from others of the same options."""


class Spent(Model):
    """What a training run had spent at some point; flops of networks, seconds of its steps."""

    flops: Count
    evaluations: float
    images: Count
    steps: int
    seconds: float
    uses: dict[str, Count]


class RunLedger(Spent):
    """The ledger at the end; `students` holds it as it was when the student of an NFE was final.

    By kind of step: step_uses, step_forwards and step_seconds of one, kind_steps and kind_forwards of all, peak_bytes.
    """

    limit: float
    unit: str
    flops_per_evaluation: float
    step_uses: dict[str, dict[str, Count]] = {}
    step_forwards: dict[str, int] = {}
    step_seconds: dict[str, float] = {}
    kind_steps: dict[str, int] = {}
    kind_forwards: dict[str, int] = {}
    students: dict[str, Spent] = {}
    peak_bytes: dict[str, int] = {}

    def of_student(self, nfe: int) -> Spent:
        """What had been spent when the student of this NFE was final."""
        return self.students.get(str(nfe), self)


class PromptsParams(Params):
    """The data set's captions, and prompts to train on if there are others, through a pipeline's text encoders."""

    kind = "prompts"
    places = ("folder", "training")
    folder: str
    encoders: str
    """What a table of prompts is of: encoders and tokenizers by their hash, length, cleaning, precision."""
    encoding: dict[str, Any]
    dataset: str
    content: str | None = None
    training: str | None = None
    """The path of a text file; `training_sha256` is its hash."""
    training_sha256: str | None = None


class PromptsResult(Model):
    prompts: int
    """The data set's captions, which are scored; others are trained on, if there are some."""
    training: int
    seconds_per_prompt: float
    flops_per_prompt: float


class LatentsParams(Params):
    """The data set's images through a teacher's autoencoder, for methods that train on them."""

    kind = "latents"
    dataset: str
    content: str | None = None


class LatentsResult(Model):
    images: int
    seconds_per_image: float
    flops_per_image: float


class TeacherTraining(Model):
    """What training the teacher took: of a shipped one as far as it is the same in every run."""

    model_config = ConfigDict(extra="allow", frozen=True)
    evaluations: float


class TeacherResult(Model):
    flops_per_evaluation: float
    parameters: int
    classifier_flops: float = 0.0
    """Of a forward and a backward, on one sample, of the classifier that guides it."""
    ledger: TeacherTraining | None = None
    """None for a teacher that fewstep did not train."""
    latent_shape: list[int] | None = None
    """(C, h, w) of its samples where an autoencoder makes pictures of them."""


class ExtractorParams(Params):
    kind = "extractor"
    dataset: str
    content: str | None = None
    file: str | None = None
    """The name of a classifier that comes with fewstep; it is trained without one."""
    sha256: str | None = None


class ExtractorResult(Model):
    held_out: int
    held_out_accuracy: float
    reference: int
    """How many images the samples are compared with; `pixels` is their hash."""
    pixels: str
    flops_per_image: float
    training: dict[str, Count]


class ReferenceParams(Params):
    kind = "reference"
    extractor: str
    weights: str
    dataset: str | None = None
    images: str | None = None
    """A folder or file of images in place of a data set."""
    content: str | None = None


class ReferenceResult(Model):
    images: int
    rows: int


class TruthParams(Guided):
    kind = "truth"
    seed: int
    samples: int
    tolerance: float


class TruthResult(Model):
    samples: int
    nfe_mean: float


class Sharing(Model):
    """Between how many trials a budget is divided, and what choosing between them takes."""

    trials: int
    samples: int
    nfe: int


class TrainParams(Computed):
    kind = "train"
    method: str
    options: dict[str, Any]
    budget: dict[str, float]
    seed: int
    nfe: int | None = None
    """Of a method that is trained anew for every NFE."""
    content: str | None = None
    """The hash of the archive that is trained on, where the teacher's task does not name it; None too where no image is
    read."""
    shared: Sharing | None = None


class Trained(Ended):
    trainable_parameters: int
    ledger: RunLedger
    learned: list[tuple[str, list[float]]] = []


class TuneParams(Computed):
    kind = "tune"
    seed: int
    budget: dict[str, float]
    trials: int
    samples: int
    nfe: int


class Trial(Ended):
    options: dict[str, Any]
    distance: str
    """The Fréchet distance it was judged by, in full precision; "inf" where it has no samples."""


class Tuned(Trained):
    chosen: int
    trials: list[Trial]


class SampleParams(Computed):
    kind = "sample"
    method: str
    options: dict[str, Any]
    seed: int
    nfe: int
    samples: int
    transfer: bool = False
    """Whether what was learned on another teacher is applied to this one."""
    rounding: str | None = None
    """How samples become 8 bits, where no more is kept of them; None where they are kept in float32."""
    exact: int | None = None
    """How many are kept in float32 besides: the first, which are compared with the exact solutions."""


class ImagesParams(Params):
    kind = "images"
    places = ("source",)
    source: str
    """The path of the images; `content` is their hash."""
    content: str
    samples: int
    """How many of them are taken, the first by name."""


class Sampled(Ended):
    samples: int = 0
    nfe: int = 0
    evaluations: float | None = None
    """Mean evaluations per sample, of a sampler whose NFE is measured."""
    forwards: float = 0.0
    """Network forwards per sample: two for each guided evaluation."""
    flops_per_image: float = 0.0
    seconds_per_image: float = 0.0
    labels: Literal["uniform"] | None = None
    """As they were asked for; None for samples without labels, too."""


class ScoreParams(Params):
    kind = "score"
    metrics: list[str]
    rounding: str
    references: dict[str, dict[str, str]] = {}
    """Metric -> file and hash of published statistics."""
    extractors: dict[str, str] = {}
    """Extractor -> its protocol."""
    law: str | None = None
    """The data set whose moments are known, if a metric compares with them."""
    compared_at: int | None = None
    """Sides in pixels of the real images that pictures of another size are compared with, made as small; None where
    they have one size.
    """
    captions: dict[str, str] | None = None
    """The data set whose captions the samples were made of, with its archive's hash, if a metric looks at them."""


class Scored(Ended):
    metrics: dict[str, Measured] = Field(default_factory=dict)
    decode_flops_per_image: float = 0.0
    decode_seconds_per_image: float = 0.0
    """Of making a picture of a latent; 0 where samples are pictures."""


ASKED: dict[str, type[Params]] = {
    asked.kind: asked
    for asked in (
        TeacherParams,
        PromptsParams,
        LatentsParams,
        ExtractorParams,
        ReferenceParams,
        TruthParams,
        TrainParams,
        TuneParams,
        SampleParams,
        ImagesParams,
        ScoreParams,
    )
}
ANSWERS: dict[str, type[Model]] = {
    "teacher": TeacherResult,
    "prompts": PromptsResult,
    "latents": LatentsResult,
    "extractor": ExtractorResult,
    "reference": ReferenceResult,
    "truth": TruthResult,
    "train": Trained,
    "tune": Tuned,
    "sample": Sampled,
    "images": Sampled,
    "score": Scored,
}
"""By kind of task."""


TEACHER, PROMPTS, LATENTS, CODEC = "teacher", "prompts", "latents", "codec"
"""Roles of inputs: the teacher, its table of prompts, the latents that a method trains on, and, of a score, the teacher
whose autoencoder makes pictures of the samples."""


def trial_role(j: int) -> str:
    """The input of a choice that is its j-th trial."""
    return f"trial {j}"


def reference_role(extractor: str) -> str:
    """The input of a score that holds an extractor's features of the real images."""
    return f"reference {extractor}"
