"""A second verifier of the training proof: slow, plain, and written from ``docs/training-proof.md`` alone.

It shares with the product the transcript, the statement's absorption and py_ecc, nothing else. Every secret value is spelled out as a
linear function of single committed entries; weights are tables over whole cubes; each group equation is computed for itself by doubling
and adding. For small cases only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from py_ecc.bls.point_compression import decompress_G1
from py_ecc.optimized_bls12_381 import Z1, add, is_inf, multiply, neg

from zk.field import ORDER as R
from zk.group import COFACTOR
from zk.pedersen import CommitmentKey
from zk.rule import EXACT_BITS, Loss
from zk.tables import EXP_BITS, exp_table, sigmoid_table
from zk.training import TrainingStatement
from zk.transcript import Transcript

MAGIC = b"lunaria training 1\n"
Place = tuple[int, int]  # row and column of a committed entry


class RefusedError(Exception):
    """The proof is wrong."""


@dataclass
class Lin:
    """A constant and coefficients of committed entries."""

    constant: int = 0
    entries: dict[Place, int] = field(default_factory=dict)

    def plus(self, factor: int, other: "Lin | int") -> "Lin":
        """Return ``self + factor·other``."""
        other = Lin(other) if isinstance(other, int) else other
        entries = dict(self.entries)
        for place, value in other.entries.items():
            entries[place] = (entries.get(place, 0) + factor * value) % R
        return Lin((self.constant + factor * other.constant) % R, entries)


def log(size: int) -> int:
    return max(size - 1, 0).bit_length()


def cube(point: Sequence[int]) -> list[int]:
    """Return eq(point, i) for every i, by its definition."""
    count = len(point)
    table = []
    for index in range(1 << count):
        value = 1
        for position, x in enumerate(point):
            value = value * (x if index >> (count - 1 - position) & 1 else 1 - x) % R
        table.append(value)
    return table


def dot(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True)) % R


class PlainVerifier:
    """One verification."""

    def __init__(self, key: CommitmentKey, statement: TrainingStatement, proof: bytes) -> None:
        self.key, self.statement, self.rule, self.width = key, statement, statement.rule, key.width
        rule, plan = self.rule, self.rule.plan
        self.t = plan.limb_bits
        self.steps, self.batch = 1 << log(rule.steps), 1 << log(rule.batch)
        self.samples = self.steps * self.batch
        self.real = [int(n // self.batch < rule.steps and n % self.batch < rule.batch) for n in range(self.samples)]
        self.depth, self.classes = rule.depth, rule.layers[-1]
        self.outputs = 1 << log(self.classes)
        self.data_width = 1 << log(rule.layers[0] + 17)
        self.tensors = self._tensors()
        self.leaves = sum(size * len(ranges) for _, size, ranges in self.tensors) + self._pair_size() + (1 << self.t) * self._tables()
        self.pads, self.products = self._count()
        self._place_rows()
        self._parse(proof)
        self.equations: list[Lin] = []
        self.used = {"pads": 0, "products": 0, "messages": 0}

    # what is committed, and where

    def _limbs(self, name: str, count: int, size: int) -> list[tuple[str, int, tuple[int, ...]]]:
        return [(f"{name} {i}", size, (1,)) for i in range(count)]

    def _tensors(self) -> list[tuple[str, int, tuple[int, ...]]]:
        rule, n = self.rule, self.samples
        found: list[tuple[str, int, tuple[int, ...]]] = []
        for layer in range(self.depth):
            size = n << log(rule.layers[layer + 1])
            found += [(f"beta{layer}", size, ()), (f"low{layer}", size, (1,)), (f"d{layer}", size, (1,))]
            found += self._limbs(f"rem{layer}", rule.forward_shift(layer) // self.t, size)
            found += self._limbs(f"back{layer}", rule.backward_shift(layer) // self.t, size)
        size = n * self.outputs
        remainder = self._limbs("rem", rule.forward_shift(self.depth) // self.t, size)
        if rule.loss == Loss.SQUARED:
            return [*found, ("low", size, (1,)), ("high", size, (1, 1 << (self.t - 1))), *remainder]
        if rule.loss == Loss.BINARY:
            return [*found, ("logit", size, ()), ("prob", size, ()), *remainder]
        found += [("u", size, ()), ("c", size, ()), ("s", size, ()), *remainder]
        self.p_limbs = -(-(rule.plan.output_error_bits + 1) // self.t)
        self.rho_limbs = -(-(EXP_BITS + 1 + log(self.classes)) // self.t)
        self.max_limbs = -(-(EXACT_BITS - rule.forward_shift(self.depth) + 2) // self.t)
        found += [*self._limbs("p", self.p_limbs, size), *self._limbs("rho", self.rho_limbs, size)]
        return [*found, *self._limbs("sigma", self.rho_limbs, size), *self._limbs("max", self.max_limbs, n)]

    def _tables(self) -> int:
        return 1 if self.rule.loss == Loss.SQUARED else 2

    def _pair_size(self) -> int:
        return 0 if self.rule.loss == Loss.SQUARED else self.samples * self.outputs

    def _count(self) -> tuple[int, int]:
        """Return how many pads and products the protocol uses."""
        rule, n, d = self.rule, log(self.samples), log(self.leaves)
        pads, products = 1 + 3 * (d * (d - 1) // 2), 2 * d
        if rule.loss == Loss.SOFTMAX:
            pads, products = pads + 3 * (n + log(self.classes)), products + 2
        for layer in range(self.depth + 1):
            pads, products = pads + 3 * (log(rule.steps) + log(rule.layers[layer] + 1)), products + 2
        for layer in range(self.depth):
            pads += 6 * (n + log(rule.layers[layer + 1])) + 3 * (log(rule.steps) + log(rule.layers[layer + 2]))
            products += 4
        return pads + 3 * n, products

    def _place_rows(self) -> None:
        last = max(n for n, real in enumerate(self.real) if real) + 1
        width = self.width
        blocks: list[tuple[str, int, list[int]]] = [("data", self.samples, [n for n, real in enumerate(self.real) if real])]
        sizes = [(name, size, last * (size // self.samples)) for name, size, _ in self.tensors]
        sizes += [(name, 1 << self.t, 1 << self.t) for name in ("uses0", "uses1")[: self._tables()]]
        blocks += [(name, max(1, size // width), list(range(-(-used // width)))) for name, size, used in sizes]
        rows = -(-self.pads // width)
        blocks.append(("pads", 1 << log(max(rows, 1)), list(range(rows))))
        blocks += [("U", 1, [0]), ("V", 1, [0]), ("UV", 1, [0])]
        self.first: dict[str, int] = {}
        end = 0
        for name, height, _ in sorted(blocks, key=lambda block: block[1], reverse=True):
            self.first[name], end = end, end + height
        self.row_variables = log(end)
        self.rows = [self.first[name] + i for name, _, present in blocks for i in present]

    # the proof

    def _parse(self, proof: bytes) -> None:
        own = len(self.rows) - self.rule.samples + 1
        messages = self.pads + 2 * self.products + 2 * self.row_variables
        answers = 1 + self.width + 2 * self.row_variables + 2 * self.products + 5
        if len(proof) != len(MAGIC) + 48 * own + 32 * messages + 48 * 6 + 32 * answers or not proof.startswith(MAGIC):
            raise RefusedError("length or kind")
        at = len(MAGIC)
        self.commitments, at = proof[at : at + 48 * own], at + 48 * own
        self.messages, at = self._scalars(proof[at : at + 32 * messages]), at + 32 * messages
        self.announced, at = proof[at : at + 288], at + 288
        self.answers = self._scalars(proof[at:])

    @staticmethod
    def _scalars(data: bytes) -> list[int]:
        values = [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]
        if any(value >= R for value in values):
            raise RefusedError("a scalar is not canonical")
        return values

    @staticmethod
    def _points(data: bytes) -> list[object]:
        try:
            return [decompress_G1(int.from_bytes(data[i : i + 48], "big")) for i in range(0, len(data), 48)]
        except ValueError as error:
            raise RefusedError("not a point") from error

    def read(self, label: str, count: int) -> list[int]:
        start = self.used["messages"]
        self.used["messages"] += count
        values = self.messages[start : start + count]
        self.transcript.absorb(label, b"".join(value.to_bytes(32, "big") for value in values))
        return values

    def secret(self, label: str, count: int) -> list[Lin]:
        start = self.used["pads"]
        self.used["pads"] += count
        places = [divmod(start + i, self.width) for i in range(count)]
        return [Lin(m, {(self.first["pads"] + row, column): 1}) for m, (row, column) in zip(self.read(label, count), places, strict=True)]

    def pair(self, label: str) -> tuple[Lin, Lin, Lin]:
        i = self.used["products"]
        self.used["products"] += 1
        u, v = self.read(label, 2)
        U, V, UV = ((self.first[name], i) for name in ("U", "V", "UV"))
        return Lin(u, {U: 1}), Lin(v, {V: 1}), Lin(u * v % R, {V: u, U: v, UV: 1})

    def rounds(self, label: str, claim: Lin, count: int) -> tuple[list[int], Lin]:
        """Run ``count`` rounds of degree 3: g(0), g(2), g(3) are sent, g(1) = claim - g(0)."""
        point = []
        for _ in range(count):
            g0, g2, g3 = self.secret(label, 3)
            x = self.transcript.challenge(label)
            values = [g0, claim.plus(-1, g0), g2, g3]
            claim = Lin()
            for i, value in enumerate(values):
                factor = 1
                for j in range(4):
                    factor = factor if j == i else factor * (x - j) * pow(i - j, -1, R) % R
                claim = claim.plus(factor, value)
            point.append(x)
        return point, claim

    def tensor(self, name: str, weights: Sequence[int]) -> Lin:
        """Return ``Σ weights[i]·T[i]`` over a whole tensor."""
        first = self.first[name]
        return Lin(0, {(first + i // self.width, i % self.width): w for i, w in enumerate(weights) if w})

    def limbed(self, name: str, count: int, weights: Sequence[int]) -> Lin:
        total = Lin()
        for i in range(count):
            total = total.plus(1 << (self.t * i), self.tensor(f"{name} {i}", weights))
        return total

    def zero(self, form: Lin) -> None:
        self.equations.append(form)

    def masked(self, rows: Sequence[int]) -> int:
        return dot(rows, self.real)

    # relations

    def run(self) -> bool:
        self.transcript: Transcript = self.statement.begin(self.key)
        self.transcript.absorb("commitments", self.commitments)
        self._lookups()
        inputs: list[tuple[int, list[int], list[int], Lin]] = []  # layer, rows over n, weights of In, value
        errors: list[tuple[int, list[int], list[int], Lin]] = []
        weights: list[tuple[int, list[int], list[int], list[int], Lin, bool]] = []
        n, o, w = self._draw(self.depth)
        z = self._loss(cube(n), w)
        self._forward(self.depth, n, cube(o), z, inputs, weights)
        for layer in reversed(range(self.depth)):
            n, o, w = self._draw(layer)
            z, at, units, e = self._hidden(layer, n, o, w)
            self._backward(layer + 1, at, units, e, errors, weights)
            self._forward(layer, n, cube(o), z, inputs, weights)
        self._history(inputs, errors, weights)
        for layer, rows, out, value in errors:
            self.zero(value.plus(-1, self._error(layer, rows, out)))
        for layer, rows, of, value in inputs:
            if layer == 0:
                data = {(self.first["data"] + i, j): a * b % R for i, a in enumerate(rows) for j, b in enumerate(of)}
                self.zero(value.plus(-1, Lin(0, data)))
        for layer in range(self.depth):
            self._activations(layer, [one[1:] for one in inputs if one[0] == layer + 1])
        return self._close()

    def _draw(self, layer: int) -> tuple[list[int], list[int], list[int]]:
        width = self.rule.layers[layer + 1]
        n = self.transcript.challenges("samples", log(self.samples))
        o = self.transcript.challenges("units", log(width))
        return n, o, [x if j < width else 0 for j, x in enumerate(cube(o))]

    def _split(self, n: Sequence[int]) -> tuple[list[int], list[int]]:
        return list(n[: log(self.steps)]), list(n[log(self.steps) :])

    def _lookups(self) -> None:
        gamma, alpha = self.transcript.challenges("lookup", 2)
        table_size = 1 << self.t
        parts: list[tuple[int, str, int, int]] = [(size, name, c, 0) for name, size, ranges in self.tensors for c in ranges]
        if self._pair_size():
            parts.append((self._pair_size(), "pair", 1, 1))
        parts += [(table_size, f"table{i}", 1, i) for i in range(self._tables())]
        parts.sort(key=lambda part: part[0], reverse=True)
        p: Lin = Lin(0)
        (q,) = self.secret("lookup root", 1)
        r: list[int] = []
        for level in range(log(self.leaves)):
            mix = self.transcript.challenge("lookup mix")
            rho, value = self.rounds("lookup", p.plus(mix, q), level)
            p0, q1, first = self.pair("lookup")
            q0, mixed, second = self.pair("lookup")
            weight = dot(cube(r), cube(rho))
            self.zero(value.plus(-weight, first).plus(-weight, second))
            p1 = mixed.plus(-mix, q1)
            c = self.transcript.challenge("lookup child")
            p, q = Lin().plus(1 - c, p0).plus(c, p1), Lin().plus(1 - c, q0).plus(c, q1)
            r = [c, *rho]
        leaves, start = cube(r), 0
        loss = self._loss_table()
        for size, name, factor, tag in parts:
            weights = leaves[start : start + size]
            start += size
            if name.startswith("table"):
                p = p.plus(1, self.tensor(f"uses{tag}", weights))
                values = [j + gamma * loss[j] * tag + gamma**2 * tag for j in range(size)]
                q = q.plus(-1, sum(w * (alpha - value) for w, value in zip(weights, values, strict=True)))
                continue
            p = p.plus(-1, sum(weights))
            q = q.plus(-1, sum(weights) * (alpha - gamma**2 * tag))
            names = self._pair_names() if name == "pair" else [name]
            for power, one in enumerate(names):
                q = q.plus(factor * gamma**power, self.tensor(one, weights))
        q = q.plus(-1, sum(leaves[start:]))
        self.zero(Lin().plus(-1, p))
        self.zero(Lin().plus(-1, q))

    def _pair_names(self) -> list[str]:
        return ["u", "c"] if self.rule.loss == Loss.SOFTMAX else ["logit", "prob"]

    def _loss_table(self) -> list[int]:
        if self.rule.loss == Loss.SOFTMAX:
            exp = exp_table(self.rule.plan)
            return [exp[0] - x for x in exp]
        sigmoid = sigmoid_table(self.rule.plan)
        return [x - sigmoid[0] for x in sigmoid]

    def _loss(self, rows: list[int], w: list[int]) -> Lin:
        """Return Z(n, w)."""
        s = self.rule.forward_shift(self.depth)
        flat = [a * b % R for a in rows for b in w]
        one = self.masked(rows) * sum(w) % R
        remainder = self.limbed("rem", s // self.t, flat)
        A = self._softmax(rows, w, flat) if self.rule.loss == Loss.SOFTMAX else self._logit(flat, one)
        return Lin().plus(1 << s, A).plus(1, remainder).plus(-(1 << (s - 1)), one)

    def _logit(self, flat: list[int], one: int) -> Lin:
        if self.rule.loss == Loss.BINARY:
            return self.tensor("logit", flat).plus(-(1 << (self.t - 1)), one)
        return self.tensor("low", flat).plus(1 << self.t, self.tensor("high", flat)).plus(-(1 << self.t), one)

    def _softmax(self, rows: list[int], w: list[int], flat: list[int]) -> Lin:
        mu, ones = self.masked(rows), sum(w)
        real = [int(j < self.classes) for j in range(self.outputs)]

        def total(over: list[int]) -> Lin:
            deficits = self.tensor("c", [a * b for a in over for b in real])
            return Lin((self.classes << EXP_BITS) * self.masked(over) % R).plus(-1, deficits)

        self.zero(self.tensor("s", [a * b for a in rows for b in real]).plus(-1, mu))
        rho, sigma = (self.limbed(name, self.rho_limbs, flat) for name in ("rho", "sigma"))
        S = total(rows)
        self.zero(sigma.plus(1, rho).plus(-2 * ones, S).plus(1, mu * ones))
        e = Lin((ones << EXP_BITS) * mu % R).plus(-1, self.tensor("c", flat))
        mix = self.transcript.challenge("softmax mix")
        claim = Lin().plus(2 << self.rule.plan.output_error_bits, e).plus(ones, S).plus(-1, rho)
        r, value = self.rounds("softmax", claim, log(self.samples) + log(self.classes))
        f_2S, f_P, division = self.pair("softmax division")
        f_s, f_u, selection = self.pair("softmax selector")
        at = cube(r)
        weight = dot(flat, at)
        self.zero(value.plus(-weight, division).plus(-weight, selection))
        self.zero(f_2S.plus(-2, total(cube(r[: log(self.samples)]))))
        self.zero(f_P.plus(-1, self.limbed("p", self.p_limbs, at)))
        self.zero(f_s.plus(-mix, self.tensor("s", at)))
        self.zero(f_u.plus(-1, self.tensor("u", at)))
        top = self.limbed("max", self.max_limbs, rows).plus(-(1 << (self.max_limbs * self.t - 1)), mu)
        return Lin().plus(ones, top).plus(-1, self.tensor("u", flat))

    def _error(self, layer: int, rows: list[int], w: list[int]) -> Lin:
        real = [x if j < self.rule.layers[layer + 1] else 0 for j, x in enumerate(w)]
        one, plan = self.masked(rows) * sum(real) % R, self.rule.plan
        flat = [a * b % R for a in rows for b in (w if layer < self.depth else real)]  # D' is zero in padded units
        if layer < self.depth:
            return self.tensor(f"d{layer}", flat).plus(-(1 << (self.t - 1)), one)
        slot = self.data_width - 16
        entries = {(self.first["data"] + n, slot + j): a * b % R for n, a in enumerate(rows) for j, b in enumerate(w) if j < self.classes}
        Y = Lin(0, entries)
        if self.rule.loss == Loss.SQUARED:
            return Lin().plus(1 << (plan.output_error_bits - plan.logit_bits), self._logit(flat, one).plus(-1, Y))
        if self.rule.loss == Loss.BINARY:
            P = self.tensor("prob", flat).plus(sigmoid_table(plan)[0], one)
        else:
            P = self.limbed("p", self.p_limbs, flat)
        return P.plus(-(1 << plan.output_error_bits), Y)

    def _hidden(self, layer: int, n: list[int], o: list[int], w: list[int]) -> tuple[Lin, list[int], list[int], Lin]:
        rule, rows = self.rule, cube(n)
        full = [a * b % R for a in rows for b in cube(o)]
        one = self.masked(rows) * sum(w) % R
        s, back = rule.forward_shift(layer), rule.backward_shift(layer)
        A = self.tensor(f"low{layer}", full).plus(1 << self.t, self.tensor(f"beta{layer}", full)).plus(-(1 << self.t), one)
        z = Lin().plus(1 << s, A).plus(1, self.limbed(f"rem{layer}", s // self.t, full)).plus(-(1 << (s - 1)), one)
        D = self.tensor(f"d{layer}", full).plus(-(1 << (self.t - 1)), one)
        claim = Lin().plus(1 << back, D).plus(1, self.limbed(f"back{layer}", back // self.t, full)).plus(-(1 << (back - 1)), one)
        mix = self.transcript.challenge("sign mix")
        r, value = self.rounds("derivative", claim, log(self.samples) + len(o))
        beta, mixed, both = self.pair("derivative")
        self.zero(value.plus(-dot(full, cube(r)), both))
        self.zero(beta.plus(-1, self.tensor(f"beta{layer}", cube(r))))
        units = [x if j < rule.layers[layer + 1] else 0 for j, x in enumerate(cube(r[log(self.samples) :]))]
        return z, r[: log(self.samples)], units, mixed.plus(-mix, beta).plus(mix, 1)

    def _forward(self, layer: int, n: list[int], w: list[int], z: Lin, inputs: list, weights: list) -> None:  # type: ignore[type-arg]
        width = self.rule.layers[layer] + 1
        k, b = self._split(n)
        r, value = self.rounds("forward", z, len(k) + log(width))
        f_in, f_w, both = self.pair("matrix product")
        step = r[: len(k)]
        self.zero(value.plus(-dot(cube(k), cube(step)), both))
        of = cube(r[len(k) :])[:width]
        inputs.append((layer, cube([*step, *b]), of, f_in))
        weights.append((layer, cube(step), of, w, f_w, True))

    def _backward(self, layer: int, n: list[int], v: list[int], e: Lin, errors: list, weights: list) -> None:  # type: ignore[type-arg]
        width = self.rule.layers[layer + 1]
        k, b = self._split(n)
        r, value = self.rounds("backward", e, len(k) + log(width))
        f_error, f_w, both = self.pair("matrix product")
        step = r[: len(k)]
        self.zero(value.plus(-dot(cube(k), cube(step)), both))
        out = cube(r[len(k) :])
        errors.append((layer, cube([*step, *b]), out, f_error))
        weights.append((layer, cube(step), v[: self.rule.layers[layer]], out, f_w, False))

    def _history(self, inputs: list, errors: list, weights: list) -> None:  # type: ignore[type-arg]
        mix, power, claim = self.transcript.challenge("history mix"), 1, Lin()
        factors = []
        for layer, step, of, out, value, compared in weights:
            start, update = self.statement.start[layer].tolist(), self.statement.update[layer].tolist()

            def at(matrix: list[list[int]], of: list[int] = of, out: list[int] = out) -> int:
                rows = zip(of, matrix[: len(of)], strict=True)
                return sum(a * b * x for a, row in rows for b, x in zip(out, row, strict=False)) % R

            over = [power * sum(step[j + 1 :]) for j in range(self.steps)]
            claim = claim.plus(power, at(start)).plus(-power, value)
            power = power * mix % R
            if compared:
                claim = claim.plus(-power, at(update))
                over = [x + power for x in over]
                power = power * mix % R
            factors.append([self.rule.plan.rate_numerator * x % R for x in over])
        r, value = self.rounds("history", claim, log(self.samples))
        rows, step_rows = cube(r), cube(self._split(r)[0])
        for (layer, _, of, out, _, _), over in zip(weights, factors, strict=True):
            f_in, f_error, both = self.pair("history")
            value = value.plus(-dot(over, step_rows), both)
            inputs.append((layer, rows, of, f_in))
            errors.append((layer, rows, out, f_error))
        self.zero(value)

    def _activations(self, layer: int, claims: list[tuple[list[int], list[int], Lin]]) -> None:
        width = self.rule.layers[layer + 1]
        mix, total = self.transcript.challenge("activation mix"), Lin()
        table = [0] * (self.samples << log(width))
        for i, (rows, of, value) in enumerate(claims):
            power = pow(mix, i, R)
            bias = sum(of[width:]) << self.rule.plan.activation_bits
            total = total.plus(power, value).plus(-power * bias, self.masked(rows))
            units = [*of[:width], *[0] * ((1 << log(width)) - width)]
            table = [x + power * y for x, y in zip(table, (a * b for a in rows for b in units), strict=True)]
        r, value = self.rounds("activation", total, log(self.samples) + log(width))
        beta, low, both = self.pair("activation")
        self.zero(value.plus(-dot(table, cube(r)), both))
        self.zero(beta.plus(-1, self.tensor(f"beta{layer}", cube(r))))
        self.zero(low.plus(-1, self.tensor(f"low{layer}", cube(r))))

    # the end

    def _close(self) -> bool:
        challenge, total, power = self.transcript.challenge("combine equations"), Lin(), 1
        for equation in self.equations:
            total = total.plus(power, equation)
            power = power * challenge % R
        constant, Lambda, r = -total.constant % R, [0] * (2 * self.row_variables), []
        for i in range(self.row_variables):
            m0, m2 = self.read("rows", 2)
            x = self.transcript.challenge("rows")
            # g(x) = c0·g(0) + c1·(claim - g(0)) + c2·g(2)
            half = pow(2, -1, R)
            c0, c1, c2 = (x - 1) * (x - 2) * half % R, x * (2 - x) % R, x * (x - 1) * half % R
            Lambda = [c1 * value % R for value in Lambda]
            Lambda[2 * i], Lambda[2 * i + 1] = (c0 - c1) % R, c2
            constant = (c1 * constant + (c0 - c1) * m0 + c2 * m2) % R
            r.append(x)
        if self.used["messages"] != len(self.messages):
            raise RefusedError("messages are left")
        rows = cube(r)
        weights = [0] * self.width
        for (row, column), coefficient in total.entries.items():
            weights[column] = (weights[column] + coefficient * rows[row]) % R
        self.transcript.absorb("announced", self.announced)
        sigma, answers = self.answers[0], self.answers[1:]
        self.transcript.absorb("sigma", sigma.to_bytes(32, "big"))
        e = self.transcript.challenge("opening")
        cuts = [self.width, 2 * self.row_variables, self.products, self.products, 5]
        z, tail, u, v, blinds = (answers[sum(cuts[:i]) : sum(cuts[: i + 1])] for i in range(5))
        if (dot(z, weights) - dot(tail, Lambda) - e * constant - sigma) % R:
            raise RefusedError("the combined equation")
        points = self._points(self.statement.rows) + self._points(self.commitments)
        d, d_t, d_u, d_v, t1, t0 = self._points(self.announced)
        combined = [(e * rows[row], point) for row, point in zip(self.rows, points[:-1], strict=True)]
        uv = [a * b % R for a, b in zip(u, v, strict=True)]
        ends = {name: points[self.rows.index(self.first[name])] for name in ("U", "V", "UV")}
        checks = [
            (z, blinds[0], [(1, d), *combined]),
            (tail, blinds[1], [(1, d_t), (e, points[-1])]),
            (u, blinds[2], [(1, d_u), (e, ends["U"])]),
            (v, blinds[3], [(1, d_v), (e, ends["V"])]),
            (uv, blinds[4], [(1, t0), (e, t1), (e * e, ends["UV"])]),
        ]
        return all(self._opens(*check) for check in checks)

    def _opens(self, values: Sequence[int], blind: int, terms: Sequence[tuple[int, object]]) -> bool:
        total = multiply(self.key.blinding, blind)
        for value, generator in zip(values, self.key.generators, strict=False):
            total = add(total, multiply(generator, value))
        right = Z1
        for factor, point in terms:
            right = add(right, multiply(point, factor % R))
        return bool(is_inf(multiply(add(total, neg(right)), COFACTOR)))


def plainly_accepts(key: CommitmentKey, statement: TrainingStatement, proof: bytes) -> bool:
    """Whether the plain verifier accepts; ``key`` holds py_ecc points."""
    try:
        return PlainVerifier(key, statement, proof).run()
    except RefusedError:
        return False
