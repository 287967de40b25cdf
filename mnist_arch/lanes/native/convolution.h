// Direct convolution of one tile, forward and backward.
//
// Maps are [channel][row][column][16]. A map that is read by a convolution carries a "gap" of
// zero columns: one gap before the first row and one after each row, so that neighbouring rows
// share theirs and column -1 or column `width` of any row reads zero. Rows have no such border:
// the loop over kernel rows is clipped instead, which also saves their multiplications.
//
// The kernels compute a block of output channels x neighbouring pixels in registers. Block sizes
// are template parameters; a small dynamic programme picks the blocks for any width and number
// of channels.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "vectors.h"

namespace {

constexpr int kMaxBlock = 8; // the largest block along either axis
constexpr float kNoBound = -std::numeric_limits<float>::infinity();

// One map's memory: sizes in floats.
struct Layout {
  int channels = 0, height = 0, width = 0, gap = 0;
  long row = 0;     // from a row to the next
  long channel = 0; // from a channel to the next
  long size = 0;    // of the whole tile

  Layout() = default;
  Layout(int channels_, int height_, int width_, int gap_)
      : channels(channels_), height(height_), width(width_), gap(gap_) {
    row = long(width + gap) * kTile;
    const long pixels = gap + long(height) * (width + gap);
    channel = (pixels | 1) * kTile; // an odd number of cache lines: channels spread over the sets
    size = channels * channel;
  }
  long origin() const { return long(gap) * kTile; } // row 0, column 0 of channel 0
};

// ---- forward and input gradient ------------------------------------------------------------

// Of one channel of one tile: sums of (value - shift) and of its square. The shift is near the
// mean, for a variance does not survive the subtraction of a large mean in float.
struct ChannelSums {
  double shift, sum, square;
};

struct RowSums { // over the pixels of one output row, for each channel of a block
  Vector shift[kMaxBlock];
  Vector sum[kMaxBlock];
  Vector square[kMaxBlock];

  void clear() {
    for (int o = 0; o < kMaxBlock; ++o) sum[o] = square[o] = Vector{};
  }
  LANES_INLINE void add(int o, Vector value) {
    const Vector distance = value - shift[o];
    sum[o] += distance;
    square[o] += distance * distance;
  }
};

struct ConvolutionRow {
  const float* input;   // row 0 of the kernel's window, column of its first tap
  const float* weights; // [channel][kernel row][kernel column][output in block]
  const float* bias;    // of this block, or null
  float* output;
  RowSums* sums;        // or null
  float lower;          // 0 for ReLU, or kNoBound
  int channels, kernel, first_row, last_row; // input channels; kernel rows to visit
  long input_row, input_channel, output_channel;
};

typedef void (*ConvolutionKernel)(const ConvolutionRow&, int column);

// kernel_size 0 reads the size at run time.
template <int kOut, int kPixels, int kernel_size>
void convolution_block(const ConvolutionRow& task, int column) {
  Vector total[kOut][kPixels];
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o) {
    const Vector start = broadcast(task.bias ? task.bias[o] : 0.0f);
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) total[o][p] = start;
  }
  const int kernel = kernel_size ? kernel_size : task.kernel;
  const long weights_row = long(kernel) * kOut;
  const float* input_channel = task.input + long(column) * kTile + task.first_row * task.input_row;
  const float* weights_channel = task.weights + task.first_row * weights_row;
  for (int channel = 0; channel < task.channels; ++channel) {
    const float* input = input_channel;
    const float* weights = weights_channel;
    for (int kernel_row = task.first_row; kernel_row < task.last_row; ++kernel_row) {
#pragma GCC unroll 3
      for (int tap = 0; tap < kernel; ++tap) {
        Vector weight[kOut];
#pragma GCC unroll 8
        for (int o = 0; o < kOut; ++o) weight[o] = broadcast(weights[tap * kOut + o]);
#pragma GCC unroll 8
        for (int p = 0; p < kPixels; ++p) {
          const Vector pixel = load_once(input + (tap + p) * kTile);
#pragma GCC unroll 8
          for (int o = 0; o < kOut; ++o) total[o][p] += weight[o] * pixel;
        }
      }
      input += task.input_row;
      weights += weights_row;
    }
    input_channel += task.input_channel;
    weights_channel += kernel * weights_row;
  }
  float* output = task.output + long(column) * kTile;
  if (!task.sums) {
#pragma GCC unroll 8
    for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p)
        store(output + o * task.output_channel + p * kTile, total[o][p]);
    }
    return;
  }
  const Vector lower = broadcast(task.lower);
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o) {
    const Vector shift = task.sums->shift[o];
    Vector sum{}, square{};
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
      const Vector value = at_least(total[o][p], lower);
      store(output + o * task.output_channel + p * kTile, value);
      const Vector distance = value - shift;
      sum += distance;
      square += distance * distance;
    }
    task.sums->sum[o] += sum;
    task.sums->square[o] += square;
  }
}

