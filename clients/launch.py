"""What stands in for ``flwr-clientapp``: it asks the prepared process for a fork, and becomes a process of its own where there is none.

It is run as a file, by ``python -I -S``, and imports little: it starts in milliseconds (``launch.py FOLDER MODULE ARGUMENTS...``). The
socket in the state folder is named relative to it, since the path of a socket may have 107 bytes only (unix(7)).
"""

import json
import os
import socket
import sys

SOCKET = "prepared.sock"
BEGUN = b"+"


def ask(folder: str, arguments: list[str]) -> int | None:
    """Have the message answered by a fork of the prepared process.

    Returns
    -------
    int or None
        The exit code of the fork; None when nothing was begun.
    """
    here = os.getcwd()
    request = json.dumps({"arguments": arguments, "folder": here, "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            os.chdir(folder)
            connection.connect(SOCKET)
            socket.send_fds(connection, [len(request).to_bytes(4, "big")], [1, 2])
            connection.sendall(request)
            begun = connection.recv(1)
        except OSError:
            return None
        finally:
            os.chdir(here)
        if begun != BEGUN:
            return None
        try:
            code = connection.recv(1)  # nothing comes if the prepared process ends, and the fork with it
        except OSError:
            return 1
    return code[0] if code else 1


if __name__ == "__main__":
    state, module, *rest = sys.argv[1:]
    ended = ask(state, rest)
    if ended is None:
        os.execv(sys.executable, [sys.executable, "-m", module, *rest])  # noqa: S606 - no shell
    sys.exit(ended)
