"""A C program that computes a classifier: from data to the probabilities of their classes."""

import dataclasses

import numpy as np

from export import c_encoder, c_layers
from export.c_program import in_comment

_SOFTMAX = """\
static void softmax(const float *logits, int32_t count, float *y)
{
    float most = logits[0], sum = 0.0f;
    for (int32_t k = 1; k < count; k++) {
        most = logits[k] > most ? logits[k] : most;
    }
    for (int32_t k = 0; k < count; k++) {
        y[k] = expf(logits[k] - most);
        sum += y[k];
    }
    for (int32_t k = 0; k < count; k++) {
        y[k] /= sum;
    }
}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier(c_encoder.Encoder):
    """As an `Encoder`, whose last layer makes the logits of all labels.

    Args:
        labels: Tuple of tuples: a label's name, its name in C, and the names of its classes.
    """

    labels: tuple

    @property
    def work(self):
        return {**super().work, "heads": sum(len(names) for _, _, names in self.labels)}

    @property
    def parameters(self):
        made = [f"float *{c_name}" for _, c_name, _ in self.labels]
        return ["const float *x", *made, "float *work"]

    def sizes(self):
        sizes = super().sizes()
        del sizes["LATENT_DIM"]
        return sizes | {f"{c_name.upper()}_CLASSES": len(names) for _, c_name, names in self.labels}

    def buffers(self, macro):
        made = "".join(f"{name}[{macro}_{name.upper()}_CLASSES], " for _, name, _ in self.labels)
        return f"    float x[{macro}_{self.size_of_x}], {made}work[{macro}_WORK_SIZE];"

    def describe_data(self, prefix):
        lines = self.describe_x()
        for name, c_name, names in self.labels:
            origin = "" if name == c_name else f" (the condition {in_comment(name)})"
            classes = ", ".join(f"{i} {in_comment(label)}" for i, label in enumerate(names))
            lines.append(f"    {c_name}{origin}: is set to the probabilities of {classes}.")
        return lines

    def functions(self):
        return [*super().functions(), _SOFTMAX]

    def _run(self, prefix):
        lines, start = [self.declaration(prefix), "{", *self.encoding()], 0
        for _, c_name, names in self.labels:
            lines.append(f"    softmax(heads + {start}, {len(names)}, {c_name});")
            start += len(names)
        return "\n".join([*lines, "    return 0;", "}", ""])


def of(model, said):
    """The program of a model's classifier, or a refusal.

    Args:
        model: A model of `keras_vae` with a classifier, built.
        said: Dict of what every `Program` takes.

    Raises:
        ValueError: If its classifier or its data are others than the C format holds.
    """
    c_encoder.refuse("classifiers", _needs(model))
    names = {entry.name: entry.c_name for entry in said["conditions"]}
    labels = tuple(
        (name, names[name], tuple(kind.leaf_names or map(str, range(kind.num_leaves))))
        for name, kind in model.label_kinds.items()
    )
    *below, logits = c_layers.of_classifier(model.classifier, model.data_shape)
    log_temperature = c_layers.numpy(model.classifier_log_temperature)
    factor = np.repeat(np.exp(-log_temperature), [len(classes) for _, _, classes in labels])
    logits = dataclasses.replace(
        logits, kernel=logits.kernel * factor[:, None], bias=logits.bias * factor
    )
    return Classifier(**{**said, "conditions": ()}, layers=(*below, logits), labels=labels)


def _needs(model):
    from keras_vae.networks import ConvClassifier, DenseClassifier

    yield c_encoder.takes(model)
    kind = type(model.classifier)
    is_known = kind in (DenseClassifier, ConvClassifier)
    yield is_known, "DenseClassifier and ConvClassifier", kind.__name__
