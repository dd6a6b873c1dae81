"""Section 2, notation, and the values that a verifier knows only as affine functions of committed entries (section 4, masked messages)."""

from collections.abc import Iterable, Mapping, Sequence

from zk.field import ORDER

Entry = tuple[str, int]  # the name of a committed block, and a position in its flat values


def log2(size: int) -> int:
    """Return how many variables index ``size`` entries, once they are padded to a power of two."""
    return (size - 1).bit_length()


def cube(point: Sequence[int]) -> list[int]:
    """Return ``eq(point, b)`` for every corner ``b`` in the order of its index; the first variable is the most significant bit."""
    table = []
    for index in range(1 << len(point)):
        product = 1
        for position, x in enumerate(point):
            bit = (index >> (len(point) - 1 - position)) & 1
            product = product * (x if bit else 1 - x) % ORDER
        table.append(product)
    return table


def dot(a: Sequence[int], b: Sequence[int]) -> int:
    """Return ``Σ a_i·b_i`` of two lists of one length."""
    return sum(x * y for x, y in zip(a, b, strict=True)) % ORDER


def outer(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """Return all ``a_i·b_j``, ``i`` first."""
    return [x * y % ORDER for x in a for y in b]


def cut(weights: Sequence[int], real: int) -> list[int]:
    """Return a direction: the weights of the first ``real`` units, and zero for the padded ones."""
    return [weight if unit < real else 0 for unit, weight in enumerate(weights)]


class Affine:
    """``constant + Σ terms[entry]·entry`` modulo ``r``: what is known about a secret value."""

    def __init__(self, constant: int = 0, terms: Mapping[Entry, int] | None = None) -> None:
        self.constant = constant % ORDER
        self.terms = dict(terms or {})

    def __add__(self, other: "Affine | int") -> "Affine":
        """Add a value, secret or public."""
        if isinstance(other, int):
            return Affine(self.constant + other, self.terms)
        terms = dict(self.terms)
        for entry, coefficient in other.terms.items():
            terms[entry] = (terms.get(entry, 0) + coefficient) % ORDER
        return Affine(self.constant + other.constant, terms)

    def __mul__(self, factor: int) -> "Affine":
        """Multiply by a public value."""
        terms = {entry: coefficient * factor % ORDER for entry, coefficient in self.terms.items()}
        return Affine(self.constant * factor, terms)

    def __sub__(self, other: "Affine | int") -> "Affine":
        """Subtract a value, secret or public."""
        return self + other * -1


def weigh(block: str, weights: Sequence[int]) -> Affine:
    """Return ``Σ_i weights[i]·block[i]`` over the flat values of a committed block."""
    return Affine(0, {(block, i): weight for i, weight in enumerate(weights) if weight})


def interpolate(values: Sequence[Affine], x: int) -> Affine:
    """Return ``g(x)`` for the polynomial ``g`` of least degree with ``g(i) = values[i]``."""
    result = Affine()
    for i, value in enumerate(values):
        numerator = denominator = 1
        for j in range(len(values)):
            if j != i:
                numerator = numerator * (x - j) % ORDER
                denominator = denominator * (i - j) % ORDER
        result = result + value * (numerator * pow(denominator, -1, ORDER) % ORDER)
    return result


def total(parts: Iterable[Affine]) -> Affine:
    """Return the sum."""
    result = Affine()
    for part in parts:
        result = result + part
    return result
