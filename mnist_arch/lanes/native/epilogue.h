// The epilogue of a convolution or a sum: batch norm, activation, dropout and pooling of one tile, in
// one go over its memory forward and two backward (the first gathers the sums that batch norm's
// gradient needs of the whole batch, the second uses them).
//
// "value" is what the convolution or sum gave, after the ReLU that precedes batch norm, if any.
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
  const float* factors;  // [channel][16]: dropout of channels, or null
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

// Calls visit(row, column, turn, value, gradient) for every pixel of one channel of one lane group,
// with the gradient at batch norm's output; end_row() after every pixel row or two. `turn` is 0 or
// 1: sums that take turns do not wait for each other. With kEmit also calls emit(row, column, output)
// with the forward pass's outputs.
template <int kActivation, bool kDrop, int kPool, bool kEmit, class Visit, class EndRow, class Emit>
LANES_INLINE void visit_gradients(const Epilogue& epilogue, const TileTask& task, int channel, int lane,
                                  const float* values, const float* gradients, const Visit& visit,
                                  const EndRow& end_row, const Emit& emit) {
  constexpr bool relu = kActivation == kRelu;
  const int width = epilogue.value.width, height = epilogue.value.height;
  const Channel<kActivation> map(epilogue, task, channel, lane);
  const Vector factor = map.factor;
  const float* value = values + channel * epilogue.value.channel + lane;
  const float* pooled_gradient = gradients + channel * epilogue.pooled.channel + lane;
  const Masks masks(epilogue, task, channel, lane);
  if (kPool == kWholeAverage) {
    Vector shared = load(pooled_gradient) * factor / float(height * width), total{};
    if (kDrop) shared = masks.keep_after(0, shared);
    for (int row = 0; row < height; ++row) {
      Vector row_total{};
      for (int column = 0; column < width; ++column) {
        const int pixel = row * width + column;
        const Vector input = load(value + long(pixel) * kTile);
        Vector gradient = shared;
        const Vector activated = map.activated(input, gradient);
        const IntVector open = kDrop && masks.has_before ? masks.before.kept(pixel) : all_ones();
        if (kEmit) row_total += kDrop ? keep_where(open, activated) : activated;
        visit(row, column, 0, input, kDrop ? keep_where(open, gradient) : gradient);
      }
      total += row_total;
      end_row();
    }
    total /= float(height * width);
    if (kEmit) emit(0, 0, kDrop ? masks.keep_after(0, total) : total);
    return;
  }
  if (kPool == kNoPool) {
    const auto visit_pixel = [&](int row, int column, int turn) __attribute__((always_inline)) {
      const int pixel = row * width + column;
      const Vector input = load(value + long(pixel) * kTile);
      Vector gradient = load(pooled_gradient + long(pixel) * kTile) * factor;
      const Vector activated = map.activated(input, gradient);
      if (!kDrop) {
        if (kEmit) emit(row, column, activated);
        visit(row, column, turn, input, gradient);
        return;
      }
      const Vector kept = masks.keep_after(pixel, masks.keep_before(pixel, gradient));
      if (kEmit) emit(row, column, masks.keep_after(pixel, masks.keep_before(pixel, activated)));
      visit(row, column, turn, input, kept);
    };
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column + 1 < width; column += 2) {
        visit_pixel(row, column, 0);
        visit_pixel(row, column + 1, 1);
      }
      if (width % 2) visit_pixel(row, width - 1, 0);
      end_row();
    }
    return;
  }
  const int pooled_height = epilogue.pooled.height, pooled_width = epilogue.pooled.width;
  for (int row = 0; row < pooled_height; ++row) {
    for (int column = 0; column < pooled_width; ++column) {
      const int pooled_pixel = row * pooled_width + column;
      Vector gradient = load(pooled_gradient + long(pooled_pixel) * kTile) * factor;
      if (kDrop) gradient = masks.keep_after(pooled_pixel, gradient);
      if (kPool == kAveragePool) {
        gradient *= 0.25f;
        Vector output{};
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const int pixel = (2 * row + i / 2) * width + 2 * column + i % 2;
          const Vector input = load(value + long(pixel) * kTile);
          Vector passed = gradient;
          const Vector activated = map.activated(input, passed);
          output += kDrop ? masks.keep_before(pixel, activated) : activated;
          visit(2 * row + i / 2, 2 * column + i % 2, i % 2, input,
                kDrop ? masks.keep_before(pixel, passed) : passed);
        }
        output *= 0.25f;
        if (kEmit) emit(row, column, kDrop ? masks.keep_after(pooled_pixel, output) : output);
        continue;
      }
      Vector input[4], candidate[4], derivative[4];
      IntVector kept[4]{};
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int pixel = (2 * row + i / 2) * width + 2 * column + i % 2;
        input[i] = load(value + long(pixel) * kTile);
        if (is_smooth(kActivation)) {
          const Activated both = activate<kActivation>(map.affine(input[i]));
          candidate[i] = factor * both.value, derivative[i] = both.derivative;
        } else {
          candidate[i] = map.affine(input[i]);
        }
        if (!kDrop) continue;
        kept[i] = masks.has_before ? masks.before.kept(pixel) : all_ones();
        candidate[i] = keep_where(kept[i], candidate[i]);
      }
      const Vector largest = at_least(at_least(candidate[0], candidate[1]),
                                      at_least(candidate[2], candidate[3]));
      Vector output = relu ? at_least(largest, Vector{}) : largest; // ReLU commutes with a maximum
      if (kDrop) output = masks.keep_after(pooled_pixel, output);
      if (kEmit) emit(row, column, output);
      // The first of equals takes the gradient, as in PyTorch; a maximum that ReLU stops, or one
      // that is a dropped value's 0, passes none.
      Vector left = relu ? where(largest > 0, gradient) : gradient;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const IntVector here = candidate[i] == largest;
        Vector passed = where(here, left);
        left = where(~here, left);
        if (is_smooth(kActivation)) passed *= derivative[i];
        visit(2 * row + i / 2, 2 * column + i % 2, i % 2, input[i],
              kDrop && !relu ? keep_where(kept[i], passed) : passed);
      }
    }
    end_row();
  }
  for (int row = 0; row < height; ++row) { // the odd row and column that pooling leaves out
    const bool left_out = row >= 2 * pooled_height;
    for (int column = left_out ? 0 : 2 * pooled_width; column < width; ++column)
      visit(row, column, 0, load(value + (long(row) * width + column) * kTile), Vector{});
  }
  end_row();
}

