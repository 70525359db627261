// SPDX-License-Identifier: Apache-2.0
// Raw camera bytes to the engine's input: colour, halvings, bilinear sampling by the fixed map, and 0..1, in one kernel.
// The arithmetic is that of OpenCV's cvtColor, resize (INTER_AREA by two) and remap (INTER_LINEAR with a CV_16SC2 map).
#include "portable.h"

// As in camera_bytes.py.
enum Layout { PACKED = 0, GREY = 1, GREY16 = 2, BAYER = 3, YUV422 = 4, YUV420 = 5 };

// The bytes of one camera. `order`: the byte of red (PACKED), the place of red in a 2x2 block (BAYER), the byte of the
// first luma (YUV422), or that of U in a pair (YUV420). `levels` halvings are left to do.
struct Camera {
  int width, height, row_bytes, layout, order, pixel_bytes, levels, valid;
};

// Where a target pixel samples the reduced image: whole pixels, and 32nds of one: v * 32 + u.
struct MapEntry {
  short u, v;
  unsigned short fraction, unused;
};

struct Colour {
  int r, g, b;
};

DEVICE int clamped(int value, int least, int most) { return value < least ? least : value > most ? most : value; }

// ITU-R BT.601, limited range, in 20 bits of fraction: OpenCV's integers.
DEVICE Colour from_yuv(int luma, int u, int v) {
  const int y = (luma > 16 ? luma - 16 : 0) * 1220542, half = 1 << 19;
  u -= 128;
  v -= 128;
  Colour colour;
  colour.r = clamped((y + 1673527 * v + half) >> 20, 0, 255);
  colour.g = clamped((y - 852492 * v - 409993 * u + half) >> 20, 0, 255);
  colour.b = clamped((y + 2116026 * u + half) >> 20, 0, 255);
  return colour;
}

// Bilinear demosaicking; the outermost pixels repeat their inner neighbours, as OpenCV has it.
DEVICE Colour from_bayer(const byte* raw, const Camera& camera, int x, int y) {
  Colour colour = {0, 0, 0};
  if (camera.width < 3 || camera.height < 3) return colour;
  x = clamped(x, 1, camera.width - 2);
  y = clamped(y, 1, camera.height - 2);
  const byte* here = raw + static_cast<long long>(y) * camera.row_bytes + x;
  const byte *above = here - camera.row_bytes, *below = here + camera.row_bytes;
  const int across = (here[-1] + here[1] + 1) >> 1, along = (above[0] + below[0] + 1) >> 1;
  const int cross = (above[0] + below[0] + here[-1] + here[1] + 2) >> 2;
  const int corners = (above[-1] + above[1] + below[-1] + below[1] + 2) >> 2;
  const int off_column = (x ^ camera.order) & 1, off_row = (y ^ (camera.order >> 1)) & 1;
  if (off_column == off_row) {
    colour.r = off_row ? corners : here[0];
    colour.g = cross;
    colour.b = off_row ? here[0] : corners;
  } else {
    colour.r = off_row ? along : across;
    colour.g = here[0];
    colour.b = off_row ? across : along;
  }
  return colour;
}

DEVICE Colour source_pixel(const byte* raw, const Camera& camera, int x, int y) {
  const byte* row = raw + static_cast<long long>(y) * camera.row_bytes;
  Colour colour;
  switch (camera.layout) {
    case PACKED: {
      const byte* pixel = row + x * camera.pixel_bytes;
      colour.r = pixel[camera.order];
      colour.g = pixel[1];
      colour.b = pixel[2 - camera.order];
      return colour;
    }
    case GREY:
      colour.r = colour.g = colour.b = row[x];
      return colour;
    case GREY16:
      colour.r = colour.g = colour.b = row[2 * x] | row[2 * x + 1] << 8;
      return colour;
    case BAYER:
      return from_bayer(raw, camera, x, y);
    case YUV422: {
      const byte* pair = row + (x >> 1) * 4 + (1 - camera.order);
      return from_yuv(row[2 * x + camera.order], pair[0], pair[2]);
    }
    default: {
      const byte* pair = raw + static_cast<long long>(camera.height + (y >> 1)) * camera.row_bytes + (x & ~1);
      return from_yuv(row[x], pair[camera.order], pair[1 - camera.order]);
    }
  }
}

