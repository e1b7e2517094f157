/* The sampler of a ConditionalVAE: int8 weights, float arithmetic, C99 and libm.
 *
 * It allocates nothing and keeps nothing between calls: calls with a `work` each may run at once.
 *
 *     float x[SAMPLER_SIZE], z[SAMPLER_LATENT_DIM], work[SAMPLER_WORK_SIZE];
 *     int status = sampler_run(seed, index, temperature, label, x, z, work);
 *
 * Returns 0; or 1 where an argument is out of its range, and then writes nothing.
 *
 *     seed: from 0 to 2147483647. The same one gives the same images on every device.
 *     index: which image of the seed, from 0 to 1048575.
 *     temperature: at least 0; 1 draws from the prior, 0 gives its mean.
 *     label: the class, from 0 to 9; or 10, unknown.
 *     x: is set to 64 floats from 0 to 1, 8 x 8 x 1.
 *     z: is set to the latent code, 3 floats.
 *     work: 29 floats to compute with.
 */
#ifndef SAMPLER_H
#define SAMPLER_H

#include <stdint.h>

#define SAMPLER_LATENT_DIM 3
#define SAMPLER_HEIGHT 8
#define SAMPLER_WIDTH 8
#define SAMPLER_CHANNELS 1
#define SAMPLER_SIZE 64
#define SAMPLER_WORK_SIZE 29
#define SAMPLER_LABEL_UNKNOWN 10

#ifdef __cplusplus
extern "C" {
#endif

int sampler_run(int32_t seed, int32_t index, float temperature, int32_t label, float *x, float *z,
                float *work);

#ifdef __cplusplus
}
#endif

#endif
