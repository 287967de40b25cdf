// Sums of two maps of a tile (or a copy of one), and of gradients.
#pragma once

#include "maps.h"

namespace {

struct MapView {
  const Layout& layout;
  const float* values; // or null: nothing is added
};

// result: without padding, of the same shape as both; held to the lower bound.
inline void add_maps(const MapView& a, const MapView& b, float lower, const Layout& layout,
                     float* result) {
  const Vector bound = broadcast(lower);
  const long floats = long(layout.width) * kTile;
  for (int channel = 0; channel < layout.channels; ++channel)
    for (int row = 0; row < layout.height; ++row) {
      const auto start = [&](const Layout& map) {
        return map.origin() + channel * map.channel + row * map.row;
      };
      const float* left = a.values + start(a.layout);
      float* to = result + start(layout);
      if (!b.values) {
        for (long i = 0; i < floats; i += kVector) store(to + i, at_least(load(left + i), bound));
        continue;
      }
      const float* right = b.values + start(b.layout);
      for (long i = 0; i < floats; i += kVector)
        store(to + i, at_least(load(left + i) + load(right + i), bound));
    }
}

inline void add_to(float* target, const float* part, long floats) {
  for (long i = 0; i < floats; i += kVector) store(target + i, load(target + i) + load(part + i));
}

// Adds up one channel of a map without padding, over the tile's first `valid` lanes. Each vector of
// `values` is what finish(offset) returns, which is called once for each and may store it first.
template <class Finish>
LANES_INLINE void sum_channel(const Layout& map, const float* values, int valid, ChannelSums& total,
                              const Finish& finish) {
  const int middle = map.height / 2; // its mean is the shift
  for (int lane = 0; lane < kTile; lane += kVector) {
    const auto offset = [&](int row, int column) { return row * map.row + long(column) * kTile + lane; };
    Vector first{};
    for (int column = 0; column < map.width; ++column) first += finish(offset(middle, column));
    if (lane == 0)
      total.shift = float(sum_valid(first, 0, valid) / (double(std::min(valid, kVector)) * map.width));
    const Vector shift = broadcast(float(total.shift));
    Vector sum{}, square{};
    for (int row = 0; row < map.height; ++row) {
      Vector in_row{}, square_in_row{};
      for (int column = 0; column < map.width; ++column) {
        const long at = offset(row, column);
        const Vector distance = (row == middle ? load(values + at) : finish(at)) - shift;
        in_row += distance, square_in_row += distance * distance;
      }
      sum += in_row, square += square_in_row;
    }
    total.sum += sum_valid(sum, lane, valid);
    total.square += sum_valid(square, lane, valid);
  }
}

} // namespace
