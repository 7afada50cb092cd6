"""The files of the live page, and what they may contain."""

import re

import pytest

pytest.importorskip("starlette")

from starlette.requests import Request

from edr.web.pages import FOLDER, HEADERS, Pages

FILES = sorted(path.name for path in FOLDER.iterdir())
TEXTS = {name: (FOLDER / name).read_text(encoding="utf-8") for name in FILES}


@pytest.fixture(scope="module")
def pages():
    return Pages()


def request(path="/", **headers):
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [
                (name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()
            ],
        }
    )


@pytest.mark.parametrize("path", ["", "/", *(f"/viewer/{name}" for name in FILES)])
def test_each_file_is_served_with_its_type_and_policy(pages, path):
    if path == "/viewer/index.html":
        path = "/"
    answer = pages.respond(request("/"), path)

    kinds = {"": "text/html", ".css": "text/css", ".js": "text/javascript", "/": "text/html"}
    suffix = re.search(r"(\.\w+|/?)$", path)[1]
    assert answer.headers["content-type"] == f"{kinds[suffix]}; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_policy_permits_nothing_else():
    assert HEADERS["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@pytest.mark.parametrize("path", ["/viewer/", "/viewer/no.js", "/viewer/../pages.py", "/x"])
def test_other_paths_have_no_page(pages, path):
    assert pages.respond(request(), path) is None


def test_known_file_is_not_sent_again(pages):
    etag = pages.respond(request(), "/viewer/main.js").headers["etag"]

    again = pages.respond(request(if_none_match=f'"other", W/{etag}'), "/viewer/main.js")
    changed = pages.respond(request(if_none_match='"other"'), "/viewer/main.js")

    assert (again.status_code, again.body, again.headers["etag"]) == (304, b"", etag)
    assert (changed.status_code, changed.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize(
    ("path", "location"),
    [("/edr", "./edr/"), ("/a/http:b", "./http:b/"), ("//evil.net", "./evil.net/")],
)
def test_page_without_a_final_slash_redirects(pages, path, location):
    answer = pages.respond(request(path), "")

    assert (answer.status_code, answer.headers["location"]) == (307, location)


def test_page_has_nothing_inline_and_nothing_from_elsewhere():
    html = TEXTS["index.html"]

    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script[^>]*>[^<]", html)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', html)) <= {f"viewer/{n}" for n in FILES}
    assert not re.search(r"url\(|@import", TEXTS["viewer.css"])


def test_modules_never_make_markup():
    unsafe = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|DOMParser"
    modules = {name: text for name, text in TEXTS.items() if name.endswith(".js")}

    assert len(modules) > 20
    assert not [name for name, text in modules.items() if re.search(unsafe, text)]


def test_modules_store_nothing_in_the_browser():
    stores = r"localStorage|sessionStorage|indexedDB|document\.cookie"

    assert not [name for name, text in TEXTS.items() if re.search(stores, text)]


# The contrast of the colours


def schemes():
    light, dark = re.findall(r":root \{(.*?)\}", TEXTS["viewer.css"], re.DOTALL)
    colours = [dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in (light, dark)]
    return {"light": colours[0], "dark": colours[0] | colours[1]}


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    lower, higher = sorted([luminance(one), luminance(other)])
    return (higher + 0.05) / (lower + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_on_each_background(scheme):
    colours = schemes()[scheme]
    texts = ["ink", "dim", "ok", "warning", "critical", "gap", "string", "word", "accent"]
    pairs = [(text, back) for text in texts for back in ("bg", "pane", "hover", "selected")]
    weak = {
        pair: contrast(*(colours[name] for name in pair)) for pair in [*pairs, ("pane", "accent")]
    }

    assert {pair: round(ratio, 2) for pair, ratio in weak.items() if ratio < 4.5} == {}
