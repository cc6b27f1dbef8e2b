"""Keeps tests, and every Python process that they start, off the network.

`tests/conftest.py` imports this file and puts its folder on `PYTHONPATH`, where Python itself imports it
by its name when it starts. An audit hook sees each connection before it is made, costs no import, and
cannot be taken off again. Packages that `LOCALMAG_TEST_HIDES` names are hidden (see hiding.py).
"""

from __future__ import annotations

import errno
import os
import sys

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0", "::ffff:127.")


def allowed(host: object) -> bool:
    """Whether `host` is this machine. A path (AF_UNIX) is, and so is no host at all."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    return not isinstance(host, str) or host in ("", "::") or host.startswith((*LOOPBACK, "/", "\0"))


def refuse_the_network(event: str, args: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        host = address[0] if isinstance(address, tuple) and address else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    if not allowed(host):
        raise OSError(errno.ENETUNREACH, f"a test tried to reach {host!r}")


sys.addaudithook(refuse_the_network)

if hidden := os.environ.get("LOCALMAG_TEST_HIDES"):
    import hiding

    hiding.hide(hidden.split(","))
