// Convolution with a 3x3 kernel by minimal filtering along rows: half the multiplications.
//
// F(4, 3) of Winograd (1980), as Lavin & Gray (2016) use it for convolutions, in one dimension.
// Four neighbouring outputs (a "quad") of a 3-tap filter g over six inputs d are
//   y = A^T [(G g) * (B^T d)],
// six products instead of twelve: polynomials, evaluated at 0, a, -a, b, -b and infinity and
// interpolated. In that order, by Toom-Cook:
//   B^T d = [a^2 b^2 d0 - (a^2 + b^2) d2 + d4,
//            (d4 - b^2 d2) + a (d3 - b^2 d1),  (d4 - b^2 d2) - a (d3 - b^2 d1),
//            (d4 - a^2 d2) + b (d3 - a^2 d1),  (d4 - a^2 d2) - b (d3 - a^2 d1),
//            a^2 b^2 d1 - (a^2 + b^2) d3 + d5]
//   G g   = [g0 / (a^2 b^2),
//            (g0 + a g1 + a^2 g2) / m,  (g0 - a g1 + a^2 g2) / m,   m = 2 a^2 (a^2 - b^2),
//            (g0 + b g1 + b^2 g2) / n,  (g0 - b g1 + b^2 g2) / n,   n = 2 b^2 (b^2 - a^2),
//            g2]
//   A^T v = [v0 + s + t,  a d + b e,  a^2 s + b^2 t,  a^3 d + b^3 e + v5],
//           s, d = v1 +- v2; t, e = v3 +- v4.
// Sums over input channels and kernel rows are taken before A^T, for which the numbers come in
// three pairs: (1, 2), (3, 4), (0, 5). With a = 3/4, b = 3/2, all exact in binary, the error is 1.5
// to 1.9 times that of direct convolution in float; with the usual 1 and 2 it is 2.1 to 2.7 times
// (measured). tests/mnist_arch/lanes/test_winograd.py holds whole passes to four times PyTorch's.
#pragma once

#include <array>

#include "rows.h"

namespace {

constexpr int kQuad = 4;  // outputs at once
constexpr int kPairs = 3; // of numbers for each quad
constexpr float kA = 0.75f, kA2 = kA * kA, kA3 = kA2 * kA;
constexpr float kB = 1.5f, kB2 = kB * kB, kB3 = kB2 * kB;

// One row of a map as B^T d: [quad][pair][channel][2], in quads an odd number of cache lines apart.
struct QuadRow {
  int channels, quads;
  int inputs; // numbers in the row, its padding counted; beyond them, B^T d takes zeros

  long pair() const { return long(channels) * 2 * kTile; }
  long quad() const { return kPairs * pair() + kTile; }
  long size() const { return quads * quad(); }

  // input: the first input of the first quad in channel 0; `channel` floats to the next.
  void fill(const float* input, long channel, float* row) const {
    const int whole = (inputs - 2) / kQuad; // quads
    for (int c = 0; c < channels; ++c, input += channel, row += 2 * kTile) {
      const float* d = input;
      float* result = row;
      Vector d0 = load(d), d1 = load(d + kTile);
      for (int q = 0; q < whole; ++q, d += kQuad * kTile, result += quad()) {
        const Vector d4 = load(d + 4 * kTile), d5 = load(d + 5 * kTile);
        transform(d0, d1, load(d + 2 * kTile), load(d + 3 * kTile), d4, d5, result);
        d0 = d4, d1 = d5;
      }
      if (whole == quads) continue;
      const int left = inputs - kQuad * whole;
      const auto if_any = [&](int i) { return i < left ? load(d + i * kTile) : Vector{}; };
      transform(d0, d1, if_any(2), if_any(3), if_any(4), Vector{}, result);
    }
  }

 private:
  LANES_INLINE void transform(Vector d0, Vector d1, Vector d2, Vector d3, Vector d4, Vector d5,
                              float* result) const {
    const Vector a = broadcast(kA), a2 = broadcast(kA2);
    const Vector b = broadcast(kB), b2 = broadcast(kB2);
    const Vector product = broadcast(kA2 * kB2), sum = broadcast(kA2 + kB2);
    const Vector even_a = d4 - b2 * d2, odd_a = d3 - b2 * d1;
    const Vector even_b = d4 - a2 * d2, odd_b = d3 - a2 * d1;
    store(result, even_a + a * odd_a);
    store(result + kTile, even_a - a * odd_a);
    result += pair();
    store(result, even_b + b * odd_b);
    store(result + kTile, even_b - b * odd_b);
    result += pair();
    store(result, product * d0 - sum * d2 + d4);
    store(result + kTile, product * d1 - sum * d3 + d5);
  }
};

struct QuadTask : RowTask {
  const float* rows[3]; // those that the kernel meets inside the map
  int row_count, channels;
  long pair, quad;                // of the rows
  long weights_row, weights_pair; // from one to the next
};

// left: outputs from this quad to the end of the row.
typedef void (*QuadKernel)(const QuadTask&, int quad, int left);

// Adds to `total` the products of one pair.
// weights: [pair][kernel row][channel][output in block][2].
template <int kOut, int kQuads>
LANES_INLINE void add_pair(const QuadTask& task, int quad, int pair,
                           Vector (&total)[kOut][kQuads][2]) {
  for (int r = 0; r < task.row_count; ++r) {
    const float* input = task.rows[r] + quad * task.quad + pair * task.pair;
    const float* weights = task.weights + pair * task.weights_pair + r * task.weights_row;
    for (int channel = 0; channel < task.channels; ++channel) {
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        Vector values[kQuads];
#pragma GCC unroll 8
        for (int q = 0; q < kQuads; ++q) values[q] = load_once(input + q * task.quad + i * kTile);
#pragma GCC unroll 8
        for (int o = 0; o < kOut; ++o) {
          const Vector weight = broadcast(weights[2 * o + i]);
#pragma GCC unroll 8
          for (int q = 0; q < kQuads; ++q) total[o][q][i] += weight * values[q];
        }
      }
      input += 2 * kTile;
      weights += 2 * kOut;
    }
  }
}