// Makes the forward pass's outputs again, and adds to sums [channel][2]: the gradient, and
// the gradient times (value - mean), over valid lanes.
template <int kActivation, bool kDrop, int kPool>
void recompute_epilogue(const Epilogue& epilogue, const TileTask& task, const float* values,
                  const float* gradients, float* outputs, double* sums) {
  for (int channel = 0; channel < epilogue.value.channels; ++channel) {
    clear_padding(epilogue.output, outputs + channel * epilogue.output.channel);
    for (int lane = 0; lane < kTile; lane += kVector) {
      const Vector mean = broadcast(epilogue.mean[channel]);
      float* output = outputs + epilogue.output.origin() + channel * epilogue.output.channel + lane;
      const long output_row = epilogue.output.row;
      Vector total{}, product{}, row_total[2]{}, row_product[2]{};
      visit_gradients<kActivation, kDrop, kPool, true>(
          epilogue, task, channel, lane, values, gradients,
          [&](int, int, int turn, Vector value, Vector gradient) __attribute__((always_inline)) {
            row_total[turn] += gradient;
            row_product[turn] += gradient * (value - mean);
          },
          [&]() __attribute__((always_inline)) {
            total += row_total[0] + row_total[1];
            product += row_product[0] + row_product[1];
            row_total[0] = row_total[1] = row_product[0] = row_product[1] = Vector{};
          },
          [&](int row, int column, Vector result) __attribute__((always_inline)) {
            store(output + row * output_row + long(column) * kTile, result);
          });
      sums[2 * channel] += sum_valid(total, lane, task.valid);
      sums[2 * channel + 1] += sum_valid(product, lane, task.valid);
    }
  }
}

// Where the gradient of a convolution's output goes. With a stride it is spread out, zeros between,
// to what a convolution of stride 1 would have: its input gradient and weight gradient follow.
struct ValueGradient {
  Layout layout;
  int stride = 1;
};

// The gradient at the convolution's output: scale * gradient + constant + linear * (value - mean),
// the last two being what batch norm's own statistics pass on (zero in padding lanes), through the
// ReLU before batch norm. bias_sums [channel] gets its sum over the tile.
template <int kActivation, bool kDrop, int kPool>
void epilogue_gradient(const Epilogue& epilogue, const TileTask& task, const ValueGradient& to,
                   const float* values, const float* gradients, float* value_gradients, double* bias_sums) {
  const Vector bound = broadcast(epilogue.relu_before ? 0.0f : kNoBound);
  const Layout& layout = to.layout;
  const long row_step = to.stride * layout.row, column_step = long(to.stride) * kTile;
  if (to.stride > 1) clear(value_gradients, layout.size);
  for (int channel = 0; channel < epilogue.value.channels; ++channel) {
    if (to.stride == 1) clear_padding(layout, value_gradients + channel * layout.channel);
    for (int lane = 0; lane < kTile; lane += kVector) {
      Vector is_image{};
      for (int i = 0; i < kVector; ++i) is_image[i] = lane + i < task.valid ? 1.0f : 0.0f;
      const Vector scale = broadcast(epilogue.scale[channel]), mean = broadcast(epilogue.mean[channel]);
      const Vector constant = is_image * epilogue.constant[channel];
      const Vector linear = is_image * epilogue.linear[channel];
      float* output = value_gradients + layout.origin() + channel * layout.channel + lane;
      Vector total{}, row_total[2]{};
      visit_gradients<kActivation, kDrop, kPool, false>(
          epilogue, task, channel, lane, values, gradients,
          [&](int row, int column, int turn, Vector value, Vector gradient)
              __attribute__((always_inline)) {
            Vector result = scale * gradient + (constant + linear * (value - mean));
            result = where(value > bound, result);
            store(output + row * row_step + column * column_step, result);
            row_total[turn] += result;
          },
          [&]() __attribute__((always_inline)) {
            total += row_total[0] + row_total[1];
            row_total[0] = row_total[1] = Vector{};
          },
          [](int, int, Vector) {});
      bias_sums[channel] += sum_valid(total, lane, kTile);
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
