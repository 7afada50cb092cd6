"""``Binding``: a filter of events. It is data, not code: it can be stored, sent and indexed.

``Binding.matches`` states the semantics plainly, field by field, and slowly. It is the oracle
that the trie is tested against: when the two disagree, the trie is wrong.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypedDict, TypeVar, cast

import orjson
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    RootModel,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

from edr._util.text import is_encodable
from edr.errors import InvalidBindingError, InvalidEventError, join_path, kind_of, shown
from edr.patterns import (
    DEFAULT_LIMITS,
    Limits,
    Mismatch,
    Pattern,
    pattern_json_schema,
    warn_of_mistakes,
)
from edr.records.event import Event
from edr.records.levels import AnySeverity, AnyVerbosity, Severity, Verbosity
from edr.records.model import FrozenModel

WILDCARD = "*"

_Level = TypeVar("_Level", Severity, Verbosity)


def _name(value: object, *path: str | int) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidBindingError(f"must be a non-empty string, got {value!r}", join_path(*path))
    if not is_encodable(value):
        raise InvalidBindingError(
            f"must be encodable as UTF-8, got {value!r} with a lone surrogate", join_path(*path)
        )
    return str.__str__(value)


def _names(field: str) -> BeforeValidator:
    def check(value: object) -> str | tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            return _name(value, field)
        if not value:
            raise InvalidBindingError('an empty list matches nothing; write "*" for all', field)
        # Once each, in the given order: a name given twice would be offered an event twice.
        return tuple(dict.fromkeys(_name(name, field, i) for i, name in enumerate(value)))

    return BeforeValidator(check)


def _levels(field: str, kind: type[_Level]) -> BeforeValidator:
    def one(value: Any, *path: str | int) -> _Level:
        try:
            return kind(value)
        except ValueError as exc:
            raise InvalidBindingError(str(exc), join_path(*path)) from None

    def check(value: object) -> _Level | tuple[_Level, ...]:
        if not isinstance(value, (list, tuple)):
            return one(value, field)
        if not value:
            raise InvalidBindingError("must have at least one level, got an empty list", field)
        return tuple(sorted({one(level, field, i) for i, level in enumerate(value)}))

    return BeforeValidator(check)


def _pattern(value: object, info: ValidationInfo) -> Pattern | None:
    if value is None or isinstance(value, Pattern):
        return value
    limits = _limits(info)
    pattern = Pattern(value, limits=limits or DEFAULT_LIMITS)
    if limits is None and isinstance(value, Mapping):
        # Documents that are read with limits come from others; see Pattern.warnings for those.
        warn_of_mistakes(value)
    return pattern


def _limits(info: ValidationInfo) -> Limits | None:
    context = info.context
    return context.get("limits") if isinstance(context, Mapping) else None


def _document(pattern: Pattern | None) -> dict[str, Any] | None:
    return None if pattern is None else pattern.document


_PATTERN_DEFINITIONS = pattern_json_schema("")["$defs"]


def _refer_to_itself(schema: dict[str, Any]) -> None:
    """Put the schema of a body pattern in place, with the reference that pydantic has made."""
    itself = schema["additionalProperties"]

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(each) for each in part]
        if not isinstance(part, dict):
            return part
        name = part.get("$ref")
        if name is None:
            return {key: resolved(each) for key, each in part.items()}
        if name == "edr_pattern_fields":
            return dict(itself)  # pydantic changes each reference in place, once
        return resolved(_PATTERN_DEFINITIONS[name])

    schema.clear()
    schema.update(resolved(_PATTERN_DEFINITIONS["edr_pattern_fields"]))
    schema["title"] = "Body pattern"
    schema["description"] = "Fields are anded; the elements of a field's array are ored."


class BodyPattern(RootModel[dict[str, "BodyPattern"]]):
    """The JSON Schema of a body pattern, and nothing else.

    The schema refers to itself. As a model it is one of the definitions of whatever document it
    becomes part of, such as the OpenAPI schema of an application.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=_refer_to_itself)


class _PatternSchema:
    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(BodyPattern.__pydantic_core_schema__), {"type": "null"}]}


def _one_or_many(item: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})


_NAME_SCHEMA = _one_or_many({"type": "string", "minLength": 1})
_SEVERITY_SCHEMA = _one_or_many({"type": "string", "enum": list(Severity)})
_VERBOSITY_SCHEMA = _one_or_many({"type": "string", "enum": list(Verbosity)})


class BindingFields(TypedDict, total=False):
    """The fields of a binding, as keywords of the functions that make one of them."""

    account_id: str | Sequence[str]
    include_descendants: bool
    app_name: str | Sequence[str]
    severity: AnySeverity | Sequence[AnySeverity]
    exact_severity: bool
    verbosity: AnyVerbosity | Sequence[AnyVerbosity]
    exact_verbosity: bool
    body: Pattern | Mapping[str, Any] | None


