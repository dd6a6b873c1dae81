"""Zero-knowledge building blocks of Lunaria: group, commitments, proofs, and the exact rule of training.

Imports neither Flower nor TensorFlow: an auditor needs this package and :mod:`ledger`, nothing else.
"""
