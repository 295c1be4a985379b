"""The decay of a level's accumulators by ``exp(-dt / tau)``, for its four time constants at once.

The C library computes one exponential at a time, and libraries differ in the last bit. Here four numbers share every
instruction, and the bits are the same on every machine. With ``n = round(128 x / ln 2)`` and ``r = x - n ln 2 / 128``,
``exp(x) = 2**(n / 128) exp(r)``: the first factor comes from a table, the second from a polynomial. Constants and
order of operations are those of Arm's Optimized Routines (2018), which glibc uses since version 2.28; on a processor
with fused multiply-adds, the bits are those of glibc.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import typeof, types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic, overload

N_TAUS = 4
N_QUANTITIES = 5
N_ACC = N_TAUS * N_QUANTITIES

TINY = 1e-30
"""Accumulators below this become 0: denormals cost time and carry nothing."""

FAR = 500.0
"""Time constants after which a factor, 7e-218, falls no further: it makes every accumulator `TINY`."""

_STEPS = 128
_SHIFT = 52 - 7  # from the last bit of a count of steps to that of a float64's exponent
_PER_STEP = float.fromhex("0x1.71547652b82fep7")  # 128 / ln 2
_STEP = float.fromhex("-0x1.62e42fefa0000p-8"), float.fromhex("-0x1.cf79abc9e3b39p-47")  # -ln 2 / 128 in two parts
_ROUND = float.fromhex("0x1.8p52")  # a number plus this has its nearest integer in the last bits
_R2 = float.fromhex("0x1.ffffffffffdbdp-2")
_R3 = float.fromhex("0x1.555555555543cp-3")
_R4 = float.fromhex("0x1.55555cf172b91p-5")
_R5 = float.fromhex("0x1.1111167a4d017p-7")


def _roots() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return ``2**(i / 128)`` for i below 128 as the bits of a float64, less i steps, and its relative error."""
    with localcontext() as exact:
        exact.prec = 60
        roots = [(Decimal(2).ln() * i / _STEPS).exp() for i in range(_STEPS)]
        error = [float(root / Decimal(float(root)) - 1) for root in roots]
    return np.array(roots, np.float64).view(np.int64) - (np.arange(_STEPS) << _SHIFT), np.array(error)


def decayed(acc: Any, level: int, dt: float, taus: Any, out: Any, row: int) -> None:
    """Write the accumulators of a level as they are after a time without impulses.

    Parameters
    ----------
    acc : float64[levels, N_ACC]
        Accumulators of every level: per quantity one for each time constant.
    level : int
        The level.
    dt : float
        Time since they were last advanced, at least 0, ns.
    taus : float64[N_TAUS]
        Time constants, ns.
    out : float64[rows, N_ACC], written
        May be `acc`.
    row : int
        Row of `out`.
    """
    for i in range(N_TAUS):
        factor = math.exp(-min(dt / taus[i], FAR))
        for place in range(i, N_ACC, N_TAUS):
            value = acc[level, place] * factor
            out[row, place] = 0.0 if abs(value) < TINY else value


@overload(decayed)
def _compiled(acc, level, dt, taus, out, row):
    return lambda acc, level, dt, taus, out, row: _decayed(acc, level, dt, taus, out, row)


@intrinsic
def _decayed(typingctx, acc, level, dt, taus, out, row):
    table = types.Array(types.float64, 2, "C")
    vector = types.Array(types.float64, 1, "C")
    return types.void(table, types.int64, types.float64, vector, table, types.int64), _generate


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Generate `decayed` in vectors of four. numba makes vectors of long loops alone."""
    numbers, words = ir.VectorType(ir.DoubleType(), N_TAUS), ir.VectorType(ir.IntType(64), N_TAUS)
    lanes = [ir.Constant(ir.IntType(32), lane) for lane in range(N_TAUS)]

    def every(value: float | int) -> Any:
        return ir.Constant(words if isinstance(value, int) else numbers, [value] * N_TAUS)

    def gather(values: list[Any]) -> Any:
        found = ir.Constant(ir.VectorType(values[0].type, N_TAUS), ir.Undefined)
        for lane, value in zip(lanes, values, strict=True):
            found = builder.insert_element(found, value, lane)
        return found

    def call(name: str, *operands: Any) -> Any:
        kind = ir.FunctionType(numbers, [numbers] * len(operands))
        return builder.call(get_or_insert_function(builder.module, kind, f"llvm.{name}.v{N_TAUS}f64"), operands)

    def data(kind: Any, array: Any) -> Any:
        return context.make_array(kind)(context, builder, array).data

    def look_up(table: npt.NDArray[Any], places: Any) -> Any:
        kind = typeof(table)
        first = data(kind, context.make_constant_array(builder, kind, table))
        return gather([builder.load(builder.gep(first, [builder.extract_element(places, lane)])) for lane in lanes])

    def four(argument: int, first: Any) -> Any:
        at = builder.gep(data(signature.args[argument], arguments[argument]), [first])
        return builder.bitcast(at, numbers.as_pointer())

    whole = ir.IntType(64)
    ratio = builder.fdiv(gather([arguments[2]] * N_TAUS), builder.load(four(3, whole(0)), align=8))
    x = builder.fneg(builder.select(builder.fcmp_ordered("<", ratio, every(FAR)), ratio, every(FAR)))
    shifted = call("fma", every(_PER_STEP), x, every(_ROUND))
    n = builder.fsub(shifted, every(_ROUND))
    r = call("fma", n, every(_STEP[1]), call("fma", n, every(_STEP[0]), x))
    bits = builder.bitcast(shifted, words)
    root = builder.and_(bits, every(_STEPS - 1))
    near, error = _roots()
    power = builder.bitcast(builder.add(look_up(near, root), builder.shl(bits, every(_SHIFT))), numbers)
    r2 = builder.fmul(r, r)
    low = call("fma", r2, call("fma", r, every(_R3), every(_R2)), builder.fadd(look_up(error, root), r))
    high = call("fma", r, every(_R5), every(_R4))
    factor = call("fma", power, call("fma", builder.fmul(r2, r2), high, low), power)
    read, write = (builder.mul(arguments[i], whole(N_ACC)) for i in (1, 5))
    for place in range(0, N_ACC, N_TAUS):
        value = builder.fmul(builder.load(four(0, builder.add(read, whole(place))), align=8), factor)
        tiny = builder.fcmp_ordered("<", call("fabs", value), every(TINY))
        kept = builder.select(tiny, every(0.0), value)
        builder.store(kept, four(4, builder.add(write, whole(place))), align=8)
    return context.get_dummy_value()