// Stores what is within the row, and adds it up.
template <bool kSums, int kOut, int kQuads>
LANES_INLINE void finish_quads(const QuadTask& task, int quad, int left,
                               const Vector (&outer)[kOut][kQuads][2],
                               const Vector (&inner)[kOut][kQuads][2]) {
  const Vector lower = broadcast(task.lower);
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o) {
    float* output = task.output + o * task.output_channel + long(kQuad) * quad * kTile;
    const Vector shift = kSums ? task.sums->shift[o] : Vector{};
    Vector sum{}, square{};
#pragma GCC unroll 2
    for (int q = 0; q < kQuads; ++q) {
      const Vector values[kQuad] = {outer[o][q][0], inner[o][q][0], inner[o][q][1], outer[o][q][1]};
#pragma GCC unroll 4
      for (int i = 0; i < kQuad; ++i) {
        const int column = kQuad * q + i;
        if (column >= left) continue;
        const Vector value = kSums ? at_least(values[i], lower) : values[i];
        store(output + column * kTile, value);
        const Vector distance = value - shift;
        sum += distance;
        square += distance * distance;
      }
    }
    if (!kSums) continue;
    task.sums->row_sum[o] += sum;
    task.sums->row_square[o] += square;
  }
}

template <int kOut, int kQuads>
void quad_block(const QuadTask& task, int quad, int left) {
  Vector total[kOut][kQuads][2], kept[kOut][kQuads][2];
  const auto each = [&](const auto& visit) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 8
      for (int q = 0; q < kQuads; ++q) visit(o, q, total[o][q], kept[o][q]);
    }
  };
  each([&](int, int, Vector(&sum)[2], Vector(&)[2]) __attribute__((always_inline)) {
    sum[0] = sum[1] = Vector{};
  });
  add_pair(task, quad, 0, total);
  each([&](int, int, Vector(&sum)[2], Vector(&keep)[2]) __attribute__((always_inline)) {
    keep[0] = sum[0] + sum[1], keep[1] = sum[0] - sum[1];
    sum[0] = sum[1] = Vector{};
  });
  add_pair(task, quad, 1, total);
  static constexpr float kNoBiases[kOut] = {};
  const float* biases = task.bias ? task.bias : kNoBiases;
  const Vector a = broadcast(kA), a2 = broadcast(kA2), a3 = broadcast(kA3);
  const Vector b = broadcast(kB), b2 = broadcast(kB2), b3 = broadcast(kB3);
  each([&](int o, int, Vector(&sum)[2], Vector(&keep)[2]) __attribute__((always_inline)) {
    const Vector bias = broadcast(biases[o]);
    const Vector s = keep[0], d = keep[1], t = sum[0] + sum[1], e = sum[0] - sum[1];
    keep[0] = bias + a * d + b * e, keep[1] = bias + a2 * s + b2 * t;
    sum[0] = bias + s + t, sum[1] = bias + a3 * d + b3 * e;
  });
  add_pair(task, quad, 2, total);
  const bool whole = left >= kQuad * kQuads;
  if (task.sums && whole) finish_quads<true>(task, quad, kQuad * kQuads, total, kept);
  else if (task.sums) finish_quads<true>(task, quad, left, total, kept);
  else if (whole) finish_quads<false>(task, quad, kQuad * kQuads, total, kept);
  else finish_quads<false>(task, quad, left, total, kept);
}

// Quads at once, and output channels beside them: accumulators, the numbers of each quad and one
// weight must fit the registers.
constexpr int kRun = 2;
constexpr int kMostOutputs = (kRegisters - kRun - 1) / (2 * kRun);

template <int kOut = kMostOutputs>
QuadKernel quad_kernel(int out, int quads) {
  if constexpr (kOut > 1)
    if (out < kOut) return quad_kernel<kOut - 1>(out, quads);
  return quads == kRun ? quad_block<kOut, kRun> : quad_block<kOut, 1>;
}

