/* The score of a window, its p-value and an alarm, beside a reconstructor: C99, no allocation.

   A microcontroller runs `reconstructor` (int8-full) in its runtime, which takes and gives windows
   that are standardised; this does that, and computes from what went in and what came out how
   unusual the window is: the negative log-likelihood under a Gaussian, in nats, and what share of
   normal windows scores as high. The numbers come from

       python sample.py --model reconstructor.int8-full.tflite --header scorer_data.h

   which defines KV_STEPS, KV_CHANNELS, the names of classes that have p-values of their own, and a
   `static const kv_scorer kv_data`:

       #include "score.h"
       #include "scorer_data.h"
       static float added[KV_STEPS * KV_CHANNELS];
       static kv_alarm alarm = {0};
       kv_standardise(&kv_data, x);          // then run the reconstructor
       float score = kv_score(&kv_data, x, reconstructed, added);
       float p = kv_p_value(&kv_data, score); // or kv_p_value_of(&kv_data, score, KV_IDLE)
       if (kv_raise(&alarm, p <= kv_data.false_alarms, 3, 5)) { ... kv_worst(&kv_data, added) ... }
*/
#ifndef KV_SCORE_H
#define KV_SCORE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int steps, channels;
    const float *mean, *std; /* of each channel, in units */
    const float *scale;     /* of each channel's likelihood, in standard deviations */
    const float *log_scale; /* log(scale) + log(2 pi) / 2 */
    int knots;              /* of the p-values of all examples */
    const float *scores;    /* ascending; after those of all, those of each group */
    const float *p_values;  /* descending */
    float false_alarms;
    int classes;               /* of a label that p-values are by, or 0 */
    const int *group_of_class; /* of each class, and of unknown; group 0 is all examples */
    const int *group_ends;     /* where the scores of each group end */
} kv_scorer;

typedef struct {
    uint32_t recent; /* the last windows, the newest in the lowest bit */
} kv_alarm;

/* Turn a window in units, steps * channels values, step by step, into what the reconstructor takes. */
static inline void kv_standardise(const kv_scorer *s, float *x)
{
    for (int t = 0; t < s->steps; ++t)
        for (int c = 0; c < s->channels; ++c) {
            const int i = t * s->channels + c;
            x[i] = (x[i] - s->mean[c]) / s->std[c];
        }
}

/* Nats of a standardised window of steps * channels values, step by step; what each adds goes to `added`, unless
   that is NULL. Not a number if a reading is none. */
static inline float kv_score(const kv_scorer *s, const float *x, const float *made, float *added)
{
    float total = 0.0f;
    for (int t = 0; t < s->steps; ++t) {
        float of_step = 0.0f; /* two sums of few terms round less than one of many */
        for (int c = 0; c < s->channels; ++c) {
            const int i = t * s->channels + c;
            const float error = (x[i] - made[i]) / s->scale[c];
            const float term = 0.5f * error * error + s->log_scale[c];
            if (added != NULL)
                added[i] = term;
            of_step += term;
        }
        total += of_step;
    }
    return total;
}

/* Straight lines between the scores that are kept, from one place up to another. The least there is
   for a score that is not a number, so that it is an alarm. */
static inline float kv_between(const kv_scorer *s, float score, int first, int end)
{
    if (score <= s->scores[first])
        return s->p_values[first];
    for (int k = first + 1; k < end; ++k)
        if (score < s->scores[k]) {
            const float along = (score - s->scores[k - 1]) / (s->scores[k] - s->scores[k - 1]);
            return s->p_values[k - 1] + along * (s->p_values[k] - s->p_values[k - 1]);
        }
    return s->p_values[end - 1];
}

/* The share of normal windows, of all classes, that score as high. */
static inline float kv_p_value(const kv_scorer *s, float score)
{
    return kv_between(s, score, 0, s->knots);
}

/* The share of normal windows of a class that score as high: of all, where the class is unknown or
   had too few examples. Where p-values are by class, this is what false alarms are asked of. */
static inline float kv_p_value_of(const kv_scorer *s, float score, int label)
{
    const int group = label >= 0 && label < s->classes ? s->group_of_class[label] : 0;
    if (group == 0)
        return kv_p_value(s, score);
    return kv_between(s, score, s->group_ends[group - 1], s->group_ends[group]);
}

/* The channel that adds most to a score. */
static inline int kv_worst(const kv_scorer *s, const float *added)
{
    int worst = 0;
    float most = 0.0f;
    for (int c = 0; c < s->channels; ++c) {
        float sum = 0.0f;
        for (int t = 0; t < s->steps; ++t)
            sum += added[t * s->channels + c];
        if (c == 0 || sum > most) {
            worst = c;
            most = sum;
        }
    }
    return worst;
}

/* Take note of a window, and tell whether `most` of the last `of` (up to 32) are in alarm. */
static inline int kv_raise(kv_alarm *alarm, int in_alarm, int most, int of)
{
    int count = 0;
    alarm->recent = (alarm->recent << 1) | (in_alarm ? 1u : 0u);
    for (int k = 0; k < of && k < 32; ++k)
        count += (int)((alarm->recent >> k) & 1u);
    return count >= most;
}

#endif