// Accumulators, one weight for each output channel and a pixel or two must fit the registers.
constexpr bool convolution_fits(int out, int pixels) {
  return out * pixels + out + 2 <= kRegisters + (kRegisters == 16 ? 1 : 0);
}

template <int kOut, int kPixels>
ConvolutionKernel convolution_kernel(int kernel) {
  if constexpr (convolution_fits(kOut, kPixels)) {
    if (kernel == 3) return convolution_block<kOut, kPixels, 3>;
    return convolution_block<kOut, kPixels, 0>;
  }
  return nullptr;
}

template <int kOut>
ConvolutionKernel convolution_kernel(int pixels, int kernel) {
  switch (pixels) {
    case 1: return convolution_kernel<kOut, 1>(kernel);
    case 2: return convolution_kernel<kOut, 2>(kernel);
    case 3: return convolution_kernel<kOut, 3>(kernel);
    case 4: return convolution_kernel<kOut, 4>(kernel);
    case 5: return convolution_kernel<kOut, 5>(kernel);
    case 6: return convolution_kernel<kOut, 6>(kernel);
    case 7: return convolution_kernel<kOut, 7>(kernel);
    case 8: return convolution_kernel<kOut, 8>(kernel);
  }
  return nullptr;
}

inline ConvolutionKernel convolution_kernel(int out, int pixels, int kernel) {
  switch (out) {
    case 1: return convolution_kernel<1>(pixels, kernel);
    case 2: return convolution_kernel<2>(pixels, kernel);
    case 3: return convolution_kernel<3>(pixels, kernel);
    case 4: return convolution_kernel<4>(pixels, kernel);
    case 5: return convolution_kernel<5>(pixels, kernel);
    case 6: return convolution_kernel<6>(pixels, kernel);
    case 7: return convolution_kernel<7>(pixels, kernel);
    case 8: return convolution_kernel<8>(pixels, kernel);
  }
  return nullptr;
}

// Cycles for one tap of a block: two multiply-adds or two loads a cycle, a latency of four.
inline double block_cycles(int a, int b) {
  return std::max({a * b / 2.0, (a + b) / 2.0, 4.0}) + 0.6;
}

struct ColumnRun {
  int column;
  ConvolutionKernel kernel;
};

struct OutputBlock {
  int first, size; // output channels
  std::vector<ColumnRun> columns;
};

// The cheapest blocks for `out` channels x `width` columns.
inline std::vector<OutputBlock> plan_blocks(int out, int width, int kernel) {
  const double never = std::numeric_limits<double>::infinity();
  double width_cost[kMaxBlock + 1];
  std::vector<int> width_choice[kMaxBlock + 1];
  for (int size = 1; size <= kMaxBlock; ++size) {
    std::vector<double> cost(width + 1, never);
    width_choice[size].assign(width + 1, 0);
    cost[0] = 0;
    for (int done = 1; done <= width; ++done)
      for (int pixels = 1; pixels <= std::min(done, kMaxBlock); ++pixels) {
        if (!convolution_fits(size, pixels)) continue;
        const double total = cost[done - pixels] + block_cycles(size, pixels);
        if (total < cost[done]) cost[done] = total, width_choice[size][done] = pixels;
      }
    width_cost[size] = cost[width];
  }
  std::vector<double> cost(out + 1, never);
  std::vector<int> choice(out + 1, 0);
  cost[0] = 0;
  for (int done = 1; done <= out; ++done)
    for (int size = 1; size <= std::min(done, kMaxBlock); ++size) {
      const double total = cost[done - size] + width_cost[size];
      if (total < cost[done]) cost[done] = total, choice[done] = size;
    }
  std::vector<OutputBlock> blocks;
  for (int left = out; left > 0; left -= choice[left]) {
    OutputBlock block{left - choice[left], choice[left], {}};
    for (int columns = width; columns > 0; columns -= width_choice[block.size][columns]) {
      const int pixels = width_choice[block.size][columns];
      block.columns.push_back({columns - pixels, convolution_kernel(block.size, pixels, kernel)});
    }
    std::reverse(block.columns.begin(), block.columns.end());
    blocks.push_back(block);
  }
  std::reverse(blocks.begin(), blocks.end());
  return blocks;
}

