// The C interface: what Python calls. Mirrored field by field in ../library.py.
#pragma once

#include <stdint.h>

#if defined(_WIN32)
#define LANES_API extern "C" __declspec(dllexport)
#else
#define LANES_API extern "C" __attribute__((visibility("default")))
#endif

enum { kLanesAbi = 3 }; // changes with any declaration of this file; library.py has the same

enum LanesOperation {
  kLanesConvolution = 0,
  kLanesBatchNorm = 1,
  kLanesActivation = 2,
  kLanesMaxPool = 3,     // 2x2
  kLanesAveragePool = 4, // 2x2
  kLanesWholeAverage = 5, // of the map
  kLanesChannelDropout = 6,
  kLanesElementDropout = 7,
  kLanesSum = 8
};

// One operation of a network, in a table whose order is that of computation; the last is its result.
struct LanesNode {
  int32_t operation;
  int32_t inputs[2]; // earlier nodes; -1: the images; the second is -2 but for a sum
  int32_t channels, kernel, stride, padding, groups; // of a convolution: its output channels
  int32_t activation;                                // 1 ReLU, 2 SiLU, 3 hard-swish
  int32_t layer;                                     // names the masks of a dropout
  double probability, epsilon;                       // of a dropout; of batch norm
};

// One node's tensors, contiguous float32; null where there is none (or no gradient is wanted).
// A convolution has a weight [channels][inputs / groups][kernel][kernel] and may have a bias; batch
// norm has all but the gradients.
struct LanesTensors {
  const float *weight, *bias;
  float *running_mean, *running_variance;
  int64_t* batches; // that the running statistics have seen; counted up by a step that uses its own
  float *weight_gradient, *bias_gradient;
  double momentum; // of the running statistics; below 0: every batch weighs the same
};

enum LanesStatus { kLanesDone = 0, kLanesOutOfMemory = 1, kLanesInvalid = 2, kLanesStale = 3, kLanesFailed = 4 };

// What the library was built from: the two that are asked before any other.
LANES_API int lanes_abi(void);
LANES_API const char* lanes_sources(void); // digest of this folder's files

LANES_API const char* lanes_instruction_set(void);
LANES_API int lanes_cpu_supports(const char* instruction_set);

// images: [channels][height][width] each.
LANES_API int lanes_create(const LanesNode* nodes, int count, int channels, int height, int width,
                           int threads, void** network);
LANES_API void lanes_destroy(void* network);

// images [count][height][width] (times channels) -> logits [count][outputs].
// use_batch: statistics of the batch (and dropout), else running statistics and no dropout.
// keep: whether lanes_backward will follow.
LANES_API int lanes_forward(void* network, const LanesTensors* tensors, const float* images,
                            int64_t count, int use_batch, int keep, uint64_t seed, float* logits);
// gradients [count][outputs]: the loss by the logits. Writes the gradients of `tensors`.
LANES_API int lanes_backward(void* network, const LanesTensors* tensors, const float* gradients);

// One parameter of `size` numbers, its gradient, and its momentum.
struct LanesParameter {
  float *value, *gradient, *momentum;
  int64_t size;
};

// The share of a label that goes to all classes alike; stochastic gradient descent, as
// torch.optim.SGD does it without dampening.
struct LanesDescent {
  double label_smoothing, learning_rate, momentum, weight_decay;
  int32_t nesterov;
};

// A whole training step on images with their labels [images]: forward, cross-entropy (its mean goes
// to `loss`), backward, descent. The gradients of `tensors` are those of `parameters`.
LANES_API int lanes_train(void* network, const LanesTensors* tensors,
                          const LanesParameter* parameters, int count, const LanesDescent* descent,
                          const float* images, const int64_t* labels, int64_t image_count,
                          uint64_t seed, float* logits, float* loss);

// mask [count][channels][height][width] of 0 and 1; element_wise 0: [count][channels].
LANES_API int lanes_dropout_mask(uint64_t seed, int layer, double probability, int element_wise,
                                 int64_t count, int channels, int height, int width, uint8_t* mask);

// images [.][28][28] at `index` [count] -> normalised [count][28][28], moved by matrices [count][2][3]
// (null: not moved).
LANES_API int lanes_augment(const uint8_t* images, int64_t available, const int64_t* index,
                            int64_t count, const float* matrices, float mean, float deviation,
                            float* result);

// Billions of floating-point operations a second of a loop of independent multiply-adds.
LANES_API double lanes_peak(double seconds);

// Throws on a worker thread, to show that the caller is told: kLanesFailed.
LANES_API int lanes_fail_on_worker(int threads);
