// Trains a small network with several threads; run under the thread sanitizer by `make sanitize`.
// Checks on the way that the number of threads does not change a bit.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../../mnist_arch/lanes/native/lanes.h"

namespace {

LanesNode node(int operation, int input) {
  LanesNode result{};
  result.operation = operation;
  result.inputs[0] = input, result.inputs[1] = -2;
  result.kernel = result.stride = result.groups = 1;
  result.epsilon = 1e-5;
  return result;
}

LanesNode convolution(int input, int channels, int kernel, int padding, int stride, int groups) {
  LanesNode result = node(kLanesConvolution, input);
  result.channels = channels, result.kernel = kernel, result.padding = padding;
  result.stride = stride, result.groups = groups;
  return result;
}

LanesNode activation(int input, int which) {
  LanesNode result = node(kLanesActivation, input);
  result.activation = which;
  return result;
}

LanesNode dropout(int operation, int input, int layer) {
  LanesNode result = node(operation, input);
  result.layer = layer, result.probability = 0.2;
  return result;
}

LanesNode sum(int input, int other) {
  LanesNode result = node(kLanesSum, input);
  result.inputs[1] = other;
  return result;
}

constexpr int kOutputs = 7;

// Every operation, and a map that two stages read.
std::vector<LanesNode> table() {
  return {
      convolution(-1, 5, 3, 1, 1, 1), node(kLanesBatchNorm, 0), activation(1, 1),
      dropout(kLanesElementDropout, 2, 3), node(kLanesMaxPool, 3),
      convolution(4, 5, 3, 1, 1, 5), activation(5, 2), node(kLanesBatchNorm, 6),
      sum(7, 4), activation(8, 3), dropout(kLanesChannelDropout, 9, 7),
      convolution(10, kOutputs, 3, 1, 2, 1), node(kLanesBatchNorm, 11),
      node(kLanesAveragePool, 12), node(kLanesWholeAverage, 13),
  };
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
  const std::vector<LanesNode> nodes = table();
  std::vector<std::vector<float>> kept;
  std::vector<LanesTensors> tensors;
  int channels = 1;
  for (const LanesNode& node : nodes) {
    LanesTensors t{};
    const auto add = [&](size_t count) {
      kept.push_back(numbers(count, unsigned(kept.size()) + 1));
      return kept.back().data();
    };
    size_t weights = 0;
    if (node.operation == kLanesConvolution) {
      weights = size_t(channels) / node.groups * node.channels * node.kernel * node.kernel;
      channels = node.channels;
    } else if (node.operation == kLanesBatchNorm) {
      weights = channels;
      t.running_mean = add(channels), t.running_variance = add(channels);
      for (float& variance : kept.back()) variance += 1;
    }
    if (weights) t.weight = add(weights), t.weight_gradient = add(weights);
    if (weights) t.bias = add(channels), t.bias_gradient = add(channels);
    t.momentum = 0.1;
    tensors.push_back(t);
  }
  const int images = 100;
  const std::vector<float> batch = numbers(images * 784, 99);
  const std::vector<float> gradients = numbers(images * kOutputs, 98);
  std::vector<float> logits(images * kOutputs);
  void* network = nullptr;
  if (lanes_create(nodes.data(), int(nodes.size()), 1, 28, 28, threads, &network) != kLanesDone)
    std::abort();
  for (int step = 0; step < 3; ++step)
    if (lanes_forward(network, tensors.data(), batch.data(), images, 1, 1, step, logits.data()) ||
        lanes_backward(network, tensors.data(), gradients.data()) ||
        lanes_forward(network, tensors.data(), batch.data(), images, 0, 0, 0, logits.data()))
      std::abort();
  lanes_destroy(network);
  for (const std::vector<float>& values : kept)
    logits.insert(logits.end(), values.begin(), values.end());
  return logits;
}

} // namespace

int main() {
  if (lanes_fail_on_worker(3) != kLanesFailed) return 1;
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
