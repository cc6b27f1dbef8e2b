"""A hub on 127.0.0.1 that speaks what huggingface_hub really uses, and fails on demand.

    hub = Hub()
    hub.add("mistralai/Magistral-Small-2509-GGUF", {"x.gguf": b"…"})
    hub.faults.append(Cut("x.gguf", after=1000))
    with hub: run(env={"HF_ENDPOINT": hub.url})

It serves the listing (`/api/models/{repo}` with `blobs=true`), the auth check, and files: the hub's own
address answers with `X-Repo-Commit`, `X-Linked-Etag`, `X-Linked-Size` and a redirect to another origin (the
"CDN", the same server under another host name), which serves ranges and never sees the login.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK = 64 * 1024


# ── What it has ───────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class File:
    """One file: bytes, or a path whose bytes are streamed. `lfs` files are named by their SHA-256."""

    source: bytes | Path
    lfs: bool = True
    etag: str = ""
    claimed: int = -1  # the size that the listing tells, where it lies

    @property
    def size(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            for at in range(start, end, _CHUNK):
                yield self.source[at : min(at + _CHUNK, end)]
            return
        with self.source.open("rb") as file:
            file.seek(start)
            while start < end and (block := file.read(min(1 << 20, end - start))):
                start += len(block)
                yield block


@dataclass(slots=True)
class Repo:
    files: dict[str, File]
    commit: str
    gated: bool = False
    licence: str = "apache-2.0"
    card: dict[str, str] = field(default_factory=dict)
    token: str = ""  # who shows it may read the files of a gated or private repository
    private: bool = False


# ── What can go wrong ─────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Fault:
    """Something that goes wrong with requests whose path ends in `path`, the first `times` of them."""

    path: str
    times: int = 1_000_000
    on_cdn: bool = True  # whether it happens where the bytes are, or at the hub's own address

    def hits(self, path: str, cdn: bool) -> bool:
        if self.times <= 0 or not path.endswith(self.path) or cdn != self.on_cdn:
            return False
        self.times -= 1
        return True


@dataclass(slots=True)
class Status(Fault):
    """Answers with this status and headers instead."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Cut(Fault):
    """Promises the whole and breaks the connection after so many bytes of this answer."""

    after: int = 0


@dataclass(slots=True)
class Truncate(Fault):
    """Sends so many bytes as if they were all."""

    after: int = 0


@dataclass(slots=True)
class Stall(Fault):
    """Sends so many bytes, and then nothing for `seconds`."""

    after: int = 0
    seconds: float = 60.0


@dataclass(slots=True)
class Flip(Fault):
    """Flips one bit of the byte at `at`."""

    at: int = 0


@dataclass(slots=True)
class NoRanges(Fault):
    """Answers a range with the whole file."""


@dataclass(slots=True)
class RangesRefused(Fault):
    """Answers 416 to each range, and only to those."""


@dataclass(slots=True)
class Swap(Fault):
    """Where the bytes are: sends others, as many. At the hub's own address: says that it has others now."""


@dataclass(slots=True)
class Redirect(Fault):
    """Sends the client on to `to`, in which {cdn} is the other origin of this server."""

    to: str = ""


@dataclass(slots=True)
class Say(Fault):
    """Answers 200 (or `status`) with these headers and this body, sent again and again if it is `endless`."""

    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    endless: bool = False


