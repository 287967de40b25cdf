// Convolutions in groups (depthwise: as many as channels): each group is one of its own, over a
// slice of the channels.
#pragma once

#include "convolution.h"
#include "weight_gradient.h"

namespace {

inline Layout slice(Layout map, int groups) {
  map.channels /= groups;
  map.size = map.channels * map.channel;
  return map;
}

class GroupedConvolution {
 public:
  GroupedConvolution() = default;
  GroupedConvolution(int groups, int kernel, int stride, int padding, Layout input, Layout output)
      : groups_(groups), kernel_(kernel), input_(slice(input, groups)),
        output_(slice(output, groups)), one_(kernel, stride, padding, input_, output_) {}

  long packed() const { return groups_ * one_.packed(); }
  long scratch() const { return one_.scratch(); }

  // weights [output][input of its group][kernel][kernel] of the forward convolution; flipped: this
  // one is its input gradient.
  void pack(const float* weights, bool flipped, float* packed) const {
    const long each = long(input_.channels) * output_.channels * kernel_ * kernel_;
    for (int group = 0; group < groups_; ++group)
      one_.pack({weights + group * each, output_.channels, input_.channels, kernel_, flipped},
                packed + group * one_.packed());
  }

  // As `Convolution::run`.
  void run(const float* tile, const float* packed, const float* bias, float lower, float* result,
           ChannelSums* sums, int valid, float* scratch) const {
    for (int group = 0; group < groups_; ++group) {
      const int first = group * output_.channels;
      one_.run(tile + group * input_.size, packed + group * one_.packed(),
               bias ? bias + first : nullptr, lower, result + group * output_.size,
               sums ? sums + first : nullptr, valid, scratch);
    }
  }

 private:
  int groups_ = 1, kernel_ = 1;
  Layout input_, output_; // of one group
  Convolution one_;
};

class GroupedWeightGradient {
 public:
  GroupedWeightGradient() = default;
  GroupedWeightGradient(int groups, int kernel, int padding, Layout input, Layout gradient)
      : groups_(groups), one_(kernel, padding, slice(input, groups), slice(gradient, groups)) {}

  long weights() const { return groups_ * one_.weights(); }
  bool suits_all_tiles() const { return groups_ == 1 && one_.suits_all_tiles(); }
  // For `WeightGradient::run_block`, without groups.
  const WeightGradient& whole() const { return one_; }

  // totals: `weights()` vectors, rounded up to a multiple of kVector; sums: a number each.
  void run(const float* tile, const float* gradients, float* totals, float* sums) const {
    for (int group = 0; group < groups_; ++group)
      one_.run(tile + group * one_.input.size, gradients + group * one_.gradient.size,
               totals + group * one_.weights() * kVector);
    WeightGradient::sum_lanes(totals, weights(), sums);
  }

 private:
  int groups_ = 1;
  WeightGradient one_;
};

} // namespace
