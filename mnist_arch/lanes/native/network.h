// A network: its stages, its memory, and a training step over them.
//
// Forward, stage by stage (batch norm needs the whole batch): every tile is passed through what
// follows the previous convolution and then through this one, so that the map between them is in
// the second-level cache; it is not kept. Backward, from the last stage: every tile's gradient goes
// back through batch norm, ReLU, dropout and pool, then through the convolution to the stage
// before, whose batch norm sums are gathered and whose map is made again in one pass; then to the
// weights. Only the convolutions' outputs are kept from forward to backward.
#pragma once

#include <cmath>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "lanes.h"
#include "passes.h"
#include "threads.h"
#include "weight_gradient.h"

namespace {

// Zeroed floats, aligned to cache lines (to huge pages where that is worth it).
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  void reserve(size_t floats) {
    if (floats <= size_) return;
    std::free(data_);
    data_ = nullptr, size_ = 0;
    const size_t huge = size_t(2) << 20;
    size_t bytes = floats * sizeof(float);
    const size_t alignment = bytes >= huge / 8 ? huge : 4096;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, bytes) != 0) throw std::bad_alloc();
#if defined(__linux__)
    if (alignment == huge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    std::memset(memory, 0, bytes);
    data_ = static_cast<float*>(memory);
    size_ = bytes / sizeof(float);
  }
  float* data() { return data_; }

 private:
  float* data_ = nullptr;
  size_t size_ = 0;
};

