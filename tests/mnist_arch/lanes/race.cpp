// Trains a small network with several threads; run under the thread sanitizer by lanes.mk.
// Checks on the way that the number of threads does not change a bit.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../../mnist_arch/lanes/native/lanes.h"

namespace {

LanesStage stage(int in, int out, int kernel, int padding, int side, int pool) {
  LanesStage stage{};
  stage.in_channels = in, stage.out_channels = out;
  stage.kernel = kernel, stage.padding = padding;
  stage.height = stage.width = side;
  stage.batch_norm = stage.relu_after = 1;
  stage.pool = pool;
  stage.before_layer = 3, stage.before_probability = 0.2;
  stage.after_layer = -1;
  for (int32_t& layer : stage.channel_layers) layer = -1;
  stage.channel_layers[0] = 7, stage.channel_probabilities[0] = 0.1;
  stage.epsilon = 1e-5;
  return stage;
}

std::vector<float> numbers(size_t count, unsigned seed) {
  std::vector<float> result(count);
  for (float& number : result) {
    seed = seed * 1664525u + 1013904223u;
    number = float(seed >> 8) / (1 << 24) - 0.5f;
  }
  return result;
}

std::vector<float> train(int threads) {
  const std::vector<LanesStage> stages = {stage(1, 5, 3, 1, 28, 1), stage(5, 7, 3, 0, 14, 2)};
  std::vector<std::vector<float>> kept;
  std::vector<LanesTensors> tensors;
  for (const LanesStage& s : stages) {
    LanesTensors t{};
    const size_t weights = size_t(s.in_channels) * s.out_channels * s.kernel * s.kernel;
    const auto add = [&](size_t count) {
      kept.push_back(numbers(count, unsigned(kept.size()) + 1));
      return kept.back().data();
    };
    const size_t channels = s.out_channels;
    t.weight = add(weights), t.bias = add(channels), t.gamma = add(channels), t.beta = add(channels);
    t.running_mean = add(channels), t.running_variance = add(channels);
    t.weight_gradient = add(weights), t.bias_gradient = add(channels);
    t.gamma_gradient = add(channels), t.beta_gradient = add(channels);
    t.momentum = 0.1;
    tensors.push_back(t);
  }
  const int images = 100;
  const std::vector<float> batch = numbers(images * 784, 99), slopes = numbers(images * 7, 98);
  std::vector<float> logits(images * 7);
  void* network = nullptr;
  if (lanes_create(stages.data(), int(stages.size()), threads, &network) != kLanesDone) std::abort();
  for (int step = 0; step < 3; ++step)
    if (lanes_forward(network, tensors.data(), batch.data(), images, 1, 1, step, logits.data()) ||
        lanes_backward(network, tensors.data(), slopes.data()) ||
        lanes_forward(network, tensors.data(), batch.data(), images, 0, 0, 0, logits.data()))
      std::abort();
  lanes_destroy(network);
  for (const std::vector<float>& values : kept)
    logits.insert(logits.end(), values.begin(), values.end());
  return logits;
}

} // namespace

int main() {
  const std::vector<float> expected = train(1);
  for (int threads : {2, 3, 8}) {
    const std::vector<float> found = train(threads);
    if (std::memcmp(found.data(), expected.data(), expected.size() * sizeof(float)) != 0) {
      std::printf("%d threads differ from one\n", threads);
      return 1;
    }
  }
  std::puts("no race, and the same bits with 1, 2, 3 and 8 threads");
  return 0;
}
