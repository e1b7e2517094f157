"""JAX operators that the way to TFLite gets wrong or lacks, replaced by ones that compute the same.

Whatever calls JAX while a graph is traced, its operators are in the trace; `replaced` goes through
it and evaluates each again, with another in place of those of `_REPLACEMENTS`. What
`litert-converter` 0.5 does to each is in `docs/upstream/stablehlo_to_tflite.py`. The model is
not changed, and so what a file is held to comes without any of this.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

# What stands for a loop, before the number of it.
LOOP = "keras_vae_loop_"


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop, which the converter makes a file of in parts alone.

    Args:
        condition: Function from a list for the loops inside to a function, from the loop's tensors
            to whether to go on, as a list of one.
        body: The same, to a function from the loop's tensors to the next ones.
        tensors: List of `jax.ShapeDtypeStruct`.
    """

    condition: Callable
    body: Callable
    tensors: list


def replaced(function, loops):
    """A function of tensors that computes the same by operators that TFLite has.

    Args:
        function: From JAX tensors to a list of such.
        loops: List, to which a `Loop` is added for each that is met when the function is traced:
            in its place there is a call of what nobody has, named `LOOP` and its position here.
    """
    import jax

    def call(*tensors):
        traced = jax.make_jaxpr(function)(*tensors)
        return _evaluate(traced.jaxpr, traced.consts, loops, *tensors)

    return call


def _evaluate(jaxpr, consts, loops, *tensors):
    """The outputs of a trace, with its operators replaced."""
    import jax
    from jax.extend.core import Literal

    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= zip(jaxpr.invars, tensors, strict=True)

    def read(variable):
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        given = [read(variable) for variable in equation.invars]
        # The name of the layer, for errors.
        with jax.named_scope(str(equation.source_info.name_stack) or "model"):
            made = _replace(equation.primitive, given, equation.params, loops)
        values |= zip(equation.outvars, made, strict=True)
    return [read(variable) for variable in jaxpr.outvars]


def _replace(primitive, given, params, loops):
    """What an operator gives, as a list."""
    if primitive.name == "while":
        return _while(*given, loops=loops, **params)
    if primitive.name == "scan" and params["num_consts"] + params["num_carry"] == len(given):
        return _repeated(*given, loops=loops, **params)
    is_call, function = primitive.name in _CALLS, params.get("name")
    replacement = (_FUNCTIONS if is_call else _REPLACEMENTS).get(
        function if is_call else primitive.name
    )
    made = replacement and replacement(*given, **params)
    if made is not None:
        return made if isinstance(made, list | tuple) else [made]
    inner = params.get("jaxpr") or params.get("call_jaxpr")
    if is_call and function not in _WHOLE:
        consts = getattr(inner, "consts", ())
        return _evaluate(getattr(inner, "jaxpr", inner), consts, loops, *given)
    made = primitive.bind(*given, **primitive.get_bind_params(params))
    return made if primitive.multiple_results else [made]


def _while(*given, cond_nconsts, cond_jaxpr, body_nconsts, body_jaxpr, loops, **_):
    of_condition, of_body = given[:cond_nconsts], given[cond_nconsts:][:body_nconsts]

    def condition(inner, consts, state):
        return _evaluate(cond_jaxpr.jaxpr, cond_jaxpr.consts, inner, *consts[:cond_nconsts], *state)

    def body(inner, consts, state):
        return _evaluate(body_jaxpr.jaxpr, body_jaxpr.consts, inner, *consts[cond_nconsts:], *state)

    state = given[cond_nconsts + body_nconsts :]
    return _loop(condition, body, (*of_condition, *of_body), state, loops)


def _repeated(*given, num_consts, jaxpr, length, loops, **_):
    """A scan over nothing, as JAX makes it of a loop of a known number of steps."""
    from jax import numpy as jnp

    def condition(inner, consts, state):
        return [state[0] < length]

    def body(inner, consts, state):
        made = _evaluate(jaxpr.jaxpr, jaxpr.consts, inner, *consts, *state[1:])
        return [state[0] + 1, *made]

    state = (jnp.zeros((), "int32"), *given[num_consts:])
    return _loop(condition, body, given[:num_consts], state, loops)[1:]


def _loop(condition, body, consts, state, loops):
    """What stands for a loop, whose tensors are those of the constants that are computed, too."""
    import jax

    computed = [at for at, const in enumerate(consts) if isinstance(const, jax.core.Tracer)]
    tensors = [*(consts[at] for at in computed), *state]

    def split(given):
        all_consts = list(consts)
        for at, const in zip(computed, given, strict=False):
            all_consts[at] = const
        return all_consts, given[len(computed) :]

    kinds = [jax.ShapeDtypeStruct(np.shape(each), jax.numpy.result_type(each)) for each in tensors]
    loops.append(
        Loop(
            lambda inner: lambda *given: condition(inner, *split(given)),
            lambda inner: lambda *given: [*given[: len(computed)], *body(inner, *split(given))],
            kinds,
        )
    )
    name = f"{LOOP}{len(loops) - 1}"
    call = jax.ffi.ffi_call(name, kinds, custom_call_api_version=1, legacy_backend_config="")
    return call(*tensors)[len(computed) :]


