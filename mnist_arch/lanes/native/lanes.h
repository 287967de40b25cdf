// The C interface: what Python calls. Mirrored field by field in ../library.py.
#pragma once

#include <stdint.h>

#if defined(_WIN32)
#define LANES_API extern "C" __declspec(dllexport)
#else
#define LANES_API extern "C" __attribute__((visibility("default")))
#endif

enum { kLanesMaxChannelDropouts = 4 };

// One convolution and what follows it up to the next. Layer numbers are positions in the network;
// they only name a dropout's masks. -1: there is no such dropout.
struct LanesStage {
  int32_t in_channels, out_channels, kernel, padding;
  int32_t height, width; // of the convolution's input
  int32_t relu_before, batch_norm, relu_after;
  int32_t pool; // 0 none, 1 maximum of 2x2, 2 average of the whole map
  int32_t before_layer, after_layer; // element-wise dropout before and after the pool
  int32_t channel_layers[kLanesMaxChannelDropouts];
  double before_probability, after_probability;
  double channel_probabilities[kLanesMaxChannelDropouts];
  double epsilon;
};

// One stage's tensors, contiguous float32; null where there is none (or no gradient is wanted).
struct LanesTensors {
  const float *weight, *bias, *gamma, *beta;
  float *running_mean, *running_variance;
  int64_t* batches; // that the running statistics have seen; counted up by a step that uses its own
  float *weight_gradient, *bias_gradient, *gamma_gradient, *beta_gradient;
  double momentum; // of the running statistics; below 0: every batch weighs the same
};

enum LanesStatus { kLanesDone = 0, kLanesOutOfMemory = 1, kLanesInvalid = 2, kLanesStale = 3 };

LANES_API const char* lanes_instruction_set(void);
LANES_API int lanes_cpu_supports(const char* instruction_set);

LANES_API int lanes_create(const LanesStage* stages, int count, int threads, void** network);
LANES_API void lanes_destroy(void* network);

// images [count][height][width] (times channels) -> logits [count][outputs].
// use_batch: statistics of the batch (and dropout), else running statistics and no dropout.
// keep: whether lanes_backward will follow.
LANES_API int lanes_forward(void* network, const LanesTensors* tensors, const float* images,
                            int64_t count, int use_batch, int keep, uint64_t seed, float* logits);
// slopes [count][outputs]: the loss by the logits. Writes the gradients of `tensors`.
LANES_API int lanes_backward(void* network, const LanesTensors* tensors, const float* slopes);

// One parameter of `size` numbers, its gradient, and its momentum.
struct LanesParameter {
  float *value, *gradient, *momentum;
  int64_t size;
};

// Stochastic gradient descent, as torch.optim.SGD does it without dampening.
struct LanesDescent {
  double learning_rate, momentum, weight_decay;
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
LANES_API double lanes_ceiling(double seconds);
