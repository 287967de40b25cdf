// Batches of images: gathered, moved by an affine map each, normalised.
#pragma once

#include "vectors.h"

namespace {

constexpr int kSide = 28;
constexpr int kPadded = kSide + 3; // a zero before each row and two after

// A pixel coordinate counted from the zeros before the image, held to the zeros around it.
LANES_INLINE float inside(float coordinate) {
  const float counted = coordinate + 1;
  const float low = counted > 0 ? counted : 0; // NaN too
  return low < kSide + 1 ? low : kSide + 1;
}

// Moves one image as affine_grid and grid_sample do (bilinear, zeros, align_corners=False).
// The map takes output to input coordinates, both running from -1 to 1 over the image.
inline void sample_image(const uint8_t* image, const float* matrix, float scale, float offset,
                         float* __restrict result) {
  float pixels[kPadded * kPadded] = {};
  for (int row = 0; row < kSide; ++row)
    for (int column = 0; column < kSide; ++column)
      pixels[(row + 1) * kPadded + column + 1] = image[row * kSide + column];
  // In pixels: input = half * (map(output) + 1) - 0.5, where output = (2 * pixel + 1) / side - 1.
  const float half = 0.5f * kSide, step = 2.0f / kSide, start = 1.0f / kSide - 1.0f;
  const float x_step = half * matrix[0] * step, y_step = half * matrix[3] * step;
  for (int row = 0; row < kSide; ++row) {
    const float y_output = start + step * row;
    const float x_first = half * (matrix[0] * start + matrix[1] * y_output + matrix[2] + 1) - 0.5f;
    const float y_first = half * (matrix[3] * start + matrix[4] * y_output + matrix[5] + 1) - 0.5f;
    float* __restrict output = result + row * kSide;
    // Two loops, and indices rather than pointers, so that compilers compute whole vectors.
    int corners[kSide];
    float right_share[kSide], bottom_share[kSide];
    for (int column = 0; column < kSide; ++column) {
      // One pixel outside the image, and any further, is zero.
      const float x = inside(x_first + x_step * column), y = inside(y_first + y_step * column);
      const int left = int(x), top = int(y);
      corners[column] = top * kPadded + left;
      right_share[column] = x - left;
      bottom_share[column] = y - top;
    }
    for (int column = 0; column < kSide; ++column) {
      const int corner = corners[column];
      const float above =
          pixels[corner] + right_share[column] * (pixels[corner + 1] - pixels[corner]);
      const float below = pixels[corner + kPadded] +
                          right_share[column] * (pixels[corner + kPadded + 1] - pixels[corner + kPadded]);
      output[column] = (above + bottom_share[column] * (below - above)) * scale + offset;
    }
  }
}

inline void copy_image(const uint8_t* image, float scale, float offset, float* result) {
  for (int pixel = 0; pixel < kSide * kSide; ++pixel) result[pixel] = image[pixel] * scale + offset;
}

// False where an index is out of range.
inline bool augment(const uint8_t* images, int64_t available, const int64_t* index, int64_t count,
                    const float* matrices, float mean, float deviation, float* result) {
  const long size = kSide * kSide;
  const float scale = 1 / (255 * deviation), offset = -mean / deviation;
  for (int64_t i = 0; i < count; ++i) {
    if (index[i] < 0 || index[i] >= available) return false;
    const uint8_t* image = images + index[i] * size;
    if (matrices) sample_image(image, matrices + 6 * i, scale, offset, result + i * size);
    else copy_image(image, scale, offset, result + i * size);
  }
  return true;
}

} // namespace
