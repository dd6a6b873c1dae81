"""The ledger: what a federation agreed, did and decided, in formats that other people's tools verify.

Imports neither Flower nor TensorFlow: this package and :mod:`zk` are an auditor's whole installation.
"""
