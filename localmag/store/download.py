"""The bytes of one file, brought over as many connections as it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from localmag.errors import HubFailed
from localmag.store import hub, transport
from localmag.store.client import HfHubHTTPError
from localmag.store.hub import Remote

_NOTICE_S = 0.5
_TRIES = 3  # connections in a row that may bring nothing before it is an error


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing arrives just now; another try follows in `seconds`."""

    why: str
    seconds: float


def append(repo: str, commit: str, file: Remote, out: BinaryIO) -> Iterator[int | Waiting]:
    """Append to `out`, unbuffered, what it lacks of the file, and tell how many bytes it holds.

    Each connection goes on where the last one broke off; none is given up while it brings something. Raises
    HubFailed and NotFound as `hub.failures` does, and OSError where `out` cannot be written.
    """
    done, in_vain, ranged = out.tell(), 0, True
    while done < file.size:
        before, wait = done, 0.0
        with hub.failures(repo):
            try:
                for chunk in _from(repo, commit, file, done, ranged=ranged):
                    _write(out, chunk)
                    done += len(chunk)
                    yield done
            except HfHubHTTPError as exc:
                if exc.response.status_code == 416 and ranged:
                    ranged = False  # whoever cannot count may still know how to begin at the beginning
                else:
                    wait = _pause(exc, in_vain)
            except transport.TRANSIENT as exc:
                if transport.unreachable(exc) or (done == before and in_vain + 1 >= _TRIES):
                    raise
        in_vain = 0 if done > before else in_vain + 1
        if in_vain >= _TRIES and not wait:
            raise HubFailed(
                f"What answers for {file.path} is not that file.",
                "Check the proxy, and whether this network has a login page; then run this again to go on.",
            )
        if wait or in_vain:
            yield from _wait("the hub is busy" if wait else "the connection broke", wait or 1.0)


def _from(repo: str, commit: str, file: Remote, start: int, *, ranged: bool) -> Iterator[bytes]:
    """The file's bytes from `start` on, as far as one connection brings them; nothing of another file."""
    with hub.stream(repo, commit, file, start if ranged else 0) as answer:
        known = answer.size == file.size or (answer.size is None and not start)
        if not known or answer.start > start:
            return
        at = answer.start  # 0 where ranges are ignored: what is here already passes by once more
        for chunk in answer.chunks:
            fresh = chunk[max(0, start - at) : file.size - at]
            at += len(chunk)
            if fresh:
                yield fresh
            if at >= file.size:
                return


def _wait(why: str, seconds: float) -> Iterator[Waiting]:
    """Told again and again, so that whoever wants to stop can do so meanwhile."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        yield Waiting(why, left)
        time.sleep(min(left, _NOTICE_S))


def _write(out: BinaryIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[out.write(left) :]


def _pause(exc: HfHubHTTPError, in_vain: int) -> float:
    """Seconds until the next try; raises `exc` if there is to be none."""
    wait = hub.busy(exc, float(2**in_vain))
    if wait is None or in_vain > _TRIES:
        raise exc
    return wait
