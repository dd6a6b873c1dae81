"""The section of an agreement about settlements: what is paid for, what is lost, and what a score must be to pay."""

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ledger.schema import Hex32, Section
from zk.rule import Rule

MAX_EXACT_SHAPLEY = 10  # participants: a round then has 1024 coalitions
SETTLED_BYTES = 512  # of one client in a settlement entry, at most
# smallest units of a currency: beyond 2^53, which canonical JSON has no integers for, so that it is written as text
Price = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value), Field(pattern=r"^(0|[1-9][0-9]{0,29})$")]


class Settlement(Section):
    """What is paid for, and what is lost, every ``epoch`` rounds: amounts are integers in the smallest unit of a currency.

    ``pot`` is shared, for each round with an aggregate, by the ``method``'s scores of the proved updates on the evaluation set whose
    digest is ``evaluation`` (:mod:`ledger.contribution`). A score pays nothing below ``threshold`` per cent of the mean positive score,
    or within ``deviations`` standard errors of zero; without a proof of training, an update that points where another does, their cosine
    above ``similarity`` per cent, is a copy and scores nothing. ``licences`` are prices by client for each round that its data was used
    in, ``penalty`` is lost for each false contribution, ``missed`` for each obligation that the server says was missed.
    """

    epoch: int = Field(ge=1, le=100_000)
    evaluation: Hex32
    pot: Price = "0"
    method: Literal["shapley", "gtg-shapley", "leave-one-out"]
    threshold: int = Field(default=10, ge=0, le=100)
    deviations: int = Field(default=2, ge=0, le=10)
    similarity: int = Field(default=99, ge=50, le=100)
    licences: dict[Hex32, Price] = Field(default_factory=dict)
    penalty: Price = "0"
    missed: Price = "0"

    def check(self, clients: int, participants: int, rule: Rule) -> None:
        """Refuse what does not go together with the rest of an agreement.

        Raises
        ------
        ValueError
            With one line that names the field.
        """
        if self.method == "shapley" and participants > MAX_EXACT_SHAPLEY:
            raise ValueError(
                f"settlement.method is shapley, which takes at most {MAX_EXACT_SHAPLEY} rounds.participants: choose gtg-shapley"
            )
        # values of single samples, over the denominators of an epoch, must stay exact 64-bit integers
        worst = rule.layers[-1] << 2 * (1 + max(rule.plan.output_error_bits, rule.plan.limb_bits))
        if 2 * worst * math.lcm(*range(1, MAX_EXACT_SHAPLEY + 1)) * self.epoch >= 2**63:
            raise ValueError("the scores of an epoch do not fit 64 bits: shorten settlement.epoch")
        lines = min(clients, participants * (self.epoch + 1))
        if SETTLED_BYTES * lines > 62_600:
            raise ValueError(f"a settlement of {lines} clients does not fit an entry of 65,535 bytes: shorten settlement.epoch")
