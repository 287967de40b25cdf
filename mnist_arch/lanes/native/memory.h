// Memory of a network: aligned buffers, and slots that maps take in turn.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

// Zeroed floats, aligned to cache lines (to huge pages where that is worth it).
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr, other.size_ = 0;
  }
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

// Gives each map a slot for the time that it lives; a slot whose map is dead takes another that fits.
//
// A slot holds one map of every tile, at a distance that does not depend on which map it is: so one
// thread may be at a tile's old map while another writes the new map of its own tile.
class SlotPlan {
 public:
  // The slot of a map of `size` floats a tile that lives from `first` to `last`, both included.
  // To be called in the order of `first`. Takes the free slot that died last: it is in the cache.
  int take(long size, int first, int last) {
    int best = -1;
    for (int slot = 0; slot < count(); ++slot)
      if (slots_[slot].last < first && slots_[slot].size >= size &&
          (best < 0 || slots_[slot].last > slots_[best].last))
        best = slot;
    if (best < 0) {
      best = count();
      slots_.push_back({size, last});
    }
    slots_[best].last = last;
    return best;
  }

  int count() const { return int(slots_.size()); }
  long size(int slot) const { return slots_[slot].size; }

 private:
  struct Slot {
    long size;
    int last;
  };
  std::vector<Slot> slots_;
};

} // namespace
