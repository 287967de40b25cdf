// A smooth activation before batch norm: it needs its own pass over a map, for batch norm's sums are
// those of its results. Its derivative is kept, for it costs more to compute than to read.
#pragma once

#include "activations.h"
#include "sums.h"

namespace {

// The values of one channel of a map without padding become their activations, `slopes` (or null)
// gets the derivatives, `sums` (or null) the sums over the tile's first `valid` lanes.
template <int kActivation>
void activate_channel(const Layout& map, float* values, float* slopes, int valid, ChannelSums* sums) {
  const auto finish = [&](long at) __attribute__((always_inline)) {
    const Activated both = activate<kActivation>(load(values + at));
    store(values + at, both.value);
    if (slopes) store(slopes + at, both.derivative);
    return both.value;
  };
  if (sums) return sum_channel(map, values, valid, *sums, finish);
  for (long at = 0; at < map.height * map.row; at += kVector) finish(at);
}

inline void activate_channel(int activation, const Layout& map, float* values, float* slopes, int valid,
                             ChannelSums* sums) {
  if (activation == kSilu) activate_channel<kSilu>(map, values, slopes, valid, sums);
  else activate_channel<kHardSwish>(map, values, slopes, valid, sums);
}

} // namespace
