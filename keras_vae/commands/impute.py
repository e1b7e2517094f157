"""Fill what is missing in rows of a table with what a run's model expects."""

import pathlib

from keras_vae.commands.start import start_keras


def add_arguments(parser):
    parser.add_argument("run", help="run folder of a model of a table")
    parser.add_argument("rows", help="table with the columns that the model was trained on")
    parser.add_argument("--out", default="whole.csv", help=".csv (default: whole.csv)")


def main(args):
    import numpy as np

    from keras_vae.data import table_sources
    from keras_vae.data.columns import is_missing
    from keras_vae.storage.files import check_folder_can_be, write_atomically
    from keras_vae.storage.runs import Run

    run, out = Run(args.run), pathlib.Path(args.out)
    kind, schema = run.model_class(), run.table_schema()
    if schema is None:
        raise ValueError(f"impute needs a model of a table. Received: {kind}.")
    if out.suffix != ".csv":
        raise ValueError(f"--out must end with .csv for rows of a table. Received: {out}")
    check_folder_can_be(out.parent)
    _, columns = table_sources.read(args.rows)
    # What training left out comes along as it is.
    left_out = run.config()["arguments"]["drop"]
    encoded = schema.encode({n: v for n, v in columns.items() if n not in left_out})
    start_keras(args.backend, purpose=f"{kind} of {run.folder}")
    model = run.load_model()
    count = 0
    for name, values in schema.decode(model.impute(encoded)).items():
        gaps = np.array([is_missing(value) for value in columns[name]])
        columns[name] = np.where(gaps, values, columns[name])
        count += int(gaps.sum())
    write_atomically(out, table_sources.as_csv(columns))
    print(f"{count:,} missing values of {len(encoded['x'] if model.condition else encoded):,} rows")
    print(out)
