// Maps of one tile, and sums over them.
//
// Maps are [channel][row][column][lane]. A map that is read by a convolution carries padding
// of zero columns: before the first row and after each row, so that neighbouring rows
// share theirs and column -1 or column `width` of any row reads zero. Rows have no such border:
// the loop over kernel rows is clipped instead, which also saves their multiplications.
#pragma once

#include <limits>

#include "vectors.h"

namespace {

constexpr float kNoBound = -std::numeric_limits<float>::infinity();

// One map's memory: sizes in floats.
struct Layout {
  int channels = 0, height = 0, width = 0, padding = 0;
  long row = 0;     // from a row to the next
  long channel = 0; // from a channel to the next
  long size = 0;    // of the whole tile

  Layout() = default;
  Layout(int channels_, int height_, int width_, int padding_)
      : channels(channels_), height(height_), width(width_), padding(padding_) {
    row = long(width + padding) * kTile;
    const long pixels = padding + long(height) * (width + padding);
    channel = (pixels | 1) * kTile; // an odd number of vectors: channels spread over the sets
    size = channels * channel;
  }
  long origin() const { return long(padding) * kTile; } // row 0, column 0 of channel 0
};

// Of one channel of one tile: sums of (value - shift) and of its square. The shift is near the
// mean, for a variance does not survive the subtraction of a large mean in float.
struct ChannelSums {
  double shift, sum, square;
};

} // namespace
