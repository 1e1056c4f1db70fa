"""A machine without a network: what tests reach is on this machine, as on many a cluster's node."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def is_here(host: Any) -> bool:
    """Whether a name or an address is this machine's own, asked of no name server."""
    if host in (None, "", b"", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def offline() -> Iterator[None]:
    """Within it an internet address elsewhere is neither looked up nor connected to: OSError with the address."""
    look_up, connect, try_to_connect = socket.getaddrinfo, socket.socket.connect, socket.socket.connect_ex

    def check(host: Any) -> None:
        if not is_here(host):
            raise OSError(f"a test reaches for another machine: {host}")

    def looked_up(host: Any, *arguments: Any, **options: Any) -> Any:
        check(host)
        return look_up(host, *arguments, **options)

    def connected(this: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            check(address[0])
        connect(this, address)

    def tried(this: socket.socket, address: Any) -> int:
        if isinstance(address, tuple):
            check(address[0])
        return try_to_connect(this, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", looked_up)
        patch.setattr(socket.socket, "connect", connected)
        patch.setattr(socket.socket, "connect_ex", tried)
        yield
