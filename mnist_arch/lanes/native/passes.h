// What stands between two convolutions: batch norm, ReLU, dropout and pooling of one tile, in one
// pass over its memory forward and two backward (the first gathers the sums that batch norm's
// gradient needs of the whole batch, the second uses them).
//
// "value" is the convolution's output after the ReLU that precedes batch norm, if there is one.
// Forward:  value -> scale * value + shift -> [ReLU] -> [dropout] -> [pool] -> [dropout].
// Dropout of whole channels is a factor for each (channel, image) and, never being negative,
// commutes with ReLU and pooling: it is folded into scale and shift, as dropout's 1/(1-p) is.
// Everything that a backward pass needs beside `value` is computed again from it.
#pragma once

#include "convolution.h"
#include "random.h"

namespace {

enum Pool { kNoPool = 0, kMaxPool = 1, kAveragePool = 2 };

struct ElementDropout { // layer -1: none
  int layer = -1;
  int32_t threshold = 0;
};

struct Pass {
  bool relu_before = false, relu = false;
  int pool = kNoPool;
  ElementDropout before, after; // of the pool
  float gain = 1;               // product of 1/(1-p) of both
  Layout value;                 // before pooling
  Layout pooled;                // after it, no gap: the layout of its gradient
  Layout output;                // after it, with the gap that the next convolution reads
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

  Masks(const Pass& pass, const TileTask& task, int channel, int lane)
      : has_before(pass.before.layer >= 0), has_after(pass.after.layer >= 0) {
    const int64_t image = task.first_image + lane;
    if (has_before) before.set(task.seed, pass.before.layer, image, channel, pass.before.threshold);
    if (has_after) after.set(task.seed, pass.after.layer, image, channel, pass.after.threshold);
  }
  LANES_INLINE Vector keep_before(int pixel, Vector value) const {
    return has_before ? keep_where(before.kept(pixel), value) : value;
  }
  LANES_INLINE Vector keep_after(int pixel, Vector value) const {
    return has_after ? keep_where(after.kept(pixel), value) : value;
  }
};

inline void clear_gaps(const Layout& map, float* channel) {
  if (map.gap == 0) return;
  const long floats = long(map.gap) * kTile;
  clear(channel, floats);
  for (int row = 0; row < map.height; ++row)
    clear(channel + map.origin() + row * map.row + long(map.width) * kTile, floats);
}

LANES_INLINE Vector channel_factor(const Pass& pass, const TileTask& task, int channel, int lane) {
  const Vector gain = broadcast(pass.gain);
  return task.factors ? gain * load(task.factors + channel * kTile + lane) : gain;
}

template <bool kRelu>
LANES_INLINE Vector affine(Vector value, Vector scale, Vector shift) {
  const Vector result = value * scale + shift;
  return kRelu ? at_least(result, Vector{}) : result;
}

template <bool kRelu, bool kDrop, int kPool>
void forward_pass(const Pass& pass, const TileTask& task, const float* values, float* outputs) {
  // Members are read once: for all the compiler knows, each store of a vector may change them.
  const int width = pass.value.width, height = pass.value.height;
  const int pooled_width = pass.pooled.width, pooled_height = pass.pooled.height;
  for (int channel = 0; channel < pass.value.channels; ++channel) {
    clear_gaps(pass.output, outputs + channel * pass.output.channel);
    for (int lane = 0; lane < kTile; lane += kVector) {
      const Vector factor = channel_factor(pass, task, channel, lane);
      const Vector scale = factor * pass.scale[channel], shift = factor * pass.shift[channel];
      const float* value = values + channel * pass.value.channel + lane;
      float* output = outputs + pass.output.origin() + channel * pass.output.channel + lane;
      const long output_row = pass.output.row;
      const Masks masks(pass, task, channel, lane);
      const auto activated = [&](int row, int column) __attribute__((always_inline)) {
        const int pixel = row * width + column;
        Vector result = affine<kRelu>(load(value + long(pixel) * kTile), scale, shift);
        return kDrop ? masks.keep_before(pixel, result) : result;
      };
      if (kPool == kAveragePool) {
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
          } else {
            result = activated(row, column);
          }
          if (kDrop) result = masks.keep_after(row * pooled_width + column, result);
          store(output + row * output_row + column * kTile, result);
        }
    }
  }
}

