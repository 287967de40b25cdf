// From the table of nodes to stages: a convolution, or a sum of maps, with the epilogue that is
// computed while its map is in the cache.
#pragma once

#include <stdexcept>
#include <vector>

#include "epilogue.h"
#include "lanes.h"

namespace {

constexpr int kImages = -1, kNothing = -2; // inputs that are no node or stage

struct Shape {
  int channels, height, width;
};

inline bool operator==(const Shape& a, const Shape& b) {
  return a.channels == b.channels && a.height == b.height && a.width == b.width;
}

struct DropoutSpec { // layer -1: none
  int layer = -1;
  double probability = 0;
};

// Without a convolution: the sum of its inputs, or a copy of its one input.
struct StageSpec {
  int inputs[2] = {kImages, kNothing}; // stages
  int convolution = -1, norm = -1;     // nodes; -1: none
  int kernel = 1, stride = 1, padding = 0, groups = 1;
  Shape input{}, value{}, output{};    // read, before the epilogue, after it
  bool relu_before = false;            // of batch norm
  int smooth_before = kLinear;         // of batch norm: an activation that is not ReLU
  double epsilon = 0;
  int activation = kLinear, pool = kNoPool;
  DropoutSpec before, after; // element-wise, of the pool
  std::vector<DropoutSpec> channel_dropouts;

  bool has_dropout() const {
    return before.layer >= 0 || after.layer >= 0 || !channel_dropouts.empty();
  }
  bool averages() const { return pool == kWholeAverage || pool == kAveragePool; }
  // Whether nothing follows but batch norm, if that.
  bool is_bare() const { return activation == kLinear && pool == kNoPool && !has_dropout(); }
};

// Reads a table; throws std::invalid_argument for one that is not sound.
class Fusion {
 public:
  Fusion(const LanesNode* nodes, int count, Shape images)
      : nodes_(nodes), images_(images), readers_(count, 0), places_(count, -1) {
    require(count > 0);
    for (int i = 0; i < count; ++i)
      for (int input : nodes[i].inputs) {
        require(input < i && input >= kNothing);
        if (input >= 0) ++readers_[input];
      }
    for (int i = 0; i + 1 < count; ++i) require(readers_[i] > 0);
    for (int i = 0; i < count; ++i) add(i);
  }

  std::vector<StageSpec> stages;

 private:
  static void require(bool sound) {
    if (!sound) throw std::invalid_argument("the table of nodes is not sound");
  }

  Shape shape_of(int node) const { return node < 0 ? images_ : stages[places_[node]].output; }
  int stage_of(int node) const { return node < 0 ? kImages : places_[node]; }

  void add(int index) {
    const LanesNode& node = nodes_[index];
    const int input = node.inputs[0];
    require(input != kNothing);
    require((node.inputs[1] == kNothing) == (node.operation != kLanesSum));
    if (node.operation == kLanesConvolution) {
      begin_stage(input);
      convolve(node, index);
    } else if (node.operation == kLanesSum) {
      require(shape_of(input) == shape_of(node.inputs[1]));
      begin_stage(input);
      stages.back().inputs[1] = stage_of(node.inputs[1]);
    } else {
      // A stage that somebody else reads too is complete.
      const bool open = input >= 0 && readers_[input] == 1;
      places_[index] = open ? places_[input] : -1;
      if (open && take(stages[places_[index]], node, index)) return;
      begin_stage(input);
      require(take(stages.back(), node, index));
    }
    places_[index] = int(stages.size()) - 1;
  }

  void begin_stage(int input) {
    StageSpec stage;
    stage.inputs[0] = stage_of(input);
    stage.input = stage.value = stage.output = shape_of(input);
    stages.push_back(stage);
  }

  void convolve(const LanesNode& node, int index) {
    StageSpec& stage = stages.back();
    require(node.kernel > 0 && (node.stride == 1 || node.stride == 2) && node.padding >= 0);
    require(node.padding <= node.kernel / 2 && node.channels > 0 && node.groups > 0);
    require(stage.input.channels % node.groups == 0 && node.channels % node.groups == 0);
    const auto side = [&](int size) { return size + 2 * node.padding - node.kernel; };
    require(side(stage.input.height) >= 0 && side(stage.input.width) >= 0);
    stage.convolution = index;
    stage.kernel = node.kernel, stage.stride = node.stride;
    stage.padding = node.padding, stage.groups = node.groups;
    stage.value = stage.output = {node.channels, side(stage.input.height) / node.stride + 1,
                                  side(stage.input.width) / node.stride + 1};
  }

  // Whether the epilogue of a stage can go on with a node: if so, it now does.
  static bool take(StageSpec& stage, const LanesNode& node, int index) {
    switch (node.operation) {
      case kLanesBatchNorm: return take_norm(stage, node, index);
      case kLanesActivation: return take_activation(stage, node.activation);
      case kLanesMaxPool: return take_pool(stage, kMaxPool);
      case kLanesAveragePool: return take_pool(stage, kAveragePool);
      case kLanesWholeAverage:
        if (stage.output.height == 1 && stage.output.width == 1) return true;
        return take_pool(stage, kWholeAverage);
      case kLanesChannelDropout: // commutes with what may follow: its place does not matter
        if (node.probability > 0) stage.channel_dropouts.push_back({node.layer, node.probability});
        return true;
      case kLanesElementDropout: return take_dropout(stage, node);
    }
    require(false);
    return false;
  }

  static bool take_norm(StageSpec& stage, const LanesNode& node, int index) {
    const bool is_late = stage.norm >= 0 || stage.pool || stage.has_dropout();
    if (is_late || (stage.activation && stage.relu_before)) return false;
    std::swap(stage.smooth_before, stage.activation); // before batch norm, ReLU is `relu_before`
    stage.norm = index, stage.epsilon = node.epsilon;
    return true;
  }

  // ReLU commutes with dropout and with a maximum, so it may also follow these.
  static bool take_activation(StageSpec& stage, int activation) {
    require(activation >= kRelu && activation <= kHardSwish);
    if (stage.averages() || is_smooth(stage.activation)) return false;
    if (activation == kRelu) {
      if (stage.norm >= 0) stage.activation = kRelu;
      else stage.relu_before = true;
      return true;
    }
    if (stage.activation || stage.pool || stage.has_dropout()) return false;
    stage.activation = activation;
    return true;
  }

  static bool take_pool(StageSpec& stage, int pool) {
    if (stage.pool) return false;
    Shape& map = stage.output;
    require(pool == kWholeAverage || (map.height > 1 && map.width > 1));
    if (pool == kWholeAverage) map.height = map.width = 1;
    else map.height /= 2, map.width /= 2;
    stage.pool = pool;
    return true;
  }

  static bool take_dropout(StageSpec& stage, const LanesNode& node) {
    if (node.probability <= 0) return true;
    if (stage.after.layer >= 0 || (stage.before.layer >= 0 && !stage.pool)) return false;
    (stage.pool ? stage.after : stage.before) = {node.layer, node.probability};
    return true;
  }

  const LanesNode* nodes_;
  Shape images_;
  std::vector<int> readers_, places_; // of each node
};

} // namespace
