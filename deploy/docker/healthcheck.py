"""Whether what a container is for goes on: ``healthcheck.py http URL``, or ``healthcheck.py process NAME``; exit code 0 or 1.

It asks on loopback, inside the container, so it does not check the certificate, which is for other names.
"""

import ssl
import sys
import urllib.request
from pathlib import Path


def main(kind: str, what: str) -> int:
    """Return an exit code."""
    if kind == "process":
        return 0 if any(Path(word).name == what for line in _command_lines() for word in line) else 1
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(what, timeout=5, context=context) as answer:  # noqa: S310 - the URL is in the image
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(error)
        return 1


def _command_lines() -> list[list[str]]:
    """Return the words of every other process's command line (proc(5))."""
    own, found = str(Path("/proc/self").resolve()), []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(path.parent) != own:
                found.append(path.read_text(encoding="utf-8", errors="replace").split("\0"))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
