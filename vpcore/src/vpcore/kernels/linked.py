"""Compilation of functions for compiled callers alone.

numba makes a library of every function: it optimizes it with all that it calls, and translates it for the processor. A
caller links the intermediate code in, and optimizes and translates it again. So the machine code of a function without
other callers is never run. It took a fifth of the time of a first compilation.
"""

from __future__ import annotations

from typing import Any

import numba.core.event
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class LinkedLibrary(JITCodeLibrary):  # type: ignore[misc]  # numba is untyped
    """Intermediate code that callers link in. It has no address."""

    @property
    def codegen(self) -> Any:
        """What numba stores an environment by; it uses nothing else of a library's code generator."""
        return _Deferred(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0: there is no machine code."""
        self._ensure_finalized()
        return 0

    def serialize_using_object_code(self) -> Any:
        """Return the intermediate code. A process that loads it translates it."""
        return self.serialize_using_bitcode()

    def _optimize_final_module(self) -> None:
        """Leave it to the callers."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class _Deferred:
    """Keeps environments until the code of a caller has their place.

    An environment holds the objects of Python that compiled code needs, to raise an exception with values or to print.
    """

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def set_env(self, name: str, environment: Any) -> None:
        _waiting[name] = (self._codegen, environment)


_waiting: dict[str, tuple[Any, Any]] = {}
"""Code generator and environment by the name of the environment's place."""


class _Environments(numba.core.event.Listener):  # type: ignore[misc]
    """Stores environments at the end of every compilation whose code holds their place."""

    def on_start(self, event: numba.core.event.Event) -> None:
        """Called when a compilation begins; nothing to do."""

    def on_end(self, event: numba.core.event.Event) -> None:
        """Called when a compilation ends."""
        for name, (codegen, environment) in list(_waiting.items()):
            if codegen._engine.is_symbol_defined(name):
                codegen.set_env(name, environment)
                del _waiting[name]


numba.core.event.register("numba:compile", _Environments())


class LinkedCompiler(Compiler):  # type: ignore[misc]
    """numba's compiler, into a `LinkedLibrary`."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        library = LinkedLibrary(targetctx.codegen(), "linked")
        library.enable_object_caching()
        super().__init__(typingctx, targetctx, library, *rest)
