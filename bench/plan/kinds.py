"""What each kind of task is asked and what it answers: frozen models, dumped for a task's key, checked by its worker.

They lie here and not beside the stages' code, since plans are made without torch. No torch.
"""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

from ...reports.status import DONE, Status


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def dumped(self) -> dict[str, Any]:
        """As JSON holds it; what is not given is left out, so that a new option outdates nothing that lacks it."""
        return self.model_dump(mode="json", exclude_none=True)


class Params(Model):
    """What determines a result beside its inputs. `kind` names the stage."""

    kind: ClassVar[str]
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


class TeacherParams(Params):
    kind = "teacher"
    dataset: str
    teacher: dict[str, Any]
    """Its options."""
    content: str | None = None
    """The hash of the data set's archive."""
    sha256: str | None = None
    """The hash of the file that it is read from."""
    identity: dict[str, str] | None = None
    """What tells a teacher of another package from others of the same options."""


class Spent(Model):
    """What a training run had spent at some point; flops of networks, seconds of its steps."""

    flops: float
    evaluations: float
    images: int
    steps: int
    seconds: float
    uses: dict[str, float]


class RunLedger(Spent):
    """The ledger at the end; `students` holds it as it was when the student of an NFE was final."""

    limit: float
    unit: str
    flops_per_evaluation: float
    step_uses: dict[str, dict[str, float]] = {}
    step_seconds: dict[str, float] = {}
    students: dict[str, Spent] = {}
    peak_bytes: dict[str, int] = {}

    def of_student(self, nfe: int) -> Spent:
        """What had been spent when the student of this NFE was final."""
        return self.students.get(str(nfe), self)


class TeacherResult(Model):
    flops_per_evaluation: float
    parameters: int
    ledger: RunLedger | None = None


class ExtractorParams(Params):
    kind = "extractor"
    dataset: str
    content: str | None = None


class ExtractorResult(Model):
    held_out: int
    held_out_accuracy: float
    reference: int
    flops_per_image: float


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


class TrainParams(Guided):
    kind = "train"
    method: str
    options: dict[str, Any]
    budget: dict[str, float]
    seed: int
    nfe: int | None = None
    """Of a method that is trained anew for every NFE."""
    shared: Sharing | None = None


class Trained(Ended):
    trainable_parameters: int
    ledger: RunLedger
    learned: list[tuple[str, list[float]]] = []


class TuneParams(Guided):
    kind = "tune"
    seed: int
    budget: dict[str, float]
    samples: int
    nfe: int


class Trial(Ended):
    options: dict[str, Any]
    distance: str
    """The Fréchet distance it was judged by, in full precision; "inf" where it has no samples."""


class Tuned(Trained):
    chosen: int
    trials: list[Trial]


class SampleParams(Guided):
    kind = "sample"
    method: str
    options: dict[str, Any]
    seed: int
    nfe: int
    samples: int
    transfer: bool = False
    """Whether what was learned on another teacher is applied to this one."""


class Sampled(Ended):
    samples: int = 0
    nfe: int = 0
    forwards: float = 0.0
    """Network forwards per sample: two for each guided evaluation."""
    flops_per_image: float = 0.0
    seconds_per_image: float = 0.0


class ScoreParams(Params):
    kind = "score"
    metrics: list[str]
    rounding: str
    references: dict[str, dict[str, str]] = {}
    """Metric -> file and hash of published statistics."""
    extractors: dict[str, str] = {}
    """Extractor -> its protocol."""


class Measured(Model):
    """One metric's value, or why these samples have none; `without` holds the values without each block of samples."""

    value: float | None = None
    samples: int | None = None
    protocol: str = ""
    without: list[float] | None = None
    skipped: str | None = None


class Scored(Ended):
    metrics: dict[str, Measured] = Field(default_factory=dict)
