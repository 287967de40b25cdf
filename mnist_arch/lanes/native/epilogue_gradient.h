// The way back through an epilogue, in two goes over a tile's memory: the first gathers the sums that
// batch norm's gradient needs of the whole batch, and makes the forward pass's outputs again; the
// second uses the sums. Where a smooth activation follows batch norm, the first also stores the
// gradient of batch norm's result, for that costs less to read again than to compute.
#pragma once

#include "epilogue.h"

namespace {

// `visit_gradients`, below, calls visit(row, column, turn, value, gradient) for every pixel of one
// channel of one lane group, with the gradient at batch norm's output; end_row() after every pixel
// row or two. `turn` is 0 or 1: sums that take turns do not wait for each other. With kEmit also calls
// emit(row, column, output) with the forward pass's outputs. Each kind of pool goes its own way.
template <int kActivation, bool kDrop, bool kEmit, class Visit, class EndRow, class Emit>
LANES_INLINE void visit_whole_average(const Epilogue& epilogue, const TileTask& task, int channel, int lane,
                                      const float* values, const float* gradients, const Visit& visit,
                                      const EndRow& end_row, const Emit& emit) {
  const int width = epilogue.value.width, height = epilogue.value.height;
  const Channel<kActivation> map(epilogue, task, channel, lane);
  const Vector factor = map.factor;
  const float* value = values + channel * epilogue.value.channel + lane;
  const float* pooled_gradient = gradients + channel * epilogue.pooled.channel + lane;
  const Masks masks(epilogue, task, channel, lane);
  Vector shared = load(pooled_gradient) * factor / float(height * width), total{};
  if (kDrop) shared = masks.keep_after(0, shared);
  for (int row = 0; row < height; ++row) {
    Vector row_total{};
    for (int column = 0; column < width; ++column) {
      const int pixel = row * width + column;
      const Vector input = load(value + long(pixel) * kTile);
      Vector gradient = shared;
      const Vector activated = map.activated(input, gradient);
      const IntVector open = kDrop && masks.has_before ? masks.before.kept(pixel) : all_ones();
      if (kEmit) row_total += kDrop ? keep_where(open, activated) : activated;
      visit(row, column, 0, input, kDrop ? keep_where(open, gradient) : gradient);
    }
    total += row_total;
    end_row();
  }
  total /= float(height * width);
  if (kEmit) emit(0, 0, kDrop ? masks.keep_after(0, total) : total);
}

template <int kActivation, bool kDrop, bool kEmit, class Visit, class EndRow, class Emit>
LANES_INLINE void visit_pixels(const Epilogue& epilogue, const TileTask& task, int channel, int lane,
                               const float* values, const float* gradients, const Visit& visit,
                               const EndRow& end_row, const Emit& emit) {
  const int width = epilogue.value.width, height = epilogue.value.height;
  const Channel<kActivation> map(epilogue, task, channel, lane);
  const Vector factor = map.factor;
  const float* value = values + channel * epilogue.value.channel + lane;
  const float* pooled_gradient = gradients + channel * epilogue.pooled.channel + lane;
  const Masks masks(epilogue, task, channel, lane);
  const auto visit_pixel = [&](int row, int column, int turn) __attribute__((always_inline)) {
    const int pixel = row * width + column;
    const Vector input = load(value + long(pixel) * kTile);
    Vector gradient = load(pooled_gradient + long(pixel) * kTile) * factor;
    const Vector activated = map.activated(input, gradient);
    if (!kDrop) {
      if (kEmit) emit(row, column, activated);
      visit(row, column, turn, input, gradient);
      return;
    }
    const Vector kept = masks.keep_after(pixel, masks.keep_before(pixel, gradient));
    if (kEmit) emit(row, column, masks.keep_after(pixel, masks.keep_before(pixel, activated)));
    visit(row, column, turn, input, kept);
  };
  for (int row = 0; row < height; ++row) {
    for (int column = 0; column + 1 < width; column += 2) {
      visit_pixel(row, column, 0);
      visit_pixel(row, column + 1, 1);
    }
    if (width % 2) visit_pixel(row, width - 1, 0);
    end_row();
  }
}

template <int kActivation, bool kDrop, int kPool, bool kEmit, class Visit, class EndRow, class Emit>
LANES_INLINE void visit_pools(const Epilogue& epilogue, const TileTask& task, int channel, int lane,
                              const float* values, const float* gradients, const Visit& visit,
                              const EndRow& end_row, const Emit& emit) {
  constexpr bool relu = kActivation == kRelu;
  const int width = epilogue.value.width, height = epilogue.value.height;
  const Channel<kActivation> map(epilogue, task, channel, lane);
  const Vector factor = map.factor;
  const float* value = values + channel * epilogue.value.channel + lane;
  const float* pooled_gradient = gradients + channel * epilogue.pooled.channel + lane;
  const Masks masks(epilogue, task, channel, lane);
  const int pooled_height = epilogue.pooled.height, pooled_width = epilogue.pooled.width;
  for (int row = 0; row < pooled_height; ++row) {
    for (int column = 0; column < pooled_width; ++column) {
      const int pooled_pixel = row * pooled_width + column;
      Vector gradient = load(pooled_gradient + long(pooled_pixel) * kTile) * factor;
      if (kDrop) gradient = masks.keep_after(pooled_pixel, gradient);
      if (kPool == kAveragePool) {
        gradient *= 0.25f;
        Vector output{};
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const int pixel = (2 * row + i / 2) * width + 2 * column + i % 2;
          const Vector input = load(value + long(pixel) * kTile);
          Vector passed = gradient;
          const Vector activated = map.activated(input, passed);
          output += kDrop ? masks.keep_before(pixel, activated) : activated;
          visit(2 * row + i / 2, 2 * column + i % 2, i % 2, input,
                kDrop ? masks.keep_before(pixel, passed) : passed);
        }
        output *= 0.25f;
        if (kEmit) emit(row, column, kDrop ? masks.keep_after(pooled_pixel, output) : output);
        continue;
      }
      Vector input[4], candidate[4], derivative[4];
      IntVector kept[4]{};
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int pixel = (2 * row + i / 2) * width + 2 * column + i % 2;
        input[i] = load(value + long(pixel) * kTile);
        if (is_smooth(kActivation)) {
          const Activated both = activate<kActivation>(map.affine(input[i]));
          candidate[i] = factor * both.value, derivative[i] = both.derivative;
        } else {
          candidate[i] = map.affine(input[i]);
        }
        if (!kDrop) continue;
        kept[i] = masks.has_before ? masks.before.kept(pixel) : all_ones();
        candidate[i] = keep_where(kept[i], candidate[i]);
      }
      const Vector largest = at_least(at_least(candidate[0], candidate[1]),
                                      at_least(candidate[2], candidate[3]));
      Vector output = relu ? at_least(largest, Vector{}) : largest; // ReLU commutes with a maximum
      if (kDrop) output = masks.keep_after(pooled_pixel, output);
      if (kEmit) emit(row, column, output);
      // The first of equals takes the gradient, as in PyTorch; a maximum that ReLU stops, or one
      // that is a dropped value's 0, passes none.
      Vector left = relu ? where(largest > 0, gradient) : gradient;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const IntVector here = candidate[i] == largest;
        Vector passed = where(here, left);
        left = where(~here, left);
        if (is_smooth(kActivation)) passed *= derivative[i];
        visit(2 * row + i / 2, 2 * column + i % 2, i % 2, input[i],
              kDrop && !relu ? keep_where(kept[i], passed) : passed);
      }
    }
    end_row();
  }
  for (int row = 0; row < height; ++row) { // the odd row and column that pooling leaves out
    const bool left_out = row >= 2 * pooled_height;
    for (int column = left_out ? 0 : 2 * pooled_width; column < width; ++column)
      visit(row, column, 0, load(value + (long(row) * width + column) * kTile), Vector{});
  }
  end_row();
}

