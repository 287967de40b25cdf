// How work is cut into blocks that fit the registers: a small dynamic programme finds the cheapest.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "vectors.h"

namespace {

constexpr int kMaxBlock = 8; // the largest block along either axis
constexpr double kNever = std::numeric_limits<double>::infinity();

// Cycles for a x b multiply-adds of registers, a + b of which are loaded: two multiply-adds or two
// loads a cycle, a latency of four.
inline double block_cycles(int a, int b) {
  return std::max({a * b / 2.0, (a + b) / 2.0, 4.0}) + 0.6;
}

// The cheapest split of `total` into parts, given the cost of each part (index = size). Empty where
// none fits.
inline std::vector<int> cheapest_split(int total, const std::vector<double>& part_cost) {
  std::vector<double> cost(total + 1, kNever);
  std::vector<int> choice(total + 1, 0), parts;
  cost[0] = 0;
  for (int done = 1; done <= total; ++done)
    for (int part = 1; part <= std::min<int>(done, int(part_cost.size()) - 1); ++part)
      if (cost[done - part] + part_cost[part] < cost[done])
        cost[done] = cost[done - part] + part_cost[part], choice[done] = part;
  if (cost[total] == kNever) return parts;
  for (int left = total; left > 0; left -= choice[left]) parts.push_back(choice[left]);
  return parts;
}

inline double cost_of(const std::vector<int>& parts, const std::vector<double>& part_cost) {
  double total = parts.empty() ? kNever : 0;
  for (int part : parts) total += part_cost[part];
  return total;
}

struct Span {
  int first, size;
};

inline std::vector<Span> spans(const std::vector<int>& sizes) {
  std::vector<Span> result;
  int first = 0;
  for (int size : sizes) {
    result.push_back({first, size});
    first += size;
  }
  return result;
}

struct OutputBlock {
  Span outputs; // channels
  std::vector<Span> columns;
};

struct BlockPlan {
  std::vector<OutputBlock> blocks;
  double cycles = 0; // as the costs were counted
};

// The cheapest blocks for `out` channels x `width` columns; cost(outputs, columns) is that of one.
template <class Cost>
BlockPlan plan_blocks(int out, int width, const Cost& cost) {
  std::vector<double> row_cost(1, 0);
  std::vector<std::vector<int>> columns(1);
  for (int size = 1; size <= kMaxBlock; ++size) {
    std::vector<double> part_cost(1, 0);
    for (int part = 1; part <= kMaxBlock; ++part) part_cost.push_back(cost(size, part));
    columns.push_back(cheapest_split(width, part_cost));
    row_cost.push_back(cost_of(columns.back(), part_cost));
  }
  const std::vector<int> outputs = cheapest_split(out, row_cost);
  BlockPlan plan;
  for (const Span& span : spans(outputs)) plan.blocks.push_back({span, spans(columns[span.size])});
  plan.cycles = cost_of(outputs, row_cost);
  return plan;
}

} // namespace
