// The gradient of a convolution's weights, over one tile.
#pragma once

#include "blocks.h"
#include "maps.h"

namespace {

struct WeightGradientRows {
  const float* gradient; // of the block's first output channel, first row
  const float* input;    // the pixel that the first tap multiplies there
  float* totals;         // [output in block] vectors of [tap], `totals_output` floats apart
  int tiles, rows, width;
  bool fresh; // the totals hold nothing yet
  long gradient_tile, gradient_row, gradient_channel;
  long input_tile, input_row, input_tap, totals_output;
};

typedef void (*WeightGradientKernel)(const WeightGradientRows&);

// For each output channel and tap: the sum over pixels of gradient x input, lane by lane. Taps are
// `kTapRows` kernel rows of `kTaps` neighbouring pixels; or neighbouring channels of a 1x1 kernel.
template <int kOut, int kTapRows, int kTaps>
void weight_gradient_block(const WeightGradientRows& task) {
  constexpr int kAll = kTapRows * kTaps;
  Vector total[kOut][kAll];
#pragma GCC unroll 9
  for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 9
    for (int t = 0; t < kAll; ++t) total[o][t] = Vector{};
  }
  if (!task.fresh) {
#pragma GCC unroll 9
    for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 9
      for (int t = 0; t < kAll; ++t)
        total[o][t] = load(task.totals + o * task.totals_output + t * kVector);
    }
  }
  const auto add_row = [&](const float* gradient,
                           const float* input) __attribute__((always_inline)) {
    for (int column = 0; column < task.width; ++column) {
      const auto pixel = [&](int tap) __attribute__((always_inline)) {
        return load_once(input + tap / kTaps * task.input_row + tap % kTaps * task.input_tap);
      };
      const auto gradient_of = [&](int o) __attribute__((always_inline)) {
        return load_once(gradient + o * task.gradient_channel);
      };
      if constexpr (kOut <= kAll) { // the fewer stay in registers, the others pass by
        Vector gradients[kOut];
#pragma GCC unroll 9
        for (int o = 0; o < kOut; ++o) gradients[o] = gradient_of(o);
#pragma GCC unroll 9
        for (int t = 0; t < kAll; ++t) {
          const Vector value = pixel(t);
#pragma GCC unroll 9
          for (int o = 0; o < kOut; ++o) total[o][t] += gradients[o] * value;
        }
      } else {
        Vector pixels[kAll];
#pragma GCC unroll 9
        for (int t = 0; t < kAll; ++t) pixels[t] = pixel(t);
#pragma GCC unroll 9
        for (int o = 0; o < kOut; ++o) {
          const Vector value = gradient_of(o);
#pragma GCC unroll 9
          for (int t = 0; t < kAll; ++t) total[o][t] += value * pixels[t];
        }
      }
      gradient += kTile;
      input += kTile;
    }
  };
  for (int tile = 0; tile < task.tiles; ++tile)
    for (int row = 0; row < task.rows; ++row)
      for (int group = 0; group < kGroups; ++group)
        add_row(task.gradient + group * kVector + row * task.gradient_row +
                    tile * task.gradient_tile,
                task.input + group * kVector + row * task.input_row + tile * task.input_tile);
#pragma GCC unroll 9
  for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 9
    for (int t = 0; t < kAll; ++t)
      store(task.totals + o * task.totals_output + t * kVector, total[o][t]);
  }
}

constexpr int kMaxTaps = 5;

constexpr bool weight_gradient_fits(int out, int taps) {
  return out * taps + std::min(out, taps) + 1 <= kRegisters;
}

template <int kTapRows, int kTaps, int kOut = kMaxBlock>
WeightGradientKernel weight_gradient_kernel(int out) {
  if constexpr (kOut > 0) {
    if (out != kOut) return weight_gradient_kernel<kTapRows, kTaps, kOut - 1>(out);
    if constexpr (weight_gradient_fits(kOut, kTapRows * kTaps))
      return weight_gradient_block<kOut, kTapRows, kTaps>;
  }
  return nullptr;
}

inline WeightGradientKernel weight_gradient_kernel(int out, int tap_rows, int taps) {
  if (tap_rows == 3 && taps == 3) return weight_gradient_kernel<3, 3>(out);
  if (tap_rows == 2 && taps == 3) return weight_gradient_kernel<2, 3>(out);
  switch (taps) {
    case 1: return weight_gradient_kernel<1, 1>(out);
    case 2: return weight_gradient_kernel<1, 2>(out);
    case 3: return weight_gradient_kernel<1, 3>(out);
    case 4: return weight_gradient_kernel<1, 4>(out);
    case 5: return weight_gradient_kernel<1, 5>(out);
  }
  return nullptr;
}

