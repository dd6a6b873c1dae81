"""What is signed for the contracts: EIP-712 statements, compact signatures (EIP-2098) by secp256k1 keys; all pure.

The contracts' side is ``deploy/contracts/signing.vy``. A statement counts for one chain and one contract.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_keys.datatypes import PrivateKey
from eth_keys.datatypes import Signature as Recoverable
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from zk.hashing import sha256

Signature = tuple[bytes, bytes]
"""``(r, vs)``, 32 bytes each (EIP-2098)."""

_DOMAIN = keccak(text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_NAME, _VERSION = keccak(text="Lunaria"), keccak(text="1")
_ANCHOR = keccak(text="Anchor(bytes32 log,uint256 size,bytes32 root)")
_RESOLUTION = keccak(text="Resolution(uint256 epoch,uint256 attempt,bytes32 root,bool stands)")
_PROVEN = keccak(text="Proven(uint256 licence,uint256 rounds)")


@dataclass(frozen=True)
class Domain:
    """Which contract on which chain a statement is for.

    Attributes
    ----------
    chain : int
        Chain id (EIP-155).
    contract : str
        Address, ``0x`` and 40 hexadecimal digits.
    """

    chain: int
    contract: str

    def anchor(self, log: bytes, size: int, root: bytes) -> bytes:
        """Return the digest of a checkpoint: ``log`` is :func:`log_digest`, ``root`` 32 bytes."""
        return self._digest(["bytes32", "uint256", "bytes32"], [log, size, root], _ANCHOR)

    def resolution(self, epoch: int, attempt: int, root: bytes, *, stands: bool) -> bytes:
        """Return the digest of a decision about a challenged settlement."""
        return self._digest(["uint256", "uint256", "bytes32", "bool"], [epoch, attempt, root, stands], _RESOLUTION)

    def proven(self, licence: int, rounds: int) -> bytes:
        """Return the digest of the statement that so many rounds of a licence were proved; the contract is the market."""
        return self._digest(["uint256", "uint256"], [licence, rounds], _PROVEN)

    def _digest(self, types: Sequence[str], values: Sequence[object], kind: bytes) -> bytes:
        domain = encode(["bytes32", "bytes32", "bytes32", "uint256", "address"], [_DOMAIN, _NAME, _VERSION, self.chain, self.contract])
        return keccak(b"\x19\x01" + keccak(domain) + keccak(encode(["bytes32", *types], [kind, *values])))


def log_digest(origin: str) -> bytes:
    """Return the digest by which contracts name a log: the SHA-256 of its origin."""
    return sha256(origin.encode())


def sign(digest: bytes, account: LocalAccount) -> Signature:
    """Sign 32 bytes; ``s`` is low (EIP-2), so that there is one signature."""
    signature = PrivateKey(bytes(account.key)).sign_msg_hash(digest)
    vs = signature.s | (signature.v << 255)
    return signature.r.to_bytes(32, "big"), vs.to_bytes(32, "big")


def signer(digest: bytes, signature: Signature) -> str:
    """Return the checksummed address whose signature it is.

    Raises
    ------
    ValueError
        It is nobody's.
    """
    r, vs = (int.from_bytes(part, "big") for part in signature)
    try:
        return str(Recoverable(vrs=(vs >> 255, r, vs & (1 << 255) - 1)).recover_public_key_from_msg_hash(digest).to_checksum_address())
    except (BadSignature, ValidationError) as error:
        raise ValueError("not a signature") from error
