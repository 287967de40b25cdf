// Dropout decisions: a counter-based generator, so that a mask is a pure function of
// (seed, layer, image, channel, pixel) whatever the number of threads or the order of work.
#pragma once

#include <cmath>

#include "vectors.h"

namespace {

// The finaliser of splitmix64 (Steele, Lea & Flood, 2014).
inline uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

inline uint64_t dropout_key(uint64_t seed, int64_t layer, int64_t image, int64_t channel) {
  uint64_t key = mix(seed + 0x9e3779b97f4a7c15ull * uint64_t(layer + 1));
  key = mix(key ^ (0xd1342543de82ef95ull * uint64_t(image + 1)));
  return mix(key ^ (0xaf251af3b0f025b5ull * uint64_t(channel + 1)));
}

// A decision is a uniform int32; those below the threshold are dropped. p = 0 drops none.
inline int32_t dropout_threshold(double probability) {
  return int32_t(std::llround(probability * 4294967296.0) - 2147483648ll);
}

inline bool channel_is_kept(uint64_t key, int32_t threshold) {
  return int32_t(uint32_t(key >> 32)) >= threshold;
}

// Element-wise decisions of one channel of one lane group; one hash (Wellons' lowbias32) a pixel.
struct ElementMask {
  BitVector low{}, high{};
  int32_t threshold = 0;

  void set(uint64_t seed, int64_t layer, int64_t first_image, int64_t channel, int32_t limit) {
    threshold = limit;
    for (int lane = 0; lane < kVector; ++lane) {
      const uint64_t key = dropout_key(seed, layer, first_image + lane, channel);
      low[lane] = uint32_t(key);
      high[lane] = uint32_t(key >> 32);
    }
  }

  LANES_INLINE IntVector kept(int pixel) const {
    BitVector bits = low + uint32_t(pixel) * 0x9e3779b9u;
    bits ^= bits >> 16;
    bits *= 0x7feb352du;
    bits ^= (bits >> 15) ^ high;
    bits *= 0x846ca68bu;
    bits ^= bits >> 16;
    return reinterpret_cast<IntVector>(bits) >= threshold;
  }
};

} // namespace
