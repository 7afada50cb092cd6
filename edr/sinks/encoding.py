"""``Encoder``: a batch of events as bytes, in a form of ``edr.wire``.

============  ==============================  ==============================================
form          options                         one event, and several
============  ==============================  ==============================================
json                                          a document, an array
kazoo         include_metadata, normalize,    as json; the document of Kazoo's own backends
              pretty
cloudevents   mode = "binary"                 a document, an array in the batch form; in binary
                                              mode the body, with the attributes as headers
text                                          a line, lines
logfmt                                        a line, lines
============  ==============================  ==============================================

``lines`` writes one document a line in place of an array. Whether a batch is one document or an
array is fixed when the encoder is made, not by the size of a batch. So a receiver gets one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from edr.errors import did_you_mean
from edr.records import Event
from edr.sinks.errors import RejectError
from edr.wire import cloudevents, kazoo_json, logfmt, native, text

LINES_CONTENT_TYPE = "application/x-ndjson"


class Encoded(NamedTuple):
    """A batch as bytes."""

    data: bytes
    content_type: str
    headers: Mapping[str, str] = {}
    """Further headers: the attributes of a CloudEvent in binary mode."""


class _Form(NamedTuple):
    encode: Callable[..., bytes]
    content_type: str
    options: Mapping[str, type] = {}
    is_text: bool = False


_FORMS = {
    "json": _Form(native.encode, native.CONTENT_TYPE),
    "kazoo": _Form(
        kazoo_json.encode,
        kazoo_json.CONTENT_TYPE,
        {"include_metadata": bool, "normalize": bool, "pretty": bool},
    ),
    "cloudevents": _Form(cloudevents.encode, cloudevents.CONTENT_TYPE, {"mode": str}),
    "text": _Form(text.encode, text.CONTENT_TYPE, is_text=True),
    "logfmt": _Form(logfmt.encode, logfmt.CONTENT_TYPE, is_text=True),
}

FORMS: tuple[str, ...] = tuple(_FORMS)
"""The names of the forms."""


class Encoder:
    """Encodes batches. Call it with a batch; two encoders with the same options are equal.

    Args:
        form: one of ``FORMS``.
        single: each batch is one event, and is written as one document.
        lines: one document a line.
        options: the options of the form; see the table above.

    Raises:
        ValueError: a value is not valid; the message names it.
    """

    def __init__(
        self, form: str = "json", *, single: bool = False, lines: bool = False, **options: Any
    ) -> None:
        if form not in _FORMS:
            names = ", ".join(FORMS)
            raise ValueError(
                f"format must be one of {names}, got {form!r}{did_you_mean(str(form), FORMS)}"
            )
        known = _FORMS[form]
        for name, value in options.items():
            if name not in known.options:
                raise ValueError(
                    f"format {form} has no option {name!r}{did_you_mean(name, known.options)}"
                )
            if not isinstance(value, known.options[name]):
                kind = known.options[name].__name__
                raise ValueError(f"format option {name} must be a {kind}, got {value!r}")
        mode = options.pop("mode", "structured")
        if mode not in {"structured", "binary"}:
            raise ValueError(f"format option mode must be structured or binary, got {mode!r}")
        self._is_binary = mode == "binary"
        if self._is_binary and (not single or lines):
            raise ValueError("format option mode = binary needs batches of one event")
        self._form = form
        self._options = options
        self._is_single = single
        self._is_lines = lines or known.is_text
        self._encode = partial(known.encode, **options) if options else known.encode
        self.content_type: str = self._content_type(known)

    def _content_type(self, form: _Form) -> str:
        if self._is_binary:
            return cloudevents.BINARY_CONTENT_TYPE
        if self._is_single or form.is_text:
            return form.content_type
        if self._is_lines:
            return LINES_CONTENT_TYPE
        if form.encode is cloudevents.encode:
            return cloudevents.BATCH_CONTENT_TYPE
        return form.content_type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encoder) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[object, ...]:
        options = tuple(sorted(self._options.items()))
        return (self._form, self._is_single, self._is_lines, self._is_binary, options)

    def __repr__(self) -> str:
        return f"<Encoder {self._form!r}, {self.content_type}>"

    def __call__(self, batch: Sequence[Event]) -> Encoded:
        """Return ``batch`` as bytes.

        Raises:
            RejectError: the form cannot express some events; it names them.
        """
        if self._is_single and len(batch) != 1:
            raise ValueError(f"batches must have one event in this format, got {len(batch)}")
        if self._is_binary:
            headers, data = cloudevents.encode_binary(batch[0])
            return Encoded(data, headers.pop("content-type"), headers)
        documents = self._documents(batch)
        if self._is_single:
            data = documents[0]
        elif self._is_lines:
            data = b"\n".join([*documents, b""])
        else:
            data = b"[" + b",".join(documents) + b"]"
        return Encoded(data, self.content_type)

    def _documents(self, batch: Sequence[Event]) -> list[bytes]:
        try:
            return [self._encode(event) for event in batch]
        except Exception:  # subclasses of Event may have fields that a form cannot express
            raise self._rejection(batch) from None

    def _rejection(self, batch: Sequence[Event]) -> RejectError:
        reasons = {}
        for index, event in enumerate(batch):
            try:
                self._encode(event)
            except Exception as exc:  # as above
                reasons[index] = f"cannot be written as {self._form}: {exc}"
        return RejectError(reasons or "cannot be written")
