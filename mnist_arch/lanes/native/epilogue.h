// The epilogue of a convolution or a sum: batch norm, activation, dropout and pooling of one tile, in
// one go over its memory. `epilogue_gradient.h` has the way back.
//
// "value" is what the convolution or sum gave, after the activation that precedes batch norm, if any.
// Forward:  value -> scale * value + shift -> [activation] -> [dropout] -> [pool] -> [dropout].
// Dropout of whole channels is a factor for each (channel, image) and, never being negative,
// commutes with ReLU and pooling: it is folded into scale and shift, as dropout's 1/(1-p) is (into
// the activation's result where that is not ReLU). All that a backward pass needs beside `value` is
// computed again from it.
#pragma once

#include <type_traits>

#include "activations.h"
#include "convolution.h"
#include "random.h"

namespace {

enum Pool { kNoPool = 0, kMaxPool = 1, kWholeAverage = 2, kAveragePool = 3, kPools = 4 };

struct ElementDropout { // layer -1: none
  int layer = -1;
  int32_t threshold = 0;
};

struct Epilogue {
  bool relu_before = false;
  int activation = kLinear; // after batch norm
  int pool = kNoPool;
  ElementDropout before, after; // of the pool
  float gain = 1;               // product of 1/(1-p) of both
  Layout value;                 // before pooling
  Layout pooled;                // after it, no padding: the layout of its gradient
  Layout output;                // after it, with the padding that its readers need
  // One number a channel:
  const float *scale = nullptr, *shift = nullptr; // batch norm as an affine map
  const float *mean = nullptr;                    // of the batch
  const float *constant = nullptr, *linear = nullptr; // batch norm's gradient, see backward
};

struct TileTask {
  uint64_t seed;
  int64_t first_image;
  int valid;             // images in the tile; the other lanes are padding
  const float* factors;  // [channel][lane]: dropout of channels, or null
  bool drop;             // whether element-wise dropout is active
};

LANES_INLINE IntVector all_ones() { return IntVector{} == IntVector{}; }

struct Masks {
  ElementMask before, after;
  bool has_before, has_after;

  Masks(const Epilogue& epilogue, const TileTask& task, int channel, int lane)
      : has_before(epilogue.before.layer >= 0), has_after(epilogue.after.layer >= 0) {
    const int64_t image = task.first_image + lane;
    if (has_before) before.set(task.seed, epilogue.before.layer, image, channel, epilogue.before.threshold);
    if (has_after) after.set(task.seed, epilogue.after.layer, image, channel, epilogue.after.threshold);
  }
  LANES_INLINE Vector keep_before(int pixel, Vector value) const {
    return has_before ? keep_where(before.kept(pixel), value) : value;
  }
  LANES_INLINE Vector keep_after(int pixel, Vector value) const {
    return has_after ? keep_where(after.kept(pixel), value) : value;
  }
};

inline void clear_padding(const Layout& map, float* channel) {
  if (map.padding == 0) return;
  const long floats = long(map.padding) * kTile;
  clear(channel, floats);
  for (int row = 0; row < map.height; ++row)
    clear(channel + map.origin() + row * map.row + long(map.width) * kTile, floats);
}

LANES_INLINE Vector channel_factor(const Epilogue& epilogue, const TileTask& task, int channel, int lane) {
  const Vector gain = broadcast(epilogue.gain);
  return task.factors ? gain * load(task.factors + channel * kTile + lane) : gain;
}

// Batch norm's affine map and the activation, with the dropout of the channel and the gain of all
// dropouts, for one channel of one lane group.
template <int kActivation>
struct Channel {
  Vector factor, scale, shift;

