// A stage of a network: what computes it, and what it keeps from call to call.
#pragma once

#include "batch_norm.h"
#include "epilogue_gradient.h"
#include "grouped.h"
#include "nodes.h"

namespace {

struct ChannelDropout {
  int layer;
  int32_t threshold;
  float gain;
};

struct Stage {
  StageSpec spec;
  Layout input;                            // as its convolution reads it
  GroupedConvolution convolution, inverse; // inverse: the input gradient
  GroupedWeightGradient weight_gradient;
  ValueGradient value_gradient; // with the padding that `inverse` reads
  Epilogue epilogue;
  BatchNorm norm;
  std::vector<ChannelDropout> channel_dropouts;
  std::vector<float> packed, packed_inverse;
  std::vector<float> weights, bias; // with a folded batch norm: weights without it, bias with it
  bool plain = false;               // see `Schedule::is_plain`
  int folds = -1;                   // the stage whose batch norm its convolution takes in
  bool all_tiles = false; // whether the weights' gradient is taken over all tiles at once

  // Per tile, so that sums can be added up in tile order:
  std::vector<double> bias_sums;  // [tile][channel]
  std::vector<float> weight_sums; // [tile][weight]
  Buffer factors;                 // [tile][channel][lane]: dropout of channels

  int channels() const { return spec.value.channels; }
  bool convolves() const { return spec.convolution >= 0; }
};

inline ElementDropout element_dropout(const DropoutSpec& dropout, float& gain) {
  if (dropout.layer >= 0) gain *= float(1.0 / (1.0 - dropout.probability));
  return {dropout.layer, dropout_threshold(dropout.probability)};
}

inline void build_epilogue(Stage& stage, const Layout& value, int readers_padding) {
  const StageSpec& spec = stage.spec;
  Epilogue& epilogue = stage.epilogue;
  epilogue.relu_before = spec.relu_before, epilogue.activation = spec.activation;
  epilogue.pool = spec.pool;
  epilogue.value = value;
  const Shape& map = spec.output;
  epilogue.pooled = Layout(map.channels, map.height, map.width, 0);
  epilogue.output = Layout(map.channels, map.height, map.width, readers_padding);
  BatchNorm& norm = stage.norm = BatchNorm(value.channels, spec.norm >= 0, spec.epsilon);
  epilogue.scale = norm.scale.data(), epilogue.shift = norm.shift.data();
  epilogue.mean = norm.mean.data();
  epilogue.constant = norm.constant.data(), epilogue.linear = norm.linear.data();
  for (const DropoutSpec& dropout : spec.channel_dropouts)
    stage.channel_dropouts.push_back({dropout.layer, dropout_threshold(dropout.probability),
                                      float(1.0 / (1.0 - dropout.probability))});
}

// `input` is the layout of the first map that the stage reads.
inline void build(Stage& stage, const StageSpec& spec, const Layout& input, int readers_padding) {
  stage.spec = spec;
  stage.input = input;
  const Layout value(spec.value.channels, spec.value.height, spec.value.width, 0);
  stage.value_gradient.layout = value;
  build_epilogue(stage, value, readers_padding);
  if (!stage.convolves()) return;
  // What a stride of 1 would have: see `ValueGradient`.
  const int flipped_padding = spec.kernel - 1 - spec.padding, shrink = spec.kernel - 1 - 2 * spec.padding;
  const Layout gradient(value.channels, spec.input.height - shrink, spec.input.width - shrink,
                        flipped_padding);
  stage.value_gradient = {gradient, spec.stride};
  stage.convolution =
      GroupedConvolution(spec.groups, spec.kernel, spec.stride, spec.padding, stage.input, value);
  stage.inverse = GroupedConvolution(
      spec.groups, spec.kernel, 1, flipped_padding, gradient,
      Layout(spec.input.channels, spec.input.height, spec.input.width, 0));
  stage.weight_gradient =
      GroupedWeightGradient(spec.groups, spec.kernel, spec.padding, stage.input, gradient);
  stage.all_tiles = stage.weight_gradient.suits_all_tiles();
  stage.packed.resize(stage.convolution.packed());
  stage.packed_inverse.resize(stage.inverse.packed());
}

// Before a forward pass. Packs the weights for the way back: it must use those of the forward pass.
inline void prepare(Stage& stage, const LanesTensors* tensors, bool use_batch, bool keep) {
  if (stage.convolves() && keep && stage.spec.inputs[0] >= 0)
    stage.inverse.pack(tensors[stage.spec.convolution].weight, true, stage.packed_inverse.data());
  Epilogue& epilogue = stage.epilogue;
  epilogue.gain = 1;
  epilogue.before = element_dropout(stage.spec.before, epilogue.gain);
  epilogue.after = element_dropout(stage.spec.after, epilogue.gain);
  if (!use_batch) epilogue.gain = 1;
  stage.norm.prepare(stage.norm.present ? tensors + stage.spec.norm : nullptr, use_batch);
}

// Calls visit(output, input, weight) for every weight of a stage's convolution.
template <class Visit>
void each_weight(const StageSpec& spec, const Visit& visit) {
  const int inputs = spec.input.channels / spec.groups, outputs = spec.value.channels / spec.groups;
  const int taps = spec.kernel * spec.kernel;
  long weight = 0;
  for (int output = 0; output < spec.value.channels; ++output)
    for (int input = 0; input < inputs; ++input)
      for (int tap = 0; tap < taps; ++tap) visit(output, output / outputs * inputs + input, weight++);
}

// Packs the weights for the forward pass, with the batch norm that they take in: a convolution of
// scale * x + shift is one of x with weights times scale, and a bias.
inline void pack(Stage& stage, const LanesTensors& tensors, const BatchNorm* folded) {
  if (!folded) return stage.convolution.pack(tensors.weight, false, stage.packed.data());
  stage.weights.assign(tensors.weight, tensors.weight + stage.weight_gradient.weights());
  std::vector<float> scaled = stage.weights;
  std::vector<double> bias(stage.channels(), 0.0);
  if (tensors.bias) bias.assign(tensors.bias, tensors.bias + stage.channels());
  each_weight(stage.spec, [&](int output, int input, long weight) {
    scaled[weight] *= folded->scale[input];
    bias[output] += double(stage.weights[weight]) * folded->shift[input];
  });
  stage.bias.assign(bias.begin(), bias.end());
  stage.convolution.pack(scaled.data(), false, stage.packed.data());
}

// From the gradients of weights that a batch norm was taken into to those without, and to the sums
// that its own gradient needs. With x the values read, y = scale * x + shift, and g the gradients of
// the convolution's results (of output o, of which x's input channel and the tap say where):
// sum(g y) = scale * sum(g x) + shift * sum(g), and of y's gradients, each a sum of weights times g,
// the sum is sum(weight * sum(g)), and that times x is sum(weight * sum(g x)).
inline void unfold(Stage& stage, BatchNorm& folded, const std::vector<double>& totals) {
  double* sums = folded.gradient_sums.data(); // all in one, as if there were one tile
  std::fill(sums, sums + 2 * folded.channels, 0.0);
  each_weight(stage.spec, [&](int output, int input, long weight) {
    float& gradient = stage.weight_sums[weight];
    sums[2 * input] += stage.weights[weight] * totals[output];
    sums[2 * input + 1] += double(stage.weights[weight]) *
                           (gradient - double(folded.mean[input]) * totals[output]);
    gradient = float(folded.scale[input] * double(gradient) + folded.shift[input] * totals[output]);
  });
}

// The dropout of whole channels: a factor for each channel and image of a tile.
inline void draw_factors(Stage& stage, uint64_t seed, int tile) {
  if (stage.channel_dropouts.empty()) return;
  float* factors = stage.factors.data() + long(tile) * stage.channels() * kTile;
  for (int channel = 0; channel < stage.channels(); ++channel)
    for (int lane = 0; lane < kTile; ++lane) {
      float factor = 1;
      for (const ChannelDropout& dropout : stage.channel_dropouts) {
        const uint64_t key =
            dropout_key(seed, dropout.layer, int64_t(tile) * kTile + lane, channel);
        factor *= channel_is_kept(key, dropout.threshold) ? dropout.gain : 0.0f;
      }
      factors[channel * kTile + lane] = factor;
    }
}

// The gradients of a convolution's weights and bias: the sums of all tiles. `folded`: the batch norm
// that the weights have taken in, or null.
inline void write_gradients(Stage& stage, const LanesTensors& tensors, int tiles, bool use_batch,
                            BatchNorm* folded) {
  std::vector<double> totals(stage.channels(), 0.0);
  for (int tile = 0; tile < tiles; ++tile)
    for (int channel = 0; channel < stage.channels(); ++channel)
      totals[channel] += stage.bias_sums[size_t(tile) * stage.channels() + channel];
  if (tensors.weight_gradient || folded) {
    const long count = stage.weight_gradient.weights();
    for (int tile = 1; tile < (stage.all_tiles ? 1 : tiles); ++tile) {
      const float* sums = &stage.weight_sums[size_t(tile) * count];
      for (long weight = 0; weight < count; ++weight) stage.weight_sums[weight] += sums[weight];
    }
    if (folded) unfold(stage, *folded, totals);
    if (tensors.weight_gradient)
      std::memcpy(tensors.weight_gradient, stage.weight_sums.data(), count * sizeof(float));
  }
  if (!tensors.bias_gradient) return;
  // Batch norm takes away any constant: a bias right before it has no gradient at all.
  const bool is_before = stage.spec.relu_before || stage.spec.smooth_before;
  const bool cancelled = stage.norm.present && use_batch && !is_before;
  for (int channel = 0; channel < stage.channels(); ++channel)
    tensors.bias_gradient[channel] = cancelled ? 0.0f : float(totals[channel]);
}

} // namespace