// A convolution of one tile. The input gradient is one too: with the kernel flipped, channels
// exchanged and `padding` = kernel - 1 - padding.
struct Convolution {
  int kernel = 0, padding = 0;
  Layout input, output;
  std::vector<OutputBlock> blocks;

  Convolution() = default;
  Convolution(int kernel_, int padding_, Layout input_, Layout output_)
      : kernel(kernel_), padding(padding_), input(input_), output(output_),
        blocks(plan_blocks(output_.channels, output_.width, kernel_)) {}

  long weights() const { return long(input.channels) * output.channels * kernel * kernel; }

  // weights [output][input][kernel][kernel] -> blocks of [input][kernel][kernel][output in block]
  void pack(const float* weights, float* packed) const {
    const int taps = kernel * kernel;
    for (const OutputBlock& block : blocks)
      for (int in = 0; in < input.channels; ++in)
        for (int tap = 0; tap < taps; ++tap)
          for (int o = 0; o < block.size; ++o)
            *packed++ = weights[(long(block.first + o) * input.channels + in) * taps + tap];
  }

  // The same for the input gradient of the convolution whose weights these are.
  void pack_flipped(const float* weights, float* packed) const {
    const int taps = kernel * kernel;
    for (const OutputBlock& block : blocks)
      for (int in = 0; in < input.channels; ++in)
        for (int tap = 0; tap < taps; ++tap)
          for (int o = 0; o < block.size; ++o)
            *packed++ =
                weights[(long(in) * output.channels + block.first + o) * taps + taps - 1 - tap];
  }

  // input, output: one tile. With `sums` [output channels]: adds the bias, applies the lower
  // bound, and adds up each channel over the tile's first `valid` lanes.
  void run(const float* tile, const float* packed, const float* bias, float lower, float* result,
           ChannelSums* sums, int valid) const {
    ConvolutionRow task{};
    RowSums row_sums;
    task.lower = lower;
    task.channels = input.channels;
    task.kernel = kernel;
    task.input_row = input.row;
    task.input_channel = input.channel;
    task.output_channel = output.channel;
    task.sums = sums ? &row_sums : nullptr;
    for (int group = 0; group < kGroups; ++group) {
      task.weights = packed;
      for (const OutputBlock& block : blocks) {
        task.bias = bias ? bias + block.first : nullptr;
        const float* first_tap = tile + input.origin() + group * kVector - padding * (input.row + kTile);
        float* first_pixel = result + output.origin() + block.first * output.channel + group * kVector;
        const auto run_row = [&](int row) {
          task.input = first_tap + row * input.row;
          task.output = first_pixel + row * output.row;
          task.first_row = std::max(0, padding - row);
          task.last_row = std::min(kernel, input.height + padding - row);
          for (const ColumnRun& columns : block.columns) columns.kernel(task, columns.column);
        };
        if (sums) run_rows_summing(run_row, block, group, first_pixel, row_sums, sums, valid);
        else for (int row = 0; row < output.height; ++row) run_row(row);
        task.weights += long(input.channels) * kernel * kernel * block.size;
      }
    }
  }

