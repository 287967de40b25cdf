// Convolution as it is defined, for any kernel.
//
// The kernels compute a block of output channels x neighbouring pixels in registers. Block sizes
// are template parameters.
#pragma once

#include "rows.h"

namespace {

struct DirectRow : RowTask {
  const float* input; // row 0 of the kernel's window, column of its first tap
  int channels, kernel, first_row, last_row; // input channels; kernel rows to visit
  long input_row, input_channel;
};

typedef void (*DirectKernel)(const DirectRow&, int column);

// weights: [channel][kernel row][kernel column][output in block]. kernel_size 0 reads the size at
// run time.
template <int kOut, int kPixels, int kernel_size, int kStride>
void direct_block(const DirectRow& task, int column) {
  Vector total[kOut][kPixels];
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o) {
    const Vector start = broadcast(task.bias ? task.bias[o] : 0.0f);
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) total[o][p] = start;
  }
  const int kernel = kernel_size ? kernel_size : task.kernel;
  const long weights_row = long(kernel) * kOut;
  const float* input_channel = task.input + long(column) * kStride * kTile + task.first_row * task.input_row;
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
          const Vector pixel = load_once(input + (tap + p * kStride) * kTile);
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
    task.sums->row_sum[o] += sum;
    task.sums->row_square[o] += square;
  }
}

// Accumulators, one weight for each output channel and a pixel or two must fit the registers.
constexpr bool direct_fits(int out, int pixels) {
  return out * pixels + out + 2 <= kRegisters + (kRegisters == 16 ? 1 : 0);
}

template <int kOut, int kPixels>
DirectKernel direct_kernel(int kernel, int stride) {
  if constexpr (direct_fits(kOut, kPixels)) {
    if (stride == 2) return direct_block<kOut, kPixels, 0, 2>;
    if (kernel == 1) return direct_block<kOut, kPixels, 1, 1>;
    if (kernel == 3) return direct_block<kOut, kPixels, 3, 1>;
    return direct_block<kOut, kPixels, 0, 1>;
  }
  return nullptr;
}

template <int kOut, int kPixels = kMaxBlock>
DirectKernel direct_kernel(int pixels, int kernel, int stride) {
  if constexpr (kPixels > 1)
    if (pixels < kPixels) return direct_kernel<kOut, kPixels - 1>(pixels, kernel, stride);
  return direct_kernel<kOut, kPixels>(kernel, stride);
}

template <int kOut = kMaxBlock>
DirectKernel direct_kernel(int out, int pixels, int kernel, int stride) {
  if constexpr (kOut > 1)
    if (out < kOut) return direct_kernel<kOut - 1>(out, pixels, kernel, stride);
  return direct_kernel<kOut>(pixels, kernel, stride);
}

struct Direct {
  int kernel = 0, stride = 1, padding = 0;
  Layout input, output;
  std::vector<Span> blocks; // of output channels
  double cycles = 0;        // about, for one lane group

  Direct() = default;
  Direct(int kernel_, int stride_, int padding_, Layout input_, Layout output_)
      : kernel(kernel_), stride(stride_), padding(padding_), input(input_), output(output_) {
    const BlockPlan plan = plan_blocks(output.channels, output.width, [](int out, int pixels) {
      return direct_fits(out, pixels) ? block_cycles(out, pixels) : kNever;
    });
    for (const OutputBlock& block : plan.blocks) {
      blocks.push_back(block.outputs);
      runs_.emplace_back();
      for (const Span& columns : block.columns)
        runs_.back().push_back(
            {columns.first, direct_kernel(block.outputs.size, columns.size, kernel, stride)});
    }
    cycles = plan.cycles * kernel * kernel * input.channels * output.height;
  }

  long packed() const { return long(input.channels) * output.channels * kernel * kernel; }
  long packed(const Span& block) const { return packed() / output.channels * block.size; }

  void pack(const Weights& weights, float* packed) const {
    for (const Span& block : blocks)
      for (int in = 0; in < input.channels; ++in)
        for (int tap = 0; tap < kernel * kernel; ++tap)
          for (int o = 0; o < block.size; ++o) *packed++ = weights.at(block.first + o, in, tap);
  }

  // tile: the input map, of one lane group.
  struct Rows {
    const Direct& of;
    const float* tile;

    Rows(const Direct& direct, const float* tile_, float*) : of(direct), tile(tile_) {}

    void prepare(int) {}

    // tasks: one for each block.
    void run(const RowTask* tasks, int row) const {
      DirectRow task{};
      task.channels = of.input.channels;
      task.kernel = of.kernel;
      task.input_row = of.input.row;
      task.input_channel = of.input.channel;
      task.input =
          tile + of.input.origin() + (row * of.stride - of.padding) * of.input.row - of.padding * kTile;
      task.first_row = std::max(0, of.padding - row * of.stride);
      task.last_row = std::min(of.kernel, of.input.height + of.padding - row * of.stride);
      for (size_t i = 0; i < of.blocks.size(); ++i) {
        static_cast<RowTask&>(task) = tasks[i];
        task.output += row * of.output.row;
        for (const Run& run : of.runs_[i]) run.kernel(task, run.column);
      }
    }
  };

 private:
  struct Run {
    int column;
    DirectKernel kernel;
  };
  std::vector<std::vector<Run>> runs_; // of each block
};

} // namespace
