"""``FrozenModel``: the base of ``Event`` and ``Binding``, which raises errors of edr.

It translates Pydantic's ``ValidationError`` in ``__init__``, ``model_validate`` and
``model_validate_json``, and nowhere else. As a field of another model (such as settings with a list
of bindings), a wrong value is reported by that model's ``ValidationError``, as for any field.

The signature shows names and types without Pydantic's annotations, and ``repr`` shows only the
fields that differ from their defaults.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from inspect import Signature
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

from edr.errors import InvalidBindingError, InvalidEventError, did_you_mean
from edr.records.levels import Severity, Verbosity, why_no_level

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    class _Metaclass(ModelMetaclass):
        """Hides pydantic's ``dataclass_transform`` from type checkers.

        With it they would derive ``__init__`` of a subclass of ``Event`` from the fields, and
        refuse ``severity="ok"``.
        """
else:
    _Metaclass = type(BaseModel)


class FrozenModel(BaseModel, metaclass=_Metaclass):
    """An immutable model that refuses unknown fields and raises ``_invalid``."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")
    _invalid: ClassVar[type[InvalidEventError | InvalidBindingError]]
    if TYPE_CHECKING:
        __signature__: ClassVar[Signature]  # set in __pydantic_init_subclass__

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as exc:
            raise self._translated(exc) from exc

    # Pydantic sets this mark on its own __init__. Without the mark, model_validate would call this
    # __init__ for each instance, which takes several times as long.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        try:
            types = get_type_hints(cls)  # without the metadata of Annotated
        except NameError:  # an annotation of a user's subclass is not defined yet
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
            if name not in self.__dict__:  # the instance was not validated
                continue
            value = self.__dict__[name]
            if field.is_required() or field.default_factory is not None or value != field.default:
                yield name, _plain(value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """Return this instance, or with ``update`` a new, validated one.

        Unlike Pydantic's method, it validates ``update``. An immutable instance needs no copy.
        """
        return type(self).model_validate({**self.__dict__, **update}) if update else self

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """Return a validated instance.

        Pydantic's method does not validate, but edr relies on the fields of an instance.
        """
        return cls.model_validate(values)

    def copy(self, **options: Any) -> Self:
        """Return ``model_copy(**options)``; Pydantic's deprecated method does not validate."""
        return self.model_copy(**options)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Validate a mapping, with Pydantic's options."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as exc:
            raise cls._translated(exc) from exc

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Validate JSON text, with Pydantic's options."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as exc:
            raise cls._translated(exc) from exc

    @classmethod
    def _translated(cls, exc: ValidationError) -> InvalidEventError | InvalidBindingError:
        return cls._invalid.from_validation(exc, cls._in_our_words)

    @classmethod
    def _in_our_words(cls, fault: Mapping[str, Any]) -> str | None:
        """Return edr's message for a fault, with the likely field or level; None for Pydantic's."""
        field = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "extra_forbidden":
            return f"unknown field{did_you_mean(field, cls.model_fields)}"
        if fault["type"] == "enum" and field in _LEVELS:
            return why_no_level(fault["input"], _LEVELS[field])
        return None


_LEVELS: dict[str, type[Severity | Verbosity]] = {"severity": Severity, "verbosity": Verbosity}


def _plain(value: Any) -> Any:
    """Return ``value`` as plain text or tuple, which the model accepts too."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.isoformat() if isinstance(value, datetime) else value
