"""What the data is, on which scale, and what may be done with it."""

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from ledger.schema import Section, absent
from zk.rule import Loss

Number = Annotated[float, Field(allow_inf_nan=False)]
ClassName = Annotated[str, Field(min_length=1, max_length=100)]


class DataTerms(Section):
    """Text and scale that every client signs by accepting the agreement.

    ``minimum`` and ``maximum`` are the range of the features, one pair for all of them or one for each, and ``target_minimum`` and
    ``target_maximum`` that of a regression's target: all clients scale by them, and refuse data beyond. ``classes`` are the classes in
    the order of the outputs, for clients that may not have samples of each. Absent: each client goes by its own data.
    """

    description: str = Field(default="", max_length=4000)
    terms: str = Field(default="", max_length=16_000)
    minimum: tuple[Number, ...] = Field(default=(), exclude_if=absent)
    maximum: tuple[Number, ...] = Field(default=(), exclude_if=absent)
    target_minimum: Number | None = Field(default=None, exclude_if=absent)
    target_maximum: Number | None = Field(default=None, exclude_if=absent)
    classes: tuple[ClassName, ...] = Field(default=(), exclude_if=absent)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.minimum) != len(self.maximum):
            raise ValueError(f"minimum has {len(self.minimum)} numbers, maximum {len(self.maximum)}: give pairs")
        for place, (low, high) in enumerate(zip(self.minimum, self.maximum, strict=True)):
            if low > high or math.isinf(high - low):
                raise ValueError(f"minimum.{place} is {low}, above maximum.{place} ({high}), or too far below it")
        if (self.target_minimum is None) != (self.target_maximum is None):
            raise ValueError("target-minimum and target-maximum go together")
        low_target, high_target = self.target_minimum or 0.0, self.target_maximum or 0.0
        if self.target_minimum is not None and not 0 < high_target - low_target < math.inf:
            raise ValueError(f"target-minimum is {low_target}, not below target-maximum ({high_target}), or too far below it")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes names one twice")
        return self

    def check(self, layers: tuple[int, ...], loss: Loss) -> None:
        """Refuse a scale or classes that do not fit a model; raises ValueError."""
        if len(self.minimum) not in (0, 1, layers[0]):
            raise ValueError(f"data.minimum and maximum have {len(self.minimum)} numbers: give one, or {layers[0]}, one for each feature")
        if loss is Loss.SQUARED:
            if self.classes:
                raise ValueError("data.classes are for a classification, training.loss is mean-squared-error")
            if bool(self.minimum) != (self.target_minimum is not None):
                raise ValueError("a regression is scaled as a whole: give data.target-minimum and target-maximum with minimum and maximum")
            return
        if self.target_minimum is not None:
            raise ValueError(f"data.target-minimum and target-maximum are for a regression, training.loss is {loss}")
        wanted = 2 if loss is Loss.BINARY else layers[-1]
        if self.classes and len(self.classes) != wanted:
            raise ValueError(f"data.classes names {len(self.classes)}, the model tells {wanted} apart")
