// Vector types for one instruction set, and what every other file needs of them.
//
// A tile is 16 images on every machine: "lane" l of a tile is its image l, and the 16 values
// of one pixel lie side by side (64 bytes). A register holds kVector of them: all 16 with
// AVX-512, 8 with AVX2, 4 with SSE2 or NEON. Narrow registers walk a tile in kGroups passes,
// each over the same pixels with other lanes.
#pragma once

#include <cstdint>
#include <cstring>

#define LANES_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define LANES_VECTOR 16
#define LANES_REGISTERS 32
#define LANES_NAME "avx512"
#elif defined(__AVX2__)
#define LANES_VECTOR 8
#define LANES_REGISTERS 16
#define LANES_NAME "avx2"
#else
#define LANES_VECTOR 4
#if defined(__aarch64__)
#define LANES_REGISTERS 32
#else
#define LANES_REGISTERS 16
#endif
#define LANES_NAME "baseline"
#endif

namespace {

constexpr int kTile = 16;                   // images in a tile
constexpr int kVector = LANES_VECTOR;       // lanes in a register
constexpr int kGroups = kTile / kVector;    // registers for one pixel of a tile
constexpr int kRegisters = LANES_REGISTERS; // vector registers of the machine

typedef float Vector __attribute__((vector_size(kVector * 4), may_alias));
typedef int32_t IntVector __attribute__((vector_size(kVector * 4), may_alias));
typedef uint32_t BitVector __attribute__((vector_size(kVector * 4), may_alias));

LANES_INLINE Vector load(const float* address) { return *reinterpret_cast<const Vector*>(address); }

// A load that stays one: compilers otherwise repeat it as an operand of every multiply-add that
// uses it, and the load ports, not the multipliers, become the limit.
LANES_INLINE Vector load_once(const float* address) {
  Vector value = load(address);
#if defined(__AVX512F__)
  __asm__("" : "+v"(value));
#elif defined(__x86_64__)
  __asm__("" : "+x"(value));
#elif defined(__aarch64__)
  __asm__("" : "+w"(value));
#endif
  return value;
}

LANES_INLINE void store(float* address, Vector value) { *reinterpret_cast<Vector*>(address) = value; }
LANES_INLINE Vector broadcast(float value) { return value - Vector{}; }

// NaN passes through (a network that diverges must be seen to diverge).
LANES_INLINE Vector at_least(Vector value, Vector bound) { return bound > value ? bound : value; }

// value where the mask is all ones, 0 where it is 0.
LANES_INLINE Vector keep_where(IntVector mask, Vector value) {
  return reinterpret_cast<Vector>(mask & reinterpret_cast<IntVector>(value));
}

// Sums of neighbouring lanes: the first half of the result from a, the second from b.
LANES_INLINE Vector pairwise(Vector a, Vector b) {
#if LANES_VECTOR == 16
#define LANES_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define LANES_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif LANES_VECTOR == 8
#define LANES_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define LANES_ODD 1, 3, 5, 7, 9, 11, 13, 15
#else
#define LANES_EVEN 0, 2, 4, 6
#define LANES_ODD 1, 3, 5, 7
#endif
#if defined(__clang__)
  return __builtin_shufflevector(a, b, LANES_EVEN) + __builtin_shufflevector(a, b, LANES_ODD);
#else
  return __builtin_shuffle(a, b, IntVector{LANES_EVEN}) +
         __builtin_shuffle(a, b, IntVector{LANES_ODD});
#endif
}

// Lane i of the result is the sum over the lanes of vectors[i], i < kVector. Overwrites vectors.
LANES_INLINE Vector sum_lanes_of_each(Vector vectors[kVector]) {
#pragma GCC unroll 4
  for (int width = kVector; width > 1; width /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < width / 2; ++i)
      vectors[i] = pairwise(vectors[2 * i], vectors[2 * i + 1]);
  }
  return vectors[0];
}

// Sum in double over the first `count` lanes of a group that begins at lane `first`.
LANES_INLINE double sum_valid(Vector value, int first, int count) {
  double total = 0;
  for (int lane = 0; lane < kVector && first + lane < count; ++lane) total += value[lane];
  return total;
}

} // namespace
