"""Affine forms: what a verifier knows about a value that it must not see.

A form is ``constant + Σ coefficient·atom``, where an atom is a committed value or a public linear function of committed rows, known by
its number. The verifier's algebra on secret values is the algebra of forms; a check is a form that must vanish.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from zk.field import ORDER


@dataclass(frozen=True)
class Form:
    """``constant + Σ terms[a]·atom_a``, all modulo ``r``.

    Attributes
    ----------
    constant : int
    terms : mapping from the number of an atom to its coefficient
    """

    constant: int
    terms: Mapping[int, int] = field(default_factory=dict)

    def __add__(self, other: "Form | int") -> "Form":
        """Add a form or a public value."""
        return combine([(1, self), (1, other)])

    def __sub__(self, other: "Form | int") -> "Form":
        """Subtract a form or a public value."""
        return combine([(1, self), (-1, other)])

    def __mul__(self, factor: int) -> "Form":
        """Multiply by a public value."""
        return combine([(factor, self)])

    __rmul__ = __mul__


def combine(parts: Iterable[tuple[int, Form | int]]) -> Form:
    """Return ``Σ factor·form``; public values stand for constant forms."""
    constant = 0
    terms: dict[int, int] = {}
    for factor, form in parts:
        if isinstance(form, int):
            constant += factor * form
            continue
        constant += factor * form.constant
        for atom, coefficient in form.terms.items():
            terms[atom] = (terms.get(atom, 0) + factor * coefficient) % ORDER
    return Form(constant % ORDER, terms)
