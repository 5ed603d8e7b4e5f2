"""The rules of docs/architecture.md as tables and functions over syntax trees."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support.paths import ROOT

PACKAGES = {"isnet_cli": ROOT, "isnet_models": ROOT / "models", "isnet_lrp": ROOT / "models"}

# Folder of isnet_cli -> folders it may import. `errors` is a single module.
FLOOR = {"core", "config", "errors", "guard", "text"}
SHARED = FLOOR | {
    "images",
    "labels",
    "annotations",
    "dataset",
    "stats",
    "output",
    "phantoms",
    "inference",
}
SLICES = {"ingest", "masks", "train", "evaluate", "heatmap", "check", "export"}
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "text": set(),
    "guard": {"errors"},
    "config": {"errors", "guard", "text"},
    "core": {"config", "errors", "guard", "text"},
    "images": FLOOR,
    "phantoms": FLOOR | {"images"},
    "labels": FLOOR | {"images"},
    "annotations": FLOOR | {"images", "labels"},
    "dataset": FLOOR | {"images", "labels"},
    "stats": FLOOR,
    "output": FLOOR | {"images"},  # DICOM files refer to the source of an image
    "inference": FLOOR | {"images", "labels", "dataset", "stats"},
    **dict.fromkeys(SLICES - {"check"}, SHARED),
    "check": SHARED | {"ingest"},  # a dry run of it
    "report": SHARED | SLICES,
    "track": FLOOR,
    "cards": SHARED | {"report"},
    "demo": SHARED | {"report"},
    "benchmark": SHARED | SLICES | {"report", "demo"},
    "cli": SHARED | SLICES | {"report", "benchmark", "demo", "cards", "track"},
    "__main__": {"cli"},
}
MODELS_FROM = (  # need no torch
    *("isnet_models.methods.registry", "isnet_models.methods.settings", "isnet_models.registry"),
)

# At the top of these, heavy libraries may not be imported: `isnet --help` must be instant.
LIGHT = {"cli", "config", "core", "errors", "guard", "labels", "images", "text"}
HEAVY = {
    *("torch", "torchvision", "timm", "segmentation_models_pytorch", "safetensors", "SimpleITK"),
    *("pydicom", "highdicom", "sklearn", "scipy", "matplotlib", "jinja2", "rich"),
}
MAY_BE_HEAVY = {("isnet_cli.cli.terminal.live", "rich")}  # imported when there is a terminal
# What each package of the mathematics may import besides Python's own library and itself.
MATHEMATICS = {
    "isnet_lrp": {"torch"},
    "isnet_models": {
        *("torch", "torchvision", "timm", "segmentation_models_pytorch", "safetensors"),
        "isnet_lrp",
        "pydantic",  # settings check themselves
    },
}
WITH_FILES = ("isnet_models.weights", "isnet_models.registry", "isnet_models.pretrained")
FILES = {"pathlib", "os", "shutil", "tempfile"}
TEST_ONLY = {"zennit", "captum", "pytest", "hypothesis"}
NETWORK = {"socket", "ssl", "urllib.request", "http", "requests", "httpx", "huggingface_hub"}
UNSAFE_MODULES = {"pickle", "shelve", "marshal", "dill", "joblib", "matplotlib.pyplot", "pylab"}
OUTSIDE = {"tests", "models", "benchmarks"}
MUTATORS = {
    *("append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear"),
    *("remove", "discard", "sort", "reverse"),
}


@dataclass(frozen=True)
class Module:
    """One source file: dotted name, path for messages, text, syntax tree."""

    name: str
    path: str
    text: str
    tree: ast.Module


def parse(name: str, text: str, path: str = "snippet.py") -> Module:
    return Module(name, path, text, ast.parse(text))


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every module of the three packages, read once."""
    found = []
    for package, base in PACKAGES.items():
        for path in sorted((base / package).rglob("*.py")):
            name = ".".join(path.relative_to(base).with_suffix("").parts)
            text = path.read_text(encoding="utf-8")
            found.append(parse(name, text, str(path.relative_to(ROOT))))
    return tuple(found)


@dataclass(frozen=True)
class Import:
    """An imported module (for ``from a import b`` both ``a`` and ``a.b``) and where it stands."""

    name: str
    line: int
    top: bool  # executed when the module is imported


def imports(module: Module) -> Iterator[Import]:
    yield from _imports(module.tree.body, top=True)


