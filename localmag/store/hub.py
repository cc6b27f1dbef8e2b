"""The hub as localmag asks it: one listing, one stream of bytes, and its failures in our words.

Requests go through huggingface_hub's own session, so that its settings hold (HF_ENDPOINT, HF_TOKEN, proxies,
HF_HUB_OFFLINE). The bytes of a file are asked for directly, by range: the client's own download starts from
nothing each time, and 14 GB are too many to lose.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, constants, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # it loads lazily

from localmag import __version__
from localmag.errors import HubFailed, LocalmagError, NotFound

logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its warnings are told in our own words
constants.HF_HUB_DISABLE_TELEMETRY = True  # which else looks at what runs localmag, and tells

TRANSIENT = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
"""What a request may fail with that a second one may not; `unreachable` tells those where it is in vain."""

_BUSY = (408, 429, 500, 502, 503, 504)
_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try of a request that the hub was too busy for
_PATIENCE = 60.0  # the longest wait, in seconds, that the hub may ask of us
_TIMEOUT = httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT)  # seconds to connect, and for any next byte

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")

_T = TypeVar("_T")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Remote:
    """One file of a repository. `size` is bytes; `etag` its SHA-256, or the git SHA-1 of a small file."""

    path: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit, as the hub lists it."""

    repo: str
    commit: str
    files: tuple[Remote, ...]
    licence: str


def listing(repo: str, tell: Tell) -> Listing:
    """What the hub has under `repo` now, having made sure that it would let us fetch it.

    Raises NotFound if there is no such repository, HubFailed if the hub cannot be reached, wants a login, or
    answers nonsense.
    """
    api = HfApi(library_name="localmag", library_version=__version__)
    with failures(repo):
        try:
            info = patiently(lambda: api.model_info(repo, files_metadata=True, timeout=10), tell)
        except (LookupError, TypeError) as exc:
            raise ValueError("JSON, but no listing") from exc
        if info.gated:
            patiently(lambda: _require_access(repo), tell)
        files = [
            Remote(s.rfilename, s.lfs.size, s.lfs.sha256) if s.lfs else Remote(s.rfilename, s.size, s.blob_id)
            for s in info.siblings or []
            if s.size is not None and s.blob_id and s.rfilename.isprintable()
        ]
        card = info.card_data
        licence = str(getattr(card, "license", None) or "")
    if not info.sha or not files:
        raise HubFailed(f"The hub's listing of {repo} is empty.", "Check HF_ENDPOINT, and try again later.")
    return Listing(repo, info.sha, tuple(files), licence)


def _require_access(repo: str) -> None:
    """The client's own `auth_check`, which would wait for an answer for ever."""
    url = f"{constants.ENDPOINT}/api/models/{repo}/auth-check"
    hf_raise_for_status(get_session().get(url, headers=_headers(), timeout=_TIMEOUT))


def _headers() -> dict[str, str]:
    return build_hf_headers(library_name="localmag", library_version=__version__)


@dataclass(frozen=True, slots=True)
class Stream:
    """A file's bytes as they come. The first one's place is `start`, 0 if the range was ignored; `size` is
    the whole file's as this answer tells it (None: it does not), which a login page's would not be.
    """

    start: int
    size: int | None
    chunks: Iterator[bytes]


@contextmanager
def stream(repo: str, commit: str, path: str, start: int) -> Iterator[Stream]:
    """Ask for the file's bytes from `start` on.

    Raises what the hub's client raises: the caller decides what is worth another try.
    """
    headers = _headers() | {"Accept-Encoding": "identity"}  # the digest is of the file's own bytes
    if start:
        headers["Range"] = f"bytes={start}-"
    url = hf_hub_url(repo, path, revision=commit)
    # Redirects are followed anew each time: the address of the bytes is signed for a short while only.
    with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT, follow_redirects=True) as answer:
        hf_raise_for_status(answer)
        if found := _RANGE.fullmatch(answer.headers.get("Content-Range", "")):
            yield Stream(int(found[1]), int(found[2]), answer.iter_bytes())
        else:
            told = "" if "Content-Encoding" in answer.headers else answer.headers.get("Content-Length", "")
            yield Stream(0, int(told) if told.isdigit() else None, answer.iter_bytes())


