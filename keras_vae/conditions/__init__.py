"""What a model can be conditioned on: kinds of values, and how each becomes numbers."""

from keras_vae.conditions.categorical import Categorical
from keras_vae.conditions.continuous import Continuous
from keras_vae.conditions.hierarchical import Hierarchical
from keras_vae.conditions.multi_label import MultiLabel
from keras_vae.conditions.ordinal import Ordinal
from keras_vae.conditions.sequence import Sequence

__all__ = ["Categorical", "Continuous", "Hierarchical", "MultiLabel", "Ordinal", "Sequence"]
