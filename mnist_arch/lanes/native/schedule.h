// When each stage runs and where each map lies, settled once for a network.
//
// Forward, a stage that reads batch norm's result needs the sums of all tiles: there threads wait for
// each other (a barrier). Between two barriers each tile runs through several stages while its maps
// are in the cache. Backward, the same holds for a stage that has batch norm.
//
// A stage's value lives from its forward to its backward pass. The gradient of its output lives from
// the backward pass of its last reader, which stores it, others adding theirs, to its own; it takes
// the place of values that nothing reads any more.
#pragma once

#include <algorithm>
#include <functional>

#include "memory.h"
#include "nodes.h"

namespace {

// One input of a stage, in the backward pass.
struct Contribution {
  bool stores = false;   // the gradient of the stage read; else it adds to it
  bool completes = false; // nobody adds to it after this
};

struct StagePlan {
  std::vector<int> readers; // stages that read its result
  int readers_padding = 0;  // what they need
  bool reads_plain = false; // of its first input: values as they are
  Contribution contributions[2];
  // Slots of one tile after the other; -1: none
  int value = -1, gradient = -1;          // of its value, and of its result's gradient
  int slope = -1;          // of its value, by what the smooth activation before batch norm took
  int norm_gradient = -1;  // of batch norm's result, where a smooth activation follows
  int kept_input = -1, kept_gradient = -1; // of weight gradients taken over all tiles
  // Slots of one thread's tile, where nothing is kept
  int streamed_value = -1, streamed_result = -1;
};

// Sizes in floats of one tile.
struct StageSizes {
  long value, pooled, result, input, value_gradient;
  bool all_tiles; // whether weight gradients are taken over all tiles
};

class Schedule {
 public:
  typedef std::vector<int> Run; // stages between two barriers

  explicit Schedule(const std::vector<StageSpec>& specs) : plans(specs.size()), specs_(specs) {
    for (size_t i = 0; i < specs.size(); ++i) read_inputs(int(i));
    plan_runs();
  }

  std::vector<StagePlan> plans;
  int images_padding = 0;
  int last_reader_of_images = 0;
  std::vector<Run> forward, backward; // the backward pass begins with count(): the loss
  SlotPlan kept, streamed;
  int streamed_images = -1;

  int count() const { return int(specs_.size()); }
  // Whether a stage's value is read where it lies: as it is, or its reader takes in its batch norm.
  bool is_plain(int stage) const {
    const bool as_it_is = specs_[stage].norm < 0 && plans[stage].readers_padding == 0;
    return specs_[stage].is_bare() && (as_it_is || is_folded(stage));
  }
  // Whether a stage's batch norm goes into the weights of the convolution that alone reads it. Padding
  // must be none, for it has zeros where batch norm would have its shift.
  bool is_folded(int stage) const {
    const std::vector<int>& readers = plans[stage].readers;
    if (specs_[stage].norm < 0 || !specs_[stage].is_bare() || readers.size() != 1) return false;
    const StageSpec& reader = specs_[readers[0]];
    return reader.convolution >= 0 && reader.padding == 0;
  }

  // With the sizes of all stages and of the images: the slots.
  void plan_slots(const std::vector<StageSizes>& sizes, long images) {
    for (int i = 0; i < count(); ++i)
      plans[i].reads_plain = specs_[i].inputs[0] >= 0 && is_plain(specs_[i].inputs[0]);
    plan_kept(sizes);
    plan_streamed(sizes, images);
  }

 private:
  struct Tenant {
    long size;
    int first, last;
    int* slot;
  };

  void read_inputs(int stage) {
    for (int input : specs_[stage].inputs) {
      if (input == kNothing) continue;
      int& padding = input < 0 ? images_padding : plans[input].readers_padding;
      padding = std::max(padding, specs_[stage].padding);
      if (input < 0) last_reader_of_images = stage;
      else plans[input].readers.push_back(stage);
    }
  }

