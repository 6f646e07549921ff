/* The operations of a small network's layers for one core: what torch would take several kernels for, each with its own
   dispatch, is one loop over rows. Compiled where a compiler is found (native.py); numbers are float32, rows contiguous.
   A row's results do not depend on how many others there are. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
enum { LANES = 16, TILE = 8 };
#else
enum { LANES = 8, TILE = 4 };
#endif
enum { PANEL = 2 * LANES }; /* columns of a matrix that lie together */

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
#define INLINE static inline __attribute__((always_inline))

int panel(void) { return PANEL; }

/* x / √(Σ x² + least) */
void normal(const float *x, float *out, long rows, long size, float least) {
    for (long r = 0; r < rows; r++, x += size, out += size) {
        float squares = 0;
        for (long i = 0; i < size; i++) squares += x[i] * x[i];
        float length = sqrtf(squares + least);
        for (long i = 0; i < size; i++) out[i] = x[i] / length;
    }
}

/* `rows` rows of one panel of a product, in registers. */
INLINE void tile(int rows, const float *x, long size, const float *panel, const float *added, long step, float *out,
                 long outputs, long kept) {
    lanes left[TILE], right[TILE];
    for (int r = 0; r < rows; r++) left[r] = right[r] = (lanes){0};
    for (long i = 0; i < size; i++, panel += PANEL) {
        lanes a = *(const lanes *)panel, b = *(const lanes *)(panel + LANES);
        for (int r = 0; r < rows; r++) {
            left[r] += x[r * size + i] * a;
            right[r] += x[r * size + i] * b;
        }
    }
    for (int r = 0; r < rows; r++) {
        float both[PANEL];
        memcpy(both, &left[r], sizeof(lanes));
        memcpy(both + LANES, &right[r], sizeof(lanes));
        for (long o = 0; o < kept; o++) out[r * outputs + o] = both[o] + (added ? added[r * step + o] : 0);
    }
}

/* x · weightᵀ + added; the weight in panels, (outputs / PANEL, size, PANEL); a row of `added` every `step` numbers. */
void product(const float *x, const float *panels, const float *added, long step, float *out, long rows, long size,
             long outputs) {
    for (long o = 0; o < outputs; o += PANEL, panels += PANEL * size) {
        long kept = outputs - o < PANEL ? outputs - o : PANEL;
        for (long r = 0; r < rows; r += TILE) {
            const float *from = x + r * size, *plus = added ? added + r * step + o : 0;
            float *to = out + r * outputs + o;
            switch (rows - r) { /* a constant number of rows keeps the sums in registers */
            case 1: tile(1, from, size, panels, plus, step, to, outputs, kept); break;
            case 2: tile(2, from, size, panels, plus, step, to, outputs, kept); break;
            case 3: tile(3, from, size, panels, plus, step, to, outputs, kept); break;
#if defined(__AVX512F__)
            case 4: tile(4, from, size, panels, plus, step, to, outputs, kept); break;
            case 5: tile(5, from, size, panels, plus, step, to, outputs, kept); break;
            case 6: tile(6, from, size, panels, plus, step, to, outputs, kept); break;
            case 7: tile(7, from, size, panels, plus, step, to, outputs, kept); break;
#endif
            default: tile(TILE, from, size, panels, plus, step, to, outputs, kept);
            }
        }
    }
}

/* eˣ for x ≤ 0, to 2·10⁻⁷: a power of two times a polynomial, which the compiler makes vectors of. */
INLINE float power(float x) {
    float twos = x * 1.44269504f;
    twos = twos < -126 ? -126 : twos;
    float whole = rintf(twos), p = (twos - whole) * 0.693147181f;
    union { int32_t bits; float value; } scale = {((int32_t)whole + 127) << 23};
    float sixth = 1 + p * (1.f / 6), fifth = 1 + p * (1.f / 5) * sixth, fourth = 1 + p * (1.f / 4) * fifth;
    return (1 + p * (1 + p * (1.f / 2) * (1 + p * (1.f / 3) * fourth))) * scale.value;
}

/* What one query finds in the `seen` first positions. */
INLINE void look(const float *restrict query, const float *restrict keys, const float *restrict values, long seen,
                 long width, float *restrict shares, float *restrict out) {
    float scale = 1 / sqrtf(width), most = 0, total = 0;
    for (long k = 0; k < seen; k++, keys += width) {
        float alike = 0;
        for (long i = 0; i < width; i++) alike += query[i] * keys[i];
        shares[k] = alike * scale;
        most = k == 0 || shares[k] > most ? shares[k] : most;
    }
    for (long k = 0; k < seen; k++) total += shares[k] = power(shares[k] - most);
    for (long i = 0; i < width; i++) out[i] = 0;
    for (long k = 0; k < seen; k++, values += width)
        for (long i = 0; i < width; i++) out[i] += shares[k] * values[i];
    for (long i = 0; i < width; i++) out[i] /= total;
}

/* Of every row and head of keys, (each + 2, width): turns queries and key, stores key and value at the row's position of
   its slot, and looks from there at what the slot has. What is at the last position of a slot is padding, and finds 0. */
void attend(float *projected, const float *turns, float *stored, const int64_t *slots, const int64_t *positions,
            float *shares, float *out, long rows, long heads, long each, long width, long capacity) {
    for (long r = 0; r < rows; r++, turns += (each + 2) * width) {
        long at = positions[r];
        if (at == capacity - 1) {
            memset(out, 0, heads * each * width * sizeof(float));
            projected += heads * (each + 2) * width, out += heads * each * width;
            continue;
        }
        for (long h = 0; h < heads; h++, projected += (each + 2) * width) {
            for (long i = 0; i < (each + 1) * width; i += 2) {
                float a = projected[i], b = projected[i + 1];
                projected[i] = a * turns[i] - b * turns[i + 1];
                projected[i + 1] = a * turns[i + 1] + b * turns[i];
            }
            float *keys = stored + (slots[r] * heads + h) * 2 * capacity * width, *values = keys + capacity * width;
            memcpy(keys + at * width, projected + each * width, width * sizeof(float));
            memcpy(values + at * width, projected + (each + 1) * width, width * sizeof(float));
            for (long q = 0; q < each; q++, out += width) {
                const float *query = projected + q * width;
                if (width == 32) look(query, keys, values, at + 1, 32, shares, out);
                else look(query, keys, values, at + 1, width, shares, out);
            }
        }
    }
}

/* silu(gate) · up, of rows (gate, up). */
void gated(const float *both, float *out, long rows, long size) {
    for (long r = 0; r < rows; r++, both += 2 * size, out += size)
        for (long i = 0; i < size; i++) {
            float gate = both[i], small = power(-fabsf(gate));
            out[i] = gate * (gate < 0 ? small : 1) / (1 + small) * both[size + i];
        }
}
