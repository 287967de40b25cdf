// Batch norm: from the sums of all tiles to its affine map and running statistics; and back.
#pragma once

#include <cmath>
#include <vector>

#include "epilogue.h"
#include "lanes.h"

namespace {

struct TileCounts { // values of a channel
  double batch;
  std::vector<double> tiles;
};

// Ioffe & Szegedy (2015). A stage without it has one that multiplies by 1.
struct BatchNorm {
  int channels = 0;
  bool present = false;
  double epsilon = 0;
  std::vector<float> scale, shift, mean, constant, linear; // one a channel
  std::vector<double> exact_mean, deviation_inverse;       // one a channel
  // Per tile, so that sums can be added up in tile order:
  std::vector<ChannelSums> statistics; // [tile][channel]
  std::vector<double> gradient_sums;   // [tile][channel][2]: gradient, gradient * (value - mean)

  BatchNorm() = default;
  BatchNorm(int channels_, bool present_, double epsilon_)
      : channels(channels_), present(present_), epsilon(epsilon_) {
    for (std::vector<float>* numbers : {&scale, &shift, &mean, &constant, &linear})
      numbers->assign(channels, 0.0f);
    exact_mean.assign(channels, 0.0);
    deviation_inverse.assign(channels, 0.0);
  }

  // Before a forward pass; with the running statistics unless it takes the batch's.
  void prepare(const LanesTensors* tensors, bool use_batch) {
    for (int channel = 0; channel < channels; ++channel) {
      if (present && !use_batch)
        set_affine(*tensors, channel, tensors->running_mean[channel],
                   tensors->running_variance[channel]);
      if (!present) scale[channel] = 1;
      constant[channel] = linear[channel] = 0;
    }
  }

  void set_affine(const LanesTensors& tensors, int channel, double batch_mean, double variance) {
    const double inverse = 1.0 / std::sqrt(variance + epsilon);
    const double gain = tensors.weight[channel] * inverse;
    deviation_inverse[channel] = inverse;
    exact_mean[channel] = batch_mean;
    mean[channel] = float(batch_mean);
    scale[channel] = float(gain);
    shift[channel] = float(tensors.bias[channel] - gain * batch_mean);
  }

  void finish_statistics(const LanesTensors& tensors, const TileCounts& counts) {
    const double count = counts.batch;
    const int tiles = int(counts.tiles.size());
    if (tensors.batches) ++*tensors.batches;
    const double momentum = tensors.momentum < 0 ? 1.0 / double(*tensors.batches) : tensors.momentum;
    for (int channel = 0; channel < channels; ++channel) {
      const auto sums = [&](int tile) -> const ChannelSums& {
        return statistics[size_t(tile) * channels + channel];
      };
      double batch_mean = 0, squares = 0;
      for (int tile = 0; tile < tiles; ++tile)
        batch_mean += (sums(tile).shift * counts.tiles[tile] + sums(tile).sum) / count;
      for (int tile = 0; tile < tiles; ++tile) {
        const double offset = sums(tile).shift - batch_mean; // sum (x - mean)^2, x = shift + distance
        squares += sums(tile).square + 2 * offset * sums(tile).sum +
                   counts.tiles[tile] * offset * offset;
      }
      const double variance = squares < 0 ? 0 : squares / count; // keeps NaN
      set_affine(tensors, channel, batch_mean, variance);
      float& running_mean = tensors.running_mean[channel];
      float& running_variance = tensors.running_variance[channel];
      running_mean = float(running_mean + momentum * (batch_mean - running_mean));
      running_variance = float(running_variance +
                               momentum * (variance * count / (count - 1) - running_variance));
    }
  }

  // With n values x, s = gamma / deviation and gradients g at its output,
  // dx = s * (g - sum(g) / n - (x - mean) / deviation^2 * sum(g * (x - mean)) / n).
  void finish_gradients(const LanesTensors& tensors, int tiles, double count, bool use_batch) {
    for (int channel = 0; channel < channels; ++channel) {
      double gradient = 0, product = 0;
      for (int tile = 0; tile < tiles; ++tile) {
        const double* sums = &gradient_sums[(size_t(tile) * channels + channel) * 2];
        gradient += sums[0], product += sums[1];
      }
      // The tiles subtracted a rounded mean; what that leaves is the same for every value, and adds up.
      const double rounding = mean[channel] - exact_mean[channel];
      product += rounding * gradient;
      const double inverse = deviation_inverse[channel];
      if (tensors.weight_gradient) tensors.weight_gradient[channel] = float(product * inverse);
      if (tensors.bias_gradient) tensors.bias_gradient[channel] = float(gradient);
      if (!use_batch) continue;
      const double factor = -scale[channel] * inverse * inverse * product / count;
      linear[channel] = float(factor);
      constant[channel] = float(-scale[channel] * gradient / count + factor * rounding);
    }
  }
};

} // namespace