 private:
  // Adds up rows, then the plane, then (in double) lanes: a float sum over a plane would be poor.
  template <class RunRow>
  void run_rows_summing(const RunRow& run_row, const OutputBlock& block, int group,
                        const float* first_pixel, RowSums& row_sums, ChannelSums* sums,
                        int valid) const {
    sums += block.first;
    const int middle = output.height / 2;
    for (int o = 0; o < block.size; ++o) row_sums.shift[o] = Vector{};
    row_sums.clear();
    run_row(middle);
    for (int o = 0; o < block.size; ++o) { // its mean is the shift of the tile; add it up again
      if (group == 0)
        sums[o].shift = float(sum_valid(row_sums.sum[o], 0, valid) /
                              (double(std::min(valid, kVector)) * output.width));
      row_sums.shift[o] = broadcast(float(sums[o].shift));
    }
    row_sums.clear();
    for (int o = 0; o < block.size; ++o)
      for (int column = 0; column < output.width; ++column)
        row_sums.add(o, load(first_pixel + o * output.channel + middle * output.row + column * kTile));
    RowSums plane = row_sums;
    for (int row = 0; row < output.height; ++row) {
      if (row == middle) continue;
      row_sums.clear();
      run_row(row);
      for (int o = 0; o < block.size; ++o) {
        plane.sum[o] += row_sums.sum[o];
        plane.square[o] += row_sums.square[o];
      }
    }
    for (int o = 0; o < block.size; ++o) {
      sums[o].sum += sum_valid(plane.sum[o], group * kVector, valid);
      sums[o].square += sum_valid(plane.square[o], group * kVector, valid);
    }
  }
};

// ---- weight gradient -----------------------------------------------------------------------

