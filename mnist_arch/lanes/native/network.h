// A network: a training step over its stages, as its schedule has it.
//
// Forward, stage by stage: every tile is passed through the epilogue of the stages read and then
// through this one's convolution, so that the map between them is in the second-level cache; it is
// not kept. Where nothing but batch norm lies between, the convolution's weights take it in, and no
// map is needed (`pack` and `unfold` in stage.h).
//
// Backward, from the last stage: every tile's gradient goes back through the epilogue, then through the
// convolution to the stages read; where such a gradient is complete, the sums of the batch norm there
// are gathered and its result is computed again in one go; then to the weights. Only the values of
// stages are kept from forward to backward.
#pragma once

#include "schedule.h"
#include "smooth.h"
#include "stage.h"
#include "sums.h"
#include "threads.h"
#include "tiles.h"

namespace {

inline size_t round_up(size_t count, size_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

struct Thread {
  Buffer value_gradient; // one tile's gradient of a stage's value
  Buffer totals;         // vectors of weight gradients
  Buffer maps[2];        // one tile's results of the stages read
  Buffer addend;         // one tile's part of a gradient
  Buffer scratch;        // of a convolution
  std::vector<Buffer> streamed; // slots of one tile
};

class Network {
 public:
  Network(const LanesNode* nodes, int count, Shape images, int threads)
      : Network(Fusion(nodes, count, images).stages, images, threads) {}

  int outputs() const {
    const Layout& map = stages_.back().epilogue.pooled;
    return map.channels * map.height * map.width;
  }

  void forward(const LanesTensors* tensors, const float* images, int64_t count, bool use_batch,
               bool keep, uint64_t seed, float* logits) {
    ready_ = false;
    seed_ = seed, use_batch_ = use_batch;
    count_ = count;
    tiles_ = int((count + kTile - 1) / kTile);
    for (Stage& stage : stages_) prepare(stage, tensors, use_batch, keep);
    if (use_batch || keep) {
      reserve_kept();
      forward_kept(tensors, images, logits);
      ready_ = keep;
    } else {
      reserve_streamed();
      forward_streamed(tensors, images, logits);
    }
  }

  // gradients [image][output]. False where no forward pass was kept for it.
  bool backward(const LanesTensors* tensors, const float* gradients) {
    if (!ready_) return false;
    ready_ = false;
    reserve_backward();
    const int last = int(stages_.size()) - 1;
    for (const Schedule::Run& run : schedule_.backward) {
      for (int i : run)
        if (i <= last && stages_[i].norm.present)
          stages_[i].norm.finish_gradients(tensors[stages_[i].spec.norm],
                                           schedule_.is_folded(i) ? 1 : tiles_,
                                           values_of(stages_[i], count_), use_batch_);
      each_tile([&](int tile, int thread) {
        for (int i : run) {
          if (i <= last) {
            backward_tile(i, tile, threads_[thread], wants_weights(stages_[i], tensors));
          } else {
            spread(gradients, stages_[last].epilogue.pooled, false, tile, valid(tile),
                   gradient(last, tile));
            recompute(last, tile, threads_[thread].maps[0].data());
          }
        }
      });
      for (int i : run) {
        if (i > last || !stages_[i].convolves()) continue;
        if (stages_[i].all_tiles && wants_weights(stages_[i], tensors)) add_up_weights(i);
        write_gradients(stages_[i], tensors[stages_[i].spec.convolution], tiles_, use_batch_, folded(i));
      }
    }
    return true;
  }

 private:
  // ---- construction ------------------------------------------------------------------------

  Network(const std::vector<StageSpec>& specs, Shape images, int threads)
      : schedule_(specs), stages_(specs.size()), workers_(threads), threads_(threads) {
    image_ = Layout(images.channels, images.height, images.width, schedule_.images_padding);
    int most_channels = 0;
    std::vector<StageSizes> sizes;
    for (size_t i = 0; i < specs.size(); ++i) {
      Stage& stage = stages_[i];
      const int source = specs[i].inputs[0];
      build(stage, specs[i], source < 0 ? image_ : stages_[source].epilogue.output,
            schedule_.plans[i].readers_padding);
      stage.plain = schedule_.is_plain(int(i));
      if (source >= 0 && schedule_.is_folded(source)) stage.folds = source;
      most_channels = std::max(most_channels, stage.channels());
      sizes.push_back({stage.epilogue.value.size, stage.epilogue.pooled.size,
                       stage.epilogue.output.size, stage.input.size,
                       stage.value_gradient.layout.size, stage.all_tiles});
    }
    zeros_.resize(most_channels, 0.0f);
    schedule_.plan_slots(sizes, image_.size);
    slots_.resize(schedule_.kept.count());
  }

  // ---- memory ------------------------------------------------------------------------------

  // Calls work(tile, thread), first for the tile that was last in the call before: its maps are
  // still in the cache.
  template <class Work>
  void each_tile(const Work& work) {
    const bool backwards = backwards_ = !backwards_;
    workers_.for_each(tiles_, [&](int item, int thread) {
      work(backwards ? tiles_ - 1 - item : item, thread);
    });
  }

  void reserve_slot(int slot) {
    if (slot >= 0) slots_[slot].reserve(size_t(tiles_) * schedule_.kept.size(slot));
  }

  void reserve_kept() {
    images_.reserve(size_t(tiles_) * image_.size);
    for (size_t i = 0; i < stages_.size(); ++i) {
      Stage& stage = stages_[i];
      const size_t tiles = tiles_, channels = stage.channels();
      reserve_slot(schedule_.plans[i].value);
      reserve_slot(schedule_.plans[i].slope);
      if (!stage.channel_dropouts.empty()) stage.factors.reserve(tiles * channels * kTile);
      stage.norm.statistics.resize(tiles * channels);
    }
    reserve_threads();
  }

  void reserve_threads() {
    size_t map = 0, scratch = 0;
    for (const Stage& stage : stages_) {
      map = std::max(map, size_t(stage.epilogue.output.size));
      scratch = std::max(scratch, size_t(stage.convolution.scratch()));
    }
    for (Thread& thread : threads_) {
      for (Buffer& buffer : thread.maps) buffer.reserve(map);
      thread.scratch.reserve(scratch);
    }
  }

  void reserve_streamed() {
    reserve_threads();
    for (Thread& thread : threads_) {
      thread.streamed.resize(schedule_.streamed.count());
      for (int slot = 0; slot < schedule_.streamed.count(); ++slot)
        thread.streamed[slot].reserve(schedule_.streamed.size(slot));
    }
  }

  void reserve_backward() {
    size_t value_gradient = 0, totals = 0, scratch = 0, addend = 0;
    for (size_t i = 0; i < slots_.size(); ++i) reserve_slot(int(i));
    for (Stage& stage : stages_) {
      const size_t tiles = tiles_, channels = stage.channels();
      value_gradient = std::max(value_gradient, size_t(stage.value_gradient.layout.size));
      stage.norm.gradient_sums.resize(tiles * channels * 2);
      stage.bias_sums.resize(tiles * channels);
      addend = std::max(addend, size_t(stage.epilogue.pooled.size));
      if (!stage.convolves()) continue;
      scratch = std::max(scratch, size_t(stage.inverse.scratch()));
      totals = std::max(totals, round_up(stage.weight_gradient.weights(), kVector) * kVector);
      stage.weight_sums.resize((stage.all_tiles ? 1 : tiles) * stage.weight_gradient.weights());
    }
    for (Thread& thread : threads_) {
      thread.value_gradient.reserve(value_gradient);
      thread.totals.reserve(totals);
      thread.scratch.reserve(scratch);
      thread.addend.reserve(addend);
    }
  }

  // Null for slot -1.
  float* slot(int number, int tile) {
    if (number < 0) return nullptr;
    return slots_[number].data() + long(tile) * schedule_.kept.size(number);
  }
  float* values(int i, int tile) { return slot(schedule_.plans[i].value, tile); }
  float* slopes(int i, int tile) { return slot(schedule_.plans[i].slope, tile); }
  float* norm_gradient(int i, int tile) { return slot(schedule_.plans[i].norm_gradient, tile); }
  // Of the result of stage i, without padding.
  float* gradient(int i, int tile) { return slot(schedule_.plans[i].gradient, tile); }
  float* image(int tile) { return images_.data() + tile * image_.size; }
  // The result of stage i (the images), made again from its values in `memory` if need be.
  const float* result(int i, int tile, float* memory) {
    if (i < 0) return image(tile);
    if (stages_[i].plain) return values(i, tile);
    run_epilogue(i, tile, values(i, tile), memory);
    return memory;
  }

  // The batch norm that stage i's convolution takes in, or null.
  BatchNorm* folded(int i) {
    return stages_[i].folds < 0 ? nullptr : &stages_[stages_[i].folds].norm;
  }

  int valid(int tile) const { return int(std::min<int64_t>(kTile, count_ - int64_t(tile) * kTile)); }
  static double values_of(const Stage& stage, int64_t images) {
    return double(images) * stage.spec.value.height * stage.spec.value.width;
  }

  TileTask task(Stage& stage, int tile) {
    TileTask task{seed_, int64_t(tile) * kTile, valid(tile), nullptr, false};
    if (!use_batch_) return task;
    task.drop = stage.epilogue.before.layer >= 0 || stage.epilogue.after.layer >= 0;
    if (!stage.channel_dropouts.empty())
      task.factors = stage.factors.data() + long(tile) * stage.channels() * kTile;
    return task;
  }

  // ---- forward -----------------------------------------------------------------------------

  // Once the batch norm of the stages read is known.
  void pack_weights(int i, const LanesTensors* tensors) {
    Stage& stage = stages_[i];
    if (stage.convolves()) pack(stage, tensors[stage.spec.convolution], folded(i));
  }

  void finish_statistics(Stage& stage, const LanesTensors* tensors) {
    TileCounts counts{values_of(stage, count_), {}};
    for (int tile = 0; tile < tiles_; ++tile) counts.tiles.push_back(values_of(stage, valid(tile)));
    stage.norm.finish_statistics(tensors[stage.spec.norm], counts);
  }

  void run_epilogue(int i, int tile, const float* value, float* output) {
    Stage& stage = stages_[i];
    LANES_DISPATCH(::run_epilogue, stage.epilogue, task(stage, tile), value, output);
  }

  // inputs: the maps of the stages read (the second: of a sum, or null). `slopes`: see `StagePlan`.
  void value_of(int i, int tile, const LanesTensors* tensors, const float* const inputs[2],
                float* value, float* slopes, ChannelSums* sums, Thread& thread) {
    const Stage& stage = stages_[i];
    const int smooth = stage.spec.smooth_before;
    const float lower = stage.spec.relu_before ? 0.0f : kNoBound;
    std::fill(sums, sums + stage.channels(), ChannelSums{});
    if (stage.convolves()) {
      const float* bias =
          stage.folds < 0 ? tensors[stage.spec.convolution].bias : stage.bias.data();
      stage.convolution.run(inputs[0], stage.packed.data(), bias ? bias : zeros_.data(), lower,
                            value, smooth ? nullptr : sums, valid(tile), thread.scratch.data());
      if (!smooth) return;
    } else {
      const Layout& other = inputs[1] ? layout_of(stage.spec.inputs[1]) : stage.input;
      add_maps({stage.input, inputs[0]}, {other, inputs[1]}, lower, stage.epilogue.value, value);
    }
    if (!stage.norm.present) return;
    const Layout& map = stage.epilogue.value;
    for (int channel = 0; channel < map.channels; ++channel) {
      float* first = value + channel * map.channel;
      ChannelSums* total = use_batch_ ? sums + channel : nullptr;
      if (smooth)
        activate_channel(smooth, map, first, slopes ? slopes + channel * map.channel : nullptr,
                         valid(tile), total);
      else if (total)
        sum_channel(map, first, valid(tile), *total, [&](long at) { return load(first + at); });
    }
  }

  const Layout& layout_of(int i) const { return i < 0 ? image_ : stages_[i].epilogue.output; }

  void forward_kept(const LanesTensors* tensors, const float* images, float* logits) {
    const int last = int(stages_.size()) - 1;
    for (const Schedule::Run& run : schedule_.forward) {
      for (int i : run) pack_weights(i, tensors);
      each_tile([&](int tile, int thread) {
        for (int i : run) {
          if (i == 0) spread(images, image_, true, tile, valid(tile), image(tile));
          forward_tile(i, tile, tensors, threads_[thread]);
        }
        if (run.back() == last && !stages_[last].norm.present)
          collect_logits(result(last, tile, threads_[thread].maps[0].data()), tile, logits);
      });
      for (int i : run)
        if (stages_[i].norm.present && use_batch_) finish_statistics(stages_[i], tensors);
    }
    if (!stages_[last].norm.present) return;
    each_tile([&](int tile, int thread) {
      collect_logits(result(last, tile, threads_[thread].maps[0].data()), tile, logits);
    });
  }

  void collect_logits(const float* map, int tile, float* logits) const {
    collect(map, stages_.back().epilogue.output, tile, valid(tile), logits);
  }

  void forward_tile(int i, int tile, const LanesTensors* tensors, Thread& thread) {
    Stage& stage = stages_[i];
    const float* inputs[2] = {nullptr, nullptr};
    for (int k = 0; k < 2; ++k)
      if (stage.spec.inputs[k] != kNothing)
        inputs[k] = result(stage.spec.inputs[k], tile, thread.maps[k].data());
    value_of(i, tile, tensors, inputs, values(i, tile), slopes(i, tile),
             &stage.norm.statistics[size_t(tile) * stage.channels()], thread);
    if (use_batch_) draw_factors(stage, seed_, tile);
  }

  // Without batch statistics nothing ties the tiles together: each runs through the whole network.
  void forward_streamed(const LanesTensors* tensors, const float* images, float* logits) {
    const int count = int(stages_.size());
    for (int i = 0; i < count; ++i) pack_weights(i, tensors);
    each_tile([&](int tile, int number) {
      Thread& thread = threads_[number];
      const auto memory = [&](int i) {
        if (i < 0) return thread.streamed[schedule_.streamed_images].data();
        const StagePlan& plan = schedule_.plans[i];
        return thread.streamed[stages_[i].plain ? plan.streamed_value : plan.streamed_result].data();
      };
      spread(images, image_, true, tile, valid(tile), memory(kImages));
      std::vector<ChannelSums> sums;
      for (int i = 0; i < count; ++i) {
        const Stage& stage = stages_[i];
        sums.resize(stage.channels());
        const int other = stage.spec.inputs[1];
        const float* inputs[2] = {memory(stage.spec.inputs[0]),
                                  other == kNothing ? nullptr : memory(other)};
        float* value = thread.streamed[schedule_.plans[i].streamed_value].data();
        value_of(i, tile, tensors, inputs, value, nullptr, sums.data(), thread);
        if (!stage.plain) run_epilogue(i, tile, value, memory(i));
      }
      collect_logits(memory(count - 1), tile, logits);
    });
  }

  // ---- backward ----------------------------------------------------------------------------

  static bool wants_weights(const Stage& stage, const LanesTensors* tensors) {
    const bool needed = stage.folds >= 0; // by the batch norm that the weights have taken in
    return stage.convolves() && (needed || tensors[stage.spec.convolution].weight_gradient);
  }

  // With the gradient of stage i complete: its batch norm's sums, and its result again; where a
  // smooth activation follows, the gradient of batch norm's result, too.
  void recompute(int i, int tile, float* outputs) {
    Stage& stage = stages_[i];
    double* sums = &stage.norm.gradient_sums[size_t(tile) * stage.channels() * 2];
    std::fill(sums, sums + 2 * stage.channels(), 0.0);
    LANES_DISPATCH(recompute_epilogue, stage.epilogue, task(stage, tile), values(i, tile),
                   gradient(i, tile), norm_gradient(i, tile), outputs, sums);
  }

  void backward_tile(int i, int tile, Thread& thread, bool weights_wanted) {
    Stage& stage = stages_[i];
    const StagePlan& plan = schedule_.plans[i];
    float* value_gradient =
        stage.all_tiles ? slot(plan.kept_gradient, tile) : thread.value_gradient.data();
    double* bias_sums = &stage.bias_sums[size_t(tile) * stage.channels()];
    std::fill(bias_sums, bias_sums + stage.channels(), 0.0);
    const float* known = norm_gradient(i, tile);
    LANES_DISPATCH(epilogue_gradient, stage.epilogue, task(stage, tile), stage.value_gradient,
                   values(i, tile), slopes(i, tile), known ? known : gradient(i, tile),
                   value_gradient, bias_sums);
    float* memory = plan.kept_input >= 0 ? slot(plan.kept_input, tile) : thread.maps[0].data();
    bool recomputed = false;
    for (int k = 0; k < 2; ++k) {
      const int source = stage.spec.inputs[k];
      if (source < 0) continue;
      pass_back(i, k, tile, value_gradient, thread);
      if (!plan.contributions[k].completes || stages_[source].plain) continue;
      recompute(source, tile, memory);
      recomputed = true;
    }
    if (!weights_wanted) return;
    const float* input = recomputed ? memory : result(stage.spec.inputs[0], tile, memory);
    if (stage.all_tiles) return;
    const size_t count = stage.weight_gradient.weights();
    stage.weight_gradient.run(input, value_gradient, thread.totals.data(),
                              &stage.weight_sums[tile * count]);
  }

  // The gradient of stage i's value -> that of its input number k.
  void pass_back(int i, int k, int tile, const float* value_gradient, Thread& thread) {
    const Stage& stage = stages_[i];
    const bool stores = schedule_.plans[i].contributions[k].stores;
    float* target = gradient(stage.spec.inputs[k], tile);
    const float* part = value_gradient;
    if (stage.convolves()) {
      float* to = stores ? target : thread.addend.data();
      stage.inverse.run(value_gradient, stage.packed_inverse.data(), nullptr, kNoBound, to, nullptr,
                        0, thread.scratch.data());
      if (stores) return;
      part = to;
    }
    const long size = stages_[stage.spec.inputs[k]].epilogue.pooled.size;
    if (stores) std::memcpy(target, part, size_t(size) * sizeof(float));
    else add_to(target, part, size);
  }

  void add_up_weights(int i) {
    Stage& stage = stages_[i];
    const WeightGradient& whole = stage.weight_gradient.whole();
    const StagePlan& plan = schedule_.plans[i];
    const int source = stage.spec.inputs[0];
    const int slot_read = plan.kept_input >= 0 ? plan.kept_input
                          : source >= 0        ? schedule_.plans[source].value
                                               : -1;
    const float* maps = slot_read >= 0 ? slot(slot_read, 0) : image(0);
    const long map_tile = slot_read >= 0 ? schedule_.kept.size(slot_read) : image_.size;
    const auto blocks = whole.all_blocks();
    workers_.for_each(int(blocks.size()), [&](int block, int thread) {
      whole.run_block(blocks[block], tiles_, maps, map_tile, slot(plan.kept_gradient, 0),
                      schedule_.kept.size(plan.kept_gradient), threads_[thread].totals.data(),
                      stage.weight_sums.data());
    });
  }

  Schedule schedule_;
  std::vector<Stage> stages_;
  ThreadPool workers_;
  std::vector<Thread> threads_;
  Layout image_;
  Buffer images_;
  std::vector<Buffer> slots_; // [tile][...] each
  std::vector<float> zeros_;
  uint64_t seed_ = 0;
  int64_t count_ = 0;
  int tiles_ = 0;
  bool use_batch_ = false, ready_ = false, backwards_ = false;
};

} // namespace