// A pixel of the image after LEVELS halvings, each rounded to whole levels of grey.
template <int LEVELS>
struct Reduced {
  DEVICE Colour at(const byte* raw, const Camera& camera, int x, int y) {
    Colour sum = {2, 2, 2};
    for (int k = 0; k < 4; ++k) {
      const Colour part = Reduced<LEVELS - 1>::at(raw, camera, 2 * x + (k & 1), 2 * y + (k >> 1));
      sum.r += part.r;
      sum.g += part.g;
      sum.b += part.b;
    }
    sum.r >>= 2;
    sum.g >>= 2;
    sum.b >>= 2;
    return sum;
  }
};
template <>
struct Reduced<0> {
  DEVICE Colour at(const byte* raw, const Camera& camera, int x, int y) { return source_pixel(raw, camera, x, y); }
};

// A weighted sum in 1024ths as a byte: rounded up from the middle; words are rounded to even first, then cut.
DEVICE byte as_byte(int sum, bool is_word) {
  if (!is_word) return static_cast<byte>((sum + 512) >> 10);
  const int whole = sum >> 10, rest = sum & 1023;
  const int rounded = whole + (rest > 512 || (rest == 512 && (whole & 1)));
  return static_cast<byte>((rounded > 65535 ? 65535 : rounded) >> 8);
}

template <int LEVELS>
DEVICE void sample(const byte* raw, const Camera& camera, const MapEntry& entry, byte* rgb) {
  const int right = entry.fraction & 31, below = entry.fraction >> 5;
  const int last_x = (camera.width >> LEVELS) - 1, last_y = (camera.height >> LEVELS) - 1;
  Colour sum = {0, 0, 0};
  for (int k = 0; k < 4; ++k) {
    const int weight = (k & 1 ? right : 32 - right) * (k >> 1 ? below : 32 - below);
    const int x = clamped(entry.u + (k & 1), 0, last_x), y = clamped(entry.v + (k >> 1), 0, last_y);
    const Colour tap = Reduced<LEVELS>::at(raw, camera, x, y);
    sum.r += weight * tap.r;
    sum.g += weight * tap.g;
    sum.b += weight * tap.b;
  }
  const bool is_word = camera.layout == GREY16;
  rgb[0] = as_byte(sum.r, is_word);
  rgb[1] = as_byte(sum.g, is_word);
  rgb[2] = as_byte(sum.b, is_word);
}

// One thread per pixel of one camera's target (height, width): its colour into `picture_hw3`, every `preview_step`-th of
// every `preview_step`-th row into `preview`, and `levels_256[colour]` into the planes of `image_3hw` (floats, or halves
// where `is_half`). A camera without an image is black.
KERNEL rectify(const byte* raw, const Camera* camera_of_set, const MapEntry* map_hw, const void* levels_256,
               void* image_3hw, int is_half, byte* picture_hw3, byte* preview, int preview_step, int height, int width) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= width || y >= height) return;
  const Camera camera = *camera_of_set;
  const int pixel = y * width + x;
  byte rgb[3] = {0, 0, 0};
  if (camera.valid) {
    const MapEntry entry = map_hw[pixel];
    switch (camera.levels) {
      case 0: sample<0>(raw, camera, entry, rgb); break;
      case 1: sample<1>(raw, camera, entry, rgb); break;
      case 2: sample<2>(raw, camera, entry, rgb); break;
      case 3: sample<3>(raw, camera, entry, rgb); break;
      default: sample<4>(raw, camera, entry, rgb);
    }
  }
  const bool in_preview = x % preview_step == 0 && y % preview_step == 0;
  byte* small = preview + 3 * ((y / preview_step) * ((width + preview_step - 1) / preview_step) + x / preview_step);
  for (int k = 0; k < 3; ++k) {
    picture_hw3[3 * pixel + k] = rgb[k];
    if (in_preview) small[k] = rgb[k];
    const int target = k * height * width + pixel;
    if (is_half)
      static_cast<unsigned short*>(image_3hw)[target] = static_cast<const unsigned short*>(levels_256)[rgb[k]];
    else
      static_cast<float*>(image_3hw)[target] = static_cast<const float*>(levels_256)[rgb[k]];
  }
}
LAUNCHABLE(rectify)
