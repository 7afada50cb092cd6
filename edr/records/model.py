"""The frozen Pydantic model under ``Event`` and ``Binding``: errors become edr's own.

Pydantic's ``ValidationError`` is translated here and nowhere else, at the three doors through
which a user makes a model. Inside another model (a settings class with a list of bindings) the
outer model's ``ValidationError`` reports the fault, as it does for any field.

What a person sees of a model is short: a signature of names and types, a ``repr`` of what is not
the default, and a ``help`` of what edr itself says. Pydantic's own would be 33,000 characters for
``Binding``: every validator and JSON Schema twice, and all that any model can do.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from inspect import Signature
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic._internal._model_construction import ModelMetaclass

from edr.errors import InvalidBindingError, InvalidEventError, did_you_mean
from edr.records.levels import Severity, Verbosity, why_no_level


class _Brief(ModelMetaclass):
    """The class of models that list what they themselves define; of instances all is listed."""

    def __dir__(self) -> list[str]:
        """Name what ``help`` shows. What pydantic adds is there, and in pydantic's manual."""
        own = {name for name in vars(self) if not name.startswith("_") and name != "model_config"}
        return sorted({*own, "model_validate", "model_validate_json"})


class FrozenModel(BaseModel, metaclass=_Brief):
    """A model that cannot change, takes no unknown field, and raises ``_invalid``."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")
    _invalid: ClassVar[type[InvalidEventError | InvalidBindingError]]
    if TYPE_CHECKING:
        __signature__: ClassVar[Signature]  # set below; a type checker would infer it

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as exc:
            raise self._translated(exc) from exc

    # Pydantic marks its own __init__ so, and otherwise routes every validation through a custom
    # one, at several times the cost. Ours only translates, so that detour has no use.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        try:
            types = get_type_hints(cls)  # without what Annotated adds to them
        except NameError:  # a subclass of a user's names what is not defined yet
            return
        cls.__signature__ = Signature(
            [
                parameter.replace(
                    annotation=types.get(name, parameter.annotation),
                    default=_plain(parameter.default),
                )
                for name, parameter in cls.__signature__.parameters.items()
            ]
        )

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        for name, field in type(self).model_fields.items():
            if name not in self.__dict__:  # it was never validated
                continue
            value = self.__dict__[name]
            if field.is_required() or field.default_factory is not None or value != field.default:
                yield name, _plain(value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """Return this, or with ``update`` a new instance, validated as any other.

        Pydantic's own checks nothing; what cannot change needs no copy, deep or not.
        """
        return type(self).model_validate({**self.__dict__, **update}) if update else self

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """Return a validated instance.

        Pydantic's own checks nothing, and what takes an instance relies on its fields.
        """
        return cls.model_validate(values)

    def copy(self, **options: Any) -> Self:
        """As ``model_copy``; pydantic's deprecated one checks nothing either."""
        return self.model_copy(**options)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Validate a mapping; pydantic's options."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as exc:
            raise cls._translated(exc) from exc

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Validate JSON text; pydantic's options."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as exc:
            raise cls._translated(exc) from exc

    @classmethod
    def _translated(cls, exc: ValidationError) -> InvalidEventError | InvalidBindingError:
        return cls._invalid.from_validation(exc, cls._in_our_words)

    @classmethod
    def _in_our_words(cls, fault: Mapping[str, Any]) -> str | None:
        """Say what pydantic cannot know: which field, or which level, was meant."""
        field = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "extra_forbidden":
            return f"there is no such field{did_you_mean(field, cls.model_fields)}"
        if fault["type"] == "enum" and field in _LEVELS:
            return why_no_level(fault["input"], _LEVELS[field])
        return None


_LEVELS: dict[str, type[Severity | Verbosity]] = {"severity": Severity, "verbosity": Verbosity}


def _plain(value: Any) -> Any:
    """Return what a reader would write for ``value``; the model takes that too."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.isoformat() if isinstance(value, datetime) else value
