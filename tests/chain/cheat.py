"""A client that cheats in the demo: the folder of this file's copy comes first in its Python path, named ``sitecustomize.py``.

In round 2 it sends a proof of training that was changed in one bit, signed as its own. Everything else is the installed client.
"""

import sys


def cheat() -> None:
    """Have each member of this process send a false proof in round 2."""
    from dataclasses import replace
    from typing import Any

    from clients.member import Member
    from ledger.entries import TRAINING_PROOF, ContributionStatement, Reference, SignedContribution, decode_contribution
    from ledger.identity import signing_key

    honest = Member.contribute

    def contribute(self: Member, request: Any, *rest: Any) -> Any:  # noqa: ANN401
        update, samples, reply = honest(self, request, *rest)
        if request.round != 2 or not reply.proof:
            return update, samples, reply
        proof = reply.proof[:-1] + bytes([reply.proof[-1] ^ 1])
        claims = {**dict(decode_contribution(reply.statement).statement), "proof": Reference.of(proof, TRAINING_PROOF)}
        signed = SignedContribution.sign(ContributionStatement.model_validate(claims), signing_key(self.secret))
        return update, samples, replace(reply, statement=signed.encode(), proof=proof)

    Member.contribute = contribute  # type: ignore[method-assign, assignment]


if "clients.prepared" in sys.orig_argv:
    cheat()
