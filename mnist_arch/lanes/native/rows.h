// What the two ways to compute a row of a convolution's output share.
#pragma once

#include "blocks.h"
#include "maps.h"

namespace {

// The weights of a convolution, [output][input][kernel][kernel]; or those of another, to be used
// for its input gradient: with the kernel flipped and channels exchanged.
struct Weights {
  const float* values;
  int outputs, inputs, kernel; // of the convolution that uses them
  bool flipped;

  float at(int output, int input, int tap) const {
    const int taps = kernel * kernel;
    return flipped ? values[(long(input) * outputs + output) * taps + taps - 1 - tap]
                   : values[(long(output) * inputs + input) * taps + tap];
  }
};

// Of a block of output channels: over one row, and over the rows before it.
struct BlockSums {
  Vector shift[kMaxBlock];
  Vector row_sum[kMaxBlock], row_square[kMaxBlock];
  Vector sum[kMaxBlock], square[kMaxBlock];

  void clear(int channels) {
    for (int o = 0; o < channels; ++o)
      shift[o] = row_sum[o] = row_square[o] = sum[o] = square[o] = Vector{};
  }
  LANES_INLINE void add(int o, Vector value) {
    const Vector distance = value - shift[o];
    row_sum[o] += distance;
    row_square[o] += distance * distance;
  }
  void end_row(int channels) {
    for (int o = 0; o < channels; ++o) {
      sum[o] += row_sum[o], square[o] += row_square[o];
      row_sum[o] = row_square[o] = Vector{};
    }
  }
};

// The rows of a block of output channels, of one lane group. It is filled once for all rows: copied
// right after a part of it was stored, it would wait for all stores before that.
struct RowTask {
  const float* weights; // packed, of this block
  const float* bias;    // of this block, or null
  float* output;        // its first channel and column, in row 0
  BlockSums* sums;      // or null
  float lower;          // 0 for ReLU, or kNoBound; used only with sums
  long output_channel;
};

} // namespace
