"""Signed notes (C2SP signed-note): a text for people, and the signatures of keys that have names.

A note is a text that ends in a newline, a blank line, and one line for each signature::

    — <key name> base64(key id || signature)

The text may hold blank lines: the *last* one separates. Everything is UTF-8 without control characters other
than newline. A key is known by its name and its id, ``SHA256(name || 0A || type || public key)[:4]``. A
:class:`VerifierKey` is written ``name+hex(key id)+base64(type || public key)``, the specification's example being
``example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k``.

The signature types differ in what they sign and in what a signature holds, not in any of the above. Each type
is a pair that satisfies :class:`Signer` and :class:`Verifier`; this module has Ed25519 over the note's text.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import FormatError, VerificationError
from zk.hashing import sha256

ED25519 = 0x01
"""Signature type: Ed25519 (RFC 8032) over the note's text."""

MAX_NOTE_SIZE = 1 << 20
"""Bytes; a longer note is refused before it is parsed."""

MAX_SIGNATURES = 100
"""The specification asks for at least 16."""

_KEY_ID_SIZE = 4
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_SIGNATURE_LINE = re.compile("— ([^ ]+) ([^ ]+)")
_VERIFIER_KEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)")


@dataclass(frozen=True)
class VerifierKey:
    """A public key as people exchange it.

    Attributes
    ----------
    name
        Who it belongs to: not empty, no Unicode space, no plus; a URL without scheme is recommended.
    kind
        Signature type, one byte.
    public
        The key, encoded as its type says.

    Raises
    ------
    FormatError
        The name or the type is not allowed.
    """

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        """Refuse names and types that a note cannot carry."""
        _check_name(self.name)
        if not 0 <= self.kind <= 0xFF:
            raise FormatError(f"key {self.name}: the signature type must fit one byte, not be {self.kind}")

    @property
    def key_id(self) -> bytes:
        """``SHA256(name || 0A || type || public key)[:4]`` (signed-note, "Signatures")."""
        return sha256(self.name.encode(), b"\n", bytes([self.kind]), self.public)[:_KEY_ID_SIZE]

    def __str__(self) -> str:
        """Encode as ``name+hex(key id)+base64(type || public key)``."""
        key = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read what ``str()`` writes.

        Raises
        ------
        FormatError
            It is malformed, or the key id is not that of the name and the key.
        """
        match = _VERIFIER_KEY.fullmatch(text)
        if match is None:
            raise FormatError("a verifier key reads name+hex(key id)+base64(type and key)")
        name, key_id, encoded = match.groups()
        data = decode_base64(encoded)
        key = cls(name, data[0], data[1:])
        if key.key_id.hex() != key_id:
            raise FormatError(f"verifier key {name}: key id {key_id} is not that of its name and key")
        return key


class Verifier(Protocol):
    """Checks signatures of one key."""

    @property
    def key(self) -> VerifierKey:
        """The key."""

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (without the key id) is the key's for the note text ``text``."""


class Signer(Protocol):
    """Signs with one key."""

    @property
    def verifier(self) -> Verifier:
        """What checks this signer's signatures."""

    def sign(self, text: bytes) -> bytes:
        """Return the signature (without the key id) for the note text ``text``."""


@dataclass(frozen=True)
class Signature:
    """One signature line: who, by which key, and the bytes that its type defines."""

    name: str
    key_id: bytes
    value: bytes

    def encode(self) -> str:
        """Encode as the line that stands in a note, newline included."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True)
class UnverifiedNote:
    """A note that nobody has checked yet: its text is not to be acted upon."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Encode as the bytes that :func:`parse` reads."""
        return "".join([self.text, "\n", *(one.encode() for one in self.signatures)]).encode()


@dataclass(frozen=True)
class Note:
    """A note whose ``signatures`` verified: at least one, and at most one of each known key."""

    text: str
    signatures: tuple[Signature, ...]


def sign(text: str, *signers: Signer) -> bytes:
    """Return the note of ``text`` signed by ``signers``, in their order.

    Raises
    ------
    FormatError
        The text does not end in a newline or holds characters that a note cannot, there is no signer, or the
        note would be over a limit.
    """
    if not text.endswith("\n"):
        raise FormatError("the text of a note must end in a newline")
    message = _encode(text)
    note = UnverifiedNote(text, tuple(signature_by(signer, message) for signer in signers)).encode()
    parse(note)  # what is written can be read
    return note


def signature_by(signer: Signer, message: bytes) -> Signature:
    """Return the signature line of ``signer`` for the note text ``message``."""
    key = signer.verifier.key
    return Signature(key.name, key.key_id, signer.sign(message))


