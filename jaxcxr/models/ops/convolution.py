"""Convolutions that are fast on CPUs, too.

XLA's convolution comes near to the arithmetic limit of a CPU, but not everywhere (jaxlib 0.10, see
benchmarks/README.md). On CPUs four cases go their own ways:

- 3×3 convolutions at stride 1 of 64 channels or more: half the multiplications, by
  `jaxcxr.models.ops.cpu.winograd`;
- the gradient of a kernel that sees few channels, the stem's: a product of matrices, row by row;
- maps as small as 2×2, where XLA's convolution is a hundred times slower, and batches with fewer
  positions than channels: a product of matrices for each position in the kernel, of the values it
  meets;
- bfloat16: in float32, rounded at the end. XLA's own takes half as long again, or twice as long.

On other devices, and for an export, `convolve` is `jax.lax.conv_general_dilated` itself.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer

from jaxcxr.models.ops.cpu import winograd
from jaxcxr.models.ops.initializers import he_fan_in
from jaxcxr.models.ops.portable import is_portable

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_SMALL_MAP = 4
"""Positions of a map at or below which XLA's convolution leaves its fast path."""

_MANY_CHANNELS = 64
"""Channels from which on XLA's gradient of the kernel is as fast as ours, or faster."""


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Any,
    **options: Any,
) -> jax.Array:
    """Convolves (B, H, W, C) with a kernel (k, k, C, O); for `flax.linen.Conv`.

    Args:
        x: The maps.
        kernel: Of the same dtype.
        strides: Down and to the right, equal.
        padding: Pairs of rows and columns added before and after.
        **options: As `jax.lax.conv_general_dilated` takes them.
    """
    plain = functools.partial(
        lax.conv_general_dilated, window_strides=strides, padding=padding, **options
    )
    if is_portable() or set(options.get("rhs_dilation") or (1,)) != {1}:
        return plain(x, kernel)
    stride, pad = strides[0], padding[0][0]
    return lax.platform_dependent(
        x, kernel, cpu=functools.partial(_on_cpu, stride, pad), default=plain
    )


