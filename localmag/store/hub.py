"""The hub as localmag asks it: one listing, one stream of bytes, and its failures in our words.

The bytes of a file are asked for directly, by range, over one connection. The client's own download starts
from nothing each time, and 14 GB are too many to lose. Nor is Xet used where the hub offers it: what makes it
quick is several ranges of 65 MB at once, held in memory, of which a kill lost up to 261 MB; this way it loses
less than one (docs/log.md).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from localmag.errors import HubFailed, LocalmagError, NotFound
from localmag.forms import shown
from localmag.store import transport
from localmag.store.client import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    ModelInfo,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    constants,
    hf_hub_url,
    validate_repo_id,
)

_BUSY = (408, 429, 500, 502, 503, 504)
_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try of a request that the hub was too busy for
_PATIENCE = 60.0  # the longest wait, in seconds, that the hub may ask of us
_LISTING_BYTES = 64 * 2**20  # more than any: a repository of 100,000 files takes 30 MB
_LISTING_S = 60.0
_LONGEST_NAME = 500  # characters, folders included; no file system takes many more
_LONGEST_LICENCE = 120  # characters

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SECONDS = re.compile(r"\bt=(\d{1,9})\b")  # of the hub's RateLimit header, as `"api";r=0;t=57`
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")

_T = TypeVar("_T")
Tell = Callable[[str], None]


class Refused(HubFailed):
    """The hub does not show this repository to this user, or there is none: it tells nobody which."""


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
    with failures(repo):
        validate_repo_id(repo)
        url = f"{constants.ENDPOINT}/api/models/{repo}"
        told = patiently(lambda: _json(f"{url}?blobs=true"), tell)
        try:
            info = ModelInfo(**told)  # type: ignore[no-untyped-call]
            files, refused = _apart(info.siblings or [])
            licence = _licence(info)
        except (LookupError, TypeError, AttributeError) as exc:
            raise ValueError("JSON, but no listing") from exc
        if info.gated:
            patiently(lambda: _require_access(f"{url}/auth-check"), tell)
    left_out = (
        f"{len(refused)} of the files that the hub lists in {repo} cannot be fetched: {''.join(refused[:1])}."
    )
    if refused and not files:
        raise HubFailed(left_out, "Check HF_ENDPOINT, and that this repository is to be trusted.")
    if not info.sha or not files:
        raise HubFailed(f"The hub's listing of {repo} is empty.", "Check HF_ENDPOINT, and try again later.")
    if refused:
        tell(left_out)
    return Listing(repo, str(info.sha), files, licence)


def _json(url: str) -> Any:
    until, body = time.monotonic() + _LISTING_S, bytearray()
    with transport.answer(url) as (_, response):
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > _LISTING_BYTES or time.monotonic() > until:
                raise ValueError("no listing ever was so long")
    try:
        return json.loads(body)
    except RecursionError as exc:
        raise ValueError("no listing ever was so deep") from exc


def _apart(siblings: Iterable[Any]) -> tuple[tuple[Remote, ...], list[str]]:
    """The files as the listing tells them, and of those that cannot be used each one's name, and why."""
    files, refused = [], []
    for sibling in siblings:
        name, lfs = sibling.rfilename, sibling.lfs
        size, etag = (lfs.size, lfs.sha256) if lfs else (sibling.size, sibling.blob_id)
        if type(size) is not int or size < 0 or not isinstance(etag, str):
            refused.append(f"{shown(name)} has no size or no digest")
        elif not name.isprintable():
            refused.append(f"{shown(name)} has control characters in its name")
        elif len(name) > _LONGEST_NAME:
            refused.append(f"the name {shown(name)} is too long")
        else:
            files.append(Remote(name, size, etag))
    return tuple(files), refused


def _licence(info: ModelInfo) -> str:
    """As `apache-2.0`, or the name (and address) of one of the repository's own."""
    card = info.card_data
    name, own, link = (getattr(card, key, None) for key in ("license", "license_name", "license_link"))
    told = f"{own or name or ''}" + (f" ({link})" if own and link else "")
    return told if len(told) <= _LONGEST_LICENCE else f"{told[:_LONGEST_LICENCE]}…"


