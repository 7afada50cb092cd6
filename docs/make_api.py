"""Write docs/api/ from the docstrings: ``python docs/make_api.py``; with ``--check``, only compare.

The sources are parsed, not imported: so the pages do not depend on the version of Python or on the
installed extras, and they show annotations and defaults as they are written. The command also
copies the docstrings of the methods of ``Bus`` to the functions of ``edr`` with the same names,
because editors and type checkers show the text in the source.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api"
DEFAULT_BUS = ROOT / "edr" / "bus" / "default.py"

PAGES = [
    "edr",
    "edr.control",
    "edr.streams",
    "edr.web",
    "edr.patterns",
    "edr.journal",
    "edr.delivery",
    "edr.links",
    "edr.sinks",
    "edr.sources",
    "edr.wire",
    "edr.typed",
    "edr.testing",
    "edr.adapters.logging",
    "edr.adapters.structlog",
    "edr.adapters.prometheus",
    "edr.adapters.opentelemetry",
    "edr.adapters.asgi",
    "edr.adapters.before_exit",
]
"""The modules that have a page. The first sentence of their docstrings is in the index."""

KINDS = ("Functions", "Classes", "Exceptions", "Other names")
SHOWN_DECORATORS = (
    "asynccontextmanager",
    "cached_property",
    "classmethod",
    "contextmanager",
    "property",
    "staticmethod",
)
MAX_LINE = 88
"""Characters of a signature on one line."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed source file."""

    name: str
    source: str
    tree: ast.Module
    is_package: bool

    def text(self, node: ast.AST) -> str:
        """Return the source of an expression or statement on one line."""
        assert isinstance(node, ast.expr | ast.stmt)
        # ast.get_source_segment splits the whole source for each node.
        lines = self.lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return " ".join(b" ".join(lines).decode().split())

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines of the source in UTF-8, as the offsets of ``ast`` count."""
        return self.source.encode().splitlines()


@dataclass(frozen=True)
class Found:
    """A definition, the module that has it, and the string below it if it is an assignment."""

    module: Module
    node: ast.AST
    below: str | None = None


@cache
def module_of(name: str) -> Module | None:
    """Return the module of edr with this name, or ``None`` if there is no such file."""
    path = ROOT.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.exists():
        return None
    source = file.read_text(encoding="utf-8")
    return Module(name, source, ast.parse(source), is_package=path.is_dir())


def public_names(module: Module) -> list[str]:
    """Return the names of ``__all__``, or the public definitions of a module without it."""
    names = [name for name, _ in definitions(module.tree.body) if not name.startswith("_")]
    for name, (node, _) in definitions(module.tree.body):
        if name == "__all__" and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            listed: list[str] = ast.literal_eval(node.value)
            return listed or names
    return names


def definitions(body: list[ast.stmt]) -> Iterator[tuple[str, tuple[ast.stmt, str | None]]]:
    """Yield each name that ``body`` defines, its statement, and the string below it."""
    for statement, following in zip(body, [*body[1:], None], strict=True):
        below = None
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            below = following.value.value if isinstance(following.value.value, str) else None
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement.name, (statement, None)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, (statement, below)
            case ast.If():
                yield from definitions(statement.body)
            case _ if type(statement).__name__ == "TypeAlias":
                yield statement.name.id, (statement, below)  # type: ignore[attr-defined]


@cache
def find(module: Module, name: str) -> Found | Module | None:
    """Return the definition that ``name`` of ``module`` stands for, through all its imports."""
    # The last one: an overloaded function is its implementation.
    for defined, (node, below) in reversed(list(definitions(module.tree.body))):
        if defined == name:
            return Found(module, node, below)
    imports = [node for node in ast.walk(module.tree) if isinstance(node, ast.ImportFrom)]
    for imported in imports:
        for alias in imported.names:
            if imported.module and (alias.asname or alias.name) == name:
                source = module_of(imported.module)
                is_other = source is not None and source.name != module.name
                found = find(source, alias.name) if source and is_other else None
                return found or module_of(f"{imported.module}.{alias.name}")
    return module_of(f"{module.name}.{name}")


def classes_of(found: Found) -> Iterator[Found]:
    """Yield a class, then those bases of it that are in edr."""
    yield found
    assert isinstance(found.node, ast.ClassDef)
    for base in found.node.bases:
        named = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(named, ast.Name):
            above = find(found.module, named.id)
            if isinstance(above, Found) and isinstance(above.node, ast.ClassDef):
                yield from classes_of(above)


def members(found: Found) -> dict[str, Found]:
    """Return the public methods, properties and fields of a class, inherited ones last."""
    kept: dict[str, Found] = {}
    for owner in classes_of(found):
        own: dict[str, Found] = {}
        assert isinstance(owner.node, ast.ClassDef)
        for name, (node, below) in definitions(owner.node.body):
            is_setter = isinstance(node, ast.FunctionDef) and any(
                owner.module.text(each).endswith(".setter") for each in node.decorator_list
            )
            if not name.startswith("_") and not is_setter:
                own[name] = Found(owner.module, node, below)
        kept |= {name: each for name, each in own.items() if name not in kept}
    return {name: each for name, each in kept.items() if docstring(each) or is_field(each)}


def is_field(found: Found) -> bool:
    """Return whether it is an attribute with an annotation, or a member of an enumeration."""
    return isinstance(found.node, ast.AnnAssign | ast.Assign)


def is_exception(found: Found) -> bool:
    """Return whether it is a class of exceptions or warnings."""
    return any(
        isinstance(base, ast.Name) and base.id.endswith(("Error", "Exception", "Warning"))
        for owner in classes_of(found)
        for base in getattr(owner.node, "bases", [])
    )


def kind_of(found: Found) -> str:
    """Return the heading below which it stands on its page."""
    if isinstance(found.node, Function):
        return "Functions"
    if isinstance(found.node, ast.ClassDef):
        return "Exceptions" if is_exception(found) else "Classes"
    return "Other names"


def docstring(found: Found) -> str:
    """Return the whole docstring, without its indentation."""
    if isinstance(found.node, Function | ast.ClassDef):
        return ast.get_docstring(found.node) or ""
    return inspect.cleandoc(found.below or "")


def signature(found: Found, name: str) -> str:
    """Return the code that shows how it is called, or how it is defined."""
    node, text = found.node, found.module.text
    if isinstance(node, Function):
        shown = [f"@{text(each)}\n" for each in node.decorator_list if is_shown(text(each))]
        prefix = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        result = f" -> {text(node.returns)}" if node.returns else ""
        return "".join(shown) + call(f"{prefix} {name}", parameters(found.module, node), result)
    if isinstance(node, ast.ClassDef):
        for owner in classes_of(found):
            assert isinstance(owner.node, ast.ClassDef)
            for defined, (made, _) in definitions(owner.node.body):
                if defined == "__init__" and isinstance(made, Function):
                    return call(f"class {name}", parameters(owner.module, made)[1:], "")
        bases = [text(base) for base in node.bases if not text(base).startswith("_")]
        return f"class {name}" + (f"({', '.join(bases)})" if bases else "")
    return text(node)


def is_shown(decorator: str) -> bool:
    """Return whether a decorator says how the function is used."""
    return decorator.rpartition(".")[2] in SHOWN_DECORATORS


def parameters(module: Module, node: Function) -> list[str]:
    """Return the parameters, with ``/`` and ``*`` where they are written."""
    arguments, text = node.args, module.text

    def one(each: ast.arg, default: ast.expr | None, stars: str = "") -> str:
        annotated = f"{stars}{each.arg}" + (f": {text(each.annotation)}" if each.annotation else "")
        if default is None:
            return annotated
        return (
            f"{annotated} = {text(default)}" if each.annotation else f"{annotated}={text(default)}"
        )

    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    shown = [one(each, default) for each, default in zip(positional, defaults, strict=True)]
    if arguments.posonlyargs:
        shown.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        shown.append(one(arguments.vararg, None, "*"))
    elif arguments.kwonlyargs:
        shown.append("*")
    shown += [
        one(each, default)
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        shown.append(one(arguments.kwarg, None, "**"))
    return shown


def call(start: str, arguments: list[str], result: str) -> str:
    """Return a signature on one line, or with a line for each argument if that is too long."""
    line = f"{start}({', '.join(arguments)}){result}"
    if len(line) <= MAX_LINE:
        return line
    return f"{start}(\n" + "".join(f"    {each},\n" for each in arguments) + f"){result}"


def markdown(text: str) -> str:
    """Return a docstring as Markdown: sections as lists, tables and examples as code."""
    text = re.sub(r"::(?=\n\n)", ":", text)
    text = re.sub(r"(?m)^=+( +=+)+\n(?:.*\n)*?=+( +=+)+$", lambda m: f"```text\n{m[0]}\n```", text)
    return re.sub(
        r"(?m)^(Args|Raises|Returns|Yields|Attributes):\n((?: {4}.*\n?|\n(?= ))+)",
        lambda m: f"**{m[1]}**\n\n{entries(m[1], textwrap.dedent(m[2]))}\n",
        text,
    ).strip()


def entries(section: str, text: str) -> str:
    """Return a section as a list of its entries."""
    if section in {"Returns", "Yields"}:
        return text
    return re.sub(r"(?m)^(\S[^:\n]*): ", r"- `\1`: ", text.replace("\n    ", "\n  "))


def summary(text: str) -> str:
    """Return the first sentence or line of a docstring."""
    return " ".join(text.partition("\n\n")[0].split())


def about(module: Module) -> str:
    """Return a module's docstring without its paragraph about the order of the source files."""
    text = ast.get_docstring(module.tree) or ""
    paragraphs = re.split(r"\n\n", text)
    return "\n\n".join(each for each in paragraphs if "in this order;" not in each)


