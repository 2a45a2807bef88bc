"""Rewrite rules and the engine that applies them.

A rule is a small function ``node -> node | None`` that looks at a node and what is below it, never above. The first
line of its docstring is its formula, its name is what ``explain()`` prints. Rules register themselves where they are
written; a new rule opens no other file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from opalg.errors import RewriteCycleError
from opalg.nodes import Node

RuleFunction = Callable[[Any], Any]
_LIMIT = 2000


@dataclass(frozen=True)
class Rule:
    """A named rewrite rule.

    Attributes
    ----------
    function : callable
        ``node -> node | None``.
    on : type
        The class of node it looks at.
    group : str
        Its purpose: ``"simplify"``, ``"merge"``, ``"absorb"``, ``"unfold"`` or ``"diagonalise"``.
    """

    function: RuleFunction
    on: type
    group: str

    @property
    def name(self) -> str:
        """The name that ``explain()`` prints."""
        return self.function.__name__

    @property
    def formula(self) -> str:
        """The first line of the rule's docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class Step:
    """One rewriting: which rule turned what into what."""

    rule: Rule
    before: Node
    after: Node

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.before!r} -> {self.after!r}"


RULES: list[Rule] = []


def rule(on: type, group: str = "simplify") -> Callable[[RuleFunction], RuleFunction]:
    """Register a function as a rewrite rule on nodes of a class."""

    def register(function: RuleFunction) -> RuleFunction:
        if not (function.__doc__ or "").strip():
            raise TypeError(f"the rule {function.__name__} needs a docstring whose first line is its formula")
        RULES.append(Rule(function, on, group))
        return function

    return register


def rewrite(root: Node, groups: Sequence[str] | None = None, trace: list[Step] | None = None) -> Any:
    """Apply the rules of some groups (all by default), innermost nodes first, until none fires.

    Parameters
    ----------
    root : Node
        What to rewrite.
    groups : sequence of str, optional
        The groups of rules to use.
    trace : list of Step, optional
        Extended by every rewriting, in order.

    Raises
    ------
    RewriteCycleError
        Where rules undo each other; the message names them.
    """
    rules = [r for r in RULES if groups is None or r.group in groups]
    memory: dict[Node, Node] = {}
    fired: list[Step] = []
    result = _settle(root, rules, memory, fired)
    if trace is not None:
        trace.extend(fired)
    return result


def _settle(root: Node, rules: Sequence[Rule], memory: dict[Node, Node], fired: list[Step]) -> Node:
    """Settle a node after its children, with a stack of its own: chains of rewritings may be long."""
    stack = [root]
    waiting: dict[Node, tuple[Node, str | None]] = {}  # what a node became, still to be settled, and by which rule
    while stack:
        current = stack[-1]
        if current in memory:
            stack.pop()
            continue
        wanted = [waiting[current][0]] if current in waiting else list(current.children)
        unsettled = [n for n in wanted if n not in memory]
        if unsettled:
            for needed in unsettled:
                if needed in waiting:
                    _report_circle([waiting[n][1] for n in stack[stack.index(needed) :] if n in waiting])
            stack.extend(reversed(unsettled))
        elif current in waiting:
            memory[current] = memory[waiting[current][0]]
        else:
            _advance(current, rules, memory, waiting, fired)
    return memory[root]


def _advance(
    current: Node,
    rules: Sequence[Rule],
    memory: dict[Node, Node],
    waiting: dict[Node, tuple[Node, str | None]],
    fired: list[Step],
) -> None:
    """Rebuild a node on its settled children, or fire a rule on it, or call it settled."""
    rebuilt = current.rebuild(lambda child: memory[child])
    if rebuilt is not current:
        waiting[current] = (rebuilt, None)
        return
    after = _fire(current, rules, fired)
    if after is None:
        memory[current] = current
    else:
        waiting[current] = (after, fired[-1].rule.name)


def _fire(current: Node, rules: Sequence[Rule], fired: list[Step]) -> Node | None:
    for candidate in rules:
        if isinstance(current, candidate.on):
            after = candidate.function(current)
            if after is not None and after is not current:
                fired.append(Step(candidate, current, after))
                if len(fired) > _LIMIT:
                    _report_endless(fired)
                return after
    return None


def _report_circle(names: Sequence[str | None]) -> None:
    found = ", ".join(dict.fromkeys(name for name in names if name is not None))
    raise RewriteCycleError(f"rewriting comes back to where it began; the rules that undo each other are {found}")


def _report_endless(fired: list[Step]) -> None:
    common = Counter(step.rule.name for step in fired[-100:]).most_common(4)
    names = ", ".join(name for name, _ in common)
    raise RewriteCycleError(f"rewriting did not settle after {_LIMIT} steps; the rules that keep firing are {names}")
