"""What every section of a recipe is: frozen, and strict about its keys and numbers."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict

Share = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]


class Section(BaseModel):
    """A part of a recipe: frozen, and strict about its keys and numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    moved: ClassVar[Mapping[str, str]] = {}
    """Keys that stood here once, and the keys of the recipe that took their place."""
