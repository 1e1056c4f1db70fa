"""No test reaches another machine."""

import socket
import urllib.error
import urllib.request

import pytest

ELSEWHERE = "192.0.2.1"
"""An address that is nobody's (RFC 5737)."""


@pytest.mark.parametrize("url", [f"http://{ELSEWHERE}/", "http://example.org/", "http://[2001:db8::1]/"])
def test_a_request_to_another_machine_is_refused_at_once(url):
    with pytest.raises(urllib.error.URLError, match="a test reaches for another machine"):
        urllib.request.urlopen(url)


@pytest.mark.parametrize("call", ["connect", "connect_ex"])
def test_a_socket_connects_on_this_machine_alone(call):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as near, socket.socket() as far:
        assert not getattr(near, call)(server.getsockname())
        with pytest.raises(OSError, match=ELSEWHERE):
            getattr(far, call)((ELSEWHERE, 80))
