"""Secrets of a state folder, encrypted at rest: a random key under a passphrase, and files under that key.

::

    STATE/vault.json   how the key is derived and wrapped: scrypt (RFC 7914), then AES-256-GCM (NIST SP 800-38D)
    STATE/NAME         b"lunaria-sealed/v1\\n", 12 bytes of nonce, the content under AES-256-GCM with 16 bytes of tag

The name of a file is authenticated with its content, so that no sealed file passes for another. A file that is not sealed yet is read as
it is, and sealed when the folder is opened next: encryption may be turned on later, and nothing is lost wherever that is cut off. This
keeps secrets from whoever gets the disk, a backup or the folder; not from whoever can read the memory of the running client, and an
old copy that is put back is not noticed.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from clients.errors import MemberError
from ledger.canonical import dump_json
from ledger.evidence import write_durably

FILE, FORMAT, MAGIC = "vault.json", "lunaria-vault/v1", b"lunaria-sealed/v1\n"
SCRYPT = {"n": 1 << 17, "r": 8, "p": 1}
"""128 MiB and a third of a second for each guess (OWASP, Password Storage Cheat Sheet)."""

LEAST_CHARACTERS = 12
VARIABLE = "LUNARIA_CLIENT_VAULT"
"""The environment variable that tells the process of a message where the key is held: the path of a file in memory."""

_NONCE, _KEY, _MAX_FILE, _MAX_MEMORY = 12, 32, 1 << 16, 1 << 30


@dataclass(frozen=True)
class Vault:
    """Seals and opens the files of one folder.

    Parameters
    ----------
    key : bytes
        32 bytes; never on disk in clear.
    """

    key: bytes

    @classmethod
    def create(cls, folder: Path, passphrase: str) -> "Vault":
        """Make a vault for a folder that has none.

        Raises
        ------
        MemberError
            The passphrase is too short.
        StorageError
            It cannot be written.
        """
        if len(passphrase) < LEAST_CHARACTERS:
            raise MemberError(f"a passphrase needs {LEAST_CHARACTERS} characters or more, this one has {len(passphrase)}")
        key, salt = os.urandom(_KEY), os.urandom(16)
        head = {"format": FORMAT, "kdf": "scrypt", **SCRYPT, "salt": base64.b64encode(salt).decode()}
        wrapped = _seal(_derive(passphrase, salt, **SCRYPT), key, dump_json(head))
        write_durably(folder / FILE, dump_json({**head, "key": base64.b64encode(wrapped).decode()}))
        return cls(key)

    @classmethod
    def unlock(cls, folder: Path, passphrase: str) -> "Vault":
        """Open a folder's vault.

        Raises
        ------
        MemberError
            The passphrase is another, or the file is damaged.
        """
        path = folder / FILE
        try:
            with path.open("rb") as file:
                record = json.loads(file.read(_MAX_FILE))
            wrapped = base64.b64decode(record.pop("key"), validate=True)
            cost = {name: record[name] for name in SCRYPT}
            bounded = all(type(value) is int and value > 0 for value in cost.values()) and 128 * cost["n"] * cost["r"] <= _MAX_MEMORY
            if record["format"] != FORMAT or not bounded or cost["p"] > 16:
                raise ValueError
            key = _derive(passphrase, base64.b64decode(record["salt"], validate=True), **cost)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, MemoryError) as error:
            raise MemberError(f"{path} is damaged: bring it back from your backup, the secrets cannot be read without it") from error
        try:
            return cls(_open(key, wrapped, dump_json(record)))
        except InvalidTag as error:
            raise MemberError(f"the passphrase is not that of {folder}: nothing was changed, try again") from error

    @classmethod
    def held(cls) -> "Vault | None":
        """Return the vault whose key another process holds for this one (:func:`in_memory`); None where there is none."""
        path = os.environ.get(VARIABLE)
        return cls(Path(path).read_bytes()) if path else None

    def seal(self, name: str, data: bytes) -> bytes:
        """Return the content of the file ``name``, sealed."""
        return MAGIC + _seal(self.key, data, MAGIC + name.encode())

    def open(self, name: str, data: bytes) -> bytes:
        """Return what a file holds, sealed or not.

        Raises
        ------
        MemberError
            It was changed, or sealed as another file or by another vault.
        """
        if not data.startswith(MAGIC):
            return data
        try:
            return _open(self.key, data[len(MAGIC) :], MAGIC + name.encode())
        except InvalidTag as error:
            raise MemberError(f"{name} is damaged, or not of this folder: bring it back from your backup") from error

    def seal_files(self, paths: Iterable[Path]) -> None:
        """Seal those of these files that are not."""
        for path in paths:
            if path.exists() and not (data := path.read_bytes()).startswith(MAGIC):
                write_durably(path, self.seal(path.name, data))


@contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """Yield the path of a file that is in memory only, for processes of the same user, and gone with the context or this process."""
    descriptor = os.memfd_create("lunaria")
    try:
        os.write(descriptor, data)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _derive(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=_KEY, n=n, r=r, p=p).derive(passphrase.encode())


def _seal(key: bytes, data: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, bound)


def _open(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
    except ValueError as error:  # too short to be anything
        raise InvalidTag from error
