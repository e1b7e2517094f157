"""What an exported decoder costs in the runtimes: time over a floor, and the sampler over it.

    python benchmarks/deployment.py                  # a 20-400-784 decoder at its initial weights

Prints, as JSON:

- `litert_over_numpy`: time of one image from the fp32 decoder in LiteRT, one thread, over the time
  of the same two matrix-vector products in NumPy, in turn on the same core. Bound: 1.5.
- `sampler_extra_bytes` and `sampler_over_decoder` for each format: what the file and the time of an
  image gain when the sampler draws its code itself, at batch sizes 1 and 16. Bounds: 64,000 and
  1.5.
- `files`: every variant in its runtime: bytes, largest error against Keras over 256 seeded images,
  milliseconds an image alone and in a batch of 16, and these over the same two products in NumPy.

Pin it to one core, with one thread: `OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/...`.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import statistics
import tempfile
import time

import numpy as np
import receipts

import export
import keras_vae

ROUNDS = 15
CALLS = 200


def in_turn(functions):
    """Median milliseconds of a call of each function: many short rounds, one after another."""
    times = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            function()
            begin = time.perf_counter()
            for _ in range(CALLS):
                function()
            times[name].append(1000 * (time.perf_counter() - begin) / CALLS)
    return {name: statistics.median(values) for name, values in times.items()}


def litert(path, inputs):
    """A call of a file's static program of the inputs' batch size, as a device makes it."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1)
    graph = path.name.partition(".")[0]
    names = [key for key in interpreter.get_signature_list() if key.startswith(graph)]
    rows = max(len(value) for value in inputs.values())
    name = f"{graph}_{rows}" if f"{graph}_{rows}" in names else graph
    runner = interpreter.get_signature_runner(name)
    quantized = {}
    for key, detail in runner.get_input_details().items():
        scale, zero_point = detail["quantization"]
        value = inputs[key]
        if scale and value.dtype == np.float32:
            value = np.clip(np.round(value / scale + zero_point), -128, 127).astype(detail["dtype"])
        quantized[key] = value
    return lambda: runner(**quantized)


def onnxruntime(path, inputs):
    """A call of an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(["x"], inputs)


CALLERS = {".tflite": litert, ".onnx": onnxruntime}


def numpy_floor(model, z):
    """The decoder's two matrix-vector products, in NumPy."""
    first, last = (
        np.array(layer.kernel) for layer in (model.decoder.hidden[0], model.decoder.outputs_dense)
    )
    return lambda: (z @ first) @ last


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    receipts.add_option(parser)
    args = parser.parse_args()
    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(latent_dim=20, hidden_units=(400,)),
        keras_vae.networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(400,)),
        seed=0,
    )
    model.build()
    result = {"files": []}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for format in ("tflite", "onnx"):
            module = export.module_of(format)
            for quantize in (name for name in module.QUANTIZATIONS if name != "exact"):
                paths[format, quantize] = export.export(model, format, "decoder", quantize, folder)
            paths[format, "sampler"] = export.export(model, format, "sampler", out=folder)
        paths["c", "int8"] = export.export(model, "c", "decoder", "int8", folder)
        z = np.random.default_rng(0).standard_normal((256, 20), dtype=np.float32)
        given = {"seed": np.zeros(1, np.int32), "temperature": np.ones(1, np.float32)}
        index = np.arange(16, dtype=np.int32)

        one = {"z": z[:1]}
        floor = numpy_floor(model, one["z"])
        times = in_turn({"numpy": floor, "litert": litert(paths["tflite", "none"], one)})
        result["litert_over_numpy"] = round(times["litert"] / times["numpy"], 3)
        for format in ("tflite", "onnx"):
            decoder, sampler = paths[format, "none"], paths[format, "sampler"]
            call = CALLERS[decoder.suffix]
            extra = sampler.stat().st_size - decoder.stat().st_size
            result.setdefault("sampler_extra_bytes", {})[format] = extra
            for rows in (1, 16):
                times = in_turn(
                    {
                        "decoder": call(decoder, {"z": z[:rows]}),
                        "sampler": call(sampler, {"index": index[:rows], **given}),
                    }
                )
                ratio = round(times["sampler"] / times["decoder"], 3)
                result.setdefault("sampler_over_decoder", {})[f"{format}, batch {rows}"] = ratio
        expected = model.decode(z)
        for (format, quantize), path in paths.items():
            if quantize == "sampler":
                continue
            run = export.module_of(format).load(path)
            row = {
                "file": path.name,
                "bytes": path.stat().st_size,
                "largest_error": float(np.abs(run({"z": z})["x"] - expected).max()),
            }
            if format != "c":
                for rows in (1, 16):
                    calls = {
                        "numpy": numpy_floor(model, z[:rows]),
                        "x": CALLERS[path.suffix](path, {"z": z[:rows]}),
                    }
                    timed = in_turn(calls)
                    row[f"milliseconds_of_{rows}"] = round(timed["x"] / rows, 4)
                    row[f"over_numpy_of_{rows}"] = round(timed["x"] / timed["numpy"], 2)
            result["files"].append(row)
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