def parse(note: bytes) -> UnverifiedNote:
    """Take a note apart without checking its signatures (signed-note, "Format").

    Raises
    ------
    FormatError
        It is longer than ``MAX_NOTE_SIZE``, has more than ``MAX_SIGNATURES`` signatures, or is malformed.
    """
    if len(note) > MAX_NOTE_SIZE:
        raise FormatError(f"a note of {len(note)} bytes is over the limit of {MAX_NOTE_SIZE}")
    try:
        decoded = note.decode()
    except UnicodeDecodeError:
        raise FormatError("a note must be valid UTF-8") from None
    if _CONTROL.search(decoded):
        raise FormatError("a note must not hold control characters other than newline")
    head, blank, tail = decoded.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise FormatError("a note is a text, a blank line, and lines of signatures that end in a newline")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise FormatError(f"a note with {len(lines)} signatures is over the limit of {MAX_SIGNATURES}")
    return UnverifiedNote(head + "\n", tuple(_parse_signature(line) for line in lines))


def verify(note: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Check a note by the keys of ``verifiers`` (signed-note, "Signatures").

    Signatures by other keys are ignored. All signatures by a known key are checked; the first is reported, so
    that counting signatures counts keys.

    Raises
    ------
    FormatError
        The note is malformed.
    VerificationError
        A known key's signature is wrong, no known key has signed, or two known keys share a name and an id.
    """
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        key = verifier.key
        if known.setdefault((key.name, key.key_id), verifier).key != key:
            raise VerificationError(f"two known keys are both {key.name}+{key.key_id.hex()}: rename one")
    parsed = parse(note)
    message = parsed.text.encode()
    verified: dict[tuple[str, bytes], Signature] = {}
    for signature in parsed.signatures:
        identity = (signature.name, signature.key_id)
        if identity not in known:
            continue
        if not known[identity].verify(message, signature.value):
            raise VerificationError(f"the signature of {signature.name} is wrong: the note was changed")
        verified.setdefault(identity, signature)
    if not verified:
        raise VerificationError("the note is signed by none of the known keys")
    return Note(parsed.text, tuple(verified.values()))


@dataclass(frozen=True)
class Ed25519Verifier:
    """Checks Ed25519 signatures (type 01) over the text of a note.

    Raises
    ------
    FormatError
        ``key`` is of another type, or not 32 bytes long.
    """

    key: VerifierKey

    def __post_init__(self) -> None:
        """Refuse keys of other types."""
        if self.key.kind != ED25519 or len(self.key.public) != 32:
            raise FormatError(f"key {self.key.name} is not an Ed25519 key")

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is the key's Ed25519 signature of ``text`` (RFC 8032)."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key.public).verify(signature, text)
        except InvalidSignature:
            return False
        return True


class Ed25519Signer:
    """Signs the text of a note by Ed25519 (type 01).

    Parameters
    ----------
    name
        Name of the key.
    seed
        The private key, 32 bytes (RFC 8032, section 5.1.5).

    Raises
    ------
    FormatError
        The name is not allowed, or the seed is not 32 bytes long.
    """

    def __init__(self, name: str, seed: bytes) -> None:
        if len(seed) != 32:
            raise FormatError(f"key {name}: the seed of an Ed25519 key is 32 bytes, not {len(seed)}")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._verifier = Ed25519Verifier(VerifierKey(name, ED25519, self._private.public_key().public_bytes_raw()))

    @property
    def verifier(self) -> Ed25519Verifier:
        """What checks this signer's signatures."""
        return self._verifier

    def sign(self, text: bytes) -> bytes:
        """Return the Ed25519 signature of ``text``: 64 bytes, always the same."""
        return self._private.sign(text)


def decode_base64(text: str) -> bytes:
    """Decode canonical base64 (RFC 4648, section 4): what an encoder would have written, and nothing else.

    Raises
    ------
    FormatError
        It is not canonical base64, or empty.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if not data or base64.b64encode(data).decode() != text:
        raise FormatError("not canonical base64")
    return data


def _parse_signature(line: str) -> Signature:
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise FormatError("a signature line reads — name base64(key id and signature)")
    name, encoded = match.groups()
    _check_name(name)
    data = decode_base64(encoded)
    if len(data) <= _KEY_ID_SIZE:
        raise FormatError(f"the signature of {name} is empty")
    return Signature(name, data[:_KEY_ID_SIZE], data[_KEY_ID_SIZE:])


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() for char in name) or _CONTROL.search(name):
        raise FormatError(f"key name {name!r}: must not be empty or hold spaces, plus signs or control characters")
    _encode(name)


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise FormatError("not valid Unicode: the text holds lone surrogates") from None
