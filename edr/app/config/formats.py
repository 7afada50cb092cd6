"""The formats of a sink: ``format = "text"``, ``format = { type = "kazoo", pretty = true }``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo

from edr.app.config.checked import Checked
from edr.app.config.quantities import Flag
from edr.app.config.section import Section, one_of
from edr.app.config.texts import choice


class FormatConfig(Section):
    """The form of events as bytes. ``type`` names it."""

    types: ClassVar[tuple[str, ...]] = ("json", "kazoo", "cloudevents", "text", "logfmt")
    type: Literal["json", "kazoo", "cloudevents", "text", "logfmt"] = "json"


class JsonFormat(FormatConfig):
    """edr's own JSON, which every source of edr reads."""

    type: Literal["json"] = "json"
    lines: Flag = Field(default=False, description="one line for each event, instead of an array")


class KazooFormat(FormatConfig):
    """The JSON that Kazoo's own file and HTTP backends write."""

    type: Literal["kazoo"] = "kazoo"
    include_metadata: Flag = Field(default=True, description="false: the body alone")
    normalize: Flag = Field(default=True, description="keys in lower case with underscores")
    pretty: Flag = Field(default=False, description="several lines for each event")
    lines: Flag = Field(default=False, description="one line for each event, instead of an array")


class CloudEventsFormat(FormatConfig):
    """CloudEvents 1.0."""

    type: Literal["cloudevents"] = "cloudevents"
    mode: Annotated[str, choice("structured", "binary")] = Field(
        default="structured",
        description="`binary`: the attributes in HTTP headers and the body alone as the content; "
        "needs `batch.events = 1`",
    )
    lines: Flag = Field(default=False, description="one line for each event, instead of an array")


class TextFormat(FormatConfig):
    """One line for people."""

    type: Literal["text"] = "text"


class LogfmtFormat(FormatConfig):
    """One line of ``key=value`` pairs."""

    type: Literal["logfmt"] = "logfmt"


FORMATS: Mapping[str, type[FormatConfig]] = {
    "json": JsonFormat,
    "kazoo": KazooFormat,
    "cloudevents": CloudEventsFormat,
    "text": TextFormat,
    "logfmt": LogfmtFormat,
}

_TABLE = one_of(FormatConfig, FORMATS)


def _format(value: object, info: ValidationInfo) -> Any:
    return _TABLE.check({"type": value} if isinstance(value, str) else value, info)


Format = Annotated[
    JsonFormat | KazooFormat | CloudEventsFormat | TextFormat | LogfmtFormat,
    Checked("name or table", _format),
]
