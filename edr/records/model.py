"""The frozen Pydantic model under ``Event`` and ``Binding``: errors become edr's own.

Pydantic's ``ValidationError`` is translated here and nowhere else, at the three doors through
which a user makes a model. Inside another model (a settings class with a list of bindings) the
outer model's ``ValidationError`` reports the fault, as it does for any field.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from edr.errors import InvalidBinding, InvalidEvent


class FrozenModel(BaseModel):
    """A model that cannot change, takes no unknown field, and raises ``_invalid``."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")
    _invalid: ClassVar[type[InvalidEvent | InvalidBinding]]

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as exc:
            raise self._invalid.from_validation(exc) from exc

    # Pydantic marks its own __init__ so, and otherwise routes every validation through a custom
    # one, at several times the cost. Ours only translates, so that detour has no use.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """Return this, or with ``update`` a new instance, validated as any other.

        Pydantic's own checks nothing; what cannot change needs no copy, deep or not.
        """
        return type(self).model_validate({**self.__dict__, **update}) if update else self

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Validate a mapping or an instance; pydantic's options."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as exc:
            raise cls._invalid.from_validation(exc) from exc

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Validate JSON text; pydantic's options."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as exc:
            raise cls._invalid.from_validation(exc) from exc
