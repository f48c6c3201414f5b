"""The house's one rule: imports point down. And its bottom layer needs nothing but Python."""

import ast
import importlib.util
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ixc"

# The modules that lie directly in the package are its bottom layer: values, arithmetic, prompts.
BOTTOM = {"ixc"} | {f"ixc.{path.stem}" for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "__main__")}
# From the bottom up. A module may import its own part and parts of a lower layer, never its own layer's other parts ...
LAYERS = (
    BOTTOM,
    {"ixc.imaging"},
    {"ixc.models"},
    {"ixc.chat"},
    {"ixc.training"},
    {"ixc.evaluation", "ixc.benchmarks"},
    {"ixc.application"},
    {"ixc.ui", "ixc.serving"},
    {"ixc.cli", "ixc.hosting", "ixc.__main__"},
)
# ... except at the bottom, whose modules are one small library, and at the top, where each face may start another.
LAYERS_THAT_SHARE = (0, len(LAYERS) - 1)
# These are programs: nothing imports them but the command line, which starts them. Of each other evaluation alone imports
# training: the documents that the small models are measured with are drawn there, and the ablations are trained.
PROGRAMS = LAYERS[4] | LAYERS[5]
STARTERS = {"ixc.cli": PROGRAMS, "ixc.evaluation": LAYERS[4]}
# The lowest layer that may know a third-party library. One that stands nowhere here no layer may know.
LOWEST_LAYER = {
    **dict.fromkeys(("PIL", "numpy", "cv2"), 1),
    **dict.fromkeys(
        ("torch", "transformers", "safetensors", "tokenizers", "sentencepiece", "accelerate", "huggingface_hub"), 2
    ),
    **dict.fromkeys(("torchao", "flash_attn", "psutil", "tqdm", "httpx2"), 2),
    "yaml": 4,
    # What drives the app from outside and draws what others would.
    **dict.fromkeys(("httpx", "playwright", "matplotlib"), 5),
    **dict.fromkeys(("gradio", "gradio_client", "fastapi", "starlette", "h11", "uvicorn", "mcp", "vllm"), 7),
    **dict.fromkeys(("spaces", "prometheus_client", "packaging"), 8),
}

DYNAMIC_IMPORTS = ("importlib.import_module", "import_module", "__import__")


def _part_of(module: str) -> str:
    """The part a dotted name belongs to: its first two components, or the package itself."""
    return ".".join(module.split(".")[:2])


def _layer_of(part: str) -> int | None:
    return next((index for index, parts in enumerate(LAYERS) if part in parts), None)


