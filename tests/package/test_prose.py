"""Docstrings, comments and manual pages are plain English, without a list of words and openings.

As a program it lists the places: ``python tests/package/test_prose.py edr/bus docs README.md``.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "edr").rglob("*.py")),
    *sorted((ROOT / "docs").glob("*.md")),  # docs/api is made of docstrings, which are checked
    *sorted((ROOT / "examples").rglob("*.py")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
]

WORDS = re.compile(
    r"""\b(
        anew | lest | for\ ever | dear(er|ly)? | so\ many | as\ far\ as | shall | one's\ own
      | the\ like | without\ a\ word | in\ turn | whoever | nobody | somebody | meanwhile | besides
      | none\ of\ (its|the|them|these|those|us) | those\ (that|who|which) | gets\ to\ know
      | let\ go | lets\ go | makes\ of\ it | of\ its\ own\ accord | at\ the\ (most|least)
      | no\ (more|longer)\ wanted | is\ dear | many\ a | so\ long\ as | of\ course | whence
      | in\ vain | wants?\ (no|it|its|to|nothing|what) | asks?\ for\ it | knows?\ (no|nothing|of)
      | hears?\ (of|that|no) | who\ takes | takes?\ note
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
"""Archaic, ambiguous or figurative words. ``dear`` meant "expensive", ``besides`` "except"."""

SUBJECT_CLAUSES = re.compile(
    r"(?:^|[.:;]\s+)(What|Who|Whoever|Whatever)\s+(?!\w+\?)[^?]*$",
    re.DOTALL,
)
"""A clause used as a noun: "What is queued is lost" for "Queued events are lost"."""

DOCSTRING_OPENINGS = re.compile(r"^(Hear|Tell|Let|Take note|Have|Give way|Know|Mind|Learn)\b")
"""Verbs of people. A function returns, raises, waits, closes, registers, logs or checks."""

NEGATED_NOUNS = re.compile(
    r"\b(is|are|was|were) (no|none)\b(?! (longer|more|less)\b)", re.IGNORECASE
)
""""Is no X" for "is not an X"."""


def passages_of_python(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield (line, text, whether it is a docstring) of each docstring and block of comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for child in body if isinstance(body, list) else ():
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                text = child.value.value
                if isinstance(text, str):
                    yield child.lineno, text, child is body[0]
    last, block, first = -1, [], 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if token.start[0] != last + 1:
            if block:
                yield first, " ".join(block), False
            block, first = [], token.start[0]
        block.append(token.string.lstrip("#: "))
        last = token.start[0]
    if block:
        yield first, " ".join(block), False


def passages_of_markdown(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield (line, text, False) of each paragraph outside of code blocks."""
    paragraph, first, in_code = [], 1, False
    for number, line in enumerate([*source.splitlines(), ""], 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        if in_code or not line.strip() or line.lstrip().startswith("```"):
            if paragraph:
                yield first, " ".join(paragraph), False
            paragraph, first = [], number + 1
        else:
            paragraph.append(re.sub(r"`[^`]*`", "x", line))


def findings(path: Path) -> Iterator[str]:
    """Yield one line for each place of ``path`` that is not plain English."""
    source = path.read_text(encoding="utf-8")
    is_python = path.suffix == ".py"
    for line, text, is_docstring in (passages_of_python if is_python else passages_of_markdown)(
        source
    ):
        plain = re.sub(r"`[^`]*`", "x", text)
        where = f"{path.relative_to(ROOT)}:{line}"
        for pattern in (WORDS, NEGATED_NOUNS):
            for match in pattern.finditer(plain):
                around = " ".join(plain[max(0, match.start() - 30) : match.end() + 30].split())
                yield f"{where}: {match[0]!r} in '…{around}…'"
        for sentence in re.split(r"(?<=[.:;])\s+|\n\n+", plain):
            if SUBJECT_CLAUSES.match(sentence.strip()):
                yield f"{where}: a clause as subject: {' '.join(sentence.split())[:70]!r}"
        if is_docstring and DOCSTRING_OPENINGS.match(text):
            yield f"{where}: a docstring that begins with {text.split()[0]!r}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_is_plain_english(path):
    assert not list(findings(path))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        chosen = (ROOT / argument).resolve()
        for page in PAGES:
            if page == chosen or chosen in page.parents:
                sys.stdout.write("".join(f"{finding}\n" for finding in findings(page)))