def _imports(body: list[ast.stmt], top: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield Import(base, node.lineno, top)
            yield from (Import(f"{base}.{alias.name}", node.lineno, top) for alias in node.names)
        else:
            inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue  # for the type checker alone
            for field in ("body", "orelse", "finalbody", "handlers"):
                for part in getattr(node, field, []):
                    nested = part.body if isinstance(part, ast.ExceptHandler) else [part]
                    yield from _imports(nested, top and not inside)


def folder(name: str) -> str:
    """``isnet_cli.images.dicom.codec`` -> ``images``; ``isnet_cli.errors`` -> ``errors``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def _is(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def check_arrows(module: Module) -> list[str]:
    """Imports point down; slices do not meet; the mathematics knows nothing of the program."""
    faults = []
    package, mine = module.name.split(".")[0], folder(module.name)
    for entry in imports(module):
        other, top = folder(entry.name), entry.name.split(".")[0]
        wrong = top in OUTSIDE
        if package in MATHEMATICS:
            known = {package, *MATHEMATICS[package], *sys.stdlib_module_names}
            wrong |= top not in known
        elif top == "isnet_cli" and other in ARROWS and mine in ARROWS:
            wrong |= other != mine and other not in ARROWS[mine]
        elif top in MATHEMATICS and mine in LIGHT:
            wrong |= entry.name == top or not any(
                _is(name, entry.name) or _is(entry.name, name) for name in MODELS_FROM
            )
        if wrong:
            faults.append(f"{module.path}:{entry.line}: {mine or package} imports {entry.name}")
    return faults


def check_heavy(module: Module) -> list[str]:
    """Heavy libraries are not imported at the top of what every start of the program loads."""
    if not (_is(module.name, "isnet_cli") and folder(module.name) in LIGHT):
        return []
    found = [(entry.name.split(".")[0], entry) for entry in imports(module) if entry.top]
    return [
        f"{module.path}:{entry.line}: {library} imported at the top"
        for library, entry in found
        if library in HEAVY and (module.name, library) not in MAY_BE_HEAVY
    ]


def check_foreign(module: Module) -> list[str]:
    """No unsafe formats, no network, no test libraries; files only where the table says."""
    banned = {*UNSAFE_MODULES, *NETWORK, *TEST_ONLY}
    if module.name.split(".")[0] in MATHEMATICS and module.name not in WITH_FILES:
        banned |= FILES
    return [
        f"{module.path}:{entry.line}: imports {entry.name}"
        for entry in imports(module)
        if any(_is(entry.name, ban) for ban in banned)
    ]


def check_calls(module: Module) -> list[str]:
    """No call that runs or unpacks what a file says."""
    faults = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        words = {word.arg: ast.unparse(word.value) for word in node.keywords if word.arg}
        bad = (
            called in {"eval", "exec", "compile", "yaml.load", "os.system", "os.popen"}
            or called.endswith((".extractall", "hub.load"))
            or words.get("weights_only") == "False"
            or words.get("shell") == "True"
            or words.get("allow_pickle") == "True"
            or (called == "torch.load" and words.get("weights_only") != "True")
        )
        if bad:
            faults.append(f"{module.path}:{node.lineno}: {ast.unparse(node)[:60]}")
    return faults


def check_reading(module: Module) -> list[str]:
    """Whatever is read is opened by `isnet_cli.guard.opening`: never a pipe, and within limits."""
    if folder(module.name) == "guard" or not _is(module.name, "isnet_cli"):
        return []
    faults = []
    for node in ast.walk(module.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        called, name = ast.unparse(node.func), node.func.attr
        first = ast.unparse(node.args[0]) if node.args else ""
        own = called in {"header.read_text", "attributes.read_text"}
        bad = (
            (name in {"read_text", "read_bytes"} and not own)
            or (name == "open" and (not first or first.startswith("'r")) and first != "'rb+'")
            or (called in {"np.load", "pydicom.dcmread", "Image.open"} and "path" in first)
            or called in {"pydicom.read_file", "np.fromfile", "torch.from_file"}
        )
        if bad and called not in {"webbrowser.open", "os.open"}:
            faults.append(f"{module.path}:{node.lineno}: {ast.unparse(node)[:60]}")
    return faults


def check_state(module: Module) -> list[str]:
    """No state in modules: no `global`, no mutable names, constants are never changed."""
    faults = []
    constants = set()
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if not isinstance(target, ast.Name):
                continue
            value = node.value  # type: ignore[union-attr]
            if target.id.isupper():
                constants.add(target.id)
            elif target.id != "__all__" and _mutable(value):
                faults.append(f"{module.path}:{node.lineno}: mutable '{target.id}'")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            faults.append(f"{module.path}:{node.lineno}: global {', '.join(node.names)}")
        changed = _changed(node)
        if changed in constants:
            faults.append(f"{module.path}:{node.lineno}: changes {changed}")  # type: ignore[attr-defined]
    return faults


def _mutable(value: ast.expr | None) -> bool:
    displays = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    if isinstance(value, ast.Call):
        return ast.unparse(value.func) in {"list", "dict", "set", "defaultdict", "Counter", "deque"}
    return isinstance(value, displays)


def _changed(node: ast.AST) -> str | None:
    """Name of the variable whose content a statement changes, if it is a plain name."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = node.func.value
        if node.func.attr in MUTATORS and isinstance(owner, ast.Name):
            return owner.id
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return node.value.id if isinstance(node.value, ast.Name) else None
    return None


def check_docstrings(module: Module) -> list[str]:
    """Every public name says what it is."""
    faults = [] if ast.get_docstring(module.tree) else [f"{module.path}: no docstring"]
    for node in module.tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            faults += _silent(module, node, node.name)
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                        faults += _silent(module, inner, f"{node.name}.{inner.name}")
    return faults


def _silent(module: Module, node: ast.FunctionDef | ast.ClassDef, name: str) -> list[str]:
    overridden = any("override" in ast.unparse(d) for d in node.decorator_list)
    if ast.get_docstring(node) or overridden:
        return []
    return [f"{module.path}:{node.lineno}: {name} has no docstring"]


def check_dependencies(module: Module, declared: set[str], optional: set[str]) -> list[str]:
    """Every imported distribution is declared; optional ones are imported inside functions.

    Args:
        module: The module.
        declared: Import names of the declared dependencies, ours included.
        optional: Import names of the extras' dependencies.
    """
    faults = []
    for entry in imports(module):
        top = entry.name.split(".")[0]
        if top in sys.stdlib_module_names or top in PACKAGES or top in declared:
            continue
        if top not in optional:
            faults.append(f"{module.path}:{entry.line}: {top} is not declared in pyproject.toml")
        elif entry.top:
            faults.append(f"{module.path}:{entry.line}: {top} is optional, but imported at the top")
    return faults


CHECKS: dict[str, Callable[[Module], list[str]]] = {
    "arrows": check_arrows,
    "heavy": check_heavy,
    "foreign": check_foreign,
    "calls": check_calls,
    "reading": check_reading,
    "state": check_state,
    "docstrings": check_docstrings,
}
