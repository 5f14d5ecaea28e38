"""Fetches one file over HTTP: resumed where it stopped, checked, in its place only when it is whole.

Proxies come from the environment (HTTPS_PROXY, NO_PROXY), as urllib reads it; HF_TOKEN goes to the hub only, and
along no redirect to another host.

Written by hand because no library does what the store promises: pooch never resumes; huggingface_hub (2.4) deletes a
part of a file when its `hf_hub_download` fails, and its `http_get` resumes without If-Range, keeps the answer's headers
(commit, SHA-256) to itself, and follows a redirect from https to http.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from facexcli.errors import WeightsError
from facexcli.events import StageAdvanced, StageFinished, StageStarted

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.events import Reporter

_CHUNK = 1 << 20
_TRIES = 3
_TIMEOUT_S = 30.0
_RESERVE_BYTES = 64 << 20
"""What a download leaves free on the disk."""
_DIGITS_OF_SHA256 = 64
_TOLD_EVERY_S = 0.25
_COMMIT = re.compile(r"[0-9a-f]{6,64}")
_NETWORK = (http.client.HTTPException, urllib.error.URLError, ssl.SSLError, ConnectionError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file comes from, and what to do by hand instead. `token` is sent to the address itself only."""

    url: str
    by_hand: str
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What the host said of the file: the hub's commit, and the publisher's SHA-256 (hex), where it tells them."""

    revision: str | None = None
    sha256: str | None = None


def is_offline() -> bool:
    """Whether the user forbade the network: FACEX_OFFLINE or HF_HUB_OFFLINE."""
    return any(os.environ.get(n, "").lower() in ("1", "on", "yes", "true") for n in ("FACEX_OFFLINE", "HF_HUB_OFFLINE"))


def fetch(source: Source, partial: Path, reporter: Reporter) -> Told:
    """Download to `partial`, going on from what is there already. The caller checks and renames it.

    A connection that breaks is taken up again, three times in all; what came stays for the next run.
    Raises WeightsError: no network, not allowed, gone, disk full, folder not writable.
    """
    if is_offline():
        raise WeightsError(f"{source.url}: not fetched, offline mode is on", source.by_hand)
    for attempt in range(1, _TRIES + 1):
        try:
            return _fetch_once(source, partial, reporter)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and partial.exists():
                    partial.unlink()  # longer than the file now is: start again
                elif error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR or attempt == _TRIES:
                    raise _refusal(source, error.code) from error
        except _NETWORK as error:
            if attempt == _TRIES:
                raise _no_network(source, error, partial) from error
        except OSError as error:
            raise _disk_error(partial, error) from error
    raise WeightsError(f"{source.url}: the host does not give the file", source.by_hand)


def forget(partial: Path) -> None:
    """`partial` gets another origin than a download: the next one must not go on with it. Raises OSError."""
    _tag_file(partial).unlink(missing_ok=True)


def _tag_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.etag")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, except to an unprotected host, and keeps what the hub says of the file on the way."""

    def __init__(self) -> None:
        self.headers: list[Any] = []

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        self.headers.append(headers)
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"redirected to an unprotected address, {newurl}")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if following and token and (following.type, following.host) == (req.type, req.host):
            following.add_unredirected_header("Authorization", token)  # a repository that was renamed
        return following


def _fetch_once(source: Source, partial: Path, reporter: Reporter) -> Told:
    redirects = _Redirects()
    request = urllib.request.Request(source.url, headers={"User-Agent": "facex", "Accept-Encoding": "identity"})
    if source.token:
        request.add_unredirected_header("Authorization", f"Bearer {source.token}")
    tag_file = _tag_file(partial)
    tag = tag_file.read_text("utf-8") if tag_file.exists() else ""
    if tag and partial.exists() and (have := partial.stat().st_size):
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    opener = urllib.request.build_opener(redirects)
    with opener.open(request, timeout=_TIMEOUT_S) as response:
        resumes = response.status == http.HTTPStatus.PARTIAL_CONTENT
        start = partial.stat().st_size if resumes else 0
        if resumes and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            tag_file.unlink()
            raise http.client.HTTPException("the host went on at another place than it was asked to")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        partial.parent.mkdir(parents=True, exist_ok=True)
        _demand_space(partial, (total or 0) - start)
        new_tag = response.headers.get("ETag") or ""
        tag_file.write_text("" if new_tag.startswith("W/") else new_tag, "utf-8")
        with partial.open("ab" if resumes else "wb") as file:
            _copy(response, file, start, total, reporter)
        told = _told([*redirects.headers, response.headers])
    tag_file.unlink()
    return told


def _copy(response: IO[bytes], file: IO[bytes], start: int, total: int | None, reporter: Reporter) -> None:
    """Copy to the end. Raises IncompleteRead when the connection ended before it."""
    began_s = told_s = time.monotonic()
    reporter.emit(StageStarted("download", total and -(-total >> 20), "MB"))
    done = start
    while block := response.read(_CHUNK):
        file.write(block)
        done += len(block)
        now_s = time.monotonic()
        if now_s - told_s >= _TOLD_EVERY_S:
            told_s = now_s
            reporter.emit(StageAdvanced("download", done >> 20, (done - start) / 2**20 / (now_s - began_s)))
    file.flush()
    os.fsync(file.fileno())
    if total is not None and done != total:
        raise http.client.IncompleteRead(b"", total - done)
    reporter.emit(StageFinished("download", -(-done >> 20), time.monotonic() - began_s))


def _told(headers: list[Any]) -> Told:
    revision = next((h["X-Repo-Commit"] for h in headers if _COMMIT.fullmatch(h["X-Repo-Commit"] or "")), None)
    tag = next((h["X-Linked-ETag"] for h in headers if h["X-Linked-ETag"]), "").strip('"')
    return Told(revision, tag.lower() if len(tag) == _DIGITS_OF_SHA256 else None)


def _demand_space(partial: Path, wanted: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if free < wanted + _RESERVE_BYTES:
        raise OSError(errno.ENOSPC, f"{wanted >> 20} MB are wanted, {free >> 20} MB are free")


def _refusal(source: Source, code: int) -> WeightsError:
    if code in (401, 403):
        hint = "accept the terms on the publisher's page, and set HF_TOKEN to a token of yours; or " + source.by_hand
        return WeightsError(f"{source.url}: the host wants to know who asks ({code})", hint)
    if code == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        proxy = "HTTPS_PROXY" if source.url.startswith("https:") else "HTTP_PROXY"
        return WeightsError(f"{source.url}: the proxy wants a login (407)", f"set {proxy}=http://USER:PASSWORD@HOST")
    if code in (404, 410):
        return WeightsError(f"{source.url}: the file or its revision is gone ({code})", source.by_hand)
    return WeightsError(f"{source.url}: the host answers {code}", f"try again later; or {source.by_hand}")


def _no_network(source: Source, error: Exception, partial: Path) -> WeightsError:
    reason = getattr(error, "reason", error)
    if "Tunnel connection failed: 407" in str(reason):
        return _refusal(source, http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
    kept = partial.stat().st_size if partial.exists() else 0
    hint = "the next `facex models pull` goes on where this one stopped; or " if kept else "check the network; or "
    return WeightsError(f"{source.url}: cannot be fetched: {reason}", hint + source.by_hand)


def _disk_error(partial: Path, error: OSError) -> WeightsError:
    if error.errno == errno.ENOSPC:
        return WeightsError(f"{partial.parent}: the disk is full: {error.strerror}", "make room, and pull again")
    hint = "set FACEX_HOME to a folder that can be written"
    return WeightsError(f"{partial.parent} cannot be written: {error.strerror or error}", hint)
