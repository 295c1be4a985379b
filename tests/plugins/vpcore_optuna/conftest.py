"""The workspace of the tests on experiments."""

from sweep_workspace import (  # noqa: F401
    edit,
    frames,
    importable,
    make_proven,
    make_workspace,
    paths,
    proofs,
    workspace,
)