class Binding(FrozenModel):
    """A filter of events. An event matches if all fields match.

    A single level matches that level and every higher one; with its ``exact_`` flag, that level
    only. A list of levels matches exactly those. ``"*"`` is a wildcard only as the whole value: in
    a name or a list it is an ordinary character.

    ``edr.Limits`` bound a body pattern. The JSON of a binding does not contain them. To read a
    pattern with raised limits, use ``bindings_from_json(text, limits=…)``.

    A likely mistake in a body pattern causes a ``PatternWarning`` when the binding is created,
    unless it is read with explicit limits.

    Raises:
        InvalidBindingError: a field is unknown or has a wrong value; ``path`` is its name.
    """

    _invalid: ClassVar = InvalidBindingError

    account_id: Annotated[str | tuple[str, ...], _names("account_id"), _NAME_SCHEMA] = Field(
        WILDCARD, description='an account, "*" for all events, or a list of accounts'
    )
    include_descendants: bool = Field(False, description="also the events of the accounts below")
    app_name: Annotated[str | tuple[str, ...], _names("app_name"), _NAME_SCHEMA] = Field(
        WILDCARD, description='a service, "*" for all, or a list of services'
    )
    severity: Annotated[
        Severity | tuple[Severity, ...], _levels("severity", Severity), _SEVERITY_SCHEMA
    ] = Field(Severity.OK, description="the lowest severity, or a list of exactly the wanted")
    exact_severity: bool = Field(False, description="that severity alone")
    verbosity: Annotated[
        Verbosity | tuple[Verbosity, ...], _levels("verbosity", Verbosity), _VERBOSITY_SCHEMA
    ] = Field(Verbosity.INFO, description="the lowest verbosity, or a list of exactly the wanted")
    exact_verbosity: bool = Field(False, description="that verbosity alone")
    body: Annotated[
        Pattern | None,
        PlainValidator(_pattern),
        PlainSerializer(_document, return_type=dict[str, Any] | None),
        _PatternSchema(),
    ] = Field(None, description="a pattern that the body must match")

    if TYPE_CHECKING:
        # A signature derived from the fields would refuse severity="ok".
        def __init__(
            self,
            *,
            account_id: str | Sequence[str] = WILDCARD,
            include_descendants: bool = False,
            app_name: str | Sequence[str] = WILDCARD,
            severity: AnySeverity | Sequence[AnySeverity] = Severity.OK,
            exact_severity: bool = False,
            verbosity: AnyVerbosity | Sequence[AnyVerbosity] = Verbosity.INFO,
            exact_verbosity: bool = False,
            body: Pattern | Mapping[str, Any] | None = None,
        ) -> None: ...

    @classmethod
    def everything(cls) -> Self:
        """Return the binding that matches every event, at any verbosity."""
        return cls(verbosity=Verbosity.TRACE)

    def matches(self, event: Event) -> bool:
        """Return whether the binding matches ``event``."""
        return (
            (self.app_name == WILDCARD or event.app_name in self.app_names)
            and event.severity in self.severities
            and event.verbosity in self.verbosities
            and self._matches_account(event)
            and (self.body is None or self.body.matches(event.body))
        )

    def explain(self, event: Event) -> tuple[Mismatch, ...]:
        """Return why the binding does not match ``event``; empty if it matches.

        Each field or path in the body that does not match gives a ``Mismatch`` with its ``path``,
        the ``wanted`` and the ``found`` value.
        """
        mismatches = []
        if self.app_name != WILDCARD and event.app_name not in self.app_names:
            mismatches.append(Mismatch("app_name", list(self.app_names), event.app_name))
        if event.severity not in self.severities:
            mismatches.append(Mismatch("severity", list(self.severities), event.severity))
        if event.verbosity not in self.verbosities:
            mismatches.append(Mismatch("verbosity", list(self.verbosities), event.verbosity))
        if not self._matches_account(event):
            mismatches.append(Mismatch("account_id", list(self.account_ids), event.account_id))
            if self.include_descendants:
                above = list(event.account_tree)
                mismatches.append(Mismatch("account_tree", list(self.account_ids), above))
        if self.body is not None:
            mismatches += self.body.explain(event.body)
        return tuple(mismatches)

    def _matches_account(self, event: Event) -> bool:
        if self.account_id == WILDCARD or event.account_id in self.account_ids:
            return True
        return self.include_descendants and not set(self.account_ids).isdisjoint(event.account_tree)

    @property
    def app_names(self) -> tuple[str, ...]:
        """The app names; ``("*",)`` may mean all."""
        return _many(self.app_name)

    @property
    def account_ids(self) -> tuple[str, ...]:
        """The account ids; ``("*",)`` may mean all."""
        return _many(self.account_id)

    @property
    def severities(self) -> tuple[Severity, ...]:
        """Every severity that matches, lowest first."""
        return _covered(self.severity, exact=self.exact_severity)

    @property
    def verbosities(self) -> tuple[Verbosity, ...]:
        """Every verbosity that matches, lowest first."""
        return _covered(self.verbosity, exact=self.exact_verbosity)


