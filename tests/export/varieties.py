"""Models with the priors, likelihoods, posteriors and networks that those of the families lack."""

import functools

from tests.export.exported import GRAPHS
from tests.export.test_c_families import graphs_of, model_of
from tests.export.test_posteriors import make

# Two priors, four likelihoods, and networks of images and of series.
CASES = (
    "flow of logistics",
    "normal of greys",
    "transposed",
    "conv1d",
)
POSTERIORS = ("ladder",)
# How to make each, and its graphs.
VARIETIES = {
    **{case: (functools.partial(model_of, case), graphs_of(case)) for case in CASES},
    **{name: (functools.partial(make, name), GRAPHS) for name in POSTERIORS},
}
