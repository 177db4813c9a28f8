"""What a pair of table rows goes through, written as vector instructions: products of two rows, and their exchange.

LLVM's own vectoriser uses registers of 8 floats for the plain loop, on a machine with registers of 16; this is 1.4
times as fast at 100 and at 300 dimensions (AVX-512). The code is LLVM's portable
vector type of 16 floats, which machines with narrower registers get in pieces, so it is the same on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16
LINE = 16  # floats in a cache line
_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)


@intrinsic
def products(typing: Any, W: Any, i: Any, C: Any, j: Any) -> Any:
    """Dot product of row i of W with row j of C, and of each with itself.

    W, C      float32[rows, dim], contiguous
    returns   (w . c, w . w, c . c), float32; summed in 16 lanes
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, dim = _rows(context, builder, signature, arguments)
        sums = [cgutils.alloca_once_value(builder, _ZERO) for _ in range(3)]

        def step(at: Any, width: int) -> None:
            w, c = _load(builder, left, at, width), _load(builder, right, at, width)
            for total, (x, y) in zip(sums, ((w, c), (w, w), (c, c)), strict=True):
                builder.store(_multiply_add(builder, x, y, builder.load(total)), total)

        _along(builder, dim, step)
        add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR]), f"llvm.vector.reduce.fadd.v{LANES}f32"
        )
        results = [builder.call(add, [_FLOAT(0.0), builder.load(total)], fastmath=("reassoc", "nsz")) for total in sums]
        return context.make_tuple(builder, signature.return_type, results)

    return types.UniTuple(types.float32, 3)(W, i, C, j), build  # type: ignore[attr-defined]


@intrinsic
def exchange(typing: Any, W: Any, i: Any, C: Any, j: Any, a: Any, b: Any) -> Any:
    """Row i of W += a * row j of C; row j of C += b * row i of W as it was.

    W, C   float32[rows, dim], contiguous; the two rows do not overlap
    a, b   float32
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, dim = _rows(context, builder, signature, arguments)
        a, b = (_spread(builder, value) for value in arguments[4:])

        def step(at: Any, width: int) -> None:
            w, c = _load(builder, left, at, width), _load(builder, right, at, width)
            _store(builder, left, at, width, _multiply_add(builder, a, c, w))
            _store(builder, right, at, width, _multiply_add(builder, b, w, c))

        _along(builder, dim, step)
        return context.get_dummy_value()

    return types.void(W, i, C, j, types.float32, types.float32), build


@intrinsic
def prefetch(typing: Any, W: Any, i: Any) -> Any:
    """Ask for row i of W to be brought into the first-level cache, to be written."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, dim = _row(context, builder, signature.args[0], *arguments)
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        fetch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]), "llvm.prefetch.p0"
        )
        with cgutils.for_range_slice(builder, _INT(0), dim, _INT(LINE)) as (at, _):
            builder.call(fetch, [builder.bitcast(builder.gep(row, [at]), byte), flag(1), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(W, i), build


def _row(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> tuple[Any, Any]:
    """Pointer to the first float of a row, and the row's length."""
    table = context.make_array(kind)(context, builder, value=array)
    dim = cgutils.unpack_tuple(builder, table.shape, 2)[1]
    return builder.gep(table.data, [builder.mul(index, dim)]), dim


def _rows(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[Any, Any, Any]:
    left, dim = _row(context, builder, signature.args[0], arguments[0], arguments[1])
    right, _ = _row(context, builder, signature.args[2], arguments[2], arguments[3])
    return left, right, dim


def _along(builder: Any, dim: Any, step: Callable[[Any, int], None]) -> None:
    """step(place, width) for the whole length: in 16s, then what is left in 8, 4, 2 and 1."""
    whole = builder.and_(dim, _INT(-LANES))
    with cgutils.for_range_slice(builder, _INT(0), whole, _INT(LANES)) as (at, _):
        step(at, LANES)
    width = LANES // 2
    while width:
        with builder.if_then(builder.icmp_unsigned("!=", builder.and_(dim, _INT(width)), _INT(0))):
            step(builder.and_(dim, _INT(-2 * width)), width)
        width //= 2


def _load(builder: Any, row: Any, at: Any, width: int) -> Any:
    """`width` floats in the first lanes, zeros in the others."""
    part = ir.VectorType(_FLOAT, width)
    value = builder.load(builder.bitcast(builder.gep(row, [at]), part.as_pointer()), align=4)
    lanes = list(range(width)) + [width] * (LANES - width)
    return value if width == LANES else _shuffle(builder, value, ir.Constant(part, [0.0] * width), lanes)


def _store(builder: Any, row: Any, at: Any, width: int, value: Any) -> None:
    """The first `width` lanes."""
    if width != LANES:
        value = _shuffle(builder, value, _ZERO, list(range(width)))
    builder.store(value, builder.bitcast(builder.gep(row, [at]), value.type.as_pointer()), align=4)


def _multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z, in one instruction where the machine has it."""
    return builder.fadd(builder.fmul(x, y, flags=("contract",)), z, flags=("contract",))


def _spread(builder: Any, value: Any) -> Any:
    """A float in every lane."""
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    return _shuffle(builder, first, _ZERO, [0] * LANES)


def _shuffle(builder: Any, x: Any, y: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))
