"""The open models of a run, which may stay open for the runs after it."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from facexcli.engines.base import EngineOptions
from facexcli.engines.registry import open_engine
from facexcli.pipeline.perception import choose_analyzer

if TYPE_CHECKING:
    from types import TracebackType

    from facexcli.engines.registry import EngineChoice
    from facexcli.faces.base import Analyzer
    from facexcli.pipeline.plan import Plan

_MOST_ENGINES = 2
"""Networks are large: of the engines that were used, the last ones stay open."""


class Models:
    """Opens the engine and the analyzer that a plan asks for, once; a context manager that closes them.

    An engine is opened anew for other options. One process uses them, one run at a time.
    """

    def __init__(self) -> None:
        self._engines: OrderedDict[tuple[str, str, EngineOptions], EngineChoice] = OrderedDict()
        self._analyzers: dict[str, tuple[Analyzer, str]] = {}

    def engine(self, plan: Plan) -> EngineChoice:
        """The plan's engine, open. Raises what `open_engine` raises."""
        key = plan.engine, plan.recipe_name, EngineOptions.of(plan.settings)
        if key not in self._engines:
            while len(self._engines) >= _MOST_ENGINES:
                self._engines.popitem(last=False)[1].engine.close()
            self._engines[key] = open_engine(*key)
        self._engines.move_to_end(key)
        return self._engines[key]

    def analyzer(self, plan: Plan) -> tuple[Analyzer, str]:
        """What finds faces for the plan, open, and why it was chosen. Raises what `choose_analyzer` raises."""
        name = plan.settings.people.analyzer
        if name not in self._analyzers:
            self._analyzers[name] = choose_analyzer(name)
        return self._analyzers[name]

    def close(self) -> None:
        """Give back threads and memory. What is asked for afterwards is opened anew."""
        with ExitStack() as stack:
            for choice in self._engines.values():
                stack.callback(choice.engine.close)
            for analyzer, _ in self._analyzers.values():
                stack.callback(analyzer.close)
            self._engines.clear()
            self._analyzers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