// The same where the first go has stored the gradient at batch norm's output.
template <class Visit, class EndRow>
LANES_INLINE void visit_stored(const Layout& map, const float* values, const float* gradients,
                               const Visit& visit, const EndRow& end_row) {
  for (int row = 0; row < map.height; ++row) {
    for (int column = 0; column < map.width; ++column) {
      const long at = row * map.row + long(column) * kTile;
      visit(row, column, column % 2, load(values + at), load(gradients + at));
    }
    end_row();
  }
}

template <int kActivation, bool kDrop, int kPool, bool kEmit, class Visit, class EndRow, class Emit>
LANES_INLINE void visit_gradients(const Epilogue& epilogue, const TileTask& task, int channel, int lane,
                                  const float* values, const float* gradients, const Visit& visit,
                                  const EndRow& end_row, const Emit& emit) {
  if constexpr (kPool == kWholeAverage)
    visit_whole_average<kActivation, kDrop, kEmit>(epilogue, task, channel, lane, values, gradients,
                                                   visit, end_row, emit);
  else if constexpr (kPool == kNoPool)
    visit_pixels<kActivation, kDrop, kEmit>(epilogue, task, channel, lane, values, gradients, visit,
                                            end_row, emit);
  else
    visit_pools<kActivation, kDrop, kPool, kEmit>(epilogue, task, channel, lane, values, gradients,
                                                  visit, end_row, emit);
}