def entry(found: Found, name: str, level: str) -> Iterator[str]:
    """Yield the parts of one name: heading, signature, docstring, and the members of a class."""
    yield f"{level} `{name}`" if level else ""
    yield f"```py\n{signature(found, name.rpartition('.')[2])}\n```"
    if docstring(found):
        yield markdown(docstring(found))
    if isinstance(found.node, ast.ClassDef):
        shown = members(found)
        plain = {each: member for each, member in shown.items() if is_field(member)}
        if plain:
            yield "\n".join(
                f"- `{member.module.text(member.node)}`"
                + (f": {' '.join(docstring(member).split())}" if docstring(member) else "")
                for member in plain.values()
            )
        for each, member in shown.items():
            if each not in plain:
                yield from entry(member, f"{name}.{each}", f"{level}#")


def section(module: Module) -> Iterator[str]:
    """Yield the parts of one module: its public names by kind, then the modules among them."""
    found = {name: find(module, name) for name in public_names(module)}
    for kind in KINDS:
        shown = {
            name: each
            for name, each in found.items()
            if isinstance(each, Found) and kind_of(each) == kind
        }
        if shown:
            yield f"## {kind}"
        for name, definition in shown.items():
            yield from entry(definition, name, "###")
    for name, each in found.items():
        if each is None:
            raise LookupError(f"{module.name}.{name} was not found in the sources")
        if isinstance(each, Module):
            yield f"## `{each.name}`"
            yield markdown(about(each))
            for inner in public_names(each):
                part = find(each, inner)
                if isinstance(part, Found) and part.module.name.startswith("edr"):
                    yield from entry(part, f"{name}.{inner}", "###")