  Channel(const Epilogue& epilogue, const TileTask& task, int channel, int lane) {
    factor = channel_factor(epilogue, task, channel, lane);
    scale = broadcast(epilogue.scale[channel]), shift = broadcast(epilogue.shift[channel]);
    if (!is_smooth(kActivation)) scale = factor * epilogue.scale[channel];
    if (!is_smooth(kActivation)) shift = factor * epilogue.shift[channel];
  }
  LANES_INLINE Vector affine(Vector value) const { return value * scale + shift; }
  // What is left of the activation once ReLU is put off until after a maximum.
  LANES_INLINE Vector before_maximum(Vector value) const {
    const Vector result = affine(value);
    return is_smooth(kActivation) ? factor * activate<kActivation>(result).value : result;
  }
  LANES_INLINE Vector activated(Vector value) const {
    const Vector result = before_maximum(value);
    return kActivation == kRelu ? at_least(result, Vector{}) : result;
  }
  // Also turns `gradient`, which has the factor, into that at the affine map's result.
  LANES_INLINE Vector activated(Vector value, Vector& gradient) const {
    const Vector result = affine(value);
    if (is_smooth(kActivation)) {
      const Activated both = activate<kActivation>(result);
      gradient *= both.derivative;
      return factor * both.value;
    }
    if (kActivation != kRelu) return result;
    const Vector open = at_least(result, Vector{});
    gradient = where(open > 0, gradient);
    return open;
  }
};

template <int kActivation, bool kDrop, int kPool>
void run_epilogue(const Epilogue& epilogue, const TileTask& task, const float* values, float* outputs) {
  // Members are read once: for all the compiler knows, each store of a vector may change them.
  const int width = epilogue.value.width, height = epilogue.value.height;
  const int pooled_width = epilogue.pooled.width, pooled_height = epilogue.pooled.height;
  for (int channel = 0; channel < epilogue.value.channels; ++channel) {
    clear_padding(epilogue.output, outputs + channel * epilogue.output.channel);
    for (int lane = 0; lane < kTile; lane += kVector) {
      const Channel<kActivation> map(epilogue, task, channel, lane);
      const float* value = values + channel * epilogue.value.channel + lane;
      float* output = outputs + epilogue.output.origin() + channel * epilogue.output.channel + lane;
      const long output_row = epilogue.output.row;
      const Masks masks(epilogue, task, channel, lane);
      const auto activated = [&](int row, int column) __attribute__((always_inline)) {
        const int pixel = row * width + column;
        const Vector result = map.activated(load(value + long(pixel) * kTile));
        return kDrop ? masks.keep_before(pixel, result) : result;
      };
      if (kPool == kWholeAverage) {
        Vector total{};
        for (int row = 0; row < height; ++row) {
          Vector row_total{};
          for (int column = 0; column < width; ++column) row_total += activated(row, column);
          total += row_total;
        }
        total /= float(height * width);
        store(output, kDrop ? masks.keep_after(0, total) : total);
        continue;
      }
      for (int row = 0; row < pooled_height; ++row)
        for (int column = 0; column < pooled_width; ++column) {
          Vector result;
          if (kPool == kMaxPool) {
            const int r = 2 * row, c = 2 * column;
            result = at_least(at_least(activated(r, c), activated(r, c + 1)),
                              at_least(activated(r + 1, c), activated(r + 1, c + 1)));
          } else if (kPool == kAveragePool) {
            const int r = 2 * row, c = 2 * column;
            result = (activated(r, c) + activated(r, c + 1) +
                      (activated(r + 1, c) + activated(r + 1, c + 1))) * 0.25f;
          } else {
            result = activated(row, column);
          }
          if (kDrop) result = masks.keep_after(row * pooled_width + column, result);
          store(output + row * output_row + column * kTile, result);
        }
    }
  }
}

// Calls run<activation, drop, pool>(epilogue, task, arguments...) for the epilogue's combination.
#define LANES_DISPATCH(run, epilogue, task, ...)                                            \
  dispatch_epilogue((epilogue).activation, (task).drop, (epilogue).pool,                    \
                    [&](auto activation, auto drop, auto pool) {                            \
                      run<activation(), drop(), pool()>((epilogue), (task), __VA_ARGS__);   \
                    })

template <int number>
using Constant = std::integral_constant<int, number>;

template <class Call>
inline void dispatch_epilogue(int activation, bool drop, int pool, const Call& call) {
  const auto with_pool = [&](auto activation_, auto drop_) {
    switch (pool) {
      case kNoPool: return call(activation_, drop_, Constant<kNoPool>());
      case kMaxPool: return call(activation_, drop_, Constant<kMaxPool>());
      case kWholeAverage: return call(activation_, drop_, Constant<kWholeAverage>());
      case kAveragePool: return call(activation_, drop_, Constant<kAveragePool>());
    }
  };
  const auto with_drop = [&](auto activation_) {
    if (drop) with_pool(activation_, std::true_type());
    else with_pool(activation_, std::false_type());
  };
  switch (activation) {
    case kLinear: return with_drop(Constant<kLinear>());
    case kRelu: return with_drop(Constant<kRelu>());
    case kSilu: return with_drop(Constant<kSilu>());
    case kHardSwish: return with_drop(Constant<kHardSwish>());
  }
}

} // namespace
