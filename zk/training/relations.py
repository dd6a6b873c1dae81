"""The training proof as a protocol: which relation is demanded when.

1. Lookups: every limb in ``[0, 2^t)``, the loss's pairs in its table.
2. The loss, at a random sample and a random direction of outputs: what the last product ``Z`` must be there.
3. Each hidden layer, at a random point of its own: what its ``Z`` and its incoming error ``E`` must be.
4. Matrix products: each ``Z`` and each ``E`` becomes a claim about inputs or errors, and one about weights.
5. History: all claims about weights, and ``Δ``, become claims about inputs and errors at one sample point. 6. Claims about errors are
claims about committed tensors; claims about inputs are claims about the committed samples or, by ``H = β·L``, about committed tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from zk.argument import Argument
from zk.forms import Form
from zk.hyrax import Block
from zk.lookup import Leaves, Table, lookup
from zk.multilinear import variables
from zk.pads import Budget, Channel, Counter
from zk.pedersen import CommitmentKey
from zk.rule import Loss, Rule
from zk.training.binary import Binary
from zk.training.context import Context, Values
from zk.training.dense import ErrorClaim, InputClaim, WeightClaim, backward, forward, history
from zk.training.losses import LossRelation
from zk.training.relu import Relu
from zk.training.shape import RANGE_TAG, RANGE_USES, Direction, Shape, Tensor
from zk.training.softmax import Softmax
from zk.training.squared import Squared
from zk.training.statement import TrainingStatement
from zk.transcript import Transcript
from zk.vectors import IntArray

LOSSES: dict[Loss, type[LossRelation]] = {Loss.SOFTMAX: Softmax, Loss.BINARY: Binary, Loss.SQUARED: Squared}


@dataclass(frozen=True)
class Relations:
    """All relations of one rule."""

    shape: Shape

    @cached_property
    def loss(self) -> LossRelation:
        """Relations of the loss."""
        return LOSSES[self.shape.rule.loss](self.shape)

    @cached_property
    def hidden(self) -> list[Relu]:
        """Relations of each hidden layer."""
        return [Relu(self.shape, layer) for layer in range(self.shape.rule.depth)]

    @cached_property
    def values(self) -> list[Tensor]:
        """Committed tensors, without multiplicities."""
        return [*(tensor for relu in self.hidden for tensor in relu.tensors), *self.loss.tensors]

    @cached_property
    def tables(self) -> list[Table]:
        """Public tables."""
        entries = np.arange(1 << self.shape.rule.plan.limb_bits)
        return [Table(RANGE_TAG, (entries,), RANGE_USES), *([self.loss.table] if self.loss.table else [])]

    @cached_property
    def lookups(self) -> list[Leaves]:
        """Everything that is looked up."""
        return [*self.shape.range_lookups(self.values), *self.loss.lookups]

    def blocks(self, width: int) -> tuple[Block, ...]:
        """Return all committed blocks."""
        uses = (Block(x.multiplicities, tuple(range(-(-x.size // width))), max(1, x.size // width)) for x in self.tables)
        return (*(self.shape.block(tensor, width) for tensor in self.values), *uses)

    def run(self, context: Context, start: Sequence[IntArray], update: Sequence[IntArray], dropped: Sequence[IntArray]) -> None:
        """Demand that ``update`` is what training from ``start`` gives, without the ``dropped`` units of each hidden layer."""
        channel, rule = context.channel, self.shape.rule
        lookup(channel, context.width, self.lookups, self.tables, context.tensors)
        inputs: list[InputClaim] = []
        errors: list[ErrorClaim] = []
        weights: list[WeightClaim] = []
        compared: list[WeightClaim] = []

        def product(layer: int, point: Sequence[int], out: Direction, z: Form) -> None:
            claim, weight = forward(context, layer, point, out, z)
            inputs.append(claim)
            weights.append(weight)
            compared.append(weight)

        point, out = self._random(channel, rule.depth)
        product(rule.depth, point, out, self.loss.logits(context, point, out))
        for relu in reversed(self.hidden):
            point, out = self._random(channel, relu.layer)
            z, at, units, e = relu.relations(context, point, out, dropped[relu.layer])
            error, weight = backward(context, relu.layer + 1, at, units, e)
            errors.append(error)
            weights.append(weight)
            product(relu.layer, point, out, z)
        more_inputs, more_errors = history(context, start, update, weights, compared)
        for claim in (*errors, *more_errors):
            relation = self.loss if claim.layer == rule.depth else self.hidden[claim.layer]
            channel.vanish(f"error {claim.layer + 1}", claim.value - relation.error(context, claim.point, claim.out))
        inputs += more_inputs
        for found in inputs:
            if found.layer == 0:
                channel.vanish("samples", found.value - context.features(found.point, found.rows))
        for relu in self.hidden:
            relu.activations(context, [found for found in inputs if found.layer == relu.layer + 1], dropped[relu.layer])

    def _random(self, channel: Channel, layer: int) -> tuple[list[int], Direction]:
        """Draw a point over the samples and a direction over the outputs of a layer."""
        width = self.shape.rule.layers[layer + 1]
        point = channel.challenges("samples", self.shape.sample_variables)
        return point, Direction(tuple(channel.challenges("units", variables(width))), width)


@lru_cache(maxsize=16)
def relations_of(rule: Rule) -> Relations:
    """Return the relations of a rule; what a verifier needs of them is the same for all of its proofs."""
    return Relations(Shape(rule))


@lru_cache(maxsize=16)
def budget(rule: Rule, width: int) -> Budget:
    """Count what the protocol of a rule uses, by running it on zeros."""
    counter = Counter(Transcript("count"))
    zeros = [np.zeros(shape, dtype=np.int64) for shape in rule.shapes]
    relations_of(rule).run(Context(counter, Shape(rule), width, None, None), zeros, zeros, none_dropped(rule))
    return counter.used


def none_dropped(rule: Rule) -> list[IntArray]:
    """Return masks of hidden layers that drop no unit."""
    return [np.zeros((rule.samples, width), dtype=np.int64) for width in rule.layers[1:-1]]


@dataclass(frozen=True)
class TrainingArgument(Argument):
    """The argument for one statement; a prover adds the values that are never committed."""

    statement: TrainingStatement
    width: int
    hints: Values | None = None
    magic = b"lunaria training 1\n"

    @cached_property
    def relations(self) -> Relations:
        """The relations of the statement's rule."""
        return relations_of(self.statement.rule)

    def begin(self, key: CommitmentKey) -> Transcript:
        """See :class:`zk.argument.Argument`."""
        return self.statement.begin(key)

    @property
    def given(self) -> tuple[Block, ...]:
        """The samples."""
        return (self.relations.shape.data_block,)

    @cached_property
    def committed(self) -> tuple[Block, ...]:
        """See :class:`zk.argument.Argument`."""
        return self.relations.blocks(self.width)

    @property
    def budget(self) -> Budget:
        """See :class:`zk.argument.Argument`."""
        return budget(self.statement.rule, self.width)

    def run(self, channel: Channel, width: int, tensors: Mapping[str, IntArray] | None) -> None:
        """See :class:`zk.argument.Argument`."""
        context = Context(channel, self.relations.shape, width, tensors, self.hints)
        dropped = self.statement.dropped or none_dropped(self.statement.rule)
        self.relations.run(context, self.statement.start, self.statement.update, dropped)
