// SPDX-License-Identifier: Apache-2.0
// The engine's depth to metres that are known, and to the packed points of a PointCloud2: back-projected, filtered, one
// per voxel, in the order of cameras, rows and columns. Bytes are those of runtime/cloud.py, from the same rays.
//
// What passes the filters is one bit a point (32 to a word), so that a point's place follows from the words' offsets and
// the bits before it: no order of threads can change the result.
#include "portable.h"

// The points on the grid of the stride. Depths and colours are images of `height` x `width`.
struct Grid {
  int cameras, rows, columns, stride, height, width;
};

// Metres; `voxels_per_m` is 0 where every point stays.
struct Limits {
  float min_range, max_range, min_height, max_height, min_confidence, voxels_per_m;
};

DEVICE int pixel_of(const Grid& grid, int point) {
  const int row = point / grid.columns, column = point % grid.columns;
  return ((row / grid.rows) * grid.height + (row % grid.rows) * grid.stride) * grid.width + column * grid.stride;
}

struct Point {
  float x, y, z;
};

DEVICE Point locate(const Grid& grid, const float* rays_n3rc, const float* origins_n3, int point, float depth) {
  const int plane = grid.rows * grid.columns, camera = point / plane, at = point % plane;
  const float *ray = rays_n3rc + static_cast<long long>(camera) * 3 * plane + at, *origin = origins_n3 + 3 * camera;
  Point found;
  found.x = plus(times(ray[0], depth), origin[0]);
  found.y = plus(times(ray[plane], depth), origin[1]);
  found.z = plus(times(ray[2 * plane], depth), origin[2]);
  return found;
}

// Cubes are counted from -2^20 to 2^20 along each axis; three numbers make one key of 63 bits, never 0.
DEVICE unsigned long long cell(float coordinate, float voxels_per_m) {
  const float whole = floorf(times(coordinate, voxels_per_m));
  const float inside = whole < -1048576.0f ? -1048576.0f : whole > 1048575.0f ? 1048575.0f : whole;
  return static_cast<unsigned long long>(static_cast<int>(inside) + 1048576);
}

DEVICE unsigned long long voxel_key(const Point& point, float voxels_per_m) {
  return (cell(point.x, voxels_per_m) << 42 | cell(point.y, voxels_per_m) << 21 | cell(point.z, voxels_per_m)) + 1;
}

// Multiplying by 2^64 over the golden ratio spreads keys that differ little (Knuth, TAOCP 3, 6.4).
DEVICE unsigned first_slot(unsigned long long key, int table_bits) {
  return static_cast<unsigned>(key * 0x9E3779B97F4A7C15ull >> (64 - table_bits));
}

// One thread per pixel: the engine's depth where it is positive, the rig sees something and the camera has an image;
// NaN and confidence 0 elsewhere.
KERNEL finish_depth(const void* depth, int depth_is_half, const void* confidence, int confidence_is_half, const byte* known,
              const float* camera_valid, float* finished_depth, float* finished_confidence, int pixels, int total) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total) return;
  const float z = element(depth, i, depth_is_half);
  const bool is_known = known[i] && camera_valid[i / pixels] != 0 && z > 0;
  finished_depth[i] = is_known ? z : float_of(0x7fc00000u);
  finished_confidence[i] = is_known ? element(confidence, i, confidence_is_half) : 0.0f;
}
LAUNCHABLE(finish_depth)

// One thread per label of (rows, columns) a camera, `bytes` (1, 4 or 8, little-endian) each: its class, 255 where the
// pixel of `known` below (`pixel_rows`, `pixel_columns`) sees nothing or the camera has no image.
KERNEL finish_labels(const byte* labels, int bytes, const byte* known, const float* camera_valid, const int* pixel_rows,
                     const int* pixel_columns, byte* finished, int rows, int columns, int height, int width, int total) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total) return;
  const int column = i % columns, row = i / columns % rows, camera = i / columns / rows;
  const bool is_known = known[(camera * height + pixel_rows[row]) * width + pixel_columns[column]];
  finished[i] = is_known && camera_valid[camera] != 0 ? labels[static_cast<long long>(i) * bytes] : 255;
}
LAUNCHABLE(finish_labels)

// One thread per word: which of its 32 points pass range, height and confidence, and how many.
KERNEL select_points(const Grid* grid_of_cloud, const Limits* limits_of_cloud, const float* rays_n3rc, const float* origins_n3,
              const float* depth, const float* confidence, unsigned* words, unsigned* counts, int points) {
  const Grid grid = *grid_of_cloud;
  const Limits limits = *limits_of_cloud;
  const int word = blockIdx.x * blockDim.x + threadIdx.x;
  if (32 * word >= points) return;
  unsigned bits = 0;
  for (int k = 0; k < 32 && 32 * word + k < points; ++k) {
    const int point = 32 * word + k, pixel = pixel_of(grid, point);
    const float z = depth[pixel];
    // NaN is in no range.
    if (!(z >= limits.min_range && z <= limits.max_range)) continue;
    const float height = locate(grid, rays_n3rc, origins_n3, point, z).z;
    if (!(height >= limits.min_height && height <= limits.max_height)) continue;
    if (limits.min_confidence > 0 && !(confidence[pixel] >= limits.min_confidence)) continue;
    bits |= 1u << k;
  }
  words[word] = bits;
  counts[word] = count_bits(bits);
}
LAUNCHABLE(select_points)

