"""One Adam step of a 784-400-40-400-784 network, for Keras as it is installed or on PYTHONPATH."""

import functools
import itertools
import time

import keras
import numpy as np

rng = np.random.default_rng(0)
shapes = [s for pair in itertools.pairwise((784, 400, 40, 400, 784)) for s in (pair, pair[1:])]
weights = [keras.Variable(rng.normal(size=shape).astype("f4")) for shape in shapes]
gradients = [keras.ops.convert_to_tensor(rng.normal(size=shape).astype("f4")) for shape in shapes]
optimizer = keras.optimizers.Adam(1e-3)
optimizer.build(weights)
apply = functools.partial(optimizer.apply, gradients, weights)
if keras.backend.backend() == "tensorflow":  # compiled, as in `fit`
    import tensorflow  # noqa: TID251 - of a program

    apply = tensorflow.function(apply)
    apply()
seconds = []
for _ in range(5):
    begin = time.process_time()
    for _ in range(100):
        apply()
    seconds.append(time.process_time() - begin)
total = sum(float(np.abs(keras.ops.convert_to_numpy(weight)).sum()) for weight in weights)
print(f"{min(seconds) * 10:.2f} ms of CPU a step; the absolute weights sum to {total:.2f}")
