"""The proof of exact training: a client shows that its update is the agreed local SGD on its committed samples, to the last bit.

The protocol, its formulas and its soundness are in ``docs/training-proof.md``. A reader starts at :mod:`zk.training.statement` (what is
proved), then :mod:`zk.training.relations` (in which order), then one module for each relation: ``dense``, ``relu``, ``softmax``,
``binary``, ``squared``. :mod:`zk.training.proof` is what a client and a verifier call.
"""

from zk.training.proof import Samples, TrainingProof, proof_bytes, prove, verify
from zk.training.statement import TrainingStatement

__all__ = ["Samples", "TrainingProof", "TrainingStatement", "proof_bytes", "prove", "verify"]