// Calls visit(row, column, turn, value, slope) for every pixel of one channel of one lane group,
// slope being the gradient at batch norm's output; end_row() after every pixel row or two. `turn` is
// 0 or 1: sums that take turns do not wait for each other. With kEmit also calls
// emit(row, column, output) with the forward pass's outputs.
template <bool kRelu, bool kDrop, int kPool, bool kEmit, class Visit, class EndRow, class Emit>
LANES_INLINE void visit_slopes(const Pass& pass, const TileTask& task, int channel, int lane,
                               const float* values, const float* gradients, const Visit& visit,
                               const EndRow& end_row, const Emit& emit) {
  const int width = pass.value.width, height = pass.value.height;
  const Vector factor = channel_factor(pass, task, channel, lane);
  const Vector scale = factor * pass.scale[channel], shift = factor * pass.shift[channel];
  const float* value = values + channel * pass.value.channel + lane;
  const float* gradient = gradients + channel * pass.pooled.channel + lane;
  const Masks masks(pass, task, channel, lane);
  if (kPool == kAveragePool) {
    Vector slope = load(gradient) * factor / float(height * width), total{};
    if (kDrop) slope = masks.keep_after(0, slope);
    for (int row = 0; row < height; ++row) {
      Vector row_total{};
      for (int column = 0; column < width; ++column) {
        const int pixel = row * width + column;
        const Vector input = load(value + long(pixel) * kTile);
        const Vector activated = affine<kRelu>(input, scale, shift);
        IntVector open = kDrop && masks.has_before ? masks.before.kept(pixel) : all_ones();
        if (kEmit) row_total += kDrop ? keep_where(open, activated) : activated;
        if (kRelu) open &= activated > 0;
        visit(row, column, 0, input, kDrop || kRelu ? keep_where(open, slope) : slope);
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
      const Vector slope = load(gradient + long(pixel) * kTile) * factor;
      const Vector activated = affine<kRelu>(input, scale, shift);
      const Vector open_slope = kRelu ? where(activated > 0, slope) : slope;
      if (!kDrop) {
        if (kEmit) emit(row, column, activated);
        visit(row, column, turn, input, open_slope);
        return;
      }
      const Vector kept = masks.keep_after(pixel, masks.keep_before(pixel, open_slope));
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
  const int pooled_height = pass.pooled.height, pooled_width = pass.pooled.width;
  for (int row = 0; row < pooled_height; ++row) {
    for (int column = 0; column < pooled_width; ++column) {
      const int pooled_pixel = row * pooled_width + column;
      Vector slope = load(gradient + long(pooled_pixel) * kTile) * factor;
      Vector input[4], candidate[4];
      IntVector kept[4]{};
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int pixel = (2 * row + i / 2) * width + 2 * column + i % 2;
        input[i] = load(value + long(pixel) * kTile);
        candidate[i] = affine<false>(input[i], scale, shift);
        if (!kDrop) continue;
        kept[i] = masks.has_before ? masks.before.kept(pixel) : all_ones();
        candidate[i] = keep_where(kept[i], candidate[i]);
      }
      const Vector largest = at_least(at_least(candidate[0], candidate[1]),
                                      at_least(candidate[2], candidate[3]));
      Vector output = kRelu ? at_least(largest, Vector{}) : largest; // ReLU commutes with a maximum
      if (kDrop) {
        slope = masks.keep_after(pooled_pixel, slope);
        output = masks.keep_after(pooled_pixel, output);
      }
      if (kEmit) emit(row, column, output);
      // The first of equals takes the gradient, as in PyTorch; a maximum that ReLU stops, or one
      // that is a dropped value's 0, passes none.
      Vector left = kRelu ? where(largest > 0, slope) : slope;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const IntVector here = candidate[i] == largest;
        const Vector passed = where(here, left);
        left = where(~here, left);
        visit(2 * row + i / 2, 2 * column + i % 2, i % 2, input[i],
              kDrop && !kRelu ? keep_where(kept[i], passed) : passed);
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

// Makes the forward pass's outputs again, and adds to sums [channel][2]: the slope, and the slope
// times (value - mean), over valid lanes.
template <bool kRelu, bool kDrop, int kPool>
void restore_pass(const Pass& pass, const TileTask& task, const float* values,
                  const float* gradients, float* outputs, double* sums) {
  for (int channel = 0; channel < pass.value.channels; ++channel) {
    clear_gaps(pass.output, outputs + channel * pass.output.channel);
    for (int lane = 0; lane < kTile; lane += kVector) {
      const Vector mean = broadcast(pass.mean[channel]);
      float* output = outputs + pass.output.origin() + channel * pass.output.channel + lane;
      const long output_row = pass.output.row;
      Vector total{}, product{}, row_total[2]{}, row_product[2]{};
      visit_slopes<kRelu, kDrop, kPool, true>(
          pass, task, channel, lane, values, gradients,
          [&](int, int, int turn, Vector value, Vector slope) __attribute__((always_inline)) {
            row_total[turn] += slope;
            row_product[turn] += slope * (value - mean);
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

// The gradient at the convolution's output: scale * slope + constant + linear * (value - mean),
// the last two being what batch norm's own statistics pass on (zero in padding lanes), through the
// ReLU before batch norm. bias_sums [channel] gets its sum over the tile.
template <bool kRelu, bool kDrop, int kPool>
void backward_pass(const Pass& pass, const TileTask& task, const Layout& slope_map,
                   const float* values, const float* gradients, float* slopes, double* bias_sums) {
  const Vector bound = broadcast(pass.relu_before ? 0.0f : kNoBound);
  const long slope_row = slope_map.row;
  for (int channel = 0; channel < pass.value.channels; ++channel) {
    clear_gaps(slope_map, slopes + channel * slope_map.channel);
    for (int lane = 0; lane < kTile; lane += kVector) {
      Vector is_image{};
      for (int i = 0; i < kVector; ++i) is_image[i] = lane + i < task.valid ? 1.0f : 0.0f;
      const Vector scale = broadcast(pass.scale[channel]), mean = broadcast(pass.mean[channel]);
      const Vector constant = is_image * pass.constant[channel];
      const Vector linear = is_image * pass.linear[channel];
      float* output = slopes + slope_map.origin() + channel * slope_map.channel + lane;
      Vector total{}, row_total[2]{};
      visit_slopes<kRelu, kDrop, kPool, false>(
          pass, task, channel, lane, values, gradients,
          [&](int row, int column, int turn, Vector value, Vector slope)
              __attribute__((always_inline)) {
            Vector result = scale * slope + (constant + linear * (value - mean));
            result = where(value > bound, result);
            store(output + row * slope_row + long(column) * kTile, result);
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

// Calls run<relu, drop, pool>(arguments...) for the pass's own combination.
#define LANES_DISPATCH(run, pass, task, ...)                                                     \
  do {                                                                                           \
    const int choice = ((pass).relu ? 6 : 0) + ((task).drop ? 3 : 0) + (pass).pool;              \
    switch (choice) {                                                                            \
      case 0: run<false, false, kNoPool>(pass, task, __VA_ARGS__); break;                        \
      case 1: run<false, false, kMaxPool>(pass, task, __VA_ARGS__); break;                       \
      case 2: run<false, false, kAveragePool>(pass, task, __VA_ARGS__); break;                   \
      case 3: run<false, true, kNoPool>(pass, task, __VA_ARGS__); break;                         \
      case 4: run<false, true, kMaxPool>(pass, task, __VA_ARGS__); break;                        \
      case 5: run<false, true, kAveragePool>(pass, task, __VA_ARGS__); break;                    \
      case 6: run<true, false, kNoPool>(pass, task, __VA_ARGS__); break;                         \
      case 7: run<true, false, kMaxPool>(pass, task, __VA_ARGS__); break;                        \
      case 8: run<true, false, kAveragePool>(pass, task, __VA_ARGS__); break;                    \
      case 9: run<true, true, kNoPool>(pass, task, __VA_ARGS__); break;                          \
      case 10: run<true, true, kMaxPool>(pass, task, __VA_ARGS__); break;                        \
      case 11: run<true, true, kAveragePool>(pass, task, __VA_ARGS__); break;                    \
    }                                                                                            \
  } while (false)

} // namespace