def patiently(call: Callable[[], _T], tell: Tell) -> _T:
    """The call's answer, asked for again where the hub is too busy (429, 5xx), ever more slowly."""
    for wait in _WAITS:
        try:
            return call()
        except HfHubHTTPError as exc:
            pause = busy(exc, wait)
            if pause is None:
                raise
            tell(f"The hub is busy ({exc.response.status_code}); trying again in {pause:.0f} s.")
            time.sleep(pause)
    return call()


def busy(exc: HfHubHTTPError, wait: float) -> float | None:
    """Seconds to wait before asking again: as many as the hub wants, else `wait`. None: it is in vain."""
    if exc.response.status_code not in _BUSY:
        return None
    wanted = exc.response.headers.get("Retry-After", "")
    pause = float(wanted) if wanted.isdecimal() else wait
    return pause if pause <= _PATIENCE else None


def unreachable(exc: Exception) -> bool:
    """Whether there was not even a connection: no second try would help, and the user should know at once."""
    return isinstance(exc, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError)


@contextmanager
def failures(repo: str) -> Iterator[None]:
    """Whatever the hub's client raises inside, in localmag's words."""
    try:
        yield
    except LocalmagError:
        raise
    except (OfflineModeIsEnabled, HFValidationError, ValueError, OSError) as exc:
        raise _said(repo, exc) from exc
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        raise _untransported(exc) from exc


def _said(repo: str, exc: Exception) -> LocalmagError:
    match exc:
        case OfflineModeIsEnabled():
            return HubFailed(
                "Nothing can be fetched, because HF_HUB_OFFLINE is set.", "Unset it and run this again."
            )
        case HFValidationError():
            return NotFound(f"{repo!r} is not the name of a repository.", "It must look like owner/name.")
        case GatedRepoError():
            return HubFailed(
                f"{repo} is open only to those who accepted its terms.",
                f"Accept them at {constants.ENDPOINT}/{repo}, run `hf auth login`, and then this again.",
            )
        case HfHubHTTPError():
            return _answered(repo, exc, exc.response.status_code)
        case OSError():
            raise exc  # the disk's, not the hub's
        case _:
            return HubFailed(
                f"What answered for the hub about {repo} is no hub ({type(exc).__name__}).",
                "Check HF_ENDPOINT, the proxy, and whether this network wants a login page first.",
            )


def _answered(repo: str, exc: HfHubHTTPError, status: int) -> LocalmagError:
    if status in (401, 403):
        return HubFailed(
            f"The hub refuses {repo} ({status}): it is private, gated or not there, or the login is wrong.",
            "Log in with `hf auth login` (or set HF_TOKEN) as someone who may read it, and run this again.",
        )
    if isinstance(exc, RemoteEntryNotFoundError | RevisionNotFoundError):
        return NotFound(f"The hub no longer has what it listed in {repo}.", "Run this again.")
    if isinstance(exc, RepositoryNotFoundError) or status == 404:
        return NotFound(f"The hub has no repository {repo}.", "Check its name in the catalogue.")
    if status == 429:
        return HubFailed(
            "The hub says that it was asked too often (429).", "Wait some minutes; run this again."
        )
    return HubFailed(f"The hub answered with an error ({status}) about {repo}.", "Run this again later.")


def _untransported(exc: Exception) -> HubFailed:
    if unreachable(exc):
        return HubFailed(f"The hub at {constants.ENDPOINT} cannot be reached.", "Check the network.")
    if isinstance(exc, httpx2.TimeoutException):
        return HubFailed("The hub stopped answering.", "Check the network, and run this again to go on.")
    return HubFailed("The connection to the hub broke.", "Check the network, and run this again to go on.")
