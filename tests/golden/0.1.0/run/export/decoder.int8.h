/* The decoder of a ConditionalVAE: int8 weights, float arithmetic, C99 and libm.
 *
 * It allocates nothing and keeps nothing between calls: calls with a `work` each may run at once.
 *
 *     float x[DECODER_SIZE], z[DECODER_LATENT_DIM], work[DECODER_WORK_SIZE];
 *     int status = decoder_run(z, label, x, work);
 *
 * Returns 0; or 1 where an argument is out of its range, and then writes nothing.
 *
 *     z: 3 floats, the latent code.
 *     label: the class, from 0 to 9; or 10, unknown.
 *     x: is set to 64 floats from 0 to 1, 8 x 8 x 1.
 *     work: 29 floats to compute with.
 */
#ifndef DECODER_H
#define DECODER_H

#include <stdint.h>

#define DECODER_LATENT_DIM 3
#define DECODER_HEIGHT 8
#define DECODER_WIDTH 8
#define DECODER_CHANNELS 1
#define DECODER_SIZE 64
#define DECODER_WORK_SIZE 29
#define DECODER_LABEL_UNKNOWN 10

#ifdef __cplusplus
extern "C" {
#endif

int decoder_run(const float *z, int32_t label, float *x, float *work);

#ifdef __cplusplus
}
#endif

#endif