def bindings_from_json(
    document: Mapping[str, Any] | Sequence[Any] | str | bytes,
    *,
    limits: Limits | None = None,
) -> Binding | list[Binding]:
    """Read one binding from a JSON object, or a list of them from an array.

    Accepts JSON text too; of two equal keys the last one counts. Missing fields have their
    defaults. A Kazoo binding document is accepted as it is.

    Args:
        document: The bindings.
        limits: Limits of the bindings; ``Limits.untrusted()`` for unknown authors. Without it, body
            patterns have the default limits and the number of names is not limited.

    Raises:
        InvalidBindingError: it is not JSON, or a binding in it is not valid or exceeds a limit;
            ``path`` is the place, such as ``[2].severity``.
    """
    if isinstance(document, (str, bytes)):
        try:
            document = orjson.loads(document)
        except orjson.JSONDecodeError as exc:
            raise InvalidBindingError(f"the document is not valid JSON: {exc}") from exc
    if isinstance(document, Mapping):
        return _binding(document, limits)
    if not isinstance(document, (list, tuple)):
        raise InvalidBindingError(
            f"the document must be an object or an array of objects, got {kind_of(document)}"
        )
    if not document:
        raise InvalidBindingError(
            "the document must have at least one binding, got an empty array; {} is the default one"
        )
    if limits is not None and len(document) > limits.max_bindings:
        raise InvalidBindingError(
            f"the document has {len(document):,} bindings, "
            f"more than Limits.max_bindings = {limits.max_bindings:,}"
        )
    bindings = []
    for index, item in enumerate(document):
        if not isinstance(item, Mapping):
            raise InvalidBindingError(f"must be an object, got {kind_of(item)}", f"[{index}]")
        try:
            bindings.append(_binding(item, limits))
        except InvalidBindingError as exc:
            path = f"[{index}].{exc.path}" if exc.path else f"[{index}]"
            raise InvalidBindingError(exc.reason, path) from exc
    return bindings


def _binding(document: Mapping[str, Any], limits: Limits | None) -> Binding:
    if limits is None:
        return Binding.model_validate(document)
    # Each app is stored with each account, so that two lists of 10,000 are a hundred million.
    names = 1
    for field in ("app_name", "account_id"):
        value = document.get(field)
        names *= len(value) if isinstance(value, (list, tuple)) else 1
        if names > limits.max_names:
            raise InvalidBindingError(
                f"makes {names:,} pairs of an app and an account, more than "
                f"Limits.max_names = {limits.max_names:,}",
                field,
            )
    return Binding.model_validate(document, context={"limits": limits})


def bindings_to_json(
    bindings: Binding | Sequence[Binding],
) -> dict[str, Any] | list[dict[str, Any]]:
    """Return one binding as a JSON object, or several as a list of objects."""
    if isinstance(bindings, Binding):
        return bindings.model_dump(mode="json")
    return [binding.model_dump(mode="json") for binding in bindings]


EVERY_EVENT = Binding.everything()
"""The binding of a call without bindings, which has no filter: ``subscribe()``, ``@on()``,
``rebind()``, ``add_tap(tap)``, ``assert_emitted()``. A ``Binding()`` has the default verbosity,
``info`` and higher."""


def checked_bindings(bindings: tuple[object, ...]) -> tuple[Binding, ...]:
    """Return ``bindings`` after checking that there is at least one and that all are bindings.

    Raises:
        InvalidBindingError: a value is not a binding, or ``bindings`` is empty.
    """
    for index, binding in enumerate(bindings):
        if not isinstance(binding, Binding):
            raise InvalidBindingError(
                f"must be an edr.Binding, got {shown(binding)}{_way_out(binding)}", f"[{index}]"
            )
    if not bindings:
        raise InvalidBindingError(
            "must be at least one binding, got an empty list; edr.Binding() matches info and higher"
        )
    return cast("tuple[Binding, ...]", bindings)


def explain(event: Event, *bindings: Binding) -> tuple[Mismatch, ...]:
    """Return why no binding matches ``event``; empty if at least one of them matches.

    The result has the mismatches of the nearest binding: of the first one with the fewest. Without
    a binding, it is empty, as in a call without bindings, which has no filter.

    Raises:
        InvalidEventError: ``event`` is not an ``Event``.
        InvalidBindingError: an argument is not a binding.
    """
    if not isinstance(event, Event):
        raise InvalidEventError(f"must be an edr.Event, got {shown(event)}")
    return min(
        [binding.explain(event) for binding in checked_bindings(bindings or (EVERY_EVENT,))],
        key=len,
    )


def _way_out(value: object) -> str:
    if isinstance(value, str):
        return f"; for events of one app, say app_name={shown(value)}"
    if isinstance(value, Mapping):
        return "; edr.bindings_from_json makes one of it"
    if isinstance(value, (list, tuple)):
        return "; give several one by one: *bindings"
    return ""


def _many(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,)


def _covered(level: _Level | tuple[_Level, ...], *, exact: bool) -> tuple[_Level, ...]:
    if isinstance(level, tuple):
        return level
    return (level,) if exact else level.and_higher
