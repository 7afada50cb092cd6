"""``Pages``: serves the live page and its files.

The files are data of the package, in ``edr/web/viewer``. They are read once, when the gateway is
made, and are about 100 KiB. The page has no secret: it shows nothing before the gateway has
accepted a token. Its content policy permits nothing but these files and the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "viewer"
"""The files of the page."""

CONTENT_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
"""Suffix -> content type. Other files of the folder are not served."""

HEADERS: Mapping[str, str] = {
    # A new version of the package must not mix with files of the old one: each use asks again,
    # and the answer is 304 as a rule.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of each answer."""

_REDIRECT = 307
_NOT_MODIFIED = 304


class _File(NamedTuple):
    content: bytes
    content_type: str
    etag: str


class Pages:
    """The live page and its files, by path.

    Args:
        folder: has the files; by default those of the package.

    Raises:
        OSError: the files cannot be read.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {
            ("/" if path.name == "index.html" else f"/viewer/{path.name}"): _read(path)
            for path in sorted(folder.iterdir())
            if path.suffix in CONTENT_TYPES
        }

    def respond(self, request: Request, path: str) -> Response | None:
        """Return the answer to a GET or HEAD, or ``None`` for another path.

        Args:
            request: its headers may have ``If-None-Match``.
            path: the path below the mount of the gateway. An empty path or ``/`` is the page.
        """
        file = self._files.get(path or "/")
        if file is None:
            return None
        if path in {"", "/"} and (location := _with_slash(request)) is not None:
            return Response(status_code=_REDIRECT, headers={**HEADERS, "Location": location})
        headers = {**HEADERS, "ETag": file.etag}
        if _has_etag(request.headers.get("if-none-match", ""), file.etag):
            return Response(status_code=_NOT_MODIFIED, headers=headers)
        return Response(file.content, headers=headers, media_type=file.content_type)


def _read(path: Path) -> _File:
    content = path.read_bytes()
    etag = f'"{blake2b(content, digest_size=16).hexdigest()}"'
    return _File(content, CONTENT_TYPES[path.suffix], etag)


def _with_slash(request: Request) -> str | None:
    """Return where to send a browser that requested the page without a final slash.

    The page refers to its files by relative URLs, so that it works below any path. The location is
    relative too, since a proxy may have removed a prefix.
    """
    raw = request.scope.get("raw_path")
    path = raw.decode("latin-1") if raw else request.scope["path"]
    path = path.partition("?")[0]  # some servers include the query
    if path.endswith("/") or not path:
        return None
    # With "./", a name with a colon is not taken for a scheme. The browser keeps the fragment.
    return f"./{PurePosixPath(path).name}/"


def _has_etag(header: str, etag: str) -> bool:
    listed = {each.strip().removeprefix("W/") for each in header.split(",")}
    return etag in listed or "*" in listed
