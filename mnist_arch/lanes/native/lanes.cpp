// The C interface of the engine. No exception leaves it: every call returns a LanesStatus.
#include "lanes.h"

#include <chrono>
#include <new>

#include "descent.h"
#include "images.h"
#include "network.h"

namespace {

template <class Call>
int guarded(const Call& call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return kLanesOutOfMemory;
  } catch (const std::length_error&) {
    return kLanesOutOfMemory;
  } catch (const std::invalid_argument&) {
    return kLanesInvalid;
  } catch (...) {
    return kLanesFailed;
  }
}

} // namespace

#if !defined(LANES_SOURCES)
#error "compile with -DLANES_SOURCES=\"...\", the digest of this folder (see ../sources.py)"
#endif

int lanes_abi(void) { return kLanesAbi; }

const char* lanes_sources(void) { return LANES_SOURCES; }

const char* lanes_instruction_set(void) { return LANES_NAME; }

int lanes_cpu_supports(const char* instruction_set) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (!std::strcmp(instruction_set, "avx2"))
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!std::strcmp(instruction_set, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma");
#endif
  return !std::strcmp(instruction_set, "baseline");
}

int lanes_create(const LanesNode* nodes, int count, int channels, int height, int width,
                 int threads, void** network) {
  return guarded([&]() -> int {
    if (threads < 1 || channels < 1 || height < 1 || width < 1) return kLanesInvalid;
    *network = new Network(nodes, count, {channels, height, width}, threads);
    return kLanesDone;
  });
}

void lanes_destroy(void* network) { delete static_cast<Network*>(network); }

int lanes_forward(void* network, const LanesTensors* tensors, const float* images, int64_t count,
                  int use_batch, int keep, uint64_t seed, float* logits) {
  return guarded([&]() -> int {
    if (count < 1) return kLanesInvalid;
    static_cast<Network*>(network)->forward(tensors, images, count, use_batch != 0, keep != 0, seed,
                                            logits);
    return kLanesDone;
  });
}

int lanes_backward(void* network, const LanesTensors* tensors, const float* gradients) {
  return guarded([&]() -> int {
    return static_cast<Network*>(network)->backward(tensors, gradients) ? kLanesDone : kLanesStale;
  });
}

int lanes_train(void* network, const LanesTensors* tensors, const LanesParameter* parameters,
                int count, const LanesDescent* descent, const float* images, const int64_t* labels,
                int64_t image_count, uint64_t seed, float* logits, float* loss) {
  return guarded([&]() -> int {
    if (image_count < 1) return kLanesInvalid;
    Network& trained = *static_cast<Network*>(network);
    const int outputs = trained.outputs();
    std::vector<float> gradients(size_t(image_count) * outputs);
    trained.forward(tensors, images, image_count, true, true, seed, logits);
    if (!cross_entropy(logits, labels, image_count, outputs, descent->label_smoothing,
                       gradients.data(), loss))
      return kLanesInvalid;
    trained.backward(tensors, gradients.data());
    for (int i = 0; i < count; ++i) descend(parameters[i], *descent);
    return kLanesDone;
  });
}

int lanes_dropout_mask(uint64_t seed, int layer, double probability, int element_wise,
                       int64_t count, int channels, int height, int width, uint8_t* mask) {
  const int32_t threshold = dropout_threshold(probability);
  const long pixels = long(height) * width;
  for (int64_t image = 0; image < count; ++image)
    for (int channel = 0; channel < channels; ++channel) {
      if (!element_wise) {
        *mask++ = channel_is_kept(dropout_key(seed, layer, image, channel), threshold);
        continue;
      }
      ElementMask decisions;
      decisions.set(seed, layer, image, channel, threshold);
      for (long pixel = 0; pixel < pixels; ++pixel) *mask++ = decisions.kept(int(pixel))[0] != 0;
    }
  return kLanesDone;
}

int lanes_augment(const uint8_t* images, int64_t available, const int64_t* index, int64_t count,
                  const float* matrices, float mean, float deviation, float* result) {
  return augment(images, available, index, count, matrices, mean, deviation, result)
             ? kLanesDone
             : kLanesInvalid;
}

double lanes_peak(double seconds) {
  constexpr int kChains = 12;
  constexpr long kRounds = 20000;
  Vector total[kChains];
  for (int i = 0; i < kChains; ++i) total[i] = broadcast(float(i));
  Vector factor = broadcast(0.999f), term = broadcast(0.5f);
  typedef std::chrono::steady_clock Clock;
  const auto begin = Clock::now();
  double elapsed = 0, operations = 0;
  while (elapsed < seconds) {
    for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
      for (int i = 0; i < kChains; ++i) total[i] = total[i] * factor + term;
    }
    operations += 2.0 * kRounds * kChains * kVector;
    elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  Vector sum{};
  for (int i = 0; i < kChains; ++i) sum += total[i];
  volatile float sink = sum[0];
  (void)sink;
  return operations / elapsed / 1e9;
}

int lanes_fail_on_worker(int threads) {
  return guarded([&]() -> int {
    ThreadPool pool(threads);
    std::atomic<int> arrived{0};
    pool.for_each(threads, [&](int, int thread) { // each takes one, for it waits for the others
      for (++arrived; arrived < threads;) std::this_thread::yield();
      if (thread > 0) throw std::runtime_error("thrown to be caught");
    });
    return kLanesDone;
  });
}
