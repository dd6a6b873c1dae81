"""Section 3, what is committed, and section 4, rows: every block of the matrix, in the order in which a proof lists its commitments.

A tensor has ``last`` values for each padded sample. Its flat values fill rows of ``width``; a tensor smaller than a row begins one. Rows
that hold no real sample have no commitment and are zero. The blocks' rows make one matrix, tallest block first.
"""

from dataclasses import dataclass
from functools import cached_property

from zk.errors import RuleError
from zk.plain.algebra import log2
from zk.rule import EXACT_BITS, LABEL_SLOTS, Loss, Rule
from zk.tables import EXP_BITS, loss_table

SAMPLES, PADS, LEFT, RIGHT, PRODUCTS, CLOSING_PADS = "samples", "pads", "left", "right", "left times right", "closing pads"
SOFTMAX_PRODUCTS = 2


@dataclass(frozen=True)
class Tensor:
    """``last`` values for each sample; every value times each of ``factors`` must lie in ``[0, 2^t)``."""

    name: str
    last: int
    factors: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Column:
    """Leaves of the lookup tree: rows ``(x)`` or ``(x, y)``, where ``x = factor·block[i]`` for each ``(block, factor)``."""

    size: int
    tag: int
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Table:
    """A public table with its committed multiplicities: ``values[i]`` is the row ``(x)`` or ``(x, y)``."""

    size: int
    tag: int
    values: tuple[tuple[int, ...], ...]
    uses: str


