"""Vector instructions to build the passes of `simd` from: how rows are walked, read, written, and what is done to them.

The code is LLVM's portable vector type of 16 floats, which machines with narrower registers get in pieces, so it is the
same on all of them. `at` is the place in a row where some vector begins, `width` how many of its lanes are of the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types

LANES = 16
FLOAT, INT = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)

_LOWEST = -87.0
"""exp of less is no normal number."""
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5, 1.0, 1.0)


def constant(value: float) -> Any:
    """A number in every lane."""
    return ir.Constant(VECTOR, [FLOAT(value)] * LANES)


ZERO, LEAST = constant(0.0), constant(-math.inf)


def row_of(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> tuple[Any, Any]:
    """Pointer to the first float of a row, and the row's length."""
    table = context.make_array(kind)(context, builder, value=array)
    dim = cgutils.unpack_tuple(builder, table.shape, 2)[1]
    return builder.gep(table.data, [builder.mul(index, dim)]), dim


def rows_of(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[list[Any], Any]:
    """Pointers to the rows that pairs of arguments, a table and a number, name; and their length."""
    tables = [k for k, kind in enumerate(signature.args) if isinstance(kind, types.Array)]
    found = [row_of(context, builder, signature.args[k], arguments[k], arguments[k + 1]) for k in tables]
    return [row for row, _ in found], found[0][1]


def numbers_of(builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments that are numbers, each in every lane."""
    kinds = zip(signature.args, arguments, strict=True)
    return [spread(builder, value) for kind, value in kinds if kind == types.float32]


def along(builder: Any, dim: Any, step: Callable[[Any, int], None]) -> None:
    """step(at, width) for the whole length: in 16s, then what is left in 8, 4, 2 and 1."""
    whole = builder.and_(dim, INT(-LANES))
    with cgutils.for_range_slice(builder, INT(0), whole, INT(LANES)) as (at, _):
        step(at, LANES)
    width = LANES // 2
    while width:
        with builder.if_then(builder.icmp_unsigned("!=", builder.and_(dim, INT(width)), INT(0))):
            step(builder.and_(dim, INT(-2 * width)), width)
        width //= 2


def load(builder: Any, row: Any, at: Any, width: int, rest: Any = ZERO) -> Any:
    """`width` floats in the first lanes, in the others those of the constant `rest`."""
    part = ir.VectorType(FLOAT, width)
    value = builder.load(builder.bitcast(builder.gep(row, [at]), part.as_pointer()), align=4)
    lanes = list(range(width)) + [width] * (LANES - width)
    return value if width == LANES else _shuffle(builder, value, ir.Constant(part, rest.constant[:width]), lanes)


def store(builder: Any, row: Any, at: Any, width: int, value: Any) -> None:
    """The first `width` lanes."""
    if width != LANES:
        value = _shuffle(builder, value, ZERO, list(range(width)))
    builder.store(value, builder.bitcast(builder.gep(row, [at]), value.type.as_pointer()), align=4)


def add(builder: Any, row: Any, at: Any, width: int, *products: tuple[Any, Any]) -> None:
    """Add products to what is there."""
    value = load(builder, row, at, width)
    for x, y in products:
        value = multiply_add(builder, x, y, value)
    store(builder, row, at, width, value)


def multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z, in one instruction where the machine has it."""
    return builder.fadd(builder.fmul(x, y, flags=("contract",)), z, flags=("contract",))


def larger(builder: Any, x: Any, y: Any) -> Any:
    """The larger of each two; y where x is NaN."""
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


def exponential(builder: Any, x: Any) -> Any:
    """exp(x) of what is at most 0, within 3e-7 of itself: Cephes' polynomial; 0 below exp(-87); NaN stays NaN."""
    inside, bounded = builder.fcmp_ordered(">", x, constant(_LOWEST)), larger(builder, x, constant(_LOWEST))
    power = multiply_add(builder, bounded, constant(math.log2(math.e)), constant(0.5))
    power = builder.call(_function(builder, "floor", VECTOR, VECTOR), [power])
    rest = multiply_add(builder, power, constant(-math.log(2)), bounded)
    value = constant(_EXP[0])
    for factor in _EXP[1:]:
        value = multiply_add(builder, value, rest, constant(factor))
    ints = ir.VectorType(ir.IntType(32), LANES)
    bias, shift = (ir.Constant(ints, [number] * LANES) for number in (127, 23))
    exponent = builder.shl(builder.add(builder.fptosi(power, ints), bias), shift)
    found = builder.fmul(value, builder.bitcast(exponent, VECTOR))
    return builder.select(inside, found, builder.select(builder.fcmp_unordered("uno", x, x), x, ZERO))


def total(builder: Any, value: Any) -> Any:
    """The sum of all lanes."""
    reduce = _function(builder, "vector.reduce.fadd", FLOAT, FLOAT, VECTOR)
    return builder.call(reduce, [FLOAT(0.0), value], fastmath=("reassoc", "nsz"))


def maximum(builder: Any, value: Any) -> Any:
    """The largest of all lanes."""
    return builder.call(_function(builder, "vector.reduce.fmax", FLOAT, VECTOR), [value])


def spread(builder: Any, value: Any) -> Any:
    """A float in every lane."""
    first = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    return _shuffle(builder, first, ZERO, [0] * LANES)


def _shuffle(builder: Any, x: Any, y: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))


def _function(builder: Any, name: str, returned: Any, *arguments: Any) -> Any:
    """One of LLVM's own, for vectors."""
    kind = ir.FunctionType(returned, arguments)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
