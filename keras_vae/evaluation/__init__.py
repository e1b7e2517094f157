"""Figures of merit of a trained model, in nats per example where nothing else is said."""

from keras_vae.evaluation import music
from keras_vae.evaluation.alarms import Windows, evaluate_alarms, read_anomalies, windows_of
from keras_vae.evaluation.annealed import annealed_log_likelihood
from keras_vae.evaluation.classifier import train_classifier
from keras_vae.evaluation.images import evaluate_reconstructions, ssim
from keras_vae.evaluation.latents import evaluate_latents
from keras_vae.evaluation.likelihood import bits_per_dimension, log_likelihoods
from keras_vae.evaluation.obedience import obedience
from keras_vae.evaluation.prior_choice import choose_prior
from keras_vae.evaluation.scorecard import diversity, scorecard
from keras_vae.evaluation.table_scorecard import judge_rows
from keras_vae.evaluation.tables import evaluate_rows
from keras_vae.evaluation.terms import evaluate, evaluate_codes

__all__ = [
    "Windows",
    "annealed_log_likelihood",
    "bits_per_dimension",
    "choose_prior",
    "diversity",
    "evaluate",
    "evaluate_alarms",
    "evaluate_codes",
    "evaluate_latents",
    "evaluate_reconstructions",
    "evaluate_rows",
    "judge_rows",
    "log_likelihoods",
    "music",
    "obedience",
    "read_anomalies",
    "scorecard",
    "ssim",
    "train_classifier",
    "windows_of",
]
