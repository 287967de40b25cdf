// A smooth activation before batch norm: it needs its own pass over a map, for batch norm's sums are
// those of its results. Its derivative is kept, for it costs more to compute than to read.
#pragma once

#include "activations.h"
#include "maps.h"

namespace {

// The values of one channel of a map without padding become their activations, `slopes` (or null)
// gets the derivatives.
template <int kActivation>
void activate_channel(const Layout& map, float* values, float* slopes) {
  const long floats = map.height * map.row;
  for (long i = 0; i < floats; i += kVector) {
    const Activated both = activate<kActivation>(load(values + i));
    store(values + i, both.value);
    if (slopes) store(slopes + i, both.derivative);
  }
}

inline void activate_channel(int activation, const Layout& map, float* values, float* slopes) {
  if (activation == kSilu) activate_channel<kSilu>(map, values, slopes);
  else activate_channel<kHardSwish>(map, values, slopes);
}

} // namespace
