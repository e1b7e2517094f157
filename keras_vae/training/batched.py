"""Functions of tensors applied to arrays: compiled once each, some rows at a time."""

import keras
import numpy as np
from keras import ops

from keras_vae.exceptions import is_out_of_memory
from keras_vae.training import compiles_each_shape


def in_batches(function, arrays, batch_size, progress=None, by_row=True):
    """Apply a function of tensors to nested arrays, some rows at a time, and join its results.

    Where memory runs out it goes on with half as many rows: what the function has drawn or changed
    by then must not matter. On JAX the rows are padded, so that few functions are compiled.

    Args:
        function: Function of nested tensors that returns a list of tensors, both by rows.
        arrays: Nested arrays `(n, ...)`.
        batch_size: Int. Rows computed at once.
        progress: Optional function from an iterable of batch starts to the same iterable.
        by_row: Whether a row of the results depends on no other row. What does not is never padded.

    Returns:
        List of arrays `(n, ...)`.

    Raises:
        MemoryError: If it does not suffice for a single row.
    """
    results = []
    count = len(keras.tree.flatten(arrays)[0])
    size = batch_size
    starts = range(0, count, batch_size)
    for start in starts if progress is None else progress(starts):
        end = min(start + batch_size, count)
        while start < end:
            rows = slice(start, min(start + size, end))
            try:
                batch = rows_of(arrays, rows)
                batch = padded(batch, size) if by_row else batch
                batch = keras.tree.map_structure(ops.convert_to_tensor, batch)
                made = [ops.convert_to_numpy(tensor) for tensor in function(batch)]
                results.append([array[: rows.stop - rows.start] for array in made])
                start = rows.stop
            except Exception as err:
                if not is_out_of_memory(err):
                    raise
                if size == 1:
                    raise MemoryError(
                        "Memory must suffice to compute one example. It ran out. Ask for fewer "
                        "samples at once, or use a machine with more."
                    ) from err
                size = -(-size // 2)
    return [np.concatenate(parts) for parts in zip(*results, strict=True)]


def padded(arrays, most):
    """Nested arrays, on JAX with the last row repeated up to the next power of two, or to `most`.

    So a function is compiled for some numbers of rows, not for every one.
    """
    if not compiles_each_shape:
        return arrays
    count = len(keras.tree.flatten(arrays)[0])
    wanted = max(count, min(1 << (count - 1).bit_length(), most))
    return keras.tree.map_structure(
        lambda array: np.concatenate([array, np.repeat(array[-1:], wanted - count, axis=0)]), arrays
    )


def rows_of(arrays, rows):
    return keras.tree.map_structure(lambda array: None if array is None else array[rows], arrays)


class CompiledFunctions:
    """What was compiled, by the code of a function and the objects that it refers to.

    Two functions of one code that close over different objects compute different things, so each is
    compiled: what changes from call to call belongs into the arguments. It is no dict, in which
    Keras would track the model as a layer of itself.
    """

    def __init__(self):
        self.functions = {}

    def __len__(self):
        return len(self.functions)

    def of(self, function, compile_function):
        """The compiled function, from before if there is one.

        Args:
            function: Python function, or a method.
            compile_function: Function that compiles it.
        """
        references = _references(function)
        key = (getattr(function, "__func__", function).__code__, *map(id, references))
        if key not in self.functions:
            # Kept with its references, so that no other object takes over the identity of one.
            self.functions[key] = compile_function(function), references
        return self.functions[key][0]

    def clear(self):
        self.functions.clear()


def _references(function):
    """The objects that a function refers to beyond its arguments."""
    owner = getattr(function, "__self__", None)
    function = getattr(function, "__func__", function)
    closure = [cell.cell_contents for cell in function.__closure__ or ()]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [owner, *closure, *defaults]
