"""Body patterns: the language and its meaning.

The language is that of Amazon EventBridge's event patterns: JSON whose shape follows the body's.

    {"status": ["paused", {"prefix": "wrap"}],
     "wait_time": [{"numeric": [">", 30, "<=", 600]}],
     "queue": {"id": [{"exists": true}]}}

The fields of an object are combined with AND, the elements of a leaf (the array at a field) with
OR. A ``"$or"`` next to the fields requires one of several objects. The rules for bodies:

* A **leaf** of the body is a string, a number, ``true``, ``false`` or ``null``. An array stands
  for its elements (arrays in arrays are flattened), and one element that matches is enough:
  ``{"tags": ["a"]}`` matches ``{"tags": ["b", ["a"]]}``.
* **One and the same object** of an array must satisfy all conditions below the array's field:
  ``{"calls": {"a": [1], "b": [2]}}`` matches ``{"calls": [{"a": 1, "b": 2}]}`` and not
  ``{"calls": [{"a": 1}, {"b": 2}]}``.
* If the pattern has an object where the body has a leaf, an array without objects, or nothing, the
  fields below are absent.
* ``{"exists": false}`` requires that its field has no leaf, in that same object:
  ``{"calls": {"a": [1], "b": [{"exists": false}]}}`` matches
  ``{"calls": [{"a": 1}, {"b": 2}]}``, by the first call. An object or an empty array has no leaf.
* ``{"anything-but": x}`` requires a leaf that differs from the given values, of any type. In an
  array, one element must differ: ``{"tags": [{"anything-but": "a"}]}`` matches
  ``{"tags": ["a", "b"]}``, and neither ``{"tags": ["a"]}`` nor ``{}``.

Event Ruler, which EventBridge uses, flattens bodies to dotted names, so some of its verdicts depend
on the order of field names. Here the meaning is compositional: whether an object matches an object
pattern depends on nothing else. ``Pattern.matches`` defines it; ``index`` is tested against it.

* Conditions outside and inside of an ``$or`` are independent: in an array of objects,
  ``{"calls": {"a": [1]}, "$or": [{"calls": {"b": [2]}}, …]}`` may be satisfied by two calls. To
  require one and the same call, put the ``$or`` below ``calls``.

Cost: a match visits the fields that the pattern names, not the other fields of the body. It is at
most linear in the product of the body's size and the pattern's cost for one field, which ``cost``
computes and ``limits`` bounds. Matching never backtracks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from edr.errors import join_path
from edr.patterns.field_matcher import ABSENT, FieldMatcher, Test
from edr.patterns.limits import DEFAULT_LIMITS, Limits
from edr.patterns.object_pattern import ObjectPattern, names_in
from edr.patterns.objects import test_below, test_of_object
from edr.patterns.operands import Path
from edr.patterns.parser import parse
from edr.patterns.pattern_warnings import PatternWarning, warnings_of

_MAX_EXPLAINED = 100
"""Objects in arrays that an explanation examines. A person reads about one of them."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One reason why a body does not match.

    Attributes:
        path: Where in the body: ``body.calls[2].status``.
        wanted: The part of the pattern that does not match, as JSON: the elements of a leaf, or
            ``{"$or": …}``.
        found: The value in the body, or ``ABSENT``. For ``$or``, an object with the fields of the
            body that its members name.
        hint: A likely mistake in the pattern (``Pattern.warnings``); usually empty.
    """

    path: str
    wanted: object
    found: object
    hint: str = ""

    def __str__(self) -> str:
        found = "nothing" if self.found is ABSENT else _shortened(self.found)
        hint = f" (the pattern {self.hint})" if self.hint else ""
        return f"{self.path}: wanted {_shortened(self.wanted)}, found {found}{hint}"


class Pattern:
    """A body pattern, checked and ready to match. Immutable.

    Patterns are equal if their documents are equal as JSON, in any order of fields and notation of
    numbers. Patterns can be pickled. A copy is the same object.
    """

    __slots__ = ("_key", "_test", "_text", "limits", "merged", "root")

    root: ObjectPattern
    """The pattern as parsed."""
    merged: ObjectPattern
    """The pattern with mergeable members of ``$or`` merged, as ``index`` uses it."""
    limits: Limits
    """The limits that it was checked against."""
    _key: str
    _test: Test | None
    _text: str

    def __init__(self, document: object, *, limits: Limits = DEFAULT_LIMITS) -> None:
        """Parse and check a pattern.

        Args:
            document: The pattern as JSON values; copied, so later changes to it are not seen.
                A tuple counts as an array.
            limits: Limits of its size and cost.

        Raises:
            InvalidBindingError: it is not a valid pattern, or exceeds a limit; ``path`` is the
                place (``body.queue.id[0].numeric[1]``), and the reason of a limit names it.
        """
        root, simple = parse(document, limits)
        set_once = super().__setattr__
        set_once("root", root)
        set_once("merged", simple)
        set_once("limits", limits)
        set_once("_text", json.dumps(document))
        set_once("_key", root.text())
        set_once("_test", None)

    @property
    def document(self) -> dict[str, object]:
        """A copy of the document, equal as JSON to the original."""
        document: dict[str, object] = json.loads(self._text)
        return document

    @property
    def warnings(self) -> tuple[PatternWarning, ...]:
        """Likely mistakes, such as an operator that is the name of a field."""
        return warnings_of(self.document)

    def matches(self, body: Mapping[str, Any]) -> bool:
        """Return whether a body matches. This defines the meaning of patterns.

        Args:
            body: JSON values of the plain types, where a subclass of ``dict`` or ``list`` will
                do; no NaN and no infinity. Not changed.
        """
        test: Test | None = self._test
        if test is None:
            # Compiled at the first match: the index holds many patterns that it never needs to
            # test as a whole. Two threads that race here set equal tests.
            test = test_of_object(self.merged)
            super().__setattr__("_test", test)
        return test(body)

    def explain(self, body: Mapping[str, Any]) -> tuple[Mismatch, ...]:
        """Return why a body does not match, in the order of the pattern; empty if it matches.

        If no object of an array matches, the reasons are those of the object with the fewest
        mismatches, among the first hundred. Much slower than a match; meant for people.
        """
        mismatches = tuple(_Explainer().mismatches(self.root, dict(body), ("body",)))
        if not mismatches:
            return ()
        # The pattern has no index where the body has one; a path that does is not looked for.
        hints = {warning.path: warning.reason for warning in self.warnings}
        hints.update(
            (warning.path.rpartition("[")[0], warning.reason)
            for warning in self.warnings
            if warning.path.endswith("]")
        )
        return tuple(replace(each, hint=hints.get(each.path, "")) for each in mismatches)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pattern):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Pattern({self.document!r})"

    def __reduce__(self) -> tuple[Callable[..., Pattern], tuple[dict[str, object], Limits]]:
        return _restored, (self.document, self.limits)

    def __copy__(self) -> Pattern:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Pattern:
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        msg = f"a Pattern is immutable, so its {name} cannot be set"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> NoReturn:
        msg = f"a Pattern is immutable, so its {name} cannot be deleted"
        raise AttributeError(msg)


def _restored(document: dict[str, object], limits: Limits) -> Pattern:
    return Pattern(document, limits=limits)


class _Explainer:
    """Collects the reasons why one body does not match."""

    def __init__(self) -> None:
        self._tests: dict[int, Test] = {}  # by identity of the part
        self._objects_left = _MAX_EXPLAINED

    def mismatches(
        self, node: ObjectPattern, body: dict[str, object], path: Path
    ) -> Iterator[Mismatch]:
        """Yield the mismatches of one object."""
        for name, child in node.fields:
            value = body.get(name, ABSENT)
            if isinstance(child, FieldMatcher):
                if not self._accepts(child, value):
                    yield Mismatch(join_path(*path, name), json.loads(child.text), value)
            # An object says itself what it misses: a test would be compiled for each within it.
            elif not (isinstance(value, list) and self._accepts(child, value)):
                yield from self._nearest(child, value, (*path, name))
        alternatives = node.alternatives
        if alternatives and not any(self._accepts(each, body) for each in alternatives):
            wanted = json.loads(ObjectPattern((), alternatives).text())
            asked = {name for each in alternatives for name in names_in(each)}
            found = {name: value for name, value in body.items() if name in asked}
            yield Mismatch(join_path(*path), wanted, found)

    def _nearest(self, node: ObjectPattern, value: object, path: Path) -> list[Mismatch]:
        """Return the reasons of the object at a field that misses the fewest conditions."""
        nearest: list[Mismatch] | None = None
        for at, candidate in _objects(value, path):
            if nearest is not None and self._objects_left <= 0:
                break
            if isinstance(value, list):
                self._objects_left -= 1
            mismatches = list(self.mismatches(node, candidate, at))
            if nearest is None or len(mismatches) < len(nearest):
                nearest = mismatches
        return list(self.mismatches(node, {}, path)) if nearest is None else nearest

    def _accepts(self, part: FieldMatcher | ObjectPattern, value: object) -> bool:
        test = self._tests.get(id(part))
        if test is None:
            test = self._tests[id(part)] = test_below(part)
        return test(value)


def _objects(value: object, path: Path) -> Iterator[tuple[Path, dict[str, object]]]:
    if isinstance(value, dict):
        yield path, value
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _objects(element, (*path, index))


def _shortened(value: object, longest: int = 200) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 1] + "…"