def _module_name(path: Path) -> str:
    parts = ("ixc", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(source: str, module: str, is_package: bool, known: set[str]) -> set[str]:
    """Absolute names of all modules that ``source`` imports anywhere: in functions, under conditions, relatively."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, module if is_package else module.rpartition(".")[0])
            # "from ixc import tiling" imports the module ixc.tiling; "from ixc.tiling import Grid" only ixc.tiling.
            submodules = {f"{base}.{alias.name}" for alias in node.names} & known
            names |= submodules or {base}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in DYNAMIC_IMPORTS:
            names |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return names


MODULES = {_module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module: str) -> set[str]:
    path = MODULES[module]
    return imported_modules(path.read_text(encoding="utf-8"), module, path.name == "__init__.py", set(MODULES))


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other round, the first one again at the end; none where there is no circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def complaint(module: str, imported: str) -> str | None:
    """Why ``module`` may not import ``imported``; None when it may."""
    part, other = _part_of(module), _part_of(imported)
    layer, other_layer = _layer_of(part), _layer_of(other)
    if layer is None:
        return f"{part} stands in no layer"
    library = imported.split(".")[0]
    if library != "ixc":
        if library in sys.stdlib_module_names:
            return None
        lowest = LOWEST_LAYER.get(library)
        if lowest is None:
            return f"{library} has no place in LOWEST_LAYER"
        return None if layer >= lowest else f"{library} belongs to layer {lowest} and above, {part} is in layer {layer}"
    if other == part:
        return None
    if other_layer is None:
        return f"{other} stands in no layer"
    if other in PROGRAMS and other not in STARTERS.get(part, ()):
        return f"{other} is a program: {part} may not import it"
    shares = layer == other_layer and layer in LAYERS_THAT_SHARE
    return None if other_layer < layer or shares else f"{other} is not below {part}"


def test_the_bottom_layer_is_the_one_that_is_meant():
    assert {"ixc", "ixc.tiling", "ixc.conversation", "ixc.errors", "ixc.settings"} <= BOTTOM


def test_every_part_has_a_layer():
    strangers = {part for part in map(_part_of, MODULES) if _layer_of(part) is None}
    assert not strangers, f"give these a place in LAYERS: {sorted(strangers)}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    assert not {name: why for name in imports_of(module) if (why := complaint(module, name))}


def test_no_modules_import_each_other():
    """Inside a part, where there are no layers, neither; nor in functions, where Python would let them."""
    assert not circle({module: imports_of(module) for module in MODULES})


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})[0] in "abc"
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


@pytest.mark.parametrize("module", sorted(BOTTOM))
def test_the_bottom_layer_imports_the_standard_library_only(module):
    assert {dotted.split(".")[0] for dotted in imports_of(module)} <= sys.stdlib_module_names | {"ixc"}


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("import ixc.ui.app", "ixc.tiling", {"ixc.ui.app"}),
        ("def f():\n    from ixc.chat.engine import Engine", "ixc.models.registry", {"ixc.chat.engine"}),
        ("from .. import chat", "ixc.models.registry", {"ixc.chat"}),
        ("from ..chat.engine import Engine", "ixc.models.registry", {"ixc.chat.engine"}),
        ("from ixc import tiling", "ixc.errors", {"ixc.tiling"}),
        ("if True:\n    import importlib\n    importlib.import_module('ixc.cli')", "ixc.ui.x", {"importlib", "ixc.cli"}),
        ("import torch.nn as nn", "ixc.imaging.decode", {"torch.nn"}),
    ],
)
def test_the_reader_sees_every_way_to_import(source, module, expected):
    assert imported_modules(source, module, is_package=False, known={"ixc.chat", "ixc.tiling"}) == expected


@pytest.mark.parametrize(
    ("module", "imported", "is_allowed"),
    [
        ("ixc.tiling", "ixc.errors", True),
        ("ixc.tiling", "ixc.imaging.decode", False),
        ("ixc.imaging.resize", "ixc.tiling", True),
        ("ixc.imaging.resize", "torch", False),
        ("ixc.models.xcomposer2.vision", "ixc.chat.engine", False),
        ("ixc.chat.engine", "ixc.models.registry", True),
        ("ixc.chat.engine", "ixc.ui.app", False),
        ("ixc.chat.engine", "gradio", False),
        ("ixc.chat.remote", "httpx2", True),
        ("ixc.chat.remote", "httpx", False),
        ("ixc.application.services", "vllm", False),
        ("ixc.ui.app", "spaces", False),
        ("ixc.hosting.server", "a_library_that_nobody_has_placed", False),
        ("ixc.benchmarks.load", "ixc.training.layout", False),
        ("ixc.training.train", "ixc.chat.engine", True),
        ("ixc.training.train", "ixc.evaluation.score", False),
        ("ixc.evaluation.nano", "ixc.training.layout", True),
        ("ixc.ui.app", "ixc.training.examples", False),
        ("ixc.application.session", "gradio", False),
        ("ixc.serving.answers", "ixc.application.services", True),
        ("ixc.serving.answers", "ixc.ui.app", False),
        ("ixc.cli.eval", "ixc.evaluation.run", True),
        ("ixc.cli", "ixc.ui.app", True),
    ],
)
def test_the_rule_itself(module, imported, is_allowed):
    assert (complaint(module, imported) is None) == is_allowed


BARE_IMPORT = """
import sys, time

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "gradio", "PIL", "numpy", "cv2", "transformers"}:
            raise ImportError(f"{name} is blocked in this test")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
start = time.process_time()
import ixc.tiling
print(time.process_time() - start)
plan = ixc.tiling.plan_tiles(ixc.tiling.SizePx(1600, 3840), 55)
assert plan.num_visual_tokens == 8137, plan
"""


def test_the_tile_plan_needs_neither_torch_nor_gradio_and_loads_at_once():
    """CPU seconds, the best of five, in an interpreter without site-packages: load on the machine does not matter."""
    command = [sys.executable, "-I", "-S", "-c", BARE_IMPORT, str(ROOT)]
    runs = [subprocess.run(command, capture_output=True, text=True, timeout=60, check=False) for _ in range(5)]
    assert all(run.returncode == 0 for run in runs), runs[0].stderr
    assert min(float(run.stdout) for run in runs) < 0.05
