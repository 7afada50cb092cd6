"""Write the tables of docs/configuration.md from the models: ``python docs/make_configuration.py``.

With ``--check``, only compare. A table stands between ``<!-- keys: NAME -->`` and ``<!-- end -->``.
"""

import re
import sys
from pathlib import Path
from typing import get_args

from edr.app.config import toml_text
from edr.app.config.checked import Checked
from edr.app.config.formats import FORMATS
from edr.app.config.links import LINKS, LinkConfig
from edr.app.config.model import Configuration
from edr.app.config.section import Section, written_of
from edr.app.config.sinks import SINKS, SinkConfig
from edr.app.config.sources import SOURCES, SourceConfig

PAGE = Path(__file__).parent / "configuration.md"

MODELS = {
    name: next(
        each
        for each in (field.annotation, *get_args(field.annotation))
        if isinstance(each, type) and issubclass(each, Section)
    )
    for name, field in Configuration.model_fields.items()
    if name not in {"sources", "links", "sinks"}
}
"""The model of each table of the page."""

BASES = {"sources": SourceConfig, "links": LinkConfig, "sinks": SinkConfig}
for section, models in (("sources", SOURCES), ("links", LINKS), ("sinks", SINKS)):
    MODELS[section] = BASES[section]
    MODELS |= {f"{section}.{kind}": model for kind, model in models.items() if kind != "amqp"}
MODELS |= {f"format.{kind}": model for kind, model in FORMATS.items()}


def table_of(name: str) -> str:
    """Return the table of a model: the keys that its base does not have, with those of tables."""
    base = BASES.get(name.partition(".")[0])
    inherited = set(base.model_fields) if base and base is not MODELS[name] else set()
    rows = list(_rows(MODELS[name], "", inherited | {"type"}))
    if not rows:
        return "No further keys.\n"
    return "| Key | Value | Default | Meaning |\n|---|---|---|---|\n" + "".join(rows)


def _rows(model, prefix, left_out):
    for name, field in model.model_fields.items():
        if name in left_out:
            continue
        inner = next(
            (
                each
                for each in (field.annotation, *get_args(field.annotation))
                if isinstance(each, type) and issubclass(each, Section)
            ),
            None,
        )
        written = written_of(field)
        form = written.form if written else "table"
        default = _default(field, written)
        yield f"| `{prefix}{name}` | {form} | {default} | {field.description} |\n"
        if written is None:
            yield from _rows(inner, f"{prefix}{name}.", {"type"})


def _default(field, written):
    if field.is_required():
        return "required"
    value = written.write(field.default) if isinstance(written, Checked) else field.default
    if value is None or isinstance(value, dict):
        return "none" if value is None else "`{}`"
    if isinstance(value, Section):
        return f'`"{value.type}"`' if written else ""
    if isinstance(value, tuple) and written.form.startswith("bindings"):
        return f"`[{'{}' if value else ''}]`"
    return f"`{toml_text.literal(list(value) if isinstance(value, tuple) else value)}`"


def filled(page: str) -> str:
    """Return the page with the tables of the models."""
    return re.sub(
        r"(<!-- keys: (\S+) -->\n).*?(?=<!-- end -->)",
        lambda match: match[1] + table_of(match[2]),
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        sys.exit(text != filled(text))
    PAGE.write_text(filled(text), encoding="utf-8")
