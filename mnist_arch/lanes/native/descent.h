// What stands between a forward and a backward pass, and after them: the loss, and the descent.
#pragma once

#include <cmath>
#include <limits>

#include "lanes.h"

namespace {

// Mean cross-entropy in nats of logits [images][outputs]; gradients, of the same shape, gets its
// gradient. A label gives the share `smoothing` to all outputs alike, the rest to its own. False
// where a label is not one of the outputs.
inline bool cross_entropy(const float* logits, const int64_t* labels, int64_t images, int outputs,
                          double smoothing, float* gradients, float* loss) {
  const double own = 1 - smoothing, shared = smoothing / outputs;
  double total = 0;
  for (int64_t image = 0; image < images; ++image, logits += outputs, gradients += outputs) {
    const int64_t label = labels[image];
    if (label < 0 || label >= outputs) return false;
    float largest = -std::numeric_limits<float>::infinity();
    for (int i = 0; i < outputs; ++i) largest = logits[i] > largest ? logits[i] : largest;
    double sum = 0, all = 0; // all: of the logits, less the largest of each
    for (int i = 0; i < outputs; ++i) {
      sum += gradients[i] = std::exp(logits[i] - largest);
      all += double(logits[i]) - largest;
    }
    for (int i = 0; i < outputs; ++i)
      gradients[i] = float((gradients[i] / sum - (i == label ? own : 0.0) - shared) / double(images));
    total += std::log(sum) - own * (double(logits[label]) - largest) - shared * all;
  }
  *loss = float(total / double(images));
  return true;
}

// One step of Sutskever et al. (2013) in torch's form: m = momentum m + g, with g = gradient +
// weight decay x value; value -= rate x (g + momentum m) with Nesterov's momentum, else rate x m.
inline void descend(const LanesParameter& parameter, const LanesDescent& descent) {
  const float rate = float(descent.learning_rate), decay = float(descent.weight_decay);
  const float momentum = float(descent.momentum);
  for (int64_t i = 0; i < parameter.size; ++i) {
    const float gradient = parameter.gradient[i] + decay * parameter.value[i];
    const float kept = momentum * parameter.momentum[i] + gradient;
    parameter.momentum[i] = kept;
    parameter.value[i] -= rate * (descent.nesterov ? gradient + momentum * kept : kept);
  }
}

} // namespace
