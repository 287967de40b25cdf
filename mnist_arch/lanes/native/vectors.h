// Vector types for one instruction set, and what every other file needs of them.
//
// A tile is 16 images, with AVX2 8: "lane" l of a tile is its image l, and the values of one pixel
// lie side by side. A register holds kVector of them: all 16 with AVX-512, all 8 with AVX2, 4 with
// SSE2 or NEON. Narrower registers walk a tile in kGroups passes, each over the same pixels with
// other lanes; every pass fetches whole cache lines and uses a part of them. AVX2 did so with 16
// images, and took 10 to 20 % longer.
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

constexpr int kVector = LANES_VECTOR;       // lanes in a register
constexpr int kTile = kVector == 8 ? 8 : 16; // images in a tile
constexpr int kGroups = kTile / kVector;    // registers for one pixel of a tile
constexpr int kRegisters = LANES_REGISTERS; // vector registers of the machine

typedef float Vector __attribute__((vector_size(kVector * 4), may_alias));
typedef int32_t IntVector __attribute__((vector_size(kVector * 4), may_alias));
typedef uint32_t BitVector __attribute__((vector_size(kVector * 4), may_alias));

LANES_INLINE Vector load(const float* address) { return *reinterpret_cast<const Vector*>(address); }

// The same value, of which the compiler knows nothing any more.
LANES_INLINE Vector opaque(Vector value) {
#if defined(__AVX512F__)
  __asm__("" : "+v"(value));
#elif defined(__x86_64__)
  __asm__("" : "+x"(value));
#elif defined(__aarch64__)
  __asm__("" : "+w"(value));
#endif
  return value;
}

// A load that stays one: compilers otherwise repeat it as an operand of every multiply-add that
// uses it, and the load ports, not the multipliers, become the limit.
LANES_INLINE Vector load_once(const float* address) { return opaque(load(address)); }

// The first `count` lanes from an address of any alignment, zeros in the others.
LANES_INLINE Vector load_some(const float* address, int count) {
  Vector value{};
  if (count == kVector) std::memcpy(&value, address, sizeof(Vector));
  else std::memcpy(&value, address, size_t(count) * sizeof(float));
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

// The same for the mask of a comparison, which need not become a vector of its own.
LANES_INLINE Vector where(IntVector mask, Vector value) { return mask ? value : Vector{}; }

// 1 / value, of a value from 1 to 2^125; NaN stays.
LANES_INLINE Vector inverse(Vector value) {
#if LANES_VECTOR == 16
  // A division of 16 lanes is slow. Instead a guess that is off by 5 % at most (minus the exponent and,
  // taken as linear, the rest), and three steps of Newton's method, each of which squares the error.
  const IntVector guess = 0x7EF311C7 - reinterpret_cast<IntVector>(value);
  Vector result = reinterpret_cast<Vector>(guess);
#pragma GCC unroll 3
  for (int step = 0; step < 3; ++step) result += result * (1.0f - value * result);
  return result;
#else
  return 1.0f / value;
#endif
}

// Zeros `floats` floats, a multiple of kTile, without a call of memset: it is for short runs.
LANES_INLINE void clear(float* address, long floats) {
  const Vector zero = opaque(Vector{}); // else compilers make the loop a call
  for (long i = 0; i < floats; i += kVector) store(address + i, zero);
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

// Alternating lanes of the first (or second) halves of a and b.
LANES_INLINE Vector zip(Vector a, Vector b, bool second) {
#if LANES_VECTOR == 16
#define LANES_FIRST 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define LANES_SECOND 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES_VECTOR == 8
#define LANES_FIRST 0, 8, 1, 9, 2, 10, 3, 11
#define LANES_SECOND 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LANES_FIRST 0, 4, 1, 5
#define LANES_SECOND 2, 6, 3, 7
#endif
#if defined(__clang__)
  return second ? __builtin_shufflevector(a, b, LANES_SECOND)
                : __builtin_shufflevector(a, b, LANES_FIRST);
#else
  return second ? __builtin_shuffle(a, b, IntVector{LANES_SECOND})
                : __builtin_shuffle(a, b, IntVector{LANES_FIRST});
#endif
}

// Lane j of vector i becomes lane i of vector j: as many perfect shuffles as kVector has bits.
LANES_INLINE void transpose(Vector vectors[kVector]) {
#pragma GCC unroll 4
  for (int width = kVector; width > 1; width /= 2) {
    Vector shuffled[kVector];
#pragma GCC unroll 8
    for (int i = 0; i < kVector / 2; ++i) {
      shuffled[2 * i] = zip(vectors[i], vectors[i + kVector / 2], false);
      shuffled[2 * i + 1] = zip(vectors[i], vectors[i + kVector / 2], true);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kVector; ++i) vectors[i] = shuffled[i];
  }
}

// Sum in double over the first `count` lanes of a group that begins at lane `first`.
LANES_INLINE double sum_valid(Vector value, int first, int count) {
  double total = 0;
  for (int lane = 0; lane < kVector && first + lane < count; ++lane) total += value[lane];
  return total;
}

} // namespace
