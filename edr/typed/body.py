"""``Body``: a pydantic model of the bodies of one kind of event, with the binding of that kind.

The ``Literal`` fields of a model distinguish its events from others of the app. They become the
body pattern of its binding, which the bus indexes. So an event of another kind costs its
subscribers nothing, and is never validated by the model.

Rejected: the name of the class in the event. It means nothing to readers in another language or of
a log, and a renamed class would no longer match its older events.

Example::

    from typing import Literal
    import edr
    from edr.typed import Body

    class AgentPaused(Body, app="acdc"):
        status: Literal["paused"] = "paused"
        agent_id: str

    assert AgentPaused.binding() == edr.Binding(
        app_name="acdc", severity=["ok"], verbosity=["info"], body={"status": ["paused"]}
    )
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Self, Unpack

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from edr.bus import Bus, default_bus
from edr.errors import InvalidEventError
from edr.patterns import Pattern
from edr.records import (
    AnySeverity,
    AnyVerbosity,
    Binding,
    Event,
    Severity,
    Verbosity,
)
from edr.typed.literals import check, check_match, pattern_of


class Kind(NamedTuple):
    """The fields that all events of one model share."""

    app_name: str
    app_version: str
    severity: Severity
    verbosity: Verbosity


class Body(BaseModel):
    """The body of the events of one kind. Subclass it with the name of the app.

    ``class AgentPaused(Body, app="acdc"): status: Literal["paused"] = "paused"; agent_id: str``

    Args:
        app: the app that emits such events.
        version: its version.
        severity: the severity of such events.
        verbosity: the verbosity of such events.

    A subclass inherits app, version and levels, unless it sets them. Instances are frozen. Further
    fields of an event are ignored, so that a sender can be newer than its readers.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)
    edr_kind: ClassVar[Kind | None] = None
    """The fields that all its events share; ``None`` for a base class without an app."""

    def __init_subclass__(
        cls,
        *,
        app: str = "",
        version: str = "",
        severity: AnySeverity | None = None,
        verbosity: AnyVerbosity | None = None,
        **config: Unpack[ConfigDict],
    ) -> None:
        """Declare the arguments; pydantic passes them on when the fields are known."""
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        app: str = "",
        version: str = "",
        severity: AnySeverity | None = None,
        verbosity: AnyVerbosity | None = None,
        **config: Any,
    ) -> None:
        super().__pydantic_init_subclass__(**config)
        known = cls.edr_kind
        if known is None and not app:
            if version or severity or verbosity:
                raise TypeError(_no_app(cls))
            return
        known = known or Kind(app, "0", Severity.OK, Verbosity.INFO)
        cls.edr_kind = Kind(
            app or known.app_name,
            version or known.app_version,
            Severity(severity or known.severity),
            Verbosity(verbosity or known.verbosity),
        )
        pattern = cls.binding().body  # a field that cannot be a pattern is refused here and now
        if pattern is not None and cls.__pydantic_complete__:
            check(cls, pattern)

    @classmethod
    def binding(cls) -> Binding:
        """Return the binding of this kind: app, both levels, and the literal fields.

        A literal field may be a ``Literal``, an alias of one, or a union of several.
        """
        kind = cls._kind()
        return Binding(
            app_name=kind.app_name,
            severity=[kind.severity],
            verbosity=[kind.verbosity],
            body=pattern_of(cls) or None,
        )

    @classmethod
    def of(cls, event: Event) -> Self:
        """Read the body of ``event``.

        Raises:
            InvalidEventError: it does not fit; ``path`` is the field.
        """
        try:
            # As JSON: then a strict model accepts a string for a time, and an array for a tuple.
            return cls.model_validate_json(orjson.dumps(event.body))
        except ValidationError as exc:
            raise InvalidEventError.from_validation(exc) from exc

    def emit(
        self, account_id: str | None = None, *, bus: Bus | None = None
    ) -> Coroutine[Any, Any, int]:
        """Emit an event with this body, as ``Bus.emit`` does. Await the result.

        Args:
            account_id: the account of the event.
            bus: the bus; by default the default bus.

        Raises:
            TypeError: a serializer changes a literal field, so the binding would not match.
        """
        fields = (*self._kind(), self._json(), account_id)
        return (bus or default_bus()).emit(*fields)

    def emit_nowait(self, account_id: str | None = None, *, bus: Bus | None = None) -> int:
        """Emit an event with this body, as ``Bus.emit_nowait`` does. Arguments as ``emit``."""
        fields = (*self._kind(), self._json(), account_id)
        return (bus or default_bus()).emit_nowait(*fields)

    @classmethod
    def _kind(cls) -> Kind:
        if cls.edr_kind is None:
            raise TypeError(_no_app(cls))
        return cls.edr_kind

    def _json(self) -> Mapping[str, Any]:
        body = self.model_dump(mode="json", by_alias=True)
        pattern = _pattern_of_kind(type(self))
        if pattern is not None:
            check_match(type(self), pattern, body)
        return body


@lru_cache(maxsize=1024)
def _pattern_of_kind(model: type[Body]) -> Pattern | None:
    """Return the pattern of a model. Cached, as making it takes as long as several emits."""
    return model.binding().body


def _no_app(model: type[Body]) -> str:
    return f"{model.__name__} must have an app: class {model.__name__}(Body, app=…)"