// One thread per point that was selected: enters it into a hash table of 2^table_bits keys, empty (0) before, and keeps
// the least number of a voxel's points, as the greatest complement.
KERNEL enter_voxels(const Grid* grid_of_cloud, const Limits* limits_of_cloud, const float* rays_n3rc,
                    const float* origins_n3, const float* depth, const unsigned* words, unsigned long long* keys,
                    unsigned* firsts, int table_bits, int points) {
  const int point = blockIdx.x * blockDim.x + threadIdx.x;
  if (point >= points || !(words[point / 32] >> (point % 32) & 1u)) return;
  const Grid grid = *grid_of_cloud;
  const Point at = locate(grid, rays_n3rc, origins_n3, point, depth[pixel_of(grid, point)]);
  const unsigned long long key = voxel_key(at, limits_of_cloud->voxels_per_m);
  const unsigned mask = (1u << table_bits) - 1;
  for (unsigned slot = first_slot(key, table_bits);; slot = (slot + 1) & mask) {
    const unsigned long long found = atomicCAS(&keys[slot], 0ull, key);
    if (found == 0 || found == key) {
      atomicMax(&firsts[slot], ~static_cast<unsigned>(point));
      return;
    }
  }
}
LAUNCHABLE(enter_voxels)

// One thread per word: of the points that were selected, only the first of each voxel stays.
KERNEL keep_firsts(const Grid* grid_of_cloud, const Limits* limits_of_cloud, const float* rays_n3rc,
                   const float* origins_n3, const float* depth, const unsigned long long* keys, const unsigned* firsts,
                   int table_bits, unsigned* words, unsigned* counts, int points) {
  const int word = blockIdx.x * blockDim.x + threadIdx.x;
  if (32 * word >= points) return;
  const Grid grid = *grid_of_cloud;
  const unsigned before = words[word], mask = (1u << table_bits) - 1;
  unsigned bits = 0;
  for (int k = 0; k < 32; ++k) {
    if (!(before >> k & 1u)) continue;
    const int point = 32 * word + k;
    const Point at = locate(grid, rays_n3rc, origins_n3, point, depth[pixel_of(grid, point)]);
    const unsigned long long key = voxel_key(at, limits_of_cloud->voxels_per_m);
    unsigned slot = first_slot(key, table_bits);
    while (keys[slot] != key) slot = (slot + 1) & mask;
    if (firsts[slot] == ~static_cast<unsigned>(point)) bits |= 1u << k;
  }
  words[word] = bits;
  counts[word] = count_bits(bits);
}
LAUNCHABLE(keep_firsts)

// One block of 1024 threads: how many points there are before each word, in place, and in all.
KERNEL sum_counts(unsigned* counts, int words, unsigned* total) {
  SHARED unsigned sums[2][1024];
  const int share = (words + 1023) / 1024;
  FOR_EACH_THREAD(thread) {
    unsigned sum = 0;
    for (int i = thread * share; i < words && i < (thread + 1) * share; ++i) sum += counts[i];
    sums[0][thread] = sum;
  }
  BARRIER();
  // Hillis and Steele's scan: after each step a sum reaches twice as far back.
  int now = 0;
  for (int reach = 1; reach < 1024; reach *= 2, now = 1 - now) {
    FOR_EACH_THREAD(thread) {
      sums[1 - now][thread] = sums[now][thread] + (thread >= reach ? sums[now][thread - reach] : 0);
    }
    BARRIER();
  }
  FOR_EACH_THREAD(thread) {
    unsigned sum = thread > 0 ? sums[now][thread - 1] : 0;
    for (int i = thread * share; i < words && i < (thread + 1) * share; ++i) {
      const unsigned count = counts[i];
      counts[i] = sum;
      sum += count;
    }
    if (thread == 1023) *total = sum;
  }
}
LAUNCHABLE_BY_BLOCK(sum_counts)

// One thread per point: x y z, 0x00rrggbb, camera and label, confidence: six words at its place. `labels` (N, label_rows,
// label_columns), read at `rows_of` and `columns_of` the grid's; where `with_labels` is 0 there is none, where it is 2
// every label is 255.
KERNEL pack_points(const Grid* grid_of_cloud, const float* rays_n3rc, const float* origins_n3, const float* depth,
            const float* confidence, const byte* pictures, const byte* labels, int with_labels, const int* rows_of,
            const int* columns_of, int label_rows, int label_columns, const unsigned* words, const unsigned* offsets,
            unsigned* packed, int points) {
  const int point = blockIdx.x * blockDim.x + threadIdx.x;
  if (point >= points) return;
  const unsigned bits = words[point / 32], bit = point % 32;
  if (!(bits >> bit & 1u)) return;
  const Grid grid = *grid_of_cloud;
  const int pixel = pixel_of(grid, point), plane = grid.rows * grid.columns, camera = point / plane;
  const Point at = locate(grid, rays_n3rc, origins_n3, point, depth[pixel]);
  const byte* rgb = pictures + 3 * static_cast<long long>(pixel);
  unsigned label = with_labels == 2 ? 255 : 0;
  if (with_labels == 1) {
    const int row = point % plane / grid.columns, column = point % grid.columns;
    label = labels[(camera * label_rows + rows_of[row]) * label_columns + columns_of[column]];
  }
  unsigned* record = packed + 6 * static_cast<long long>(offsets[point / 32] + count_bits(bits & ((1u << bit) - 1)));
  record[0] = bits_of(at.x);
  record[1] = bits_of(at.y);
  record[2] = bits_of(at.z);
  record[3] = static_cast<unsigned>(rgb[0]) << 16 | static_cast<unsigned>(rgb[1]) << 8 | rgb[2];
  record[4] = static_cast<unsigned>(camera) | label << 8;
  record[5] = bits_of(confidence[pixel]);
}
LAUNCHABLE(pack_points)
