// Images one after the other <-> the maps of tiles, in which kTile lie side by side.
#pragma once

#include "epilogue.h"

namespace {

// rows [image][size] -> one tile's map. Lanes beyond the batch get the last image again, whose
// values stay as ordinary as the others'; or zeros.
inline void spread(const float* rows, const Layout& map, bool repeat, int tile, int valid,
                   float* output) {
  const int last = valid - 1, pixels = map.height * map.width;
  const long size = long(map.channels) * pixels;
  rows += long(tile) * kTile * size;
  for (int channel = 0; channel < map.channels; ++channel, rows += pixels, output += map.channel) {
    clear_padding(map, output);
    for (int lane = 0; lane < kTile; lane += kVector)
      for (int first = 0; first < pixels; first += kVector) {
        const int count = std::min(kVector, pixels - first);
        Vector block[kVector];
        for (int i = 0; i < kVector; ++i) {
          const float* source = rows + std::min(lane + i, last) * size + first;
          block[i] = repeat || lane + i <= last ? load_some(source, count) : Vector{};
        }
        transpose(block);
        for (int i = 0; i < count; ++i) {
          const int row = (first + i) / map.width, column = (first + i) % map.width;
          store(output + map.origin() + row * map.row + column * kTile + lane, block[i]);
        }
      }
  }
}

// One tile's map, of which the first `valid` lanes are images -> rows [image][channel][row][column].
inline void collect(const float* tile_map, const Layout& map, int tile, int valid, float* all) {
  float* rows = all + long(tile) * kTile * map.channels * map.height * map.width;
  for (int lane = 0; lane < valid; ++lane)
    for (int channel = 0; channel < map.channels; ++channel)
      for (int row = 0; row < map.height; ++row)
        for (int column = 0; column < map.width; ++column)
          *rows++ = tile_map[map.origin() + channel * map.channel + row * map.row + column * kTile + lane];
}

} // namespace
