"""Measures of the source code: lines, length of functions, longest module, words, imports between folders.

`python -m tests.measures` prints them. It fails where folders import each other in a cycle.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
SOURCES = ("shared", "services")
WORDS = {
    "what": r"\bwhat\b",
    "told, said, tells, …": r"\b(?:told|tells?|telling|said|says?|saying)\b",
    "nobody, somebody, whoever, …": r"\b(?:nobody|somebody|whoever|anybody|everybody)\b",
}


def modules(root: Path = ROOT) -> Mapping[Path, ast.Module]:
    """Every module of the product by its path below `root`."""
    paths = [path for folder in SOURCES for path in sorted((root / folder).rglob("*.py"))]
    return {path.relative_to(root): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def lengths(tree: ast.Module) -> Iterator[int]:
    """Lines of each function, without decorators and docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = node.body[0] if ast.get_docstring(node) else None
            lines = (documented.end_lineno or 0) - documented.lineno + 1 if documented else 0
            yield (node.end_lineno or node.lineno) - node.lineno + 1 - lines


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Docstrings of the module, its classes and functions, and the strings below constants and fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def code_lines(source: str, tree: ast.Module) -> int:
    """Number of lines that are neither blank, a comment, nor part of a docstring."""
    documented = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(source.splitlines(), 1)
    return sum(1 for number, line in lines if line.strip() and line.lstrip()[0] != "#" and number not in documented)


def imports(trees: Mapping[Path, ast.Module]) -> Mapping[str, set[str]]:
    """For each folder the other folders that its modules import from."""
    folders = {".".join(path.with_suffix("").parts): ".".join(path.parent.parts) for path in trees}
    folders |= {name.removesuffix(".__init__"): folder for name, folder in folders.items()}
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, tree in trees.items():
        here = ".".join(path.parent.parts)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                targets = (folders.get(name) or folders.get(node.module) for name in names)
                found[here] |= {target for target in targets if target and target != here}
    return found


def levels(graph: Mapping[str, set[str]], within: str) -> Mapping[str, int]:
    """The level of each folder directly in `within`, and of `within` itself: 1 imports none of the others."""
    inside = {name for name in graph if name == within or name.startswith(f"{within}.")}
    order = TopologicalSorter({name: graph[name] & inside for name in inside}).static_order()
    level: dict[str, int] = {}
    for name in order:
        level[name] = 1 + max((level[other] for other in graph.get(name, set()) & inside), default=0)
    return level


def main() -> int:
    """Print the measures. Return 1 where folders import each other in a cycle."""
    trees = modules()
    sizes = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in trees}
    functions = sorted(length for tree in trees.values() for length in lengths(tree))
    longest = max(sizes, key=sizes.__getitem__)
    text = "\n".join(each for tree in trees.values() for each in docstrings(tree))
    words = len(re.findall(r"\w+", text))
    code = sum(code_lines((ROOT / path).read_text(encoding="utf-8"), tree) for path, tree in trees.items())
    print(
        f"lines {sum(sizes.values()):,}, of code {code:,}, in {len(sizes)} modules; longest {longest} {sizes[longest]}"
    )
    p90 = functions[int(len(functions) * 0.9)]
    print(f"functions {len(functions):,}: median {median(functions):g}, p90 {p90}, max {functions[-1]} lines")
    rates = (f"{name} {len(re.findall(form, text, re.I)) / words * 1000:.1f}" for name, form in WORDS.items())
    print(f"docstrings {words:,} words; per 1,000: " + ", ".join(rates))
    try:
        graph = imports(trees)
        list(TopologicalSorter(graph).static_order())
        inside = levels(graph, "services.coordinator")
        print(f"folders {len(graph)}; coordinator {len(inside)} parts on {max(inside.values())} levels")
    except CycleError as error:
        print(f"folders import each other: {' -> '.join(error.args[1])}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
