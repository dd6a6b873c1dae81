"""``lunaria certs``, ``keygen`` and ``invite``: what a consortium needs before its server starts."""

import re
from pathlib import Path
from typing import Annotated

import typer

from server.errors import ServerError
from server.files import read_file
from server.http import installed

pki_app = typer.Typer()

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_SIZE = 2**16


@pki_app.command()
def certs(
    host: Annotated[list[str], typer.Option(help="A name or address under which clients reach the server; once for each.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder; an existing CA in it is used again.")] = Path("certs"),
    name: Annotated[str, typer.Option(help="The CA's name.")] = "Lunaria federation",
) -> None:
    """Make a CA (ca.crt, ca.key) and the server's certificate (server.crt, server.key)."""
    from server.deployment.certificates import make_ca, make_server, read_issued, write_issued

    ca_files = output / "ca.crt", output / "ca.key"
    known = ca_files[0].exists()
    ca = read_issued(*ca_files) if known else make_ca(name)
    server = make_server(ca, host)
    for path in (output / "server.crt", output / "server.key"):
        if path.exists():
            raise ServerError(f"{path} exists: move it away first, then this makes a new one")
    if not known:
        write_issued(ca, *ca_files)
    write_issued(server, output / "server.crt", output / "server.key")
    typer.echo(f"{output / 'ca.crt'}: for every member; {output / 'ca.key'}: signs server certificates, keep it apart and secret")
    typer.echo(f"{output / 'server.crt'}, {output / 'server.key'}: for flower-server, names {', '.join(host)}")


@pki_app.command()
def keygen(output: Annotated[Path, typer.Argument(help="The file of the private key; the public one is beside it, with .pub.")]) -> None:
    """Make a node key; its owner keeps it and sends the .pub file to the organiser."""
    from clients.node_keys import make_node_key

    private, public = make_node_key(output.stem)
    _write_pair(output, private, output.with_name(output.name + ".pub"), public)
    typer.echo(f"{output}: secret, for flower-client --key; {output}.pub: for the organiser's members folder")


@pki_app.command()
def invite(
    name: Annotated[str, typer.Argument(help="The member, as it will be called in logs.")],
    server: Annotated[str, typer.Option(help="HOST:PORT under which the member reaches the server.")],
    ca: Annotated[Path, typer.Option(help="ca.crt of 'lunaria certs'.")],
    agreement: Annotated[Path, typer.Option(help="The agreement.toml that the member is to accept.")],
    members: Annotated[Path, typer.Option(help="The folder of node keys that flower-server reads.")] = Path("members"),
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The file to write. [default: NAME.invitation.toml]")] = None,
) -> None:
    """Make a member's invitation: one file with which flower-client takes part. It is secret: send it as you send a password."""
    from clients.address import parse_address
    from clients.errors import MemberError

    with installed("federation"):
        from clients.invitation import Invitation
    from clients.node_keys import make_node_key
    from ledger.agreement import read

    if not _NAME.fullmatch(name):
        raise ServerError(f"{name!r} cannot name a file: use letters, digits, '.', '_' and '-'")
    try:
        parse_address(server)
    except MemberError as error:
        raise ServerError(f"--server: {error}") from error
    read(agreement)
    text, authority = read_file(agreement, _MAX_SIZE).decode(), read_file(ca, _MAX_SIZE).decode("ascii", "replace")
    if "BEGIN CERTIFICATE" not in authority:
        raise ServerError(f"{ca} holds no certificate: give ca.crt of 'lunaria certs'")
    private, public = make_node_key(name)
    path = output or Path(f"{name}.invitation.toml")
    invitation = Invitation(name=name, server=server, ca=authority, node_key=private, agreement=text)
    _write_pair(path, invitation.encode(), members / f"{name}.pub", public)
    typer.echo(f"{path}: for {name}, secret; {members / f'{name}.pub'}: lets it in when flower-server starts next")


def _write_pair(secret: Path, secret_text: str, public: Path, public_text: str) -> None:
    """Write two new files, the first for its owner only."""
    from clients.private import secret_file

    try:
        public.parent.mkdir(parents=True, exist_ok=True)
        if public.exists():
            raise ServerError(f"{public} exists: choose another name")
        if not secret_file(secret, secret_text.encode()):
            raise ServerError(f"{secret} exists: choose another name, or move it away")
        public.write_text(public_text, encoding="utf-8")
    except OSError as error:
        raise ServerError(f"cannot write {error.filename}: {error.strerror}") from error
