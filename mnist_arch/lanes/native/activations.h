// Activation functions of a vector, with their derivatives.
#pragma once

#include "vectors.h"

namespace {

enum Activation { kLinear = 0, kRelu = 1, kSilu = 2, kHardSwish = 3 };

// ReLU passes through any factor that is not negative, and through a maximum; these do not.
constexpr bool is_smooth(int activation) { return activation >= kSilu; }

// 1 / (1 + e^-x), to about two units in the last place. 2^t is 2^n times a polynomial in the rest r,
// which is at most 1/2: of degree 5, by least squares weighted until its largest relative error, 9e-8,
// was least. Held to the range in which 2^t is a normal number and `inverse` works; NaN stays.
LANES_INLINE Vector sigmoid(Vector x) {
  // Opaque: of constants compilers make a comparison and a choice, not a minimum.
  const Vector least = opaque(broadcast(-126.0f)), most = opaque(broadcast(125.0f));
  Vector t = at_least(x * -1.44269504088896341f, least);
  t = most < t ? most : t;
  // Adding 1.5 * 2^23 rounds to an integer; 127 is the exponent's own bias.
  const Vector rounder = broadcast(12582912.0f + 127.0f);
  const Vector shifted = t + rounder;
  const Vector r = t - (shifted - rounder);
  Vector y = broadcast(1.326472731e-3f);
  y = y * r + 9.671512991e-3f;
  y = y * r + 5.550733581e-2f;
  y = y * r + 2.402224243e-1f;
  y = y * r + 6.931470037e-1f;
  y = y * r + 1.0f;
  const BitVector power = reinterpret_cast<BitVector>(shifted) << 23;
  return inverse(y * reinterpret_cast<Vector>(power) + 1.0f);
}

struct Activated {
  Vector value, derivative;
};

// SiLU: x / (1 + e^-x) (Hendrycks & Gimpel 2016, Elfwing et al. 2018). Hard-swish: x times
// relu6(x + 3) / 6 (Howard et al. 2019); its derivative is 0 up to -3 and 1 from 3, as in PyTorch.
template <int kActivation>
LANES_INLINE Activated activate(Vector x) {
  const Vector zero{}, one = broadcast(1.0f);
  if (kActivation == kSilu) {
    const Vector open = sigmoid(x), value = x * open;
    return {value, open + value * (one - open)};
  }
  if (kActivation == kHardSwish) {
    const Vector gate = x * (1.0f / 6) + 0.5f;
    const Vector low = x <= -3.0f ? zero : x * gate;
    const Vector derivative = x <= -3.0f ? zero : gate + x * (1.0f / 6);
    return {x >= 3.0f ? x : low, x >= 3.0f ? one : derivative};
  }
  if (kActivation == kRelu) return {at_least(x, zero), where(x > 0, one)};
  return {x, one};
}

} // namespace
