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

// Adds up one channel of a map without padding, over the tile's first `valid` lanes.
inline void sum_channel(const Layout& map, const float* values, int valid, ChannelSums& total) {
  for (int lane = 0; lane < kTile; lane += kVector) {
    const auto row_sum = [&](int row) {
      Vector sum{};
      for (int column = 0; column < map.width; ++column)
        sum += load(values + row * map.row + long(column) * kTile + lane);
      return sum;
    };
    if (lane == 0)
      total.shift = float(sum_valid(row_sum(map.height / 2), 0, valid) /
                          (double(std::min(valid, kVector)) * map.width));
    const Vector shift = broadcast(float(total.shift));
    Vector sum{}, square{};
    for (int row = 0; row < map.height; ++row) {
      Vector in_row{}, square_in_row{};
      for (int column = 0; column < map.width; ++column) {
        const Vector distance = load(values + row * map.row + long(column) * kTile + lane) - shift;
        in_row += distance, square_in_row += distance * distance;
      }
      sum += in_row, square += square_in_row;
    }
    total.sum += sum_valid(sum, lane, valid);
    total.square += sum_valid(square, lane, valid);
  }
}

} // namespace