def _require_access(url: str) -> None:
    """What the client's `auth_check` asks, which would wait for an answer for ever."""
    with transport.answer(url):
        pass


@dataclass(frozen=True, slots=True)
class Stream:
    """A file's bytes as they come. The first one's place is `start`, 0 if the range was ignored; `size` is
    the whole file's as this answer tells it (None: it does not), which a login page's would not be.
    """

    start: int
    size: int | None
    chunks: Iterator[bytes]


@contextmanager
def stream(repo: str, commit: str, file: Remote, start: int) -> Iterator[Stream]:
    """Ask for the file's bytes from `start` on.

    Raises what the hub's client raises (the caller decides what is worth another try), and HubFailed where
    the hub now has other bytes under that name.
    """
    ranged = {"Range": f"bytes={start}-"} if start else {}
    # Redirects are followed anew each time: the address of the bytes is signed for a short while only.
    with transport.answer(hf_hub_url(repo, file.path, revision=commit), **ranged) as (own, response):
        _require_same(repo, file, own)
        length = response.headers.get("Content-Length", "")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            yield Stream(0, -1, iter(()))  # not the file's own bytes, which were asked for
        elif found := _RANGE.fullmatch(response.headers.get("Content-Range", "")):
            yield Stream(int(found[1]), int(found[2]), response.iter_raw())
        else:
            yield Stream(0, int(length) if length.isdecimal() else None, response.iter_raw())


def _require_same(repo: str, file: Remote, own: httpx2.Response) -> None:
    """Notice before 14 GB have arrived that they are not those that were listed, or not as many."""
    linked = _SHA256.search(own.headers.get("X-Linked-Etag", ""))
    if linked and len(file.etag) == 64 and linked[0] != file.etag:
        raise HubFailed(
            f"{file.path} of {repo} has changed since it was listed.",
            "Run this again to fetch what is there now.",
        )
    length = own.headers.get("X-Linked-Size", "")
    if length.isdecimal() and length != str(file.size):
        raise HubFailed(
            f"The hub listed {file.path} of {repo} with {file.size} bytes, and now says {shown(length)}.",
            "Run this again later, and check HF_ENDPOINT.",
        )


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
    pause = _wanted(exc.response.headers)
    pause = wait if pause is None else pause
    return pause if pause <= _PATIENCE else None


def _wanted(headers: httpx2.Headers) -> float | None:
    """Seconds that the hub asks for: by Retry-After, as a number or a date, or by its own RateLimit."""
    told = headers.get("Retry-After", "")
    if told.isdecimal():
        return float(told)
    with suppress(ValueError):
        moment = parsedate_to_datetime(told)
        if moment.tzinfo is None:  # "-0000", which leaves the zone open
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    found = _SECONDS.search(headers.get("RateLimit", ""))
    return float(found[1]) if found else None


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
            return Refused(
                f"{repo} is open only to those who accepted its terms.",
                f"Accept them at {transport.endpoint()}/{repo}, log in with `hf auth login` "
                "(or set HF_TOKEN), and run this again.",
            )
        case HfHubHTTPError():
            return _answered(repo, exc, exc.response.status_code)
        case OSError():
            raise exc  # the disk's, not the hub's
        case UnicodeEncodeError():  # by a header, of which only the login is not our own
            return HubFailed("The login holds letters that none has.", "Set HF_TOKEN anew, or log in anew.")
        case _:
            return HubFailed(
                f"What answered for the hub about {repo} is no hub ({type(exc).__name__}).",
                "Check HF_ENDPOINT, the proxy, and whether this network wants a login page first.",
            )


def _answered(repo: str, exc: HfHubHTTPError, status: int) -> LocalmagError:
    if status in (401, 403):
        return Refused(
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
    if transport.unreachable(exc):
        return HubFailed(
            f"The hub at {transport.endpoint()} cannot be reached ({str(exc)[:120]}).",
            "Check the network, and the proxy if there is one.",
        )
    if isinstance(exc, httpx2.TimeoutException):
        return HubFailed("The hub stopped answering.", "Check the network, and run this again to go on.")
    return HubFailed("The connection to the hub broke.", "Check the network, and run this again to go on.")
