"""Where a number becomes a finding; docs/doctor.md says which trainings each was measured on.

`MOST_...` is the largest value, and `LEAST_...` the smallest, of which nothing is found.
"""

# Of the data and the settings.

# 8-bit pictures without a pixel above this share of 255 were made of fewer levels.
LEAST_BRIGHT = 0.25
# Standard deviation of all values above which a density's data are not standardised.
MOST_DEVIATION = 3.0
# Share of the values of colours that are neither black nor white.
MOST_BETWEEN = 0.1

# Of the curves.

# Part of a training's whole gain that its second half may still bring.
MOST_GAIN = 0.13
# Part of a training's whole gain by which its loss may rise again, epoch by epoch; an epoch's
# gradient norm over the median; and Adam's learning rate.
MOST_RISE, MOST_SPIKE, MOST_LEARNING_RATE = 0.25, 1000.0, 0.02
# In standard deviations of an example's ELBO over the test data.
MOST_GAP = 0.5

# Of the codes.

# A dimension that costs less, in nats, says next to nothing of the example.
LEAST_KL = 0.02
MOST_DEAD_SHARE = 0.4
# Of what as many principal components explain of the data, the part that the code does.
LEAST_EXPLAINED, LEAST_EXPLAINED_AT_ALL = 0.85, 0.1
# Of a latent's median log-variance. Where the prior's variance is 1, useful ones are below it.
MOST_LOG_VAR, LEAST_LOG_VAR = 5.0, -20.0
# Nats by which the codes' means and variances alone set them apart from the prior's draws.
MOST_MISMATCH = 1.25
LEAST_CODES_USED = 0.5

# Of labels and samples.

# Nats of an example's reconstruction that the right label is worth, at least.
LEAST_LABEL_NATS = 0.5
# From guessing, 0, to no mistake, 1: what a classifier of real images reaches, of so many.
LEAST_SKILL, LEAST_COUNTED = 0.2, 100
# By how much fewer samples than real images are of the class that a classifier names.
MOST_MISSED = 0.1
LEAST_DIVERSITY = 0.6
# Of drawn rows those as near to a training row as the nearest of held-out ones, beyond their share.
MOST_CLOSE = 0.1
# Of samples those that are not half as far from a training image as the closest held-out ones.
MOST_COPIED = 0.02

# Of the calibration of a detector.

# How far the highest hundredth of normal scores reaches above the median, over the highest quarter.
MOST_REACH = 10.0
# Share of held-out examples whose p-value is the least there is; and how many times as large as in
# training a channel may be.
MOST_AT_LEAST, MOST_FACTOR = 0.9, 10.0
