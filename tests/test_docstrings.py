"""The docstrings of public names: each has an example, and every example runs."""

import doctest

import pytest

from keras_vae import distributions
from tests.conftest import ordinary_on
from tests.public import MODULES, public

DOCUMENTED = [one for one in public() if one.is_documented]
# Pages whose examples take least.
CHEAP = {
    *("keras_vae.distributions", "keras_vae.divergences", "keras_vae.likelihoods"),
    *("keras_vae.metrics", "keras_vae.objectives", "keras_vae.schedules"),
}


def page_of(one):
    return one.name.rpartition(".")[0]


def examples_of(one):
    return doctest.DocTestParser().get_examples(one.thing.__doc__ or "")


def test_every_public_name_has_an_example():
    assert len(DOCUMENTED) > 180
    assert [one.name for one in DOCUMENTED if not examples_of(one)] == []


def test_an_example_imports_the_package_first():
    """Before Keras: then it takes a backend that is installed."""
    first = {examples_of(one)[0].source.strip() for one in DOCUMENTED}
    assert first <= {"import keras_vae", "import export"}


@pytest.mark.filterwarnings("ignore:distutils Version")  # of TensorFlow Probability
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=ordinary_on() if page not in CHEAP else ordinary_on("torch"))
        for page in MODULES
    ],
)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    """As a reader copies them: without the names of the module that they are in."""
    monkeypatch.chdir(tmp_path)
    # What an example registers is forgotten.
    monkeypatch.setattr(distributions, "_CLOSED_FORMS", dict(distributions._CLOSED_FORMS))
    failures = []
    for one in DOCUMENTED:
        if page_of(one) == page:
            test = doctest.DocTest(examples_of(one), {}, one.name, None, None, None)
            doctest.DocTestRunner(verbose=False).run(test, out=failures.append)
    assert not failures, "".join(failures)