inline size_t round_up(size_t count, size_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

struct ChannelDropout {
  int layer;
  int32_t threshold;
  float gain;
};

struct Stage {
  LanesStage spec;
  Convolution forward, backward; // backward: the input gradient; unused in the first stage
  WeightGradient weight_gradient;
  Layout slope; // the gradient of the convolution's output, with the gap that `backward` reads
  Pass pass;
  std::vector<ChannelDropout> channel_dropouts;
  std::vector<float> packed, packed_flipped;
  std::vector<float> scale, shift, mean, constant, linear; // one a channel
  std::vector<double> exact_mean, deviation_inverse;       // one a channel

  // Per tile, so that sums can be added up in tile order:
  std::vector<ChannelSums> statistics; // [tile][channel]
  std::vector<double> slope_sums;     // [tile][channel][2]: slope, slope * (value - mean)
  std::vector<double> bias_sums;      // [tile][channel]
  std::vector<float> weight_sums;     // [tile][weight]
  Buffer values, factors;             // [tile][...]

  // Where the weights' gradient is taken over all tiles at once: the maps that it is taken of.
  bool all_tiles = false;
  Buffer inputs, slopes; // [tile][...]

  int channels() const { return spec.out_channels; }
  long values_in_batch(int64_t images) const {
    return long(images) * pass.value.height * pass.value.width;
  }
};

struct Thread {
  Buffer slope;         // one tile's gradient of a convolution's output
  Buffer totals;        // vectors of weight gradients
  Buffer input, value;  // one tile's maps, where nothing is kept
  Buffer scratch;       // of a convolution
};

class Network {
 public:
  Network(const LanesStage* specs, int count, int threads)
      : stages_(count), crew_(threads), threads_(threads) {
    for (int i = 0; i < count; ++i) {
      const bool last = i + 1 == count;
      build(stages_[i], specs[i], last ? 0 : specs[i + 1].padding);
    }
    const LanesStage& first = specs[0];
    image_ = Layout(first.in_channels, first.height, first.width, first.padding);
    for (const Stage& stage : stages_)
      if (zeros_.size() < size_t(stage.channels())) zeros_.resize(stage.channels(), 0.0f);
  }

  int outputs() const {
    const Layout& map = stages_.back().pass.pooled;
    return map.channels * map.height * map.width;
  }

  void forward(const LanesTensors* tensors, const float* images, int64_t count, bool use_batch,
               bool keep, uint64_t seed, float* logits) {
    ready_ = false;
    seed_ = seed, count_ = count, use_batch_ = use_batch;
    tiles_ = int((count + kTile - 1) / kTile);
    for (size_t i = 0; i < stages_.size(); ++i) prepare(stages_[i], tensors[i], keep);
    if (use_batch || keep) {
      reserve_kept();
      reserve_streamed(true);
      forward_kept(tensors, images, logits);
      ready_ = keep;
    } else {
      reserve_streamed(false);
      forward_streamed(tensors, images, logits);
    }
  }

  // False where no forward pass was kept for it.
  bool backward(const LanesTensors* tensors, const float* slopes) {
    if (!ready_) return false;
    ready_ = false;
    reserve_backward();
    const int last = int(stages_.size()) - 1;
    each_tile([&](int tile, int thread) {
      spread(slopes, stages_[last].pass.pooled, false, tile, gradient(last, tile));
      restore(last, tile, threads_[thread].input.data());
    });
    for (int i = last; i >= 0; --i) {
      const bool weights_wanted = tensors[i].weight_gradient != nullptr;
      finish_slope_sums(stages_[i], tensors[i]);
      each_tile([&](int tile, int thread) {
        backward_tile(i, tile, threads_[thread], weights_wanted);
      });
      if (stages_[i].all_tiles && weights_wanted) add_up_weights(i);
      write_gradients(stages_[i], tensors[i]);
    }
    return true;
  }

 private:
  // ---- construction ------------------------------------------------------------------------

  static void build(Stage& stage, const LanesStage& spec, int next_padding) {
    const int height = spec.height + 2 * spec.padding - spec.kernel + 1;
    const int width = spec.width + 2 * spec.padding - spec.kernel + 1;
    const int flipped_padding = spec.kernel - 1 - spec.padding;
    stage.spec = spec;
    const Layout input(spec.in_channels, spec.height, spec.width, spec.padding);
    const Layout value(spec.out_channels, height, width, 0);
    stage.slope = Layout(spec.out_channels, height, width, flipped_padding);
    stage.forward = Convolution(spec.kernel, spec.padding, input, value);
    stage.backward = Convolution(spec.kernel, flipped_padding, stage.slope,
                                 Layout(spec.in_channels, spec.height, spec.width, 0));
    stage.weight_gradient = WeightGradient(spec.kernel, spec.padding, input, stage.slope);
    stage.all_tiles = stage.weight_gradient.suits_all_tiles();
    stage.packed.resize(stage.forward.packed());
    stage.packed_flipped.resize(stage.backward.packed());
    build_pass(stage, value, next_padding);
  }

  static ElementDropout element_dropout(int layer, double probability, float& gain) {
    if (layer >= 0) gain *= float(1.0 / (1.0 - probability));
    return {layer, dropout_threshold(probability)};
  }

  static void build_pass(Stage& stage, const Layout& value, int next_padding) {
    const LanesStage& spec = stage.spec;
    Pass& pass = stage.pass;
    pass.relu_before = spec.relu_before, pass.relu = spec.relu_after;
    pass.pool = spec.pool;
    int height = value.height, width = value.width;
    if (spec.pool == kMaxPool) height /= 2, width /= 2;
    if (spec.pool == kAveragePool) height = width = 1;
    pass.value = value;
    pass.pooled = Layout(value.channels, height, width, 0);
    pass.output = Layout(value.channels, height, width, next_padding);
    for (std::vector<float>* numbers :
         {&stage.scale, &stage.shift, &stage.mean, &stage.constant, &stage.linear})
      numbers->assign(value.channels, 0.0f);
    stage.deviation_inverse.assign(value.channels, 0.0);
    stage.exact_mean.assign(value.channels, 0.0);
    pass.scale = stage.scale.data(), pass.shift = stage.shift.data();
    pass.mean = stage.mean.data();
    pass.constant = stage.constant.data(), pass.linear = stage.linear.data();
    for (int i = 0; i < kLanesMaxChannelDropouts; ++i) {
      const double probability = spec.channel_probabilities[i];
      if (spec.channel_layers[i] >= 0)
        stage.channel_dropouts.push_back({spec.channel_layers[i], dropout_threshold(probability),
                                          float(1.0 / (1.0 - probability))});
    }
  }

  // ---- memory ------------------------------------------------------------------------------

  // Calls work(tile, thread), first for the tile that was last in the call before: its maps are
  // still in the cache.
  template <class Work>
  void each_tile(const Work& work) {
    const bool backwards = backwards_ = !backwards_;
    crew_.for_each(tiles_, [&](int item, int thread) {
      work(backwards ? tiles_ - 1 - item : item, thread);
    });
  }

  void reserve_kept() {
    images_.reserve(tiles_ * image_.size);
    for (Stage& stage : stages_) {
      const size_t tiles = tiles_, channels = stage.channels();
      stage.values.reserve(tiles * stage.pass.value.size);
      if (!stage.channel_dropouts.empty()) stage.factors.reserve(tiles * channels * kTile);
      stage.statistics.resize(tiles * channels);
    }
  }

  void reserve_backward() {
    size_t gradient = 0, slope = 0, totals = 0, scratch = 0;
    for (size_t i = 0; i < stages_.size(); ++i) {
      Stage& stage = stages_[i];
      const size_t tiles = tiles_, channels = stage.channels();
      if (!fits_next_values(i)) gradient = std::max(gradient, size_t(stage.pass.pooled.size));
      slope = std::max(slope, size_t(stage.slope.size));
      scratch = std::max(scratch, size_t(stage.backward.scratch()));
      totals = std::max(totals, round_up(stage.weight_gradient.weights(), kVector) * kVector);
      stage.slope_sums.resize(tiles * channels * 2);
      stage.bias_sums.resize(tiles * channels);
      stage.weight_sums.resize((stage.all_tiles ? 1 : tiles) * stage.weight_gradient.weights());
      if (stage.all_tiles) {
        stage.inputs.reserve(tiles * stage.weight_gradient.input.size);
        stage.slopes.reserve(tiles * stage.slope.size);
      }
    }
    for (Buffer& buffer : gradients_) buffer.reserve(tiles_ * gradient);
    for (Thread& thread : threads_) {
      thread.slope.reserve(slope);
      thread.totals.reserve(totals);
      thread.scratch.reserve(scratch);
    }
  }

  void reserve_streamed(bool kept) {
    size_t input = image_.size, value = 0, scratch = 0;
    for (const Stage& stage : stages_) {
      input = std::max(input, size_t(stage.pass.output.size));
      value = std::max(value, size_t(stage.pass.value.size));
      scratch = std::max(scratch, size_t(stage.forward.scratch()));
    }
    for (Thread& thread : threads_) {
      thread.input.reserve(input);
      thread.scratch.reserve(scratch);
      if (!kept) thread.value.reserve(value);
    }
  }

  float* values(int i, int tile) { return stages_[i].values.data() + tile * stages_[i].pass.value.size; }
  float* image(int tile) { return images_.data() + tile * image_.size; }
  // What stage i reads (past the last stage: the logits), made again from what was kept.
  const float* input_of(int i, int tile, Thread& thread) {
    if (i == 0) return image(tile);
    finish_tile(i - 1, tile, values(i - 1, tile), thread.input.data());
    return thread.input.data();
  }
  // The gradient at the end of stage i: it takes the place of the next stage's values, which nothing
  // reads once they have been passed back and which are in the cache; or, where these are fewer,
  // that of the gradient two stages on.
  float* gradient(int i, int tile) {
    if (fits_next_values(i)) return values(i + 1, tile);
    return gradients_[i % 2].data() + tile * stages_[i].pass.pooled.size;
  }
  bool fits_next_values(size_t i) const {
    return i + 1 < stages_.size() && stages_[i].pass.pooled.size <= stages_[i + 1].pass.value.size;
  }

  int valid(int tile) const { return int(std::min<int64_t>(kTile, count_ - int64_t(tile) * kTile)); }

  TileTask task(const Stage& stage, int tile) {
    TileTask task{seed_, int64_t(tile) * kTile, valid(tile), nullptr, false};
    if (!use_batch_) return task;
    task.drop = stage.pass.before.layer >= 0 || stage.pass.after.layer >= 0;
    if (!stage.channel_dropouts.empty())
      task.factors = const_cast<Stage&>(stage).factors.data() + long(tile) * stage.channels() * kTile;
    return task;
  }

  // ---- forward -----------------------------------------------------------------------------

  // Packs the weights (for the backward pass too: it must use those of the forward pass); without
  // batch statistics also fixes batch norm's affine map.
  void prepare(Stage& stage, const LanesTensors& tensors, bool keep) const {
    const int outputs = stage.spec.out_channels, inputs = stage.spec.in_channels;
    stage.forward.pack({tensors.weight, outputs, inputs, stage.spec.kernel, false},
                       stage.packed.data());
    if (keep)
      stage.backward.pack({tensors.weight, inputs, outputs, stage.spec.kernel, true},
                          stage.packed_flipped.data());
    Pass& pass = stage.pass;
    pass.gain = 1;
    pass.before = element_dropout(stage.spec.before_layer, stage.spec.before_probability, pass.gain);
    pass.after = element_dropout(stage.spec.after_layer, stage.spec.after_probability, pass.gain);
    if (!use_batch_) pass.gain = 1;
    for (int channel = 0; channel < stage.channels(); ++channel) {
      if (stage.spec.batch_norm && !use_batch_)
        set_affine(stage, tensors, channel, tensors.running_mean[channel],
                   tensors.running_variance[channel]);
      if (!stage.spec.batch_norm) stage.scale[channel] = 1;
      stage.constant[channel] = stage.linear[channel] = 0;
    }
  }

  static void set_affine(Stage& stage, const LanesTensors& tensors, int channel, double mean,
                         double variance) {
    const double inverse = 1.0 / std::sqrt(variance + stage.spec.epsilon);
    const double scale = tensors.gamma[channel] * inverse;
    stage.deviation_inverse[channel] = inverse;
    stage.exact_mean[channel] = mean;
    stage.mean[channel] = float(mean);
    stage.scale[channel] = float(scale);
    stage.shift[channel] = float(tensors.beta[channel] - scale * mean);
  }

  // Batch norm's affine map and running statistics, from the sums of all tiles.
  void finish_statistics(Stage& stage, const LanesTensors& tensors) {
    const double count = double(stage.values_in_batch(count_));
    if (tensors.batches) ++*tensors.batches;
    const double momentum = tensors.momentum < 0 ? 1.0 / double(*tensors.batches) : tensors.momentum;
    for (int channel = 0; channel < stage.channels(); ++channel) {
      const auto sums = [&](int tile) -> const ChannelSums& {
        return stage.statistics[size_t(tile) * stage.channels() + channel];
      };
      double mean = 0, squares = 0;
      for (int tile = 0; tile < tiles_; ++tile)
        mean += (sums(tile).shift * stage.values_in_batch(valid(tile)) + sums(tile).sum) / count;
      for (int tile = 0; tile < tiles_; ++tile) {
        const double values = double(stage.values_in_batch(valid(tile)));
        const double offset = sums(tile).shift - mean; // sum (x - mean)^2, x = shift + distance
        squares += sums(tile).square + 2 * offset * sums(tile).sum + values * offset * offset;
      }
      const double variance = squares < 0 ? 0 : squares / count; // keeps NaN
      set_affine(stage, tensors, channel, mean, variance);
      float& running_mean = tensors.running_mean[channel];
      float& running_variance = tensors.running_variance[channel];
      running_mean = float(running_mean + momentum * (mean - running_mean));
      running_variance = float(running_variance +
                               momentum * (variance * count / (count - 1) - running_variance));
    }
  }

  void draw_factors(Stage& stage, int tile) {
    if (!use_batch_ || stage.channel_dropouts.empty()) return;
    float* factors = stage.factors.data() + long(tile) * stage.channels() * kTile;
    for (int channel = 0; channel < stage.channels(); ++channel)
      for (int lane = 0; lane < kTile; ++lane) {
        float factor = 1;
        for (const ChannelDropout& dropout : stage.channel_dropouts) {
          const uint64_t key =
              dropout_key(seed_, dropout.layer, int64_t(tile) * kTile + lane, channel);
          factor *= channel_is_kept(key, dropout.threshold) ? dropout.gain : 0.0f;
        }
        factors[channel * kTile + lane] = factor;
      }
  }

  static float lower_bound(const Stage& stage) {
    return stage.spec.relu_before ? 0.0f : kNoBound;
  }

  void finish_tile(int i, int tile, const float* value, float* output) {
    const Stage& stage = stages_[i];
    LANES_DISPATCH(forward_pass, stage.pass, task(stage, tile), value, output);
  }

  void convolve_tile(int i, int tile, const LanesTensors& tensors, const float* input, float* value,
                     ChannelSums* sums, Thread& thread) {
    const Stage& stage = stages_[i];
    std::fill(sums, sums + stage.channels(), ChannelSums{});
    stage.forward.run(input, stage.packed.data(), tensors.bias ? tensors.bias : zeros_.data(),
                      lower_bound(stage), value, sums, valid(tile), thread.scratch.data());
  }

  void forward_kept(const LanesTensors* tensors, const float* images, float* logits) {
    const int count = int(stages_.size());
    for (int i = 0; i < count; ++i) {
      Stage& stage = stages_[i];
      each_tile([&](int tile, int thread) {
        if (i == 0) spread(images, image_, true, tile, image(tile));
        else draw_factors(stages_[i - 1], tile);
        convolve_tile(i, tile, tensors[i], input_of(i, tile, threads_[thread]), values(i, tile),
                      &stage.statistics[size_t(tile) * stage.channels()], threads_[thread]);
      });
      if (stage.spec.batch_norm && use_batch_) finish_statistics(stage, tensors[i]);
    }
    each_tile([&](int tile, int thread) {
      draw_factors(stages_.back(), tile);
      collect(input_of(count, tile, threads_[thread]), tile, logits);
    });
  }

  // Without batch statistics nothing ties the tiles together: each runs through the whole network.
  void forward_streamed(const LanesTensors* tensors, const float* images, float* logits) {
    const int count = int(stages_.size());
    each_tile([&](int tile, int thread) {
      float* input = threads_[thread].input.data();
      float* value = threads_[thread].value.data();
      spread(images, image_, true, tile, input);
      std::vector<ChannelSums> sums;
      for (int i = 0; i < count; ++i) {
        sums.resize(stages_[i].channels());
        convolve_tile(i, tile, tensors[i], input, value, sums.data(), threads_[thread]);
        finish_tile(i, tile, value, input);
      }
      collect(input, tile, logits);
    });
  }

  // rows [image][size] -> one tile's map. Lanes beyond the batch get the last image again, whose
  // values stay as ordinary as the others'; or zeros.
  void spread(const float* rows, const Layout& map, bool repeat, int tile, float* output) const {
    const int last = valid(tile) - 1, pixels = map.height * map.width;
    const long size = long(map.channels) * pixels;
    rows += long(tile) * kTile * size;
    for (int channel = 0; channel < map.channels; ++channel, rows += pixels, output += map.channel) {
      clear_gaps(map, output);
      for (int lane = 0; lane < kTile; lane += kVector)
        for (int first = 0; first < pixels; first += kVector) {
          const int count = std::min(kVector, pixels - first);
          Vector block[kVector];
          for (int i = 0; i < kVector; ++i) {
            const float* source = rows + std::min(lane + i, last) * size + first;
            block[i] = repeat || lane + i <= last ? load_some(source, count) : Vector{};
          }
          transpose(block);
          for (int i = 0; i < count; ++i) {
            const int row = (first + i) / map.width, column = (first + i) % map.width;
            store(output + map.origin() + row * map.row + column * kTile + lane, block[i]);
          }
        }
    }
  }

  // The last stage's map of one tile -> logits [image][channel][row][column].
  void collect(const float* tile_map, int tile, float* logits) const {
    const Layout& map = stages_.back().pass.output;
    const int images = valid(tile), size = outputs();
    float* rows = logits + long(tile) * kTile * size;
    for (int lane = 0; lane < images; ++lane)
      for (int channel = 0; channel < map.channels; ++channel)
        for (int row = 0; row < map.height; ++row)
          for (int column = 0; column < map.width; ++column)
            *rows++ = tile_map[map.origin() + channel * map.channel + row * map.row + column * kTile + lane];
  }

  // ---- backward ----------------------------------------------------------------------------

  // With the gradient at the end of stage i known: its batch norm's sums, and its outputs again.
  void restore(int i, int tile, float* outputs) {
    Stage& stage = stages_[i];
    double* sums = &stage.slope_sums[size_t(tile) * stage.channels() * 2];
    std::fill(sums, sums + 2 * stage.channels(), 0.0);
    LANES_DISPATCH(restore_pass, stage.pass, task(stage, tile), values(i, tile), gradient(i, tile),
                   outputs, sums);
  }

  // Batch norm: with n values x, s = gamma / deviation and slopes g at its output,
  // dx = s * (g - sum(g) / n - (x - mean) / deviation^2 * sum(g * (x - mean)) / n).
  void finish_slope_sums(Stage& stage, const LanesTensors& tensors) {
    if (!stage.spec.batch_norm) return;
    const double count = double(stage.values_in_batch(count_));
    for (int channel = 0; channel < stage.channels(); ++channel) {
      double slope = 0, product = 0;
      for (int tile = 0; tile < tiles_; ++tile) {
        const double* sums = &stage.slope_sums[(size_t(tile) * stage.channels() + channel) * 2];
        slope += sums[0], product += sums[1];
      }
      // The tiles subtracted a rounded mean; what that leaves is the same for every value, and adds up.
      const double rounding = stage.mean[channel] - stage.exact_mean[channel];
      product += rounding * slope;
      const double inverse = stage.deviation_inverse[channel];
      if (tensors.gamma_gradient) tensors.gamma_gradient[channel] = float(product * inverse);
      if (tensors.beta_gradient) tensors.beta_gradient[channel] = float(slope);
      if (!use_batch_) continue;
      const double scale = stage.scale[channel];
      const double linear = -scale * inverse * inverse * product / count;
      stage.linear[channel] = float(linear);
      stage.constant[channel] = float(-scale * slope / count + linear * rounding);
    }
  }

  void backward_tile(int i, int tile, Thread& thread, bool weights_wanted) {
    Stage& stage = stages_[i];
    float* slope = stage.all_tiles ? slopes(stage, tile) : thread.slope.data();
    double* bias_sums = &stage.bias_sums[size_t(tile) * stage.channels()];
    std::fill(bias_sums, bias_sums + stage.channels(), 0.0);
    LANES_DISPATCH(backward_pass, stage.pass, task(stage, tile), stage.slope, values(i, tile),
                   gradient(i, tile), slope, bias_sums);
    if (i > 0) {
      stage.backward.run(slope, stage.packed_flipped.data(), nullptr, kNoBound, gradient(i - 1, tile),
                         nullptr, 0, thread.scratch.data());
      restore(i - 1, tile, stage.all_tiles ? inputs(stage, tile) : thread.input.data());
    }
    if (!weights_wanted || stage.all_tiles) return;
    float* totals = thread.totals.data();
    const size_t count = stage.weight_gradient.weights();
    stage.weight_gradient.run(i > 0 ? thread.input.data() : image(tile), slope, totals);
    stage.weight_gradient.sum_lanes(totals, &stage.weight_sums[tile * count]);
  }

  static float* slopes(Stage& stage, int tile) {
    return stage.slopes.data() + tile * stage.slope.size;
  }
  static float* inputs(Stage& stage, int tile) {
    return stage.inputs.data() + tile * stage.weight_gradient.input.size;
  }

  void add_up_weights(int i) {
    Stage& stage = stages_[i];
    const auto blocks = stage.weight_gradient.all_blocks();
    const float* maps = i > 0 ? inputs(stage, 0) : image(0);
    crew_.for_each(int(blocks.size()), [&](int block, int thread) {
      stage.weight_gradient.run_block(blocks[block], tiles_, maps, slopes(stage, 0),
                                      threads_[thread].totals.data(), stage.weight_sums.data());
    });
  }

  void write_gradients(Stage& stage, const LanesTensors& tensors) const {
    if (tensors.weight_gradient) {
      const long count = stage.weight_gradient.weights();
      std::memcpy(tensors.weight_gradient, stage.weight_sums.data(), count * sizeof(float));
      for (int tile = 1; tile < (stage.all_tiles ? 1 : tiles_); ++tile) {
        const float* sums = &stage.weight_sums[size_t(tile) * count];
        for (long weight = 0; weight < count; ++weight) tensors.weight_gradient[weight] += sums[weight];
      }
    }
    if (!tensors.bias_gradient) return;
    // Batch norm takes away any constant: a bias right before it has no gradient at all.
    const bool in_vain = stage.spec.batch_norm && use_batch_ && !stage.spec.relu_before;
    for (int channel = 0; channel < stage.channels(); ++channel) {
      double total = 0;
      for (int tile = 0; tile < tiles_; ++tile)
        total += stage.bias_sums[size_t(tile) * stage.channels() + channel];
      tensors.bias_gradient[channel] = in_vain ? 0.0f : float(total);
    }
  }

  std::vector<Stage> stages_;
  ThreadPool crew_;
  std::vector<Thread> threads_;
  Layout image_;
  Buffer images_, gradients_[2];
  std::vector<float> zeros_;
  uint64_t seed_ = 0;
  int64_t count_ = 0;
  int tiles_ = 0;
  bool use_batch_ = false, ready_ = false, backwards_ = false;
};

} // namespace
