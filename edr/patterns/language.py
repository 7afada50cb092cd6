"""Body patterns: the language, checked once, and the plain statement of what it means.

The language is that of Amazon EventBridge's event patterns: JSON whose shape follows the body's.

    {"status": ["paused", {"prefix": "wrap"}],
     "wait_time": [{"numeric": [">", 30, "<=", 600]}],
     "queue": {"id": [{"exists": true}]}}

The fields of an object are anded, the elements of a leaf (the array at a field) are ored, and
``"$or"`` beside the fields asks for one of several objects. The rules for bodies:

* A **leaf** of the body is a string, a number, ``true``, ``false`` or ``null``. An array stands
  for its elements (arrays in arrays are flattened), and one element that matches is enough:
  ``{"tags": ["a"]}`` matches ``{"tags": ["b", ["a"]]}``.
* **One and the same object** of an array must satisfy all that is asked below the array's field:
  ``{"calls": {"a": [1], "b": [2]}}`` matches ``{"calls": [{"a": 1, "b": 2}]}`` and not
  ``{"calls": [{"a": 1}, {"b": 2}]}``.
* Where the pattern has an object and the body no object (a leaf, an array without objects, or
  nothing), the fields below are absent.
* ``{"exists": false}`` asks for no leaf at its field, in that same object:
  ``{"calls": {"a": [1], "b": [{"exists": false}]}}`` matches
  ``{"calls": [{"a": 1}, {"b": 2}]}``, by the first call. An object or an empty array has no leaf.
* ``{"anything-but": x}`` asks for a leaf that is there and is none of these, of whatever type;
  in an array some element that is none of these: ``{"tags": [{"anything-but": "a"}]}`` matches
  ``{"tags": ["a", "b"]}``, and neither ``{"tags": ["a"]}`` nor ``{}``.

Event Ruler, which EventBridge uses, flattens bodies to dotted names and finds the array members
that fit together on its way, so that some verdicts there depend on the order of field names.
Here the meaning is compositional: what an object pattern says of an object depends on nothing
else. ``Pattern.matches`` is that meaning; ``index`` must agree with it and is tested against.

* What stands outside of an ``$or`` and what is inside of it are conditions of their own: in an
  array of objects, ``{"calls": {"a": [1]}, "$or": [{"calls": {"b": [2]}}, …]}`` may be met by two
  calls. To ask one and the same, put the ``$or`` below ``calls``.

Cost: a match visits the fields that the pattern names, not those that the body has. It is at most
linear in the product of the body's size with what the pattern asks of one field, which ``work``
counts and ``limits`` bounds. Nothing is ever backtracked.
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
"""Objects in arrays that an explanation looks at: a person will read about one of them."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One reason why a body does not match.

    Attributes:
        path: Where in the body: ``body.calls[2].status``.
        wanted: The part of the pattern that is not met, as JSON: the elements of a leaf, or
            ``{"$or": …}``.
        found: What the body has there, ``ABSENT`` for nothing. For ``$or`` an object with what the
            body has of the fields that its members name.
        hint: A likely mistake in the pattern (``Pattern.warnings``); mostly nothing.
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

    Two patterns are equal when their documents are, as JSON: whatever the order of fields and
    the spelling of numbers. It pickles, and a copy of it is itself.
    """

    __slots__ = ("_key", "_test", "_text", "limits", "merged", "root")

    root: ObjectPattern
    """The pattern as parsed."""
    merged: ObjectPattern
    """The same, with what members of ``$or`` ask of one field alone as one; for ``index``."""
    limits: Limits
    """The limits that it was checked by."""
    _key: str
    _test: Test | None
    _text: str

    def __init__(self, document: object, *, limits: Limits = DEFAULT_LIMITS) -> None:
        """Parse and check a pattern.

        Args:
            document: The pattern as JSON values; copied, so later changes to it are not seen.
                A tuple counts as an array.
            limits: What the pattern may ask.

        Raises:
            InvalidBindingError: it is no pattern, or exceeds a limit; ``path`` says where
                (``body.queue.id[0].numeric[1]``), and the reason of a limit names it.
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
        """The document: a copy of one's own, equal as JSON to what the pattern was made from."""
        document: dict[str, object] = json.loads(self._text)
        return document

    @property
    def warnings(self) -> tuple[PatternWarning, ...]:
        """Likely mistakes, such as an operator that is the name of a field."""
        return warnings_of(self.document)

    def matches(self, body: Mapping[str, Any]) -> bool:
        """Return whether a body matches. This is what patterns mean; all else must agree.

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
        """Return why a body does not match, in the order of the pattern; nothing if it does.

        Where no object of an array satisfies what is asked, the reasons are those of the one
        that misses the fewest, among the first hundred. For people: it takes far longer than a
        match.
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
        """Yield what an object does not satisfy of an object pattern."""
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
