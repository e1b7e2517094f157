"""The run folder: what a training left behind, and how it was made; read without Keras."""

import csv
import datetime
import importlib.metadata
import io
import json
import pathlib
import platform

from keras_vae import data
from keras_vae.storage import archives, checkpoints
from keras_vae.storage.files import remove_if_empty, write_atomically
from keras_vae.version import __version__


class Run:
    """A folder with `model.keras`, `config.json`, `history.csv`, `evaluation.json`, `figures/`.

    While it trains there are also `checkpoints/`, to go on from. Every file is written beside its
    final name and then renamed, so that a full disk or a killed process leaves the old file or
    none, never half of one.

    Args:
        folder: Path of the folder.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.model_path = self.folder / "model.keras"
        self.config_path = self.folder / "config.json"
        self.history_path = self.folder / "history.csv"
        self.evaluation_path = self.folder / "evaluation.json"
        self.classifier_path = self.folder / "classifier.keras"
        self.figures = self.folder / "figures"
        self.checkpoints = self.folder / "checkpoints"

    def load_model(self):
        """Return the trained model."""
        from keras_vae.storage import stored

        self.model_class()
        return stored.load_generative_model(self.folder)

    def model_class(self):
        """The name of the trained model's class, by a look into its file that needs no Keras.

        Raises:
            FileNotFoundError: If there is no such folder, or no model in it.
            ValueError: If the file is damaged.
        """
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"There must be a run folder at {self.folder}. Make one with: "
                f"python -m keras_vae train --out {self.folder}"
            )
        if not self.model_path.is_file():
            raise FileNotFoundError(
                f"A run folder must hold model.keras. Received: {self.folder}, which has none. "
                f"Train one with: python -m keras_vae train --out {self.folder}"
            )
        return archives.class_of_model(self.model_path)

    def save_model(self, model, path=None):
        """Write `model.keras`, or a Keras model to another path in the folder."""
        from keras_vae.storage import saving

        saving.save_model(model, path or self.model_path)

    def config(self):
        """Return `config.json`: the arguments, seed and versions of the training."""
        return read_config(self.config_path)

    def check_is_free(self):
        """See that a training would replace nothing, but what one left that saved no state.

        Raises:
            FileExistsError: If it would.
        """
        written = (self.config_path, self.history_path, self.model_path, self.evaluation_path)
        found = [path.name for path in written if path.exists()]
        if self.saved_states():
            found.append(self.checkpoints.name)
        if found and not (set(found) <= {"config.json", "history.csv"} and self._has_only_begun()):
            raise FileExistsError(
                f"{self.folder} holds a run already, or files of such names: {', '.join(found)}. "
                "Choose another --out, replace them with --overwrite, or go on with an interrupted "
                "run with --resume."
            )

    def _has_only_begun(self):
        """Whether `config.json` is there and of a training of ours that did not end."""
        try:
            config = self.config()
            return "keras_vae" in config["versions"] and "finished" not in config
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def saved_states(self):
        """The checkpoints of an interrupted training, the newest first."""
        return checkpoints.paths(self.checkpoints)

    def delete_checkpoints(self):
        """Delete the checkpoints, of the prior too, and nothing else that is beside them."""
        for folder in (self.checkpoints / "prior", self.checkpoints):
            checkpoints.delete(folder)
            remove_if_empty(folder)

    def dataset(self, source=None):
        """Load the data that the training used, with the classes in the order that it had.

        Args:
            source: Optional name or path of the data, should they be elsewhere by now.

        Returns:
            `data.Dataset`; of a training on music `data.Sequences`, in the pieces' own keys alone;
            of one on a table `data.Table`, on a series `data.Series`.
        """
        config = self.config()
        if "series" in config:
            return self._series(source, config)
        if data.is_table(config["arguments"]["data"]):
            return self._table(source, config)
        if "schema" in config:
            return self._sequences(source, config)
        names = config.get("class_names")
        is_text = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if names is not None and not is_text:
            raise ValueError(f"{self.config_path} is damaged: class_names must be a list of text")
        conditions = config.get("conditions", {})
        if not isinstance(conditions, dict) or not all(
            known is None or (isinstance(known, list) and all(isinstance(n, str) for n in known))
            for known in conditions.values()
        ):
            raise ValueError(f"{self.config_path} is damaged: conditions must be lists of text")
        arguments = config["arguments"]
        source = source or arguments["data"]
        options = data.options_of(arguments)
        return data.load(source, class_names=names, conditions=conditions, **options)

    def table_schema(self):
        """What the columns of the trained model mean, a `data.TableSchema`; None of another model.

        Raises:
            ValueError: If the file is damaged.
        """
        return self._schema_of(data.TableSchema)

    def series_schema(self):
        """As `table_schema`, a `data.SeriesSchema`."""
        return self._schema_of(data.SeriesSchema)

    def _schema_of(self, kind):
        schema = archives.config_of_model(self.model_path)[1].get("schema") or {}
        if schema.get("class_name") != kind.__name__:
            return None
        try:
            return kind.from_config(schema["config"])
        except (KeyError, TypeError, ValueError) as err:
            raise ValueError(f"{self.model_path} is damaged: {err}") from err

    def _series(self, source, config):
        arguments = config["arguments"]
        schema = self.series_schema()
        return data.series(source or arguments["data"], time=arguments.get("time"), schema=schema)

    def _table(self, source, config):
        arguments = config["arguments"]
        schema = self.table_schema()
        return data.table(source or arguments["data"], drop=arguments["drop"], schema=schema)

    def schema(self):
        """What the tokens of a training on music mean, a `data.Notes`."""
        return self._described_sequences(self.config())["schema"]

    def _sequences(self, source, config):
        described = self._described_sequences(config)
        source = source or config["arguments"]["data"]
        return data.sequences(source, augment=False, **described)

    def _described_sequences(self, config):
        try:
            return {
                "steps": config["data_shape"][0],
                "conditions": config["arguments"]["condition"],
                "schema": data.Notes.from_config(config["schema"]),
            }
        except (KeyError, IndexError, TypeError, ValueError) as err:
            raise ValueError(f"{self.config_path} is damaged: {err}") from err

    def write_json(self, path, value):
        """Write a dict as JSON, for people to read."""
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        write_atomically(path, text.encode("utf-8"))

    def write_history(self, history):
        """Write `history.csv` from a dict from metric to one float per epoch."""
        text = io.StringIO()
        names = sorted(history)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *names])
        for epoch, row in enumerate(zip(*(history[name] for name in names), strict=True)):
            writer.writerow([epoch, *map(float, row)])
        write_atomically(self.history_path, text.getvalue().encode("utf-8"))

    def history(self):
        """Return `history.csv` as a dict from metric to one float per epoch; {} without one."""
        if not self.history_path.is_file():
            return {}
        with open(self.history_path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        try:
            return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}
        except (TypeError, ValueError) as err:
            raise ValueError(f"{self.history_path} is damaged: {err}") from err

    def save_figure(self, name, made, form="png"):
        """Write a picture into `figures/` and return its path.

        Args:
            name: Str. Name of the file, without its ending unless that is `.gif`.
            made: matplotlib figure, or the bytes of a file.
            form: `"png"`, `"svg"` or `"pdf"`: what a matplotlib figure becomes.
        """
        self.figures.mkdir(parents=True, exist_ok=True)
        path = self.figures / (name if isinstance(made, bytes) else f"{name}.{form}")
        if not isinstance(made, bytes):
            buffer = io.BytesIO()
            made.savefig(buffer, format=form)
            made = buffer.getvalue()
        write_atomically(path, made)
        return path


def read_config(path):
    """Return `config.json`: the arguments, seed and versions of a training.

    Args:
        path: `pathlib.Path` of the file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config["arguments"]["data"]  # what every reader needs
    except FileNotFoundError as err:
        raise FileNotFoundError(
            f"A run folder must hold config.json. {path.parent} has none."
        ) from err
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f"{path} is damaged: {err}") from err
    return config


def versions():
    """Return the versions that a result depends on."""
    found = {"python": platform.python_version(), "keras_vae": __version__}
    for name in (
        "keras",
        "tensorflow",
        "jax",
        "torch",
        "numpy",
        "onnx",
        "tf2onnx",
        "onnxruntime",
        "ai-edge-litert",
    ):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def now():
    """The time, as ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
