// Convolution of one tile, forward and (of gradients) backward.
#pragma once

#include "direct.h"
#include "winograd.h"

namespace {

// A convolution of one tile. The input gradient is one too: with flipped weights and `padding` =
// kernel - 1 - padding.
class Convolution {
 public:
  Convolution() = default;
  Convolution(int kernel, int stride, int padding, Layout input, Layout output)
      : output_(output), direct_(kernel, stride, padding, input, output) {
    if (kernel != Winograd::kKernel || stride != 1) return;
    winograd_ = Winograd(padding, input, output);
    is_winograd_ = winograd_.cycles < direct_.cycles;
  }

  // Floats that `pack` writes.
  long packed() const { return is_winograd_ ? winograd_.packed() : direct_.packed(); }
  // Floats that `run` needs beside.
  long scratch() const { return is_winograd_ ? winograd_.scratch() : 0; }

  void pack(const Weights& weights, float* packed) const {
    if (is_winograd_) winograd_.pack(weights, packed);
    else direct_.pack(weights, packed);
  }

  // tile, result: one tile. With `sums` [output channels]: applies the lower bound, and adds up
  // each channel over the tile's first `valid` lanes.
  void run(const float* tile, const float* packed, const float* bias, float lower, float* result,
           ChannelSums* sums, int valid, float* scratch) const {
    for (int group = 0; group < kGroups; ++group)
      if (is_winograd_)
        run_group(winograd_, group, tile, packed, bias, lower, result, sums, valid, scratch);
      else
        run_group(direct_, group, tile, packed, bias, lower, result, sums, valid, scratch);
  }

 private:
  // Row by row, block by block. The middle row comes first: its mean becomes the shift of the tile.
  template <class Kind>
  void run_group(const Kind& kind, int group, const float* tile, const float* packed,
                 const float* bias, float lower, float* result, ChannelSums* sums, int valid,
                 float* scratch) const {
    typename Kind::Rows rows(kind, tile + group * kVector, scratch);
    std::vector<BlockSums> block_sums(sums ? kind.blocks.size() : 0);
    std::vector<RowTask> tasks;
    for (size_t i = 0; i < kind.blocks.size(); ++i) {
      const Span& block = kind.blocks[i];
      float* first = result + output_.origin() + block.first * output_.channel + group * kVector;
      if (sums) block_sums[i].clear(block.size);
      tasks.push_back({packed, bias ? bias + block.first : nullptr, first,
                       sums ? &block_sums[i] : nullptr, lower, output_.channel});
      packed += kind.packed(block);
    }
    const int middle = sums ? output_.height / 2 : 0;
    for (int step = 0; step < output_.height; ++step) {
      const int row = (middle + step) % output_.height;
      rows.prepare(row);
      rows.run(tasks.data(), row);
      for (size_t i = 0; i < block_sums.size(); ++i) {
        const Span& block = kind.blocks[i];
        if (step == 0) take_shift(tasks[i], block, row, group == 0, valid, sums + block.first);
        block_sums[i].end_row(block.size);
      }
    }
    // Rows were added up, then the plane, now (in double) lanes: one float sum would be poor.
    for (size_t i = 0; i < block_sums.size(); ++i)
      for (int o = 0; o < kind.blocks[i].size; ++o) {
        ChannelSums& channel = sums[kind.blocks[i].first + o];
        channel.sum += sum_valid(block_sums[i].sum[o], group * kVector, valid);
        channel.square += sum_valid(block_sums[i].square[o], group * kVector, valid);
      }
  }

  // After the first row, added up without a shift: makes its mean the shift, adds it up again.
  void take_shift(const RowTask& task, const Span& block, int first_row, bool first_group, int valid,
                  ChannelSums* sums) const {
    BlockSums& row = *task.sums;
    const float* values = task.output + first_row * output_.row;
    for (int o = 0; o < block.size; ++o) {
      if (first_group)
        sums[o].shift = float(sum_valid(row.row_sum[o], 0, valid) /
                              (double(std::min(valid, kVector)) * output_.width));
      row.shift[o] = broadcast(float(sums[o].shift));
      row.row_sum[o] = row.row_square[o] = Vector{};
      for (int column = 0; column < output_.width; ++column)
        row.add(o, load(values + o * output_.channel + column * kTile));
    }
  }

  Layout output_;
  Direct direct_;
  Winograd winograd_;
  bool is_winograd_ = false; // whichever takes less time
};

} // namespace