@dataclass(frozen=True)
class Block:
    """``height`` rows of the matrix; those in ``committed`` have a commitment."""

    name: str
    height: int
    committed: tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """All sizes of a proof."""

    rule: Rule
    width: int

    def check(self) -> None:
        """Refuse a width that the rule's proof does not fit."""
        if self.width < self.sample_width:
            raise RuleError(f"a sample takes {self.sample_width} values, a row has {self.width}")
        if self.width != 1 << log2(self.width) or max(self.products, self.closing_pads) > self.width:
            raise RuleError(f"rows of {self.width} values: the width must be a power of two that holds all products and closing pads")

    # sizes

    @property
    def t(self) -> int:
        """The width of a limb, in bits."""
        return self.rule.plan.limb_bits

    @property
    def steps(self) -> int:
        """Steps, padded."""
        return 1 << log2(self.rule.steps)

    @property
    def batch(self) -> int:
        """Samples of a step, padded."""
        return 1 << log2(self.rule.batch)

    @property
    def samples(self) -> int:
        """Samples ``n = k·batch + b``, padded."""
        return self.steps * self.batch

    @cached_property
    def mask(self) -> list[int]:
        """``μ``: one for each real sample."""
        return [int(k < self.rule.steps and b < self.rule.batch) for k in range(self.steps) for b in range(self.batch)]

    def units(self, layer: int) -> int:
        """Return the padded number of outputs of a layer."""
        return 1 << log2(self.rule.layers[layer + 1])

    @property
    def sample_width(self) -> int:
        """Values of a committed sample: features, the constant one, zeros, and the labels in the last 16."""
        return 1 << log2(self.rule.layers[0] + 1 + LABEL_SLOTS)

    # limbs

    def forward_limbs(self, layer: int) -> int:
        """Limbs of the remainder of rounding ``Z``."""
        return -(-self.rule.forward_shift(layer) // self.t)

    def backward_limbs(self, layer: int) -> int:
        """Limbs of the remainder of rounding ``β∘E``."""
        return -(-self.rule.backward_shift(layer) // self.t)

    @property
    def probability_limbs(self) -> int:
        """Limbs of ``P ≤ 2^f_p``."""
        return -(-(self.rule.plan.output_error_bits + 1) // self.t)

    @property
    def division_limbs(self) -> int:
        """Limbs of what is below ``2S ≤ 2^15·classes``."""
        return -(-(EXP_BITS + 1 + log2(self.rule.layers[-1])) // self.t)

    @property
    def maximum_limbs(self) -> int:
        """Limbs of ``max`` plus half their range: ``|Z| ≤ 2^(53+h)``."""
        most = EXACT_BITS + self.rule.plan.coefficient_bits
        return -(-(most + 2 - self.rule.forward_shift(self.rule.depth)) // self.t)

    # what is committed

    @cached_property
    def tensors(self) -> list[Tensor]:
        """All tensors, in the order of a proof."""
        found = []
        for layer in range(self.rule.depth):
            name, last = f"layer {layer + 1}", self.units(layer)
            found += [Tensor(f"{name} beta", last, ()), Tensor(f"{name} L", last), Tensor(f"{name} D'", last)]
            found += self._remainder(f"{name} rem", self.rule.forward_shift(layer), last)
            found += self._remainder(f"{name} rem'", self.rule.backward_shift(layer), last)
        last, rest = self.units(self.rule.depth), self.rule.forward_shift(self.rule.depth)
        match self.rule.loss:
            case Loss.SOFTMAX:
                found += [Tensor("u", last, ()), Tensor("c", last, ()), Tensor("s", last, ())]
                found += self._remainder("rem", rest, last)
                found += self._limbs("P", self.probability_limbs, last)
                found += self._limbs("rho", self.division_limbs, last)
                found += self._limbs("sigma", self.division_limbs, last)
                found += self._limbs("max", self.maximum_limbs, 1)
            case Loss.BINARY:
                found += [Tensor("A'", last, ()), Tensor("c", last, ())]
                found += self._remainder("rem", rest, last)
            case Loss.SQUARED:
                # a bit is what is in [0, 2^t) both as it is and times 2^(t-1)
                found += [Tensor("low", last), Tensor("high", last, (1, 1 << (self.t - 1)))]
                found += self._remainder("rem", rest, last)
        return found

    def _limbs(self, name: str, count: int, last: int) -> list[Tensor]:
        return [Tensor(f"{name} limb {i}", last) for i in range(count)]

    def _remainder(self, name: str, bits: int, last: int) -> list[Tensor]:
        """Return the limbs of a value below ``2^bits``; a top limb narrower than ``t`` is in range also times what it lacks."""
        *limbs, top = self._limbs(name, -(-bits // self.t), last)
        lacking = (len(limbs) + 1) * self.t - bits
        return [*limbs, Tensor(top.name, last, (1, 2**lacking))] if lacking else [*limbs, top]

    @cached_property
    def last(self) -> dict[str, int]:
        """The size of each tensor's last axis."""
        return {tensor.name: tensor.last for tensor in self.tensors}

    # what is looked up

    @cached_property
    def tables(self) -> list[Table]:
        """The range table, and the loss's; the latter as differences from its first entry, so that it begins with zeros."""
        size = 1 << self.t
        found = [Table(size, 0, tuple((x,) for x in range(size)), "range uses")]
        table = loss_table(self.rule)
        if table:
            sign = -1 if self.rule.loss is Loss.SOFTMAX else 1
            found.append(Table(size, 1, tuple((x, sign * (y - table[0])) for x, y in enumerate(table)), "loss table uses"))
        return found

    @cached_property
    def leaves(self) -> list[Column | Table]:
        """The leaves of the lookup tree: the largest first, columns before tables, each in the order of the tensors."""
        columns = [Column(self.samples * x.last, 0, ((x.name, factor),)) for x in self.tensors for factor in x.factors]
        pairs = {Loss.SOFTMAX: ("u", "c"), Loss.BINARY: ("A'", "c")}
        if self.rule.loss in pairs:
            x, y = pairs[self.rule.loss]
            columns.append(Column(self.samples * self.last[x], 1, ((x, 1), (y, 1))))
        return sorted([*columns, *self.tables], key=lambda part: -part.size)

    @property
    def lookup_depth(self) -> int:
        """Levels of the lookup tree below its root."""
        return log2(sum(part.size for part in self.leaves))

    # how much is said

    @cached_property
    def products(self) -> int:
        """Products of two secret values: two a level of the tree, one for each other sum-check, and one a claim about weights."""
        hidden = self.rule.depth
        loss = SOFTMAX_PRODUCTS if self.rule.loss is Loss.SOFTMAX else 0
        return 2 * self.lookup_depth + loss + (hidden + 1) + 3 * hidden + (2 * hidden + 1)

    @cached_property
    def pads(self) -> int:
        """Masked messages that are no factors: three a round, and the root's denominator."""
        n, k = log2(self.samples), log2(self.steps)
        rounds = sum(range(self.lookup_depth)) + n  # the tree, the history
        if self.rule.loss is Loss.SOFTMAX:
            rounds += n + log2(self.units(self.rule.depth))
        for layer in range(self.rule.depth + 1):
            rounds += k + log2(self.rule.layers[layer] + 1)  # forward
        for layer in range(self.rule.depth):
            rounds += 2 * (n + log2(self.units(layer)))  # derivative, activation
            rounds += k + log2(self.units(layer + 1))  # backward, through the layer above
        return 1 + 3 * rounds

    @property
    def closing_pads(self) -> int:
        """Messages of the last sum-check: two a round."""
        return 2 * self.row_variables

    # where it stands

    @cached_property
    def blocks(self) -> list[Block]:
        """All blocks but the closing pads, in the order of their commitments: those of the statement, then those of the proof."""
        real = [n for n in range(self.samples) if self.mask[n]]
        blocks = [Block(SAMPLES, self.samples, tuple(real))]
        blocks += [self._block(x.name, self.samples * x.last, (real[-1] + 1) * x.last) for x in self.tensors]
        blocks += [self._block(x.uses, x.size, x.size) for x in self.tables]
        rows = -(-self.pads // self.width)
        blocks.append(Block(PADS, 1 << log2(rows), tuple(range(rows))))
        return blocks + [Block(name, 1, (0,)) for name in (LEFT, RIGHT, PRODUCTS)]

    def _block(self, name: str, size: int, used: int) -> Block:
        return Block(name, max(1, size // self.width), tuple(range(-(-used // self.width))))

    @cached_property
    def first_row(self) -> dict[str, int]:
        """Where each block begins: the tallest first, equals in the order of their commitments."""
        found, end = {}, 0
        for block in sorted(self.blocks, key=lambda block: -block.height):
            found[block.name] = end
            end += block.height
        return found

    @cached_property
    def committed_rows(self) -> list[int]:
        """The row of the matrix that each commitment is for."""
        return [self.first_row[block.name] + i for block in self.blocks for i in block.committed]

    @property
    def row_variables(self) -> int:
        """Variables of a row's number."""
        return log2(sum(block.height for block in self.blocks))