// Sums over the pixels of one tile; totals [output][input][kernel][kernel] vectors of kVector.
//
// A block of output channels and a band of rows, which together stay in the first-level cache, meet
// every input channel. A 3x3 kernel is taken whole where the registers allow.
struct WeightGradient {
  struct Segment { // rows of the gradient that meet the same kernel rows inside the input
    int first_row, last_row, kernel_row, kernel_rows;
    bool fresh; // the first to meet them
  };
  struct Taps {
    int first, size; // along a kernel row; along the input channels where the kernel is 1x1
    std::vector<Span> blocks; // of output channels
  };
  int kernel = 0, padding = 0;
  Layout input, gradient;
  std::vector<Taps> taps;
  std::vector<std::vector<Segment>> bands;
  bool adds = false; // whether totals must be zero before: some kernel rows have no first segment

  WeightGradient() = default;
  WeightGradient(int kernel_, int padding_, Layout input_, Layout gradient_)
      : kernel(kernel_), padding(padding_), input(input_), gradient(gradient_) {
    const int tap_rows = rows_at_once();
    std::vector<double> tap_cost(1, 0);
    std::vector<std::vector<int>> outputs(1);
    for (int size = 1; size <= kMaxTaps; ++size) {
      std::vector<double> cost(1, 0);
      for (int out = 1; out <= kMaxBlock; ++out)
        cost.push_back(kernel_fits(out, size) ? block_cycles(out, tap_rows * size) : kNever);
      outputs.push_back(cheapest_split(gradient.channels, cost));
      tap_cost.push_back(cost_of(outputs.back(), cost));
    }
    int first_tap = 0;
    for (int size : cheapest_split(kernel == 1 ? input.channels : kernel, tap_cost)) {
      taps.push_back({first_tap, size, spans(outputs[size])});
      first_tap += size;
    }
    bands = plan_bands(taps[0].blocks[0].size);
    mark_fresh();
  }

  bool kernel_fits(int out, int size) const {
    return (rows_at_once() == 1 || size == 3) && weight_gradient_fits(out, rows_at_once() * size);
  }

  int rows_at_once() const { return kernel == 3 && kRegisters == 32 ? 3 : 1; }

  std::vector<std::vector<Segment>> plan_bands(int out) const {
    const long row_bytes = long(out) * gradient.width * kTile * 4;
    const int band = int(std::max(1l, 20 * 1024 / row_bytes));
    std::vector<std::vector<Segment>> bands;
    for (int first = 0; first < gradient.height; first += band) {
      const int last = std::min(first + band, gradient.height);
      bands.push_back(rows_at_once() == 1 ? rows_by_kernel_row(first, last)
                                          : rows_by_row(first, last));
    }
    return bands;
  }

  std::vector<Segment> rows_by_kernel_row(int first, int last) const {
    std::vector<Segment> segments;
    for (int kernel_row = 0; kernel_row < kernel; ++kernel_row) {
      const int from = std::max(first, padding - kernel_row);
      const int to = std::min(last, input.height + padding - kernel_row);
      if (from < to) segments.push_back({from, to, kernel_row, 1, false});
    }
    return segments;
  }

  std::vector<Segment> rows_by_row(int first, int last) const {
    std::vector<Segment> segments;
    for (int row = first; row < last; ++row) {
      const int from = std::max(0, padding - row);
      const int rows = std::min(kernel, input.height + padding - row) - from;
      Segment* before = segments.empty() ? nullptr : &segments.back();
      if (before && before->kernel_row == from && before->kernel_rows == rows)
        before->last_row = row + 1;
      else segments.push_back({row, row + 1, from, rows, false});
    }
    return segments;
  }

  // Segments of most kernel rows come first, so that these need not be zeroed beforehand.
  void mark_fresh() {
    std::vector<bool> met(kernel, false);
    for (std::vector<Segment>& band : bands) {
      std::stable_sort(band.begin(), band.end(), [](const Segment& a, const Segment& b) {
        return a.kernel_rows > b.kernel_rows;
      });
      for (Segment& segment : band) {
        const auto first = met.begin() + segment.kernel_row, last = first + segment.kernel_rows;
        segment.fresh = std::find(first, last, true) == last;
        adds |= !segment.fresh && std::find(first, last, false) != last;
        std::fill(first, last, true);
      }
    }
    adds |= std::find(met.begin(), met.end(), false) != met.end();
    if (!adds) return;
    for (std::vector<Segment>& band : bands)
      for (Segment& segment : band) segment.fresh = false;
  }

  long weights() const { return long(input.channels) * gradient.channels * kernel * kernel; }