struct Winograd {
  static constexpr int kKernel = 3;
  int padding = 0;
  Layout input, output;
  QuadRow row{};
  std::vector<Span> blocks; // of output channels
  double cycles = 0;        // about, for one lane group

  Winograd() = default;
  Winograd(int padding_, Layout input_, Layout output_)
      : padding(padding_), input(input_), output(output_),
        row{input_.channels, (output_.width + kQuad - 1) / kQuad, output_.width + kKernel - 1} {
    const int count = (output.channels + kMostOutputs - 1) / kMostOutputs;
    for (int i = 0, first = 0; i < count; ++i) { // as few as can be, of about the same size
      const int size = (output.channels - first) / (count - i);
      blocks.push_back({first, size});
      kernels_.push_back({quad_kernel(size, 1), quad_kernel(size, kRun)});
      first += size;
      const int ends = row.quads % kRun, runs = row.quads / kRun;
      const double pairs = kPairs * kKernel * input.channels;
      const double multiplying = runs * block_cycles(2 * size, kRun) + ends * (size + 1.6);
      const double storing = 8 * size * row.quads + 20 * (runs + ends); // measured
      cycles += output.height * (pairs * multiplying + storing);
    }
    cycles += 24.0 * input.channels * row.quads * (input.height + 2); // of B^T, measured
  }

  long packed() const { return long(input.channels) * output.channels * kPairs * 2 * kKernel; }
  long packed(const Span& block) const { return packed() / output.channels * block.size; }

  void pack(const Weights& weights, float* packed) const {
    constexpr float zero = 1 / (kA2 * kB2);
    constexpr float m = 1 / (2 * kA2 * (kA2 - kB2)), n = 1 / (2 * kB2 * (kB2 - kA2));
    for (const Span& block : blocks) {
      const long pair = this->packed(block) / kPairs;
      for (int r = 0; r < kKernel; ++r)
        for (int in = 0; in < input.channels; ++in)
          for (int o = 0; o < block.size; ++o, packed += 2) {
            const auto tap = [&](int i) {
              return weights.at(block.first + o, in, r * kKernel + i);
            };
            const float g0 = tap(0), g1 = tap(1), g2 = tap(2);
            packed[0] = (g0 + kA2 * g2 + kA * g1) * m;
            packed[1] = (g0 + kA2 * g2 - kA * g1) * m;
            packed[pair] = (g0 + kB2 * g2 + kB * g1) * n;
            packed[pair + 1] = (g0 + kB2 * g2 - kB * g1) * n;
            packed[2 * pair] = g0 * zero;
            packed[2 * pair + 1] = g2;
          }
      packed += (kPairs - 1) * pair;
    }
  }

  long scratch() const { return kKernel * row.size(); }

  // tile: the input map, of one lane group. scratch: the last three input rows, as B^T d.
  struct Rows {
    const Winograd& of;
    const float* tile;
    float* scratch;
    int held[kKernel] = {-1, -1, -1}; // which rows these are

    Rows(const Winograd& winograd, const float* tile_, float* scratch_)
        : of(winograd), tile(tile_), scratch(scratch_) {}

    int first(int output_row) const { return std::max(0, output_row - of.padding); }
    int last(int output_row) const {
      return std::min(of.input.height, output_row - of.padding + kKernel);
    }
    float* slot(int input_row) const { return scratch + input_row % kKernel * of.row.size(); }

    void prepare(int output_row) {
      for (int r = first(output_row); r < last(output_row); ++r) {
        if (held[r % kKernel] == r) continue;
        held[r % kKernel] = r;
        of.row.fill(tile + of.input.origin() + r * of.input.row - of.padding * kTile,
                    of.input.channel, slot(r));
      }
    }

    // tasks: one for each block.
    void run(const RowTask* tasks, int output_row) const {
      QuadTask task{};
      task.channels = of.input.channels;
      task.pair = of.row.pair(), task.quad = of.row.quad();
      task.row_count = last(output_row) - first(output_row);
      for (int i = 0; i < task.row_count; ++i) task.rows[i] = slot(first(output_row) + i);
      const int skipped = first(output_row) - (output_row - of.padding);
      const int width = of.output.width;
      for (int quad = 0, quads; quad < of.row.quads; quad += quads) {
        quads = std::min(kRun, of.row.quads - quad); // at hand while every block meets them
        for (size_t i = 0; i < of.blocks.size(); ++i) {
          static_cast<RowTask&>(task) = tasks[i];
          task.output += output_row * of.output.row;
          task.weights_pair = of.packed(of.blocks[i]) / kPairs;
          task.weights_row = task.weights_pair / kKernel;
          task.weights += skipped * task.weights_row;
          of.kernels_[i][quads - 1](task, quad, width - kQuad * quad);
        }
      }
    }
  };

 private:
  std::vector<std::array<QuadKernel, kRun>> kernels_; // of each block, for 1 and kRun quads
};

} // namespace
