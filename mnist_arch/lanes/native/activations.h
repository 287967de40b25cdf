// Activation functions of a vector, with their derivatives.
#pragma once

#include "vectors.h"

namespace {

enum Activation { kLinear = 0, kRelu = 1, kSilu = 2, kHardSwish = 3 };

// ReLU passes through any factor that is not negative, and through a maximum; these do not.
constexpr bool is_smooth(int activation) { return activation >= kSilu; }

// e^x, to about one unit in the last place: 2^n times a polynomial in the rest, which is at most
// ln(2) / 2 (Cephes' expf). Held to the range in which the result is a normal number; NaN stays.
LANES_INLINE Vector exponential(Vector x) {
  x = at_least(x, broadcast(-87.0f));
  const Vector most = broadcast(88.0f);
  x = most < x ? most : x;
  const Vector rounder = broadcast(12582912.0f); // 1.5 * 2^23: adding it rounds to an integer
  const Vector shifted = x * 1.44269504088896341f + rounder;
  const Vector n = shifted - rounder;
  const Vector r = x - n * 0.693359375f - n * -2.12194440e-4f;
  Vector y = broadcast(1.9875691500e-4f);
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  const BitVector exponent = (reinterpret_cast<BitVector>(shifted) + 127u) << 23;
  return y * reinterpret_cast<Vector>(exponent);
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
    const Vector sigmoid = one / (one + exponential(-x));
    return {x * sigmoid, sigmoid * (one + x * (one - sigmoid))};
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