  // tile: the convolution's input; gradients: the gradient of its output.
  void run(const float* tile, const float* gradients, float* totals) const {
    if (adds) std::memset(totals, 0, size_t(weights()) * kVector * sizeof(float));
    WeightGradientRows task = new_task(long(input.channels) * kernel * kernel);
    const int channels = kernel == 1 ? 1 : input.channels;
    for (const Taps& run : taps)
      for (const std::vector<Segment>& band : bands)
        for (const Span& block : run.blocks)
          for (int in = 0; in < channels; ++in)
            for (const Segment& rows : band) {
              add(task, run, block, in, rows, tile, gradients,
                  totals + block.first * task.totals_output + in * kernel * kernel * kVector);
            }
  }

  // totals -> one number for each of `count` weights. totals is padded to a multiple of kVector
  // vectors.
  static void sum_lanes(const float* totals, long count, float* sums) {
    for (long first = 0; first < count; first += kVector) {
      Vector vectors[kVector];
#pragma GCC unroll 16
      for (int i = 0; i < kVector; ++i) vectors[i] = load(totals + (first + i) * kVector);
      const Vector sum = sum_lanes_of_each(vectors);
      std::memcpy(sums + first, &sum, sizeof(float) * std::min<long>(kVector, count - first));
    }
  }

  // ---- the same over all tiles of a batch --------------------------------------------------
  //
  // Where maps are small, a tile's totals are more to write and read than its maps. A block of
  // output channels and one input channel meet all tiles, and leave numbers only.

  static constexpr int kMostTaps = 25; // of a kernel, of which `run_block` knows no more

  // Whether two maps of a tile leave room for those of other tiles in the second-level cache.
  bool suits_all_tiles() const {
    return kernel > 1 && kernel * kernel <= kMostTaps &&
           (input.size + gradient.size) * long(sizeof(float)) <= 144 * 1024;
  }

  std::vector<std::pair<int, int>> all_blocks() const { // (taps, block)
    std::vector<std::pair<int, int>> result;
    for (size_t run = 0; run < taps.size(); ++run)
      for (size_t block = 0; block < taps[run].blocks.size(); ++block)
        result.push_back({int(run), int(block)});
    return result;
  }

  // maps, gradients: of the first tile; the others follow, `map_tile` and `gradient_tile` floats apart.
  // totals: memory for a block and one input channel. sums: those of the block get their numbers.
  void run_block(std::pair<int, int> which, int tiles, const float* maps, long map_tile,
                 const float* gradients, long gradient_tile, float* totals, float* sums) const {
    const Taps& run = taps[which.first];
    const Span& block = run.blocks[which.second];
    const int all = kernel * kernel;
    WeightGradientRows task = new_task(all);
    task.tiles = tiles;
    task.input_tile = map_tile, task.gradient_tile = gradient_tile;
    for (int in = 0; in < input.channels; ++in) {
      if (adds) std::memset(totals, 0, size_t(block.size) * all * kVector * sizeof(float));
      for (const std::vector<Segment>& band : bands)
        for (const Segment& rows : band) add(task, run, block, in, rows, maps, gradients, totals);
      float numbers[kMaxBlock * kMostTaps];
      sum_lanes(totals, block.size * all, numbers);
      for (int o = 0; o < block.size; ++o)
        for (int tap = 0; tap < all; ++tap)
          if (tap % kernel >= run.first && tap % kernel < run.first + run.size)
            sums[(long(block.first + o) * input.channels + in) * all + tap] =
                numbers[o * all + tap];
    }
  }

 private:
  WeightGradientRows new_task(long vectors_an_output) const {
    WeightGradientRows task{};
    task.tiles = 1;
    task.width = gradient.width;
    task.gradient_row = gradient.row;
    task.gradient_channel = gradient.channel;
    task.input_row = input.row;
    task.input_tap = kernel == 1 ? input.channel : kTile;
    task.totals_output = vectors_an_output * kVector;
    return task;
  }

  // totals: of the block's first output channel and input channel `in`.
  void add(WeightGradientRows& task, const Taps& run, const Span& block, int in,
           const Segment& rows, const float* tile, const float* gradients, float* totals) const {
    task.fresh = rows.fresh;
    task.rows = rows.last_row - rows.first_row;
    task.input = tile + input.origin() + in * input.channel - padding * kTile +
                 (rows.first_row + rows.kernel_row - padding) * input.row +
                 run.first * task.input_tap;
    task.gradient = gradients + gradient.origin() + block.first * gradient.channel +
                    rows.first_row * gradient.row;
    task.totals = totals + (long(rows.kernel_row) * kernel + run.first) * kVector;
    weight_gradient_kernel(block.size, rows.kernel_rows, run.size)(task);
  }

};

} // namespace