def conv(
    x: jax.Array,
    features: int,
    kernel: int,
    name: str,
    *,
    stride: int = 1,
    dilation: int = 1,
    use_bias: bool = False,
    init: Initializer = he_fan_in,
) -> jax.Array:
    """Adds a convolution to a compact module, with PyTorch's symmetric padding.

    Args:
        x: (B, H, W, C).
        features: Channels of the result.
        kernel: Height and width of the kernel, odd; at stride 1 the result is as large as `x`.
        name: Name of the layer.
        stride: Distance of the positions that it is applied at.
        dilation: Distance of the positions that it sees.
        use_bias: Whether a bias is added.
        init: How the kernel is drawn.
    """
    layer = nn.Conv(
        features,
        (kernel, kernel),
        stride,
        padding=dilation * (kernel // 2),
        kernel_dilation=dilation,
        use_bias=use_bias,
        dtype=x.dtype,
        kernel_init=init,
        conv_general_dilated=convolve,
        name=name,
    )
    return layer(x)


def _plain(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_LAYOUT
    )


def _on_cpu(stride: int, pad: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    if x.dtype == jnp.bfloat16:
        exact = _on_cpu(stride, pad, x.astype(jnp.float32), kernel.astype(jnp.float32))
        return exact.astype(jnp.bfloat16)
    size = kernel.shape[0]
    height, width = (_returned(side, size, stride, pad) for side in x.shape[1:3])
    fewest, most = sorted(kernel.shape[2:])
    few = len(x) * height * width < most and fewest >= _MANY_CHANNELS
    if height * width <= _SMALL_MAP or few or size == 1:
        return _tap_by_tap(x, kernel, stride, pad)
    if (size, stride, pad) == (3, 1, 1) and winograd.pays(x, kernel):
        return winograd.convolve_3x3(x, kernel)
    return _with_fast_kernel_gradient(x, kernel, stride, pad)


def _returned(side: int, size: int, stride: int, pad: int) -> int:
    return (side + 2 * pad - size) // stride + 1


def _tap_by_tap(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """Sums one product of matrices for each position in the kernel, of what it meets of the map.

    On a 2×2 map a 3×3 kernel meets 16 values in all; a convolution would multiply 36, most by zero.
    """
    rows, columns = (_met(side, kernel.shape[0], stride, pad) for side in x.shape[1:3])
    multiply = _multiply if max(kernel.shape[2:]) > _MANY_CHANNELS else jnp.matmul
    total: Any = 0
    for down, (around_rows, seen_rows) in rows.items():
        for right, (around_columns, seen_columns) in columns.items():
            product = multiply(x[:, seen_rows, seen_columns], kernel[down, right])
            total += jnp.pad(product, ((0, 0), around_rows, around_columns, (0, 0)))
    return total


def _met(side: int, size: int, stride: int, pad: int) -> dict[int, tuple[tuple[int, int], slice]]:
    """Returns which values of a row each position in the kernel meets, if any.

    With them, how many results before and after find it beside the map.
    """
    met, count = {}, _returned(side, size, stride, pad)
    for position in range(size):
        offset = position - pad
        within = [i for i in range(count) if 0 <= stride * i + offset < side]
        if within:
            first, last = within[0], within[-1]
            seen = slice(stride * first + offset, stride * last + offset + 1, stride)
            met[position] = (first, count - 1 - last), seen
    return met


@jax.custom_vjp
def _multiply(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """Returns (B, H, W, C) times (C, O).

    JAX's own gradient of the matrix is the transposed product of gradient and `x`, which takes XLA
    two to three times as long as the one of `_product_over_rows`.
    """
    return x @ matrix


def _multiply_backward(
    kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, matrix = kept
    rows = (array.reshape(-1, array.shape[-1]) for array in (x, gradient))
    return gradient @ matrix.T, _product_over_rows(*rows)


def _product_over_rows(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Returns the transposed `x` (N, C) times `gradient` (N, O), without a transposed copy of `x`.

    XLA would compute `x` again inside such a copy. Its product without one is fast where the first
    factor has fewer channels; the barrier keeps their order.
    """
    over_rows = (((0,), (0,)), ((), ()))
    if x.shape[1] <= gradient.shape[1]:
        return lax.dot_general(x, gradient, over_rows)
    return lax.optimization_barrier(lax.dot_general(gradient, x, over_rows)).T


_multiply.defvjp(lambda x, matrix: (x @ matrix, (x, matrix)), _multiply_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _with_fast_kernel_gradient(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    return _plain(x, kernel, stride, pad)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, pad: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _plain(x, kernel, stride, pad), (x, kernel)


def _backward(
    stride: int, pad: int, kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    if x.shape[-1] >= _MANY_CHANNELS:
        # Without the barrier a step of DenseNet-121 takes 342 instead of 337 ms on one core.
        x = lax.optimization_barrier(x)
        _, pull_back = jax.vjp(lambda x, kernel: _plain(x, kernel, stride, pad), x, kernel)
        return pull_back(gradient)
    _, pull_back = jax.vjp(lambda x: _plain(x, kernel, stride, pad), x)
    return pull_back(gradient)[0], _kernel_gradient(x, gradient, kernel.shape[0], stride, pad)


_with_fast_kernel_gradient.defvjp(_forward, _backward)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, size: int, stride: int, pad: int
) -> jax.Array:
    """Returns Σ patchᵀ · gradient over all positions (size, size, C, O), row by row of the map.

    With columns and images innermost, what the kernel sees along a row is copied in long runs, and
    both factors of the row's product stay in the cache.
    """
    (images, height, width, features), channels = gradient.shape, x.shape[-1]
    around = (pad, pad)
    rows = jnp.pad(_laid_out(x, 1, 3, 2, 0), (around, (0, 0), around, (0, 0)))
    rows = lax.optimization_barrier(rows)
    pulled = _laid_out(gradient, 1, 2, 0, 3).reshape(height, width * images, features)
    reach = stride * (width - 1) + 1

    def add(total: jax.Array, row: jax.Array) -> tuple[jax.Array, None]:
        near = lax.dynamic_slice_in_dim(rows, stride * row, size)
        seen = [
            near[down, :, right : right + reach : stride]
            for down in range(size)
            for right in range(size)
        ]
        patches = lax.optimization_barrier(jnp.concatenate(seen))
        return total + patches.reshape(-1, width * images) @ pulled[row], None

    start = jnp.zeros((size * size * channels, features), gradient.dtype)
    total, _ = lax.scan(add, start, jnp.arange(height))
    return total.reshape(size, size, channels, features)


def _laid_out(x: jax.Array, *axes: int) -> jax.Array:
    """Returns `x` with its axes in another order in memory: XLA fuses nothing into the copying."""
    return lax.optimization_barrier(lax.optimization_barrier(x).transpose(axes))