def _expm1(x, **_):
    """Exact near 0, where the converter's `exp(x) - 1` has no digits left."""
    from jax import numpy as jnp

    return jnp.tanh(x / 2) * (jnp.exp(x) + 1)


def _log1p(x, **_):
    """Exact near 0, where `log(1 + x)` has no digits left: as in `export.operators`."""
    from jax import numpy as jnp

    ratio = x / (2 + x)
    square = ratio * ratio
    series = jnp.full_like(square, 1 / 11)
    for order in (9, 7, 5, 3, 1):
        series = series * square + 1 / order
    return jnp.where(jnp.abs(x) < 0.4, 2 * ratio * series, jnp.log(1 + x))


def _cbrt(x, **_):
    from jax import numpy as jnp

    return jnp.sign(x) * jnp.abs(x) ** (1 / 3)


def _remainder(x, y, **_):
    """By numbers that are not negative, for which the converter's FLOOR_MOD is the same."""
    from jax import lax

    return lax.sign(x) * lax.rem(lax.abs(x), lax.abs(y))


def _floor_divide(x, y, **_):
    from jax import lax
    from jax import numpy as jnp

    whole = x - jnp.remainder(x, y)
    if not jnp.issubdtype(whole.dtype, jnp.integer):
        return jnp.round(whole / y)
    return lax.div(*jnp.broadcast_arrays(whole, jnp.asarray(y, whole.dtype)))


def _left_shift(x, y, **_):
    y = _known(y)
    return None if y is None else x * (2 ** y.astype(np.int64)).astype(x.dtype)


def _exclusive_or(x, y, **_):
    return x != y if x.dtype == bool else None


def _equal(x, y, **_):
    """Of integers without EQUAL, of which the converter makes an EMBEDDING_LOOKUP.

    That takes a product with vectors that are one-hot, and has no zeros for *unknown*.
    """
    from jax import lax
    from jax import numpy as jnp

    if not jnp.issubdtype(x.dtype, jnp.integer):
        return None
    return lax.bitwise_not(lax.ne(x, y))


def _gather(x, indices, *, mode, **params):
    """Without NaN for indices out of range: there are none, and a device checks them."""
    from jax import lax

    if mode != lax.GatherScatterMode.FILL_OR_DROP:
        return None
    params = {name: params[name] for name in ("dimension_numbers", "slice_sizes")}
    mode = lax.GatherScatterMode.PROMISE_IN_BOUNDS
    return lax.gather(x, indices, **params, mode=mode)


def _convolution(x, kernel, *, padding, lhs_dilation, rhs_dilation, dimension_numbers, **params):
    """A transposed convolution that is cut unevenly is made in full and cut after."""
    from jax import lax
    from jax import numpy as jnp

    if all(stride == 1 for stride in lhs_dilation):
        return None
    axes = dimension_numbers.rhs_spec[2:]
    full = [(kernel.shape[axis] - 1) * by for axis, by in zip(axes, rhs_dilation, strict=True)]
    cut = [(all_ - low, all_ - high) for all_, (low, high) in zip(full, padding, strict=True)]
    if all(low == high >= 0 for low, high in cut):
        return None
    made = lax.conv_general_dilated_p.bind(
        x,
        kernel,
        padding=tuple((all_, all_) for all_ in full),
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        **params,
    )
    widths, index = [(0, 0)] * made.ndim, [slice(None)] * made.ndim
    for axis, (low, high) in zip(dimension_numbers.out_spec[2:], cut, strict=True):
        widths[axis] = (max(-low, 0), max(-high, 0))
        index[axis] = slice(max(low, 0), made.shape[axis] - max(high, 0))
    made = made[tuple(index)]
    return jnp.pad(made, widths) if np.any(widths) else made


def _known(tensor):
    """The value of a tensor, or None of one that is computed."""
    import jax

    return None if isinstance(tensor, jax.core.Tracer) else np.asarray(tensor)


# Operators that are others in a trace of their own.
_CALLS = ("pjit", "jit", "closed_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint")
# Those that the converter knows as a whole.
_WHOLE = ("remainder",)
_FUNCTIONS = {"floor_divide": _floor_divide}
_REPLACEMENTS = {
    "cbrt": _cbrt,
    "conv_general_dilated": _convolution,
    "eq": _equal,
    "expm1": _expm1,
    "gather": _gather,
    "log1p": _log1p,
    "rem": _remainder,
    "shift_left": _left_shift,
    "xor": _exclusive_or,
}
