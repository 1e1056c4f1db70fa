"""What all options share: unknown keys are mistakes, values are what they are given as, numbers finite. No torch."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .missing import Missing
from .nfe import Steps, one_per_step

LARGEST_INTEGER = 2**63 - 1
"""What a column of a table and the arguments of torch's generators hold."""
LARGEST_FLOAT = 1e38
"""Less than the largest number in single precision, in which networks compute."""


def _for_files(schema: Any) -> Any:
    """A schema of pydantic's whose tuples may be given as lists, since files have no tuples, and whose numbers without
    bounds get the widest.
    """
    if isinstance(schema, list):
        return [_for_files(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _for_files(part) for key, part in schema.items()}
    if schema.get("type") == "tuple":
        schema["strict"] = False
    if schema.get("type") == "literal" and all(type(value) is int for value in schema["expected"]):
        # Alone it takes what is equal: True and 1.0 for 1.
        return core_schema.chain_schema([core_schema.int_schema(strict=True), schema])
    for kind, largest in (("int", LARGEST_INTEGER), ("float", LARGEST_FLOAT)):
        if schema.get("type") == kind:
            if not {"le", "lt"} & schema.keys():
                schema["le"] = largest
            if not {"ge", "gt"} & schema.keys():
                schema["ge"] = -largest
    return schema


class Checked(BaseModel):
    """Every number finite and such that it can be computed with; no number from a boolean, a text, or the reverse."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = _for_files(handler(source))
        return schema


class Options(Checked):
    """Checked settings. A field's description says what it means, in what unit, and what the paper takes."""

    def steps_for(self, nfe: int) -> Steps:
        """The evaluations of each step with `nfe` in all, or UnreachableNFE with the reason."""
        return one_per_step(nfe)

    def missing(self) -> Missing | None:
        """What these options need and this machine lacks; None if nothing."""
        return None

    @property
    def needs_quality(self) -> bool:
        """Whether training asks the runner for the suite's Fréchet distance; what it evaluates is charged."""
        return False


class NamedOptions(Options):
    """Options of a row that is called after what it is read from."""

    def label(self) -> str:
        """What tells the row from others of its method."""
        raise NotImplementedError
