// SPDX-License-Identifier: Apache-2.0
// One kernel source for nvcc, NVRTC and a plain C++ compiler. On the GPU each name below is CUDA's own; elsewhere a
// kernel is a function that a loop over grid and block calls, so that tests run its arithmetic without a GPU.
//
// Nothing here may let a compiler fuse a multiplication with an addition: results must be those of numpy and OpenCV.
#pragma once

#if defined(__CUDACC__)

#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define SHARED __shared__
// The threads of a block in turn, each doing what follows; then a barrier. What threads share lies in SHARED arrays.
#define FOR_EACH_THREAD(thread) for (int thread = threadIdx.x, once = 1; once; once = 0)
#define BARRIER() __syncthreads()
#define LAUNCHABLE(name)
#define LAUNCHABLE_BY_BLOCK(name)

DEVICE float times(float a, float b) { return __fmul_rn(a, b); }
DEVICE float plus(float a, float b) { return __fadd_rn(a, b); }
DEVICE unsigned bits_of(float value) { return __float_as_uint(value); }
DEVICE float float_of(unsigned bits) { return __uint_as_float(bits); }
DEVICE int count_bits(unsigned word) { return __popc(word); }

#else

#include <cmath>
#include <cstddef>
#include <cstring>
#include <tuple>
#include <utility>

#define KERNEL extern "C" void
#define DEVICE static inline
#define SHARED static thread_local
#define FOR_EACH_THREAD(thread) for (int thread = 0; thread < static_cast<int>(blockDim.x); ++thread)
#define BARRIER()

struct Dimensions {
  unsigned x, y, z;
};
static thread_local Dimensions gridDim, blockDim, blockIdx, threadIdx;

DEVICE float times(float a, float b) { return a * b; }
DEVICE float plus(float a, float b) { return a + b; }
DEVICE unsigned bits_of(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
DEVICE float float_of(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
DEVICE int count_bits(unsigned word) { return __builtin_popcount(word); }
DEVICE unsigned atomicMax(unsigned* address, unsigned value) {
  const unsigned old = *address;
  if (value > old) *address = value;
  return old;
}
DEVICE unsigned long long atomicCAS(unsigned long long* address, unsigned long long expected, unsigned long long value) {
  const unsigned long long old = *address;
  if (old == expected) *address = value;
  return old;
}

// Calls `kernel` for every thread of the grid, or for every block where its threads are looped over inside; `arguments`
// are pointers to the arguments, as cuLaunchKernel takes them.
template <class... A, std::size_t... I>
void call_everywhere(void (*kernel)(A...), const unsigned* grid, const unsigned* block, bool by_block, void** arguments,
                     std::index_sequence<I...>) {
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  const Dimensions threads = by_block ? Dimensions{1, 1, 1} : blockDim;
  for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
        for (threadIdx.z = 0; threadIdx.z < threads.z; ++threadIdx.z)
          for (threadIdx.y = 0; threadIdx.y < threads.y; ++threadIdx.y)
            for (threadIdx.x = 0; threadIdx.x < threads.x; ++threadIdx.x)
              kernel(*static_cast<A*>(arguments[I])...);
}

template <class... A>
void launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, bool by_block, void** arguments) {
  call_everywhere(kernel, grid, block, by_block, arguments, std::index_sequence_for<A...>{});
}

#define LAUNCHABLE(name)                                                                             \
  extern "C" void launch_##name(const unsigned* grid, const unsigned* block, void** arguments) {      \
    launch(name, grid, block, false, arguments);                                                      \
  }
#define LAUNCHABLE_BY_BLOCK(name)                                                                     \
  extern "C" void launch_##name(const unsigned* grid, const unsigned* block, void** arguments) {      \
    launch(name, grid, block, true, arguments);                                                       \
  }

#endif

typedef unsigned char byte;

// Bits of a half-precision number (IEEE 754 binary16) as a float, exactly.
DEVICE float half_to_float(unsigned short half) {
  const unsigned sign = (half & 0x8000u) << 16;
  const unsigned exponent = (half >> 10) & 31u, fraction = half & 0x3ffu;
  if (exponent == 31) return float_of(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) {
    // Zero or subnormal: fraction times 2^-24.
    const float magnitude = times(static_cast<float>(fraction), 5.9604644775390625e-8f);
    return float_of(sign | bits_of(magnitude));
  }
  return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

// Element `index` of an array of float or, where `is_half`, of half-precision numbers.
DEVICE float element(const void* array, int index, int is_half) {
  if (is_half) return half_to_float(static_cast<const unsigned short*>(array)[index]);
  return static_cast<const float*>(array)[index];
}
