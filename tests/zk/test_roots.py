"""Square roots by the kernel are those of Python's integers; points are read as py_ecc reads them."""

import secrets

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from py_ecc.bls.point_compression import decompress_G1
from py_ecc.optimized_bls12_381 import G1, multiply

from zk.errors import EncodingError
from zk.group import PyEcc
from zk.roots import P, square_root


@settings(deadline=None, max_examples=300)
@given(st.integers(0, P - 1))
@example(0)
@example(1)
@example(P - 1)
@example((1 << 380) - 1)
@example(P - (1 << 64))
@example((1 << 384) % P)
def test_the_kernel_is_the_power_of_python(value: int) -> None:
    assert square_root(value) == pow(value, (P + 1) // 4, P)


def test_a_square_has_a_root() -> None:
    for _ in range(50):
        root = secrets.randbelow(P)
        assert square_root(root * root % P) in (root, P - root)


@pytest.mark.parametrize("top", range(8))
def test_every_encoding_is_judged_as_py_ecc_judges_it(top: int) -> None:
    group, honest = PyEcc(), PyEcc().encode(multiply(G1, 1 + secrets.randbelow(P)))
    candidates = [honest[:1] + secrets.token_bytes(47) for _ in range(20)] + [honest, bytes(48), P.to_bytes(48, "big")]
    for low in [*candidates, (P - 1).to_bytes(48, "big"), (P + 1).to_bytes(48, "big"), (1).to_bytes(48, "big")]:
        data = bytes([top << 5 | low[0] & 0x1F]) + low[1:]
        try:
            expected = decompress_G1(int.from_bytes(data, "big"))
        except ValueError:
            with pytest.raises(EncodingError):
                group.decode(data)
        else:
            assert group.decode(data) == expected