# ── The hub ───────────────────────────────────────────────────────────────────────────────────────


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error of ours."""


class Hub:
    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, bool]] = []  # (method, path, whether a login came along)
        self.sent: dict[str, int] = {}  # bytes of each file that left this server
        self.slow = 0.0  # seconds to sleep after each block of a file
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))

    def reset(self) -> None:
        """As new, at the same address."""
        self.repos, self.faults, self.asked, self.sent, self.slow = {}, [], [], {}, 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def cdn(self) -> str:
        return f"http://localhost:{self._server.server_address[1]}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo: str, files: Mapping[str, bytes | Path], **how: Any) -> Repo:
        """A repository of these files. Small texts are plain git files, all else LFS, as on the real hub."""
        made = {name: _file(name, source) for name, source in files.items()}
        commit = hashlib.sha1(repr([(n, f.etag) for n, f in made.items()]).encode()).hexdigest()
        self.repos[repo] = Repo(made, commit, **how)
        return self.repos[repo]

    def fault(self, path: str, cdn: bool) -> Fault | None:
        with self._lock:
            return next((f for f in self.faults if f.hits(path, cdn)), None)

    def count(self, name: str, sent: int) -> None:
        with self._lock:
            self.sent[name] = self.sent.get(name, 0) + sent


def _file(name: str, source: bytes | Path) -> File:
    lfs = isinstance(source, Path) or name.endswith((".gguf", "tekken.json"))
    if not lfs:
        assert isinstance(source, bytes)
        return File(source, False, hashlib.sha1(b"blob %d\0" % len(source) + source).hexdigest())
    digest = hashlib.sha256()
    for block in (probe := File(source)).blocks(0, probe.size):
        digest.update(block)
    return File(source, True, digest.hexdigest())


def _listing(name: str, repo: Repo) -> dict[str, Any]:
    siblings = []
    for path, file in repo.files.items():
        size = file.size if file.claimed < 0 else file.claimed
        entry: dict[str, Any] = {"rfilename": path, "size": size, "blobId": file.etag[:40]}
        if file.lfs:
            entry["lfs"] = {"sha256": file.etag, "size": size, "pointerSize": 135}
        siblings.append(entry)
    return {
        "_id": "0", "id": name, "modelId": name, "sha": repo.commit, "private": repo.private,
        "gated": "auto" if repo.gated else False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
        "cardData": {"license": repo.licence, **repo.card}, "siblings": siblings,
    }  # fmt: skip


_API = re.compile(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+|/auth-check)?")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path = unquote(url.path)
            login = self.headers.get("Authorization", "")
            hub.asked.append((self.command, path, bool(login)))
            cdn = self.headers.get("Host", "").startswith("localhost")
            fault = hub.fault(path, cdn)
            if isinstance(fault, Status):
                self.answer(fault.status, b"{}", **fault.headers)
            elif isinstance(fault, Redirect):
                self.answer(302, b"", Location=fault.to.format(cdn=hub.cdn))
            elif isinstance(fault, Say):
                self.say(fault)
            elif cdn and path.count("/") < 4:
                self.answer(404, b"{}")
            elif cdn:
                self.content(path, fault)
            elif found := _API.fullmatch(path):
                self.api(found[1], found[2] or "", login, parse_qs(url.query))
            elif found := _RESOLVE.fullmatch(path):
                self.resolve(found[1], found[2], found[3], login, isinstance(fault, Swap))
            else:
                self.answer(404, b"{}")

        def api(self, name: str, what: str, login: str, query: dict[str, list[str]]) -> None:
            repo = self.readable(name, login, listing=what != "/auth-check")
            if repo is None:
                return
            if what == "/auth-check":
                self.answer(200, b"{}")
                return
            listing = _listing(name, repo)
            if query.get("blobs") != ["True"] and query.get("blobs") != ["true"]:
                listing["siblings"] = [{"rfilename": s["rfilename"]} for s in listing["siblings"]]
            self.answer(200, json.dumps(listing).encode(), **{"Content-Type": "application/json"})

        def readable(self, name: str, login: str, listing: bool) -> Repo | None:
            repo = hub.repos.get(name)
            known = repo and login == f"Bearer {repo.token}"
            if repo is None or (repo.private and not known):
                self.answer(
                    401, b'{"error":"Invalid username or password."}', **{"X-Error-Code": "RepoNotFound"}
                )
                return None
            if repo.gated and not known and not listing:
                status = 403 if login else 401
                self.answer(status, b"{}", **{"X-Error-Code": "GatedRepo"})
                return None
            return repo

        def resolve(self, name: str, revision: str, path: str, login: str, swapped: bool) -> None:
            repo = self.readable(name, login, listing=False)
            if repo is None:
                return
            if revision not in ("main", repo.commit):
                self.answer(404, b"{}", **{"X-Error-Code": "RevisionNotFound"})
                return
            file = repo.files.get(path)
            facts = {"X-Repo-Commit": repo.commit}
            if file is None:
                self.answer(404, b"{}", **facts, **{"X-Error-Code": "EntryNotFound"})
                return
            linked = "0" * 64 if swapped else file.etag
            facts |= {"ETag": f'"{linked}"', "X-Linked-Etag": f'"{linked}"'}
            facts |= {"X-Linked-Size": str(file.size)}
            self.answer(302, b"", **facts, Location=f"{hub.cdn}/{name}/{file.etag}/{path}")

        def content(self, path: str, fault: Fault | None) -> None:
            owner, name, etag, rest = path.lstrip("/").split("/", 3)
            file = hub.repos[f"{owner}/{name}"].files[rest]
            start, status = 0, 200
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked and not isinstance(fault, NoRanges):
                start, status = int(asked[1]), 206
                if start >= file.size or isinstance(fault, RangesRefused):
                    self.answer(416, b"", **{"Content-Range": f"bytes */{file.size}"})
                    return
            end = file.size
            if isinstance(fault, Truncate):
                end = min(end, start + fault.after)
            self.send_response(status)
            self.send_header("Content-Length", str(end - start))
            self.send_header("ETag", f'"{etag}"')
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{file.size}")
            self.end_headers()
            if self.command == "GET":
                self.body(file, rest, start, end, fault)

        def body(self, file: File, name: str, start: int, end: int, fault: Fault | None) -> None:
            left = fault.after if isinstance(fault, Cut | Stall) else end - start
            at = start
            try:
                for block in file.blocks(start, end):
                    block = block[:left]
                    if isinstance(fault, Flip) and at <= fault.at < at + len(block):
                        bent = bytearray(block)
                        bent[fault.at - at] ^= 1
                        block = bytes(bent)
                    if isinstance(fault, Swap):
                        block = bytes(len(block))
                    self.wfile.write(block)
                    hub.count(name, len(block))
                    at += len(block)
                    left -= len(block)
                    if hub.slow:
                        time.sleep(hub.slow)
                    if not left:
                        break
                if isinstance(fault, Stall):
                    self.wfile.flush()
                    time.sleep(fault.seconds)
            except OSError:  # the client has gone: what it was meant to do in some tests
                pass
            self.close_connection = isinstance(fault, Cut | Stall)

        def say(self, fault: Say) -> None:
            self.send_response(fault.status)
            for key, value in fault.headers.items():
                self.send_header(key, value)
            if not fault.endless and "Content-Length" not in fault.headers:
                self.send_header("Content-Length", str(len(fault.body)))
            self.end_headers()
            self.close_connection = True
            try:
                self.wfile.write(fault.body)
                until = time.monotonic() + 30
                while fault.endless and time.monotonic() < until:
                    self.wfile.write(fault.body)
            except OSError:  # the client has seen enough
                pass

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    return Handler


@contextmanager
def running(*repos: tuple[str, Mapping[str, bytes | Path]]) -> Iterator[Hub]:
    hub = Hub()
    for name, files in repos:
        hub.add(name, files)
    with hub:
        yield hub
