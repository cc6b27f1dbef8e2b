"""One request to the hub, such that whoever answers can neither keep us waiting nor send us astray.

Requests go through huggingface_hub's own session, so that its settings hold (HF_ENDPOINT, HF_TOKEN, proxies,
HF_HUB_OFFLINE). Redirects are followed here, one by one: to web addresses only, never from https to http, and
with the login for the hub's own host alone.
"""

from __future__ import annotations

import logging
import queue
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from localmag import __version__
from localmag.errors import HubFailed
from localmag.store.client import (
    OfflineModeIsEnabled,
    build_hf_headers,
    constants,
    get_session,
    hf_raise_for_status,
)

logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its warnings are told in our own words
constants.HF_HUB_DISABLE_TELEMETRY = True  # which else looks at what runs localmag, and tells

TRANSIENT = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
"""What a request may fail with that a second one may not; `unreachable` tells those where it is in vain."""

_KNOCK_S = 8.0  # seconds within which somebody must open, name look-up and all addresses together
_TIMEOUT = httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT, connect=5.0)  # seconds; for any next byte
_PORTS = {"http": 80, "https": 443}
_HOPS = 8  # redirects in a row; the hub needs two
_LOGIN = re.compile(r"//[^/?#]*@")
_TELLING = ("X-Error-Code", "X-Error-Message", "Retry-After", "RateLimit")


@contextmanager
def answer(url: str, **headers: str) -> Iterator[tuple[httpx2.Response, httpx2.Response]]:
    """Ask the hub for `url`: its own last answer, and the one that this led to (often the same), unread.

    Raises what the hub's client raises, and HubFailed where a redirect is not to be followed.
    """
    session = get_session()
    ours = build_hf_headers(library_name="localmag", library_version=__version__)
    ours |= {"Accept-Encoding": "identity", **headers}  # digests and limits are of the bytes themselves
    request = session.build_request("GET", url, headers=ours, timeout=_TIMEOUT)
    _require_reachable(request.url)
    origin, own = request.url.origin, None
    for _ in range(_HOPS):
        response = session.send(request, stream=True, follow_redirects=False)
        try:
            if own is None or response.request.url.origin == origin:
                own = response
            if not response.has_redirect_location:
                _raise_for_status(response)
                yield own, response
                return
        finally:
            response.close()
        request = following(response)
    raise HubFailed("The hub sends us from one address to the next without end.", "Check HF_ENDPOINT.")


def endpoint() -> str:
    """The hub's address as it may be shown: without the name and password that a mirror's may hold."""
    return _LOGIN.sub("//", constants.ENDPOINT)


def unreachable(exc: Exception) -> bool:
    """Whether there was not even a connection: no second try would help, and the user should know at once."""
    return isinstance(exc, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError)


def following(response: httpx2.Response) -> httpx2.Request:
    """The request that a redirect asks for, which the client has freed of the login for other hosts.

    Raises HubFailed where it is not to be made.
    """
    request, here = response.next_request, response.request.url
    safer = {"https": ("https",), "http": ("http", "https")}
    if request is None or request.url.scheme not in safer.get(here.scheme, ()):
        where = response.headers.get("Location", "")[:80]
        raise HubFailed(
            f"{here.host} sends us on to {where!r}, where no download should go.",
            "Check HF_ENDPOINT, the proxy, and whether this network wants a login page first.",
        )
    return request


def _raise_for_status(response: httpx2.Response) -> None:
    """The client's own, which would read a failure's body to the end, however long that is."""
    if not response.is_error:
        return
    told = {name: response.headers[name] for name in _TELLING if name in response.headers}
    hf_raise_for_status(httpx2.Response(response.status_code, headers=told, request=response.request))


def _require_reachable(url: httpx2.URL) -> None:
    """Find out within seconds whether anybody is there at all.

    Looking up a name has no time limit of its own and connecting has one for each address, so that a cut
    cable would otherwise be told only after a minute. Raises ConnectError, as the client does.
    """
    if url.scheme not in _PORTS or not url.host:
        raise HubFailed(
            f"HF_ENDPOINT is {endpoint()[:80]!r}, which is no web address.",
            "Unset it, or set it to one like https://huggingface.co.",
        )
    if constants.HF_HUB_OFFLINE:
        raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
    proxies = urllib.request.getproxies()
    if (proxies.get(url.scheme) or proxies.get("all")) and not urllib.request.proxy_bypass(url.host):
        return  # it is the proxy's to say
    host = url.raw_host.decode("ascii")
    outcome: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def knock() -> None:
        try:
            socket.create_connection((host, url.port or _PORTS[url.scheme]), timeout=_KNOCK_S).close()
        except (OSError, UnicodeError) as exc:  # of a name that is none
            outcome.put(exc)
        else:
            outcome.put(None)

    threading.Thread(target=knock, name="knock", daemon=True).start()
    try:
        failure = outcome.get(timeout=_KNOCK_S)
    except queue.Empty:
        failure = TimeoutError(f"no answer within {_KNOCK_S:.0f} s")
    if failure:
        raise httpx2.ConnectError(str(failure)) from failure