// Makes the forward pass's outputs again, and adds to sums [channel][2]: the gradient at batch norm's
// output, and that times (value - mean), over valid lanes. With a smooth activation `norm_gradients`
// gets that gradient; without pool this may be where `gradients` lie.
template <int kActivation, bool kDrop, int kPool>
void recompute_epilogue(const Epilogue& epilogue, const TileTask& task, const float* values,
                        const float* gradients, float* norm_gradients, float* outputs, double* sums) {
  const int width = epilogue.value.width;
  for (int channel = 0; channel < epilogue.value.channels; ++channel) {
    clear_padding(epilogue.output, outputs + channel * epilogue.output.channel);
    for (int lane = 0; lane < kTile; lane += kVector) {
      const Vector mean = broadcast(epilogue.mean[channel]);
      float* output = outputs + epilogue.output.origin() + channel * epilogue.output.channel + lane;
      float* norm_gradient =
          is_smooth(kActivation) ? norm_gradients + channel * epilogue.value.channel + lane : nullptr;
      const long output_row = epilogue.output.row;
      Vector total{}, product{}, row_total[2]{}, row_product[2]{};
      visit_gradients<kActivation, kDrop, kPool, true>(
          epilogue, task, channel, lane, values, gradients,
          [&](int row, int column, int turn, Vector value, Vector gradient)
              __attribute__((always_inline)) {
            if (is_smooth(kActivation)) store(norm_gradient + long(row * width + column) * kTile, gradient);
            row_total[turn] += gradient;
            row_product[turn] += gradient * (value - mean);
          },
          [&]() __attribute__((always_inline)) {
            total += row_total[0] + row_total[1];
            product += row_product[0] + row_product[1];
            row_total[0] = row_total[1] = row_product[0] = row_product[1] = Vector{};
          },
          [&](int row, int column, Vector result) __attribute__((always_inline)) {
            store(output + row * output_row + long(column) * kTile, result);
          });
      sums[2 * channel] += sum_valid(total, lane, task.valid);
      sums[2 * channel + 1] += sum_valid(product, lane, task.valid);
    }
  }
}

// Where the gradient of a convolution's output goes. With a stride it is spread out, zeros between,
// to what a convolution of stride 1 would have: its input gradient and weight gradient follow.
struct ValueGradient {
  Layout layout;
  int stride = 1;
};

// The gradient at the convolution's output: scale * gradient + constant + linear * (value - mean),
// the last two being what batch norm's own statistics pass on (zero in padding lanes), through the
// activation before batch norm: a ReLU, or one whose derivatives are `slopes` (or null). `gradients`:
// with a smooth activation after it what `recompute_epilogue` has stored, else those of the outputs.
// bias_sums [channel] gets the sum over the tile.
template <int kActivation, bool kDrop, int kPool>
void epilogue_gradient(const Epilogue& epilogue, const TileTask& task, const ValueGradient& to,
                       const float* values, const float* slopes, const float* gradients,
                       float* value_gradients, double* bias_sums) {
  const Vector bound = broadcast(epilogue.relu_before ? 0.0f : kNoBound);
  const int width = epilogue.value.width;
  const Layout& layout = to.layout;
  const long row_step = to.stride * layout.row, column_step = long(to.stride) * kTile;
  if (to.stride > 1) clear(value_gradients, layout.size);
  for (int channel = 0; channel < epilogue.value.channels; ++channel) {
    if (to.stride == 1) clear_padding(layout, value_gradients + channel * layout.channel);
    for (int lane = 0; lane < kTile; lane += kVector) {
      Vector is_image{};
      for (int i = 0; i < kVector; ++i) is_image[i] = lane + i < task.valid ? 1.0f : 0.0f;
      const Vector scale = broadcast(epilogue.scale[channel]), mean = broadcast(epilogue.mean[channel]);
      const Vector constant = is_image * epilogue.constant[channel];
      const Vector linear = is_image * epilogue.linear[channel];
      float* output = value_gradients + layout.origin() + channel * layout.channel + lane;
      const long first = channel * epilogue.value.channel + lane;
      Vector total{}, row_total[2]{};
      const auto visit = [&](int row, int column, int turn, Vector value, Vector gradient)
          __attribute__((always_inline)) {
        Vector result = scale * gradient + (constant + linear * (value - mean));
        result = slopes ? result * load(slopes + first + long(row * width + column) * kTile)
                        : where(value > bound, result);
        store(output + row * row_step + column * column_step, result);
        row_total[turn] += result;
      };
      const auto end_row = [&]() __attribute__((always_inline)) {
        total += row_total[0] + row_total[1];
        row_total[0] = row_total[1] = Vector{};
      };
      if constexpr (is_smooth(kActivation))
        visit_stored(epilogue.value, values + first, gradients + first, visit, end_row);
      else
        visit_gradients<kActivation, kDrop, kPool, false>(epilogue, task, channel, lane, values,
                                                          gradients, visit, end_row,
                                                          [](int, int, Vector) {});
      bias_sums[channel] += sum_valid(total, lane, kTile);
    }
  }
}

} // namespace
