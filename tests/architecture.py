"""The rules of docs/architecture.md as tables and functions over syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_FILE, MAX_FUNCTION = 500, 80  # lines

# Layer -> layers it may import. A layer is a package of isnet_cli, or one of its single modules.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "ports": set(),
    "config": {"errors"},
    "data": {"config", "errors", "ports"},
    "measure": {"config", "errors", "ports"},
    "export": {"config", "errors", "ports"},
    "runs": {"config", "errors", "ports"},
    "stages": {"data", "measure", "export", "runs", "config", "errors", "ports"},
    "cli": {"stages", "runs", "config", "errors", "ports"},
}
ABOVE_THE_MATHEMATICS = ("isnet_cli.stages.", "isnet_cli.measure.", "isnet_cli.data.dataset")
WITHOUT_TORCH = ("isnet_models.methods", "isnet_models.methods.registry")  # anyone may import

# Heavy library -> modules that may import it at all, then those that may do so at their top.
MODELS, STAGES, MEASURE = "isnet_models.", "isnet_cli.stages.", "isnet_cli.measure."
CLI, CONFIG = "isnet_cli.cli.", "isnet_cli.config."
TENSORS = ("isnet_cli.data.dataset", "isnet_cli.data.augment")
DICOM = (
    *("codec", "dicom", "dicom_write", "greyscale", "header", "origin", "peek", "pixelmodule"),
    "read",
)
VIEWER = tuple(f"isnet_cli.export.dicom_{name}" for name in ("capture", "filing", "seg"))
FIGURES = tuple(
    f"isnet_cli.export.{name}" for name in ("curves", "figures", "forest", "plotting", "spans")
)
HEAVY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "torch": (
        (MODELS, STAGES, MEASURE, *TENSORS, "isnet_cli.runs.runtime", "isnet_cli.runs.checkpoint"),
        (MODELS, STAGES, MEASURE, *TENSORS),
    ),
    "torchvision": ((MODELS, *TENSORS), (MODELS, *TENSORS)),
    "segmentation_models_pytorch": ((MODELS,), (MODELS,)),
    "safetensors": ((MODELS, STAGES), (MODELS, STAGES)),
    "SimpleITK": (
        (
            *("isnet_cli.data.codec", "isnet_cli.export.nifti", f"{MEASURE}masks_qc"),
            *(f"{STAGES}masks_post", f"{STAGES}doctor"),
        ),
        (f"{MEASURE}masks_qc", f"{STAGES}masks_post"),
    ),
    "pydicom": ((*(f"isnet_cli.data.{name}" for name in DICOM), *VIEWER), ()),
    "highdicom": (("isnet_cli.export.dicom_seg",), ()),
    "sklearn": ((MEASURE,), ()),
    "matplotlib": (FIGURES, FIGURES),
    "jinja2": (("isnet_cli.export.",), ("isnet_cli.export.",)),
    "rich": ((f"{CLI}live",), (f"{CLI}live",)),
    "pydantic": ((CONFIG,), (CONFIG,)),
    "yaml": ((CONFIG,), (CONFIG,)),
    "typer": ((CLI,), (CLI,)),
}
TEST_ONLY = {"zennit", "captum", "pytest", "hypothesis"}
NETWORK = {"socket", "ssl", "urllib.request", "http", "requests", "httpx", "huggingface_hub"}
UNSAFE_MODULES = {"pickle", "shelve", "marshal", "dill", "joblib", "matplotlib.pyplot", "pylab"}
MATHEMATICS_WITH_FILES = ("isnet_models.weights", "isnet_models.registry")
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


def modules() -> list[Module]:
    """Every module of both packages."""
    found = []
    for base, package in ((ROOT, "isnet_cli"), (ROOT / "models", "isnet_models")):
        for path in sorted((base / package).rglob("*.py")):
            name = ".".join(path.relative_to(base).with_suffix("").parts)
            text = path.read_text(encoding="utf-8")
            found.append(parse(name, text, str(path.relative_to(ROOT))))
    return found


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
                inner = getattr(node, field, [])
                for part in inner:
                    nested = part.body if isinstance(part, ast.ExceptHandler) else [part]
                    yield from _imports(nested, top and not inside)


def layer(name: str) -> str:
    """``isnet_cli.data.dicom`` -> ``data``; ``isnet_cli.errors`` -> ``errors``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == p or name.startswith(p if p.endswith(".") else f"{p}.") for p in prefixes)


def _is(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def check_arrows(module: Module) -> list[str]:
    """Imports point down; siblings do not meet; the mathematics knows nothing of the program."""
    faults = []
    for entry in imports(module):
        if module.name.startswith("isnet_models"):
            if _is(entry.name, "isnet_cli"):
                faults.append(f"{module.path}:{entry.line}: isnet_models imports {entry.name}")
        elif _is(entry.name, "isnet_models"):
            free = entry.name in WITHOUT_TORCH or within(module.name, ABOVE_THE_MATHEMATICS)
            if not free:
                faults.append(f"{module.path}:{entry.line}: imports {entry.name}")
        elif _is(entry.name, "isnet_cli"):
            mine, other = layer(module.name), layer(entry.name)
            known = other in ARROWS and mine in ARROWS
            if known and other != mine and other not in ARROWS[mine]:
                faults.append(f"{module.path}:{entry.line}: {mine} imports {other}")
    return faults


def check_heavy(module: Module) -> list[str]:
    """Heavy libraries only where the table says, and at the top only where it says that."""
    faults = []
    for entry in imports(module):
        library = entry.name.split(".")[0]
        anywhere, at_top = HEAVY.get(library, (("",), ("",)))
        if library not in HEAVY:
            continue
        if not within(module.name, anywhere):
            faults.append(f"{module.path}:{entry.line}: {library} does not belong here")
        elif entry.top and not within(module.name, at_top):
            faults.append(f"{module.path}:{entry.line}: {library} imported at the top")
    return faults


def check_foreign(module: Module) -> list[str]:
    """No unsafe formats, no network, no test libraries; files only where the table says."""
    faults = []
    mathematics = module.name.startswith("isnet_models")
    for entry in imports(module):
        name = entry.name
        banned = {*UNSAFE_MODULES, *NETWORK, *TEST_ONLY}
        if mathematics and not within(module.name, MATHEMATICS_WITH_FILES):
            banned |= {"pathlib", "os", "yaml", "shutil", "tempfile"}
        if any(_is(name, ban) for ban in banned):
            faults.append(f"{module.path}:{entry.line}: imports {name}")
    return faults


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


def check_size(module: Module) -> list[str]:
    """Ceilings on files and functions."""
    faults = []
    count = module.text.count("\n")
    if count > MAX_FILE:
        faults.append(f"{module.path}: {count} lines, at most {MAX_FILE}")
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                faults.append(f"{module.path}:{node.lineno}: {node.name} has {length} lines")
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


CHECKS: dict[str, Callable[[Module], list[str]]] = {
    "arrows": check_arrows,
    "heavy": check_heavy,
    "foreign": check_foreign,
    "calls": check_calls,
    "size": check_size,
    "state": check_state,
    "docstrings": check_docstrings,
}