  void plan_runs() {
    forward.emplace_back();
    for (int i = 0; i < count(); ++i) {
      for (int input : specs_[i].inputs) {
        const Run& run = forward.back();
        const bool inside = std::find(run.begin(), run.end(), input) != run.end();
        if (input >= 0 && inside && specs_[input].norm >= 0) forward.emplace_back();
      }
      forward.back().push_back(i);
    }
    backward = {{count()}};
    std::vector<bool> stored(count(), false);
    stored.back() = true; // by the loss
    std::vector<Contribution*> latest(count(), nullptr);
    for (int i = count() - 1; i >= 0; --i) {
      if (specs_[i].norm >= 0) backward.emplace_back();
      backward.back().push_back(i);
      for (int k = 0; k < 2; ++k) {
        const int input = specs_[i].inputs[k];
        if (input < 0) continue;
        plans[i].contributions[k].stores = !stored[input];
        stored[input] = true;
        latest[input] = &plans[i].contributions[k];
      }
    }
    for (Contribution* contribution : latest)
      if (contribution) contribution->completes = true;
  }

  static void take_all(SlotPlan& slots, std::vector<Tenant>& tenants) {
    std::stable_sort(tenants.begin(), tenants.end(),
                     [](const Tenant& a, const Tenant& b) { return a.first < b.first; });
    for (const Tenant& tenant : tenants)
      *tenant.slot = slots.take(tenant.size, tenant.first, tenant.last);
  }

  // Times: stage i runs forward at i; backward it reads values and gradients at `reading(i)`, and
  // writes those of its inputs at the next.
  int reading(int stage) const { return count() + 2 * (count() - stage); }

  void plan_kept(const std::vector<StageSizes>& sizes) {
    std::vector<int> written(count(), reading(count()) + 1), run_end(count(), 0), last(count());
    for (const Run& run : backward)
      for (int stage : run)
        if (stage < count()) run_end[stage] = reading(run.back()) + 1;
    for (int i = 0; i < count(); ++i) last[i] = reading(i);
    for (int i = count() - 1; i >= 0; --i) {
      for (int k = 0; k < 2; ++k)
        if (plans[i].contributions[k].stores) written[specs_[i].inputs[k]] = reading(i) + 1;
      if (sizes[i].all_tiles && plans[i].reads_plain)
        last[specs_[i].inputs[0]] = std::max(last[specs_[i].inputs[0]], run_end[i]);
    }
    std::vector<Tenant> tenants;
    for (int i = 0; i < count(); ++i) {
      tenants.push_back({sizes[i].value, i, last[i], &plans[i].value});
      tenants.push_back({sizes[i].pooled, written[i], reading(i), &plans[i].gradient});
      if (specs_[i].smooth_before)
        tenants.push_back({sizes[i].value, i, reading(i), &plans[i].slope});
      if (is_smooth(specs_[i].activation) && specs_[i].pool)
        tenants.push_back({sizes[i].value, written[i], reading(i), &plans[i].norm_gradient});
    }
    for (int i = 0; i < count(); ++i) {
      if (!sizes[i].all_tiles) continue;
      tenants.push_back({sizes[i].value_gradient, reading(i), run_end[i], &plans[i].kept_gradient});
      if (specs_[i].inputs[0] >= 0 && !plans[i].reads_plain)
        tenants.push_back({sizes[i].input, reading(i) + 1, run_end[i], &plans[i].kept_input});
    }
    take_all(kept, tenants);
    for (int i = 0; i < count(); ++i) // of the same size: it takes the other's place
      if (is_smooth(specs_[i].activation) && !specs_[i].pool)
        plans[i].norm_gradient = plans[i].gradient;
  }

  // One tile at a time: stage i reads at 2 i and writes its result at 2 i + 1.
  void plan_streamed(const std::vector<StageSizes>& sizes, long images) {
    std::vector<int> last(count(), 2 * count()); // the last stage's is read after it
    for (int i = count() - 1; i >= 0; --i)
      for (int input : specs_[i].inputs)
        if (input >= 0 && last[input] == 2 * count() && input != count() - 1) last[input] = 2 * i;
    std::vector<Tenant> tenants = {{images, -1, 2 * last_reader_of_images, &streamed_images}};
    for (int i = 0; i < count(); ++i) {
      const bool plain = is_plain(i);
      tenants.push_back({sizes[i].value, 2 * i, plain ? last[i] : 2 * i + 1, &plans[i].streamed_value});
      if (!plain)
        tenants.push_back({sizes[i].result, 2 * i + 1, last[i], &plans[i].streamed_result});
    }
    take_all(streamed, tenants);
  }

  std::vector<StageSpec> specs_;
};

} // namespace
