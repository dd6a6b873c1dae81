"""Where a passphrase comes from: a file, the environment or a person; never the command line, which everybody on a machine can read."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import typer

from clients.errors import MemberError
from clients.vault import FILE, MAGIC, Vault

VARIABLE = "LUNARIA_PASSPHRASE"
_MAX_SIZE = 4096


def read_passphrase(file: Path | None, *, new: bool) -> str:
    """Return the passphrase of a state folder; it is gone from the environment then, where children would see it.

    Parameters
    ----------
    file : Path or None
        A file that holds it, such as a credential of systemd; a line end behind it does not count.
    new : bool
        Whether a person who types it is to repeat it.

    Raises
    ------
    MemberError
        It cannot be had.
    """
    given = os.environ.pop(VARIABLE, None)
    if file is not None:
        try:
            with file.open(encoding="utf-8") as opened:
                given = opened.read(_MAX_SIZE).rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise MemberError(f"cannot read the passphrase from {file}: {getattr(error, 'strerror', None) or 'it is not text'}") from error
    if given is None and sys.stdin.isatty():
        given = str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))
    if not given:
        raise MemberError(f"the state folder is encrypted: give --passphrase-file FILE, {VARIABLE} in the environment, or a terminal")
    return given


def open_vault(folder: Path, secrets: Iterable[str], *, encrypt: bool, file: Path | None) -> Vault | None:
    """Open the vault of a state folder, or make one if it is asked for; seal what is not sealed yet.

    Parameters
    ----------
    folder : Path
    secrets : iterable of str
        The names of its secret files.
    encrypt : bool
        Whether to make a vault where there is none.
    file : Path or None
        Holds the passphrase.

    Raises
    ------
    MemberError, StorageError
        There is no passphrase or a wrong one, or the folder is damaged; nothing is lost.
    """
    paths = [folder / name for name in secrets]
    try:
        if (folder / FILE).exists():
            vault = Vault.unlock(folder, read_passphrase(file, new=False))
        elif any(path.exists() and path.read_bytes().startswith(MAGIC) for path in paths):
            raise MemberError(f"the secrets in {folder} are sealed, and {FILE} is missing: bring it back from your backup")
        elif encrypt:
            vault = Vault.create(folder, read_passphrase(file, new=True))
        elif file is not None:
            raise MemberError(f"{folder} is not encrypted: a passphrase goes with --encrypt, once")
        else:
            return None
        vault.seal_files(paths)
    except OSError as error:
        raise MemberError(f"cannot use {error.filename}: {error.strerror}") from error
    return vault