def page(name: str) -> str:
    """Return the page of a module."""
    module = module_of(name)
    assert module is not None, name
    parts = [f"# `{name}`: API reference", markdown(about(module)), *section(module)]
    text = "\n\n".join(part.strip("\n") for part in parts if part)
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"


def index() -> str:
    """Return the page that lists the others."""
    rows = []
    for name in PAGES:
        module = module_of(name)
        assert module is not None
        rows.append(f"| [`{name}`]({name}.md) | {summary(about(module))} |\n")
    return (
        "# API reference\n\nEach page lists the public names of a package with their signatures "
        "and docstrings.\nThe pages are generated: `python docs/make_api.py` writes them again.\n\n"
        "| Package | Contents |\n|---|---|\n" + "".join(rows)
    )


@cache
def pages() -> dict[Path, str]:
    """Return the text of each page of docs/api, by its path."""
    return {API / f"{name}.md": page(name) for name in PAGES} | {API / "index.md": index()}


NOTE = "Acts on the default bus"
"""The first words of the paragraph that a function of edr has in addition to its method's."""


def with_note(method: str, note: str) -> str:
    """Return a method's docstring with a paragraph after its first one."""
    first, _, rest = method.partition("\n\n")
    return "\n\n".join(part for part in (first, note, rest) if part)


def note_of(text: str) -> str:
    """Return the paragraph of a function's docstring about the default bus."""
    return next(
        (each for each in text.split("\n\n") if each.startswith(NOTE)),
        f"{NOTE} of the running loop.",
    )


def copied_functions() -> dict[str, tuple[Function, str]]:
    """Return the functions of edr that repeat a method of ``Bus``, and the docstring of each."""
    default, bus = module_of("edr.bus.default"), module_of("edr.bus.bus")
    assert default is not None
    assert bus is not None
    found = find(bus, "Bus")
    assert isinstance(found, Found)
    methods = members(found)
    copied = {}
    for name, (node, _) in definitions(default.tree.body):
        if name in methods and isinstance(node, Function):
            note = note_of(ast.get_docstring(node) or "")
            copied[name] = node, with_note(docstring(methods[name]), note)
    return copied


def default_bus_source() -> str:
    """Return the source of the module functions with the docstrings of the methods."""
    lines = DEFAULT_BUS.read_text(encoding="utf-8").splitlines(keepends=True)
    for node, text in sorted(copied_functions().values(), key=lambda each: -each[0].lineno):
        old = node.body[0]
        assert isinstance(old, ast.Expr), node.name
        block = f'"""{text}"""' if "\n" not in text else f'"""{text}\n"""'
        indented = textwrap.indent(block, "    ").rstrip(" ") + "\n"
        lines[old.lineno - 1 : old.end_lineno] = [indented]
    return "".join(lines)


def main() -> int:
    """Write or compare, and return the exit status."""
    check = "--check" in sys.argv[1:]
    source = default_bus_source()
    changed = []
    if source != DEFAULT_BUS.read_text(encoding="utf-8"):
        changed.append(DEFAULT_BUS)
        if not check:
            DEFAULT_BUS.write_text(source, encoding="utf-8")
            module_of.cache_clear()
            find.cache_clear()
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed.append(path)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for path in changed:
        print("differs:" if check else "wrote", path.relative_to(ROOT))
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