struct WeightGradientRows {
  const float* gradient; // of the block's first output channel, first row
  const float* input;    // the pixel that the first tap multiplies there
  float* totals;         // [output in block] vectors of [tap], `totals_output` floats apart
  int rows, width;
  bool fresh; // the totals hold nothing yet
  long gradient_row, gradient_channel, input_row, input_tap, totals_output;
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
  for (int row = 0; row < task.rows; ++row)
    for (int group = 0; group < kGroups; ++group) {
      const float* gradient = task.gradient + row * task.gradient_row + group * kVector;
      const float* input = task.input + row * task.input_row + group * kVector;
      for (int column = 0; column < task.width; ++column) {
        const auto pixel = [&](int tap) __attribute__((always_inline)) {
          return load_once(input + tap / kTaps * task.input_row + tap % kTaps * task.input_tap);
        };
        const auto slope = [&](int o) __attribute__((always_inline)) {
          return load_once(gradient + o * task.gradient_channel);
        };
        if constexpr (kOut <= kAll) { // the fewer stay in registers, the others pass by
          Vector slopes[kOut];
#pragma GCC unroll 9
          for (int o = 0; o < kOut; ++o) slopes[o] = slope(o);
#pragma GCC unroll 9
          for (int t = 0; t < kAll; ++t) {
            const Vector value = pixel(t);
#pragma GCC unroll 9
            for (int o = 0; o < kOut; ++o) total[o][t] += slopes[o] * value;
          }
        } else {
          Vector pixels[kAll];
#pragma GCC unroll 9
          for (int t = 0; t < kAll; ++t) pixels[t] = pixel(t);
#pragma GCC unroll 9
          for (int o = 0; o < kOut; ++o) {
            const Vector value = slope(o);
#pragma GCC unroll 9
            for (int t = 0; t < kAll; ++t) total[o][t] += value * pixels[t];
          }
        }
        gradient += kTile;
        input += kTile;
      }
    }
#pragma GCC unroll 9
  for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 9
    for (int t = 0; t < kAll; ++t) store(task.totals + o * task.totals_output + t * kVector, total[o][t]);
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

// The cheapest split of `total` into parts, given the cost of each part (index = size).
inline std::vector<int> cheapest_split(int total, const std::vector<double>& part_cost) {
  std::vector<double> cost(total + 1, std::numeric_limits<double>::infinity());
  std::vector<int> choice(total + 1, 0), parts;
  cost[0] = 0;
  for (int done = 1; done <= total; ++done)
    for (int part = 1; part <= std::min<int>(done, int(part_cost.size()) - 1); ++part)
      if (cost[done - part] + part_cost[part] < cost[done])
        cost[done] = cost[done - part] + part_cost[part], choice[done] = part;
  if (cost[total] == std::numeric_limits<double>::infinity()) return parts; // no split fits
  for (int left = total; left > 0; left -= choice[left]) parts.push_back(choice[left]);
  return parts;
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
  struct Block {
    int first, size; // output channels
  };
  struct Taps {
    int first, size; // along a kernel row; along the input channels where the kernel is 1x1
    std::vector<Block> blocks;
  };
  int kernel = 0, padding = 0;
  Layout input, gradient;
  std::vector<Taps> taps;
  std::vector<std::vector<Segment>> bands;
  bool adds = false; // whether totals must be zero before: some kernel rows have no first segment

  WeightGradient() = default;
  WeightGradient(int kernel_, int padding_, Layout input_, Layout gradient_)
      : kernel(kernel_), padding(padding_), input(input_), gradient(gradient_) {
    const double never = std::numeric_limits<double>::infinity();
    const int tap_rows = rows_at_once();
    std::vector<double> tap_cost(1, 0);
    std::vector<std::vector<int>> outputs(1);
    for (int size = 1; size <= kMaxTaps; ++size) {
      std::vector<double> cost(1, 0);
      for (int out = 1; out <= kMaxBlock; ++out)
        cost.push_back(kernel_fits(out, size) ? block_cycles(out, tap_rows * size) : never);
      outputs.push_back(cheapest_split(gradient.channels, cost));
      double total = outputs.back().empty() ? never : 0;
      for (int out : outputs.back()) total += cost[out];
      tap_cost.push_back(total);
    }
    int first_tap = 0;
    for (int size : cheapest_split(kernel == 1 ? input.channels : kernel, tap_cost)) {
      Taps run{first_tap, size, {}};
      int first = 0;
      for (int out : outputs[size]) {
        run.blocks.push_back({first, out});
        first += out;
      }
      taps.push_back(run);
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
      if (before && before->kernel_row == from && before->kernel_rows == rows) before->last_row = row + 1;
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

  // tile: the convolution's input; slopes: the gradient of its output.
  void run(const float* tile, const float* slopes, float* totals) const {
    if (adds) std::memset(totals, 0, size_t(weights()) * kVector * sizeof(float));
    WeightGradientRows task{};
    task.width = gradient.width;
    task.gradient_row = gradient.row;
    task.gradient_channel = gradient.channel;
    task.input_row = input.row;
    task.input_tap = kernel == 1 ? input.channel : kTile;
    task.totals_output = long(input.channels) * kernel * kernel * kVector;
    const int channels = kernel == 1 ? 1 : input.channels;
    for (const Taps& run : taps)
      for (const std::vector<Segment>& band : bands)
        for (const Block& block : run.blocks)
          for (int in = 0; in < channels; ++in)
            for (const Segment& rows : band) {
              task.rows = rows.last_row - rows.first_row;
              task.fresh = rows.fresh;
              task.input = tile + input.origin() + in * input.channel - padding * kTile +
                           (rows.first_row + rows.kernel_row - padding) * input.row +
                           run.first * task.input_tap;
              task.gradient = slopes + gradient.origin() + block.first * gradient.channel +
                              rows.first_row * gradient.row;
              task.totals = totals + block.first * task.totals_output +
                            ((long(in) * kernel + rows.kernel_row) * kernel + run.first) * kVector;
              weight_gradient_kernel(block.size, rows.kernel_rows, run.size)(task);
            }
  }

  // totals -> one number for each weight. totals is padded to a multiple of kVector vectors.
  void sum_lanes(const float* totals, float* sums) const {
    const long count = weights();
    for (long first = 0; first < count; first += kVector) {
      Vector vectors[kVector];
#pragma GCC unroll 16
      for (int i = 0; i < kVector; ++i) vectors[i] = load(totals + (first + i) * kVector);
      const Vector sum = sum_lanes_of_each(vectors);
      std::memcpy(sums + first, &sum, sizeof(float) * std::min<long>(kVector, count - first));
    }
  }
};

} // namespace
